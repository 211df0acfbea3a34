/* The wire between the supervisor (pgheir) and its agent (pgheir-agent): whole messages of one
 * fixed size over an inherited SOCK_SEQPACKET pair. One send() is one message, one recv() is one
 * message; both sides use MSG_DONTWAIT and MSG_NOSIGNAL, so that neither can ever block the
 * other.
 *
 * The agent finds its end as a descriptor number in the environment variable
 * PGHEIR_SUPERVISOR_FD, sets FD_CLOEXEC on it and sends PROTO_HELLO, but only after it has read
 * a usable configuration (see enum agent_exit). End of file on the descriptor means that the
 * supervisor is dead: the guard is killing PostgreSQL at this moment, and the agent has at most
 * PROTO_AGENT_GRACE_MS to let go of what it holds.
 *
 * Every request of the agent carries a request_id that the agent chooses (not 0), and ends in
 * exactly one answer that carries the same id:
 *
 *   PROTO_HELLO              -> PROTO_WELCOME (or PROTO_REFUSED EPROTO: versions differ)
 *   PROTO_START              -> PROTO_POSTMASTER_STARTED or PROTO_START_FAILED
 *   PROTO_ADOPT              -> PROTO_POSTMASTER_STARTED or PROTO_START_FAILED
 *   PROTO_SIGNAL_POSTMASTER  -> PROTO_DONE or PROTO_REFUSED
 *   PROTO_KILL_ORPHANS       -> PROTO_ORPHANS_GONE or PROTO_REFUSED
 *   PROTO_FENCE              -> PROTO_DONE or PROTO_REFUSED
 *   PROTO_STATE              -> PROTO_DONE or PROTO_REFUSED
 *
 * What the supervisor says unasked carries request_id 0: PROTO_POSTMASTER_EXITED, PROTO_FENCED,
 * PROTO_SHUTDOWN, PROTO_PING. A ping wants nothing but to be read: an agent that reads nothing
 * for 15 s hangs, and is killed and started anew. Answers to requests of an agent that has died
 * meanwhile are dropped.
 *
 * Both programs come from one build, yet after an upgrade a new agent may meet an old
 * supervisor: a different PROTO_VERSION is refused with EPROTO and the agent exits with
 * AGENT_EXIT_REFUSED, saying that pgheir itself needs a restart. All integers are in host byte
 * order (one machine).
 *
 * This file and src/supervisor/proto.c use nothing but libc; both programs link them. */
#ifndef PGHEIR_SUPERVISOR_PROTO_H
#define PGHEIR_SUPERVISOR_PROTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pgheir/base/base.h"
#include "pgheir/supervisor/fence.h"

#define PROTO_FD_ENV "PGHEIR_SUPERVISOR_FD"

enum {
    PROTO_MAGIC = 0x70676872, /* "pghr" */
    PROTO_VERSION = 1,
    PROTO_MESSAGE_SIZE = 8192, /* every message, exactly */
    PROTO_STATE_SIZE = 4096,
    PROTO_PATH_SIZE = 1024,
    PROTO_ARGV_SIZE = 4096, /* bytes of packed strings */
    PROTO_ARGV_MAX = 128,   /* strings */
    PROTO_ENV_SIZE = 1024,
    PROTO_ENV_MAX = 16,
    PROTO_AGENT_GRACE_MS = 2000,
};

enum proto_type {
    /* agent -> supervisor */
    PROTO_HELLO = 1,
    PROTO_START = 2,
    PROTO_SIGNAL_POSTMASTER = 3,
    PROTO_KILL_ORPHANS = 4,
    PROTO_ADOPT = 5,
    PROTO_FENCE = 6,
    PROTO_STATE = 7,
    /* supervisor -> agent */
    PROTO_WELCOME = 64,
    PROTO_POSTMASTER_STARTED = 65,
    PROTO_START_FAILED = 66,
    PROTO_POSTMASTER_EXITED = 67,
    PROTO_ORPHANS_GONE = 68,
    PROTO_FENCED = 69,
    PROTO_SHUTDOWN = 70,
    PROTO_DONE = 71,
    PROTO_REFUSED = 72,
    PROTO_PING = 73,
};

/* How the agent wants PostgreSQL to be started, or knows it to be running. */
enum proto_mode {
    PROTO_MODE_STANDBY = 1,
    PROTO_MODE_PRIMARY = 2,
};

/* Exit codes of the agent. AGENT_EXIT_STOPPED, _REFUSED and _LOG_QUEUE are decisions: the
 * supervisor ends PostgreSQL if it still runs (fast, then immediate, then SIGKILL; not while the
 * fence is disarmed: then it stays as a mute keeper until PostgreSQL ends by itself) and exits
 * with the same code. AGENT_EXIT_REPLACE asks for a new agent at once. A signal or any other code
 * is a crash. One exception protects a running PostgreSQL from a file that somebody broke
 * meanwhile: an agent that exits with AGENT_EXIT_REFUSED before it said HELLO, while PostgreSQL
 * runs, is treated as crashed: it is started again with back-off, and the fence decides how long
 * there is to mend the file. */
