#include "tests/lib/check.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>

#include "pgheir/base/base.h"
#include "pgheir/base/clock.h"
#include "pgheir/base/log.h"
#include "pgheir/base/str.h"

/* Stderr of this process while a test runs is the write end of this. */
static int capture_fd = -1;
static int stderr_copy = -1;
static char dir[64];
static char path[128];

enum { TEXT_SIZE = 256 * 1024 };
static char text[TEXT_SIZE];

/* The log belongs to one process: what leads it back to stderr also makes it look at stderr
 * anew. */
static void
stderr_use(int fd)
{
    (void)log_close();
    assert_int_equal(dup2(fd, STDERR_FILENO), STDERR_FILENO);
}

static int
teardown(void **state)
{
    char command_path[160];

    (void)state;
    stderr_use(stderr_copy);
    (void)close(stderr_copy);
    (void)close(capture_fd);
    (void)unlink(path);
    for (int i = 1; i <= 4; i++) {
        assert_true(str_format(command_path, sizeof(command_path), "%s.%d", path, i));
        (void)unlink(command_path);
    }
    return rmdir(dir);
}

/* Everything that can be read now; the length is returned. */
static size_t
read_all(int fd)
{
    size_t length = 0;
    ssize_t got;

    while ((got = read(fd, text + length, sizeof(text) - 1 - length)) > 0)
        length += (size_t)got;
    text[length] = '\0';
    return length;
}

static int
setup(void **state)
{
    int fds[2];

    (void)state;
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    stderr_copy = dup(STDERR_FILENO);
    stderr_use(fds[1]);
    assert_int_equal(close(fds[1]), 0);
    capture_fd = fds[0];
    assert_int_equal(fcntl(capture_fd, F_SETFL, O_NONBLOCK), 0);
    assert_true(str_format(dir, sizeof(dir), "/tmp/pgheir-test-log-XXXXXX"));
    /* What earlier tests lost on purpose is reported with the next line: here, not in the
     * middle. */
    log_info("begin");
    (void)read_all(capture_fd);
    assert_non_null(mkdtemp(dir));
    assert_true(str_format(path, sizeof(path), "%s/patroni.log", dir));
    return 0;
}

static const char *
read_file(const char *name)
{
    int fd = open(name, O_RDONLY | O_CLOEXEC);

    assert_true(fd >= 0);
    (void)read_all(fd);
    (void)close(fd);
    return text;
}

/* The text behind "2026-11-23 14:52:54,004 ", whose form is checked. */
static const char *
after_time(const char *line)
{
    static const char form[] = "dddd-dd-dd dd:dd:dd,ddd ";

    for (size_t i = 0; i < sizeof(form) - 1; i++) {
        if (form[i] == 'd')
            assert_in_range(line[i], '0', '9');
        else
            assert_int_equal(line[i], form[i]);
    }
    return line + sizeof(form) - 1;
}

static int
count_lines(const char *lines)
{
    int count = 0;

    for (; *lines != '\0'; lines++)
        count += *lines == '\n';
    return count;
}

static void
open_file(int64_t file_size, int file_num)
{
    const struct log_options options = {
        .level = LOG_LEVEL_INFO, .dir = dir, .file_size = file_size, .file_num = file_num};

    assert_int_equal(log_open(&options), 0);
}

static void
test_a_line_before_open_goes_to_stderr(void **state)
{
    (void)state;
    log_debug("not at this level");
    log_info("cannot read %s", "x");
    (void)read_all(capture_fd);
    assert_string_equal(after_time(text), "INFO: cannot read x\n");
    assert_int_equal(log_queued_count(), 0);
}

static void
test_the_time_is_now_in_local_time(void **state)
{
    char before[32];
    char after[32];
    time_t now = time(NULL);
    struct tm parts;

    (void)state;
    assert_int_equal(setenv("TZ", "XYZ-05:30", 1), 0);
    tzset();
    assert_true(strftime(before, sizeof(before), "%Y-%m-%d %H:%M:%S", localtime_r(&now, &parts)));
    log_info("x");
    now = time(NULL);
    assert_true(strftime(after, sizeof(after), "%Y-%m-%d %H:%M:%S", localtime_r(&now, &parts)));
    assert_int_equal(unsetenv("TZ"), 0);
    tzset();
    (void)read_all(capture_fd);
    text[strlen(before)] = '\0';
    assert_true(strcmp(before, text) <= 0);
    assert_true(strcmp(text, after) <= 0);
}

