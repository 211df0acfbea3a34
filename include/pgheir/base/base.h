/* Attributes and always-on assertions that every room uses.
 * For: contracts in code. Not for: errors of the outside world (see err.h). */
#ifndef PGHEIR_BASE_BASE_H
#define PGHEIR_BASE_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PGH_MUSTCHECK __attribute__((warn_unused_result))
#define PGH_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define PGH_NORETURN __attribute__((noreturn))
#define PGH_COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Reports a broken promise between two of our own functions and aborts: the supervisor starts the
 * agent anew and holds the fence meanwhile, so a wrong decision becomes a missing one. */
PGH_NORETURN void pgh_assert_failed(const char *condition, const char *file, int line);

/* Gives the text of a failed assertion to hook before the process aborts, so that it reaches the
 * log of the agent, too. NULL: stderr only. The hook must not assert. */
void pgh_assert_set_hook(void (*hook)(const char *text));

/* Always on, also in production. One condition each. */
#define pgh_assert(condition)                                                                      \
    do {                                                                                           \
        if (!(condition))                                                                          \
            pgh_assert_failed(#condition, __FILE__, __LINE__);                                     \
    } while (0)

/* Marks a place that cannot be reached, such as the end of a switch that covers its whole enum. */
#define pgh_unreachable() pgh_assert_failed("unreachable", __FILE__, __LINE__)

#endif
