/* The etcd door: leases, reads, transactions and a watch over several endpoints, through the v3
 * JSON gateway.
 *
 * Every request has an absolute deadline and exactly one completion, never before the call that
 * began it has returned. Inside the deadline the door finds a member that answers: each attempt
 * gets only a share of the time, a member that does not answer well is avoided until it does
 * (ET-01), answers under an old raft term are refused (ET-03), an expired token is renewed (ET-08).
 * It decides nothing else: what an outcome means is the agent's affair.
 *
 * etcd 3.4 to 3.6. Tokens and passwords reach no log. */
#ifndef PGHEIR_IO_ETCD_H
#define PGHEIR_IO_ETCD_H

#include "pgheir/base/base.h"
#include "pgheir/base/err.h"
#include "pgheir/codec/etcd_json.h"

struct loop;
struct resolver;
struct http;
struct etcd;
struct etcd_request;
struct etcd_watch;

enum { ETCD_ENDPOINTS_MAX = 64, ETCD_URL_SIZE = 320 };

struct etcd_options {
    const char *const *hosts; /* "host", "host:port", "[::1]:2379" or whole URLs; port 2379 if none
                               * is given */
    int host_count;           /* 1 to ETCD_ENDPOINTS_MAX */
    const char *protocol;     /* "http" or "https" for hosts without a scheme; NULL: http */
    const char *username;     /* NULL: no authentication */
    const char *password;
    const char *cacert;       /* NULL: the servers are not verified, as with Patroni */
    const char *cert;
    const char *key;
    bool use_proxies;         /* the list is final: members are not discovered */
    /* of the cluster; paces keepalive of sockets and of discovery. 0 means 30 s */
    int64_t ttl_ms;
};

enum etcd_outcome {
    ETCD_OK,
    ETCD_REFUSED,         /* txn: the compares did not hold; the failure branch ran, its answers are
                           * here */
    ETCD_LEASE_NOT_FOUND, /* the lease of this request is gone */
    ETCD_UNKNOWN,         /* a write or keepalive was sent and its effect is not known: read before
                           * doing anything else */
    ETCD_UNAVAILABLE,     /* no usable answer until the deadline, and surely nothing was applied */
    ETCD_AUTH_FAILED,     /* etcd refuses the user or password, or the role does not cover the
                           * key */
    ETCD_INVALID,         /* etcd says that this request cannot work; repeating does not help */
    ETCD_CANCELLED,       /* by the caller; a write may have been applied if sent_at_ms != 0 */
    ETCD_OUTCOME_COUNT
};

/* Valid during the callback only. */
struct etcd_result {
    enum etcd_outcome outcome;
    int64_t sent_at_ms;  /* just before the bytes of the last attempt were sent: the fence counts
                          * from here; 0: never */
    int64_t ended_at_ms;
    bool is_repeat;      /* an earlier attempt may have been applied already: with ETCD_REFUSED look
                          * whether what the failure branch read is our own doing (ET-07) */
    const char *endpoint;             /* that was asked last; "" if none */
    const struct etcd_answer *answer; /* never NULL; all zero unless ETCD_OK or ETCD_REFUSED */
    const struct err *err;            /* meaningful unless ETCD_OK */
};

typedef void etcd_done_fn(const struct etcd_result *result, void *arg);

/* "ok", "refused", ... for logs. */
const char *etcd_outcome_text(enum etcd_outcome outcome);

/* Nothing is sent before the first request. Everything is copied. Errors: RC_INVALID (host,
 * protocol, missing file), RC_SYSTEM. Owner: the caller; loop, resolver and http outlive it. */
enum rc etcd_new(struct loop *loop, struct resolver *resolver, struct http *http,
                 const struct etcd_options *options, struct etcd **ret, struct err *err);
/* Accepts NULL. Open requests complete with ETCD_CANCELLED, watches with ETCD_LOST_CANCELLED. */
void etcd_free(struct etcd *etcd);
/* Takes new hosts, credentials and files (reload, rotated certificates). Running requests and
 * watches go on. On error nothing changes. */
enum rc etcd_reconfigure(struct etcd *etcd, const struct etcd_options *options, struct err *err);

/* Grants a lease for ttl_ms, rounded up to whole seconds. The id is chosen by the door, so that a
 * repeated grant is recognised and leaves no second lease. OK: answer->lease_id, lease_ttl_ms (etcd
 * may grant more than was asked). */
struct etcd_request *etcd_lease_grant(struct etcd *etcd, int64_t ttl_ms, int64_t deadline_ms,
                                      etcd_done_fn *done, void *arg);
