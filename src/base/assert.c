#include "pgheir/base/base.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void (*assert_hook)(const char *text);

void
pgh_assert_set_hook(void (*hook)(const char *text))
{
    assert_hook = hook;
}

void
pgh_assert_failed(const char *condition, const char *file, int line)
{
    char text[512];
    size_t length;
    ssize_t written;

    (void)snprintf(text, sizeof(text), "%s:%d: assertion failed: %s", file, line, condition);
    if (assert_hook != NULL) {
        void (*hook)(const char *) = assert_hook;

        /* An assertion that fails inside the hook must not call it again. */
        assert_hook = NULL;
        hook(text);
    }
    length = strlen(text);
    text[length] = '\n';
    /* Nothing can be done about a closed stderr: the process ends in the next line anyway. */
    written = write(STDERR_FILENO, text, length + 1);
    (void)written;
    abort();
}