static void
test_levels(void **state)
{
    struct log_options options = {.level = LOG_LEVEL_ERROR};
    enum log_level level = LOG_LEVEL_DEBUG;

    (void)state;
    assert_int_equal(log_open(&options), 0);
    log_warning("no");
    log_error("yes");
    log_critical("yes");
    (void)read_all(capture_fd);
    assert_int_equal(count_lines(text), 2);
    assert_string_equal(after_time(strchr(text, '\n') + 1), "CRITICAL: yes\n");
    options.level = LOG_LEVEL_DEBUG;
    assert_int_equal(log_open(&options), 0);
    log_debug("shown");
    (void)read_all(capture_fd);
    assert_string_equal(after_time(text), "DEBUG: shown\n");
    for (int i = 0; i < (int)LOG_LEVEL_COUNT; i++) {
        assert_true(log_level_parse(log_level_text((enum log_level)i), &level));
        assert_int_equal(level, i);
    }
    assert_true(log_level_parse("warn", &level));
    assert_int_equal(level, LOG_LEVEL_WARNING);
    assert_true(log_level_parse("Fatal", &level));
    assert_int_equal(level, LOG_LEVEL_CRITICAL);
    assert_false(log_level_parse("verbose", &level));
    assert_int_equal(level, LOG_LEVEL_CRITICAL);
    options.level = LOG_LEVEL_INFO;
    assert_int_equal(log_open(&options), 0);
}

static void
test_hostile_text_stays_one_line(void **state)
{
    (void)state;
    log_info("name=%s", "a\n2026-11-23 14:52:54,004 INFO: forged\r\t\x1b[2J\xff\xc3\xbc\x7f");
    (void)read_all(capture_fd);
    assert_string_equal(after_time(text),
                        "INFO: name=a\\n2026-11-23 14:52:54,004 INFO: forged\\r\\t\\x1b[2J\\xff"
                        "\xc3\xbc\\x7f\n");
}

/* Valid UTF-8 passes as it is, each byte of anything else is escaped. */
static void
test_only_valid_utf8_passes(void **state)
{
    static const char *const valid[] = {"\xc2\x80",         "\xdf\xbf",         "\xe0\xa0\x80",
                                        "\xe2\x82\xac",     "\xed\x9f\xbf",     "\xef\xbf\xbf",
                                        "\xf0\x90\x80\x80", "\xf1\x80\x80\x80", "\xf4\x8f\xbf\xbf"};
    static const char *const invalid[] = {"\x80",         "\xc1\xbf",         "\xc2 ",
                                          "\xe0\x9f\xbf", "\xed\xa0\x80",     "\xe2\x82",
                                          "\xe2\x82 ",    "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80",
                                          "\xf5\x80\x80\x80", "\xff"};
    char wanted[64];

    (void)state;
    for (size_t i = 0; i < PGH_COUNT(valid); i++) {
        log_info("%s|", valid[i]);
        (void)read_all(capture_fd);
        assert_true(str_format(wanted, sizeof(wanted), "INFO: %s|\n", valid[i]));
        assert_string_equal(after_time(text), wanted);
    }
    for (size_t i = 0; i < PGH_COUNT(invalid); i++) {
        log_info("%s|", invalid[i]);
        (void)read_all(capture_fd);
        assert_true(str_format(wanted, sizeof(wanted), "INFO: \\x%02x",
                               (unsigned)(unsigned char)invalid[i][0]));
        assert_memory_equal(after_time(text), wanted, strlen(wanted));
    }
}

static void
test_json_is_one_valid_object_per_line(void **state)
{
    struct log_options options = {.level = LOG_LEVEL_INFO, .json = true};
    static const char head[] = "{\"time\": \"";
    const char *rest;

    (void)state;
    assert_int_equal(log_open(&options), 0);
    log_warning("a \"quoted\" \\ name\n\x01\xed\xa0\x80\xf0\x9f\x90\x98");
    (void)read_all(capture_fd);
    assert_memory_equal(text, head, sizeof(head) - 1);
    /* The blank behind a plain time stands for the quote here. */
    text[sizeof(head) - 1 + 23] = ' ';
    rest = after_time(text + sizeof(head) - 1);
    assert_string_equal(rest,
                        ", \"level\": \"WARNING\", \"message\": \"a \\\"quoted\\\" \\\\ name\\n"
                        "\\u0001\\ufffd\\ufffd\\ufffd\xf0\x9f\x90\x98\"}\n");
    options.json = false;
    assert_int_equal(log_open(&options), 0);
}

