#include "ask.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "note.h"
#include "pgheir/base/clock.h"
#include "spawn.h"

enum { ASK_DEADLINE_MS = 10000, ASK_SIZE = 8192, ASK_STEP_MS = 5 };

/* Copies the value if this line has this key. false: the value is unusable. */
static bool take_value(const char *line, size_t length, const char *key, char *value)
{
    size_t key_length = strlen(key);

    if (length <= key_length || strncmp(line, key, key_length) != 0)
        return true;
    line += key_length;
    length -= key_length;
    if (line[0] != '/' || length >= PROTO_PATH_SIZE)
        return false;
    memcpy(value, line, length);
    value[length] = '\0';
    return true;
}

bool ask_parse(const char *text, struct ask_answer *ret_answer)
{
    struct ask_answer answer = {"", "", ""};

    while (*text != '\0') {
        size_t length = strcspn(text, "\n");

        if (!take_value(text, length, "data_dir=", answer.data_dir) ||
            !take_value(text, length, "state_dir=", answer.state_dir) ||
            !take_value(text, length, "program=", answer.program))
            return false;
        text += length;
        if (*text == '\n')
            text++;
    }
    if (answer.data_dir[0] == '\0')
        return false;
    *ret_answer = answer;
    return true;
}

/* Reads until end of file. false at the deadline, on errors and if it is too long. */
static bool read_answer(int fd, char *text, int64_t deadline_ms)
{
    size_t used = 0;

    for (;;) {
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        int64_t left_ms = deadline_ms - clock_boot_ms();
        ssize_t length;

        if (left_ms <= 0 || used == ASK_SIZE - 1)
            return false;
        if (poll(&wait, 1, (int)left_ms) != 1)
            continue;
        length = read(fd, text + used, ASK_SIZE - 1 - used);
        if (length < 0)
            return false;
        used += (size_t)length;
        text[used] = '\0';
        if (length == 0)
            return true;
    }
}

/* The wait status; one that does not end by its deadline is killed. */
static int await_exit(int32_t pid, int64_t deadline_ms)
{
    int status;

    while (waitpid(pid, &status, WNOHANG) == 0) {
        if (clock_boot_ms() >= deadline_ms)
            (void)kill(pid, SIGKILL);
        (void)poll(NULL, 0, ASK_STEP_MS);
    }
    return status;
}

static int exit_code_of(int status)
{
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

bool ask_agent(const char *program, const char *config, struct ask_answer *ret_answer,
               int *ret_exit_code)
{
    static char text[ASK_SIZE];
    int64_t deadline_ms = clock_boot_ms() + ASK_DEADLINE_MS;
    struct spawn_agent agent = {program, "--print-supervisor", config, -1, -1};
    int ends[2];
    int status;
    int32_t pid;
    bool is_read;

    *ret_exit_code = 1;
    if (pipe2(ends, O_CLOEXEC) != 0) {
        note_error("cannot make a pipe: %s", strerror(errno));
        return false;
    }
    agent.output_fd = ends[1];
    pid = spawn_agent(&agent);
    (void)close(ends[1]);
    if (pid < 0) {
        note_error("cannot start %s: %s", program, strerror(errno));
        (void)close(ends[0]);
        return false;
    }
    is_read = read_answer(ends[0], text, deadline_ms);
    (void)close(ends[0]);
    status = await_exit(pid, is_read ? deadline_ms : 0);
    if (is_read && (!WIFEXITED(status) || WEXITSTATUS(status) != 0)) {
        *ret_exit_code = exit_code_of(status);
        return false;
    }
    if (!is_read || !ask_parse(text, ret_answer)) {
        note_error("%s --print-supervisor gave no usable answer within %d s", program,
                   ASK_DEADLINE_MS / 1000);
        return false;
    }
    return true;
}
