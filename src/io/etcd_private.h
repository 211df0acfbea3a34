/* What the files of the etcd door share: etcd.c (object, options), etcd_endpoint.c (which member to
 * ask), etcd_request.c (life of a request), etcd_call.c (the requests one may make), etcd_watch.c
 * (streams). */
#ifndef PGHEIR_IO_ETCD_PRIVATE_H
#define PGHEIR_IO_ETCD_PRIVATE_H

#include <sys/queue.h>

#include "pgheir/base/buf.h"
#include "pgheir/io/etcd.h"
#include "pgheir/io/http.h"

enum {
    /* A whole prefix of 64 members and 512 slots stays far below a megabyte; a foreign value may be
     * 1.5 MB. */
    ETCD_BODY_MAX = 8 * 1024 * 1024,
    ETCD_REQUEST_MAX = 4 * 1024 * 1024,
    ETCD_PATH_SIZE = ETCD_URL_SIZE + 64,
    /* An attempt shorter than this says more about the caller's deadline than about the member. */
    ETCD_FAIR_MS = 150
};

/* One address of the cluster. Kept while a request uses it, even when it has left the list. */
struct etcd_endpoint {
    struct etcd *etcd;
    struct http_request *probe; /* GET /health, running */
    uint32_t id;
    int users;
    bool is_gone;       /* not in the list any more */
    bool is_configured;
    bool is_listed;     /* in the last member list */
    bool is_avoided;
    bool wants_fresh;   /* its pooled connections are suspect */
    int failures;       /* in a row */
    int64_t failed_at_ms;
    int64_t probe_at_ms;
    char url[ETCD_URL_SIZE]; /* scheme://host:port, no slash at the end */
    char error[ERR_TEXT_SIZE];
};

struct etcd {
    struct loop *loop;
    struct resolver *resolver;
    struct http *http;
    char *username;
    char *password;
    struct http_tls tls;
    bool use_proxies;
    bool is_https_only; /* all configured hosts are https: then so must be what members advertise */
    int64_t ttl_ms;

    struct etcd_endpoint *endpoints[ETCD_ENDPOINTS_MAX];
    int endpoint_count;
    int preferred; /* index of the one that answered last */
    uint32_t next_id;
    struct loop_timer *care_timer; /* probes and discovery */
    int64_t discover_at_ms;        /* 0: nothing was asked yet */
    int64_t discovered_at_ms;      /* when the last attempt at it ended */
    struct etcd_request *discovery;

    const char *prefix; /* "/v3"; NULL: to be asked for */
    char *token;
    uint32_t token_order; /* which token it is: a request that failed with an old one need not fetch
                           * a third */
    bool is_auth_off;     /* etcd said so */
    struct etcd_request *authenticator;

    uint64_t cluster_id;
    uint64_t raft_term;     /* highest seen for cluster_id */
    int64_t stale_since_ms; /* only older terms or other clusters since then; 0: not so */

    TAILQ_HEAD(etcd_request_list, etcd_request) requests;
    TAILQ_HEAD(etcd_watch_list, etcd_watch) watches;
};

enum etcd_kind {
    ETCD_KIND_PREPARE, /* dialect and token only, before a watch */
    ETCD_KIND_GRANT,
    ETCD_KIND_KEEPALIVE,
    ETCD_KIND_TIME_TO_LIVE,
    ETCD_KIND_REVOKE,
    ETCD_KIND_RANGE,
    ETCD_KIND_TXN,
    ETCD_KIND_MEMBERS
};

/* What the running HTTP request is for. */
enum etcd_phase {
    ETCD_PHASE_PAUSE, /* none: waits for its timer or for a token that another request fetches */
    ETCD_PHASE_VERSION,
    ETCD_PHASE_TOKEN,
    ETCD_PHASE_CALL
};

