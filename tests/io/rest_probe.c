/* The REST door with a handler of its own, for tests/io/test_rest.py.
 * Arguments are key=value; see read_argument(). Prints "listening PORT" and serves until SIGTERM.
 * SIGHUP reads the configuration (the same arguments, plus those of the file named by reload=) and
 * prints "reloaded" or the error. SIGUSR1 closes the listener. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pgheir/base/clock.h"
#include "pgheir/base/mem.h"
#include "pgheir/base/str.h"
#include "pgheir/io/loop.h"
#include "pgheir/io/rest.h"
#include "pgheir/io/resolver.h"

enum { LIST_MAX = 16, LATE_MAX = 64 };

struct late {
    struct probe *probe;
    struct rest_request *request;
    struct loop_timer *timer;
};

struct probe {
    struct loop *loop;
    struct resolver *resolver;
    struct rest *rest;
    struct rest_options options;
    const char *allow[LIST_MAX];
    const char *members[LIST_MAX];
    int member_count;
    struct rest_header http_headers[LIST_MAX];
    struct rest_header https_headers[LIST_MAX];
    struct late lates[LATE_MAX];
    const char *reload_path;
    char line[1024]; /* of the reload file; the options point into it */
};

static void add_header(struct rest_header *headers, int *count, char *text)
{
    char *colon = strchr(text, ':');

    if (colon == NULL || *count == LIST_MAX)
        return;
    *colon = '\0';
    headers[*count] = (struct rest_header){text, colon + 1};
    (*count)++;
}

static void read_argument(struct probe *probe, char *argument)
{
    struct rest_options *o = &probe->options;
    char *value = strchr(argument, '=');

    if (value == NULL)
        return;
    *value++ = '\0';
    if (str_equal(argument, "listen"))
        o->listen = value;
    else if (str_equal(argument, "certfile"))
        o->certfile = value;
    else if (str_equal(argument, "keyfile"))
        o->keyfile = value;
    else if (str_equal(argument, "keyfile_password"))
        o->keyfile_password = value;
    else if (str_equal(argument, "cafile"))
        o->cafile = value;
    else if (str_equal(argument, "ciphers"))
        o->ciphers = value;
    else if (str_equal(argument, "username"))
        o->username = value;
    else if (str_equal(argument, "password"))
        o->password = value;
    else if (str_equal(argument, "verify"))
        o->verify_client = str_equal(value, "required")   ? REST_VERIFY_REQUIRED
                           : str_equal(value, "optional") ? REST_VERIFY_OPTIONAL
                                                          : REST_VERIFY_NONE;
    else if (str_equal(argument, "tokens"))
        o->server_tokens = str_equal(value, "minimal")       ? REST_TOKENS_MINIMAL
                           : str_equal(value, "productonly") ? REST_TOKENS_PRODUCTONLY
                                                             : REST_TOKENS_ORIGINAL;
    else if (str_equal(argument, "allow") && o->allowlist_count < LIST_MAX)
        probe->allow[o->allowlist_count++] = value;
    else if (str_equal(argument, "member") && probe->member_count < LIST_MAX)
        probe->members[probe->member_count++] = value;
    else if (str_equal(argument, "include_members"))
        o->allowlist_include_members = true;
    else if (str_equal(argument, "backlog"))
        o->backlog = (int)strtol(value, NULL, 10);
    else if (str_equal(argument, "http_header"))
        add_header(probe->http_headers, &o->http_header_count, value);
    else if (str_equal(argument, "https_header"))
        add_header(probe->https_headers, &o->https_header_count, value);
    else if (str_equal(argument, "reload"))
        probe->reload_path = value;
}

static unsigned route(enum rest_method method, const char *path, void *arg)
{
    (void)arg;
    if (method <= REST_OPTIONS)
        return REST_ROUTE_KNOWN;
    if (str_equal(path, "/failsafe"))
        return REST_ROUTE_KNOWN | REST_ROUTE_PROTECTED | REST_ROUTE_NO_MEMBERS;
    if (str_equal(path, "/length"))
        return REST_ROUTE_KNOWN | REST_ROUTE_PROTECTED | REST_ROUTE_NEEDS_LENGTH;
    if (str_equal(path, "/echo") || str_equal(path, "/late") || str_equal(path, "/never"))
        return REST_ROUTE_KNOWN | REST_ROUTE_PROTECTED;
    return REST_ROUTE_NONE;
}

static void on_late(void *arg)
{
    struct late *late = arg;
    struct rest_request *request = late->request;

    loop_timer_free(late->timer);
    late->timer = NULL;
    late->request = NULL;
    rest_answer_text(request, 200, rest_request_is_gone(request) ? "gone" : "late");
}

static void answer_late(struct probe *probe, struct rest_request *request, int64_t wait_ms)
{
    for (int i = 0; i < LATE_MAX; i++) {
        struct late *late = &probe->lates[i];

        if (late->request != NULL)
            continue;
        late->probe = probe;
        late->request = request;
        late->timer = loop_timer_new(probe->loop, on_late, late);
        loop_timer_arm(late->timer, clock_boot_ms() + wait_ms);
        return;
    }
    rest_answer_text(request, 503, "too many");
}

