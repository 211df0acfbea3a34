/* systemd's readiness protocol: one datagram to the socket named in NOTIFY_SOCKET. Nothing
 * happens without it. */
#include "agent.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "pgheir/base/str.h"

void
notify_send(const char *text)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char message[128];
    struct timespec now;
    int fd;

    if (str_is_empty(path) || strlen(path) >= sizeof(address.sun_path))
        return;
    memcpy(address.sun_path, path, strlen(path));
    if (path[0] == '@')
        address.sun_path[0] = '\0'; /* an abstract name */
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (!str_format(message, sizeof(message), "%s\nMONOTONIC_USEC=%lld", text,
                    (long long)now.tv_sec * 1000000 + now.tv_nsec / 1000))
        return;
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return;
    (void)sendto(fd, message, strlen(message), MSG_NOSIGNAL, (struct sockaddr *)&address,
                 (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path)));
    close(fd);
}
