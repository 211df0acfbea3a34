/* An HTTP server on the loop of a test that does what the test says: answers, keeps silent, floods,
 * closes or resets. And a DNS server. Header only, because each test is one source file. */
#ifndef PGHEIR_LIB_FAKE_SERVER_H
#define PGHEIR_LIB_FAKE_SERVER_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "pgheir/base/buf.h"
#include "pgheir/base/clock.h"
#include "pgheir/base/mem.h"
#include "pgheir/io/loop.h"
#include "tests/lib/check.h"

enum { FAKE_CONNECTIONS_MAX = 64, FAKE_REQUEST_MAX = 1 << 20, FAKE_NAMES_MAX = 300 };

struct fake_server;

struct fake_connection {
    struct fake_server *server;
    struct loop_fd *watch;
    int fd;             /* -1: free */
    struct buf in;      /* the request so far; in the handler the whole one */
    const char *flood;  /* sent again and again while the peer reads */
    int requests;       /* on this connection */
};

/* request: first line, headers and body. */
typedef void fake_handler_fn(struct fake_connection *connection, const char *request, void *arg);

struct fake_server {
    struct loop *loop;
    struct loop_fd *watch;
    int fd;
    int port;
    int accepted;
    int requests;
    int64_t last_request_at_ms;
    fake_handler_fn *handler;
    void *arg;
    struct fake_connection connections[FAKE_CONNECTIONS_MAX];
};

static inline int
fake_bind(int type, int *ret_port)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof(address);
    int fd = socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    assert_true(fd >= 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    *ret_port = ntohs(address.sin_port);
    return fd;
}

static inline void
fake_close(struct fake_connection *connection)
{
    loop_fd_free(connection->watch);
    (void)close(connection->fd);
    buf_done(&connection->in);
    *connection = (struct fake_connection){.server = connection->server, .fd = -1};
}

