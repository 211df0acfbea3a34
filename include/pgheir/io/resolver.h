/* Names to addresses without ever blocking (promise P6): neither libcurl nor libpq resolves names.
 * What was once known is kept: a name with a known answer is answered at once, a refresh runs
 * beside it, and if that fails the last good addresses stay (NW-04). Numeric addresses are answered
 * at once. Honours /etc/resolv.conf (servers, search, ndots), /etc/hosts, and notices when either
 * changes. */
#ifndef PGHEIR_IO_RESOLVER_H
#define PGHEIR_IO_RESOLVER_H

#include "pgheir/base/base.h"
#include "pgheir/base/err.h"

struct loop;
struct resolver;
struct resolver_lookup;

enum {
    RESOLVER_ADDRESSES_MAX = 16, /* of one name; more are left out */
    RESOLVER_ADDRESS_SIZE = 64,  /* numeric text, IPv6 with scope and no brackets */
    RESOLVER_NAME_SIZE = 256
};

struct resolver_options {
    const char *nameserver; /* "127.0.0.1:5353"; NULL: the environment variable PGHEIR_NAMESERVER,
                             * else resolv.conf. Given, resolv.conf is not read; /etc/hosts still
                             * is. */
    int64_t fresh_ms;       /* an answer older than this is refreshed; 0: 30 s */
};

/* Valid during the callback only. */
struct resolver_answer {
    enum rc rc;       /* RC_OK, RC_NOT_FOUND, RC_TIMEOUT, RC_UNREACHABLE, RC_INVALID (no name),
                       * RC_CANCELLED */
    bool is_old;      /* RC_OK from memory, and a refresh is due or has failed */
    int count;        /* of addresses; > 0 if RC_OK. IPv4 and IPv6, in the order of preference */
    const char (*addresses)[RESOLVER_ADDRESS_SIZE];
    const struct err *err; /* names the host and what to do */
};

typedef void resolver_done_fn(const struct resolver_answer *answer, void *arg);

/* options may be NULL. Errors: RC_SYSTEM, RC_INVALID (bad nameserver). */
enum rc resolver_new(struct loop *loop, const struct resolver_options *options,
                     struct resolver **ret, struct err *err);
/* Accepts NULL. Lookups still open complete with RC_CANCELLED. */
void resolver_free(struct resolver *resolver);

/* Asks for name (a host name, or a numeric address with or without brackets). done is called
 * exactly once, never before this returns, at the latest at deadline_ms.
 * Owner: the returned handle is valid until done was called. */
struct resolver_lookup *resolver_lookup_begin(struct resolver *resolver, const char *name,
                                              int64_t deadline_ms, resolver_done_fn *done,
                                              void *arg);
/* Calls done with RC_CANCELLED before it returns. */
void resolver_lookup_cancel(struct resolver_lookup *lookup);

/* To be called after a failed connect: asks anew in the background; the old addresses stay
 * meanwhile. Several calls within a second ask once. */
void resolver_note_failed(struct resolver *resolver, const char *name);

/* Fills addresses from numeric text or memory without waiting; false if nothing is known. */
bool resolver_peek(struct resolver *resolver, const char *name,
                   char addresses[][RESOLVER_ADDRESS_SIZE], int size, int *ret_count);

/* true for IPv4 and IPv6 literals, the latter with or without brackets. */
bool resolver_is_numeric(const char *name);

#endif
