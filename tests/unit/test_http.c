/* The HTTP door against servers that answer, hang, flood, reset and lie. */
#include <netinet/tcp.h>

#include "tests/lib/http_house.h"

/* ---- plain requests ---- */

static void test_get(void **state)
{
    struct house *house = *state;
    const struct seen *seen = get(house, 2000);

    assert_int_equal(seen->fate, HTTP_ANSWERED);
    assert_int_equal(seen->rc, RC_OK);
    assert_int_equal(seen->status, 200);
    assert_non_null(strstr(seen->body, "GET /path HTTP/1.1\r\n"));
    assert_null(strstr(seen->body, "Expect"));
    assert_true(seen->sent_at_ms >= seen->begun_at_ms);
    assert_true(seen->sent_at_ms <= house->server.last_request_at_ms);
}

static void test_post_with_headers(void **state)
{
    struct house *house = *state;
    struct http_options options = options_of(house, 2000);
    const struct seen *seen;

    options.body = "{\"a\":1}";
    options.body_length = 7;
    options.authorization = "token.1";
    seen = ask(house, &options);
    assert_non_null(strstr(seen->body, "POST /path HTTP/1.1\r\n"));
    assert_non_null(strstr(seen->body, "Content-Type: application/json\r\n"));
    assert_non_null(strstr(seen->body, "Authorization: token.1\r\n"));
    assert_non_null(strstr(seen->body, "\r\n\r\n{\"a\":1}"));
    options = options_of(house, 2000);
    options.method = "PATCH";
    options.body = "x";
    options.body_length = 1;
    options.username = "me";
    options.password = "secret";
    seen = ask(house, &options);
    assert_non_null(strstr(seen->body, "PATCH /path HTTP/1.1\r\n"));
    assert_non_null(strstr(seen->body, "Authorization: Basic bWU6c2VjcmV0\r\n"));
}

static void test_status_is_an_answer(void **state)
{
    struct house *house = *state;
    const struct seen *seen;

    house->mode = MODE_MISSING;
    seen = get(house, 2000);
    assert_int_equal(seen->fate, HTTP_ANSWERED);
    assert_int_equal(seen->status, 404);
    assert_string_equal(seen->body, "nothing here");
}

static void test_methods_without_a_body(void **state)
{
    struct house *house = *state;
    struct http_options options = options_of(house, 2000);

    options.method = "OPTIONS";
    assert_non_null(strstr(ask(house, &options)->body, "OPTIONS /path HTTP/1.1\r\n"));
    options.method = "DELETE";
    options.deadline_ms = clock_boot_ms() + 2000;
    assert_non_null(strstr(ask(house, &options)->body, "DELETE /path HTTP/1.1\r\n"));
    options.method = "HEAD";
    options.deadline_ms = clock_boot_ms() + 2000;
    assert_int_equal(ask(house, &options)->status, 200);
    assert_string_equal(house->seen.body, "");
}

static void test_connections_are_reused(void **state)
{
    struct house *house = *state;
    struct http_options options;

    for (int i = 0; i < 5; i++)
        assert_int_equal(get(house, 2000)->status, 200);
    assert_int_equal(house->server.accepted, 1);
    options = options_of(house, 2000);
    options.fresh_connection = true;
    assert_int_equal(ask(house, &options)->status, 200);
    assert_int_equal(house->server.accepted, 2);
}

/* A socket of ours that is connected to the server. */
static int find_client_socket(int server_port)
{
    for (int fd = 3; fd < 200; fd++) {
        struct sockaddr_in peer = {0};
        socklen_t size = sizeof(peer);

        if (getpeername(fd, (struct sockaddr *)&peer, &size) == 0 &&
            peer.sin_family == AF_INET && ntohs(peer.sin_port) == server_port)
            return fd;
    }
    return -1;
}

static int socket_option(int fd, int level, int name)
{
    int value = 0;
    socklen_t size = sizeof(value);

    assert_int_equal(getsockopt(fd, level, name, &value, &size), 0);
    return value;
}

