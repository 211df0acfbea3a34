/* Where one PostgreSQL lives and with which programs it is served. A plain value: copy it freely.
 * Owner: nobody; all strings are inside. */
#ifndef PGHEIR_IO_PG_SITE_H
#define PGHEIR_IO_PG_SITE_H

#include "pgheir/base/err.h"

enum { PG_PATH_SIZE = 1024, PG_TOOL_NAME_SIZE = 64 };

/* code, default program name */
#define PG_TOOL_TABLE(X)                                                                           \
    X(PG_TOOL_POSTGRES, "postgres")                                                                \
    X(PG_TOOL_INITDB, "initdb")                                                                    \
    X(PG_TOOL_CONTROLDATA, "pg_controldata")                                                       \
    X(PG_TOOL_BASEBACKUP, "pg_basebackup")                                                         \
    X(PG_TOOL_REWIND, "pg_rewind")

enum pg_tool {
#define X(code, text) code,
    PG_TOOL_TABLE(X)
#undef X
    PG_TOOL_COUNT
};

struct pg_site {
    char data_dir[PG_PATH_SIZE];   /* absolute */
    char config_dir[PG_PATH_SIZE]; /* postgresql.conf and friends; data_dir unless configured */
    char config_base[PG_TOOL_NAME_SIZE]; /* "postgresql": <x>.conf and <x>.base.conf */
    char bin_dir[PG_PATH_SIZE];    /* "": PATH */
    char tools[PG_TOOL_COUNT][PG_TOOL_NAME_SIZE];
    char state_dir[PG_PATH_SIZE];  /* our own files, 0700, same filesystem, beside data_dir */
    char pgpass[PG_PATH_SIZE];     /* password file that we write */
};

/* Fills data_dir, and every other member with its default (state_dir <data_dir>.pgheir, pgpass
 * <state_dir>/pgpass). RC_INVALID if data_dir is not absolute, is "/" or is too long. */
enum rc pg_site_init(struct pg_site *site, const char *data_dir, struct err *err);
/* Path of a program, "initdb" or "/usr/lib/postgresql/15/bin/initdb". RC_LIMIT if it does not
 * fit. */
enum rc pg_site_tool(const struct pg_site *site, enum pg_tool tool,
                     char ret_path[static PG_PATH_SIZE],
                     struct err *err);
/* <dir>/<name>; RC_LIMIT if it does not fit. */
enum rc pg_site_path(const char *dir, const char *name, char ret_path[static PG_PATH_SIZE],
                     struct err *err);

#endif
