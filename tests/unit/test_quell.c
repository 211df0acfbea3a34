/* Who is ended and who is not, on real processes: /proc, identity, and the passes over a
 * directory. */
#include "tests/lib/check.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include "src/supervisor/guard.h"
#include "src/supervisor/quell.h"

static char folder[64];
static char program[96]; /* a copy of sleep, called postgres */
static struct file_id folder_id;

static void copy_file(const char *from, const char *to)
{
    char bytes[65536];
    ssize_t length;
    int in = open(from, O_RDONLY | O_CLOEXEC);
    int out = open(to, O_WRONLY | O_CREAT | O_CLOEXEC, 0755);

    assert_true(in >= 0 && out >= 0);
    while ((length = read(in, bytes, sizeof(bytes))) > 0)
        assert_int_equal(write(out, bytes, (size_t)length), length);
    (void)close(in);
    (void)close(out);
}

static int set_up(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof(folder), "/tmp/pgheir-quell-XXXXXX");
    if (mkdtemp(folder) == NULL || !procfs_open())
        return -1;
    (void)snprintf(program, sizeof(program), "%s/postgres", folder);
    copy_file("/bin/sleep", program);
    return procfs_identify_dir(folder, &folder_id);
}

static int tear_down(void **state)
{
    (void)state;
    (void)unlink(program);
    return rmdir(folder);
}

/* Waits until the process runs this program: before that, it is still us. */
static void await_exec(pid_t pid, const char *path)
{
    char link[64], target[128];

    (void)snprintf(link, sizeof(link), "/proc/%d/exe", pid);
    for (int tries = 0; tries < 2000; tries++) {
        ssize_t length = readlink(link, target, sizeof(target) - 1);

        if (length > 0) {
            target[length] = '\0';
            if (strcmp(strrchr(target, '/'), strrchr(path, '/')) == 0)
                return;
        }
        (void)poll(NULL, 0, 5);
    }
    fail_msg("%s did not start", path);
}

static pid_t spawn_in(const char *cwd, const char *path)
{
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (chdir(cwd) == 0)
            (void)execl(path, path, "1000", (char *)NULL);
        _exit(1);
    }
    await_exec(pid, path);
    return pid;
}

static void end(pid_t pid)
{
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, NULL, 0);
}

static void test_identity_needs_the_start_time(void **state)
{
    pid_t pid = spawn_in("/", "/bin/sleep");
    struct proc_id id, other;

    (void)state;
    assert_true(procfs_identify(pid, &id));
    assert_true(procfs_is_alive(&id));
    other = id;
    other.start_ticks++;
    assert_false(procfs_is_alive(&other));
    assert_int_equal(procfs_signal(&other, SIGKILL), ESRCH);
    assert_true(procfs_is_alive(&id));
    assert_int_equal(procfs_signal(&id, SIGKILL), 0);
    assert_int_equal(waitid(P_PID, (id_t)pid, NULL, WEXITED | WNOWAIT), 0);
    /* A zombie is dead, and may not keep anybody waiting. */
    assert_false(procfs_is_alive(&id));
    assert_int_equal(procfs_signal(&id, SIGKILL), ESRCH);
    end(pid);
    assert_false(procfs_identify(pid, &id));
}

static void test_names_with_blanks_and_parentheses(void **state)
{
    struct proc_id before, after;

    (void)state;
    assert_true(procfs_identify(getpid(), &before));
    assert_int_equal(prctl(PR_SET_NAME, "a) Z 1 (b c"), 0);
    assert_true(procfs_identify(getpid(), &after));
    assert_true(before.start_ticks == after.start_ticks);
    assert_true(before.start_ticks > 0);
}

static void test_pid_that_nobody_has(void **state)
{
    struct proc_id nobody = {0, 0};
    struct proc_id absent = {4194303, 1};

    (void)state;
    assert_false(procfs_is_alive(&nobody));
    assert_false(procfs_is_alive(&absent));
    assert_int_equal(procfs_signal(&nobody, SIGKILL), ESRCH);
    assert_int_equal(procfs_signal(&absent, SIGKILL), ESRCH);
}

static void test_only_servers_of_the_directory(void **state)
{
    pid_t ours = spawn_in(folder, program);
    pid_t elsewhere = spawn_in("/", program);
    pid_t shell = spawn_in(folder, "/bin/sleep");
    struct quell_site site = {.data_dir = folder_id};
    struct quell_result result;

    (void)state;
    quell_pass(&site, false, &result);
    assert_int_equal(result.found, 1);
    assert_int_equal(result.killed, 0);
    assert_false(quell_is_over(&result));
    quell_pass(&site, true, &result);
    assert_int_equal(result.killed, 1);
    assert_int_equal(waitpid(ours, NULL, 0), ours);
    quell_pass(&site, true, &result);
    assert_true(quell_is_over(&result));
    assert_int_equal(waitpid(elsewhere, NULL, WNOHANG), 0);
    assert_int_equal(waitpid(shell, NULL, WNOHANG), 0);
    end(elsewhere);
    end(shell);
}

/* Called postgres, with much memory to give back, in the folder. Returns once it is there. */
static pid_t spawn_slow_to_die(void)
{
    enum { MEMORY = 128 * 1024 * 1024 };
    int ready[2];
    char byte;
    pid_t pid;

    assert_int_equal(pipe(ready), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)prctl(PR_SET_NAME, "postgres");
        void *memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
        if (memory != MAP_FAILED && chdir(folder) == 0 && write(ready[1], "", 1) == 1)
            (void)pause();
        _exit(1);
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    (void)close(ready[0]);
    (void)close(ready[1]);
    return pid;
}

