/* Streams of events.
 *
 *   begin -> dialect and token -> stream opens -> created -> events ... -> lost
 *
 * A watch never repairs itself: whoever owns it lists anew and watches from there, so that there is
 * one way back from every kind of loss. Only end_watch() leaves the graph. */
#include <string.h>

#include "pgheir/base/clock.h"
#include "pgheir/base/mem.h"
#include "pgheir/base/str.h"
#include "pgheir/io/loop.h"
#include "src/io/etcd_private.h"

enum {
    OPEN_MS_DEFAULT = 5 * 1000,
    IDLE_MS_DEFAULT = 15 * 60 * 1000 /* etcd notifies of progress every 10 minutes */
};

/* Something that must arrive: a revision, and until when. */
struct expectation {
    int64_t revision; /* 0: none */
    int64_t deadline_ms;
};

struct etcd_watch {
    TAILQ_ENTRY(etcd_watch) link;
    struct etcd *etcd;
    struct etcd_request *prepare;
    struct http_request *stream;
    struct etcd_endpoint *endpoint;
    struct loop_timer *timer;
    struct etcd_lines lines;
    char *prefix;
    int64_t start_revision;
    int64_t delivered_revision; /* everything up to here has been handed out */
    int64_t open_deadline_ms;
    int64_t idle_ms;
    bool is_created;
    bool is_dropped;                 /* its endpoint does not answer other requests */
    uint32_t token_order;
    struct expectation expected[2];  /* the one that is due first, and the newest */
    bool *is_gone; /* set when the watch is freed, for the frame that is reading a chunk */
    etcd_watch_fn *events;
    etcd_lost_fn *lost;
    void *arg;
};

/* ---- the end ---- */

static void end_watch(struct etcd_watch *watch, enum etcd_lost why, const struct err *err)
{
    struct etcd_loss loss = {.why = why, .err = err};
    struct http_request *stream = watch->stream;
    struct etcd_request *prepare = watch->prepare;
    etcd_lost_fn *lost = watch->lost;
    void *arg = watch->arg;

    if (why != ETCD_LOST_COMPACTED)
        loss.resume_revision = watch->delivered_revision + 1;
    watch->stream = NULL;
    watch->prepare = NULL;
    if (stream != NULL)
        http_request_cancel(stream);
    if (prepare != NULL)
        etcd_request_cancel(prepare);
    TAILQ_REMOVE(&watch->etcd->watches, watch, link);
    if (watch->is_gone != NULL)
        *watch->is_gone = true;
    loop_timer_free(watch->timer);
    etcd_endpoint_release(watch->endpoint);
    etcd_lines_done(&watch->lines);
    mem_free(watch->prefix);
    mem_free(watch);
    lost(&loss, arg);
}

static void end_with(struct etcd_watch *watch, enum etcd_lost why, enum rc rc, const char *text)
{
    struct err err = {0};

    (void)err_set(&err, rc, "watch on \"%s\" at etcd %s: %s", watch->prefix,
                  watch->endpoint == NULL ? "(none)" : watch->endpoint->url, text);
    end_watch(watch, why, &err);
}

/* ---- time ---- */

static void arm_watch(struct etcd_watch *watch)
{
    int64_t at_ms = watch->is_created ? INT64_MAX : watch->open_deadline_ms;

    if (watch->is_dropped)
        at_ms = 0;
    else if (watch->expected[0].revision != 0 && watch->expected[0].deadline_ms < at_ms)
        at_ms = watch->expected[0].deadline_ms;
    if (at_ms == INT64_MAX)
        loop_timer_disarm(watch->timer);
    else
        loop_timer_arm(watch->timer, at_ms);
}

static void on_watch_timer(void *arg)
{
    struct etcd_watch *watch = arg;

    if (watch->is_dropped) {
        end_with(watch, ETCD_LOST_DISCONNECTED, RC_UNREACHABLE,
                 "the member does not answer other requests");
    } else if (!watch->is_created) {
        if (watch->endpoint != NULL)
            etcd_endpoint_note_bad(watch->endpoint, false, "the watch was not created in time");
        end_with(watch, ETCD_LOST_DISCONNECTED, RC_TIMEOUT, "not created in time");
    } else {
        end_with(watch, ETCD_LOST_IDLE, RC_TIMEOUT,
                 "a change that is known to have happened was not delivered");
    }
}

void etcd_watch_drop_endpoint(struct etcd *etcd, const struct etcd_endpoint *endpoint)
{
    struct etcd_watch *watch;

    TAILQ_FOREACH(watch, &etcd->watches, link)
    {
        if (watch->endpoint != endpoint)
            continue;
        watch->is_dropped = true;
        arm_watch(watch);
    }
}

