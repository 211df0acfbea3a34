/* The heap of what will happen, ordered by time, then by arrival. Four children per node:
 * shallower than a binary heap, and the four keys share a cache line or two. */
#include "sim.h"

static bool is_before(const struct sim_event *a, const struct sim_event *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->order < b->order;
}

void queue_push(struct queue *queue, const struct sim_event *event)
{
    int32_t idx = queue->count++;
    struct sim_event item = *event;

    pgh_assert(idx < QUEUE_MAX);
    item.order = queue->next_order++;
    while (idx > 0) {
        int32_t parent = (idx - 1) / 4;

        if (!is_before(&item, &queue->items[parent]))
            break;
        queue->items[idx] = queue->items[parent];
        idx = parent;
    }
    queue->items[idx] = item;
}

bool queue_pop(struct queue *queue, int64_t limit_us, struct sim_event *ret_event)
{
    struct sim_event last;
    int32_t idx = 0;

    if (queue->count == 0 || queue->items[0].at_us > limit_us)
        return false;
    *ret_event = queue->items[0];
    last = queue->items[--queue->count];
    for (;;) {
        int32_t first = 4 * idx + 1;
        int32_t least = first;

        if (first >= queue->count)
            break;
        for (int32_t i = first + 1; i < first + 4 && i < queue->count; i++)
            if (is_before(&queue->items[i], &queue->items[least]))
                least = i;
        if (!is_before(&queue->items[least], &last))
            break;
        queue->items[idx] = queue->items[least];
        idx = least;
    }
    queue->items[idx] = last;
    return true;
}
