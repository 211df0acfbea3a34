/* An agent that decides nothing: it does what a test tells it over a datagram socket, and writes
 * down what the supervisor says. Its "configuration" is lines of key=value:
 *
 *   data_dir=/path  state_dir=/path   as printed for --print-supervisor
 *   program=/path                     the same
 *   folder=/path                      "commands" is the socket in it, "events" the file written to
 *   exit=N                            exit with N before HELLO, as for a broken configuration
 *   hello=no                          never say HELLO
 *   die_in_shutdown=yes               abort on SIGTERM
 *   deaf=yes                          hear neither signals nor the end of the channel
 *
 * Commands: start primary|standby ARG.. | fence none|disarmed | fence until MS | renew SPAN
 * PERIOD | signal N | orphans | adopt PID MODE [START] | state TEXT | exit N | abort | close |
 * garbage | flood N */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "pgheir/supervisor/proto.h"

static struct {
    char data_dir[512], state_dir[512], program[512], folder[80];
    int exit_code;
    bool says_hello, dies_in_shutdown, is_deaf;
    int channel, commands, signals;
    FILE *events;
    uint64_t request_id;
    int64_t renew_span_ms, renew_period_ms, renew_at_ms;
    bool is_stopping;
    int32_t postmaster_pid;
    enum fence_kind fence;
} fake = {.exit_code = -1, .says_hello = true};

static struct proto_message out, in;

static int64_t now_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_BOOTTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void event(const char *fmt, ...) PGH_PRINTF(1, 2);

static void event(const char *fmt, ...)
{
    va_list args;

    (void)fprintf(fake.events, "%lld %d ", (long long)now_ms(), getpid());
    va_start(args, fmt);
    (void)vfprintf(fake.events, fmt, args);
    va_end(args);
    (void)fputc('\n', fake.events);
    (void)fflush(fake.events);
}

static void set_key(char *line)
{
    char *value = strchr(line, '=');

    line[strcspn(line, "\n")] = '\0';
    if (value == NULL)
        return;
    *value++ = '\0';
    if (strcmp(line, "data_dir") == 0)
        (void)snprintf(fake.data_dir, sizeof(fake.data_dir), "%s", value);
    else if (strcmp(line, "state_dir") == 0)
        (void)snprintf(fake.state_dir, sizeof(fake.state_dir), "%s", value);
    else if (strcmp(line, "program") == 0)
        (void)snprintf(fake.program, sizeof(fake.program), "%s", value);
    else if (strcmp(line, "folder") == 0)
        (void)snprintf(fake.folder, sizeof(fake.folder), "%s", value);
    else if (strcmp(line, "exit") == 0)
        fake.exit_code = (int)strtol(value, NULL, 10);
    else if (strcmp(line, "hello") == 0)
        fake.says_hello = strcmp(value, "no") != 0;
    else if (strcmp(line, "die_in_shutdown") == 0)
        fake.dies_in_shutdown = true;
    else if (strcmp(line, "deaf") == 0)
        fake.is_deaf = true;
}

static void read_config(const char *path)
{
    char line[1024];
    FILE *file = fopen(path, "r");

    if (file == NULL) {
        (void)fprintf(stderr, "fake agent: cannot read %s\n", path);
        exit(1);
    }
    while (fgets(line, sizeof(line), file) != NULL)
        set_key(line);
    (void)fclose(file);
}

static struct proto_message *begin(enum proto_type type)
{
    proto_message_init(&out, type, ++fake.request_id);
    return &out;
}

static void push(void)
{
    if (send(fake.channel, &out, sizeof(out), MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)sizeof(out))
        event("send_failed errno=%d", errno);
}

static void send_fence(enum fence_kind kind, int64_t until_ms)
{
    struct proto_message *message = begin(PROTO_FENCE);

    message->body.fence.kind = kind;
    message->body.fence.until_ms = until_ms;
    fake.fence = kind;
    push();
}

static void send_signal(int signo)
{
    begin(PROTO_SIGNAL_POSTMASTER)->body.signal.signo = signo;
    push();
}

static void do_start(char *rest)
{
    struct proto_start *start = &begin(PROTO_START)->body.start;
    const char *argv[PROTO_ARGV_MAX];
    const char *env[] = {"MALLOC_ARENA_MAX=1"};
    size_t count = 0;
    char *mode = strsep(&rest, " ");

    start->mode = strcmp(mode, "primary") == 0 ? PROTO_MODE_PRIMARY : PROTO_MODE_STANDBY;
    (void)snprintf(start->data_dir, sizeof(start->data_dir), "%s", fake.data_dir);
    for (char *word; (word = strsep(&rest, " ")) != NULL && count < PROTO_ARGV_MAX;)
        argv[count++] = word;
    if (!proto_pack_strings(start->argv, sizeof(start->argv), argv, count, &start->argv_length) ||
        !proto_pack_strings(start->env, sizeof(start->env), env, 1, &start->env_length))
        event("cannot_pack");
    push();
}