static void handle(struct rest_request *request, const struct rest_question *question, void *arg)
{
    static const struct rest_header extra = {"lsn", "42"};
    struct probe *probe = arg;
    struct rest_answer answer = {.status = 200, .type = REST_JSON, .body = "{}"};
    struct rest_info info;
    char text[256];
    int64_t wait_ms = 100;

    if (str_equal(question->path, "/late") || str_equal(question->path, "/never")) {
        if (str_starts_with(question->query, "ms="))
            (void)str_parse_int64(question->query + strlen("ms="), &wait_ms);
        if (str_equal(question->path, "/never"))
            rest_request_set_deadline(request, clock_boot_ms() + 300, 503, "status unknown");
        answer_late(probe, request, wait_ms);
        return;
    }
    if (str_equal(question->path, "/status-only")) {
        answer.type = REST_STATUS_ONLY;
    } else if (str_equal(question->path, "/query")) {
        (void)str_format(text, sizeof(text), "query=%s", question->query);
        answer.type = REST_PLAIN;
        answer.body = text;
    } else if (str_equal(question->path, "/peer")) {
        (void)str_format(text, sizeof(text), "%s tls=%d", question->peer, question->is_tls);
        answer.type = REST_HTML;
        answer.body = text;
    } else if (str_equal(question->path, "/info")) {
        rest_get_info(probe->rest, &info);
        (void)str_format(text, sizeof(text), "%d %d %llu %lld", info.connection_count,
                         info.request_count, (unsigned long long)info.evicted_count,
                         (long long)info.certificate_ends_wall_ms);
        answer.type = REST_PLAIN;
        answer.body = text;
    } else if (question->method >= REST_POST) {
        answer.type = REST_HTML;
        answer.body = question->body;
        answer.body_length = question->body_length;
        answer.headers = &extra;
        answer.header_count = 1;
    }
    rest_answer(request, &answer);
}

static void on_reload(int signo, void *arg)
{
    struct probe *probe = arg;
    struct err err = {.rc = RC_OK};
    FILE *file;

    (void)signo;
    file = probe->reload_path == NULL ? NULL : fopen(probe->reload_path, "r");
    if (file != NULL) {
        char *saved = NULL;
        size_t length = fread(probe->line, 1, sizeof(probe->line) - 1, file);

        probe->line[length] = '\0';
        (void)fclose(file);
        for (char *word = strtok_r(probe->line, " \n", &saved); word != NULL;
             word = strtok_r(NULL, " \n", &saved))
            read_argument(probe, word);
    }
    if (rest_configure(probe->rest, &probe->options, &err) == RC_OK)
        (void)printf("reloaded\n");
    else
        (void)printf("%s\n", err.text);
    (void)fflush(stdout);
}

static void on_close(int signo, void *arg)
{
    struct probe *probe = arg;

    (void)signo;
    rest_close_listener(probe->rest);
    (void)printf("closed\n");
    (void)fflush(stdout);
}

static void on_stop(int signo, void *arg)
{
    (void)signo;
    loop_stop(arg);
}

int main(int argc, char **argv)
{
    static struct probe probe;
    struct rest_handlers handlers = {route, handle, &probe};
    struct loop_signal *signals[3];
    struct rest_info info;
    struct err err = {.rc = RC_OK};
    int code = 1;

    for (int i = 1; i < argc; i++)
        read_argument(&probe, argv[i]);
    probe.options.allowlist = probe.allow;
    probe.options.http_headers = probe.http_headers;
    probe.options.https_headers = probe.https_headers;
    if (loop_new(&probe.loop, &err) != RC_OK ||
        resolver_new(probe.loop, NULL, &probe.resolver, &err) != RC_OK ||
        rest_new(probe.loop, probe.resolver, &probe.options, &handlers, &probe.rest, &err) !=
            RC_OK)
        goto out;
    rest_set_members(probe.rest, probe.members, probe.member_count);
    signals[0] = loop_signal_new(probe.loop, SIGTERM, on_stop, probe.loop);
    signals[1] = loop_signal_new(probe.loop, SIGHUP, on_reload, &probe);
    signals[2] = loop_signal_new(probe.loop, SIGUSR1, on_close, &probe);
    rest_get_info(probe.rest, &info);
    (void)printf("listening %d\n", info.port);
    (void)fflush(stdout);
    code = loop_run(probe.loop, &err) == RC_OK ? 0 : 1;
    rest_free(probe.rest);
    for (int i = 0; i < LATE_MAX; i++) {
        if (probe.lates[i].request != NULL) {
            loop_timer_free(probe.lates[i].timer);
            rest_answer_text(probe.lates[i].request, 503, "stopping");
        }
    }
    for (int i = 0; i < 3; i++)
        loop_signal_free(signals[i]);
out:
    if (code != 0)
        (void)fprintf(stderr, "%s\n", err.text);
    resolver_free(probe.resolver);
    loop_free(probe.loop);
    return code;
}