static void note_delivered(struct etcd_watch *watch, int64_t revision)
{
    if (revision > watch->delivered_revision)
        watch->delivered_revision = revision;
    if (watch->expected[0].revision <= watch->delivered_revision) {
        watch->expected[0] = watch->expected[1];
        watch->expected[1] = (struct expectation){0};
    }
    if (watch->expected[0].revision <= watch->delivered_revision)
        watch->expected[0] = (struct expectation){0};
    arm_watch(watch);
}

void etcd_watch_expect(struct etcd_watch *watch, int64_t mod_revision, int64_t deadline_ms)
{
    struct expectation *slot = &watch->expected[watch->expected[0].revision == 0 ? 0 : 1];

    if (mod_revision <= watch->delivered_revision || mod_revision <= watch->expected[0].revision ||
        mod_revision <= watch->expected[1].revision)
        return;
    /* A third one takes the place of the second: it is the higher revision, so it proves both; it
     * may only be noticed a little later. */
    *slot = (struct expectation){.revision = mod_revision, .deadline_ms = deadline_ms};
    arm_watch(watch);
}

/* ---- what comes ---- */

static void on_stream_error(struct etcd_watch *watch, int status, const char *text, size_t length)
{
    struct etcd_error error;

    etcd_error_parse(status, text, length, &error);
    if (error.class == ETCD_ERROR_COMPACTED) {
        end_with(watch, ETCD_LOST_COMPACTED, RC_NOT_FOUND, error.text);
        return;
    }
    /* With the next token the next watch may be allowed. */
    if (error.class == ETCD_ERROR_TOKEN || error.class == ETCD_ERROR_DENIED)
        etcd_token_drop(watch->etcd, watch->token_order);
    if (error.class == ETCD_ERROR_TRANSIENT || error.class == ETCD_ERROR_NOT_APPLIED)
        etcd_endpoint_note_bad(watch->endpoint, false, error.text);
    end_with(watch, error.class == ETCD_ERROR_DENIED ? ETCD_LOST_REFUSED : ETCD_LOST_DISCONNECTED,
             RC_REFUSED, error.text);
}

static void on_cancelled_by_etcd(struct etcd_watch *watch, const struct etcd_answer *answer)
{
    if (answer->compact_revision != 0) {
        end_with(watch, ETCD_LOST_COMPACTED, RC_NOT_FOUND,
                 "etcd has compacted the start revision");
        return;
    }
    etcd_token_drop(watch->etcd, watch->token_order);
    end_with(watch, ETCD_LOST_REFUSED, RC_REFUSED,
             str_is_empty(answer->reason) ? "etcd ended it without a reason" : answer->reason);
}

/* The revision up to which nothing is missing after this message. */
static int64_t delivered_by(const struct etcd_watch *watch, const struct etcd_answer *answer)
{
    int64_t revision = 0;

    for (size_t i = 0; i < answer->event_count; i++) {
        if (answer->events[i].kv.mod_revision > revision)
            revision = answer->events[i].kv.mod_revision;
    }
    /* A message without events, once the stream stands, is a notification of progress. */
    if (answer->event_count == 0 && !answer->watch_created && watch->is_created)
        revision = answer->header.revision;
    return revision;
}

/* One message of the stream. false: the watch has ended. */
static bool on_line(const char *line, size_t length, void *arg)
{
    struct etcd_watch *watch = arg;
    struct etcd_answer answer = {0};
    struct err err = {0};
    bool is_gone = false;
    enum rc rc = etcd_answer_parse(ETCD_ANSWER_WATCH, line, length, &answer, &err);

    if (rc == RC_REFUSED) {
        on_stream_error(watch, 200, line, length);
        return false;
    }
    if (rc != RC_OK) {
        end_watch(watch, ETCD_LOST_DISCONNECTED, &err);
        return false;
    }
    if (!etcd_endpoint_note_header(watch->endpoint, &answer.header)) {
        etcd_endpoint_note_bad(watch->endpoint, false,
                               "it is behind the others' raft term, or of another cluster");
        end_with(watch, ETCD_LOST_STALE, RC_PROTOCOL,
                 "the member is behind the others' raft term, or of another cluster");
        is_gone = true;
    } else if (answer.watch_cancelled) {
        on_cancelled_by_etcd(watch, &answer);
        is_gone = true;
    } else {
        int64_t revision = delivered_by(watch, &answer);

        watch->is_created = watch->is_created || answer.watch_created;
        note_delivered(watch, revision);
        watch->is_gone = &is_gone;
        watch->events(&answer, watch->arg);
        if (!is_gone)
            watch->is_gone = NULL;
    }
    etcd_answer_done(&answer);
    return !is_gone;
}

