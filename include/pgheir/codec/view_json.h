/* Writers of the keys in etcd (contract/dcs.md section 5): compact separators, non-ASCII escaped,
 * Patroni's order of fields. All append to out and return RC_OK, or RC_LIMIT if out is full. */
#ifndef PGHEIR_CODEC_VIEW_JSON_H
#define PGHEIR_CODEC_VIEW_JSON_H

#include <jansson.h>

#include "pgheir/base/buf.h"
#include "pgheir/base/err.h"
#include "pgheir/model/local.h"
#include "pgheir/model/view.h"

/* What Patroni's tools are told: pgheir behaves like this version. */
#define VIEW_JSON_PATRONI_VERSION "4.1.4"

/* members/<name>. Texts NULL or "" and numbers 0 are left out. */
struct member_facts {
    const char *conn_url, *api_url, *proxy_url;
    enum pg_state state;
    enum pg_role role;
    bool checkpoint_pending;
    const json_t *tags;                   /* as published */
    bool pending_restart;
    const json_t *pending_restart_reason; /* object or NULL */
    bool is_primary;                      /* xlog_location is lsn, no receive or replay */
    uint64_t lsn;                         /* xlog_location: flush, or max(received, replayed) */
    uint64_t receive_lsn, replay_lsn;
    enum replication_state replication_state;
    uint32_t timeline;
    const json_t *scheduled_restart;
    bool pause;
    const char *instance;                 /* of this agent's life; makes the object "pgheir" */
    const char *fencing;                  /* "normal", "adopted", ...; NULL or "normal": left out */
};
enum rc view_json_put_member(struct buf *out, const struct member_facts *facts);

/* status. slots: object name -> LSN of the leader's slots and its own; NULL: carry over what old
 * says, as a writer must that only knows optime. retain: array of names, same rule. old: the value
 * last read, or NULL. Unknown fields of old are kept. */
enum rc view_json_put_status(struct buf *out, uint64_t optime_lsn, const json_t *slots,
                             const json_t *retain, const json_t *old);

/* failover. "" or NULL and 0 leave a field out; nothing at all gives {}. scheduled_at is ISO text,
 * kept as it came. */
enum rc view_json_put_failover(struct buf *out, const char *leader, const char *candidate,
                               const char *scheduled_at);

/* history. One row of the file that PostgreSQL wrote. */
struct history_fact {
    uint32_t timeline;
    uint64_t switch_lsn;
    const char *reason;
    const char *time;   /* ISO with offset, "" or NULL: none */
    const char *leader; /* "" or NULL: none */
};
/* rows replace the key, except that time and leader of rows that old has with the same timeline and
 * LSN are kept. keep: newest rows kept (max_timelines_history), 0: all. */
enum rc view_json_put_history(struct buf *out, const struct history_fact *rows, size_t count,
                              const json_t *old, int64_t keep);

/* pgheir/timeline: {"timeline":N,"leader":"name"} */
enum rc view_json_put_timeline(struct buf *out, uint32_t timeline, const char *leader);
/* pgheir/seen/<name>: {"sysid":"...","since":"2026-..."} */
enum rc view_json_put_seen(struct buf *out, uint64_t sysid, int64_t now_wall_ms);
/* initialize: decimal. */
enum rc view_json_put_sysid(struct buf *out, uint64_t sysid);
/* Any JSON value in the compact form of the keys. */
enum rc view_json_put(struct buf *out, const json_t *value);
/* The same with Patroni's default separators ", " and ": " for REST. */
enum rc view_json_put_spaced(struct buf *out, const json_t *value);

#endif