/* NW-03: a half-open connection is noticed within the ttl, and no child inherits it. */
static void test_sockets_follow_the_ttl(void **state)
{
    struct house *house = *state;
    int fd;

    http_set_ttl(house->http, 9000);
    assert_int_equal(get(house, 2000)->status, 200);
    fd = find_client_socket(house->server.port);
    assert_true(fd >= 0);
    assert_int_equal(socket_option(fd, SOL_SOCKET, SO_KEEPALIVE), 1);
    assert_int_equal(socket_option(fd, IPPROTO_TCP, TCP_KEEPIDLE), 3);
    assert_int_equal(socket_option(fd, IPPROTO_TCP, TCP_KEEPINTVL), 2);
    assert_int_equal(socket_option(fd, IPPROTO_TCP, TCP_KEEPCNT), 3);
    assert_int_equal(socket_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT), 9000);
    assert_true((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
}

/* ---- what goes wrong ---- */

static void test_silence_ends_at_the_deadline(void **state)
{
    struct house *house = *state;
    const struct seen *seen;

    house->mode = MODE_SILENT;
    seen = get(house, 200);
    assert_int_equal(seen->fate, HTTP_UNKNOWN);
    assert_int_equal(seen->rc, RC_TIMEOUT);
    assert_true(seen->took_ms >= 200);
    assert_true(seen->took_ms < 600);
    assert_true(seen->sent_at_ms > 0);
    assert_non_null(strstr(seen->text, house->url));
    house->mode = MODE_HALF;
    seen = get(house, 200);
    assert_int_equal(seen->fate, HTTP_UNKNOWN);
    assert_int_equal(seen->rc, RC_TIMEOUT);
}

static void test_nobody_listens(void **state)
{
    struct house *house = *state;
    struct http_options options = options_of(house, 2000);
    const struct seen *seen;
    int port = 0;
    int fd = fake_bind(SOCK_STREAM, &port); /* bound, but not listening: refused */
    char url[64];

    (void)snprintf(url, sizeof(url), "http://127.0.0.1:%d/", port);
    options.url = url;
    seen = ask(house, &options);
    assert_int_equal(seen->fate, HTTP_NOT_SENT);
    assert_int_equal(seen->rc, RC_UNREACHABLE);
    assert_int_equal(seen->sent_at_ms, 0);
    assert_true(seen->took_ms < 1000);
    (void)close(fd);
}

/* A listener whose queue is full swallows what comes: connecting hangs, as behind a firewall
 * that drops. */
static void test_connecting_has_its_own_limit(void **state)
{
    struct house *house = *state;
    struct http_options options = options_of(house, 5000);
    struct sockaddr_in address = {.sin_family = AF_INET};
    const struct seen *seen;
    int fillers[4];
    int port = 0;
    int fd = fake_bind(SOCK_STREAM, &port);
    char url[64];

    assert_int_equal(listen(fd, 0), 0);
    address.sin_port = htons((uint16_t)port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (int i = 0; i < 4; i++) {
        fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)connect(fillers[i], (struct sockaddr *)&address, sizeof(address));
    }
    (void)snprintf(url, sizeof(url), "http://127.0.0.1:%d/", port);
    options.url = url;
    options.connect_ms = 200;
    seen = ask(house, &options);
    assert_int_equal(seen->fate, HTTP_NOT_SENT);
    assert_int_equal(seen->rc, RC_TIMEOUT);
    assert_true(seen->took_ms >= 190);
    assert_true(seen->took_ms < 1000);
    for (int i = 0; i < 4; i++)
        (void)close(fillers[i]);
    (void)close(fd);
}

static void test_endless_answers_are_refused(void **state)
{
    struct house *house = *state;
    struct http_options options = options_of(house, 5000);

    options.body_max = 100000;
    house->mode = MODE_FLOOD_BODY;
    assert_int_equal(ask(house, &options)->rc, RC_LIMIT);
    assert_int_equal(house->seen.fate, HTTP_UNKNOWN);
    assert_int_equal(house->seen.status, 200);
    house->mode = MODE_FLOOD_HEADERS;
    options.deadline_ms = clock_boot_ms() + 5000;
    assert_int_equal(ask(house, &options)->rc, RC_LIMIT);
    /* Up to the ceiling all is well. */
    house->mode = MODE_MISSING;
    options.deadline_ms = clock_boot_ms() + 5000;
    options.body_max = strlen("nothing here");
    assert_int_equal(ask(house, &options)->rc, RC_OK);
    options.deadline_ms = clock_boot_ms() + 5000;
    options.body_max--;
    assert_int_equal(ask(house, &options)->rc, RC_LIMIT);
}

static void test_closed_without_an_answer(void **state)
{
    struct house *house = *state;
    const struct seen *seen;

    house->mode = MODE_CLOSE;
    seen = get(house, 2000);
    assert_int_equal(seen->fate, HTTP_UNKNOWN);
    assert_int_equal(seen->rc, RC_UNREACHABLE);
    assert_int_equal(house->server.requests, 1);
}

/* ET-07: what must be sent once is sent once, also when a pooled connection turns out dead. */
static void test_dead_pooled_connection(void **state)
{
    struct house *house = *state;
    struct http_options options;
    const struct seen *seen;

    house->mode = MODE_RESET_SECOND;
    assert_string_equal(get(house, 2000)->body, "first");
    options = options_of(house, 2000);
    options.body = "x";
    options.body_length = 1;
    seen = ask(house, &options);
    assert_int_equal(seen->fate, HTTP_UNKNOWN);
    assert_int_equal(seen->rc, RC_UNREACHABLE);
    assert_true(seen->sent_at_ms > 0);
    assert_int_equal(house->server.requests, 2);
    assert_string_equal(get(house, 2000)->body, "first");
    options.deadline_ms = clock_boot_ms() + 2000;
    options.retry_safe = true;
    seen = ask(house, &options);
    assert_int_equal(seen->fate, HTTP_ANSWERED);
    assert_string_equal(seen->body, "first");
    assert_int_equal(house->server.requests, 5);
}

/* The fence counts from the copy that was answered, not from the one that was lost. */
static void test_sent_at_is_that_of_the_last_copy(void **state)
{
    struct house *house = *state;
    struct http_options options = options_of(house, 3000);
    struct seen seen = {0};
    int64_t reset_at_ms;

    assert_int_equal(get(house, 2000)->status, 200);
    house->mode = MODE_SILENT;
    options.retry_safe = true;
    (void)http_request_begin(house->http, &options, on_done, &seen);
    fake_run(house->loop, &house->server.requests, 2, 2000);
    fake_idle(house->loop, 50);
    house->mode = MODE_ECHO;
    reset_at_ms = clock_boot_ms();
    fake_reset(house->last);
    fake_run(house->loop, &seen.done, 1, 2000);
    assert_int_equal(seen.fate, HTTP_ANSWERED);
    assert_int_equal(house->server.accepted, 2);
    assert_true(seen.sent_at_ms >= reset_at_ms);
}

/* Closed while it lay in the pool: that is seen before anything is sent, so even a write goes
 * through. */
static void test_closed_pooled_connection(void **state)
{
    struct house *house = *state;

    assert_int_equal(get(house, 2000)->status, 200);
    fake_server_drop_connections(&house->server);
    fake_idle(house->loop, 5);
    assert_int_equal(get(house, 2000)->status, 200);
    assert_int_equal(house->server.accepted, 2);
}

static void test_bad_urls_and_headers(void **state)
{
    static const char *const urls[] = {"",          "ftp://a/",       "http://",
                                       "127.0.0.1", "http://a b/",    "http://u:secret@127.0.0.1/",
                                       "file:///etc/passwd", "http://127.0.0.1:99999/"};
    struct house *house = *state;
    struct http_options options = options_of(house, 2000);

    for (size_t i = 0; i < PGH_COUNT(urls); i++) {
        options.url = urls[i];
        options.deadline_ms = clock_boot_ms() + 2000;
        (void)ask(house, &options);
        if (house->seen.rc != RC_INVALID || house->seen.fate != HTTP_NOT_SENT)
            fail_msg("not refused: %s", urls[i]);
        assert_null(strstr(house->seen.text, "secret"));
    }
    options = options_of(house, 2000);
    options.authorization = "a\r\nX-Evil: 1";
    assert_int_equal(ask(house, &options)->rc, RC_INVALID);
    assert_int_equal(house->server.requests, 0);
}

/* ---- names ---- */

static void use_name(struct house *house, const char *name)
{
    (void)snprintf(house->url, sizeof(house->url), "http://%s:%d/path", name, house->server.port);
}

static void test_names_go_through_the_resolver(void **state)
{
    struct house *house = *state;
    char host[64];

    use_name(house, "Db1.Test.");
    assert_int_equal(get(house, 3000)->status, 200);
    (void)snprintf(host, sizeof(host), "Host: Db1.Test:%d\r\n", house->server.port);
    assert_non_null(strstr(house->seen.body, host));
    assert_true(house->dns.questions > 0);
    use_name(house, "localhost");
    assert_int_equal(get(house, 3000)->status, 200);
}

static void test_unknown_names(void **state)
{
    struct house *house = *state;

    house->dns.mode = FAKE_DNS_NO_SUCH_NAME;
    use_name(house, "nowhere.test");
    assert_int_equal(get(house, 5000)->rc, RC_NOT_FOUND);
    assert_int_equal(house->seen.fate, HTTP_NOT_SENT);
    house->dns.mode = FAKE_DNS_SILENT;
    use_name(house, "silent.test");
    assert_int_equal(get(house, 200)->rc, RC_TIMEOUT);
    assert_true(house->seen.took_ms < 1000);
    assert_non_null(strstr(house->seen.text, "silent.test"));
}

/* The first address is dead, the second one answers. */
static void test_every_address_is_tried(void **state)
{
    struct house *house = *state;

    house->dns.v4[0] = "127.0.0.77";
    house->dns.v4[1] = "127.0.0.1";
    house->dns.v6[0] = "::1";
    use_name(house, "db.test");
    assert_int_equal(get(house, 3000)->status, 200);
}

/* A retry begins with another address. 127.0.0.2 reaches a listener that never answers,
 * 127.0.0.1 the server. */
static void test_a_retry_meets_another_machine(void **state)
{
    struct house *house = *state;
    struct http_options options = options_of(house, 200);
    struct sockaddr_in address = {.sin_family = AF_INET};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    address.sin_port = htons((uint16_t)house->server.port);
    assert_int_equal(inet_pton(AF_INET, "127.0.0.2", &address.sin_addr), 1);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(fd, 5), 0);
    house->dns.v4[0] = "127.0.0.2";
    house->dns.v4[1] = "127.0.0.1";
    use_name(house, "db.test");
    assert_int_equal(ask(house, &options)->rc, RC_TIMEOUT);
    options.deadline_ms = clock_boot_ms() + 2000;
    options.first_address = 3;
    assert_int_equal(ask(house, &options)->status, 200);
    (void)close(fd);
}

