/* HTTP/1.1 client on the loop: libcurl's multi interface, names from the resolver, never from
 * libcurl. For: etcd's gateway, peers' REST. Each request ends in exactly one completion, at its
 * deadline at the latest. No redirects, cookies, proxies from the environment, netrc, or compressed
 * bodies. */
#ifndef PGHEIR_IO_HTTP_H
#define PGHEIR_IO_HTTP_H

#include "pgheir/base/base.h"
#include "pgheir/base/buf.h"
#include "pgheir/base/err.h"

struct loop;
struct resolver;
struct http;
struct http_request;
struct http_batch;

/* Text fields may be NULL. Copied where they are passed. */
struct http_tls {
    const char *cacert;       /* PEM file; NULL: the system's */
    const char *cert;         /* PEM file of the client certificate (may hold the key too) */
    const char *key;          /* PEM file */
    const char *key_password;
    bool insecure;            /* the peer is not verified at all */
};

struct http_options {
    const char *url;    /* http:// or https://; host name or numeric address */
    const char *method; /* NULL: POST if there is a body, else GET */
    const char *body;   /* copied; NULL: none */
    size_t body_length;
    const char *content_type;  /* NULL: application/json */
    const char *authorization; /* value of that header, such as etcd's token; NULL: none */
    const char *username;      /* basic authentication; NULL: none */
    const char *password;
    const struct http_tls *tls; /* NULL: system CAs, verified */
    int64_t deadline_ms;        /* absolute; INT64_MAX only for streams */
    int64_t connect_ms;         /* span for name, connect and TLS together; 0: up to the deadline */
    size_t body_max;            /* ceiling of the answer's body in bytes; 0: 1 MiB. Not for
                                 * streams */
    bool retry_safe; /* repeating does no harm: if a pooled connection turns out dead, the request
                      * is sent again at once on a fresh one. Otherwise that ends as
                      * HTTP_UNKNOWN. */
    bool fresh_connection; /* do not use a pooled one */
    unsigned first_address; /* of a name with several: begin with this one, modulo their number, so
                             * that a retry need not meet the same silent machine again */
    int64_t idle_ms; /* streams: lost if no byte came for this long; 0: no limit */
};

/* What is known about the request's effect. */
enum http_fate {
    HTTP_ANSWERED,  /* a whole answer is here, whatever its status */
    HTTP_NOT_SENT,  /* name, connect or TLS failed: the peer saw nothing of the request */
    HTTP_UNKNOWN,   /* sent, perhaps in part, and no whole answer came */
    HTTP_CANCELLED, /* by the caller; the effect is unknown if sent_at_ms != 0 */
    HTTP_FATE_COUNT
};

/* Valid during the callback only. */
struct http_result {
    enum http_fate fate;
    enum rc rc; /* RC_OK if answered, else RC_TIMEOUT, RC_UNREACHABLE, RC_DENIED (TLS refused the
                 * peer, or the peer us), RC_LIMIT (body above its ceiling), RC_PROTOCOL, RC_INVALID
                 * (bad URL or file), RC_NOT_FOUND (no such name), RC_CANCELLED */
    int status;          /* HTTP status, 0 if none came */
    const char *body;    /* NUL-terminated, never NULL; "" for streams */
    size_t body_length;
    int64_t sent_at_ms;  /* just before the first byte of the last attempt; 0: never sent */
    int64_t ended_at_ms;
    const struct err *err; /* meaningful unless RC_OK: names URL and cause */
};

typedef void http_done_fn(const struct http_result *result, void *arg);
/* A piece of a stream's body, as it came. status is that of the answer. */
typedef void http_chunk_fn(int status, const char *bytes, size_t length, void *arg);

/* Errors: RC_SYSTEM. Owner: the caller; loop and resolver outlive it. */
enum rc http_new(struct loop *loop, struct resolver *resolver, struct http **ret, struct err *err);
/* Accepts NULL. Requests still open complete with HTTP_CANCELLED. */
void http_free(struct http *http);
/* TCP keepalive and TCP_USER_TIMEOUT of connections made from now on follow ttl_ms, so that a
 * half-open one is noticed within it (NW-03). Default: 30 s. */
void http_set_ttl(struct http *http, int64_t ttl_ms);

/* Starts a request; done is called exactly once and never before this returns. Everything in
 * options is copied. Owner: the handle is valid until done was called. */
struct http_request *http_request_begin(struct http *http, const struct http_options *options,
                                        http_done_fn *done, void *arg);
/* As above, but hands out the body piece by piece. done comes when the stream ends for whatever
 * reason. */
struct http_request *http_stream_begin(struct http *http, const struct http_options *options,
                                       http_chunk_fn *chunk, http_done_fn *done, void *arg);
/* Calls done with HTTP_CANCELLED before it returns. Legal in every state, in callbacks too (except
 * done). */
void http_request_cancel(struct http_request *request);

/* Asks many URLs at once, for instance all peers in a race. options apply to each (url is ignored).
 * each is called once per URL with its index; then all is called once. Both before or at
 * options->deadline_ms. */
typedef void http_each_fn(int idx, const struct http_result *result, void *arg);
typedef void http_all_fn(void *arg);
struct http_batch *http_batch_begin(struct http *http, const char *const *urls, int url_count,
                                    const struct http_options *options, http_each_fn *each,
                                    http_all_fn *all, void *arg);
/* Ends the questions that are still open: each is called for them (HTTP_CANCELLED), then all,
 * before it returns; called from within each, all follows when that has returned. */
void http_batch_cancel(struct http_batch *batch);

#endif
