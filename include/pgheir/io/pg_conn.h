/* One asynchronous connection to PostgreSQL on the loop, through libpq.
 * For: pg_query, pg_ops. Nothing here resolves names, waits or prints a password. Every
 * pg_conn_open() and pg_conn_query() that returned RC_OK ends in exactly one completion, called
 * from the loop (never from inside the call that began it). One request at a time: RC_BUSY
 * otherwise.
 * Source: libpq, "Asynchronous Command Processing". */
#ifndef PGHEIR_IO_PG_CONN_H
#define PGHEIR_IO_PG_CONN_H

#include "pgheir/base/err.h"
#include "pgheir/codec/pg_text.h"
#include <libpq-fe.h>

struct loop;
struct pg_conn;

enum { PG_SQLSTATE_SIZE = 6 };

enum pg_conn_kind {
    PG_CONN_HEARTBEAT,   /* superuser; statement_timeout 2 s, statistics extension off */
    PG_CONN_TASK,        /* superuser; statement_timeout 0, synchronous_commit local, not logged */
    PG_CONN_PLAIN,       /* any role: only search_path and statement_timeout are set */
    PG_CONN_REPLICATION, /* replication=1: IDENTIFY_SYSTEM, TIMELINE_HISTORY */
    PG_CONN_KIND_COUNT
};

/* All strings are copied. NULL leaves libpq's default, which never asks the environment for a
 * host. */
struct pg_conn_target {
    /* a numeric address (goes to hostaddr) or an absolute socket directory. Required */
    const char *address;
    /* the name behind address, for certificates and password file; may be NULL */
    const char *host;
    int port;
    const char *database;  /* NULL: postgres */
    const char *user;
    const char *password;  /* NULL: none (password file, peer, trust, certificate) */
    const struct pg_text_pair *options; /* sslmode, sslcert, channel_binding, ... */
    size_t options_count;
    const char *application_name;       /* NULL: "pgheir heartbeat" */
};

/* The answer of one request. Valid during the completion only; result is owned by the connection
 * unless taken with pg_answer_take(). */
struct pg_answer {
    enum rc rc;
    struct err err;                  /* filled unless rc is RC_OK. Never holds a password */
    char sqlstate[PG_SQLSTATE_SIZE]; /* "" if there is none */
    /* one per statement of the request, up to the first failed one */
    int results_count;
    PGresult **results;
    int64_t sent_at_ms, took_ms;
};

typedef void pg_answer_fn(struct pg_answer *answer, void *arg);
typedef void pg_lost_fn(void *arg);

/* The only result, or the last one; NULL if there is none. Takes it out of the answer: the
 * caller calls PQclear(). */
PGresult *pg_answer_take(struct pg_answer *answer);

/* Never NULL. label names the connection in log and errors ("local", "leader node2"). */
struct pg_conn *pg_conn_new(struct loop *loop, const char *label);
/* Drops what is under way without a completion, closes, frees. Accepts NULL. */
void pg_conn_free(struct pg_conn *conn);

/* Connects, logs in and sets the session up. Errors: RC_BUSY, RC_INVALID. answer->rc afterwards:
 * RC_OK, RC_TIMEOUT, RC_UNREACHABLE (no TCP answer), RC_REFUSED (the server said no; sqlstate
 * tells why), RC_CANCELLED (closed meanwhile). */
enum rc pg_conn_open(struct pg_conn *conn, enum pg_conn_kind kind,
                     const struct pg_conn_target *target, int64_t deadline_ms,
                     pg_answer_fn *on_open, void *arg, struct err *err);

enum pg_query_flag {
    PG_QUERY_SECRET = 1, /* the text holds a secret: it is not logged, not even at debug level */
};

/* Sends one or more statements. With parameters (text, NULL is SQL NULL) exactly one statement.
 * At deadline_ms the connection is closed (PostgreSQL ends the statement by its
 * statement_timeout). answer->rc: RC_OK, RC_REFUSED (error from the server, connection still
 * good), RC_TIMEOUT, RC_UNREACHABLE (connection lost), RC_CANCELLED. */
enum rc pg_conn_query(struct pg_conn *conn, const char *sql, int params_count,
                      const char *const *params, unsigned flags, int64_t deadline_ms,
                      pg_answer_fn *on_answer, void *arg, struct err *err);

/* Closes the socket at once; a request under way completes with RC_CANCELLED in the next turn. */
void pg_conn_close(struct pg_conn *conn);

/* Logged in; a request may be under way. */
bool pg_conn_is_open(const struct pg_conn *conn);
/* A request is under way. */
bool pg_conn_is_busy(const struct pg_conn *conn);
/* 150020; 0 if not open. */
int pg_conn_server_version(const struct pg_conn *conn);
/* Of the server process that serves it; 0 if not open. */
int pg_conn_backend_pid(const struct pg_conn *conn);
/* Called once when an idle open connection breaks (server went away); not during a request. */
void pg_conn_on_lost(struct pg_conn *conn, pg_lost_fn *on_lost, void *arg);

/* Removes from our environment what libpq would read (PGHOST, PGSERVICE, PGOPTIONS, ...), so
 * that no connection goes elsewhere. Call once at start, before anything else uses libpq.
 * PGKRBSRVNAME stays. */
void pg_conn_clean_environment(void);

/* ---- The second kind of health check: a new session and SELECT 1 (a frozen postmaster answers
 * old ones). ---- */

enum pg_probe_verdict {
    PG_PROBE_ALIVE,     /* a new session answered */
    PG_PROBE_FULL,      /* too many clients, reserved slots too: alive */
    PG_PROBE_STARTING,  /* starting up or in recovery without hot standby */
    PG_PROBE_STOPPING,  /* the server says that it is shutting down */
    PG_PROBE_LOGIN,     /* alive, but role, password, pg_hba.conf or database are wrong */
    PG_PROBE_REFUSED,   /* nobody listens */
    PG_PROBE_SILENT,    /* no answer until the deadline: frozen, or the network is */
    PG_PROBE_BROKEN,    /* anything else */
    PG_PROBE_VERDICT_COUNT
};

/* A few words for people. */
const char *pg_probe_verdict_text(enum pg_probe_verdict verdict);
/* What an answer to pg_conn_open() or to a first query means for the health of the server. */
enum pg_probe_verdict pg_probe_judge(const struct pg_answer *answer);

typedef void pg_probe_fn(enum pg_probe_verdict verdict, const struct err *err, void *arg);

/* Opens a session, runs SELECT 1, closes. on_done is the one completion. *ret may be given to
 * pg_probe_free() before it, which drops it. */
struct pg_probe;
enum rc pg_probe_start(struct loop *loop, const struct pg_conn_target *target, int64_t deadline_ms,
                       pg_probe_fn *on_done, void *arg, struct pg_probe **ret, struct err *err);
void pg_probe_free(struct pg_probe *probe);

#endif
