/* The requests one may make of etcd. */
#include "pgheir/base/mem.h"
#include "pgheir/io/loop.h"
#include "src/io/etcd_private.h"

struct etcd_request *etcd_prepare(struct etcd *etcd, int64_t deadline_ms, etcd_done_fn *done,
                                  void *arg)
{
    struct etcd_request *request =
        etcd_request_new(etcd, ETCD_KIND_PREPARE, deadline_ms, done, arg);

    etcd_request_start(request);
    return request;
}

struct etcd_request *etcd_members(struct etcd *etcd, int64_t deadline_ms, etcd_done_fn *done,
                                  void *arg)
{
    struct etcd_request *request =
        etcd_request_new(etcd, ETCD_KIND_MEMBERS, deadline_ms, done, arg);

    (void)buf_puts(&request->body, "{}");
    etcd_request_start(request);
    return request;
}

struct etcd_request *etcd_lease_grant(struct etcd *etcd, int64_t ttl_ms, int64_t deadline_ms,
                                      etcd_done_fn *done, void *arg)
{
    struct etcd_request *request =
        etcd_request_new(etcd, ETCD_KIND_GRANT, deadline_ms, done, arg);

    request->is_write = true;
    request->ttl_ms = ttl_ms;
    request->lease_id = etcd_lease_id_new();
    (void)etcd_put_grant(&request->body, request->lease_id, ttl_ms);
    etcd_request_start(request);
    return request;
}

static struct etcd_request *begin_lease(struct etcd *etcd, enum etcd_kind kind, int64_t lease_id,
                                        int64_t deadline_ms, etcd_done_fn *done, void *arg)
{
    struct etcd_request *request = etcd_request_new(etcd, kind, deadline_ms, done, arg);

    pgh_assert(lease_id != 0);
    request->is_write = kind != ETCD_KIND_TIME_TO_LIVE;
    request->lease_id = lease_id;
    (void)etcd_put_lease_id(&request->body, lease_id);
    etcd_request_start(request);
    return request;
}

struct etcd_request *etcd_lease_keepalive(struct etcd *etcd, int64_t lease_id, int64_t deadline_ms,
                                          etcd_done_fn *done, void *arg)
{
    return begin_lease(etcd, ETCD_KIND_KEEPALIVE, lease_id, deadline_ms, done, arg);
}

struct etcd_request *etcd_lease_time_to_live(struct etcd *etcd, int64_t lease_id,
                                             int64_t deadline_ms, etcd_done_fn *done, void *arg)
{
    return begin_lease(etcd, ETCD_KIND_TIME_TO_LIVE, lease_id, deadline_ms, done, arg);
}

struct etcd_request *etcd_lease_revoke(struct etcd *etcd, int64_t lease_id, int64_t deadline_ms,
                                       etcd_done_fn *done, void *arg)
{
    return begin_lease(etcd, ETCD_KIND_REVOKE, lease_id, deadline_ms, done, arg);
}

struct etcd_request *etcd_range(struct etcd *etcd, const char *key, bool is_prefix,
                                enum etcd_read read, int64_t deadline_ms, etcd_done_fn *done,
                                void *arg)
{
    struct etcd_request *request =
        etcd_request_new(etcd, ETCD_KIND_RANGE, deadline_ms, done, arg);

    (void)etcd_put_range(&request->body, key, is_prefix, read == ETCD_READ_SERIALIZABLE);
    etcd_request_start(request);
    return request;
}

/* The kind of answer that each op must get; returns whether one of them writes. */
static bool copy_kinds(const struct etcd_op *ops, size_t count, enum etcd_op_kind **ret)
{
    bool is_write = false;

    *ret = mem_new(count + 1, sizeof(**ret));
    for (size_t i = 0; i < count; i++) {
        enum etcd_op_kind kind = ops[i].kind;

        if (kind == ETCD_OP_DELETE_PREFIX)
            kind = ETCD_OP_DELETE;
        if (kind == ETCD_OP_GET_PREFIX)
            kind = ETCD_OP_GET;
        is_write = is_write || kind != ETCD_OP_GET;
        (*ret)[i] = kind;
    }
    return is_write;
}

struct etcd_request *etcd_txn_run(struct etcd *etcd, const struct etcd_txn *txn, bool retry_safe,
                                  int64_t deadline_ms, etcd_done_fn *done, void *arg)
{
    struct etcd_request *request = etcd_request_new(etcd, ETCD_KIND_TXN, deadline_ms, done, arg);
    bool is_success_write =
        copy_kinds(txn->success, txn->success_count, &request->success_kinds);
    bool is_failure_write =
        copy_kinds(txn->failure, txn->failure_count, &request->failure_kinds);

    request->success_count = txn->success_count;
    request->failure_count = txn->failure_count;
    request->is_write = is_success_write || is_failure_write;
    request->is_retry_safe = retry_safe || !request->is_write;
    (void)etcd_put_txn(&request->body, txn);
    etcd_request_start(request);
    return request;
}
