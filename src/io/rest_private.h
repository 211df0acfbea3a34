/* What the files of the REST door share. Private to src/io/rest*.c. */
#ifndef PGHEIR_SRC_IO_REST_PRIVATE_H
#define PGHEIR_SRC_IO_REST_PRIVATE_H

#include <sys/queue.h>
#include <sys/types.h>

#include "pgheir/io/rest.h"

struct bufferevent;
struct event_base;
struct evhttp;
struct evhttp_bound_socket;
struct evhttp_request;
struct loop;
struct loop_timer;
struct resolver;

/* ---- rest_gate.c: who may change things ---- */

struct rest_gate;

struct rest_gate_question {
    const char *peer;          /* numeric */
    bool is_tls;
    bool has_certificate;      /* the client presented one and it was verified */
    const char *authorization; /* header, NULL if absent */
    bool no_members;           /* allowlist_include_members does not count here */
};

struct rest_gate_verdict {
    int status;       /* 0: passes */
    const char *text; /* body of the refusal */
    bool ask_basic;   /* send WWW-Authenticate */
};

/* Errors: RC_INVALID (names the key), RC_LIMIT. Owner: the caller. */
enum rc rest_gate_new(struct resolver *resolver, const struct rest_options *options,
                      struct rest_gate **ret, struct err *err);
void rest_gate_free(struct rest_gate *gate);
void rest_gate_set_members(struct rest_gate *gate, const char *const *hosts, int count);
/* The members that from knows. */
void rest_gate_take_members(struct rest_gate *gate, const struct rest_gate *from);
/* Asks the resolver for the names of the list, so that its memory stays fresh. */
void rest_gate_refresh(struct rest_gate *gate);
void rest_gate_check(const struct rest_gate *gate, const struct rest_gate_question *question,
                     struct rest_gate_verdict *ret);
/* Whether nothing at all holds strangers back. */
bool rest_gate_is_open(const struct rest_gate *gate);

/* ---- rest_tls.c: certificates ---- */

struct rest_tls;

/* options->certfile must be set. Errors: RC_INVALID (names key and file). Owner: the caller. */
enum rc rest_tls_new(const struct rest_options *options, struct rest_tls **ret, struct err *err);
void rest_tls_free(struct rest_tls *tls);
/* Reads the files again if one of them looks different; on error the old ones stay. Returns
 * RC_EXISTS if nothing changed. */
enum rc rest_tls_refresh(struct rest_tls *tls, struct err *err);
int64_t rest_tls_ends_wall_ms(const struct rest_tls *tls);
/* A bufferevent without a descriptor yet, waiting for a handshake. Never NULL. */
struct bufferevent *rest_tls_accept(struct rest_tls *tls, struct event_base *base);
/* Whether the client of this bufferevent proved who it is. */
bool rest_tls_has_certificate(struct bufferevent *bev);
bool rest_tls_is_tls(struct bufferevent *bev);

/* ---- rest_conn.c: places ---- */

enum rest_place_state {
    REST_PLACE_FREE,
    REST_PLACE_READING,  /* waiting for a whole request, the first one or another */
    REST_PLACE_HANDLING, /* the handler has it */
    REST_PLACE_WRITING   /* the answer is on its way */
};

/* One connection. evhttp owns it and tells nobody when it closes one, so a place remembers the
 * socket's inode, too: while the descriptor still shows that inode, it is still that connection. */
struct rest_place {
    enum rest_place_state state;
    bool is_used_before; /* has carried a request already */
    int fd;
    ino_t inode;
    int64_t since_ms; /* of the state */
};

struct rest_places {
    struct rest_place items[REST_CONNECTIONS_MAX];
    int limit; /* of count; at most REST_CONNECTIONS_MAX */
    int count;
    uint64_t evicted_count;
};

/* Takes a place for fd, making room if there is none. */
struct rest_place *rest_places_add(struct rest_places *places, int fd, int64_t now_ms);
/* NULL if there is none. */
struct rest_place *rest_places_find(struct rest_places *places, int fd);
/* Frees the places of connections that are gone, and ends those that are too slow. Returns how many
 * are left. */
int rest_places_sweep(struct rest_places *places, int64_t now_ms);
void rest_place_set(struct rest_place *place, enum rest_place_state state, int64_t now_ms);

/* ---- rest_listen.c: addresses ---- */

enum { REST_SOCKETS_MAX = 4 };

struct rest_sockets {
    int fds[REST_SOCKETS_MAX];
    int count;
    int port;
};

/* Opens, binds and listens. Errors: see rest_new(). */
enum rc rest_sockets_open(struct resolver *resolver, const char *listen, int backlog,
                          struct rest_sockets *ret, struct err *err);
/* The port that listen names; -1 if it is no good. */
int rest_listen_port(const char *listen);
void rest_sockets_close(struct rest_sockets *sockets);

/* ---- rest.c and rest_request.c: the door itself ---- */

enum { REST_EXTRA_HEADERS_MAX = 64 };

struct rest_request {
    TAILQ_ENTRY(rest_request) link;
    struct rest *rest;          /* NULL: the door is gone */
    struct evhttp_request *req; /* NULL: nobody waits any more */
    struct loop_timer *timer;
    bool is_head;
    bool is_tls;
    int late_status;
    char *late_text;
};

/* Everything that a reload replaces as a whole. */
struct rest_look {
    const char *server;
    int http_count;
    int https_count;
    struct {
        char *name;
        char *value;
    } http[REST_EXTRA_HEADERS_MAX], https[REST_EXTRA_HEADERS_MAX];
};

struct rest {
    struct loop *loop;
    struct event_base *base;
    struct resolver *resolver;
    struct rest_handlers handlers;
    struct evhttp *http;
    struct rest_gate *gate;
    struct rest_tls *tls; /* NULL: plain */
    struct rest_look *look;
    char *listen;
    int backlog;
    int port;
    int bound_count;
    struct evhttp_bound_socket *bound[REST_SOCKETS_MAX];
    struct rest_places places;
    struct bufferevent *pending; /* just accepted; its descriptor comes a moment later */
    struct loop_timer *pending_timer;
    struct loop_timer *upkeep_timer;
    int64_t upkeep_at_ms;
    bool is_closing;
    const struct evhttp_request *sending;
    int request_count;
    TAILQ_HEAD(rest_request_list, rest_request) requests;
    struct err warning; /* of the certificates */
    struct err problem; /* of the listener */
};


/* Gives the connection that was accepted last its place. */
void rest_note_pending(struct rest *rest);
/* evhttp's callback for every whole request; arg is the door. */
void rest_on_request(struct evhttp_request *req, void *arg);

#endif
