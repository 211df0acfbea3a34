/* list, topology, history, show-config, version: what only looks. */
#include "ctl.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "pgheir/base/str.h"
#include "pgheir/codec/rest_json.h"
#include "pgheir/codec/view_json.h"

enum { WATCH_MS = 2000, VERSION_MS = 5000, TEXT_MAX = 16 * 1024 * 1024 };

static void clear_screen(void)
{
    if (isatty(STDOUT_FILENO) == 1)
        (void)fputs("\033[2J\033[1;1H", stdout);
}

static int list_one(struct ctl *ctl, const char *name, bool extended, enum ctl_format format)
{
    struct ctl_cluster cluster;
    int code = ctl_cluster_read(ctl, name, &cluster);

    if (code == CTL_DONE) {
        ctl_cluster_print(&cluster, extended, format);
        if (ctl_cluster_is_unknown(&cluster) && !ctl->is_patronictl)
            code = ctl_cluster_fail_unknown(ctl, &cluster);
    }
    ctl_cluster_done(&cluster);
    return code;
}

static int list_all(struct ctl *ctl, const struct opt_values *values, bool extended,
                    enum ctl_format format)
{
    int worst = CTL_DONE;

    if (values->argument_count == 0)
        return list_one(ctl, NULL, extended, format);
    for (int i = 0; i < values->argument_count; i++) {
        int code = list_one(ctl, values->arguments[i], extended, format);

        if (code != CTL_DONE)
            worst = code;
    }
    return worst;
}

static int list(struct ctl *ctl, const struct opt_values *values, bool extended,
                bool with_timestamp, enum ctl_format format)
{
    const char *span = opt_text(values, "--watch");
    int64_t watch_ms = opt_is_given(values, "-W") ? WATCH_MS : 0;
    char time[CTL_TIME_SIZE];
    int code;

    if (span != NULL && strtod(span, NULL) > 0)
        watch_ms = (int64_t)(strtod(span, NULL) * 1000);
    /* The original only warns, and succeeds. */
    if (values->argument_count == 0 && str_is_empty(ctl->conf->scope) && ctl->is_patronictl) {
        ctl_warn("Listing members: No cluster names were provided");
        return CTL_DONE;
    }
    for (;;) {
        if (watch_ms > 0)
            clear_screen();
        if (with_timestamp)
            (void)printf("%s\n", ctl_timestamp(false, time));
        code = list_all(ctl, values, extended, format);
        (void)fflush(stdout);
        if (watch_ms == 0 || ferror(stdout) != 0)
            return code;
        ctl_wait(ctl, watch_ms);
    }
}

static enum ctl_format read_format(const struct opt_values *values)
{
    enum ctl_format format = CTL_PRETTY;

    if (opt_is_given(values, "--format"))
        pgh_assert(ctl_format_parse(opt_text(values, "--format"), &format));
    return format;
}

int cmd_list(struct ctl *ctl, const struct opt_values *values)
{
    return list(ctl, values, opt_is_given(values, "--extended"),
                opt_is_given(values, "--timestamp"), read_format(values));
}

int cmd_topology(struct ctl *ctl, const struct opt_values *values)
{
    return list(ctl, values, false, false, CTL_TOPOLOGY);
}

int cmd_history(struct ctl *ctl, const struct opt_values *values)
{
    struct ctl_cluster cluster;
    struct buf text;
    json_t *history;
    int code = ctl_cluster_read(ctl, values->argument_count > 0 ? values->arguments[0] : NULL,
                                &cluster);

    if (code == CTL_DONE && ctl_cluster_is_unknown(&cluster) && !ctl->is_patronictl) {
        code = ctl_cluster_fail_unknown(ctl, &cluster);
    } else if (code == CTL_DONE) {
        buf_init(&text, TEXT_MAX);
        history = rest_json_history(cluster.map);
        if (ctl_put_history(&text, history, read_format(values)) != RC_OK)
            ctl_warn("the history is larger than 16 MiB and was cut");
        json_decref(history);
        ctl_print(&text);
    }
    ctl_cluster_done(&cluster);
    return code;
}

