/* Ends every process of one data directory: the postmaster first, then each backend. A pass
 * looks at all of /proc once and kills what it finds; who calls it repeats it until it finds
 * nobody. Used by the supervisor and, after its death, by the guard.
 *
 * A process belongs to the directory if its working directory is that directory (by device and
 * inode), and
 *   - its program is postgres, or
 *   - it is a child of the postmaster, or
 *   - it is an orphan that the kernel gave to us as subreaper (a shell of archive_command, say).
 * So a person's shell, psql or editor in that directory is never touched, nor is anything
 * elsewhere. The postmaster itself is known by pid and start time, also before it has changed
 * its directory. */
#ifndef PGHEIR_SUPERVISOR_QUELL_H
#define PGHEIR_SUPERVISOR_QUELL_H

#include <stdbool.h>
#include <stdint.h>

#include "procfs.h"

struct quell_site {
    struct file_id data_dir;   /* inode 0: not known, then only the postmaster is looked for */
    struct proc_id postmaster; /* pid 0: none */
    struct proc_id newborn;    /* a postmaster that has just been forked; pid 0: none */
    int32_t reaper_pid;        /* whose orphans are ours; 0: nobody's */
    int32_t spared_pids[2];    /* children of the reaper that are no orphans: agent and guard */
};

struct quell_result {
    int found;          /* living processes of the directory, the postmaster included */
    int killed;         /* of these, sent SIGKILL in this pass */
    int backends;       /* found without the postmaster */
    bool is_postmaster_parent; /* some process found is the child of another one found */
    bool is_unsure;     /* somebody could not be looked at: not finding anybody proves nothing */
};

/* One pass. does_kill false: only count. */
void quell_pass(const struct quell_site *site, bool does_kill, struct quell_result *ret_result);

/* Whether a postmaster (or a single-user server) of this directory lives: named by
 * postmaster.pid, or seen as parent of another process in it. Orphans of a dead one have been
 * given to another parent. */
bool quell_has_postmaster(const char *data_dir, const struct file_id *dir_id);

/* Whether nobody was found, for certain. */
bool quell_is_over(const struct quell_result *result);

#endif
