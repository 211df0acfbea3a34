/* ACTION_HISTORY_READ: is the leader's server a primary, on which timeline, and how did it get
 * there? Asked over SQL and the replication protocol, because the number of a timeline alone
 * proves nothing (TR-02).
 *
 *   name -> address -> session, pg_is_in_recovery()
 *        -> replication session, IDENTIFY_SYSTEM -> TIMELINE_HISTORY */
#include "agent.h"

#include <string.h>

#include "pgheir/base/clock.h"
#include "pgheir/base/log.h"
#include "pgheir/base/mem.h"
#include "pgheir/base/str.h"

struct history_reader {
    struct agent *agent;
    bool is_busy;
    struct member leader; /* as it was when we began */
    char address[RESOLVER_ADDRESS_SIZE];
    int64_t deadline_ms;
    struct resolver_lookup *lookup;
    struct pg_conn *conn;
    bool is_primary;
    uint32_t timeline;
    /* The last good answer. */
    int count;
    struct history_row *rows;
    uint32_t known_timeline;
};

static void
reader_finish(struct history_reader *reader, bool is_ok, const char *why)
{
    struct event event = {.kind = EVENT_HISTORY};

    pg_conn_free(reader->conn);
    reader->conn = NULL;
    reader->is_busy = false;
    if (!is_ok)
        log_info("cannot read the timeline history of %s: %s", reader->leader.name, why);
    event.u.history.ok = is_ok;
    agent_copy(event.u.history.leader, sizeof(event.u.history.leader), reader->leader.name);
    event.u.history.leader_is_primary = is_ok && reader->is_primary;
    event.u.history.timeline = is_ok ? reader->timeline : 0;
    event.u.history.count = is_ok ? reader->count : 0;
    event.u.history.rows = reader->rows;
    agent_post(reader->agent, &event);
}

static void
reader_keep(struct history_reader *reader, const struct pg_history *history)
{
    int first = 0;

    if (history != NULL && history->count > HISTORY_MAX)
        first = history->count - HISTORY_MAX;
    reader->count = 0;
    for (int i = first; history != NULL && i < history->count; i++)
        reader->rows[reader->count++] = (struct history_row){history->rows[i].timeline,
                                                             history->rows[i].switch_lsn};
    reader->known_timeline = reader->timeline;
}

static void
reader_on_history(const struct pg_history *history, struct pg_answer *answer, void *arg)
{
    struct history_reader *reader = arg;

    if (history == NULL) {
        reader_finish(reader, false, answer->err.text);
        return;
    }
    reader_keep(reader, history);
    reader_finish(reader, true, NULL);
}

static void
reader_on_identity(const struct pg_identity *identity, struct pg_answer *answer, void *arg)
{
    struct history_reader *reader = arg;
    struct err err;

    if (identity == NULL) {
        reader_finish(reader, false, answer->err.text);
        return;
    }
    reader->timeline = identity->timeline;
    if (identity->timeline <= 1) {
        reader_keep(reader, NULL);
        reader_finish(reader, true, NULL);
        return;
    }
    if (pg_query_history(reader->conn, identity->timeline, reader->deadline_ms, reader_on_history,
                         reader, &err) != RC_OK)
        reader_finish(reader, false, err.text);
}

static void
reader_on_replication(struct pg_answer *answer, void *arg)
{
    struct history_reader *reader = arg;
    struct err err;

    if (answer->rc != RC_OK)
        reader_finish(reader, false, answer->err.text);
    else if (pg_query_identify(reader->conn, reader->deadline_ms, reader_on_identity, reader,
                               &err) != RC_OK)
        reader_finish(reader, false, err.text);
}

static void
reader_connect(struct history_reader *reader, enum pg_conn_kind kind, const struct conf_role *role,
               pg_answer_fn *on_open)
{
    struct pg_conn_target target;
    struct err err;

    pg_conn_free(reader->conn);
    reader->conn = pg_conn_new(reader->agent->loop, reader->leader.name);
    pg_plan_remote_target(reader->agent, &reader->leader, reader->address, role, &target);
    if (pg_conn_open(reader->conn, kind, &target, reader->deadline_ms, on_open, reader, &err) !=
        RC_OK)
        reader_finish(reader, false, err.text);
}

static void
reader_on_recovery(bool is_in_recovery, struct pg_answer *answer, void *arg)
{
    struct history_reader *reader = arg;

    if (answer->rc != RC_OK) {
        reader_finish(reader, false, answer->err.text);
        return;
    }
    reader->is_primary = !is_in_recovery;
    reader_connect(reader, PG_CONN_REPLICATION, &reader->agent->pg.replication,
                   reader_on_replication);
}

static void
reader_on_session(struct pg_answer *answer, void *arg)
{
    struct history_reader *reader = arg;
    struct err err;

    if (answer->rc != RC_OK)
        reader_finish(reader, false, answer->err.text);
    else if (pg_query_is_in_recovery(reader->conn, reader->deadline_ms, reader_on_recovery, reader,
                                     &err) != RC_OK)
        reader_finish(reader, false, err.text);
}

static void
reader_on_address(const struct resolver_answer *answer, void *arg)
{
    struct history_reader *reader = arg;

    reader->lookup = NULL;
    if (answer->rc == RC_CANCELLED)
        return;
    if (answer->rc != RC_OK) {
        reader_finish(reader, false, answer->err->text);
        return;
    }
    agent_copy(reader->address, sizeof(reader->address), answer->addresses[0]);
    reader_connect(reader, PG_CONN_PLAIN, pg_plan_rewind_role(reader->agent), reader_on_session);
}

void
history_reader_begin(struct history_reader *reader, const struct action *action)
{
    const struct view *view = agent_view(reader->agent);
    const struct member *leader =
        view != NULL ? view_find_member(view, action->u.history.leader) : NULL;

    pgh_assert(!reader->is_busy);
    reader->is_busy = true;
    reader->deadline_ms = action->u.history.deadline_ms;
    reader->is_primary = false;
    if (leader == NULL || str_is_empty(leader->conn_host)) {
        reader->leader = (struct member){0};
        agent_copy(reader->leader.name, sizeof(reader->leader.name),
                       action->u.history.leader);
        reader_finish(reader, false, "its member key gives no conn_url");
        return;
    }
    reader->leader = *leader;
    reader->lookup = resolver_lookup_begin(reader->agent->resolver, leader->conn_host,
                                           reader->deadline_ms, reader_on_address, reader);
}

bool
history_reader_find_fork(const struct history_reader *reader, uint32_t timeline, uint64_t *ret_lsn)
{
    for (int i = 0; i < reader->count; i++) {
        if (reader->rows[i].timeline != timeline)
            continue;
        *ret_lsn = reader->rows[i].switch_lsn;
        return true;
    }
    return false;
}

struct history_reader *
history_reader_new(struct agent *agent)
{
    struct history_reader *reader = mem_new(1, sizeof(*reader));

    reader->agent = agent;
    reader->rows = mem_new(HISTORY_MAX, sizeof(*reader->rows));
    return reader;
}

void
history_reader_free(struct history_reader *reader)
{
    if (reader == NULL)
        return;
    if (reader->lookup != NULL)
        resolver_lookup_cancel(reader->lookup);
    pg_conn_free(reader->conn);
    mem_free(reader->rows);
    mem_free(reader);
}