int cmd_show_config(struct ctl *ctl, const struct opt_values *values)
{
    struct ctl_cluster cluster;
    const json_t *config;
    struct buf text;
    int code = ctl_cluster_read(ctl, values->argument_count > 0 ? values->arguments[0] : NULL,
                                &cluster);

    config = code == CTL_DONE ? view_map_config(cluster.map) : NULL;
    if (config != NULL) {
        buf_init(&text, TEXT_MAX);
        if (ctl_put_yaml(&text, config) != RC_OK || buf_puts(&text, "\n") != RC_OK)
            ctl_warn("the configuration is larger than 16 MiB and was cut");
        ctl_print(&text);
    } else if (code == CTL_DONE && !ctl->is_patronictl) {
        code = ctl_cluster_is_unknown(&cluster)
                   ? ctl_cluster_fail_unknown(ctl, &cluster)
                   : ctl_fail("the cluster %s has no valid key config in etcd", cluster.name);
    }
    ctl_cluster_done(&cluster);
    return code;
}

/* 150020 is 15.20, 90603 is 9.6.3. */
static void put_pg_version(json_int_t number, struct buf *out)
{
    if (number <= 0)
        return;
    if (number < 100000)
        (void)buf_printf(out, " PostgreSQL %lld.%lld.%lld", (long long)(number / 10000),
                         (long long)(number / 100 % 100), (long long)(number % 100));
    else
        (void)buf_printf(out, " PostgreSQL %lld.%lld", (long long)(number / 10000),
                         (long long)(number % 10000));
}

static void print_member_version(struct ctl *ctl, const struct member *member)
{
    struct ctl_reply reply;
    struct buf line;
    json_t *document;
    const char *version;

    ctl_ask(ctl, member->api_url, "GET", "patroni", NULL, VERSION_MS, &reply);
    buf_init(&line, 1024);
    document = reply.fate == HTTP_ANSWERED
                   ? json_loadb(buf_text(&reply.body), reply.body.length, 0, NULL)
                   : NULL;
    version = json_string_value(json_object_get(json_object_get(document, "patroni"), "version"));
    if (version != NULL) {
        (void)buf_printf(&line, "%s: Patroni %s", member->name, version); /* cut if absurd */
        put_pg_version(json_integer_value(json_object_get(document, "server_version")), &line);
    } else {
        (void)buf_printf(&line, "%s: failed to get version: %s", member->name,
                         reply.fate == HTTP_ANSWERED ? "the answer is no status document"
                                                     : reply.err.text);
        ctl_note(ctl, CTL_FAILED);
    }
    (void)printf("%s\n", buf_text(&line));
    json_decref(document);
    buf_done(&line);
    ctl_reply_done(&reply);
}

int cmd_version(struct ctl *ctl, const struct opt_values *values)
{
    struct ctl_cluster cluster;
    int code;

    (void)printf(ctl->is_patronictl ? "%s version %s\n" : "%s version %s (pgheir %s)\n",
                 ctl->program, VIEW_JSON_PATRONI_VERSION, PGHEIR_VERSION);
    if (values->argument_count == 0)
        return CTL_DONE;
    (void)printf("\n");
    code = ctl_cluster_read(ctl, values->arguments[0], &cluster);
    if (code == CTL_DONE && ctl_cluster_is_unknown(&cluster) && !ctl->is_patronictl)
        code = ctl_cluster_fail_unknown(ctl, &cluster);
    for (int i = 0; code == CTL_DONE && i < cluster.view->member_count; i++) {
        const struct member *member = &cluster.view->members[i];
        bool is_wanted = values->argument_count == 1;

        for (int n = 1; n < values->argument_count; n++)
            is_wanted = is_wanted || str_equal(values->arguments[n], member->name);
        if (is_wanted && member->api_url[0] != '\0')
            print_member_version(ctl, member);
    }
    ctl_cluster_done(&cluster);
    return code;
}
