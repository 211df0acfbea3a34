/* The question behind pg_query_status(). Private to pg_status.c, pg_query.c and their tests. */
#ifndef PGHEIR_SRC_IO_PG_STATUS_PRIVATE_H
#define PGHEIR_SRC_IO_PG_STATUS_PRIVATE_H

#include "pgheir/base/buf.h"
#include "pgheir/io/pg_query.h"

enum { PG_STATUS_SQL_MAX = 8192 };

/* out must have room for PG_STATUS_SQL_MAX bytes. */
void pg_status_sql(unsigned parts, int server_version, struct buf *out);

#endif