/* OK: lease_ttl_ms counts from sent_at_ms. LEASE_NOT_FOUND also where etcd answers without a
 * TTL. */
struct etcd_request *etcd_lease_keepalive(struct etcd *etcd, int64_t lease_id, int64_t deadline_ms,
                                          etcd_done_fn *done, void *arg);
/* OK: lease_ttl_ms is what is left, lease_granted_ttl_ms what was granted. */
struct etcd_request *etcd_lease_time_to_live(struct etcd *etcd, int64_t lease_id,
                                             int64_t deadline_ms, etcd_done_fn *done, void *arg);
/* A lease that is gone when a revoke is repeated is ETCD_OK. */
struct etcd_request *etcd_lease_revoke(struct etcd *etcd, int64_t lease_id, int64_t deadline_ms,
                                       etcd_done_fn *done, void *arg);

enum etcd_read {
    ETCD_READ_LINEARIZABLE,
    ETCD_READ_SERIALIZABLE /* may be old: never for what a role rests on */
};
/* OK: answer->kvs, sorted by key. */
struct etcd_request *etcd_range(struct etcd *etcd, const char *key, bool is_prefix,
                                enum etcd_read read, int64_t deadline_ms, etcd_done_fn *done,
                                void *arg);

/* retry_safe: the compares make a repetition harmless and recognisable (its first run makes them
 * fail, or it writes the same again), so it is repeated after an unknown result. Otherwise that
 * ends as ETCD_UNKNOWN at once. */
struct etcd_request *etcd_txn_run(struct etcd *etcd, const struct etcd_txn *txn, bool retry_safe,
                                  int64_t deadline_ms, etcd_done_fn *done, void *arg);

/* Calls done with ETCD_CANCELLED before it returns. Legal until done was called. */
void etcd_request_cancel(struct etcd_request *request);

enum etcd_lost {
    ETCD_LOST_DISCONNECTED, /* connect, stream or member failed, or the token ran out */
    ETCD_LOST_IDLE,         /* nothing came within idle_ms, or not what etcd_watch_expect()
                             * announced */
    ETCD_LOST_COMPACTED,    /* the start revision is gone: list anew */
    ETCD_LOST_REFUSED,      /* etcd ended the watch; text says why */
    ETCD_LOST_STALE,        /* the member is behind others' raft term */
    ETCD_LOST_CANCELLED     /* by the caller */
};

struct etcd_loss {
    enum etcd_lost why;
    int64_t resume_revision; /* a new watch from here misses nothing (except COMPACTED: 0) */
    const struct err *err;
};

/* One message of the stream: answer->header, events (perhaps none: the stream was created, or a
 * progress notification says that everything up to header.revision has been delivered). */
typedef void etcd_watch_fn(const struct etcd_answer *answer, void *arg);
typedef void etcd_lost_fn(const struct etcd_loss *loss, void *arg);

struct etcd_watch_options {
    const char *prefix;
    int64_t start_revision; /* first revision wanted: revision of the list + 1 */
    int64_t open_ms;        /* span in which the stream must have been created; 0: 5 s */
    int64_t idle_ms;        /* lost when nothing came for this long; etcd notifies of progress only
                             * every 10 minutes by itself, so use etcd_watch_expect() for quick
                             * notice. 0: 15 minutes */
};

/* A watch ends in exactly one lost call; the owner then lists and watches anew. */
struct etcd_watch *etcd_watch_begin(struct etcd *etcd, const struct etcd_watch_options *options,
                                    etcd_watch_fn *events, etcd_lost_fn *lost, void *arg);
/* Calls lost with ETCD_LOST_CANCELLED before it returns. */
void etcd_watch_cancel(struct etcd_watch *watch);
/* The owner has read a key of the prefix with this mod_revision: if the watch has not delivered it
 * by deadline_ms, it is lost (IDLE). So a black-holed stream is noticed at the pace of the owner's
 * own reads (ET-04). For a deleted key (which a read does not show) announce the header revision of
 * the txn that deleted it. */
void etcd_watch_expect(struct etcd_watch *watch, int64_t mod_revision, int64_t deadline_ms);

/* For REST, explain and tests. Texts are valid until the next call into the door. */
struct etcd_endpoint_info {
    const char *url;
    bool is_configured; /* else learned from the member list */
    bool is_avoided;    /* did not answer well; asked only if no other is left, and probed */
    const char *error;  /* last failure, "" if none */
};
int etcd_endpoint_count(const struct etcd *etcd);
/* idx from 0, in the order of preference. */
void etcd_endpoint_get(const struct etcd *etcd, int idx, struct etcd_endpoint_info *ret);

#endif
