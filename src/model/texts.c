#include "pgheir/base/base.h"
#include "pgheir/model/action.h"
#include "pgheir/model/reason.h"

static const struct {
    const char *code;
    const char *sentence;
    char severity;
} reasons[REASON_COUNT] = {
#define X(name, letter, text) [REASON_##name] = {#name, text, #letter[0]},
    REASON_TABLE(X)
#undef X
};

const char *reason_code(enum reason reason)
{
    pgh_assert(reason < REASON_COUNT);
    return reasons[reason].code;
}

const char *reason_sentence(enum reason reason)
{
    pgh_assert(reason < REASON_COUNT);
    return reasons[reason].sentence;
}

char reason_severity(enum reason reason)
{
    pgh_assert(reason < REASON_COUNT);
    return reasons[reason].severity;
}

const char *call_text(enum call call)
{
    static const char *const texts[CALL_COUNT] = {
        [CALL_LEASE_GRANT] = "lease_grant",         [CALL_LEASE_KEEPALIVE] = "lease_keepalive",
        [CALL_LEASE_ASK] = "lease_ask",             [CALL_VIEW_READ] = "view_read",
        [CALL_LEADER_ACQUIRE] = "leader_acquire",   [CALL_LEADER_MOVE] = "leader_move",
        [CALL_LEADER_RELEASE] = "leader_release",   [CALL_INIT_RACE] = "init_race",
        [CALL_INIT_COMMIT] = "init_commit",         [CALL_INIT_ABORT] = "init_abort",
        [CALL_INIT_WRITE] = "init_write",           [CALL_CONFIG_RESTORE] = "config_restore",
        [CALL_TIMELINE_CLAIM] = "timeline_claim",   [CALL_STATUS_PUT] = "status_put",
        [CALL_HISTORY_PUT] = "history_put",         [CALL_FAILOVER_CLEAR] = "failover_clear",
        [CALL_MEMBER_PUT] = "member_put",
    };
    pgh_assert(call < CALL_COUNT);
    return texts[call];
}

const char *call_outcome_text(enum call_outcome outcome)
{
    static const char *const texts[OUTCOME_COUNT] = {
        [OUTCOME_OK] = "ok",           [OUTCOME_REFUSED] = "refused",
        [OUTCOME_LEASE_GONE] = "lease_gone", [OUTCOME_UNKNOWN] = "unknown",
        [OUTCOME_UNAVAILABLE] = "unavailable",
    };
    pgh_assert(outcome < OUTCOME_COUNT);
    return texts[outcome];
}

const char *op_kind_text(enum op_kind kind)
{
    static const char *const texts[OP_COUNT] = {
        [OP_NONE] = "none",
        [OP_BOOTSTRAP] = "bootstrap",
        [OP_CLONE] = "clone",
        [OP_START_PRIMARY] = "start_primary",
        [OP_START_STANDBY] = "start_standby",
        [OP_STOP] = "stop",
        [OP_PROMOTE] = "promote",
        [OP_FOLLOW] = "follow",
        [OP_CHECKPOINT] = "checkpoint",
        [OP_REWIND] = "rewind",
        [OP_RESTART] = "restart",
    };
    pgh_assert(kind < OP_COUNT);
    return texts[kind];
}

const char *event_kind_text(enum event_kind kind)
{
    static const char *const texts[EVENT_COUNT] = {
        [EVENT_TIMER] = "timer",       [EVENT_VIEW] = "view",         [EVENT_CALL] = "call",
        [EVENT_LOCAL] = "local",       [EVENT_OP_DONE] = "op_done",   [EVENT_PEERS] = "peers",
        [EVENT_HISTORY] = "history",   [EVENT_REQUEST] = "request",   [EVENT_SHUTDOWN] = "shutdown",
        [EVENT_IDENTITY] = "identity", [EVENT_FENCED] = "fenced",
    };
    pgh_assert(kind < EVENT_COUNT);
    return texts[kind];
}

const char *action_kind_text(enum action_kind kind)
{
    static const char *const texts[ACTION_COUNT] = {
        [ACTION_NOTE] = "note",
        [ACTION_FENCE] = "fence",
        [ACTION_OP_CANCEL] = "op_cancel",
        [ACTION_OP_BEGIN] = "op_begin",
        [ACTION_CALL] = "call",
        [ACTION_PEERS_ASK] = "peers_ask",
        [ACTION_HISTORY_READ] = "history_read",
        [ACTION_SLOT_CREATE] = "slot_create",
        [ACTION_SLOT_ADVANCE] = "slot_advance",
        [ACTION_SLOT_DROP] = "slot_drop",
        [ACTION_CONF_APPLY] = "conf_apply",
        [ACTION_STATE_SAVE] = "state_save",
        [ACTION_REPLY] = "reply",
        [ACTION_EXIT] = "exit",
    };
    pgh_assert(kind < ACTION_COUNT);
    return texts[kind];
}
