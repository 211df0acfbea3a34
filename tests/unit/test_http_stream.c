/* Streams and batches of the HTTP door. */
#include "tests/lib/http_house.h"

/* ---- streams ---- */

struct stream {
    struct house *house;
    struct http_request *request;
    struct http_request *other; /* cancelled with the first chunk */
    bool cancels_itself;
    bool begins_another;
    struct seen *another;
    struct seen seen;
    char text[256];
};

static void on_stream_done(const struct http_result *result, void *arg)
{
    struct stream *stream = arg;

    on_done(result, &stream->seen);
    assert_string_equal(result->body, "");
}

static void on_chunk(int status, const char *bytes, size_t length, void *arg)
{
    struct stream *stream = arg;

    assert_int_equal(status, 200);
    assert_int_equal(stream->seen.done, 0);
    stream->seen.chunks++;
    assert_true(strlen(stream->text) + length < sizeof(stream->text));
    memcpy(stream->text + strlen(stream->text), bytes, length);
    if (stream->begins_another)
        (void)begin(stream->house, stream->another);
    stream->begins_another = false;
    if (stream->other != NULL)
        http_request_cancel(stream->other);
    stream->other = NULL;
    if (stream->cancels_itself)
        http_request_cancel(stream->request);
}

static void begin_stream(struct house *house, struct stream *stream, int64_t idle_ms)
{
    struct http_options options = options_of(house, 0);

    house->mode = MODE_STREAM;
    house->last = NULL;
    options.deadline_ms = INT64_MAX;
    options.idle_ms = idle_ms;
    options.connect_ms = 2000;
    stream->house = house;
    stream->seen.begun_at_ms = clock_boot_ms();
    stream->request =
        http_stream_begin(house->http, &options, on_chunk, on_stream_done, stream);
    for (int i = 0; house->last == NULL && i < 1000; i++)
        fake_idle(house->loop, 1);
    assert_non_null(house->last);
}

static void test_stream(void **state)
{
    struct house *house = *state;
    struct stream stream = {0};

    begin_stream(house, &stream, 0);
    fake_chunk(house->last, "one\n");
    fake_run(house->loop, &stream.seen.chunks, 1, 2000);
    assert_string_equal(stream.text, "one\n");
    fake_chunk(house->last, "two\n");
    fake_run(house->loop, &stream.seen.chunks, 2, 2000);
    assert_string_equal(stream.text, "one\ntwo\n");
    assert_int_equal(stream.seen.done, 0);
    fake_send(house->last, "0\r\n\r\n");
    fake_run(house->loop, &stream.seen.done, 1, 2000);
    assert_int_equal(stream.seen.fate, HTTP_ANSWERED);
}

static void test_stream_is_cut(void **state)
{
    struct house *house = *state;
    struct stream stream = {0};

    begin_stream(house, &stream, 0);
    fake_chunk(house->last, "one\n");
    fake_run(house->loop, &stream.seen.chunks, 1, 2000);
    fake_reset(house->last);
    fake_run(house->loop, &stream.seen.done, 1, 2000);
    assert_int_equal(stream.seen.fate, HTTP_UNKNOWN);
    assert_int_equal(stream.seen.rc, RC_UNREACHABLE);
}

static void test_stream_without_news_is_lost(void **state)
{
    struct house *house = *state;
    struct stream stream = {0};

    begin_stream(house, &stream, 500);
    for (int i = 0; i < 7; i++) {
        fake_idle(house->loop, 100);
        fake_chunk(house->last, "x");
    }
    assert_int_equal(stream.seen.done, 0);
    fake_run(house->loop, &stream.seen.done, 1, 2000);
    assert_int_equal(stream.seen.rc, RC_TIMEOUT);
    assert_true(stream.seen.took_ms >= 1000);
}

static void test_cancel_inside_a_chunk(void **state)
{
    struct house *house = *state;
    struct stream stream = {.cancels_itself = true};

    begin_stream(house, &stream, 0);
    fake_chunk(house->last, "one\n");
    fake_chunk(house->last, "two\n");
    fake_run(house->loop, &stream.seen.done, 1, 2000);
    fake_idle(house->loop, 20);
    assert_int_equal(stream.seen.done, 1);
    assert_int_equal(stream.seen.fate, HTTP_CANCELLED);
    assert_int_equal(stream.seen.chunks, 1);
}

