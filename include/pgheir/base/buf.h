/* Bytes that grow up to a ceiling given at birth. The content is always NUL-terminated.
 * Owner: whoever called buf_init() calls buf_done(). A buffer that met its ceiling keeps what it
 * has and remembers the overflow: check buf_is_overflown() (or the rc) before using the text. */
#ifndef PGHEIR_BASE_BUF_H
#define PGHEIR_BASE_BUF_H

#include "pgheir/base/base.h"
#include "pgheir/base/err.h"

struct buf {
    char *bytes;
    size_t length;
    size_t size;
    size_t ceiling;
    bool overflown;
};

/* Cannot fail; allocates nothing yet. ceiling is in bytes, NUL excluded. */
void buf_init(struct buf *buf, size_t ceiling);
/* Frees the bytes; the buffer may be used again as after buf_init(). */
void buf_done(struct buf *buf);
/* Forgets the content and the overflow, keeps the memory. */
void buf_clear(struct buf *buf);
/* Appends; RC_LIMIT if the ceiling would be passed (then nothing is appended, overflown is set). */
enum rc buf_append(struct buf *buf, const void *bytes, size_t length);
/* The same for NUL-terminated text. */
enum rc buf_puts(struct buf *buf, const char *text);
/* The same for formatted text. */
enum rc buf_printf(struct buf *buf, const char *fmt, ...) PGH_PRINTF(2, 3);
/* The text so far, never NULL. */
const char *buf_text(const struct buf *buf);
/* Whether something did not fit since the last buf_clear(). */
bool buf_is_overflown(const struct buf *buf);

#endif
