/* Small files and directories, blocking: for work inside a job. Private to the PostgreSQL door. */
#ifndef PGHEIR_SRC_IO_PG_FILE_H
#define PGHEIR_SRC_IO_PG_FILE_H

#include "pgheir/base/buf.h"
#include "pgheir/base/err.h"
#include "pgheir/io/pg_site.h"

/* Reads a whole file into out (cleared first). RC_NOT_FOUND, RC_LIMIT (over out's ceiling),
 * RC_SYSTEM. */
enum rc pg_file_read(const char *path, struct buf *out, struct err *err);
/* True if there is something under this path, whatever it is. An error other than "not there"
 * counts as there, so that nobody builds on a directory that cannot be read. */
bool pg_file_exists(const char *path);
/* <data_dir>/<name> exists. */
bool pg_file_in_data(const struct pg_site *site, const char *name);
/* Removes it if it is there; syncs its directory. */
enum rc pg_file_remove(const char *path, struct err *err);
/* fsync of the directory that holds path. */
enum rc pg_file_sync_parent(const char *path, struct err *err);
/* Makes a directory with this mode unless it is there. */
enum rc pg_file_make_dir(const char *path, unsigned mode, struct err *err);

#endif
