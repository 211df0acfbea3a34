#include "pgheir/base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char *const rc_texts[RC_COUNT] = {
#define X(code, text) [code] = text,
    RC_TABLE(X)
#undef X
};

const char *
rc_text(enum rc rc)
{
    pgh_assert((unsigned)rc < (unsigned)RC_COUNT);
    return rc_texts[rc];
}

enum rc
err_set(struct err *err, enum rc rc, const char *fmt, ...)
{
    char text[ERR_TEXT_SIZE];
    va_list args;

    pgh_assert(rc != RC_OK);
    if (err == NULL)
        return rc;
    /* Not straight into err: an argument may be the old text. */
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    err->rc = rc;
    err->sys_errno = 0;
    (void)snprintf(err->text, sizeof(err->text), "%s", text[0] == '\0' ? rc_text(rc) : text);
    return rc;
}

enum rc
err_set_errno(struct err *err, int sys_errno, const char *fmt, ...)
{
    char text[ERR_TEXT_SIZE];
    char reason[128];
    va_list args;

    if (err == NULL)
        return RC_SYSTEM;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    (void)err_set(err, RC_SYSTEM, "%s%s%s", text, text[0] == '\0' ? "" : ": ",
                  strerror_r(sys_errno, reason, sizeof(reason)));
    err->sys_errno = sys_errno;
    return RC_SYSTEM;
}

enum rc
err_wrap(struct err *err, const char *fmt, ...)
{
    char text[2 * ERR_TEXT_SIZE];
    va_list args;
    int length;

    if (err == NULL)
        return RC_SYSTEM;
    va_start(args, fmt);
    length = vsnprintf(text, ERR_TEXT_SIZE, fmt, args);
    va_end(args);
    pgh_assert(length >= 0);
    if (length >= ERR_TEXT_SIZE)
        length = ERR_TEXT_SIZE - 1;
    (void)snprintf(text + length, sizeof(text) - (size_t)length, ": %s", err->text);
    text[ERR_TEXT_SIZE - 1] = '\0';
    memcpy(err->text, text, ERR_TEXT_SIZE);
    return err->rc;
}
