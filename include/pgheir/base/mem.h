/* The only caller of malloc in our own code. Running out of memory ends the process with a
 * message: for the agent that is a crash, which the supervisor answers with a restart while it
 * holds the fence, so there is never an unwatched writer. Tests may make the n-th call fail:
 * PGHEIR_MEM_FAIL_AT=n. */
#ifndef PGHEIR_BASE_MEM_H
#define PGHEIR_BASE_MEM_H

#include "pgheir/base/base.h"

/* Zeroed memory. Never NULL. Owner: the caller, who calls mem_free(). */
void *mem_new(size_t count, size_t size);
/* Grows or shrinks; the old content is kept. Never NULL. */
void *mem_resize(void *memory, size_t size);
/* A copy of text. Never NULL. */
char *mem_strdup(const char *text);
/* Accepts NULL. */
void mem_free(void *memory);

#endif