static void
test_long_lines_are_cut_visibly(void **state)
{
    static char long_text[20000];
    struct log_options options = {.level = LOG_LEVEL_INFO, .json = true};
    size_t length;

    (void)state;
    memset(long_text, 'x', sizeof(long_text) - 1);
    log_info("%s", long_text);
    length = read_all(capture_fd);
    assert_in_range(length, 4096, 4200);
    assert_string_equal(text + length - 5, "x...\n");
    /* Each of these bytes takes six in JSON: still one whole object. */
    memset(long_text, 1, sizeof(long_text) - 1);
    assert_int_equal(log_open(&options), 0);
    log_info("%s", long_text);
    length = read_all(capture_fd);
    assert_in_range(length, 8000, 8194);
    assert_string_equal(text + length - 12, "\\u0001...\"}\n");
    options.json = false;
    assert_int_equal(log_open(&options), 0);
}

static void
test_repeated_no_action_is_dropped_on_request(void **state)
{
    struct log_options options = {.level = LOG_LEVEL_INFO, .deduplicate = true};

    (void)state;
    assert_int_equal(log_open(&options), 0);
    for (int i = 0; i < 3; i++)
        log_info("no action. I am (a), the leader with the lock");
    log_info("no action. I am (b), a secondary");
    log_info("promoted");
    log_info("promoted");
    log_info("no action. I am (b), a secondary");
    (void)read_all(capture_fd);
    assert_int_equal(count_lines(text), 5);
    options.deduplicate = false;
    assert_int_equal(log_open(&options), 0);
    log_info("no action. I am (b), a secondary");
    log_info("no action. I am (b), a secondary");
    (void)read_all(capture_fd);
    assert_int_equal(count_lines(text), 2);
}

/* Nobody reads: lines must wait, then be lost and counted, and never hold up the caller. */
static void
check_full_sink(int reader_fd)
{
    uint64_t lost_before = log_lost_count();
    uint64_t lost;
    int64_t started_ms = clock_boot_ms();
    int64_t deadline_ms;
    int lines = 0;
    int seen = 0;

    while (log_lost_count() == lost_before && lines < 100000) {
        log_info("line %d of a log that nobody reads", lines);
        lines++;
    }
    assert_true(clock_boot_ms() - started_ms < 5000);
    lost = log_lost_count() - lost_before;
    assert_int_equal(lost, 1);
    assert_true(log_queued_count() > 0);
    /* The reader comes back: what waited arrives, and the loss is told. */
    deadline_ms = clock_boot_ms() + 5000;
    while (log_queued_count() > 0) {
        (void)read_all(reader_fd);
        seen += count_lines(text);
        log_flush();
        assert_true(clock_boot_ms() < deadline_ms);
    }
    log_info("afterwards");
    (void)read_all(reader_fd);
    seen += count_lines(text);
    assert_non_null(strstr(text, " WARNING: log lines were lost: lost=1 "));
    assert_non_null(strstr(text, " INFO: afterwards\n"));
    assert_int_equal(seen, lines - 1 + 2);
}

static void
test_a_full_pipe_does_not_block(void **state)
{
    (void)state;
    check_full_sink(capture_fd);
    /* Others who share the descriptor still see it as it was. */
    assert_int_equal(fcntl(STDERR_FILENO, F_GETFL) & O_NONBLOCK, 0);
}

