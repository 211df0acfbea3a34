/* Requests and answers of etcd's v3 JSON gateway: values <-> bytes, pure. Every answer is hostile
 * input. Base64 and "64-bit integers as strings" live and die here; spans are milliseconds outside,
 * seconds inside. */
#ifndef PGHEIR_CODEC_ETCD_JSON_H
#define PGHEIR_CODEC_ETCD_JSON_H

#include "pgheir/base/base.h"
#include "pgheir/base/buf.h"
#include "pgheir/base/err.h"

struct etcd_header {
    uint64_t cluster_id;
    uint64_t member_id;
    uint64_t raft_term;
    int64_t revision;
};

/* key and value are NUL-terminated copies; the value may hold NULs of its own, so mind
 * value_length. */
struct etcd_kv {
    const char *key;
    size_t key_length;
    const char *value;
    size_t value_length;
    int64_t create_revision;
    int64_t mod_revision;
    int64_t version;  /* of this key: 1 after its creation */
    int64_t lease_id; /* 0: none */
};

enum etcd_compare_target {
    ETCD_COMPARE_CREATE_REVISION, /* number; 0: the key is absent */
    ETCD_COMPARE_MOD_REVISION,    /* number; 0: the key is absent */
    ETCD_COMPARE_VERSION,         /* number */
    ETCD_COMPARE_VALUE,           /* value; never true for an absent key */
    ETCD_COMPARE_LEASE            /* number: the lease id */
};

/* Always equality. */
struct etcd_compare {
    const char *key;
    enum etcd_compare_target target;
    int64_t number;
    const char *value;
    size_t value_length;
};

enum etcd_op_kind {
    ETCD_OP_PUT,           /* key, value, lease_id */
    ETCD_OP_DELETE,        /* key */
    ETCD_OP_DELETE_PREFIX, /* key is the prefix */
    ETCD_OP_GET,           /* key */
    ETCD_OP_GET_PREFIX     /* key is the prefix */
};

struct etcd_op {
    enum etcd_op_kind kind;
    const char *key;
    const char *value;
    size_t value_length;
    int64_t lease_id;
};

/* All compares hold: then success is carried out, else failure; atomically. Arrays may be NULL when
 * their count is 0. A key may be put only once in one branch (etcd refuses otherwise). */
struct etcd_txn {
    const struct etcd_compare *compares;
    size_t compare_count;
    const struct etcd_op *success;
    size_t success_count;
    const struct etcd_op *failure;
    size_t failure_count;
};

/* The answer to one op of the branch that ran, in its order. */
struct etcd_op_answer {
    enum etcd_op_kind kind; /* a delete is ETCD_OP_DELETE, a read ETCD_OP_GET, prefix or not */
    int64_t deleted;        /* keys that a delete removed */
    const struct etcd_kv *kvs;
    size_t kv_count;
};

struct etcd_event {
    bool is_delete; /* kv then carries only key and mod_revision */
    struct etcd_kv kv;
};

/* One parsed answer of any kind; what does not belong to the kind is zero. Owner:
 * etcd_answer_done(). */
struct etcd_answer {
    struct etcd_header header;
    int64_t lease_id;
    int64_t lease_ttl_ms;         /* keepalive: 0 means that the lease is gone */
    int64_t lease_granted_ttl_ms; /* time to live only: 0 means that the lease is gone */
    bool succeeded;               /* txn: the compares held */
    struct etcd_kv *kvs;          /* range */
    size_t kv_count;
    bool more;                    /* range: cut by a limit */
    struct etcd_op_answer *ops;   /* txn */
    size_t op_count;
    struct etcd_event *events;    /* watch */
    size_t event_count;
    bool watch_created;
    bool watch_cancelled;
    int64_t compact_revision;     /* watch cancelled because its start was compacted; else 0 */
    char *token;                  /* authenticate */
    char *reason;                 /* cancel reason of a watch, or NULL */
    char **client_urls;           /* member list: of all started members */
    size_t client_url_count;
    void *storage;                /* what the texts live in; private */
};

enum etcd_answer_kind {
    ETCD_ANSWER_HEADER_ONLY, /* revoke, put */
    ETCD_ANSWER_GRANT,
    ETCD_ANSWER_KEEPALIVE,
    ETCD_ANSWER_TIME_TO_LIVE,
    ETCD_ANSWER_RANGE,
    ETCD_ANSWER_TXN,
    ETCD_ANSWER_WATCH,
    ETCD_ANSWER_AUTHENTICATE,
    ETCD_ANSWER_MEMBERS
};

