/* The supervisor's log: one line per fact to stderr, in the form of the agent's log: "2026-11-23
 * 14:52:54,004 INFO: supervisor: sentence". A line is written whole or dropped: nothing here
 * ever waits for a reader. */
#ifndef PGHEIR_SUPERVISOR_NOTE_H
#define PGHEIR_SUPERVISOR_NOTE_H

#include "pgheir/base/base.h"

/* Once, before privileges are dropped: finds a way to write to stderr that cannot block. */
void note_open(void);
/* Who speaks from now on: "supervisor", "guard", "init". The text must outlive the process. */
void note_set_speaker(const char *speaker);
/* A fork that has closed all descriptors but 0 to 2 says so; it then uses stderr itself. */
void note_forget_descriptor(void);
void note_info(const char *fmt, ...) PGH_PRINTF(1, 2);
void note_warning(const char *fmt, ...) PGH_PRINTF(1, 2);
void note_error(const char *fmt, ...) PGH_PRINTF(1, 2);

#endif
