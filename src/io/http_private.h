/* What the files of the HTTP door share: http.c (life of a request), http_curl.c (libcurl's options
 * and errors). */
#ifndef PGHEIR_IO_HTTP_PRIVATE_H
#define PGHEIR_IO_HTTP_PRIVATE_H

#include <sys/queue.h>

#include <curl/curl.h>

#include "pgheir/base/buf.h"
#include "pgheir/io/http.h"
#include "pgheir/io/resolver.h"

enum {
    HTTP_HEADERS_MAX = 64 * 1024, /* bytes of an answer's headers: nobody we talk to needs more */
    HTTP_BODY_MAX_DEFAULT = 1024 * 1024,
    HTTP_PORT_SIZE = 8
};

struct http_request {
    TAILQ_ENTRY(http_request) link;
    struct http *http;
    struct loop_timer *timer; /* the next of deadline, end of connecting, idle limit */
    struct resolver_lookup *lookup; /* while the name is asked for */
    CURL *easy;                     /* while libcurl has it */
    struct curl_slist *headers;
    struct curl_slist *resolve;
    char *url;
    char *host; /* lower case, no brackets, no dot at the end; NULL: the URL was bad */
    char port[HTTP_PORT_SIZE];
    char *method;
    char *body;
    size_t body_length;
    char *content_type;
    char *authorization;
    char *username;
    char *password;
    struct http_tls tls;
    int64_t deadline_ms;
    int64_t connect_deadline_ms;
    int64_t idle_ms;
    bool is_retry_safe;
    bool is_fresh;
    unsigned first_address;
    bool is_numeric;
    bool is_too_large; /* our own ceiling ended the transfer */
    bool is_repeat_refused; /* libcurl wanted to send a second time what must go once */
    bool is_dead; /* completed inside a callback of libcurl's; freed when that has returned */
    int sends;
    int64_t sent_at_ms;
    int64_t heard_at_ms; /* last byte of a stream */
    size_t header_bytes;
    struct buf answer;
    struct err url_err;
    char curl_text[CURL_ERROR_SIZE];
    http_chunk_fn *chunk; /* NULL: no stream */
    http_done_fn *done;
    void *arg;
};

struct http {
    struct loop *loop;
    struct resolver *resolver;
    CURLM *multi;
    struct loop_timer *multi_timer;
    int64_t ttl_ms;
    int inside; /* depth of chunk callbacks: libcurl may not be entered again */
    TAILQ_HEAD(http_request_list, http_request) requests;
    TAILQ_HEAD(, http_request) dead;
};

/* Splits and checks the URL; fills url, host, port, is_numeric. RC_INVALID with the reason in
 * url_err. */
enum rc http_url_take(struct http_request *request, const char *url);
/* Sets every option of request->easy. addresses are those of its host. */
enum rc http_easy_setup(struct http_request *request, const struct resolver_answer *addresses);
/* Arms the request's timer for the next of its limits. */
void http_request_arm(struct http_request *request);
/* What libcurl's result means to us. */
enum rc http_rc_of_curl(CURLcode code);

#endif
