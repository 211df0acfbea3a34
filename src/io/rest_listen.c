#include "rest_private.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "pgheir/base/clock.h"
#include "pgheir/base/str.h"
#include "pgheir/io/resolver.h"

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

enum { BACKLOG_DEFAULT = 5, LOOKUP_MS = 5000 };

static enum rc split_listen(const char *listen, char *host, size_t host_size, int *ret_port,
                            struct err *err)
{
    const char *colon = listen == NULL ? NULL : strrchr(listen, ':');
    size_t length;
    int64_t port;

    if (colon == NULL || !str_parse_int64(colon + 1, &port) || port < 0 || port > 65535)
        return err_set(err, RC_INVALID,
                       "restapi.listen: expected host:port with a port up to 65535, got \"%s\"",
                       listen == NULL ? "" : listen);
    length = (size_t)(colon - listen);
    if (length >= 2 && listen[0] == '[' && colon[-1] == ']') {
        listen++;
        length -= 2;
    } else if (memchr(listen, ':', length) != NULL) {
        return err_set(err, RC_INVALID,
                       "restapi.listen: write an IPv6 address in brackets, such as "
                       "[::1]:8008, not \"%s\"",
                       listen);
    }
    if (length >= host_size)
        return err_set(err, RC_INVALID, "restapi.listen: the host is longer than %zu characters",
                       host_size - 1);
    memcpy(host, listen, length);
    host[length] = '\0';
    *ret_port = (int)port;
    return RC_OK;
}

int rest_listen_port(const char *listen)
{
    char host[RESOLVER_NAME_SIZE];
    int port = 0;

    return split_listen(listen, host, sizeof(host), &port, NULL) == RC_OK ? port : -1;
}

static bool fill_address(const char *text, int port, union address *ret, socklen_t *ret_length)
{
    memset(ret, 0, sizeof(*ret));
    if (inet_pton(AF_INET, text, &ret->v4.sin_addr) == 1) {
        ret->v4.sin_family = AF_INET;
        ret->v4.sin_port = htons((uint16_t)port);
        *ret_length = sizeof(ret->v4);
        return true;
    }
    if (inet_pton(AF_INET6, text, &ret->v6.sin6_addr) == 1) {
        ret->v6.sin6_family = AF_INET6;
        ret->v6.sin6_port = htons((uint16_t)port);
        *ret_length = sizeof(ret->v6);
        return true;
    }
    return false;
}

static int read_port(int fd)
{
    union address address;
    socklen_t length = sizeof(address);

    if (getsockname(fd, &address.any, &length) != 0)
        return 0;
    return ntohs(address.any.sa_family == AF_INET6 ? address.v6.sin6_port : address.v4.sin_port);
}

static enum rc fail_bind(const char *text, int port, int cause, struct err *err)
{
    enum rc rc;

    switch (cause) {
    case EADDRINUSE:
        return err_set(err, RC_EXISTS,
                       "cannot listen on %s port %d (restapi.listen): address already in use; "
                       "stop what uses it (ss -ltnp shows it) or choose another port",
                       text, port);
    case EACCES:
        return err_set(err, RC_DENIED,
                       "cannot listen on %s port %d (restapi.listen): permission denied; "
                       "ports below 1024 need CAP_NET_BIND_SERVICE",
                       text, port);
    case EADDRNOTAVAIL:
        return err_set(err, RC_INVALID,
                       "cannot listen on %s port %d (restapi.listen): this machine has no such "
                       "address",
                       text, port);
    default:
        rc = err_set_errno(err, cause, "cannot listen on %s port %d (restapi.listen)", text, port);
        return rc;
    }
}

/* both_families: of "::" only. */
static enum rc open_one(const char *text, int port, bool both_families, int backlog, int *ret,
                        struct err *err)
{
    union address address;
    socklen_t length;
    int yes = 1;
    int v6only = both_families ? 0 : 1;
    int fd;
    int cause;

