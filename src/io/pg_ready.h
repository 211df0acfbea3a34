/* WAL segments that the server finished and did not archive: pg_wal/archive_status/NAME.ready.
 * Blocking: in a job. */
#ifndef PGHEIR_SRC_IO_PG_READY_H
#define PGHEIR_SRC_IO_PG_READY_H

#include "pgheir/base/buf.h"
#include "pgheir/io/pg_site.h"

enum { PG_READY_NAME_SIZE = 40 };

/* The oldest one behind `after` ("": of all) that is still there; "" if there is none. */
enum rc pg_ready_next(const struct pg_site *site, const char *after,
                      char ret_name[static PG_READY_NAME_SIZE], struct err *err);
/* It is archived: NAME.ready becomes NAME.done. */
enum rc pg_ready_done(const struct pg_site *site, const char *name, struct err *err);
/* archive_command with %p, %f and %% replaced as PostgreSQL does. RC_LIMIT if it does not fit. */
enum rc pg_ready_command(const char *archive_command, const char *name, struct buf *out);

#endif
