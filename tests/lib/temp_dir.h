/* A directory of its own per test, and small files in it. */
#ifndef PGHEIR_LIB_TEMP_DIR_H
#define PGHEIR_LIB_TEMP_DIR_H

#include "tests/lib/check.h"

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <sys/stat.h>

struct temp_dir {
    char path[256];
};

static inline void
temp_dir_make(struct temp_dir *dir)
{
    const char *base = getenv("TMPDIR");

    (void)snprintf(dir->path, sizeof(dir->path), "%s/pgheir-unit-XXXXXX",
                   base != NULL ? base : "/tmp");
    assert_non_null(mkdtemp(dir->path));
}

static inline void
temp_dir_remove(struct temp_dir *dir)
{
    char *const paths[] = {dir->path, NULL};
    FTS *tree = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR, NULL);

    assert_non_null(tree);
    for (FTSENT *at = fts_read(tree); at != NULL; at = fts_read(tree)) {
        if (at->fts_info == FTS_DP)
            (void)rmdir(at->fts_accpath);
        else if (at->fts_info != FTS_D)
            (void)unlink(at->fts_accpath);
    }
    (void)fts_close(tree);
}

/* Returns a text of the caller's, overwritten by the eighth call after it. */
static inline const char *
temp_path(const struct temp_dir *dir, const char *name)
{
    static char paths[8][512];
    static int next;
    char *path = paths[next++ % 8];

    (void)snprintf(path, sizeof(paths[0]), "%s/%s", dir->path, name);
    return path;
}

static inline void
temp_write(const struct temp_dir *dir, const char *name, const char *text)
{
    int fd = open(temp_path(dir, name), O_WRONLY | O_CREAT | O_TRUNC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    assert_int_equal(close(fd), 0);
}

static inline void
temp_mkdir(const struct temp_dir *dir, const char *name)
{
    assert_true(mkdir(temp_path(dir, name), 0700) == 0 || errno == EEXIST);
}

static inline int
temp_exists(const struct temp_dir *dir, const char *name)
{
    struct stat info;

    return lstat(temp_path(dir, name), &info) == 0;
}

/* The content, in a static buffer; fails the test if the file is not there. */
static inline const char *
temp_read(const struct temp_dir *dir, const char *name)
{
    static char text[65536];
    int fd = open(temp_path(dir, name), O_RDONLY);
    ssize_t length;

    assert_true(fd >= 0);
    length = read(fd, text, sizeof(text) - 1);
    assert_true(length >= 0);
    text[length] = '\0';
    (void)close(fd);
    return text;
}

#endif
