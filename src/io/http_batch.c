/* Many URLs asked at once, one completion for all. */
#include "pgheir/base/mem.h"
#include "pgheir/io/http.h"
#include "pgheir/io/loop.h"
#include "src/io/http_private.h"

struct batch_item {
    struct http_batch *batch;
    struct http_request *request; /* NULL: answered */
};

struct http_batch {
    http_each_fn *each;
    http_all_fn *all;
    void *arg;
    struct loop_timer *empty_timer; /* a batch of nothing completes in the next turn, like any
                                     * other */
    int open;
    int count;
    struct batch_item *items;
};

static void end_batch(struct http_batch *batch)
{
    struct http_batch copy = *batch;

    loop_timer_free(batch->empty_timer);
    mem_free(batch->items);
    mem_free(batch);
    copy.all(copy.arg);
}

static void on_item_done(const struct http_result *result, void *arg)
{
    struct batch_item *item = arg;
    struct http_batch *batch = item->batch;

    item->request = NULL;
    /* open still counts this one, so that a batch cancelled from within each ends once. */
    batch->each((int)(item - batch->items), result, batch->arg);
    if (--batch->open == 0)
        end_batch(batch);
}

static void on_empty(void *arg)
{
    end_batch(arg);
}

struct http_batch *http_batch_begin(struct http *http, const char *const *urls, int url_count,
                                    const struct http_options *options, http_each_fn *each,
                                    http_all_fn *all, void *arg)
{
    struct http_batch *batch = mem_new(1, sizeof(*batch));
    struct http_options each_options = *options;

    pgh_assert(url_count >= 0);
    batch->each = each;
    batch->all = all;
    batch->arg = arg;
    batch->count = url_count;
    batch->open = url_count;
    batch->items = mem_new((size_t)url_count + 1, sizeof(*batch->items));
    for (int i = 0; i < url_count; i++) {
        each_options.url = urls[i];
        batch->items[i].batch = batch;
        batch->items[i].request =
            http_request_begin(http, &each_options, on_item_done, &batch->items[i]);
    }
    if (url_count == 0) {
        batch->empty_timer = loop_timer_new(http->loop, on_empty, batch);
        loop_timer_arm(batch->empty_timer, 0);
    }
    return batch;
}

void http_batch_cancel(struct http_batch *batch)
{
    /* One more, so that the last completion leaves the batch to us. */
    batch->open++;
    for (int i = 0; i < batch->count; i++) {
        if (batch->items[i].request != NULL)
            http_request_cancel(batch->items[i].request);
    }
    if (--batch->open == 0)
        end_batch(batch);
}
