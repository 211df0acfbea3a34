/* Decisions in the log: "sentence reason=code member=... value=...", once per change. */
#include "agent.h"

#include <inttypes.h>
#include <stdio.h>

#include "pgheir/base/clock.h"
#include "pgheir/base/log.h"
#include "pgheir/base/str.h"

enum {
    NOTES_TEXT_SIZE = 512,
    NOTES_STANDING_PACE_MS = 9500 /* ten seconds, and no beat of the timer lost to rounding */
};

static enum log_level
notes_level(enum reason reason)
{
    switch (reason_severity(reason)) {
    case 'D':
        return LOG_LEVEL_DEBUG;
    case 'W':
        return LOG_LEVEL_WARNING;
    case 'E':
        return LOG_LEVEL_ERROR;
    default:
        return LOG_LEVEL_INFO;
    }
}

const char *
notes_format(enum reason reason, const char *member, int64_t value, char *out, size_t size)
{
    int length = snprintf(out, size, "%s reason=%s", reason_sentence(reason), reason_code(reason));

    if (!str_is_empty(member) && length > 0 && (size_t)length < size)
        length += snprintf(out + length, size - (size_t)length, " member=%s", member);
    if (value != 0 && length > 0 && (size_t)length < size)
        (void)snprintf(out + length, size - (size_t)length, " value=%" PRId64, value);
    return out;
}

static uint32_t
notes_hash(const char *text)
{
    uint32_t hash = 2166136261u; /* FNV-1a */

    for (; *text != '\0'; text++)
        hash = (hash ^ (unsigned char)*text) * 16777619u;
    return hash;
}

/* "" where there is nothing to say. */
static void
notes_standing(const struct agent *agent, const struct core_status *status, char *out, size_t size)
{
    const char *name = agent->identity.name;
    const char *pause = status->paused ? "PAUSE: " : "";

    out[0] = '\0';
    if (status->is_primary_serving)
        (void)snprintf(out, size, "%sno action. I am (%s), the leader with the lock", pause, name);
    else if (status->reason == REASON_ETCD_SILENT)
        (void)snprintf(out, size, "%setcd is not accessible. I am (%s), in the role %s", pause,
                       name, pg_role_text(status->pg_role));
    else if (status->reason == REASON_FOLLOWING_LEADER)
        (void)snprintf(out, size,
                       "%sno action. I am (%s), a secondary, and following a leader (%s)", pause,
                       name, status->reason_member);
    else if (status->paused)
        (void)snprintf(out, size, "PAUSE: no action. I am (%s)", name);
}

/* What Patroni writes once per loop, because people and tools look for it: at its default pace,
 * however short loop_wait is, and at once when it is another line than before. */
void
notes_on_heartbeat(void *arg)
{
    struct agent *agent = arg;
    int64_t now_ms = clock_boot_ms();
    struct core_status status;
    char text[NOTES_TEXT_SIZE];
    uint32_t hash;

    loop_timer_arm(agent->heartbeat, now_ms + agent_policy(agent)->loop_wait_ms);
    if (!agent->is_open)
        return;
    agent_describe(agent, &status);
    notes_standing(agent, &status, text, sizeof(text));
    hash = notes_hash(text);
    if (hash == agent->standing_hash && now_ms < agent->standing_again_ms)
        return;
    agent->standing_hash = hash;
    agent->standing_again_ms = now_ms + NOTES_STANDING_PACE_MS;
    if (text[0] != '\0')
        log_line(status.reason == REASON_ETCD_SILENT ? LOG_LEVEL_WARNING : LOG_LEVEL_INFO, "%s",
                 text);
}

/* What a person asked for is told each time it is asked for. */
static bool
notes_is_of_people(enum reason reason)
{
    static const enum reason reasons[] = {
        REASON_SWITCHOVER_BEGIN,    REASON_SWITCHOVER_STOP, REASON_SWITCHOVER_RELEASE,
        REASON_SWITCHOVER_REJECTED, REASON_SWITCHOVER_BACK, REASON_RESTART_BEGIN,
        REASON_RESTART_DONE,        REASON_RESTART_FAILED,  REASON_REINIT_BEGIN};

    for (size_t i = 0; i < PGH_COUNT(reasons); i++)
        if (reasons[i] == reason)
            return true;
    return false;
}

/* True if this very decision was taken a moment ago, and again and again since. */
static bool
notes_is_repeated(struct agent *agent, const struct action *action)
{
    struct agent_noted *last = &agent->noted[action->u.note.reason];
    struct agent_noted new = {.seen_at_ms = clock_boot_ms(),
                              .value = action->u.note.value,
                              .member_hash = notes_hash(action->u.note.member)};
    int64_t span_ms = 3 * agent_policy(agent)->loop_wait_ms;
    bool is_repeated = last->seen_at_ms != 0 && last->value == new.value &&
                       last->member_hash == new.member_hash &&
                       new.seen_at_ms - last->seen_at_ms < span_ms;

    *last = new;
    return is_repeated;
}

void
notes_write(struct agent *agent, const struct action *action)
{
    enum reason reason = action->u.note.reason;
    char text[NOTES_TEXT_SIZE];

    if (notes_is_repeated(agent, action) && !notes_is_of_people(reason))
        return;
    (void)notes_format(reason, action->u.note.member, action->u.note.value, text, sizeof(text));
    /* Both identities are needed to see which of the two is the mistake (BC-02). */
    if (reason == REASON_FOREIGN_SYSID && agent_view(agent) != NULL)
        log_error("%s cluster=%" PRIu64, text, agent_view(agent)->sysid);
    else
        log_line(notes_level(reason), "%s", text);
}
