/* How a session is asked for: keywords, options, set-up. Private to pg_conn.c and its tests. */
#ifndef PGHEIR_SRC_IO_PG_CONN_PRIVATE_H
#define PGHEIR_SRC_IO_PG_CONN_PRIVATE_H

#include "pgheir/io/pg_conn.h"

enum { PG_CONN_RESULTS_MAX = 8, PG_CONN_WORDS_MAX = 40 };

/* Parallel arrays for PQconnectStartParams(), ended by NULL. The values point into the target,
 * which libpq copies at once. */
struct pg_conn_words {
    const char *keywords[PG_CONN_WORDS_MAX + 1];
    const char *values[PG_CONN_WORDS_MAX + 1];
    size_t count;
    char port[8];
};

/* RC_INVALID if the address is neither numeric nor an absolute socket directory: libpq would
 * resolve it and block. */
enum rc pg_conn_words_fill(enum pg_conn_kind kind, const struct pg_conn_target *target,
                           struct pg_conn_words *ret, struct err *err);

/* Statements for the fresh session, or NULL. server_version as libpq gives it. */
const char *pg_conn_setup_sql(enum pg_conn_kind kind, int server_version);

/* Gives memory (from mem_new()) to the request that was just begun: it is freed behind the
 * completion, or when the request is dropped. A completion that begins the next request may give
 * it on. */
void pg_conn_give(struct pg_conn *conn, void *memory);

/* libpq's own handle, for pure helpers like PQencryptPasswordConn(); NULL if closed. */
PGconn *pg_conn_raw(struct pg_conn *conn);

#endif