    if (!fill_address(text, port, &address, &length))
        return err_set(err, RC_INVALID, "restapi.listen: \"%s\" is not an address", text);
    fd = socket(address.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return fail_bind(text, port, errno, err);
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &yes, sizeof(yes)) != 0 ||
        (address.any.sa_family == AF_INET6 &&
         setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6only, sizeof(v6only)) != 0) ||
        bind(fd, &address.any, length) != 0 ||
        listen(fd, backlog > 0 ? backlog : BACKLOG_DEFAULT) != 0) {
        cause = errno;
        (void)close(fd);
        return fail_bind(text, port, cause, err);
    }
    *ret = fd;
    return RC_OK;
}

/* Both families on one socket; IPv4 alone where the kernel has no IPv6. */
static enum rc open_any(int port, int backlog, struct rest_sockets *sockets, struct err *err)
{
    struct err v6_err = {.rc = RC_OK};
    enum rc rc = open_one("::", port, true, backlog, &sockets->fds[0], &v6_err);

    if (rc != RC_OK && v6_err.rc == RC_EXISTS) {
        *err = v6_err;
        return rc;
    }
    if (rc != RC_OK)
        rc = open_one("0.0.0.0", port, false, backlog, &sockets->fds[0], err);
    if (rc == RC_OK)
        sockets->count = 1;
    return rc;
}

static void on_lookup_done(const struct resolver_answer *answer, void *arg)
{
    (void)answer; /* it stays in the resolver's memory */
    (void)arg;
}

/* "localhost" has two addresses, and a machine may lack one of them: one that works is enough,
 * unless another is taken by somebody else. */
static enum rc open_named(struct resolver *resolver, const char *host, int port, int backlog,
                          struct rest_sockets *sockets, struct err *err)
{
    char addresses[REST_SOCKETS_MAX][RESOLVER_ADDRESS_SIZE];
    int count = 0;
    enum rc rc = RC_OK;

    if (resolver == NULL ||
        !resolver_peek(resolver, host, addresses, REST_SOCKETS_MAX, &count) || count == 0) {
        if (resolver != NULL)
            (void)resolver_lookup_begin(resolver, host, clock_boot_ms() + LOOKUP_MS,
                                        on_lookup_done, NULL);
        return err_set(err, RC_NOT_FOUND,
                       "restapi.listen: the name \"%s\" has no known address yet; an address, or "
                       "the name in /etc/hosts, does not depend on DNS",
                       host);
    }
    for (int i = 0; i < count; i++) {
        int *fd = &sockets->fds[sockets->count];

        rc = open_one(addresses[i], port, false, backlog, fd, err);
        if (rc == RC_EXISTS)
            break;
        if (rc == RC_OK) {
            sockets->count++;
            if (port == 0)
                port = read_port(*fd);
        }
    }
    if (rc == RC_EXISTS || sockets->count == 0) {
        rest_sockets_close(sockets);
        return rc;
    }
    return RC_OK;
}

enum rc rest_sockets_open(struct resolver *resolver, const char *listen, int backlog,
                          struct rest_sockets *ret, struct err *err)
{
    struct rest_sockets sockets = {.count = 0};
    char host[RESOLVER_NAME_SIZE];
    union address address;
    socklen_t length;
    int port = 0;
    enum rc rc = split_listen(listen, host, sizeof(host), &port, err);

    if (rc != RC_OK)
        return rc;
    if (host[0] == '\0' || str_equal(host, "*")) {
        rc = open_any(port, backlog, &sockets, err);
    } else if (fill_address(host, port, &address, &length)) {
        /* "::" means both families here, as it does for the kernel by default. */
        rc = open_one(host, port, str_equal(host, "::"), backlog, &sockets.fds[0], err);
        if (rc == RC_OK)
            sockets.count = 1;
    } else {
        rc = open_named(resolver, host, port, backlog, &sockets, err);
    }
    if (rc != RC_OK)
        return rc;
    sockets.port = read_port(sockets.fds[0]);
    *ret = sockets;
    return RC_OK;
}

void rest_sockets_close(struct rest_sockets *sockets)
{
    for (int i = 0; i < sockets->count; i++)
        (void)close(sockets->fds[i]);
    sockets->count = 0;
}
