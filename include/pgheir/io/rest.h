/* The REST door: an HTTP/1.1 server on the loop (evhttp, TLS through OpenSSL).
 *
 * It parses the request, applies the one authorisation gate, and hands the question to the agent's
 * handler, which answers at once or later through a handle. It knows no path by itself: the agent's
 * route function says what a method and path need.
 *
 * Nothing a client does can hold others up: connections are counted and bounded, headers and body
 * have ceilings, a request must be whole within a span, an idle connection is closed, and where all
 * places are taken the one that has been idle for longest goes (RC-03).
 * Passwords and request bodies reach no log. */
#ifndef PGHEIR_IO_REST_H
#define PGHEIR_IO_REST_H

#include "pgheir/base/base.h"
#include "pgheir/base/err.h"

struct loop;
struct resolver;
struct rest;
struct rest_request;

enum {
    REST_BODY_MAX = 1024 * 1024,      /* of a request */
    REST_HEADERS_MAX = 16 * 1024,     /* first line and headers together */
    REST_CONNECTIONS_MAX = 512,
    REST_ALLOWLIST_MAX = 512,         /* entries of restapi.allowlist */
    REST_PEER_SIZE = 64
};

enum rest_verify { REST_VERIFY_NONE, REST_VERIFY_OPTIONAL, REST_VERIFY_REQUIRED };
enum rest_tokens { REST_TOKENS_ORIGINAL, REST_TOKENS_MINIMAL, REST_TOKENS_PRODUCTONLY };

/* A header of our answers. Names and values with control characters are refused. */
struct rest_header {
    const char *name;
    const char *value;
};

/* Section restapi of the configuration. Text fields may be NULL unless said otherwise. Everything
 * is copied. */
struct rest_options {
    const char *listen;          /* "host:port", "*:8008", ":8008", "[::1]:8008"; required. "*" and
                                  * an empty host are both families, where the kernel has both */
    int backlog;                 /* request_queue_size; <= 0: 5 */
    enum rest_tokens server_tokens;
    const struct rest_header *http_headers;  /* http_extra_headers */
    int http_header_count;
    const struct rest_header *https_headers; /* https_extra_headers: in addition, under TLS */
    int https_header_count;

    /* TLS is on if certfile is set. PEM files. */
    const char *certfile;
    const char *keyfile;         /* NULL: in certfile */
    const char *keyfile_password;
    const char *cafile;          /* required unless verify_client is none */
    const char *ciphers;         /* OpenSSL list for TLS 1.2 */
    enum rest_verify verify_client;

    /* The gate; each part holds by itself. */
    const char *username;        /* NULL: no Basic authentication */
    const char *password;
    const char *const *allowlist; /* addresses, CIDR blocks, host names */
    int allowlist_count;
    bool allowlist_include_members; /* the hosts given to rest_set_members() pass, too */
};

enum rest_method {
    REST_GET,
    REST_HEAD,
    REST_OPTIONS,
    REST_POST,
    REST_PUT,
    REST_PATCH,
    REST_DELETE,
    REST_METHOD_COUNT
};

/* What a method and path need; bits. */
enum {
    REST_ROUTE_NONE = 0,        /* nothing here: 501 */
    REST_ROUTE_KNOWN = 1,
    REST_ROUTE_PROTECTED = 2,   /* passes the gate: 403, 403, 401 (rest.md section 6) */
    REST_ROUTE_NO_MEMBERS = 4,  /* with PROTECTED: members are not let in, and not asked for, by
                                 * allowlist_include_members */
    REST_ROUTE_NEEDS_LENGTH = 8 /* 411 without Content-Length (or a chunked body) */
};

/* Borrowed: valid until the handler has returned. */
struct rest_question {
    enum rest_method method;
    const char *path;      /* percent-decoded, begins with '/', without query; no NUL inside */
    const char *query;     /* still percent-encoded, "" if none */
    const char *body;      /* NUL-terminated, never NULL */
    size_t body_length;
    const char *peer;      /* numeric address of the client; IPv4 is never mapped into IPv6 */
    int peer_port;
    bool is_tls;
};

