/* The supervisor's whole state, one static object, and what its files offer each other.
 *
 *   supervisor.c     the loop: time, signals, children, the fence, the guard
 *   agent_process.c  the agent: start, end, silence
 *   postmaster.c     PostgreSQL: start, adopt, end, kill
 *   requests.c       what the agent asks for
 *   tell.c           what the agent is told
 *
 * Each turn of the loop first enforces the fence with a fresh clock, then reads what happened. */
#ifndef PGHEIR_SUPERVISOR_SUPERVISOR_H
#define PGHEIR_SUPERVISOR_SUPERVISOR_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "guard.h"
#include "pgheir/supervisor/fence.h"
#include "pgheir/supervisor/proto.h"

enum {
    SUPERVISOR_TICK_MS = 1000,
    /* An agent that reads nothing for so long hangs; it is killed and started anew. Longer than
     * any pause of a healthy one, on a machine that swaps. */
    AGENT_UNREAD_MS = 15000,
    /* So often is there something to read. */
    AGENT_PING_MS = 5000,
    /* From its start to HELLO: reading a configuration takes milliseconds. */
    AGENT_HELLO_MS = 30000,
    /* From the end of its channel to its own end. */
    AGENT_EOF_MS = 2000,
    /* How a stop that the agent left to us goes: fast, then immediate, then SIGKILL. */
    STOP_FAST_MS = 60000,
    STOP_IMMEDIATE_MS = 10000,
    /* After a postmaster that exited in order, its log collector still writes what is in the
     * pipe. */
    POSTMASTER_GRACE_MS = 500,
};

struct agent_process {
    int32_t pid; /* 0: none */
    struct proc_id id;
    int fd;              /* our end of the channel; -1: none */
    uint32_t generation; /* counts agents, so that an answer goes only to who asked */
    bool is_greeted;
    bool is_condemned; /* SIGKILL has been sent: hung, or speaks nonsense */
    int64_t started_at_ms;
    int64_t restart_at_ms; /* 0: none is due */
    int64_t unread_since_ms;
    int64_t pinged_at_ms;
    int64_t eof_at_ms;
    int crash_count;
    int shutdown_crash_count;
    uint32_t restart_count;
    enum proto_previous previous;
    int previous_status;
};

enum postmaster_phase {
    POSTMASTER_NONE,
    POSTMASTER_STARTING, /* forked; exec has not happened yet */
    POSTMASTER_RUNNING,
    POSTMASTER_ENDING, /* it is dead, and its remains are awaited or killed */
};

enum postmaster_stop { STOP_NONE, STOP_FAST, STOP_IMMEDIATE, STOP_KILL };

struct postmaster {
    enum postmaster_phase phase;
    struct proc_id id;
    uint32_t mode; /* enum proto_mode */
    bool is_adopted;
    bool is_writer;
    bool is_doomed;  /* being killed, with all its backends */
    bool is_fenced;  /* by a net: FENCED is to be told */
    bool is_cleanup; /* no postmaster: the work of KILL_ORPHANS */
    bool has_status;
    int status;
    uint32_t fenced_why;
    char data_dir[PROTO_PATH_SIZE];
    struct file_id dir_id;
    int status_fd; /* from exec, -1: none */
    int pid_fd;    /* of an adopted one, -1: none */
    uint64_t request_id; /* START or KILL_ORPHANS that is not answered yet; 0: none */
    uint32_t requester;  /* generation of the agent that asked */
    int start_error;     /* errno of exec */
    int64_t started_at_ms;
    int64_t exited_at_ms;
    int64_t grace_until_ms;
    int64_t next_pass_ms; /* 0: no pass is due */
    int pass_count;
    uint32_t orphan_count;
    enum postmaster_stop stop;
    int64_t stop_deadline_ms;
};

struct guard_watch {
    int32_t pid; /* 0: none */
    uint32_t beat;
    int silent_ticks;
    int64_t started_at_ms;
    int64_t restart_at_ms;
};

