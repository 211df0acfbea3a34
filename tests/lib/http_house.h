/* What the tests of the HTTP door share: a client, a server that does what its mode says, a DNS
 * server. */
#ifndef PGHEIR_LIB_HTTP_HOUSE_H
#define PGHEIR_LIB_HTTP_HOUSE_H

#include "pgheir/io/http.h"
#include "pgheir/io/resolver.h"
#include "tests/lib/fake_server.h"

enum mode {
    MODE_ECHO,    /* 200 with the request as body */
    MODE_MISSING, /* 404 */
    MODE_SILENT,
    MODE_FLOOD_BODY,
    MODE_FLOOD_HEADERS,
    MODE_CLOSE,
    MODE_RESET_SECOND, /* answers the first request of a connection, resets at the second */
    MODE_STREAM,       /* begins a stream and leaves it to the test */
    MODE_HALF          /* half of the announced body, then nothing */
};

struct seen {
    int done;
    int chunks;
    enum http_fate fate;
    enum rc rc;
    int status;
    int64_t sent_at_ms;
    int64_t took_ms;
    int64_t begun_at_ms;
    char body[4096];
    char text[ERR_TEXT_SIZE];
};

struct house {
    struct loop *loop;
    struct resolver *resolver;
    struct http *http;
    struct fake_server server;
    struct fake_dns dns;
    struct fake_connection *last; /* that sent the last request */
    enum mode mode;
    struct seen seen;
    char url[128];
};

static inline void on_request(struct fake_connection *connection, const char *request, void *arg)
{
    struct house *house = arg;

    house->last = connection;
    switch (house->mode) {
    case MODE_ECHO:
        fake_answer(connection, 200, request);
        break;
    case MODE_MISSING:
        fake_answer(connection, 404, "nothing here");
        break;
    case MODE_SILENT:
        break;
    case MODE_FLOOD_BODY:
        fake_send(connection, "HTTP/1.1 200 OK\r\n\r\n");
        fake_flood(connection, "0123456789abcdef0123456789abcdef");
        break;
    case MODE_FLOOD_HEADERS:
        fake_send(connection, "HTTP/1.1 200 OK\r\n");
        fake_flood(connection, "X-Header: 0123456789abcdef0123456789abcdef\r\n");
        break;
    case MODE_CLOSE:
        fake_close(connection);
        break;
    case MODE_RESET_SECOND:
        if (connection->requests > 1)
            fake_reset(connection);
        else
            fake_answer(connection, 200, "first");
        break;
    case MODE_STREAM:
        fake_stream(connection);
        break;
    case MODE_HALF:
        fake_send(connection, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01234");
        break;
    }
}

static inline int make_house(void **state)
{
    static struct house house;
    struct resolver_options options = {0};

    house = (struct house){0};
    *state = &house;
    assert_int_equal(loop_new(&house.loop, NULL), RC_OK);
    fake_dns_start(&house.dns, house.loop);
    fake_server_start(&house.server, house.loop, on_request, &house);
    options.nameserver = house.dns.nameserver;
    assert_int_equal(resolver_new(house.loop, &options, &house.resolver, NULL), RC_OK);
    assert_int_equal(http_new(house.loop, house.resolver, &house.http, NULL), RC_OK);
    (void)snprintf(house.url, sizeof(house.url), "http://127.0.0.1:%d/path", house.server.port);
    return 0;
}

static inline int free_house(void **state)
{
    struct house *house = *state;

    http_free(house->http);
    resolver_free(house->resolver);
    fake_idle(house->loop, 50); /* the resolver is freed by the loop */
    fake_server_stop(&house->server);
    fake_dns_stop(&house->dns);
    loop_free(house->loop);
    return 0;
}

static inline void on_done(const struct http_result *result, void *arg)
{
    struct seen *seen = arg;

    seen->done++;
    seen->fate = result->fate;
    seen->rc = result->rc;
    seen->status = result->status;
    seen->sent_at_ms = result->sent_at_ms;
    seen->took_ms = result->ended_at_ms - seen->begun_at_ms;
    assert_int_equal(strlen(result->body), result->body_length);
    (void)snprintf(seen->body, sizeof(seen->body), "%s", result->body);
    (void)snprintf(seen->text, sizeof(seen->text), "%s", result->err->text);
    if (result->rc != RC_OK)
        assert_true(result->err->text[0] != '\0');
}

static inline struct http_options options_of(const struct house *house, int64_t span_ms)
{
    return (struct http_options){.url = house->url, .deadline_ms = clock_boot_ms() + span_ms};
}

/* Asks and waits; a second completion would be noticed by the next test. */
static inline const struct seen *ask(struct house *house, const struct http_options *options)
{
    house->seen = (struct seen){.begun_at_ms = clock_boot_ms()};
    (void)http_request_begin(house->http, options, on_done, &house->seen);
    assert_int_equal(house->seen.done, 0); /* never before begin has returned */
    fake_run(house->loop, &house->seen.done, 1, options->deadline_ms - clock_boot_ms() + 1000);
    fake_idle(house->loop, 2);
    assert_int_equal(house->seen.done, 1);
    return &house->seen;
}

static inline const struct seen *get(struct house *house, int64_t span_ms)
{
    struct http_options options = options_of(house, span_ms);

    return ask(house, &options);
}

static inline struct http_request *begin(struct house *house, struct seen *seen)
{
    struct http_options options = options_of(house, 5000);

    *seen = (struct seen){.begun_at_ms = clock_boot_ms()};
    return http_request_begin(house->http, &options, on_done, seen);
}

#define IN_HOUSE(test) cmocka_unit_test_setup_teardown(test, make_house, free_house)

#endif
