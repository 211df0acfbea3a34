/* Programs of the user inside an operation: own methods of bootstrap and clone, post_bootstrap,
 * pre_promote, before_stop. Run by the shell, with arguments that the shell does not look at. */
#include "ops.h"

#include <string.h>

#include "pgheir/base/log.h"
#include "pgheir/base/str.h"

enum { SCRIPT_BYTES_MAX = 64 * 1024 };

void
ops_arguments_init(struct ops_arguments *arguments)
{
    arguments->count = 0;
    arguments->is_broken = false;
    buf_init(&arguments->text, SCRIPT_BYTES_MAX);
}

void
ops_arguments_done(struct ops_arguments *arguments)
{
    buf_done(&arguments->text);
}

/* Texts lie one behind the other, each with its NUL: the buffer may move while it grows. */
void
ops_arguments_add(struct ops_arguments *arguments, const char *name, const char *value)
{
    if (arguments->count == OPS_ARGUMENTS_MAX) {
        arguments->is_broken = true;
        return;
    }
    arguments->offsets[arguments->count++] = arguments->text.length;
    if ((name != NULL && buf_printf(&arguments->text, "--%s=", name) != RC_OK) ||
        buf_append(&arguments->text, value, strlen(value) + 1) != RC_OK)
        arguments->is_broken = true;
}

/* Every key of a method's section that is not ours becomes --key=value. */
void
ops_arguments_add_section(struct ops_arguments *arguments, const json_t *section,
                          const char *const *own)
{
    struct buf text;
    void *at;

    buf_init(&text, SCRIPT_BYTES_MAX);
    for (at = json_object_iter((json_t *)(uintptr_t)section); at != NULL;
         at = json_object_iter_next((json_t *)(uintptr_t)section, at)) {
        const char *key = json_object_iter_key(at);
        bool is_own = false;

        for (size_t i = 0; own[i] != NULL; i++)
            is_own = is_own || str_equal(own[i], key);
        buf_clear(&text);
        if (!is_own && policy_json_text(json_object_iter_value(at), &text))
            ops_arguments_add(arguments, key, buf_text(&text));
    }
    buf_done(&text);
}

static void
script_on_line(enum child_stream stream, const char *line, void *arg)
{
    const struct ops *ops = arg;

    log_line(stream == CHILD_STDERR ? LOG_LEVEL_WARNING : LOG_LEVEL_INFO, "%s: %s",
             ops->script_name, line);
}

static void
script_on_done(const struct child_result *result, void *arg)
{
    struct ops *ops = arg;
    struct err err = {.rc = RC_OK};

    ops->child = NULL;
    (void)child_result_check(ops->script_name, result, &err);
    ops->on_script(ops, result->outcome == CHILD_EXITED && result->exit_status == 0 ? NULL : &err);
}

void
ops_script(struct ops *ops, const char *name, const char *command,
           const struct ops_arguments *arguments, int64_t deadline_ms, ops_script_fn *done)
{
    const char *argv[OPS_ARGUMENTS_MAX + 5] = {"/bin/sh", "-c", NULL, "pgheir"};
    const char *env[] = {NULL, "PGOPTIONS=-c synchronous_commit=local -c statement_timeout=0",
                         NULL};
    struct buf text, passfile;
    struct err err;
    enum rc rc;

    buf_init(&text, SCRIPT_BYTES_MAX);
    buf_init(&passfile, PG_PATH_SIZE + 16);
    (void)buf_printf(&text, "%s \"$@\"", command);
    (void)buf_printf(&passfile, "PGPASSFILE=%s", ops->agent->site.pgpass);
    argv[2] = buf_text(&text);
    env[0] = buf_text(&passfile);
    for (int i = 0; arguments != NULL && i < arguments->count; i++)
        argv[4 + i] = buf_text(&arguments->text) + arguments->offsets[i];
    ops->script_name = name;
    ops->on_script = done;
    if (buf_is_overflown(&text) || (arguments != NULL && arguments->is_broken)) {
        rc = err_set(&err, RC_LIMIT, "%s: the command or its arguments are too long", name);
    } else {
        struct child_spec spec = {.name = name,
                                  .argv = argv,
                                  .env_set = env,
                                  .env_unset = pg_conf_env_unset(),
                                  .deadline_ms = deadline_ms,
                                  .on_line = script_on_line,
                                  .on_done = script_on_done,
                                  .arg = ops};

        rc = child_start(ops->agent->loop, &spec, &ops->child, &err);
    }
    buf_done(&text);
    buf_done(&passfile);
    if (rc != RC_OK)
        done(ops, &err);
}

void
ops_script_then_next(struct ops *ops, const struct err *err)
{
    if (err == NULL)
        ops_next(ops);
    else
        ops_fail(ops, err);
}

void
ops_script_or_not(struct ops *ops, const struct err *err)
{
    if (err != NULL)
        log_warning("%s", err->text);
    ops_next(ops);
}

void
ops_job(struct ops *ops, const char *name,
        enum rc (*work)(void *arg, struct buf *answer, struct err *err), void *work_arg,
        int64_t deadline_ms)
{
    struct job_spec spec = {.name = name,
                            .work = work,
                            .work_arg = work_arg,
                            .deadline_ms = deadline_ms,
                            .on_done = ops_on_job,
                            .arg = ops};
    struct err err;

    if (job_start(ops->agent->loop, &spec, &ops->job, &err) != RC_OK)
        ops_fail(ops, &err);
}

size_t
ops_options(const struct pg_text_pair *pairs, size_t count, struct pg_option *ret)
{
    if (count > OPS_OPTIONS_MAX)
        count = OPS_OPTIONS_MAX;
    for (size_t i = 0; i < count; i++)
        ret[i] = (struct pg_option){.name = pairs[i].name, .value = pairs[i].value};
    return count;
}