static void test_other_requests_inside_a_chunk(void **state)
{
    struct house *house = *state;
    struct stream stream = {.begins_another = true};
    struct fake_connection *streaming;
    struct seen another = {0};
    struct seen other = {0};

    begin_stream(house, &stream, 0);
    streaming = house->last;
    house->mode = MODE_SILENT;
    stream.another = &another;
    stream.other = begin(house, &other);
    fake_idle(house->loop, 20);
    house->mode = MODE_ECHO;
    fake_chunk(streaming, "one\n");
    fake_run(house->loop, &another.done, 1, 2000);
    assert_int_equal(another.status, 200);
    assert_int_equal(other.done, 1);
    assert_int_equal(other.fate, HTTP_CANCELLED);
    assert_int_equal(stream.seen.done, 0);
    http_request_cancel(stream.request);
}

/* ---- batches ---- */

struct batch {
    struct http_batch *batch;
    struct seen each[3];
    bool cancels;
    int all;
};

static void on_each(int idx, const struct http_result *result, void *arg)
{
    struct batch *batch = arg;

    assert_int_equal(batch->all, 0);
    on_done(result, &batch->each[idx]);
    if (batch->cancels) {
        batch->cancels = false;
        http_batch_cancel(batch->batch);
    }
}

static void on_all(void *arg)
{
    struct batch *batch = arg;

    batch->all++;
}

static void test_batch(void **state)
{
    struct house *house = *state;
    struct http_options options = options_of(house, 300);
    struct batch batch = {0};
    const char *urls[3] = {house->url, "http://127.0.0.1:1/", NULL};
    int port = 0;
    int fd = fake_bind(SOCK_STREAM, &port);
    char silent[64];

    assert_int_equal(listen(fd, 5), 0); /* connects, never answers */
    (void)snprintf(silent, sizeof(silent), "http://127.0.0.1:%d/", port);
    urls[2] = silent;
    for (int i = 0; i < 3; i++)
        batch.each[i].begun_at_ms = clock_boot_ms();
    batch.batch = http_batch_begin(house->http, urls, 3, &options, on_each, on_all, &batch);
    fake_run(house->loop, &batch.all, 1, 2000);
    assert_int_equal(batch.each[0].fate, HTTP_ANSWERED);
    assert_int_equal(batch.each[1].fate, HTTP_NOT_SENT);
    assert_int_equal(batch.each[2].rc, RC_TIMEOUT);
    assert_true(batch.each[0].took_ms < 200);
    assert_true(batch.each[2].took_ms < 700);
    (void)close(fd);
}

static void test_batch_of_nothing(void **state)
{
    struct house *house = *state;
    struct http_options options = options_of(house, 300);
    struct batch batch = {0};

    batch.batch = http_batch_begin(house->http, NULL, 0, &options, on_each, on_all, &batch);
    assert_int_equal(batch.all, 0);
    fake_run(house->loop, &batch.all, 1, 2000);
    batch = (struct batch){0};
    batch.batch = http_batch_begin(house->http, NULL, 0, &options, on_each, on_all, &batch);
    http_batch_cancel(batch.batch);
    assert_int_equal(batch.all, 1);
}

static void test_batch_is_cancelled(void **state)
{
    struct house *house = *state;
    struct http_options options = options_of(house, 5000);
    const char *urls[3] = {house->url, house->url, house->url};
    struct batch batch = {0};

    house->mode = MODE_SILENT;
    batch.batch = http_batch_begin(house->http, urls, 3, &options, on_each, on_all, &batch);
    fake_idle(house->loop, 20);
    http_batch_cancel(batch.batch);
    assert_int_equal(batch.all, 1);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(batch.each[i].done, 1);
        assert_int_equal(batch.each[i].fate, HTTP_CANCELLED);
    }
    /* From within a completion. */
    house->mode = MODE_ECHO;
    batch = (struct batch){.cancels = true};
    batch.batch = http_batch_begin(house->http, urls, 3, &options, on_each, on_all, &batch);
    fake_run(house->loop, &batch.all, 1, 2000);
    for (int i = 0; i < 3; i++)
        assert_int_equal(batch.each[i].done, 1);
    fake_idle(house->loop, 10);
    assert_int_equal(batch.all, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_HOUSE(test_stream),
        IN_HOUSE(test_stream_is_cut),
        IN_HOUSE(test_stream_without_news_is_lost),
        IN_HOUSE(test_cancel_inside_a_chunk),
        IN_HOUSE(test_other_requests_inside_a_chunk),
        IN_HOUSE(test_batch),
        IN_HOUSE(test_batch_of_nothing),
        IN_HOUSE(test_batch_is_cancelled),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