/* How many passes found a dying process before it was dead. */
static int passes_until_dead(pid_t pid, const struct quell_site *site)
{
    struct quell_result result;
    siginfo_t info = {0};
    int found = 0;

    (void)kill(pid, SIGKILL);
    while (info.si_pid == 0) {
        quell_pass(site, false, &result);
        found += result.found > 0;
        assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT), 0);
    }
    (void)waitpid(pid, NULL, 0);
    return found;
}

/* PG-02: a postmaster that is started too early finds the shared memory in use and gives up. */
static void test_dying_is_not_gone(void **state)
{
    struct quell_site site = {.data_dir = folder_id};
    struct quell_result result;
    int found = 0;

    (void)state;
    for (int tries = 0; tries < 50 && found == 0; tries++) {
        pid_t pid = spawn_slow_to_die();

        quell_pass(&site, false, &result);
        assert_int_equal(result.found, 0); /* while it lives its program counts, not its name */
        found = passes_until_dead(pid, &site);
        quell_pass(&site, false, &result);
        assert_true(quell_is_over(&result));
    }
    assert_true(found > 0);
}

static void test_children_of_the_postmaster_and_orphans(void **state)
{
    pid_t helper = spawn_in(folder, "/bin/sleep");
    struct quell_site site = {.data_dir = folder_id};
    struct quell_result result;

    (void)state;
    /* As if we were the postmaster of this helper, then its reaper. */
    site.postmaster = (struct proc_id){getpid(), 1};
    quell_pass(&site, false, &result);
    assert_int_equal(result.found, 1);
    site.postmaster = (struct proc_id){0, 0};
    quell_pass(&site, false, &result);
    assert_int_equal(result.found, 0);
    site.reaper_pid = getpid();
    quell_pass(&site, false, &result);
    assert_int_equal(result.found, 1);
    /* The agent may well have been started in that directory. */
    site.spared_pids[1] = helper;
    quell_pass(&site, true, &result);
    assert_int_equal(result.found, 0);
    assert_int_equal(waitpid(helper, NULL, WNOHANG), 0);
    end(helper);
}

static void test_postmaster_is_known_before_it_is_there(void **state)
{
    pid_t pid = spawn_in("/", program);
    struct quell_site site = {.data_dir = folder_id};
    struct quell_result result;

    (void)state;
    assert_true(procfs_identify(pid, &site.newborn));
    quell_pass(&site, true, &result);
    assert_int_equal(result.killed, 1);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    quell_pass(&site, true, &result);
    assert_true(quell_is_over(&result));
}

static void test_pid_file_of_a_living_server(void **state)
{
    pid_t pid = spawn_in(folder, program);
    char path[96];
    FILE *file;

    (void)state;
    (void)snprintf(path, sizeof(path), "%s/postmaster.pid", folder);
    assert_false(quell_has_postmaster(folder, &folder_id));
    for (int sign = -1; sign <= 1; sign += 2) {
        file = fopen(path, "w");
        assert_non_null(file);
        (void)fprintf(file, "%d\n/data\n", pid * sign);
        (void)fclose(file);
        assert_true(quell_has_postmaster(folder, &folder_id));
    }
    end(pid);
    assert_false(quell_has_postmaster(folder, &folder_id));
    /* A pid that somebody else has now. */
    file = fopen(path, "w");
    assert_non_null(file);
    (void)fprintf(file, "%d\n", getpid());
    (void)fclose(file);
    assert_false(quell_has_postmaster(folder, &folder_id));
    (void)unlink(path);
}

static void test_guard_page_is_never_torn(void **state)
{
    struct guard_page *page = guard_page_map();
    struct guard_facts facts = {.is_running = true};
    pid_t writer;

    (void)state;
    assert_non_null(page);
    guard_page_publish(page, &facts);
    writer = fork();
    if (writer == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (int64_t round = 1;; round++) {
            facts.fence.until_ms = round;
            facts.postmaster.start_ticks = (uint64_t)round;
            facts.agent.start_ticks = (uint64_t)round;
            guard_page_publish(page, &facts);
        }
    }
    for (int count = 0; count < 200000; count++) {
        struct guard_facts seen;

        guard_page_read(page, &seen);
        assert_true(seen.is_running);
        assert_true(seen.fence.until_ms == (int64_t)seen.agent.start_ticks);
        assert_true(seen.postmaster.start_ticks == seen.agent.start_ticks);
    }
    /* A writer that dies at any moment leaves a whole set. */
    end(writer);
    guard_page_read(page, &facts);
    assert_true(facts.fence.until_ms == (int64_t)facts.agent.start_ticks);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_identity_needs_the_start_time),
        cmocka_unit_test(test_names_with_blanks_and_parentheses),
        cmocka_unit_test(test_pid_that_nobody_has),
        cmocka_unit_test(test_only_servers_of_the_directory),
        cmocka_unit_test(test_dying_is_not_gone),
        cmocka_unit_test(test_children_of_the_postmaster_and_orphans),
        cmocka_unit_test(test_postmaster_is_known_before_it_is_there),
        cmocka_unit_test(test_pid_file_of_a_living_server),
        cmocka_unit_test(test_guard_page_is_never_torn),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
