#include "pg_file.h"

#include "pgheir/base/str.h"
#include "pgheir/io/pg_conf.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { READ_SIZE = 4096 };

enum rc pg_file_read(const char *path, struct buf *out, struct err *err)
{
    char bytes[READ_SIZE];
    enum rc rc = RC_OK;
    buf_clear(out);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0 && errno == ENOENT)
        return err_set(err, RC_NOT_FOUND, "%s does not exist", path);
    if (fd < 0)
        return err_set_errno(err, errno, "cannot open %s", path);
    for (;;) {
        ssize_t length = read(fd, bytes, sizeof bytes);
        if (length < 0 && errno == EINTR)
            continue;
        if (length < 0)
            rc = err_set_errno(err, errno, "cannot read %s", path);
        if (length <= 0)
            break;
        rc = buf_append(out, bytes, (size_t)length);
        if (rc != RC_OK) {
            rc = err_set(err, RC_LIMIT, "%s is longer than %zu bytes", path, out->ceiling);
            break;
        }
    }
    (void)close(fd); /* read only: nothing can be lost */
    return rc;
}

bool pg_file_exists(const char *path)
{
    struct stat info;
    return lstat(path, &info) == 0 || (errno != ENOENT && errno != ENOTDIR);
}

bool pg_file_in_data(const struct pg_site *site, const char *name)
{
    char path[PG_PATH_SIZE];
    return pg_site_path(site->data_dir, name, path, NULL) != RC_OK || pg_file_exists(path);
}

enum rc pg_file_sync_parent(const char *path, struct err *err)
{
    char dir[PG_PATH_SIZE];
    if (!str_copy(dir, sizeof dir, path))
        return err_set(err, RC_LIMIT, "path %.100s... is too long", path);
    char *slash = strrchr(dir, '/');
    if (slash == NULL)
        return err_set(err, RC_INVALID, "path %s is not absolute", path);
    slash[slash == dir ? 1 : 0] = '\0';
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_set_errno(err, errno, "cannot open directory %s", dir);
    int rc = fsync(fd);
    int sync_errno = errno;
    (void)close(fd); /* read only */
    /* Some filesystems cannot sync a directory; there is nothing else to be done there. */
    if (rc != 0 && sync_errno != EINVAL && sync_errno != EBADF)
        return err_set_errno(err, sync_errno, "cannot sync directory %s", dir);
    return RC_OK;
}

enum rc pg_file_remove(const char *path, struct err *err)
{
    if (unlink(path) == 0)
        return pg_file_sync_parent(path, err);
    if (errno == ENOENT || errno == ENOTDIR)
        return RC_OK;
    return err_set_errno(err, errno, "cannot remove %s", path);
}

enum rc pg_file_make_dir(const char *path, unsigned mode, struct err *err)
{
    struct stat info;
    if (mkdir(path, mode) == 0)
        return pg_file_sync_parent(path, err);
    if (errno != EEXIST)
        return err_set_errno(err, errno, "cannot make directory %s", path);
    if (stat(path, &info) != 0 || !S_ISDIR(info.st_mode))
        return err_set(err, RC_REFUSED, "%s is not a directory", path);
    return RC_OK;
}

/* ---- writing whole ---- */

static enum rc bytes_write(int fd, const char *path, const void *bytes, size_t length,
                           struct err *err)
{
    const char *at = bytes;
    while (length > 0) {
        ssize_t written = write(fd, at, length);
        if (written < 0 && errno != EINTR)
            return err_set_errno(err, errno, "cannot write %s", path);
        if (written > 0) {
            at += written;
            length -= (size_t)written;
        }
    }
    return RC_OK;
}

enum rc pg_conf_write_file(const char *path, const void *bytes, size_t length, unsigned mode,
                           struct err *err)
{
    char temp[PG_PATH_SIZE];
    if (!str_format(temp, sizeof temp, "%s.pgheir-tmp", path))
        return err_set(err, RC_LIMIT, "path %.100s... is too long", path);
    /* What a crash left of an earlier try, or what somebody planted, is not written through. */
    if (unlink(temp) != 0 && errno != ENOENT)
        return err_set_errno(err, errno, "cannot remove %s", temp);
    int fd = open(temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_set_errno(err, errno, "cannot make %s", temp);
    enum rc rc = bytes_write(fd, temp, bytes, length, err);
    if (rc == RC_OK && fchmod(fd, mode) != 0)
        rc = err_set_errno(err, errno, "cannot set the mode of %s", temp);
    if (rc == RC_OK && fsync(fd) != 0)
        rc = err_set_errno(err, errno, "cannot sync %s", temp);
    if (close(fd) != 0 && rc == RC_OK)
        rc = err_set_errno(err, errno, "cannot close %s", temp);
    if (rc == RC_OK && rename(temp, path) != 0)
        rc = err_set_errno(err, errno, "cannot rename %s to %s", temp, path);
    if (rc != RC_OK) {
        (void)unlink(temp); /* the error that counts is known already */
        return rc;
    }
    return pg_file_sync_parent(path, err);
}

enum rc pg_conf_update_file(const char *path, const void *bytes, size_t length, unsigned mode,
                            bool *ret_changed, struct err *err)
{
    struct stat info;
    struct buf old;
    bool is_same = false;
    buf_init(&old, length > 0 ? length : 1);
    if (lstat(path, &info) == 0 && S_ISREG(info.st_mode) && (info.st_mode & 07777) == mode &&
        (uint64_t)info.st_size == length)
        is_same = pg_file_read(path, &old, NULL) == RC_OK && old.length == length &&
                  memcmp(buf_text(&old), bytes, length) == 0;
    buf_done(&old);
    enum rc rc = is_same ? RC_OK : pg_conf_write_file(path, bytes, length, mode, err);
    if (rc == RC_OK)
        *ret_changed = !is_same;
    return rc;
}