/* Ends the connection with a reset instead of an orderly end. */
static inline void
fake_reset(struct fake_connection *connection)
{
    struct linger linger = {.l_onoff = 1};

    (void)setsockopt(connection->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    fake_close(connection);
}

static inline void
fake_send(struct fake_connection *connection, const char *text)
{
    size_t length = strlen(text);

    while (length > 0) {
        ssize_t sent = send(connection->fd, text, length, MSG_NOSIGNAL);

        if (sent <= 0)
            return;
        text += sent;
        length -= (size_t)sent;
    }
}

static inline void
fake_answer(struct fake_connection *connection, int status, const char *body)
{
    char head[200];

    (void)snprintf(head, sizeof(head), "HTTP/1.1 %d Text\r\nContent-Length: %zu\r\n\r\n", status,
                   strlen(body));
    fake_send(connection, head);
    fake_send(connection, body);
}

/* One chunk of a stream; begin the stream with fake_stream(). */
static inline void
fake_chunk(struct fake_connection *connection, const char *text)
{
    char head[32];

    (void)snprintf(head, sizeof(head), "%zx\r\n", strlen(text));
    fake_send(connection, head);
    fake_send(connection, text);
    fake_send(connection, "\r\n");
}

static inline void
fake_stream(struct fake_connection *connection)
{
    fake_send(connection, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
}

/* Sends text for as long as the peer reads. */
static inline void
fake_flood(struct fake_connection *connection, const char *text)
{
    connection->flood = text;
    loop_fd_want(connection->watch, LOOP_READ | LOOP_WRITE);
}

static inline bool
fake_is_whole(const struct buf *in)
{
    const char *end = strstr(buf_text(in), "\r\n\r\n");
    const char *length = strstr(buf_text(in), "Content-Length: ");

    if (end == NULL)
        return false;
    if (length == NULL || length > end)
        return true;
    return in->length >= (size_t)(end + 4 - in->bytes) + strtoul(length + 16, NULL, 10);
}

static inline void
fake_on_connection(int fd, unsigned ready, void *arg)
{
    struct fake_connection *connection = arg;
    struct fake_server *server = connection->server;
    char bytes[16384];
    ssize_t length;

    if ((ready & LOOP_WRITE) != 0 && connection->flood != NULL) {
        if (send(fd, connection->flood, strlen(connection->flood), MSG_NOSIGNAL) < 0 &&
            errno != EAGAIN) {
            fake_close(connection);
            return;
        }
    }
    if ((ready & LOOP_READ) == 0)
        return;
    length = read(fd, bytes, sizeof(bytes));
    if (length <= 0) {
        fake_close(connection);
        return;
    }
    assert_int_equal(buf_append(&connection->in, bytes, (size_t)length), RC_OK);
    if (fake_is_whole(&connection->in)) {
        struct buf request = connection->in;

        buf_init(&connection->in, FAKE_REQUEST_MAX);
        connection->requests++;
        server->requests++;
        server->last_request_at_ms = clock_boot_ms();
        server->handler(connection, buf_text(&request), server->arg);
        buf_done(&request);
    }
}

static inline void
fake_on_accept(int fd, unsigned ready, void *arg)
{
    struct fake_server *server = arg;
    int peer = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    (void)ready;
    for (int i = 0; peer >= 0; i++) {
        struct fake_connection *connection = &server->connections[i];

        assert_true(i < FAKE_CONNECTIONS_MAX);
        if (connection->fd >= 0)
            continue;
        server->accepted++;
        *connection = (struct fake_connection){.server = server, .fd = peer};
        buf_init(&connection->in, FAKE_REQUEST_MAX);
        connection->watch = loop_fd_new(server->loop, peer, fake_on_connection, connection);
        loop_fd_want(connection->watch, LOOP_READ);
        return;
    }
}

static inline void
fake_server_start(struct fake_server *server, struct loop *loop, fake_handler_fn *handler,
                  void *arg)
{
    *server = (struct fake_server){.loop = loop, .handler = handler, .arg = arg};
    for (int i = 0; i < FAKE_CONNECTIONS_MAX; i++)
        server->connections[i].fd = -1;
    server->fd = fake_bind(SOCK_STREAM, &server->port);
    assert_int_equal(listen(server->fd, 64), 0);
    server->watch = loop_fd_new(loop, server->fd, fake_on_accept, server);
    loop_fd_want(server->watch, LOOP_READ);
}

static inline void
fake_server_drop_connections(struct fake_server *server)
{
    for (int i = 0; i < FAKE_CONNECTIONS_MAX; i++) {
        if (server->connections[i].fd >= 0)
            fake_close(&server->connections[i]);
    }
}

static inline void
fake_server_stop(struct fake_server *server)
{
    fake_server_drop_connections(server);
    loop_fd_free(server->watch);
    (void)close(server->fd);
}

/* ---- DNS ---- */

enum fake_dns_mode { FAKE_DNS_ANSWERS, FAKE_DNS_SILENT, FAKE_DNS_NO_SUCH_NAME };

struct fake_dns {
    struct loop_fd *watch;
    int fd;
    int port;
    int questions; /* for A and AAAA each */
    enum fake_dns_mode mode;
    const char *v4[4]; /* for every name; NULL ends */
    const char *v6[4];
    char nameserver[32];
};

static inline void
fake_dns_put(unsigned char *out, size_t *length, const void *bytes, size_t count)
{
    memcpy(out + *length, bytes, count);
    *length += count;
}

static inline void
fake_on_question(int fd, unsigned ready, void *arg)
{
    struct fake_dns *dns = arg;
    struct sockaddr_in peer;
    socklen_t peer_size = sizeof(peer);
    unsigned char packet[1024];
    ssize_t got = recvfrom(fd, packet, 512, 0, (struct sockaddr *)&peer, &peer_size);
    size_t length = 12;
    bool is_v6;

    (void)ready;
    if (got < 12)
        return;
    dns->questions++;
    if (dns->mode == FAKE_DNS_SILENT)
        return;
    while (length < (size_t)got && packet[length] != 0)
        length += packet[length] + 1u;
    is_v6 = packet[length + 2] == 28;
    length += 5; /* the final zero, type, class */
    packet[2] = 0x81; /* an answer, recursion desired */
    packet[3] = dns->mode == FAKE_DNS_NO_SUCH_NAME ? 0x83 : 0x80;
    memset(packet + 6, 0, 6);
    for (int i = 0; dns->mode == FAKE_DNS_ANSWERS && i < 4; i++) {
        const char *text = is_v6 ? dns->v6[i] : dns->v4[i];
        unsigned char address[16];
        unsigned char size = is_v6 ? 16 : 4;
        const unsigned char head[] = {0xc0, 12, 0, is_v6 ? 28 : 1, 0, 1, 0, 0, 0, 60, 0, size};

        if (text == NULL)
            break;
        assert_int_equal(inet_pton(is_v6 ? AF_INET6 : AF_INET, text, address), 1);
        packet[7]++;
        fake_dns_put(packet, &length, head, sizeof(head));
        fake_dns_put(packet, &length, address, size);
    }
    (void)sendto(fd, packet, length, 0, (struct sockaddr *)&peer, peer_size);
}

static inline void
fake_dns_start(struct fake_dns *dns, struct loop *loop)
{
    *dns = (struct fake_dns){.v4 = {"127.0.0.1"}};
    dns->fd = fake_bind(SOCK_DGRAM, &dns->port);
    dns->watch = loop_fd_new(loop, dns->fd, fake_on_question, dns);
    loop_fd_want(dns->watch, LOOP_READ);
    (void)snprintf(dns->nameserver, sizeof(dns->nameserver), "127.0.0.1:%d", dns->port);
}

static inline void
fake_dns_stop(struct fake_dns *dns)
{
    loop_fd_free(dns->watch);
    (void)close(dns->fd);
}

/* ---- waiting ---- */

/* Runs the loop until *flag is at least wanted; fails after timeout_ms. */
static inline void
fake_run(struct loop *loop, const int *flag, int wanted, int64_t timeout_ms)
{
    int64_t deadline_ms = clock_boot_ms() + timeout_ms;

    while (*flag < wanted) {
        if (clock_boot_ms() > deadline_ms)
            fail_msg("not within %d ms: got %d of %d", (int)timeout_ms, *flag, wanted);
        (void)loop_run_until(loop, clock_boot_ms() + 2, NULL);
    }
}

/* Lets the loop run on for a while: for what must not happen. */
static inline void
fake_idle(struct loop *loop, int64_t span_ms)
{
    (void)loop_run_until(loop, clock_boot_ms() + span_ms, NULL);
}

#endif
