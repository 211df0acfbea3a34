#include "pgheir/base/mem.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Which call from now on fails, for tests: -1 not asked yet, 0 none. */
static int64_t mem_fail_countdown = -1;

PGH_NORETURN static void
mem_exhausted(void)
{
    static const char text[] = "out of memory: the process ends, its supervisor starts it anew\n";
    ssize_t written = write(STDERR_FILENO, text, sizeof(text) - 1);

    (void)written;
    abort();
}

static bool
mem_is_told_to_fail(void)
{
    if (mem_fail_countdown == -1) {
        const char *text = secure_getenv("PGHEIR_MEM_FAIL_AT");

        mem_fail_countdown = text == NULL ? 0 : strtoll(text, NULL, 10);
    }
    return mem_fail_countdown > 0 && --mem_fail_countdown == 0;
}

void *
mem_new(size_t count, size_t size)
{
    void *memory;

    /* An object of no bytes still has an address of its own. */
    if (count == 0 || size == 0)
        count = size = 1;
    memory = mem_is_told_to_fail() ? NULL : calloc(count, size);
    if (memory == NULL)
        mem_exhausted();
    return memory;
}

void *
mem_resize(void *memory, size_t size)
{
    void *resized = mem_is_told_to_fail() ? NULL : realloc(memory, size == 0 ? 1 : size);

    if (resized == NULL)
        mem_exhausted();
    return resized;
}

char *
mem_strdup(const char *text)
{
    size_t size;
    char *copy;

    pgh_assert(text != NULL);
    size = strlen(text) + 1;
    copy = mem_new(size, 1);
    memcpy(copy, text, size);
    return copy;
}

void
mem_free(void *memory)
{
    free(memory);
}
