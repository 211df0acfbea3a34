#include "log_ring.h"

#include <stdatomic.h>
#include <string.h>

/* Positions count bytes since the start and never wrap; the index is position modulo size. The
 * producer alone moves head, the consumer alone moves tail. */
static struct {
    _Atomic uint64_t head;
    _Atomic uint64_t tail;
    _Atomic uint64_t lines_in;
    _Atomic uint64_t lines_out;
    _Atomic uint64_t lines_lost;
    char bytes[LOG_RING_SIZE];
} log_ring;

bool
log_ring_has_room(size_t length)
{
    uint64_t head = atomic_load_explicit(&log_ring.head, memory_order_relaxed);
    uint64_t tail = atomic_load_explicit(&log_ring.tail, memory_order_acquire);

    return length <= LOG_RING_SIZE - (head - tail);
}

bool
log_ring_put(const char *line, size_t length)
{
    uint64_t head = atomic_load_explicit(&log_ring.head, memory_order_relaxed);
    size_t start = (size_t)(head % LOG_RING_SIZE);
    size_t first = length < LOG_RING_SIZE - start ? length : LOG_RING_SIZE - start;

    if (!log_ring_has_room(length)) {
        atomic_fetch_add(&log_ring.lines_lost, 1);
        return false;
    }
    memcpy(log_ring.bytes + start, line, first);
    memcpy(log_ring.bytes, line + first, length - first);
    atomic_fetch_add(&log_ring.lines_in, 1);
    atomic_store_explicit(&log_ring.head, head + length, memory_order_release);
    return true;
}

size_t
log_ring_peek(const char **ret_bytes)
{
    uint64_t head = atomic_load_explicit(&log_ring.head, memory_order_acquire);
    uint64_t tail = atomic_load_explicit(&log_ring.tail, memory_order_relaxed);
    size_t start = (size_t)(tail % LOG_RING_SIZE);
    size_t waiting = (size_t)(head - tail);

    *ret_bytes = log_ring.bytes + start;
    return waiting < LOG_RING_SIZE - start ? waiting : LOG_RING_SIZE - start;
}

void
log_ring_take(size_t length, bool lost)
{
    uint64_t tail = atomic_load_explicit(&log_ring.tail, memory_order_relaxed);
    uint64_t lines = 0;

    for (size_t i = 0; i < length; i++)
        lines += log_ring.bytes[(tail + i) % LOG_RING_SIZE] == '\n';
    atomic_fetch_add(&log_ring.lines_out, lines);
    if (lost)
        atomic_fetch_add(&log_ring.lines_lost, lines);
    atomic_store_explicit(&log_ring.tail, tail + length, memory_order_release);
}

int
log_ring_line_count(void)
{
    return (int)(atomic_load(&log_ring.lines_in) - atomic_load(&log_ring.lines_out));
}

uint64_t
log_ring_lost_count(void)
{
    return atomic_load(&log_ring.lines_lost);
}