/* Field 22 of /proc/PID/stat. */
static uint64_t start_time_of(int pid)
{
    char path[64], line[1024];
    FILE *file;
    char *at;

    (void)snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    file = fopen(path, "r");
    if (file == NULL)
        return 0;
    if (fgets(line, sizeof(line), file) == NULL)
        line[0] = '\0';
    (void)fclose(file);
    at = strrchr(line, ')');
    for (int field = 2; at != NULL && field < 22; field++)
        at = strchr(at + 1, ' ');
    return at != NULL ? strtoull(at + 1, NULL, 10) : 0;
}

static void do_adopt(char *rest)
{
    struct proto_adopt *adopt = &begin(PROTO_ADOPT)->body.adopt;
    char *pid = strsep(&rest, " ");
    char *mode = strsep(&rest, " ");

    adopt->pid = (int32_t)strtol(pid, NULL, 10);
    adopt->mode = strcmp(mode, "primary") == 0 ? PROTO_MODE_PRIMARY : PROTO_MODE_STANDBY;
    adopt->start_time_ticks = rest != NULL ? strtoull(rest, NULL, 10) : start_time_of(adopt->pid);
    (void)snprintf(adopt->data_dir, sizeof(adopt->data_dir), "%s", fake.data_dir);
    push();
}

static void do_state(const char *text)
{
    struct proto_state *state = &begin(PROTO_STATE)->body.state;

    state->length = (uint32_t)strlen(text);
    memcpy(state->bytes, text, state->length);
    push();
}

static void do_fence(char *rest)
{
    char *kind = strsep(&rest, " ");

    fake.renew_period_ms = 0;
    if (strcmp(kind, "until") == 0)
        send_fence(FENCE_UNTIL, strtoll(rest, NULL, 10));
    else
        send_fence(strcmp(kind, "disarmed") == 0 ? FENCE_DISARMED : FENCE_NONE, 0);
}

static void do_renew(char *rest)
{
    fake.renew_span_ms = strtoll(strsep(&rest, " "), NULL, 10);
    fake.renew_period_ms = strtoll(rest, NULL, 10);
    fake.renew_at_ms = now_ms();
}

static void do_flood(int count)
{
    for (int idx = 0; idx < count; idx++)
        do_state("flood");
}

static void do_command(char *line)
{
    char *rest = line;
    char *word = strsep(&rest, " ");

    if (strcmp(word, "start") == 0)
        do_start(rest);
    else if (strcmp(word, "fence") == 0)
        do_fence(rest);
    else if (strcmp(word, "renew") == 0)
        do_renew(rest);
    else if (strcmp(word, "signal") == 0)
        send_signal((int)strtol(rest, NULL, 10));
    else if (strcmp(word, "adopt") == 0)
        do_adopt(rest);
    else if (strcmp(word, "state") == 0)
        do_state(rest);
    else if (strcmp(word, "flood") == 0)
        do_flood((int)strtol(rest, NULL, 10));
    else if (strcmp(word, "exit") == 0)
        exit((int)strtol(rest, NULL, 10));
    else if (strcmp(word, "abort") == 0)
        abort();
    else if (strcmp(word, "close") == 0)
        (void)close(fake.channel);
    else if (strcmp(word, "garbage") == 0)
        (void)send(fake.channel, "garbage", 7, MSG_NOSIGNAL);
    else if (strcmp(word, "orphans") == 0) {
        (void)snprintf(begin(PROTO_KILL_ORPHANS)->body.kill_orphans.data_dir, PROTO_PATH_SIZE, "%s",
                       fake.data_dir);
        push();
    } else {
        event("unknown_command %s", word);
    }
}

static void on_welcome(const struct proto_welcome *welcome)
{
    fake.postmaster_pid = welcome->postmaster_pid;
    fake.fence = (enum fence_kind)welcome->fence.kind;
    event("welcome postmaster=%d mode=%u adopted=%u writer=%u ending=%u previous=%u status=%d "
          "restarts=%u crashes=%u shutdown=%u fence=%u until=%lld fenced=%u state=%.*s",
          welcome->postmaster_pid, welcome->mode, welcome->is_adopted, welcome->is_writer,
          welcome->is_ending, welcome->previous, welcome->previous_status, welcome->restart_count,
          welcome->crash_count, welcome->is_shutting_down, welcome->fence.kind,
          (long long)welcome->fence.until_ms, welcome->last_fenced.why, (int)welcome->state.length,
          (const char *)welcome->state.bytes);
}

/* What a real agent does on SIGTERM, without a cluster: stop PostgreSQL fast, or leave it in a
 * pause. */
static void begin_stop(void)
{
    if (fake.dies_in_shutdown)
        abort();
    fake.is_stopping = true;
    if (fake.postmaster_pid == 0 || fake.fence == FENCE_DISARMED)
        exit(0);
    send_signal(SIGINT);
}

static void on_exited(const struct proto_exited *exited)
{
    event("exited pid=%d status=%d has_status=%u orphans=%u", exited->pid, exited->status,
          exited->has_status, exited->orphan_count);
    fake.postmaster_pid = 0;
    if (fake.is_stopping)
        exit(0);
}

