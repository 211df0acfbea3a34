/* Results and errors of everything that talks to the world. A function that can fail returns
 * enum rc and fills the struct err that it was given: once at the bottom with err_set(), and
 * wrapped on the way up with err_wrap(). Outputs stay untouched on failure. */
#ifndef PGHEIR_BASE_ERR_H
#define PGHEIR_BASE_ERR_H

#include "pgheir/base/base.h"

/* code, short text */
#define RC_TABLE(X)                                                                                \
    X(RC_OK, "ok")                                                                                 \
    X(RC_INVALID, "invalid input")                                                                 \
    X(RC_NOT_FOUND, "not found")                                                                   \
    X(RC_EXISTS, "already there")                                                                  \
    X(RC_LIMIT, "limit reached")                                                                   \
    X(RC_BUSY, "busy")                                                                             \
    X(RC_DENIED, "permission denied")                                                              \
    X(RC_TIMEOUT, "timed out")                                                                     \
    X(RC_UNREACHABLE, "unreachable")                                                               \
    X(RC_PROTOCOL, "unexpected answer")                                                            \
    X(RC_REFUSED, "refused")                                                                       \
    X(RC_CANCELLED, "cancelled")                                                                   \
    X(RC_SYSTEM, "system error")

enum rc {
#define X(code, text) code,
    RC_TABLE(X)
#undef X
    RC_COUNT
};

enum { ERR_TEXT_SIZE = 512 };

/* What went wrong. text names the place (file:line, key, host), what was expected, and what to
 * do. */
struct err {
    enum rc rc;
    int sys_errno;            /* errno where the cause is a system call, else 0 */
    char text[ERR_TEXT_SIZE]; /* never empty after err_set(); cut, never overrun */
};

/* Fills err (may be NULL) and returns rc, so that a caller can write: return err_set(err, RC_...).
 * The arguments may point into err->text. */
enum rc err_set(struct err *err, enum rc rc, const char *fmt, ...) PGH_PRINTF(3, 4);

/* As err_set(), with sys_errno kept and ": <strerror>" appended. Returns RC_SYSTEM. */
enum rc err_set_errno(struct err *err, int sys_errno, const char *fmt, ...) PGH_PRINTF(3, 4);

/* Puts "<text>: " before what err already says; returns err's rc (RC_SYSTEM for a NULL err). */
enum rc err_wrap(struct err *err, const char *fmt, ...) PGH_PRINTF(2, 3);

/* Short constant text of a code. */
const char *rc_text(enum rc rc);

#endif
