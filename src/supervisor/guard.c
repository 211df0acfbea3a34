#include "guard.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "footing.h"
#include "note.h"
#include "pgheir/base/clock.h"
#include "pgheir/supervisor/proto.h"
#include "quell.h"

enum {
    /* Between two passes: soon enough that nobody notices, seldom enough to leave the processor
     * to those who have to die on it. */
    GUARD_PASS_MS = 2,
    GUARD_PASS_SLOW_MS = 20,
    GUARD_QUICK_PASSES = 50,
    GUARD_FD_SUPERVISOR = 3,
    GUARD_FD_KEEP = 4,
    GUARD_FD_FIRST_FREE = 5,
};

struct guard_page *guard_page_map(void)
{
    void *page = mmap(NULL, sizeof(struct guard_page), PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    return page == MAP_FAILED ? NULL : page;
}

void guard_page_publish(struct guard_page *page, const struct guard_facts *facts)
{
    uint32_t next = atomic_load(&page->current) + 1;

    page->slots[next & 1] = *facts;
    atomic_store(&page->current, next);
    /* The next set overwrites the old slot: a reader still there must see the new number first. */
    atomic_thread_fence(memory_order_seq_cst);
}

void guard_page_read(const struct guard_page *page, struct guard_facts *ret_facts)
{
    uint32_t current;

    /* A second round only if the supervisor published in between; it does so a few times per
     * second. A count, not the index of the slot: that is the same again after two publications,
     * the second of which may have torn what was read. */
    do {
        current = atomic_load(&page->current);
        *ret_facts = page->slots[current & 1];
        atomic_thread_fence(memory_order_seq_cst);
    } while (atomic_load(&page->current) != current);
}

void guard_page_announce(struct guard_page *page)
{
    struct proc_id self;

    atomic_store(&page->newborn_pid, 0);
    if (!procfs_identify(getpid(), &self))
        return;
    page->newborn = self;
    atomic_store(&page->newborn_pid, self.pid);
}

static void guard_wait(int fd, int64_t timeout_ms)
{
    struct pollfd wait = {.fd = fd, .events = POLLIN};

    (void)poll(&wait, fd >= 0 ? 1 : 0, timeout_ms > 0 ? (int)timeout_ms : 0);
}

static void guard_fill_site(const struct guard_page *page, struct quell_site *ret_site)
{
    struct guard_facts facts;

    guard_page_read(page, &facts);
    memset(ret_site, 0, sizeof(*ret_site));
    ret_site->data_dir = facts.data_dir;
    ret_site->postmaster = facts.postmaster;
    if (atomic_load(&page->newborn_pid) != facts.postmaster.pid)
        ret_site->newborn = page->newborn;
}

/* Waits at least as long as the pass took: where there are thousands of processes, those who
 * have to die need the processor, too. */
static int64_t guard_pause_ms(int pass, int64_t begun_ms)
{
    int64_t pause_ms = pass < GUARD_QUICK_PASSES ? GUARD_PASS_MS : GUARD_PASS_SLOW_MS;
    int64_t took_ms = clock_boot_ms() - begun_ms;

    return took_ms > pause_ms ? took_ms : pause_ms;
}

/* Kills until nobody is left. Has no deadline on purpose: a process in uninterruptible sleep
 * dies when it wakes, and may acknowledge nothing, yet it must be awaited. Returns how many were
 * killed at once. */
static int guard_quell(struct guard_page *page)
{
    struct quell_site site;
    struct quell_result result;
    int killed = 0;

    for (int pass = 0;; pass++) {
        int64_t begun_ms = clock_boot_ms();

        guard_fill_site(page, &site);
        quell_pass(&site, true, &result);
        atomic_fetch_add(&page->beat, 1);
        if (result.killed > killed)
            killed = result.killed;
        if (quell_is_over(&result))
            return killed;
        guard_wait(-1, guard_pause_ms(pass, begun_ms));
    }
}

/* The agent has seen the end of its channel and ends by itself. One that is stopped or hangs would
 * keep its ports from the next one, so it does not outlive us. */
static void guard_end_agent(const struct guard_page *page)
{
    struct guard_facts facts;
    int64_t deadline_ms = clock_boot_ms() + PROTO_AGENT_GRACE_MS;

    guard_page_read(page, &facts);
    while (procfs_is_alive(&facts.agent)) {
        if (clock_boot_ms() >= deadline_ms) {
            note_warning("agent %d outlived its supervisor, killing it", facts.agent.pid);
            (void)procfs_signal(&facts.agent, SIGKILL);
            return;
        }
        guard_wait(-1, GUARD_PASS_SLOW_MS);
    }
}

static void guard_on_supervisor_death(struct guard_page *page)
{
    int killed;

    if (atomic_load(&page->is_retired))
        return;
    /* First act, then talk: a line on stderr may take its time. */
    killed = guard_quell(page);
    note_error("supervisor is dead: killed %d processes of PostgreSQL, none is left", killed);
    guard_end_agent(page);
}

/* The third line behind supervisor and kernel timer, for a supervisor that lives and cannot act. */
static void guard_enforce_fence(struct guard_page *page, const struct guard_facts *facts)
{
    int64_t deadline_ms = fence_guard_deadline_ms(&facts->fence, facts->is_running);
    int64_t now_ms = clock_boot_ms();
    int killed;

    if (deadline_ms == 0 || now_ms < deadline_ms)
        return;
    atomic_store(&page->acted_at_ms, now_ms);
    killed = guard_quell(page);
    if (killed > 0)
        note_error("fence passed and the supervisor did not act: killed %d processes of PostgreSQL",
                   killed);
}

static int64_t guard_timeout_ms(const struct guard_facts *facts)
{
    int64_t deadline_ms = fence_guard_deadline_ms(&facts->fence, facts->is_running);
    int64_t left_ms = deadline_ms - clock_boot_ms();

    if (deadline_ms == 0 || left_ms > GUARD_BEAT_MS)
        return GUARD_BEAT_MS;
    /* While the supervisor finishes what the fence began there is no need to spin. */
    return left_ms > GUARD_PASS_SLOW_MS ? left_ms : GUARD_PASS_SLOW_MS;
}

PGH_NORETURN static void guard_loop(struct guard_page *page)
{
    struct guard_facts facts;
    struct pollfd supervisor = {.fd = GUARD_FD_SUPERVISOR, .events = POLLIN};

    for (;;) {
        atomic_fetch_add(&page->beat, 1);
        guard_page_read(page, &facts);
        if (poll(&supervisor, 1, (int)guard_timeout_ms(&facts)) == 1) {
            guard_on_supervisor_death(page);
            _exit(0);
        }
        guard_page_read(page, &facts);
        guard_enforce_fence(page, &facts);
    }
}

/* Nothing of the supervisor's may stay open here: the agent must see the end of its channel. */
static bool guard_take_descriptors(int supervisor_fd, int keep_fd)
{
    int high_keep = keep_fd >= 0 ? fcntl(keep_fd, F_DUPFD_CLOEXEC, 64) : -1;
    int high_supervisor = fcntl(supervisor_fd, F_DUPFD_CLOEXEC, 65);

    if (high_supervisor < 0 || dup3(high_supervisor, GUARD_FD_SUPERVISOR, O_CLOEXEC) < 0)
        return false;
    if (high_keep >= 0 && dup3(high_keep, GUARD_FD_KEEP, O_CLOEXEC) < 0)
        return false;
    footing_close_from(high_keep >= 0 ? GUARD_FD_FIRST_FREE : GUARD_FD_KEEP);
    note_forget_descriptor();
    return procfs_open();
}

PGH_NORETURN static void guard_main(struct guard_page *page, int32_t supervisor_pid, int keep_fd)
{
    sigset_t all;
    int supervisor_fd = (int)syscall(SYS_pidfd_open, supervisor_pid, 0);

    note_set_speaker("guard");
    /* A group of our own, and a signal at the supervisor's death that continues: the guard is
     * awake then, even if somebody had stopped it. */
    (void)setpgid(0, 0);
    (void)prctl(PR_SET_PDEATHSIG, SIGCONT);
    (void)sigfillset(&all);
    (void)sigprocmask(SIG_SETMASK, &all, NULL);
    (void)prctl(PR_SET_NAME, "pgheir-guard");
    /* A pidfd taken after our parent's death would watch whoever has its pid now. */
    if (getppid() != supervisor_pid) {
        guard_on_supervisor_death(page);
        _exit(1);
    }
    if (supervisor_fd < 0 || !guard_take_descriptors(supervisor_fd, keep_fd))
        _exit(1);
    footing_lock_memory();
    guard_loop(page);
}

int32_t guard_start(struct guard_page *page, int keep_fd)
{
    int32_t supervisor_pid = getpid();
    pid_t pid = fork();

    if (pid == 0)
        guard_main(page, supervisor_pid, keep_fd);
    if (pid > 0)
        atomic_store(&page->guard_pid, pid);
    return pid;
}