enum agent_exit {
    AGENT_EXIT_STOPPED = 0,   /* asked to stop, and PostgreSQL is stopped (paused: left running) */
    AGENT_EXIT_REFUSED = 1,   /* configuration, duplicate name, foreign system id, bootstrap */
    AGENT_EXIT_LOG_QUEUE = 5, /* stopped, but the log could not be written out */
    AGENT_EXIT_REPLACE = 75,  /* SIGUSR2: state is handed over, start the agent anew */
};

/* How the agent before this one ended. */
enum proto_previous {
    PROTO_PREVIOUS_NONE = 0,     /* this is the first agent of this supervisor */
    PROTO_PREVIOUS_REPLACED = 1, /* AGENT_EXIT_REPLACE */
    PROTO_PREVIOUS_CRASHED = 2,
};

/* Which net ended PostgreSQL. */
enum proto_fenced_why {
    PROTO_FENCED_PASSED = 1, /* the supervisor, at the fence */
    PROTO_FENCED_GUARD = 2,  /* the guard, because the supervisor was late (see fence.h) */
};

/* Start the postmaster. argv[0] is the absolute path of the program (the supervisor does not
 * search PATH). The child gets: the supervisor's stdout and stderr, stdin from /dev/null, the
 * environment of the supervisor without PGHEIR_*, PATRONI_* (secrets), NOTIFY_SOCKET and
 * WATCHDOG_*, plus env ("NAME=value", e.g. MALLOC_ARENA_MAX=1), its own process group,
 * PR_SET_PDEATHSIG SIGQUIT, default signal dispositions, an empty signal mask, oom_score_adj 0,
 * the working directory of the supervisor. Refused (START_FAILED): EPERM mode primary while no
 * unpassed fence (UNTIL or DISARMED) is held; EEXIST a postmaster runs already; EBUSY processes of
 * this data directory are still being ended; EINVAL malformed; otherwise the errno of opening
 * data_dir, of fork or of exec. The fence stays as it is: push NONE before a start as standby, or
 * a fence left over from the last lease will end the standby too. */
struct proto_start {
    uint32_t mode; /* enum proto_mode */
    uint32_t argv_length;
    uint32_t env_length;
    uint32_t reserved;
    char data_dir[PROTO_PATH_SIZE]; /* absolute */
    char argv[PROTO_ARGV_SIZE];     /* proto_pack_strings() */
    char env[PROTO_ENV_SIZE];       /* proto_pack_strings() */
};

/* Send a signal to the postmaster. Allowed: SIGHUP SIGINT SIGTERM SIGQUIT SIGUSR1 SIGUSR2 SIGCONT
 * SIGKILL. SIGUSR1 is how the agent promotes (after it has written the file "promote"): it is
 * refused with EPERM unless an unpassed UNTIL fence or DISARMED is held, and from then on this
 * postmaster counts as a writer. REFUSED: EINVAL other signal; ESRCH no postmaster; EPERM see
 * above. */
struct proto_signal {
    int32_t signo;
};

/* End every process of this data directory, backends first seen by parentage or /proc/PID/cwd.
 * Only with the postmaster dead (REFUSED EBUSY otherwise). The answer ORPHANS_GONE comes when none
 * is left. The supervisor does the same by itself when a postmaster that it knows dies; this
 * request is for remains found at start. */
struct proto_kill_orphans {
    char data_dir[PROTO_PATH_SIZE];
};

/* Take over a postmaster that already runs. pid from postmaster.pid; start_time_ticks is field 22
 * of /proc/PID/stat as the agent read it. Refused (START_FAILED): ESRCH no such process or another
 * start time; EXDEV its working directory is not data_dir (a foreign process: never touched);
 * EEXIST; EPERM mode primary without a fence held (send FENCE first). */
struct proto_adopt {
    int32_t pid;
    uint32_t mode; /* enum proto_mode */
    uint64_t start_time_ticks;
    char data_dir[PROTO_PATH_SIZE];
};

/* Move the fence. Rules in fence.h (fence_push). REFUSED carries the errno that fence_push()
 * names. */
struct proto_fence {
    uint32_t kind; /* enum fence_kind */
    uint32_t reserved;
    int64_t until_ms; /* CLOCK_BOOTTIME, only for FENCE_UNTIL */
};

/* Keep these bytes for the next agent. length 0 forgets them. Survives crashes of the agent, not
 * of the supervisor. */
