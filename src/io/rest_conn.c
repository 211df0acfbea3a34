#include "rest_private.h"

#include <sys/socket.h>
#include <sys/stat.h>

enum {
    /* A client that has connected has this long for the handshake and one whole request. */
    FIRST_REQUEST_MS = 10 * 1000,
    /* Monitoring keeps its connection from one look to the next. */
    NEXT_REQUEST_MS = 75 * 1000,
    /* An answer has at most some hundred kB. */
    WRITING_MS = 30 * 1000
};

static bool read_inode(int fd, ino_t *ret)
{
    struct stat info;

    if (fd < 0 || fstat(fd, &info) != 0 || !S_ISSOCK(info.st_mode))
        return false;
    *ret = info.st_ino;
    return true;
}

static bool is_alive(const struct rest_place *place)
{
    ino_t inode;

    return read_inode(place->fd, &inode) && inode == place->inode;
}

static void release(struct rest_places *places, struct rest_place *place)
{
    pgh_assert(places->count > 0);
    *place = (struct rest_place){.state = REST_PLACE_FREE, .fd = -1};
    places->count--;
}

/* evhttp reads the end of the stream and closes the connection itself. */
static void end(struct rest_place *place)
{
    if (is_alive(place))
        (void)shutdown(place->fd, SHUT_RDWR);
}

static bool is_overdue(const struct rest_place *place, int64_t now_ms)
{
    int64_t waited_ms = now_ms - place->since_ms;

    switch (place->state) {
    case REST_PLACE_READING:
        return waited_ms > (place->is_used_before ? NEXT_REQUEST_MS : FIRST_REQUEST_MS);
    case REST_PLACE_WRITING:
        return waited_ms > WRITING_MS;
    case REST_PLACE_HANDLING:
    case REST_PLACE_FREE:
        return false;
    }
    pgh_unreachable();
}

int rest_places_sweep(struct rest_places *places, int64_t now_ms)
{
    for (int i = 0; i < REST_CONNECTIONS_MAX; i++) {
        struct rest_place *place = &places->items[i];

        if (place->state == REST_PLACE_FREE)
            continue;
        if (!is_alive(place))
            release(places, place);
        else if (is_overdue(place, now_ms))
            end(place);
    }
    return places->count;
}

static void evict(struct rest_places *places, int64_t now_ms)
{
    struct rest_place *oldest = NULL;

    for (int i = 0; i < REST_CONNECTIONS_MAX; i++) {
        struct rest_place *place = &places->items[i];

        if (place->state == REST_PLACE_READING && place->since_ms <= now_ms &&
            (oldest == NULL || place->since_ms < oldest->since_ms))
            oldest = place;
    }
    if (oldest == NULL)
        return;
    end(oldest);
    release(places, oldest);
    places->evicted_count++;
}

static struct rest_place *find_free(struct rest_places *places)
{
    for (int i = 0; i < REST_CONNECTIONS_MAX; i++) {
        if (places->items[i].state == REST_PLACE_FREE)
            return &places->items[i];
    }
    return NULL;
}

struct rest_place *rest_places_add(struct rest_places *places, int fd, int64_t now_ms)
{
    struct rest_place *place = rest_places_find(places, fd);
    ino_t inode;

    if (place != NULL)
        return place;
    if (!read_inode(fd, &inode))
        return NULL;
    if (places->count >= places->limit)
        (void)rest_places_sweep(places, now_ms);
    if (places->count >= places->limit)
        evict(places, now_ms);
    place = places->count < places->limit ? find_free(places) : NULL;
    if (place == NULL) {
        /* Everybody else has a question open: this one has to come again. */
        (void)shutdown(fd, SHUT_RDWR);
        return NULL;
    }
    *place = (struct rest_place){
        .state = REST_PLACE_READING, .fd = fd, .inode = inode, .since_ms = now_ms};
    places->count++;
    return place;
}

struct rest_place *rest_places_find(struct rest_places *places, int fd)
{
    for (int i = 0; i < REST_CONNECTIONS_MAX; i++) {
        struct rest_place *place = &places->items[i];

        if (place->state == REST_PLACE_FREE || place->fd != fd)
            continue;
        if (is_alive(place))
            return place;
        release(places, place);
        return NULL;
    }
    return NULL;
}

void rest_place_set(struct rest_place *place, enum rest_place_state state, int64_t now_ms)
{
    if (state == REST_PLACE_READING)
        place->is_used_before = true;
    place->state = state;
    place->since_ms = now_ms;
}
