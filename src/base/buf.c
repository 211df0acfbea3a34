#include "pgheir/base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "pgheir/base/mem.h"

/* Small enough for a log line's worth of text, so that a buffer that stays short stays cheap. */
enum { BUF_SIZE_FIRST = 256 };

void
buf_init(struct buf *buf, size_t ceiling)
{
    pgh_assert(buf != NULL);
    pgh_assert(ceiling < SIZE_MAX / 2);
    *buf = (struct buf){.ceiling = ceiling};
}

void
buf_done(struct buf *buf)
{
    mem_free(buf->bytes);
    *buf = (struct buf){.ceiling = buf->ceiling};
}

void
buf_clear(struct buf *buf)
{
    buf->length = 0;
    buf->overflown = false;
    if (buf->bytes != NULL)
        buf->bytes[0] = '\0';
}

/* Makes room for length more bytes and the NUL, or remembers that they were refused. */
static enum rc
buf_reserve(struct buf *buf, size_t length)
{
    size_t needed;
    size_t size;

    pgh_assert(buf->length <= buf->ceiling);
    if (length > buf->ceiling - buf->length) {
        buf->overflown = true;
        return RC_LIMIT;
    }
    needed = buf->length + length + 1;
    if (needed <= buf->size)
        return RC_OK;
    size = buf->size == 0 ? (size_t)BUF_SIZE_FIRST : buf->size * 2;
    if (size < needed)
        size = needed;
    if (size > buf->ceiling + 1)
        size = buf->ceiling + 1;
    buf->bytes = mem_resize(buf->bytes, size);
    buf->size = size;
    return RC_OK;
}

enum rc
buf_append(struct buf *buf, const void *bytes, size_t length)
{
    enum rc rc = buf_reserve(buf, length);

    if (rc != RC_OK)
        return rc;
    if (length > 0)
        memcpy(buf->bytes + buf->length, bytes, length);
    buf->length += length;
    buf->bytes[buf->length] = '\0';
    return RC_OK;
}

enum rc
buf_puts(struct buf *buf, const char *text)
{
    return buf_append(buf, text, strlen(text));
}

enum rc
buf_printf(struct buf *buf, const char *fmt, ...)
{
    va_list args;
    int length;
    enum rc rc;

    va_start(args, fmt);
    length = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    pgh_assert(length >= 0);
    rc = buf_reserve(buf, (size_t)length);
    if (rc != RC_OK)
        return rc;
    va_start(args, fmt);
    (void)vsnprintf(buf->bytes + buf->length, (size_t)length + 1, fmt, args);
    va_end(args);
    buf->length += (size_t)length;
    return RC_OK;
}

const char *
buf_text(const struct buf *buf)
{
    return buf->bytes == NULL ? "" : buf->bytes;
}

bool
buf_is_overflown(const struct buf *buf)
{
    return buf->overflown;
}
