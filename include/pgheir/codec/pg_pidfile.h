/* postmaster.pid and pg_controldata's text, the two small texts by which a PostgreSQL without a
 * session speaks.
 * Pure. Errors: RC_INVALID with the line. */
#ifndef PGHEIR_CODEC_PG_PIDFILE_H
#define PGHEIR_CODEC_PG_PIDFILE_H

#include "pgheir/base/err.h"

enum { PG_PIDFILE_PATH_SIZE = 1024 };

enum pg_pidfile_status {
    PG_PIDFILE_STATUS_NONE,     /* the line is not there yet */
    PG_PIDFILE_STATUS_STARTING,
    PG_PIDFILE_STATUS_STANDBY,  /* up, accepts no connections: hot_standby is off */
    PG_PIDFILE_STATUS_READY,
    PG_PIDFILE_STATUS_STOPPING,
    PG_PIDFILE_STATUS_COUNT
};

struct pg_pidfile {
    /* positive; a standalone backend's is stored as its negative and is_single */
    int64_t pid;
    bool is_single;            /* postgres --single owns the directory */
    char data_dir[PG_PIDFILE_PATH_SIZE];
    int64_t start_wall_s;      /* seconds since 1970, as PostgreSQL wrote it; 0 if missing */
    int port;                  /* 0 if missing */
    char socket_dir[PG_PIDFILE_PATH_SIZE];
    char listen_host[256];     /* first address to connect to; may be empty or * */
    uint64_t shmem_key, shmem_id;
    enum pg_pidfile_status status;
};

/* Only the pid is required: PostgreSQL writes the file in several steps. */
enum rc pg_pidfile_parse(const char *text, size_t length, struct pg_pidfile *ret, struct err *err);
const char *pg_pidfile_status_text(enum pg_pidfile_status status);

#endif