static void on_chunk(int status, const char *bytes, size_t length, void *arg)
{
    struct etcd_watch *watch = arg;

    if (status != 200) {
        on_stream_error(watch, status, bytes, length);
        return;
    }
    if (etcd_lines_feed(&watch->lines, bytes, length, on_line, watch) == RC_LIMIT)
        end_with(watch, ETCD_LOST_DISCONNECTED, RC_LIMIT, "a message is larger than allowed");
}

static void on_stream_done(const struct http_result *result, void *arg)
{
    struct etcd_watch *watch = arg;
    const char *text = result->fate == HTTP_ANSWERED ? "etcd closed the stream" : result->err->text;

    /* NULL: end_watch() is at work. */
    if (watch->stream == NULL)
        return;
    watch->stream = NULL;
    if (result->fate == HTTP_CANCELLED) {
        end_with(watch, ETCD_LOST_CANCELLED, RC_CANCELLED, "cancelled");
    } else if (watch->is_created && result->rc == RC_TIMEOUT) {
        end_with(watch, ETCD_LOST_IDLE, RC_TIMEOUT, "nothing came for too long");
    } else {
        etcd_endpoint_note_bad(watch->endpoint, false, text);
        end_with(watch, ETCD_LOST_DISCONNECTED, RC_UNREACHABLE, text);
    }
}

/* ---- opening ---- */

static void open_stream(struct etcd_watch *watch)
{
    struct etcd *etcd = watch->etcd;
    char url[ETCD_PATH_SIZE];
    struct buf body;
    struct http_options options = {
        .url = url,
        .authorization = etcd->token,
        .tls = &etcd->tls,
        .deadline_ms = INT64_MAX,
        .connect_ms = watch->open_deadline_ms - clock_boot_ms(),
        .retry_safe = true,
        .fresh_connection = true, /* it stays ours for as long as it lives */
        .idle_ms = watch->idle_ms,
    };

    watch->endpoint = etcd_endpoint_pick(etcd, NULL, 0);
    pgh_assert(watch->endpoint != NULL);
    etcd_endpoint_hold(watch->endpoint);
    watch->token_order = etcd->token_order;
    buf_init(&body, ETCD_REQUEST_MAX);
    options.first_address = (unsigned)watch->endpoint->failures;
    pgh_assert(etcd_put_watch(&body, watch->prefix, watch->start_revision) == RC_OK);
    (void)str_format(url, sizeof(url), "%s%s/watch", watch->endpoint->url, etcd->prefix);
    options.body = buf_text(&body);
    options.body_length = body.length;
    watch->stream = http_stream_begin(etcd->http, &options, on_chunk, on_stream_done, watch);
    buf_done(&body);
}

static void on_prepared(const struct etcd_result *result, void *arg)
{
    struct etcd_watch *watch = arg;

    /* NULL: end_watch() is at work. */
    if (watch->prepare == NULL)
        return;
    watch->prepare = NULL;
    if (result->outcome == ETCD_OK)
        open_stream(watch);
    else if (result->outcome == ETCD_CANCELLED)
        end_watch(watch, ETCD_LOST_CANCELLED, result->err);
    else if (result->outcome == ETCD_AUTH_FAILED)
        end_watch(watch, ETCD_LOST_REFUSED, result->err);
    else
        end_watch(watch, ETCD_LOST_DISCONNECTED, result->err);
}

struct etcd_watch *etcd_watch_begin(struct etcd *etcd, const struct etcd_watch_options *options,
                                    etcd_watch_fn *events, etcd_lost_fn *lost, void *arg)
{
    struct etcd_watch *watch = mem_new(1, sizeof(*watch));

    pgh_assert(options->start_revision > 0);
    watch->etcd = etcd;
    watch->prefix = mem_strdup(options->prefix);
    watch->start_revision = options->start_revision;
    watch->delivered_revision = options->start_revision - 1;
    watch->open_deadline_ms =
        clock_boot_ms() + (options->open_ms == 0 ? OPEN_MS_DEFAULT : options->open_ms);
    watch->idle_ms = options->idle_ms == 0 ? IDLE_MS_DEFAULT : options->idle_ms;
    watch->events = events;
    watch->lost = lost;
    watch->arg = arg;
    watch->timer = loop_timer_new(etcd->loop, on_watch_timer, watch);
    etcd_lines_init(&watch->lines, ETCD_BODY_MAX);
    TAILQ_INSERT_TAIL(&etcd->watches, watch, link);
    arm_watch(watch);
    watch->prepare = etcd_prepare(etcd, watch->open_deadline_ms, on_prepared, watch);
    return watch;
}

void etcd_watch_cancel(struct etcd_watch *watch)
{
    end_with(watch, ETCD_LOST_CANCELLED, RC_CANCELLED, "cancelled");
}