static void
test_a_full_socket_does_not_block(void **state)
{
    int fds[2];

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    assert_int_equal(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
    stderr_use(fds[1]);
    check_full_sink(fds[0]);
    (void)close(fds[0]);
    (void)close(fds[1]);
}

/* A stderr that this user may not open again, as in a container after the change of user. */
static void
test_a_shared_pipe_does_not_block(void **state)
{
    int status = 0;
    int64_t deadline_ms = clock_boot_ms() + 10000;
    uint64_t lost = log_lost_count();
    pid_t pid = fork();

    (void)state;
    assert_true(pid >= 0);
    if (pid == 0) {
        int lines = 0;

        (void)log_close();
        (void)fchmod(STDERR_FILENO, 0);
        if (getuid() == 0 && setuid(65534) != 0)
            _exit(2);
        if (open("/proc/self/fd/2", O_WRONLY | O_CLOEXEC) != -1)
            _exit(3);
        while (log_lost_count() == lost && lines++ < 100000)
            log_info("line %d of a log that nobody reads", lines);
        _exit(log_lost_count() == lost + 1 ? 0 : 4);
    }
    while (waitpid(pid, &status, WNOHANG) == 0) {
        if (clock_boot_ms() > deadline_ms)
            (void)kill(pid, SIGKILL);
    }
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    (void)read_all(capture_fd);
    assert_true(count_lines(text) > 100);
}

static void
test_close_waits_a_bounded_time(void **state)
{
    int64_t started_ms;

    (void)state;
    for (int i = 0; i < 100000 && log_queued_count() == 0; i++)
        log_info("line %d of a log that nobody reads", i);
    assert_true(log_queued_count() > 0);
    started_ms = clock_boot_ms();
    assert_int_equal(log_close(), -1);
    assert_in_range(clock_boot_ms() - started_ms, 900, 3000);
    (void)read_all(capture_fd);
    assert_int_equal(log_close(), 0);
    assert_int_equal(log_queued_count(), 0);
}

static void
test_a_reader_that_left_costs_lines_not_the_process(void **state)
{
    int fds[2];
    uint64_t lost = log_lost_count();

    (void)state;
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    stderr_use(fds[1]);
    (void)close(fds[0]);
    (void)close(fds[1]);
    (void)signal(SIGPIPE, SIG_IGN);
    log_info("nobody");
    assert_int_equal(log_queued_count(), 0);
    assert_int_equal(log_lost_count(), lost + 1);
}

static void
test_file_with_its_mode(void **state)
{
    const struct log_options options = {
        .level = LOG_LEVEL_INFO,
        .dir = dir,
        .file_size = 1000000,
        .file_num = 4,
        .file_mode = 0604,
    };
    struct stat status;

    (void)state;
    assert_int_equal(log_open(&options), 0);
    log_info("one");
    log_info("two");
    assert_int_equal(log_close(), 0);
    assert_int_equal(count_lines(read_file(path)), 2);
    assert_string_equal(after_time(strchr(text, '\n') + 1), "INFO: two\n");
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0604);
    /* Nothing of it on stderr, and stderr again after the close. */
    assert_int_equal(read_all(capture_fd), 0);
    log_info("three");
    (void)read_all(capture_fd);
    assert_string_equal(after_time(text), "INFO: three\n");
}

static void
test_file_is_rotated_between_lines(void **state)
{
    char name[160];
    int last = 0;

    (void)state;
    open_file(2000, 3);
    for (int i = 1; i <= 500; i++)
        log_info("line %04d of five hundred", i);
    assert_int_equal(log_close(), 0);
    /* The newest lines are in the file, older ones in .1 to .3, the oldest are gone. */
    for (int n = 3; n >= 0; n--) {
        const char *line;

        assert_true(str_format(name, sizeof(name), n == 0 ? "%s" : "%s.%d", path, n));
        (void)read_file(name);
        assert_in_range(strlen(text), 1, 2000);
        for (line = text; *line != '\0'; line = strchr(line, '\n') + 1) {
            int number = (int)strtol(after_time(line) + strlen("INFO: line "), NULL, 10);

            assert_true(last == 0 || number == last + 1);
            last = number;
        }
    }
    assert_int_equal(last, 500);
    assert_true(str_format(name, sizeof(name), "%s.4", path));
    assert_int_equal(access(name, F_OK), -1);
}

static void
test_reload_follows_a_file_rotated_by_others(void **state)
{
    char name[160];

    (void)state;
    open_file(0, 0);
    log_info("before");
    assert_true(str_format(name, sizeof(name), "%s.1", path));
    assert_int_equal(rename(path, name), 0);
    open_file(0, 0);
    log_info("after");
    assert_int_equal(log_close(), 0);
    assert_string_equal(after_time(read_file(name)), "INFO: before\n");
    assert_string_equal(after_time(read_file(path)), "INFO: after\n");
}

