/* Writers that remember when each commit was acknowledged, each a process of its own, so that
 * none waits for another's turn: `writer CONNINFO COUNT`. Prints "ready" when every one has 20
 * acknowledgements, and at the end (SIGTERM, or every session lost) one line each: `name acks
 * first_us last_us ended`, where ended is "lost" for a session that broke. Times are
 * microseconds of CLOCK_BOOTTIME. */
#include <libpq-fe.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { WRITERS_MAX = 64, READY_ACKS = 20 };

struct record {
    _Atomic int64_t acks, first_us, last_us;
    _Atomic int is_lost;
};

static struct record *records;
static volatile sig_atomic_t is_ending;

static void on_term(int signo)
{
    (void)signo;
    is_ending = 1;
}

static int64_t now_us(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_BOOTTIME, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void note_ack(struct record *record)
{
    int64_t at_us = now_us();

    if (atomic_fetch_add(&record->acks, 1) == 0)
        atomic_store(&record->first_us, at_us);
    atomic_store(&record->last_us, at_us);
}

static int write_rows(const char *conninfo, int idx)
{
    struct record *record = &records[idx];
    PGconn *connection = PQconnectdb(conninfo);
    struct sched_param first = {.sched_priority = 1};
    char text[96];

    /* Where allowed: an answer that waits in our own queue on a busy machine was not given late. */
    (void)sched_setscheduler(0, SCHED_FIFO, &first);

    for (long number = 1; !is_ending; number++) {
        PGresult *result;
        int is_ok;

        (void)snprintf(text, sizeof(text), "insert into rows values ('w%d', %ld)", idx, number);
        result = PQexec(connection, text);
        is_ok = PQresultStatus(result) == PGRES_COMMAND_OK;
        if (is_ok)
            note_ack(record);
        PQclear(result);
        if (!is_ok) {
            atomic_store(&record->is_lost, 1);
            break;
        }
    }
    PQfinish(connection);
    return 0;
}

static int are_ready(int count)
{
    for (int idx = 0; idx < count; idx++) {
        if (atomic_load(&records[idx].acks) < READY_ACKS)
            return 0;
    }
    return 1;
}

static int live_children(void)
{
    pid_t pid;

    do {
        pid = waitpid(-1, NULL, WNOHANG);
    } while (pid > 0);
    return pid == 0;
}

static void follow(int count)
{
    int is_said = 0;

    while (live_children()) {
        if (!is_said && are_ready(count)) {
            (void)puts("ready");
            (void)fflush(stdout);
            is_said = 1;
        }
        (void)poll(NULL, 0, 5);
    }
}

static void start_writer(const char *conninfo, int idx, pid_t parent_pid)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() == parent_pid)
        _exit(write_rows(conninfo, idx));
    _exit(1);
}

int main(int argc, char **argv)
{
    int count = argc == 3 ? (int)strtol(argv[2], NULL, 10) : 0;
    struct sigaction action = {.sa_handler = on_term};
    pid_t parent_pid = getpid();

    if (count < 1 || count > WRITERS_MAX)
        return 2;
    records = mmap(NULL, sizeof(struct record) * WRITERS_MAX, PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (records == MAP_FAILED)
        return 1;
    (void)setpgid(0, 0);
    (void)sigaction(SIGTERM, &action, NULL);
    for (int idx = 0; idx < count; idx++) {
        if (fork() == 0)
            start_writer(argv[1], idx, parent_pid);
    }
    follow(count);
    for (int idx = 0; idx < count; idx++)
        (void)printf("w%d %lld %lld %lld %s\n", idx, (long long)records[idx].acks,
                     (long long)records[idx].first_us, (long long)records[idx].last_us,
                     records[idx].is_lost ? "lost" : "ended");
    return 0;
}
