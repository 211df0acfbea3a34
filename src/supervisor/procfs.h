/* Who is who, from /proc. A process is its pid and its start time (ticks since boot, field 22 of
 * stat): the pid alone may belong to somebody else tomorrow. A directory is its device and
 * inode. Every signal goes through a descriptor that pins the process which was looked at, so a
 * recycled pid can never be hit. Nothing here allocates, and nothing waits for a disk: of the
 * data directory only what the kernel has in memory is asked for. */
#ifndef PGHEIR_SUPERVISOR_PROCFS_H
#define PGHEIR_SUPERVISOR_PROCFS_H

#include <stdbool.h>
#include <stdint.h>

struct proc_id {
    int32_t pid; /* 0: nobody */
    uint64_t start_ticks;
};

struct file_id {
    uint64_t device; /* 0 with inode 0: none */
    uint64_t inode;
};

struct proc_facts {
    int32_t parent_pid;
    char state; /* as in stat: R S D T t Z X */
    uint64_t start_ticks;
};

/* Opens /proc; again after a fork that closed everything. false with errno if there is none. */
bool procfs_open(void);

/* Whether this kernel can do what we rest on, and /proc shows our own pid namespace. Says why
 * not. */
bool procfs_is_usable(void);

/* One more name for the server's program (postgresql.bin_name.postgres): the last component of
 * this path. Forks know it, too. */
enum { PROCFS_NAME_SIZE = 64 };
void procfs_name_server(const char *program);

/* A descriptor of /proc/<pid>, or -1 with errno. It stays with this very process, dead or alive. */
int procfs_open_process(int32_t pid);
/* Whether this errno says nothing about the process: no descriptor or no memory is left to look. */
bool procfs_is_blind(int error);
/* Of an open process. false with errno: it is gone, or we may not look, or procfs_is_blind(). */
bool procfs_read_facts(int process_fd, struct proc_facts *ret_facts);
bool procfs_read_cwd(int process_fd, struct file_id *ret_id);
/* Whether its program file is called postgres (or postmaster, edb-postgres, or as named below). */
bool procfs_is_postgres(int process_fd);
/* Whether it is dying and was one: its memory, and with it the program's file, goes first, and
 * others may not have the shared memory before that is done. What is left is the short name. */
bool procfs_was_postgres(int process_fd);
/* 0 or an errno. */
int procfs_signal_process(int process_fd, int signo);

/* Who has this pid now. false with errno: nobody, or a zombie, or procfs_is_blind(). */
bool procfs_identify(int32_t pid, struct proc_id *ret_id);
/* Alive: there, with this start time, and not a zombie. false with errno, as above. */
bool procfs_is_alive(const struct proc_id *id);
/* ESRCH if it is not alive any more; a process that took over its pid is left alone. */
int procfs_signal(const struct proc_id *id, int signo);

/* Calls visit for every process but our own, with an open descriptor of it. Returns false if
 * /proc could not be read to its end, or was blind to somebody in it. */
typedef void procfs_visit_fn(int32_t pid, int process_fd, void *arg);
bool procfs_each(procfs_visit_fn *visit, void *arg);

/* The directory (following links) at path. 0 or an errno; ENOTDIR if it is something else. */
int procfs_identify_dir(const char *path, struct file_id *ret_id);

static inline bool file_id_is_equal(const struct file_id *a, const struct file_id *b)
{
    return a->device == b->device && a->inode == b->inode;
}

#endif
