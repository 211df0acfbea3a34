/* What the disk says about one PostgreSQL: pg_control, history files, postmaster.pid, signal
 * files, our markers. Two kinds of functions: pg_x_read() blocks on the disk and belongs into a
 * job; pg_x_start() does that for the loop and ends in exactly one on_done (unless freed with
 * job_free() before). */
#ifndef PGHEIR_IO_PG_CONTROL_H
#define PGHEIR_IO_PG_CONTROL_H

#include "pgheir/codec/pg_control_data.h"
#include "pgheir/codec/pg_history.h"
#include "pgheir/codec/pg_pidfile.h"
#include "pgheir/codec/pg_wal.h"
#include "pgheir/io/child.h"
#include "pgheir/io/pg_site.h"

/* Reads global/pg_control; runs pg_controldata where its layout is not known. RC_NOT_FOUND (no
 * file), RC_INVALID (CRC wrong again and again), RC_SYSTEM. Blocks. */
enum rc pg_control_read(const struct pg_site *site, struct pg_control_data *ret, struct err *err);

typedef void pg_control_fn(const struct pg_control_data *data, const struct err *err, void *arg);

/* data NULL: see err. */
enum rc pg_control_start(struct loop *loop, const struct pg_site *site, int64_t deadline_ms,
                         pg_control_fn *on_done, void *arg, struct job **ret, struct err *err);

/* Reads pg_wal/<timeline>.history. Timeline 1 has an empty one. RC_NOT_FOUND if missing. Blocks. */
enum rc pg_history_read(const struct pg_site *site, uint32_t timeline, struct pg_history *ret,
                        struct err *err);

/* ---- The process ---- */

/* Identity is pid + start time + data directory (PG-03): a recycled pid is somebody else. */
struct pg_process {
    int64_t pid;
    uint64_t start_ticks; /* field 22 of /proc/PID/stat */
};

/* Reads postmaster.pid and looks whether that very postmaster lives. *ret_alive is false for no
 * file, a dead or zombie process, or one whose working directory is another (a recycled pid). The
 * start time of the file counts only where the directory cannot be told: the wall clock may step.
 * Never signals. Blocks on the disk. process->pid is 0 unless alive. */
enum rc pg_process_find(const struct pg_site *site, struct pg_pidfile *ret_pidfile, bool *ret_alive,
                        struct pg_process *ret_process, struct err *err);
/* True while that same process lives (zombies do not). Reads /proc only: may be called from the
 * loop. */
bool pg_process_is_alive(const struct pg_process *process);
/* Field 22 of /proc/PID/stat; 0 if there is no such process. */
uint64_t pg_process_start_ticks(int64_t pid);
/* Signals it through a pidfd after checking the start time: never somebody else. RC_NOT_FOUND if
 * gone. */
enum rc pg_process_signal(const struct pg_process *process, int signal_number, struct err *err);

/* ---- Markers: files in state_dir that outlive a crash of ours ---- */

enum pg_marker {
    PG_MARKER_CLONE,  /* a clone writes data_dir: until it is gone, what is there is half a copy */
    PG_MARKER_REWIND, /* pg_rewind changes data_dir: do not start the server (TR-03) */
    PG_MARKER_INIT,   /* initdb or a bootstrap method fills data_dir */
    PG_MARKER_COUNT
};

/* Writes it (temp, fsync, rename, fsync of the directory). text: a line for people. Blocks. */
enum rc pg_marker_set(const struct pg_site *site, enum pg_marker marker, const char *text,
                      struct err *err);
enum rc pg_marker_clear(const struct pg_site *site, enum pg_marker marker, struct err *err);
/* Tells through ret_is_set; an unreadable state_dir is an error, never "not set". Blocks. */
enum rc pg_marker_read(const struct pg_site *site, enum pg_marker marker, bool *ret_is_set,
                       struct err *err);
const char *pg_marker_text(enum pg_marker marker);

/* ---- Everything at once ---- */

enum pg_dir_kind {
    PG_DIR_MISSING,   /* no such directory */
    PG_DIR_EMPTY,     /* empty, or only lost+found */
    PG_DIR_POSTGRES,  /* PG_VERSION and global/pg_control are there */
    PG_DIR_PARTIAL,   /* ours and half written: a clone or init marker is set */
    PG_DIR_FOREIGN,   /* neither empty nor PostgreSQL: never touched */
    PG_DIR_UNREADABLE,
    PG_DIR_KIND_COUNT
};

struct pg_inspection {
    enum pg_dir_kind kind;
    int major_version;               /* from PG_VERSION; 0 if unknown */
    bool has_control;                /* control is valid */
    struct pg_control_data control;
    bool has_standby_signal, has_recovery_signal, has_backup_label;
    bool markers[PG_MARKER_COUNT];
    bool has_pidfile, is_alive;
    struct pg_pidfile pidfile;
    struct pg_process process;       /* pid 0 unless is_alive */
    uint32_t newest_history;         /* highest timeline with a history file in pg_wal; 0 if none */
    char problem[ERR_TEXT_SIZE];     /* why something could not be read; "" if nothing */
};

/* Blocks. Fails only where even the directory cannot be told; then kind is PG_DIR_UNREADABLE. */
void pg_inspect_read(const struct pg_site *site, struct pg_inspection *ret);
typedef void pg_inspect_fn(const struct pg_inspection *inspection, const struct err *err,
                           void *arg);

/* Off the loop. inspection NULL: the disk gave no answer until the deadline (DM-03) or err says
 * what. */
enum rc pg_inspect_start(struct loop *loop, const struct pg_site *site, int64_t deadline_ms,
                         pg_inspect_fn *on_done, void *arg, struct job **ret, struct err *err);
const char *pg_dir_kind_text(enum pg_dir_kind kind);

/* ---- End of the local WAL ---- */

/* Follows the records from the last checkpoint (each CRC checked) to the end of what is on the
 * disk. For a server that does not run. From a clean stop one record is read; after a crash, all
 * WAL since the checkpoint. Blocks. RC_NOT_FOUND (segment missing), RC_INVALID (the checkpoint
 * record itself cannot be read). */
enum rc pg_wal_end_read(const struct pg_site *site, const struct pg_control_data *control,
                        struct pg_wal_end *ret, struct err *err);
typedef void pg_wal_end_fn(const struct pg_wal_end *end, const struct err *err, void *arg);
enum rc pg_wal_end_start(struct loop *loop, const struct pg_site *site, int64_t deadline_ms,
                         pg_wal_end_fn *on_done, void *arg, struct job **ret, struct err *err);

#endif
