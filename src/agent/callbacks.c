/* postgresql.callbacks: the user's programs, outside of the loop. A newer call ends the one that
 * runs, with all its children, before it begins; on_reload has a place of its own and never ends
 * a role change (PD-10). */
#include "agent.h"

#include <string.h>

#include "pgheir/base/clock.h"
#include "pgheir/base/log.h"
#include "pgheir/base/mem.h"
#include "pgheir/base/str.h"

enum { CALLBACK_MS = 86400000, CALLBACK_BYTES_MAX = 16 * 1024, CALLBACK_TEXT_SIZE = 24 };

/* One of the two places. */
struct callback_place {
    struct callbacks *callbacks;
    struct child *child;
    bool is_next;
    char next_action[CALLBACK_TEXT_SIZE], next_role[CALLBACK_TEXT_SIZE];
};

struct callbacks {
    struct agent *agent;
    struct callback_place change, reload;
    char role[CALLBACK_TEXT_SIZE]; /* as called last */
};

static void callback_start(struct callback_place *place, const char *action, const char *role);

static const char *
callback_command(const struct callbacks *callbacks, const char *action)
{
    const struct conf_callbacks *conf = &callbacks->agent->pg.callbacks;

    if (str_equal(action, "on_start"))
        return conf->on_start;
    if (str_equal(action, "on_stop"))
        return conf->on_stop;
    if (str_equal(action, "on_restart"))
        return conf->on_restart;
    if (str_equal(action, "on_reload"))
        return conf->on_reload;
    return conf->on_role_change;
}

static void
callback_on_line(enum child_stream stream, const char *line, void *arg)
{
    (void)arg;
    log_line(stream == CHILD_STDERR ? LOG_LEVEL_WARNING : LOG_LEVEL_INFO, "callback: %s", line);
}

static void
callback_on_done(const struct child_result *result, void *arg)
{
    struct callback_place *place = arg;
    struct err err;

    place->child = NULL;
    if (result->outcome != CHILD_CANCELLED &&
        child_result_check("callback", result, &err) != RC_OK)
        log_warning("%s", err.text);
    if (!place->is_next)
        return;
    place->is_next = false;
    callback_start(place, place->next_action, place->next_role);
}

static void
callback_start(struct callback_place *place, const char *action, const char *role)
{
    struct callbacks *callbacks = place->callbacks;
    const char *command = callback_command(callbacks, action);
    struct buf text;
    struct err err;

    if (str_is_empty(command))
        return;
    buf_init(&text, CALLBACK_BYTES_MAX);
    (void)buf_printf(&text, "%s \"$@\"", command);
    {
        const char *argv[] = {"/bin/sh", "-c", buf_text(&text), "pgheir", action, role,
                              callbacks->agent->scope, NULL};
        struct child_spec spec = {.name = action,
                                  .argv = argv,
                                  .env_unset = pg_conf_env_unset(),
                                  .deadline_ms = clock_boot_ms() + CALLBACK_MS,
                                  .on_line = callback_on_line,
                                  .on_done = callback_on_done,
                                  .arg = place};

        if (buf_is_overflown(&text))
            log_error("callback %s is longer than %d bytes: not called", action,
                      CALLBACK_BYTES_MAX);
        else if (child_start(callbacks->agent->loop, &spec, &place->child, &err) != RC_OK)
            log_warning("callback %s: %s", action, err.text);
    }
    buf_done(&text);
}

void
callbacks_call(struct callbacks *callbacks, const char *action, const char *role)
{
    struct callback_place *place =
        str_equal(action, "on_reload") ? &callbacks->reload : &callbacks->change;

    if (place == &callbacks->change)
        agent_copy(callbacks->role, sizeof(callbacks->role), role);
    if (place->child == NULL) {
        callback_start(place, action, role);
        return;
    }
    place->is_next = true;
    agent_copy(place->next_action, sizeof(place->next_action), action);
    agent_copy(place->next_role, sizeof(place->next_role), role);
    child_cancel(place->child);
}

/* behaviour.md section 11: a start or restart in another role than before is a role change. */
void
callbacks_on_op(struct callbacks *callbacks, enum op_kind kind, enum op_result result,
                bool is_standby)
{
    const char *role = is_standby ? "replica" : "primary";
    bool is_same = str_is_empty(callbacks->role) || str_equal(callbacks->role, role);

    if (result != OP_RESULT_OK && !(kind == OP_STOP && result == OP_RESULT_TIMEOUT))
        return;
    if (kind == OP_PROMOTE)
        callbacks_call(callbacks, "on_role_change", "primary");
    else if (kind == OP_START_PRIMARY || kind == OP_START_STANDBY)
        callbacks_call(callbacks, is_same ? "on_start" : "on_role_change", role);
    else if (kind == OP_RESTART)
        callbacks_call(callbacks, is_same ? "on_restart" : "on_role_change", role);
    else if (kind == OP_STOP && !str_is_empty(callbacks->role))
        callbacks_call(callbacks, "on_stop", callbacks->role);
}

struct callbacks *
callbacks_new(struct agent *agent)
{
    struct callbacks *callbacks = mem_new(1, sizeof(*callbacks));

    callbacks->agent = agent;
    callbacks->change.callbacks = callbacks;
    callbacks->reload.callbacks = callbacks;
    return callbacks;
}

void
callbacks_free(struct callbacks *callbacks)
{
    if (callbacks == NULL)
        return;
    if (callbacks->change.child != NULL)
        child_free(callbacks->change.child);
    if (callbacks->reload.child != NULL)
        child_free(callbacks->reload.child);
    mem_free(callbacks);
}
