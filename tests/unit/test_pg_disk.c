/* What is read from and done to directories: inspection, identity of a process, markers,
 * emptying. */
#include "tests/lib/temp_dir.h"

#include "pgheir/base/mem.h"
#include "pgheir/base/clock.h"
#include "pgheir/io/pg_conf.h"
#include "pgheir/io/pg_control.h"
#include "src/io/pg_op_private.h"

static struct temp_dir temp;
static struct pg_site site;
static pid_t helper;

static int setup(void **state)
{
    (void)state;
    temp_dir_make(&temp);
    helper = 0;
    return pg_site_init(&site, temp_path(&temp, "data"), NULL) == RC_OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    if (helper > 0) {
        (void)kill(helper, SIGKILL);
        (void)waitpid(helper, NULL, 0);
    }
    temp_dir_remove(&temp);
    return 0;
}

/* Looks like a data directory as far as our code looks; pg_control is not readable. */
static void data_make(void)
{
    temp_mkdir(&temp, "data");
    temp_mkdir(&temp, "data/global");
    temp_mkdir(&temp, "data/pg_wal");
    temp_mkdir(&temp, "data/pg_tblspc");
    temp_write(&temp, "data/PG_VERSION", "15\n");
    temp_write(&temp, "data/global/pg_control", "broken");
}

static void helper_start(const char *dir)
{
    int ends[2];
    char byte = 0;
    assert_int_equal(pipe(ends), 0);
    helper = fork();
    if (helper == 0) {
        if (chdir(dir) != 0 || write(ends[1], "x", 1) != 1)
            _exit(1);
        for (;;)
            (void)pause();
    }
    (void)close(ends[1]);
    assert_int_equal(read(ends[0], &byte, 1), 1);
    (void)close(ends[0]);
}

static void pidfile_write(pid_t pid, int64_t start_wall_s)
{
    char text[1200];
    (void)snprintf(text, sizeof text, "%d\n%s\n%lld\n5432\n/tmp\n*\n 1 2\nready   \n", (int)pid,
                   site.data_dir, (long long)start_wall_s);
    temp_write(&temp, "data/postmaster.pid", text);
}

static void test_kinds(void **state)
{
    struct pg_inspection now;
    (void)state;
    pg_inspect_read(&site, &now);
    assert_int_equal(now.kind, PG_DIR_MISSING);
    temp_mkdir(&temp, "data");
    temp_mkdir(&temp, "data/lost+found");
    pg_inspect_read(&site, &now);
    assert_int_equal(now.kind, PG_DIR_EMPTY);
    temp_write(&temp, "data/file", "x");
    pg_inspect_read(&site, &now);
    assert_int_equal(now.kind, PG_DIR_FOREIGN);
    data_make();
    temp_write(&temp, "data/standby.signal", "");
    temp_write(&temp, "data/pg_wal/00000003.history", "");
    temp_write(&temp, "data/pg_wal/0000000B.history", "");
    pg_inspect_read(&site, &now);
    assert_int_equal(now.kind, PG_DIR_POSTGRES);
    assert_int_equal(now.major_version, 15);
    assert_false(now.has_control);
    assert_non_null(strstr(now.problem, "pg_control"));
    assert_true(now.has_standby_signal);
    assert_false(now.has_recovery_signal || now.has_backup_label || now.has_pidfile);
    assert_int_equal(now.newest_history, 11);
    assert_int_equal(pg_marker_set(&site, PG_MARKER_CLONE, "x", NULL), RC_OK);
    pg_inspect_read(&site, &now);
    assert_int_equal(now.kind, PG_DIR_PARTIAL);
    assert_true(now.markers[PG_MARKER_CLONE]);
    assert_int_equal(pg_marker_clear(&site, PG_MARKER_CLONE, NULL), RC_OK);
    assert_int_equal(pg_marker_clear(&site, PG_MARKER_CLONE, NULL), RC_OK);
    assert_int_equal(pg_marker_set(&site, PG_MARKER_REWIND, "x", NULL), RC_OK);
    pg_inspect_read(&site, &now);
    assert_int_equal(now.kind, PG_DIR_POSTGRES);
    assert_true(now.markers[PG_MARKER_REWIND]);
}