struct etcd_request {
    TAILQ_ENTRY(etcd_request) link;
    struct etcd *etcd;
    struct loop_timer *timer;
    struct http_request *call;
    struct etcd_endpoint *endpoint; /* of the running or the last attempt */
    enum etcd_kind kind;
    enum etcd_phase phase;
    bool is_write;      /* sent without an answer means ETCD_UNKNOWN */
    bool is_retry_safe;
    bool is_repeat;     /* an attempt was sent whose effect is not known */
    bool is_confirming; /* a grant that was applied already: ask for its TTL by keepalive */
    bool was_dialect_asked;
    int token_retries;
    uint32_t token_order;
    int rounds; /* through all endpoints */
    uint32_t tried[ETCD_ENDPOINTS_MAX];
    int tried_count;
    int64_t deadline_ms;
    int64_t begun_at_ms;         /* of the running attempt */
    int64_t attempt_deadline_ms;
    int64_t sent_at_ms;
    int64_t lease_id;
    int64_t ttl_ms;
    /* txn: what the answer must look like */
    enum etcd_op_kind *success_kinds;
    size_t success_count;
    enum etcd_op_kind *failure_kinds;
    size_t failure_count;
    struct buf body;
    struct err err; /* of the last failed attempt */
    etcd_done_fn *done;
    void *arg;
};

/* ---- etcd_endpoint.c ---- */

/* Adds url unless it is there; returns the endpoint, or NULL if the list is full. */
struct etcd_endpoint *etcd_endpoint_add(struct etcd *etcd, const char *url, bool is_configured);
/* Takes all out that were configured before, for a new configuration. */
void etcd_endpoint_forget_configured(struct etcd *etcd);
void etcd_endpoint_drop_unused(struct etcd *etcd);
void etcd_endpoint_free_all(struct etcd *etcd);
/* The best one whose id is not in tried; NULL if none is left. */
struct etcd_endpoint *etcd_endpoint_pick(struct etcd *etcd, const uint32_t *tried, int tried_count);
/* How many are left that are not avoided and not in tried. */
int etcd_endpoint_count_left(const struct etcd *etcd, const uint32_t *tried, int tried_count);
void etcd_endpoint_hold(struct etcd_endpoint *endpoint);
void etcd_endpoint_release(struct etcd_endpoint *endpoint);
void etcd_endpoint_note_good(struct etcd_endpoint *endpoint);
/* The next request begins with this one. */
void etcd_endpoint_prefer(struct etcd_endpoint *endpoint);
/* is_dead: it did not answer at all, so streams on it are not to be trusted either. */
void etcd_endpoint_note_bad(struct etcd_endpoint *endpoint, bool is_dead, const char *text);
/* Remembers cluster and term; false if the answer is from the past and must not be used. */
bool etcd_endpoint_note_header(struct etcd_endpoint *endpoint, const struct etcd_header *header);
/* Starts probes and discovery that are due, and arms the timer for the next. */
void etcd_endpoint_care(struct etcd *etcd);

/* ---- etcd_request.c ---- */

struct etcd_request *etcd_request_new(struct etcd *etcd, enum etcd_kind kind, int64_t deadline_ms,
                                      etcd_done_fn *done, void *arg);
/* To be called when the body is filled: the first step follows in the next turn. */
void etcd_request_start(struct etcd_request *request);
/* Path below the prefix, and what its answer is. */
const char *etcd_kind_path(enum etcd_kind kind);

/* ---- etcd_call.c ---- */

struct etcd_request *etcd_prepare(struct etcd *etcd, int64_t deadline_ms, etcd_done_fn *done,
                                  void *arg);
struct etcd_request *etcd_members(struct etcd *etcd, int64_t deadline_ms, etcd_done_fn *done,
                                  void *arg);

/* ---- etcd_watch.c ---- */

/* Ends, in the next turn, what streams through this endpoint. */
void etcd_watch_drop_endpoint(struct etcd *etcd, const struct etcd_endpoint *endpoint);

/* ---- etcd.c ---- */

/* Forgets the token, unless it has been renewed since token_order. */
void etcd_token_drop(struct etcd *etcd, uint32_t token_order);
/* A positive id that nobody else will choose. */
int64_t etcd_lease_id_new(void);

#endif
