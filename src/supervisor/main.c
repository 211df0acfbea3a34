/* pgheir CONFIG.yml: the supervisor. Every option is the business of pgheir-agent, which is
 * executed instead. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "ask.h"
#include "first.h"
#include "footing.h"
#include "note.h"
#include "privilege.h"
#include "spawn.h"
#include "supervisor.h"

#define AGENT_ENV "PGHEIR_AGENT"

static struct supervisor supervisor;

/* <folder of our own program>/<relative>, if that can be executed. */
static bool find_beside(const char *relative, char *path, size_t size)
{
    ssize_t length = readlink("/proc/self/exe", path, size - 1);
    char *slash;

    if (length <= 0)
        return false;
    path[length] = '\0';
    slash = strrchr(path, '/');
    if (slash == NULL)
        return false;
    slash[1] = '\0';
    length = (ssize_t)strlen(path);
    if (snprintf(path + length, size - (size_t)length, "%s", relative) >= (int)size - (int)length)
        return false;
    return access(path, X_OK) == 0;
}

/* Named by the environment; else the one beside us (a build tree, or another prefix); else as
 * installed. */
static const char *find_agent(void)
{
    static char path[PATH_MAX];
    const char *named = getenv(AGENT_ENV);

    if (named != NULL && named[0] != '\0')
        return named;
    if (find_beside("pgheir-agent", path, sizeof(path)) ||
        find_beside("../libexec/pgheir-agent", path, sizeof(path)))
        return path;
    return PGHEIR_AGENT_PATH;
}

static bool has_option(int argc, char **argv)
{
    for (int idx = 1; idx < argc; idx++) {
        if (argv[idx][0] == '-')
            return true;
    }
    return false;
}

static int become_agent(const char *program, char **argv)
{
    (void)execv(program, argv);
    (void)fprintf(stderr, "pgheir: cannot execute %s: %s (" AGENT_ENV " can name it)\n", program,
                  strerror(errno));
    return SPAWN_EXIT_NO_EXEC;
}

/* 0, 1 and 2 must be open, or a channel could end up as somebody's stdout. In our children, too:
 * a server without stderr would write its log lines into whatever file it opened next. */
static bool open_standard_descriptors(void)
{
    int fd;

    do {
        fd = open("/dev/null", O_RDWR);
    } while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd < 0)
        return false;
    (void)close(fd);
    return true;
}

/* Everything up to the point from which nothing can fail. Returns 0, or what to exit with. */
static int prepare(struct supervisor *self)
{
    struct ask_answer answer;
    int exit_code;

    if (!procfs_is_usable())
        return 1;
    footing_take();
    if (!ask_agent(self->program, self->config, &answer, &exit_code))
        return exit_code != 0 ? exit_code : 1;
    if (answer.program[0] != '\0')
        procfs_name_server(answer.program);
    if (!privilege_drop(answer.data_dir))
        return 1;
    self->lock_fd = -1;
    if (answer.state_dir[0] != '\0')
        self->lock_fd = privilege_lock_state(answer.state_dir);
    return self->lock_fd == -1 && answer.state_dir[0] != '\0' ? 1 : 0;
}

int main(int argc, char **argv)
{
    int exit_code;

    supervisor.program = find_agent();
    if (has_option(argc, argv))
        return become_agent(supervisor.program, argv);
    if (argc > 2) {
        (void)fprintf(stderr, "pgheir: more than one configuration: %s and %s\n", argv[1], argv[2]);
        return 1;
    }
    supervisor.config = argc == 2 ? argv[1] : NULL;
    supervisor.page = guard_page_map();
    if (!open_standard_descriptors() || supervisor.page == NULL || !procfs_open()) {
        (void)fprintf(stderr, "pgheir: cannot begin: %s (is /proc mounted?)\n", strerror(errno));
        return 1;
    }
    note_open();
    (void)signal(SIGPIPE, SIG_IGN);
    /* Whoever started us may have left it ignored; then the kernel would tell us of no child's
     * end. */
    (void)signal(SIGCHLD, SIG_DFL);
    if (getpid() == 1)
        first_hold_signals();
    exit_code = prepare(&supervisor);
    if (exit_code != 0)
        return exit_code;
    /* After privileges are dropped, so that process 1 has none either. */
    if (getpid() == 1)
        first_split(supervisor.page);
    return supervisor_run(&supervisor);
}