static void test_not_knowing_a_marker_counts_as_set(void **state)
{
    struct pg_inspection now;
    bool is_set = false;
    (void)state;
    data_make();
    /* A file where our directory should be. */
    temp_write(&temp, "data.pgheir", "");
    assert_int_equal(pg_marker_read(&site, PG_MARKER_REWIND, &is_set, NULL), RC_SYSTEM);
    pg_inspect_read(&site, &now);
    assert_true(now.markers[PG_MARKER_REWIND]);
    assert_int_equal(pg_marker_set(&site, PG_MARKER_REWIND, "x", NULL), RC_REFUSED);
}

static void test_identity_of_the_postmaster(void **state)
{
    struct pg_pidfile pidfile;
    struct pg_process process;
    struct err err;
    bool is_alive = true;
    (void)state;
    data_make();
    assert_int_equal(pg_process_find(&site, &pidfile, &is_alive, &process, &err), RC_OK);
    assert_false(is_alive);
    /* Somebody else's process under the pid: never taken, never signalled (PG-03). */
    helper_start("/");
    pidfile_write(helper, clock_wall_ms() / 1000);
    assert_int_equal(pg_process_find(&site, &pidfile, &is_alive, &process, &err), RC_OK);
    assert_false(is_alive);
    assert_int_equal(process.pid, 0);
    assert_int_equal(pg_process_signal(&process, SIGKILL, &err), RC_NOT_FOUND);
    assert_int_equal(kill(helper, 0), 0);
    (void)kill(helper, SIGKILL);
    (void)waitpid(helper, NULL, 0);
    /* One that sits in the data directory is the one, whatever the wall clock says. */
    helper_start(site.data_dir);
    pidfile_write(helper, 1000);
    assert_int_equal(pg_process_find(&site, &pidfile, &is_alive, &process, &err), RC_OK);
    assert_true(is_alive);
    assert_int_equal(process.pid, helper);
    assert_true(pg_process_is_alive(&process));
    /* Another start time is another process. */
    process.start_ticks++;
    assert_false(pg_process_is_alive(&process));
    assert_int_equal(pg_process_signal(&process, SIGKILL, &err), RC_NOT_FOUND);
    assert_int_equal(kill(helper, 0), 0);
    process.start_ticks--;
    assert_int_equal(pg_process_signal(&process, SIGKILL, &err), RC_OK);
    /* Dead, though nobody has reaped it yet: what a container without an init shows. */
    siginfo_t info;
    assert_int_equal(waitid(P_PID, (id_t)helper, &info, WEXITED | WNOWAIT), 0);
    assert_false(pg_process_is_alive(&process));
    assert_int_equal(pg_process_find(&site, &pidfile, &is_alive, &process, &err), RC_OK);
    assert_false(is_alive);
}

static void test_broken_pidfile_is_an_error(void **state)
{
    struct pg_pidfile pidfile;
    struct pg_process process;
    struct pg_inspection now;
    bool is_alive = true;
    (void)state;
    data_make();
    temp_write(&temp, "data/postmaster.pid", "nonsense\n");
    assert_int_equal(pg_process_find(&site, &pidfile, &is_alive, &process, NULL), RC_INVALID);
    pg_inspect_read(&site, &now);
    assert_true(now.has_pidfile);
    assert_false(now.is_alive);
}

static void test_only_ours_is_emptied(void **state)
{
    struct err err;
    (void)state;
    assert_int_equal(pg_data_check_empty(&site, 0, &err), RC_OK); /* missing */
    temp_mkdir(&temp, "data");
    assert_int_equal(pg_data_check_empty(&site, 0, &err), RC_OK);
    temp_write(&temp, "data/holiday.jpg", "x");
    assert_int_equal(pg_data_check_empty(&site, 1, &err), RC_REFUSED);
    data_make();
    /* PostgreSQL's, but nobody can say whose. */
    assert_int_equal(pg_data_check_empty(&site, 1, &err), RC_REFUSED);
    assert_int_equal(pg_marker_set(&site, PG_MARKER_CLONE, "x", NULL), RC_OK);
    assert_int_equal(pg_data_check_empty(&site, 0, &err), RC_OK);
    /* Never under a running server. */
    helper_start(site.data_dir);
    pidfile_write(helper, clock_wall_ms() / 1000);
    assert_int_equal(pg_data_check_empty(&site, 0, &err), RC_REFUSED);
    assert_non_null(strstr(err.text, "runs there"));
}