/* NW-04: after a failed connect the name is asked for anew, and a new address is used. */
static void test_a_moved_name_is_found(void **state)
{
    struct house *house = *state;
    int64_t deadline_ms = clock_boot_ms() + 5000;

    use_name(house, "db.test");
    house->dns.v4[0] = "127.0.0.77";
    assert_int_equal(get(house, 2000)->rc, RC_UNREACHABLE);
    house->dns.v4[0] = "127.0.0.1";
    while (get(house, 2000)->rc != RC_OK)
        assert_true(clock_boot_ms() < deadline_ms);
    /* And it stays in use while DNS is silent. */
    house->dns.mode = FAKE_DNS_SILENT;
    fake_server_drop_connections(&house->server);
    assert_int_equal(get(house, 2000)->rc, RC_OK);
}

/* ---- cancelling ---- */

static void cancel(struct house *house, struct http_request *request, const struct seen *seen)
{
    http_request_cancel(request);
    assert_int_equal(seen->done, 1);
    assert_int_equal(seen->fate, HTTP_CANCELLED);
    assert_int_equal(seen->rc, RC_CANCELLED);
    fake_idle(house->loop, 5);
    assert_int_equal(seen->done, 1);
}

static void test_cancel_in_each_state(void **state)
{
    struct house *house = *state;
    struct http_request *request;
    struct seen seen;
    int64_t deadline_ms;

    request = begin(house, &seen); /* nothing has happened yet */
    cancel(house, request, &seen);
    assert_int_equal(house->server.requests, 0);
    house->dns.mode = FAKE_DNS_SILENT;
    use_name(house, "db.test");
    request = begin(house, &seen); /* the name is asked for */
    fake_idle(house->loop, 20);
    cancel(house, request, &seen);
    assert_int_equal(seen.sent_at_ms, 0);
    use_name(house, "127.0.0.1");
    house->mode = MODE_SILENT;
    request = begin(house, &seen); /* sent */
    deadline_ms = clock_boot_ms() + 2000;
    while (house->server.requests < 1 && clock_boot_ms() < deadline_ms)
        fake_idle(house->loop, 1);
    cancel(house, request, &seen);
    assert_true(seen.sent_at_ms > 0);
    house->mode = MODE_HALF;
    request = begin(house, &seen); /* half of the answer is here */
    fake_idle(house->loop, 30);
    cancel(house, request, &seen);
    house->mode = MODE_ECHO;
    assert_int_equal(get(house, 2000)->status, 200);
}

