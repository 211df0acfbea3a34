/* ACTION_SLOT_*: one statement after the other on a session of its own, and the memory of who is
 * entitled to a retained slot (dcs.md 5.5). A change that fails is asked for again by the core's
 * next look. */
#include "agent.h"

#include <stdlib.h>
#include <string.h>

#include "pgheir/base/clock.h"
#include "pgheir/base/log.h"
#include "pgheir/base/mem.h"
#include "pgheir/base/str.h"
#include "pgheir/codec/pg_text.h"

enum { SLOTS_QUEUE_MAX = 2 * SLOT_CHANGES_MAX, SLOTS_STATEMENT_MS = 10000 };

struct slots_seen {
    char slot[SLOT_NAME_SIZE];
    int64_t at_ms;
};

struct slots {
    struct agent *agent;
    struct pg_conn *conn;
    bool is_busy;
    struct action queue[SLOTS_QUEUE_MAX];
    int first, count;
    struct slots_seen seen[MEMBERS_MAX];
    int seen_count;
};

static void slots_next(struct slots *slots);

static void
slots_on_change(struct pg_answer *answer, void *arg)
{
    struct slots *slots = arg;
    const struct action *action = &slots->queue[slots->first];

    slots->is_busy = false;
    if (answer->rc != RC_OK && !str_equal(answer->sqlstate, "42710"))
        log_warning("%s %s failed: %s", action_kind_text(action->kind), action->u.slot.name,
                    answer->err.text);
    slots->first = (slots->first + 1) % SLOTS_QUEUE_MAX;
    slots->count--;
    if (slots->count == 0)
        local_watch_hurry(slots->agent->local);
    slots_next(slots);
}

static void
slots_drop_queue(struct slots *slots, const char *why)
{
    log_debug("replication slots not changed: %s", why);
    slots->count = 0;
    pg_conn_close(slots->conn);
}

static void
slots_on_open(struct pg_answer *answer, void *arg)
{
    struct slots *slots = arg;

    slots->is_busy = false;
    if (answer->rc != RC_OK)
        slots_drop_queue(slots, answer->err.text);
    else
        slots_next(slots);
}

static enum rc
slots_run(struct slots *slots, const struct action *action, struct err *err)
{
    int64_t deadline_ms = clock_boot_ms() + SLOTS_STATEMENT_MS;

    if (action->kind == ACTION_SLOT_CREATE)
        return pg_query_slot_create(slots->conn, action->u.slot.name, deadline_ms, slots_on_change,
                                    slots, err);
    if (action->kind == ACTION_SLOT_DROP)
        return pg_query_slot_drop(slots->conn, action->u.slot.name, deadline_ms, slots_on_change,
                                  slots, err);
    return pg_query_slot_advance(slots->conn, action->u.slot.name, action->u.slot.lsn, deadline_ms,
                                 slots_on_change, slots, err);
}

static void
slots_next(struct slots *slots)
{
    struct pg_plan_target local;
    struct err err;
    enum rc rc;

    if (slots->is_busy)
        return;
    if (slots->count == 0) {
        /* Changes are rare: a session kept open would cost the server a backend. */
        pg_conn_close(slots->conn);
        return;
    }
    slots->is_busy = true;
    if (pg_conn_is_open(slots->conn)) {
        rc = slots_run(slots, &slots->queue[slots->first], &err);
    } else if (!pg_plan_local_target(slots->agent, NULL, &local)) {
        rc = err_set(&err, RC_NOT_FOUND, "the address of our own server is not known yet");
    } else {
        local.target.application_name = "pgheir slots";
        rc = pg_conn_open(slots->conn, PG_CONN_TASK, &local.target,
                          clock_boot_ms() + SLOTS_STATEMENT_MS, slots_on_open, slots, &err);
    }
    if (rc != RC_OK) {
        slots->is_busy = false;
        slots_drop_queue(slots, err.text);
    }
}

static bool
slots_is_queued(const struct slots *slots, const struct action *action)
{
    for (int i = 0; i < slots->count; i++) {
        const struct action *queued = &slots->queue[(slots->first + i) % SLOTS_QUEUE_MAX];

        if (queued->kind == action->kind && str_equal(queued->u.slot.name, action->u.slot.name))
            return true;
    }
    return false;
}

void
slots_change(struct slots *slots, const struct action *action)
{
    if (slots->count == SLOTS_QUEUE_MAX || slots_is_queued(slots, action))
        return;
    slots->queue[(slots->first + slots->count) % SLOTS_QUEUE_MAX] = *action;
    slots->count++;
    slots_next(slots);
}

/* ---- Retained slots ---- */

static struct slots_seen *
slots_find_seen(struct slots *slots, const char *slot)
{
    for (int i = 0; i < slots->seen_count; i++)
        if (str_equal(slots->seen[i].slot, slot))
            return &slots->seen[i];
    return NULL;
}

static void
slots_note(struct slots *slots, const char *slot, int64_t now_ms)
{
    struct slots_seen *seen = slots_find_seen(slots, slot);

    if (seen == NULL && slots->seen_count < MEMBERS_MAX)
        seen = &slots->seen[slots->seen_count++];
    if (seen == NULL)
        return;
    agent_copy(seen->slot, sizeof(seen->slot), slot);
    seen->at_ms = now_ms;
}

/* Names that a former leader retained start their time anew with us: behaviour.md section 10. */
static void
slots_note_retained(struct slots *slots, int64_t now_ms)
{
    const struct view_entry *entry = view_map_find(cluster_map(slots->agent->cluster), "status");
    const json_t *names = entry != NULL ? json_object_get(entry->json, "retain_slots") : NULL;

    for (size_t i = 0; i < json_array_size(names); i++) {
        const char *name = json_string_value(json_array_get(names, i));

        if (name != NULL && strlen(name) < SLOT_NAME_SIZE && slots_find_seen(slots, name) == NULL)
            slots_note(slots, name, now_ms);
    }
}

void
slots_on_view(struct slots *slots, const struct view *view)
{
    int64_t now_ms = clock_boot_ms();
    int kept = 0;

    slots_note_retained(slots, now_ms);
    for (int i = 0; i < view->member_count; i++)
        if (!view->members[i].tags.nostream)
            slots_note(slots, view->members[i].slot_name, now_ms);
    for (int i = 0; i < slots->seen_count; i++)
        if (now_ms - slots->seen[i].at_ms < view->policy.member_slots_ttl_ms)
            slots->seen[kept++] = slots->seen[i];
    slots->seen_count = kept;
}

static int
slots_compare(const void *a, const void *b)
{
    const struct slots_seen *const *left = a;
    const struct slots_seen *const *right = b;

    return strcmp((*left)->slot, (*right)->slot);
}

json_t *
slots_retained(const struct slots *slots)
{
    const struct slots_seen *sorted[MEMBERS_MAX];
    json_t *names = json_array();

    for (int i = 0; i < slots->seen_count; i++)
        sorted[i] = &slots->seen[i];
    qsort(sorted, (size_t)slots->seen_count, sizeof(sorted[0]), slots_compare);
    for (int i = 0; i < slots->seen_count; i++)
        (void)json_array_append_new(names, json_string(sorted[i]->slot));
    return names;
}

struct slots *
slots_new(struct agent *agent)
{
    struct slots *slots = mem_new(1, sizeof(*slots));

    slots->agent = agent;
    slots->conn = pg_conn_new(agent->loop, "local slots");
    return slots;
}

void
slots_free(struct slots *slots)
{
    if (slots == NULL)
        return;
    pg_conn_free(slots->conn);
    mem_free(slots);
}