static void link_make(const char *target, const char *name)
{
    char path[512];
    (void)snprintf(path, sizeof path, "%s", temp_path(&temp, target));
    assert_int_equal(symlink(path, temp_path(&temp, name)), 0);
}

static void test_emptying_follows_no_foreign_link(void **state)
{
    struct stat before, after;
    (void)state;
    data_make();
    temp_mkdir(&temp, "data/lost+found");
    temp_mkdir(&temp, "data/base");
    temp_mkdir(&temp, "data/base/1");
    temp_write(&temp, "data/base/1/1259", "x");
    /* Somewhere else: a link in the data directory, WAL on its own volume, a tablespace. */
    temp_mkdir(&temp, "photos");
    temp_write(&temp, "photos/1.jpg", "x");
    link_make("photos", "data/log");
    link_make("photos/1.jpg", "data/base/1/link");
    temp_mkdir(&temp, "wal");
    temp_mkdir(&temp, "wal/archive_status");
    temp_write(&temp, "wal/archive_status/000000010000000000000001.ready", "");
    temp_write(&temp, "wal/000000010000000000000001", "x");
    temp_write(&temp, "wal/00000002.history", "x");
    temp_write(&temp, "wal/notes.txt", "x");
    assert_int_equal(rmdir(temp_path(&temp, "data/pg_wal")), 0);
    link_make("wal", "data/pg_wal");
    temp_mkdir(&temp, "space");
    temp_mkdir(&temp, "space/PG_15_202209061");
    temp_write(&temp, "space/PG_15_202209061/file", "x");
    temp_mkdir(&temp, "space/PG_14_202107181");
    temp_write(&temp, "space/PG_14_202107181/file", "x");
    temp_mkdir(&temp, "space/PG_15_mine");
    link_make("space", "data/pg_tblspc/16384");
    temp_mkdir(&temp, "waldir");
    temp_write(&temp, "waldir/000000010000000000000001", "x");
    temp_write(&temp, "waldir/keep", "x");
    char waldir[512];
    (void)snprintf(waldir, sizeof waldir, "%s", temp_path(&temp, "waldir"));
    assert_int_equal(stat(site.data_dir, &before), 0);
    assert_int_equal(pg_data_empty(&site, waldir, NULL), RC_OK);
    /* The directory itself stays: it may be a mount point. */
    assert_int_equal(stat(site.data_dir, &after), 0);
    assert_int_equal(before.st_ino, after.st_ino);
    assert_true(temp_exists(&temp, "data/lost+found"));
    assert_false(temp_exists(&temp, "data/base"));
    assert_false(temp_exists(&temp, "data/log"));
    assert_false(temp_exists(&temp, "data/PG_VERSION"));
    assert_true(temp_exists(&temp, "photos/1.jpg"));
    assert_false(temp_exists(&temp, "wal/000000010000000000000001"));
    assert_false(temp_exists(&temp, "wal/00000002.history"));
    assert_false(temp_exists(&temp, "wal/archive_status"));
    assert_true(temp_exists(&temp, "wal/notes.txt"));
    assert_false(temp_exists(&temp, "space/PG_15_202209061"));
    assert_true(temp_exists(&temp, "space/PG_14_202107181/file"));
    assert_true(temp_exists(&temp, "space/PG_15_mine"));
    assert_false(temp_exists(&temp, "waldir/000000010000000000000001"));
    assert_true(temp_exists(&temp, "waldir/keep"));
    assert_int_equal(pg_data_empty(&site, NULL, NULL), RC_OK);
}

static void test_history_file(void **state)
{
    struct pg_history *history = mem_new(1, sizeof *history);
    struct err err;
    (void)state;
    data_make();
    temp_write(&temp, "data/pg_wal/00000002.history", "1\t0/3000148\treason\n");
    assert_int_equal(pg_history_read(&site, 2, history, &err), RC_OK);
    assert_int_equal(history->rows[0].switch_lsn, 0x3000148);
    assert_int_equal(pg_history_read(&site, 3, history, &err), RC_NOT_FOUND);
    assert_int_equal(pg_history_read(&site, 1, history, &err), RC_OK);
    assert_int_equal(history->count, 0);
    mem_free(history);
}