enum rest_type {
    REST_STATUS_ONLY, /* no headers of ours, no body: HEAD, OPTIONS, liveness, readiness */
    REST_JSON,        /* application/json */
    REST_HTML,        /* text/html: the plain texts of the contract */
    REST_PLAIN        /* text/plain: metrics */
};

/* Copied where it is passed. */
struct rest_answer {
    int status;
    enum rest_type type;
    const char *body;     /* NULL or "": none */
    size_t body_length;   /* 0: strlen(body) */
    const struct rest_header *headers; /* besides the configured ones; not for REST_STATUS_ONLY */
    int header_count;
};

/* Says what is at a place. Pure: no answer here. */
typedef unsigned rest_route_fn(enum rest_method method, const char *path, void *arg);
/* A question that passed the gate. The handle is owned by the handler from now on and ends with
 * exactly one rest_answer() (or rest_answer_text()), now or later. A client that went away changes
 * nothing: the answer is then swallowed. */
typedef void rest_handle_fn(struct rest_request *request, const struct rest_question *question,
                            void *arg);

struct rest_handlers {
    rest_route_fn *route;
    rest_handle_fn *handle;
    void *arg;
};

/* Errors: RC_INVALID (names the key, such as restapi.certfile, and the file), RC_EXISTS (address in
 * use: names the address and restapi.listen), RC_DENIED, RC_SYSTEM. Listens from now on; questions
 * come when the loop runs. A host name in restapi.listen that nobody knows yet is no error: the
 * door opens as soon as it is known, and says so in the log meanwhile.
 * Owner: the caller; loop and resolver outlive it. */
enum rc rest_new(struct loop *loop, struct resolver *resolver, const struct rest_options *options,
                 const struct rest_handlers *handlers, struct rest **ret, struct err *err);
/* Takes a new configuration (reload). The listener is bound anew only if listen, backlog or TLS on
 * or off changed; certificates are read anew; connections that carry a question go on. On error
 * everything stays as it was. */
enum rc rest_configure(struct rest *rest, const struct rest_options *options, struct err *err);
/* Hosts (names or addresses) of the members' api_url, for allowlist_include_members. Cheap if
 * nothing changed: call it with every view. */
void rest_set_members(struct rest *rest, const char *const *hosts, int count);
/* First step of a shutdown: nobody gets in any more, open questions may still be answered. */
void rest_close_listener(struct rest *rest);
/* Accepts NULL. Not inside the handler or the route function. Closes every connection. Handles
 * that were not answered yet stay valid for their one answer, which is swallowed. */
void rest_free(struct rest *rest);

/* Ends the handle. */
void rest_answer(struct rest_request *request, const struct rest_answer *answer);
/* A text/html answer, the usual case. */
void rest_answer_text(struct rest_request *request, int status, const char *text);
/* The door answers status and text (copied) itself at deadline_ms if nobody has until then; the
 * handle stays valid for its one answer, which is then swallowed. Without this call the bound is
 * five minutes, ending in 503. */
void rest_request_set_deadline(struct rest_request *request, int64_t deadline_ms, int status,
                               const char *text);
/* Whether nobody waits for the answer any more (client away, deadline over, door closed). Notices
 * a client that left only while bytes are exchanged. */
bool rest_request_is_gone(const struct rest_request *request);

/* "GET", ... */
const char *rest_method_text(enum rest_method method);

/* For logs, metrics and tests. */
struct rest_info {
    int port;                     /* bound, also where 0 was asked for; 0: not listening yet */
    int connection_count;
    int request_count;            /* handles not answered yet */
    uint64_t evicted_count;       /* connections closed to make room */
    int64_t certificate_ends_wall_ms; /* 0 without TLS */
    const char *warning; /* "" or why the last look at the certificates kept the old ones */
};
void rest_get_info(const struct rest *rest, struct rest_info *ret);

#endif