struct supervisor {
    const char *program; /* the agent's */
    const char *config;  /* NULL: none */
    struct guard_page *page;
    struct guard_facts published;
    struct guard_watch guard;
    struct agent_process agent;
    struct postmaster postmaster;
    struct fence fence;
    struct proto_fenced last_fenced;
    struct proto_state state;
    int lock_fd; /* on the state directory; below 0: none */
    int signal_fd;
    int timer_fd;
    timer_t kernel_timer;
    int64_t kernel_deadline_ms; /* as armed; 0: off */
    int64_t next_tick_ms;
    bool is_shutting_down;
    bool is_leaving; /* the agent is gone for good; exit when PostgreSQL has ended */
    bool is_mute;    /* leaving, but PostgreSQL may run on: a pause */
    int leave_code;
    struct proto_message incoming;
    struct proto_message outgoing;
};

/* supervisor.c */
/* Runs until the end; returns the exit code. */
int supervisor_run(struct supervisor *self);
/* The agent is gone for good, or is given up. */
void supervisor_leave(struct supervisor *self, int code, int64_t now_ms);
/* Kills if the held fence has passed. */
void supervisor_enforce_fence(struct supervisor *self, int64_t now_ms);
/* Tells guard and kernel what counts from now on. Before anything is answered that depends on
 * it. */
void supervisor_publish(struct supervisor *self);

/* agent_process.c */
void agent_process_start(struct supervisor *self, int64_t now_ms);
void agent_process_on_exit(struct supervisor *self, int status, int64_t now_ms);
void agent_process_on_readable(struct supervisor *self, int64_t now_ms);
void agent_process_on_tick(struct supervisor *self, int64_t now_ms);
void agent_process_condemn(struct supervisor *self, const char *why);
void agent_process_signal(const struct supervisor *self, int signo);
/* Sends self->outgoing. An agent that does not take it is condemned. */
void agent_process_send(struct supervisor *self, int64_t now_ms);

/* postmaster.c: 0 or the errno of START_FAILED and REFUSED. */
int postmaster_start(struct supervisor *self, struct proto_start *start, uint64_t request_id,
                     int64_t now_ms);
int postmaster_adopt(struct supervisor *self, const struct proto_adopt *adopt, int64_t now_ms);
int postmaster_clean_up(struct supervisor *self, const char *data_dir, uint64_t request_id,
                        int64_t now_ms);
int postmaster_signal(struct supervisor *self, int signo, int64_t now_ms);
/* The exec of a new one succeeded or failed. */
void postmaster_on_status(struct supervisor *self, int64_t now_ms);
/* It is dead. status NULL: not our child. */
void postmaster_on_death(struct supervisor *self, const int *status, int64_t now_ms);
/* Kill it and its backends until none is left. why: enum proto_fenced_why, or 0 without a net. */
void postmaster_doom(struct supervisor *self, uint32_t why, int64_t now_ms);
/* End it politely, then less so. */
void postmaster_stop_begin(struct supervisor *self, int64_t now_ms);
/* Does what is due. */
void postmaster_step(struct supervisor *self, int64_t now_ms);
int64_t postmaster_deadline_ms(const struct supervisor *self); /* 0: none */
bool postmaster_is_running(const struct supervisor *self);

/* requests.c: self->incoming is a checked message. */
void requests_handle(struct supervisor *self, int64_t now_ms);

/* tell.c */
void tell_welcome(struct supervisor *self, uint64_t request_id, int64_t now_ms);
void tell_result(struct supervisor *self, uint16_t request_type, uint64_t request_id, int error,
                 int64_t now_ms);
void tell_start_failed(struct supervisor *self, uint16_t request_type, uint64_t request_id,
                       int error, int64_t now_ms);
void tell_started(struct supervisor *self, uint64_t request_id, int64_t now_ms);
void tell_exited(struct supervisor *self, int64_t now_ms);
void tell_orphans_gone(struct supervisor *self, uint64_t request_id, int64_t now_ms);
void tell_fenced(struct supervisor *self, int64_t now_ms);
void tell_ping(struct supervisor *self, int64_t now_ms);
void tell_shutdown(struct supervisor *self, int64_t now_ms);

#endif
