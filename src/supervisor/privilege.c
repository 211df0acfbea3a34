#include "privilege.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "note.h"
#include "pgheir/base/clock.h"
#include "pgheir/supervisor/proto.h"

enum { LOCK_WAIT_MS = 10000, LOCK_STEP_MS = 20 };

/* Cuts the last component off; "/" stays. */
static void path_go_up(char *path)
{
    char *slash = strrchr(path, '/');

    if (slash == NULL || slash == path)
        path[1] = '\0';
    else
        *slash = '\0';
}

/* path becomes the folder whose owner counts. */
static bool find_owner(char *path, struct stat *ret_status)
{
    while (stat(path, ret_status) != 0) {
        if (errno != ENOENT || strcmp(path, "/") == 0) {
            note_error("cannot look at %s: %s", path, strerror(errno));
            return false;
        }
        path_go_up(path);
    }
    return true;
}

static bool become(const struct stat *owner)
{
    const struct passwd *user = getpwuid(owner->st_uid);

    /* A user without a name (a container started with a bare number) has no further groups. */
    if (user != NULL ? initgroups(user->pw_name, owner->st_gid) != 0
                     : setgroups(1, &owner->st_gid) != 0)
        return false;
    if (user != NULL && setgid(user->pw_gid) != 0)
        return false;
    if (user == NULL && setgid(owner->st_gid) != 0)
        return false;
    if (setuid(owner->st_uid) != 0)
        return false;
    /* The way back must be closed. */
    return setuid(0) != 0 && geteuid() == owner->st_uid;
}

/* What programs look for in the environment, and a working directory that the user may enter. */
static void move_in(uid_t uid)
{
    const struct passwd *user = getpwuid(uid);

    if (user != NULL) {
        (void)setenv("HOME", user->pw_dir, 1);
        (void)setenv("USER", user->pw_name, 1);
        (void)setenv("LOGNAME", user->pw_name, 1);
    }
    /* Where it may not be, a relative path to the configuration leads nowhere in any case. */
    if (access(".", R_OK | X_OK) != 0 && chdir("/") != 0)
        note_warning("cannot leave for /: %s", strerror(errno));
}

bool privilege_drop(const char *data_dir)
{
    char path[PROTO_PATH_SIZE];
    struct stat owner;

    if (geteuid() != 0)
        return true;
    (void)snprintf(path, sizeof(path), "%s", data_dir);
    if (!find_owner(path, &owner))
        return false;
    if (owner.st_uid == 0) {
        note_error("%s belongs to root, and PostgreSQL does not run as root: give it to the user "
                   "that shall run it (chown postgres %s), or start pgheir as that user",
                   path, path);
        return false;
    }
    if (!become(&owner)) {
        note_error("cannot become user %u, the owner of %s: %s", owner.st_uid, path,
                   strerror(errno));
        return false;
    }
    move_in(owner.st_uid);
    note_info("running as user %u, the owner of %s", owner.st_uid, path);
    return true;
}

static bool wait_for_lock(int fd, const char *state_dir)
{
    int64_t deadline_ms = clock_boot_ms() + LOCK_WAIT_MS;
    bool is_said = false;

    while (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return false;
        if (!is_said)
            note_info("%s is locked by another pgheir or its guard, waiting", state_dir);
        is_said = true;
        if (clock_boot_ms() >= deadline_ms) {
            errno = EWOULDBLOCK;
            return false;
        }
        (void)poll(NULL, 0, LOCK_STEP_MS);
    }
    return true;
}

int privilege_lock_state(const char *state_dir)
{
    int fd;

    if (mkdir(state_dir, 0700) != 0 && errno != EEXIST)
        note_warning("cannot make %s: %s", state_dir, strerror(errno));
    fd = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        note_warning("cannot open %s: %s; nothing keeps a second pgheir from this data directory",
                     state_dir, strerror(errno));
        return -2;
    }
    if (wait_for_lock(fd, state_dir))
        return fd;
    if (errno == EWOULDBLOCK) {
        note_error("another pgheir keeps this data directory (%s is locked): stop it first",
                   state_dir);
        (void)close(fd);
        return -1;
    }
    note_warning("cannot lock %s: %s; nothing keeps a second pgheir from this data directory",
                 state_dir, strerror(errno));
    (void)close(fd);
    return -2;
}