static void test_freeing_completes_what_is_open(void **state)
{
    struct house *house = *state;
    struct seen seen[2];

    house->mode = MODE_SILENT;
    (void)begin(house, &seen[0]);
    fake_idle(house->loop, 20);
    (void)begin(house, &seen[1]);
    http_free(house->http);
    house->http = NULL;
    assert_int_equal(seen[0].done, 1);
    assert_int_equal(seen[1].done, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_HOUSE(test_get),
        IN_HOUSE(test_post_with_headers),
        IN_HOUSE(test_status_is_an_answer),
        IN_HOUSE(test_methods_without_a_body),
        IN_HOUSE(test_connections_are_reused),
        IN_HOUSE(test_sockets_follow_the_ttl),
        IN_HOUSE(test_silence_ends_at_the_deadline),
        IN_HOUSE(test_nobody_listens),
        IN_HOUSE(test_connecting_has_its_own_limit),
        IN_HOUSE(test_endless_answers_are_refused),
        IN_HOUSE(test_closed_without_an_answer),
        IN_HOUSE(test_dead_pooled_connection),
        IN_HOUSE(test_sent_at_is_that_of_the_last_copy),
        IN_HOUSE(test_closed_pooled_connection),
        IN_HOUSE(test_bad_urls_and_headers),
        IN_HOUSE(test_names_go_through_the_resolver),
        IN_HOUSE(test_unknown_names),
        IN_HOUSE(test_every_address_is_tried),
        IN_HOUSE(test_a_retry_meets_another_machine),
        IN_HOUSE(test_a_moved_name_is_found),
        IN_HOUSE(test_cancel_in_each_state),
        IN_HOUSE(test_freeing_completes_what_is_open),
    };

    /* Not even a proxy in the environment may come between. */
    (void)setenv("http_proxy", "http://127.0.0.1:1", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