static void test_options(void **state)
{
    static const struct {
        enum pg_tool tool;
        struct pg_option option;
        enum rc rc;
    } rows[] = {
        {PG_TOOL_INITDB, {"encoding", "UTF8"}, RC_OK},
        {PG_TOOL_INITDB, {"data-checksums", NULL}, RC_OK},
        {PG_TOOL_INITDB, {"pwfile", "/x"}, RC_INVALID},
        {PG_TOOL_INITDB, {"pgdata", "/x"}, RC_INVALID},
        {PG_TOOL_INITDB, {"nosync", NULL}, RC_INVALID},
        {PG_TOOL_INITDB, {"--encoding", "x"}, RC_INVALID},
        {PG_TOOL_INITDB, {"encoding=UTF8", NULL}, RC_INVALID},
        {PG_TOOL_INITDB, {"", NULL}, RC_INVALID},
        {PG_TOOL_BASEBACKUP, {"max-rate", "100M"}, RC_OK},
        {PG_TOOL_BASEBACKUP, {"format", "t"}, RC_INVALID},
        {PG_TOOL_BASEBACKUP, {"compress", "gzip"}, RC_INVALID},
        {PG_TOOL_BASEBACKUP, {"compress", "server-lz4"}, RC_OK},
        {PG_TOOL_REWIND, {"source-server", "x"}, RC_INVALID},
        {PG_TOOL_REWIND, {"debug", NULL}, RC_OK},
    };
    struct err err;
    (void)state;
    for (size_t i = 0; i < PGH_COUNT(rows); i++)
        assert_int_equal(pg_option_check(rows[i].tool, &rows[i].option, 1, &err), rows[i].rc);
}

static void test_secrets_stay_out_of_the_arguments(void **state)
{
    static const struct pg_text_pair options[] = {{"sslmode", "require"},
                                                  {"sslpassword", "key secret"}};
    const struct pg_source source = {
        .host = "h", .address = "10.0.0.1", .port = 5432, .user = "u'", .password = "secret one",
        .options = options, .options_count = 2};
    struct pg_op_source out;
    struct stat info;
    (void)state;
    assert_int_equal(pg_op_source_init(&site, &source, "postgres", "read-write", &out, NULL),
                     RC_OK);
    assert_null(strstr(out.conninfo, "secret"));
    assert_non_null(strstr(out.conninfo, "service='pgheir'"));
    assert_non_null(strstr(out.conninfo, "user='u\\''"));
    assert_non_null(strstr(out.conninfo, "target_session_attrs='read-write'"));
    assert_int_equal(pg_op_source_write(&site, &out, NULL), RC_OK);
    assert_string_equal(temp_read(&temp, "data.pgheir/source.pgpass"), "*:*:*:u':secret one\n");
    assert_string_equal(temp_read(&temp, "data.pgheir/source.service"),
                        "[pgheir]\nsslpassword=key secret\n");
    assert_int_equal(stat(temp_path(&temp, "data.pgheir/source.pgpass"), &info), 0);
    assert_int_equal(info.st_mode & 07777, 0600);
    assert_int_equal(pg_op_source_remove(&site, NULL), RC_OK);
    assert_false(temp_exists(&temp, "data.pgheir/source.pgpass"));
    assert_false(temp_exists(&temp, "data.pgheir/source.service"));
    pg_op_source_done(&out);
}

#define DISK_TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        DISK_TEST(test_kinds),
        DISK_TEST(test_not_knowing_a_marker_counts_as_set),
        DISK_TEST(test_identity_of_the_postmaster),
        DISK_TEST(test_broken_pidfile_is_an_error),
        DISK_TEST(test_only_ours_is_emptied),
        DISK_TEST(test_emptying_follows_no_foreign_link),
        DISK_TEST(test_history_file),
        DISK_TEST(test_options),
        DISK_TEST(test_secrets_stay_out_of_the_arguments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
