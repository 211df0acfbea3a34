/* Bytes of a client against the REST door: the real evhttp over a loopback connection, with a
 * handler that checks what it is promised. The first byte says in how many pieces the rest is
 * sent. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "pgheir/base/clock.h"
#include "pgheir/base/str.h"
#include "pgheir/io/loop.h"
#include "pgheir/io/rest.h"

enum { WAIT_MS = 5000, INPUT_MAX = 64 * 1024 };

struct fuzz {
    struct loop *loop;
    struct rest *rest;
    struct rest_info info;
};

struct client {
    struct loop *loop;
    struct loop_fd *watch;
    int fd;
    const uint8_t *bytes;
    size_t size;
    size_t sent;
    size_t piece;
};

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static unsigned route(enum rest_method method, const char *path, void *arg)
{
    (void)arg;
    pgh_assert(method < REST_METHOD_COUNT && path[0] == '/');
    if (method <= REST_OPTIONS)
        return REST_ROUTE_KNOWN;
    if (str_starts_with(path, "/config"))
        return REST_ROUTE_KNOWN | REST_ROUTE_PROTECTED | REST_ROUTE_NEEDS_LENGTH;
    return path[1] == 'x' ? REST_ROUTE_NONE : REST_ROUTE_KNOWN | REST_ROUTE_PROTECTED;
}

static void handle(struct rest_request *request, const struct rest_question *question, void *arg)
{
    struct rest_answer answer = {.status = 200, .type = REST_HTML};

    (void)arg;
    pgh_assert(question->path[0] == '/');
    pgh_assert(question->body_length <= REST_BODY_MAX);
    pgh_assert(question->body[question->body_length] == '\0');
    pgh_assert(str_equal(question->peer, "127.0.0.1"));
    pgh_assert(strchr(question->query, ' ') == NULL);
    answer.body = question->body_length > 0 ? question->body : "empty";
    answer.body_length = question->body_length;
    rest_answer(request, &answer);
}

static void on_client(int fd, unsigned ready, void *arg)
{
    struct client *client = arg;
    char sink[4096];
    ssize_t count;

    if ((ready & LOOP_WRITE) != 0 && client->sent < client->size) {
        size_t length = client->size - client->sent;

        if (length > client->piece)
            length = client->piece;
        count = send(fd, client->bytes + client->sent, length, MSG_NOSIGNAL);
        client->sent += count > 0 ? (size_t)count : client->size - client->sent;
        if (client->sent == client->size) {
            (void)shutdown(fd, SHUT_WR);
            loop_fd_want(client->watch, LOOP_READ);
        }
    }
    if ((ready & LOOP_READ) == 0)
        return;
    count = recv(fd, sink, sizeof(sink), MSG_DONTWAIT);
    if (count == 0 || (count < 0 && errno != EAGAIN))
        loop_stop(client->loop);
}

static struct fuzz *start(void)
{
    static struct fuzz fuzz;
    static const struct rest_handlers handlers = {route, handle, NULL};
    static const char *const allow[] = {"127.0.0.0/8"};
    struct rest_options options = {.listen = "127.0.0.1:0",
                                   .backlog = 64,
                                   .username = "u",
                                   .password = "p",
                                   .allowlist = allow,
                                   .allowlist_count = 1};
    struct err err;

    if (fuzz.loop != NULL)
        return &fuzz;
    pgh_assert(loop_new(&fuzz.loop, &err) == RC_OK);
    pgh_assert(rest_new(fuzz.loop, NULL, &options, &handlers, &fuzz.rest, &err) == RC_OK);
    rest_get_info(fuzz.rest, &fuzz.info);
    return &fuzz;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct fuzz *fuzz = start();
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)fuzz->info.port)};
    struct client client = {.loop = fuzz->loop};
    struct linger reset = {.l_onoff = 1, .l_linger = 0};
    struct err err;

    if (size < 2 || size > INPUT_MAX)
        return 0;
    client.bytes = bytes + 1;
    client.size = size - 1;
    client.piece = client.size / (size_t)(bytes[0] % 8 + 1) + 1;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    client.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    pgh_assert(client.fd >= 0);
    /* No TIME_WAIT: the ports would run out. */
    (void)setsockopt(client.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    pgh_assert(connect(client.fd, (struct sockaddr *)&address, sizeof(address)) == 0 ||
               errno == EINPROGRESS);
    client.watch = loop_fd_new(fuzz->loop, client.fd, on_client, &client);
    loop_fd_want(client.watch, LOOP_READ | LOOP_WRITE);
    pgh_assert(loop_run_until(fuzz->loop, clock_boot_ms() + WAIT_MS, &err) == RC_OK);
    loop_fd_free(client.watch);
    (void)close(client.fd);
    return 0;
}