struct proto_state {
    uint32_t length;
    uint32_t reserved;
    uint8_t bytes[PROTO_STATE_SIZE];
};

/* A net acted: PostgreSQL was killed and no process of it is left. The fence is NONE from now on.
 * POSTMASTER_EXITED comes before it. */
struct proto_fenced {
    uint32_t why; /* enum proto_fenced_why */
    uint32_t reserved;
    struct proto_fence fence; /* the one that had passed */
    int64_t acted_at_ms;
};

/* What the supervisor knows when an agent says HELLO. */
struct proto_welcome {
    int32_t postmaster_pid; /* 0: none */
    uint32_t mode;          /* enum proto_mode as started or adopted; 0: no postmaster */
    uint64_t postmaster_start_time_ticks;
    int64_t postmaster_started_at_ms; /* CLOCK_BOOTTIME: fork, or adoption */
    uint32_t is_adopted;              /* 1: no parent-death signal until the next restart */
    uint32_t is_writer; /* 1: may accept writes (started as primary, or promoted since) */
    uint32_t is_ending; /* 1: it is being killed, or its remains; POSTMASTER_EXITED follows */
    uint32_t previous;  /* enum proto_previous */
    int32_t previous_status; /* wait status of the previous agent */
    uint32_t restart_count;  /* agents started after the first one */
    uint32_t crash_count;    /* crashes in the present run (60 s of health end a run) */
    uint32_t is_shutting_down; /* 1: SIGTERM came already: stop, and exit with AGENT_EXIT_STOPPED */
    struct proto_fence fence;  /* as held now */
    struct proto_fenced last_fenced; /* why 0: no net has acted since this supervisor started */
    char data_dir[PROTO_PATH_SIZE]; /* of the postmaster, "" without one */
    struct proto_state state;       /* the last PROTO_STATE */
};

struct proto_started {
    int32_t pid;
    uint32_t is_adopted;
    uint64_t start_time_ticks;
    int64_t started_at_ms;
};

/* The postmaster is dead and no backend of it is left. status is a wait status (WIFEXITED and so
 * on). */
struct proto_exited {
    int32_t pid;
    int32_t status;
    uint32_t has_status;     /* 0: it was adopted, not our child, and its status is not known */
    uint32_t orphan_count;   /* backends that had to be killed */
    int64_t exited_at_ms;    /* when the death was seen */
    int64_t orphans_gone_at_ms;
};

/* The answer to requests that produce nothing but yes or no. */
struct proto_result {
    uint32_t request_type;  /* enum proto_type of the request */
    int32_t error;          /* errno; 0 in PROTO_DONE */
};

struct proto_message {
    uint32_t magic;
    uint16_t version;
    uint16_t type; /* enum proto_type */
    uint64_t request_id;
    int64_t sent_at_ms; /* CLOCK_BOOTTIME, for the log; nothing depends on it */
    union {
        struct proto_start start;
        struct proto_signal signal;
        struct proto_kill_orphans kill_orphans;
        struct proto_adopt adopt;
        struct proto_fence fence;
        struct proto_state state;
        struct proto_welcome welcome;
        struct proto_started started;
        struct proto_result result; /* START_FAILED, DONE, REFUSED */
        struct proto_exited exited;
        struct proto_fenced fenced;
        char room[PROTO_MESSAGE_SIZE - 24];
    } body;
};

/* Both sides count on it. */
_Static_assert(sizeof(struct proto_message) == PROTO_MESSAGE_SIZE, "one size on both sides");

/* Zeroes the message and fills its head. The caller fills the body and sent_at_ms. */
void proto_message_init(struct proto_message *message, enum proto_type type, uint64_t request_id);

/* Whether size received bytes are a message that may be used: size, magic, version, type of the
 * right direction, lengths inside their arrays, texts terminated, enums known. Returns 0, EPROTO
 * (not ours or another version) or EINVAL (ours, malformed). */
int proto_message_check(const struct proto_message *message, size_t size, bool is_from_agent);

/* Packs count strings, each with its NUL, one after the other. Returns false (ret_length
 * untouched) if they do not fit into size bytes. */
bool proto_pack_strings(char *out, size_t size, const char *const *strings, size_t count,
                        uint32_t *ret_length) PGH_MUSTCHECK;

/* Points strings[] into packed and ends the list with NULL, as execve() wants it; strings has room
 * for strings_max + 1 pointers. Returns the number of strings, or -1 (malformed: not
 * NUL-terminated, or more than strings_max). Owner: packed stays the caller's and must outlive
 * strings. */
int proto_unpack_strings(char *packed, uint32_t length, char **strings, int strings_max);

/* Short constant name such as "start", for logs. Never NULL. */
const char *proto_type_text(uint16_t type);

#endif
