#include "footing.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "note.h"

enum {
    /* Above every ordinary process, below the kernel's own threads (50 and more). */
    FOOTING_PRIORITY = 10,
    FOOTING_NICE = -10,
    /* As Debian gives its postmaster; -1000 would make us unkillable, which nobody has asked
     * for. */
    FOOTING_OOM_SCORE = -900,
    /* Stack and static data may still grow by this much under a limit on locked memory. */
    FOOTING_LOCK_SLACK = 1 << 20,
    FOOTING_FD_MAX = 4096, /* where the kernel cannot close a range (before 5.9) */
};

static struct {
    int policy;
    int nice;
    int oom_score;
    bool has_oom_score;
    struct rlimit memlock;
} original;

static bool read_number(const char *path, long *ret_number)
{
    char text[256];
    char *end;
    ssize_t length;
    long number;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return false;
    length = read(fd, text, sizeof(text) - 1);
    (void)close(fd);
    if (length <= 0)
        return false;
    text[length] = '\0';
    number = strtol(text, &end, 10);
    if (end == text)
        return false;
    *ret_number = number;
    return true;
}

static bool write_oom_score(int score)
{
    char text[16];
    int length = snprintf(text, sizeof(text), "%d\n", score);
    ssize_t written;
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

    if (fd < 0)
        return false;
    written = write(fd, text, (size_t)length);
    (void)close(fd);
    return written == length;
}

static void remember(void)
{
    long score;

    original.policy = sched_getscheduler(0);
    if (original.policy < 0)
        original.policy = SCHED_OTHER;
    original.policy &= ~SCHED_RESET_ON_FORK;
    original.nice = getpriority(PRIO_PROCESS, 0);
    original.has_oom_score = read_number("/proc/self/oom_score_adj", &score);
    original.oom_score = original.has_oom_score ? (int)score : 0;
    if (getrlimit(RLIMIT_MEMLOCK, &original.memlock) != 0)
        original.memlock.rlim_cur = original.memlock.rlim_max = 0;
}

static bool may_lock_without_limit(void)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

    if (syscall(SYS_capget, &head, data) != 0)
        return false;
    return (data[0].effective & 1u << CAP_IPC_LOCK) != 0;
}

/* Capabilities of the file (setcap ...+p, as in our image) are permitted but not yet in effect:
 * where the container withholds them, the program still starts, which it would not do with +ep. */
static void raise_permitted(void)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
    uint32_t wanted = 1u << CAP_IPC_LOCK | 1u << CAP_SYS_NICE;

    if (syscall(SYS_capget, &head, data) != 0 || (data[0].permitted & wanted) == 0)
        return;
    data[0].effective |= data[0].permitted & wanted;
    (void)syscall(SYS_capset, &head, data);
    /* Such a file makes its process unreadable in /proc, where guard and agent must look. */
    (void)prctl(PR_SET_DUMPABLE, 1);
}

/* Under a limit that we nearly fill, the next page of stack would end us: then rather no lock at
 * all. */
static bool fits_into_limit(void)
{
    struct rlimit limit;
    long pages;

    if (getrlimit(RLIMIT_MEMLOCK, &limit) != 0)
        return false;
    if (limit.rlim_cur == RLIM_INFINITY)
        return true;
    /* Root's capabilities go when it becomes another user, the locks stay and then count. */
    if (geteuid() != 0 && may_lock_without_limit())
        return true;
    if (!read_number("/proc/self/statm", &pages))
        return false;
    return (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE) + FOOTING_LOCK_SLACK <= limit.rlim_cur;
}

static int lock_memory(void)
{
    if (!fits_into_limit())
        return ENOMEM;
    return mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) == 0 ? 0 : errno;
}

void footing_lock_memory(void)
{
    (void)lock_memory();
}

static const char *take_priority(void)
{
    struct sched_param param = {.sched_priority = FOOTING_PRIORITY};

    if (sched_setscheduler(0, SCHED_FIFO, &param) == 0)
        return "real-time";
    return setpriority(PRIO_PROCESS, 0, FOOTING_NICE) == 0 ? "raised" : "ordinary";
}

void footing_take(void)
{
    struct rlimit unlimited = {RLIM_INFINITY, RLIM_INFINITY};
    const char *priority;
    bool is_protected;
    int lock_error;

    remember();
    raise_permitted();
    /* As root only; it lets the guard lock its memory after privileges are dropped. */
    (void)setrlimit(RLIMIT_MEMLOCK, &unlimited);
    lock_error = lock_memory();
    priority = take_priority();
    is_protected = original.oom_score <= FOOTING_OOM_SCORE || write_oom_score(FOOTING_OOM_SCORE);
    note_info("memory=%s priority=%s oom_protection=%s", lock_error == 0 ? "locked" : "not locked",
              priority, is_protected ? "yes" : "no");
    if (lock_error != 0 || !is_protected || strcmp(priority, "real-time") != 0)
        note_info("the rest needs CAP_IPC_LOCK, CAP_SYS_NICE and OOMScoreAdjust, see "
                  "docs/fencing.md");
}

void footing_restore(bool keeps_oom_score)
{
    struct sched_param param = {.sched_priority = 0};

    /* After a change of user our /proc files belong to root until exec, unless we say otherwise. */
    (void)prctl(PR_SET_DUMPABLE, 1);
    if (!keeps_oom_score && original.has_oom_score)
        (void)write_oom_score(original.oom_score > 0 ? original.oom_score : 0);
    /* Those who started us in real time wanted PostgreSQL there, too. */
    if (original.policy != SCHED_FIFO && original.policy != SCHED_RR)
        (void)sched_setscheduler(0, original.policy, &param);
    (void)setpriority(PRIO_PROCESS, 0, original.nice);
    (void)setrlimit(RLIMIT_MEMLOCK, &original.memlock);
    /* Capabilities are for us; a server that had them could not be looked at through /proc. */
    (void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
}

void footing_close_from(int first)
{
    if (syscall(SYS_close_range, (unsigned)first, ~0U, 0) == 0)
        return;
    for (int fd = first; fd < FOOTING_FD_MAX; fd++)
        (void)close(fd);
}