static void
test_open_failure_keeps_the_old_sink(void **state)
{
    const struct log_options options = {.level = LOG_LEVEL_DEBUG, .dir = "/nonexistent"};

    (void)state;
    open_file(0, 0);
    errno = 0;
    assert_int_equal(log_open(&options), -1);
    assert_int_equal(errno, ENOENT);
    assert_false(log_is_enabled(LOG_LEVEL_DEBUG));
    log_info("still here");
    assert_int_equal(log_close(), 0);
    assert_string_equal(after_time(read_file(path)), "INFO: still here\n");
}

/* A file that may not grow stands for a full disk; in a process of its own, because the limit also
 * holds for what this one prints. */
static void
test_a_full_disk_is_counted(void **state)
{
    int status = 0;
    pid_t pid = fork();

    (void)state;
    assert_true(pid >= 0);
    if (pid == 0) {
        const struct log_options options = {.level = LOG_LEVEL_INFO, .dir = dir};
        struct rlimit nothing = {0, 0};
        uint64_t lost = log_lost_count();

        (void)signal(SIGXFSZ, SIG_IGN);
        if (setrlimit(RLIMIT_FSIZE, &nothing) != 0 || log_open(&options) != 0)
            _exit(2);
        log_info("one");
        log_info("two");
        _exit(log_close() == 0 && log_lost_count() >= lost + 2 ? 0 : 3);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_string_equal(read_file(path), "");
}

/* Reads the FIFO until it has shown the wanted text. */
static void
await_text(int fd, const char *wanted)
{
    int64_t deadline_ms = clock_boot_ms() + 5000;

    for (;;) {
        struct pollfd ready = {.fd = fd, .events = POLLIN};

        assert_true(clock_boot_ms() < deadline_ms);
        (void)poll(&ready, 1, 100);
        if (read_all(fd) > 0 && strstr(text, wanted) != NULL)
            return;
    }
}

/* A FIFO without a reader's attention stands for a disk that hangs. */
static void
test_a_hanging_disk_does_not_block(void **state)
{
    const struct log_options elsewhere = {.level = LOG_LEVEL_INFO};
    uint64_t lost = log_lost_count();
    int64_t started_ms;
    int fd;

    (void)state;
    assert_int_equal(mkfifo(path, 0600), 0);
    fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    assert_true(fd >= 0);
    open_file(0, 0);
    started_ms = clock_boot_ms();
    for (int i = 0; i < 100000 && log_lost_count() == lost; i++)
        log_info("line %d for a disk that hangs", i);
    assert_true(log_lost_count() > lost);
    assert_true(clock_boot_ms() - started_ms < 5000);
    /* Leaving it is tried, and given up in time; the log stays where it was. */
    started_ms = clock_boot_ms();
    assert_int_equal(log_open(&elsewhere), -1);
    assert_int_equal(errno, ETIMEDOUT);
    assert_true(clock_boot_ms() - started_ms < 1500);
    /* The disk comes back: nothing that waited is missing, and the log goes on. */
    await_text(fd, "line 100 ");
    for (int64_t until_ms = clock_boot_ms() + 5000; log_queued_count() > 0;) {
        (void)read_all(fd);
        log_flush();
        assert_true(clock_boot_ms() < until_ms);
    }
    log_info("alive again");
    await_text(fd, "alive again");
    assert_int_equal(log_close(), 0);
    (void)close(fd);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(test_a_line_before_open_goes_to_stderr),
        TEST(test_the_time_is_now_in_local_time),
        TEST(test_levels),
        TEST(test_hostile_text_stays_one_line),
        TEST(test_only_valid_utf8_passes),
        TEST(test_json_is_one_valid_object_per_line),
        TEST(test_long_lines_are_cut_visibly),
        TEST(test_repeated_no_action_is_dropped_on_request),
        TEST(test_a_full_pipe_does_not_block),
        TEST(test_a_full_socket_does_not_block),
        TEST(test_a_shared_pipe_does_not_block),
        TEST(test_close_waits_a_bounded_time),
        TEST(test_a_reader_that_left_costs_lines_not_the_process),
        TEST(test_file_with_its_mode),
        TEST(test_file_is_rotated_between_lines),
        TEST(test_reload_follows_a_file_rotated_by_others),
        TEST(test_open_failure_keeps_the_old_sink),
        TEST(test_a_full_disk_is_counted),
        TEST(test_a_hanging_disk_does_not_block),
#undef TEST
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