/* Reads a whole answer. RC_PROTOCOL if it is not what the kind promises (ret untouched), with the
 * place in err. An error object of etcd is RC_REFUSED: read it with etcd_error_parse(). */
enum rc etcd_answer_parse(enum etcd_answer_kind kind, const char *text, size_t length,
                          struct etcd_answer *ret, struct err *err);
/* Frees what the answer holds and zeroes it. */
void etcd_answer_done(struct etcd_answer *answer);

/* gRPC codes that matter to us. */
enum {
    ETCD_GRPC_UNKNOWN = 2,
    ETCD_GRPC_INVALID_ARGUMENT = 3,
    ETCD_GRPC_DEADLINE_EXCEEDED = 4,
    ETCD_GRPC_NOT_FOUND = 5,
    ETCD_GRPC_ALREADY_EXISTS = 6,
    ETCD_GRPC_PERMISSION_DENIED = 7,
    ETCD_GRPC_FAILED_PRECONDITION = 9,
    ETCD_GRPC_OUT_OF_RANGE = 11,
    ETCD_GRPC_UNIMPLEMENTED = 12,
    ETCD_GRPC_UNAVAILABLE = 14,
    ETCD_GRPC_UNAUTHENTICATED = 16
};

/* What an error means to a caller. Matched by text first, then by code, because gateways differ in
 * codes. */
enum etcd_error_class {
    ETCD_ERROR_LEASE_NOT_FOUND,
    ETCD_ERROR_LEASE_EXISTS,
    ETCD_ERROR_TOKEN,          /* authenticate again and repeat */
    ETCD_ERROR_AUTH_FAILED,    /* wrong user or password */
    ETCD_ERROR_AUTH_DISABLED,  /* go on without a token */
    ETCD_ERROR_DENIED,         /* the user's roles do not cover the key */
    ETCD_ERROR_COMPACTED,
    ETCD_ERROR_NOT_APPLIED,    /* transient, and the request surely had no effect */
    ETCD_ERROR_TRANSIENT,      /* transient; a write may have been applied */
    ETCD_ERROR_FINAL           /* repeating does not help */
};

enum { ETCD_ERROR_TEXT_SIZE = 256 };

struct etcd_error {
    enum etcd_error_class class;
    int grpc_code;
    char text[ETCD_ERROR_TEXT_SIZE]; /* printable */
};

/* Reads {"error":...} in both forms, or makes the best of the status when the body is not that. */
void etcd_error_parse(int http_status, const char *text, size_t length, struct etcd_error *ret);

/* Request bodies, appended to out. RC_LIMIT if out's ceiling is met. */
enum rc etcd_put_grant(struct buf *out, int64_t lease_id, int64_t ttl_ms);
enum rc etcd_put_lease_id(struct buf *out, int64_t lease_id); /* keepalive, revoke, time to live */
enum rc etcd_put_range(struct buf *out, const char *key, bool is_prefix, bool is_serializable);
enum rc etcd_put_txn(struct buf *out, const struct etcd_txn *txn);
enum rc etcd_put_watch(struct buf *out, const char *prefix, int64_t start_revision);
/* RC_INVALID if either is not UTF-8. */
enum rc etcd_put_authenticate(struct buf *out, const char *username, const char *password);

/* GET /version: which path prefix this server speaks: "/v3", "/v3beta" or "/v3alpha". RC_PROTOCOL,
 * or RC_REFUSED for a server that is too old. The text is constant. */
enum rc etcd_version_parse(const char *text, size_t length, const char **ret_prefix,
                           struct err *err);

/* Splits a stream of answers (one JSON object per line, cut anywhere) into lines. Owner: done(). */
struct etcd_lines {
    struct buf pending;
};
/* false stops the feeding: the owner is gone, and nothing of lines is touched any more. */
typedef bool etcd_line_fn(const char *line, size_t length, void *arg);
void etcd_lines_init(struct etcd_lines *lines, size_t line_max);
void etcd_lines_done(struct etcd_lines *lines);
/* Calls fn for each line completed by these bytes. RC_LIMIT if a line is longer than line_max,
 * RC_CANCELLED if fn said stop. */
enum rc etcd_lines_feed(struct etcd_lines *lines, const char *bytes, size_t length,
                        etcd_line_fn *fn, void *arg);

#endif