static void on_message(void)
{
    switch (in.type) {
    case PROTO_WELCOME:
        on_welcome(&in.body.welcome);
        if (in.body.welcome.is_shutting_down)
            begin_stop();
        break;
    case PROTO_POSTMASTER_STARTED:
        fake.postmaster_pid = in.body.started.pid;
        event("started pid=%d adopted=%u", in.body.started.pid, in.body.started.is_adopted);
        break;
    case PROTO_POSTMASTER_EXITED:
        on_exited(&in.body.exited);
        break;
    case PROTO_FENCED:
        event("fenced why=%u until=%lld", in.body.fenced.why,
              (long long)in.body.fenced.fence.until_ms);
        break;
    case PROTO_DONE:
        if (in.body.result.request_type != PROTO_STATE || fake.renew_period_ms == 0)
            event("done %s", proto_type_text((uint16_t)in.body.result.request_type));
        break;
    case PROTO_PING:
        break;
    default:
        event("%s %s error=%d", proto_type_text(in.type),
              proto_type_text((uint16_t)in.body.result.request_type), in.body.result.error);
        break;
    }
}

static void read_channel(void)
{
    ssize_t length = recv(fake.channel, &in, sizeof(in), MSG_DONTWAIT);

    if (length == 0) {
        event("channel_closed");
        while (fake.is_deaf)
            (void)poll(NULL, 0, 1000);
        exit(3);
    }
    if (length > 0 && proto_message_check(&in, (size_t)length, false) == 0)
        on_message();
    else if (length > 0)
        event("malformed");
}

static void read_commands(void)
{
    char line[4096];
    ssize_t length = recv(fake.commands, line, sizeof(line) - 1, MSG_DONTWAIT);

    if (length <= 0)
        return;
    line[length] = '\0';
    do_command(line);
}

static void read_signals(void)
{
    struct signalfd_siginfo info;

    if (read(fake.signals, &info, sizeof(info)) != (ssize_t)sizeof(info))
        return;
    event("signal %u", info.ssi_signo);
    if (info.ssi_signo == SIGTERM)
        begin_stop();
    if (info.ssi_signo == SIGUSR2)
        exit(AGENT_EXIT_REPLACE);
}

static void open_doors(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char path[600];
    sigset_t set;

    (void)snprintf(path, sizeof(path), "%s/events", fake.folder);
    fake.events = fopen(path, "ae");
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s/commands", fake.folder);
    (void)unlink(address.sun_path);
    fake.commands = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fake.events == NULL || fake.commands < 0 ||
        bind(fake.commands, (struct sockaddr *)&address, sizeof(address)) != 0) {
        perror("fake agent");
        exit(1);
    }
    (void)chmod(address.sun_path, 0777);
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGHUP);
    (void)sigaddset(&set, SIGUSR2);
    (void)sigprocmask(SIG_BLOCK, &set, NULL);
    fake.signals = signalfd(-1, &set, SFD_CLOEXEC);
}

static void loop(void)
{
    for (;;) {
        struct pollfd watches[] = {{.fd = fake.channel, .events = POLLIN},
                                   {.fd = fake.commands, .events = POLLIN},
                                   {.fd = fake.signals, .events = POLLIN}};
        int64_t left_ms = fake.renew_period_ms > 0 ? fake.renew_at_ms - now_ms() : 60000;

        (void)poll(watches, 3, left_ms > 0 ? (int)left_ms : 0);
        if (watches[0].revents != 0)
            read_channel();
        if (watches[1].revents != 0)
            read_commands();
        if (watches[2].revents != 0)
            read_signals();
        if (fake.renew_period_ms > 0 && now_ms() >= fake.renew_at_ms) {
            fake.renew_at_ms += fake.renew_period_ms;
            send_fence(FENCE_UNTIL, now_ms() + fake.renew_span_ms);
        }
    }
}

int main(int argc, char **argv)
{
    const char *number = getenv(PROTO_FD_ENV);

    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        (void)printf("fake agent\n");
        return 42;
    }
    read_config(argv[argc - 1]);
    if (argc == 3 && strcmp(argv[1], "--print-supervisor") == 0) {
        if (fake.exit_code >= 0) {
            (void)fprintf(stderr, "fake agent: the configuration is broken\n");
            return fake.exit_code;
        }
        (void)printf("data_dir=%s\nstate_dir=%s\nlater_key=later\n", fake.data_dir, fake.state_dir);
        if (fake.program[0] != '\0')
            (void)printf("program=%s\n", fake.program);
        return 0;
    }
    if (number == NULL)
        return 2;
    fake.channel = (int)strtol(number, NULL, 10);
    (void)fcntl(fake.channel, F_SETFD, FD_CLOEXEC);
    open_doors();
    event("up");
    if (fake.exit_code >= 0)
        return fake.exit_code;
    if (fake.says_hello) {
        (void)begin(PROTO_HELLO);
        push();
    }
    loop();
    return 0;
}
