/* Names to addresses over libevent's evdns.
 *
 * Why evdns: it lives on the loop we already have, knows resolv.conf, search domains and
 * /etc/hosts, and comes with the library that serves REST, so nothing is added to install, map or
 * keep up to date. A resolver child around getaddrinfo() would cost a process and a protocol;
 * libcurl and libpq block (promise P6). What evdns lacks (SRV records, DNS over TCP for answers
 * above 512 bytes) no address of a database node or of etcd needs; whoever wants it replaces this
 * file alone. */
#include "pgheir/io/resolver.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/stat.h>

#include <event2/dns.h>
#include <event2/util.h>

#include "pgheir/base/clock.h"
#include "pgheir/base/mem.h"
#include "pgheir/base/str.h"
#include "pgheir/io/loop.h"

enum {
    ENTRIES_MAX = 256,            /* names; peers, etcd and PostgreSQL hosts are some dozens */
    FRESH_MS_DEFAULT = 30 * 1000,
    QUERY_MS_MAX = 10 * 1000,     /* one question with its repetitions */
    ASK_AGAIN_MS = 1000           /* a failing host does not make us flood the DNS server */
};

static const char hosts_path[] = "/etc/hosts";
static const char resolv_path[] = "/etc/resolv.conf";

/* One configuration of evdns. It goes when the resolver has taken a new one and its last query has
 * ended. */
struct dns {
    struct loop *loop;
    struct evdns_base *base;
    int users;
};

/* One question to evdns. entry is NULL when nobody is interested any more. */
struct query {
    struct dns *dns;
    struct entry *entry;
    struct evdns_getaddrinfo_request *request;
};

struct entry {
    TAILQ_ENTRY(entry) link;
    struct resolver *resolver;
    struct query *query; /* running, or NULL */
    struct loop_timer *query_timer;
    int64_t answered_at_ms; /* last good answer; 0: never */
    int64_t asked_at_ms;
    bool is_suspect; /* a connect failed: ask anew */
    int count;
    char addresses[RESOLVER_ADDRESSES_MAX][RESOLVER_ADDRESS_SIZE];
    char name[RESOLVER_NAME_SIZE];
};

struct resolver_lookup {
    TAILQ_ENTRY(resolver_lookup) link;
    struct resolver *resolver;
    struct entry *entry; /* waits for it; NULL: the answer is known and only deferred */
    struct loop_timer *timer;
    resolver_done_fn *done;
    void *arg;
    int64_t deadline_ms;
    enum rc known_rc; /* for entry == NULL */
    bool is_old;
    int count;
    char addresses[RESOLVER_ADDRESSES_MAX][RESOLVER_ADDRESS_SIZE];
    char name[RESOLVER_NAME_SIZE];
};

struct stamp {
    ino_t inode;
    off_t size;
    struct timespec changed;
};

struct resolver {
    struct loop *loop;
    struct dns *dns;
    char *nameserver; /* NULL: resolv.conf */
    int64_t fresh_ms;
    struct stamp hosts_stamp;
    struct stamp resolv_stamp;
    int entry_count;
    TAILQ_HEAD(entry_list, entry) entries; /* most recently used first */
    TAILQ_HEAD(lookup_list, resolver_lookup) lookups;
};

/* ---- one evdns ---- */

static void free_dns(void *arg)
{
    struct dns *dns = arg;

    if (dns->base != NULL)
        evdns_base_free(dns->base, 0);
    mem_free(dns);
}

/* evdns must not be freed from within its own callbacks. */
static void release_dns(struct dns *dns)
{
    if (--dns->users == 0)
        loop_post(dns->loop, free_dns, dns);
}

static struct stamp read_stamp(const char *path)
{
    struct stat file = {0};

    if (stat(path, &file) != 0)
        return (struct stamp){0};
    return (struct stamp){.inode = file.st_ino, .size = file.st_size, .changed = file.st_mtim};
}

static bool is_same_stamp(const struct stamp *a, const struct stamp *b)
{
    return a->inode == b->inode && a->size == b->size && a->changed.tv_sec == b->changed.tv_sec &&
           a->changed.tv_nsec == b->changed.tv_nsec;
}

static enum rc open_dns(struct resolver *resolver, struct dns **ret, struct err *err)
{
    struct dns *dns = mem_new(1, sizeof(*dns));

    dns->loop = resolver->loop;
    dns->users = 1;
    dns->base = evdns_base_new(loop_base(resolver->loop), EVDNS_BASE_DISABLE_WHEN_INACTIVE);
    if (dns->base == NULL) {
        mem_free(dns);
        return err_set(err, RC_SYSTEM, "cannot start the resolver (evdns)");
    }
    resolver->hosts_stamp = read_stamp(hosts_path);
    resolver->resolv_stamp = read_stamp(resolv_path);
    if (resolver->nameserver == NULL) {
        /* Without the file evdns asks 127.0.0.1, as the C library does. */
        (void)evdns_base_resolv_conf_parse(dns->base, DNS_OPTIONS_ALL, resolv_path);
    } else if (evdns_base_nameserver_ip_add(dns->base, resolver->nameserver) != 0) {
        free_dns(dns);
        return err_set(err, RC_INVALID,
                       "nameserver \"%s\": expected an address such as 127.0.0.1:53",
                       resolver->nameserver);
    } else {
        (void)evdns_base_load_hosts(dns->base, hosts_path);
    }
    /* Two seconds per try: a lost datagram must not eat the time of the request that waits. The
     * second family waits only so long for the first. */
    (void)evdns_base_set_option(dns->base, "timeout:", "2");
    (void)evdns_base_set_option(dns->base, "attempts:", "3");
    (void)evdns_base_set_option(dns->base, "getaddrinfo-allow-skew:", "0.3");
    *ret = dns;
    return RC_OK;
}

/* Takes a changed resolv.conf or hosts file into use; on failure the old settings stay. */
static void refresh_dns(struct resolver *resolver)
{
    struct stamp hosts = read_stamp(hosts_path);
    struct stamp resolv = read_stamp(resolv_path);
    struct dns *dns = NULL;

    if (is_same_stamp(&hosts, &resolver->hosts_stamp) &&
        is_same_stamp(&resolv, &resolver->resolv_stamp))
        return;
    if (open_dns(resolver, &dns, NULL) != RC_OK)
        return;
    release_dns(resolver->dns);
    resolver->dns = dns;
}

/* ---- completions ---- */

static void free_lookup(struct resolver_lookup *lookup)
{
    TAILQ_REMOVE(&lookup->resolver->lookups, lookup, link);
    loop_timer_free(lookup->timer);
    mem_free(lookup);
}

/* The one way out of a lookup. cause is "" where rc says it all. */
static void end_lookup(struct resolver_lookup *lookup, enum rc rc, const char *cause)
{
    resolver_done_fn *done = lookup->done;
    void *arg = lookup->arg;
    struct resolver_lookup copy = *lookup;
    struct resolver_answer answer = {.rc = rc, .is_old = copy.is_old};
    struct err err = {0};

    if (rc == RC_OK) {
        answer.count = copy.count;
        answer.addresses = (const char(*)[RESOLVER_ADDRESS_SIZE])copy.addresses;
    } else {
        (void)err_set(&err, rc, "cannot resolve \"%s\": %s%s%s", copy.name, rc_text(rc),
                      *cause == '\0' ? "" : ": ", cause);
    }
    answer.err = &err;
    free_lookup(lookup);
    done(&answer, arg);
}

static void copy_addresses(struct resolver_lookup *lookup, const struct entry *entry)
{
    lookup->count = entry->count;
    memcpy(lookup->addresses, entry->addresses, sizeof(lookup->addresses));
}

/* Waiters are taken one by one from the front, because each callback may end others. */
static struct resolver_lookup *find_waiter(struct resolver *resolver, const struct entry *entry)
{
    struct resolver_lookup *lookup;

    TAILQ_FOREACH(lookup, &resolver->lookups, link)
    {
        if (lookup->entry == entry)
            return lookup;
    }
    return NULL;
}

/* Turns the waiters of an entry into known answers, which their timers deliver in the next turn: so
 * no callback runs while the entry is in our hands. */
static void wake_waiters(struct entry *entry, enum rc rc)
{
    struct resolver_lookup *lookup;

    while ((lookup = find_waiter(entry->resolver, entry)) != NULL) {
        lookup->entry = NULL;
        lookup->known_rc = rc;
        if (rc == RC_OK)
            copy_addresses(lookup, entry);
        loop_timer_arm(lookup->timer, 0);
    }
}

/* ---- questions ---- */

static int take_addresses(struct entry *entry, const struct evutil_addrinfo *list, int family)
{
    int taken = 0;

    for (const struct evutil_addrinfo *at = list; at != NULL; at = at->ai_next) {
        char text[RESOLVER_ADDRESS_SIZE];
        const void *address = NULL;

        if (at->ai_family != family || entry->count == RESOLVER_ADDRESSES_MAX)
            continue;
        if (family == AF_INET)
            address = &((const struct sockaddr_in *)(const void *)at->ai_addr)->sin_addr;
        else
            address = &((const struct sockaddr_in6 *)(const void *)at->ai_addr)->sin6_addr;
        if (inet_ntop(family, address, text, sizeof(text)) == NULL ||
            !str_copy(entry->addresses[entry->count], RESOLVER_ADDRESS_SIZE, text))
            continue;
        entry->count++;
        taken++;
    }
    return taken;
}

static bool has_address(const struct evutil_addrinfo *list)
{
    for (const struct evutil_addrinfo *at = list; at != NULL; at = at->ai_next) {
        if (at->ai_family == AF_INET || at->ai_family == AF_INET6)
            return true;
    }
    return false;
}

static enum rc rc_of_evutil(int result)
{
    switch (result) {
    case 0:
        return RC_OK;
    case EVUTIL_EAI_NONAME:
    case EVUTIL_EAI_NODATA:
        return RC_NOT_FOUND;
    case EVUTIL_EAI_CANCEL:
    case EVUTIL_EAI_AGAIN:
        return RC_TIMEOUT;
    default:
        return RC_UNREACHABLE;
    }
}

static void on_query_done(int result, struct evutil_addrinfo *list, void *arg)
{
    struct query *query = arg;
    struct entry *entry = query->entry;
    enum rc rc = rc_of_evutil(result);

    if (entry != NULL) {
        entry->query = NULL;
        loop_timer_disarm(entry->query_timer);
        if (rc == RC_OK && !has_address(list))
            rc = RC_NOT_FOUND;
        if (rc == RC_OK) {
            entry->count = 0;
            (void)take_addresses(entry, list, AF_INET);
            (void)take_addresses(entry, list, AF_INET6);
            entry->answered_at_ms = clock_boot_ms();
            entry->is_suspect = false;
        }
        wake_waiters(entry, rc);
    }
    if (list != NULL)
        evutil_freeaddrinfo(list);
    release_dns(query->dns);
    mem_free(query);
}

static void on_query_late(void *arg)
{
    struct entry *entry = arg;

    if (entry->query != NULL && entry->query->request != NULL)
        evdns_getaddrinfo_cancel(entry->query->request);
}

static void ask(struct entry *entry)
{
    struct evutil_addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct resolver *resolver = entry->resolver;
    struct evdns_getaddrinfo_request *request;
    struct query *query;

    if (entry->query != NULL)
        return;
    refresh_dns(resolver);
    entry->asked_at_ms = clock_boot_ms();
    query = mem_new(1, sizeof(*query));
    query->dns = resolver->dns;
    query->dns->users++;
    query->entry = entry;
    entry->query = query;
    loop_timer_arm(entry->query_timer, entry->asked_at_ms + QUERY_MS_MAX);
    /* Names in the hosts file are answered before this returns, and then the query is gone. */
    request =
        evdns_getaddrinfo(query->dns->base, entry->name, NULL, &hints, on_query_done, query);
    if (entry->query == query)
        query->request = request;
}

static void free_entry(struct entry *entry)
{
    struct query *query = entry->query;

    TAILQ_REMOVE(&entry->resolver->entries, entry, link);
    entry->resolver->entry_count--;
    loop_timer_free(entry->query_timer);
    if (query != NULL) {
        query->entry = NULL;
        if (query->request != NULL)
            evdns_getaddrinfo_cancel(query->request);
    }
    mem_free(entry);
}

static struct entry *find_entry(struct resolver *resolver, const char *name)
{
    struct entry *entry;

    TAILQ_FOREACH(entry, &resolver->entries, link)
    {
        if (str_equal(entry->name, name))
            break;
    }
    return entry;
}

static struct entry *need_entry(struct resolver *resolver, const char *name)
{
    struct entry *entry = find_entry(resolver, name);

    if (entry != NULL) {
        TAILQ_REMOVE(&resolver->entries, entry, link);
        TAILQ_INSERT_HEAD(&resolver->entries, entry, link);
        return entry;
    }
    if (resolver->entry_count >= ENTRIES_MAX) {
        struct entry *oldest = TAILQ_LAST(&resolver->entries, entry_list);

        wake_waiters(oldest, RC_LIMIT);
        free_entry(oldest);
    }
    entry = mem_new(1, sizeof(*entry));
    entry->resolver = resolver;
    entry->query_timer = loop_timer_new(resolver->loop, on_query_late, entry);
    pgh_assert(str_copy(entry->name, sizeof(entry->name), name));
    TAILQ_INSERT_HEAD(&resolver->entries, entry, link);
    resolver->entry_count++;
    return entry;
}

/* Asks in the background when what we know is not fresh or did not work. */
static void refresh_entry(struct entry *entry)
{
    int64_t now_ms = clock_boot_ms();
    bool is_due = entry->is_suspect || now_ms - entry->answered_at_ms >= entry->resolver->fresh_ms;

    if (is_due && (entry->asked_at_ms == 0 || now_ms - entry->asked_at_ms >= ASK_AGAIN_MS))
        ask(entry);
}

/* ---- the outside ---- */

/* Without brackets, lower case. false if it cannot be a name or an address. */
static bool normalise(const char *name, char *ret, size_t size)
{
    size_t length = strlen(name);

    if (length > 2 && name[0] == '[' && name[length - 1] == ']') {
        name++;
        length -= 2;
    }
    if (length == 0 || length >= size)
        return false;
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)name[i];

        if (!isalnum(c) && strchr(".-_:%", c) == NULL)
            return false;
        ret[i] = (char)tolower(c);
    }
    ret[length] = '\0';
    return true;
}

static bool is_literal(const char *name)
{
    char address[RESOLVER_ADDRESS_SIZE];
    unsigned char bytes[sizeof(struct in6_addr)];
    size_t length = strcspn(name, "%");

    if (inet_pton(AF_INET, name, bytes) == 1)
        return true;
    /* fe80::1%eth0 */
    return str_format(address, sizeof(address), "%.*s", (int)length, name) &&
           strlen(name) < RESOLVER_ADDRESS_SIZE && inet_pton(AF_INET6, address, bytes) == 1;
}

bool resolver_is_numeric(const char *name)
{
    char plain[RESOLVER_NAME_SIZE];

    return normalise(name, plain, sizeof(plain)) && is_literal(plain);
}

/* What needs no DNS: literals, and localhost, which RFC 6761 ties to the loopback. */
static int find_constant(const char *name, char addresses[][RESOLVER_ADDRESS_SIZE])
{
    if (is_literal(name))
        return str_copy(addresses[0], RESOLVER_ADDRESS_SIZE, name) ? 1 : 0;
    if (!str_equal(name, "localhost") && !str_equal(name, "localhost."))
        return 0;
    pgh_assert(str_copy(addresses[0], RESOLVER_ADDRESS_SIZE, "127.0.0.1"));
    pgh_assert(str_copy(addresses[1], RESOLVER_ADDRESS_SIZE, "::1"));
    return 2;
}

enum rc resolver_new(struct loop *loop, const struct resolver_options *options,
                     struct resolver **ret, struct err *err)
{
    struct resolver *resolver = mem_new(1, sizeof(*resolver));
    const char *nameserver = options == NULL ? NULL : options->nameserver;
    enum rc rc;

    if (nameserver == NULL)
        nameserver = getenv("PGHEIR_NAMESERVER");
    resolver->loop = loop;
    resolver->nameserver = str_is_empty(nameserver) ? NULL : mem_strdup(nameserver);
    resolver->fresh_ms =
        options == NULL || options->fresh_ms == 0 ? FRESH_MS_DEFAULT : options->fresh_ms;
    TAILQ_INIT(&resolver->entries);
    TAILQ_INIT(&resolver->lookups);
    rc = open_dns(resolver, &resolver->dns, err);
    if (rc != RC_OK) {
        mem_free(resolver->nameserver);
        mem_free(resolver);
        return rc;
    }
    *ret = resolver;
    return RC_OK;
}

void resolver_free(struct resolver *resolver)
{
    if (resolver == NULL)
        return;
    while (!TAILQ_EMPTY(&resolver->lookups))
        resolver_lookup_cancel(TAILQ_FIRST(&resolver->lookups));
    while (!TAILQ_EMPTY(&resolver->entries))
        free_entry(TAILQ_FIRST(&resolver->entries));
    if (resolver->dns->users == 1)
        free_dns(resolver->dns);
    else
        release_dns(resolver->dns);
    mem_free(resolver->nameserver);
    mem_free(resolver);
}

static void on_lookup_timer(void *arg)
{
    struct resolver_lookup *lookup = arg;

    if (lookup->entry == NULL)
        end_lookup(lookup, lookup->known_rc,
                   lookup->known_rc == RC_UNREACHABLE
                       ? "the DNS server failed or has no address of this name"
                       : "");
    else
        end_lookup(lookup, RC_TIMEOUT,
                   "the DNS server did not answer in time: see /etc/resolv.conf");
}

struct resolver_lookup *resolver_lookup_begin(struct resolver *resolver, const char *name,
                                              int64_t deadline_ms, resolver_done_fn *done,
                                              void *arg)
{
    struct resolver_lookup *lookup = mem_new(1, sizeof(*lookup));

    lookup->resolver = resolver;
    lookup->done = done;
    lookup->arg = arg;
    lookup->deadline_ms = deadline_ms;
    lookup->timer = loop_timer_new(resolver->loop, on_lookup_timer, lookup);
    TAILQ_INSERT_TAIL(&resolver->lookups, lookup, link);
    if (!normalise(name, lookup->name, sizeof(lookup->name))) {
        (void)str_format(lookup->name, sizeof(lookup->name), "%.60s", name);
        lookup->known_rc = RC_INVALID;
    } else if ((lookup->count = find_constant(lookup->name, lookup->addresses)) > 0) {
        lookup->known_rc = RC_OK;
    } else {
        lookup->entry = need_entry(resolver, lookup->name);
    }
    /* 0 is the next turn: done is never called from here. */
    loop_timer_arm(lookup->timer, lookup->entry == NULL ? 0 : deadline_ms);
    if (lookup->entry != NULL && lookup->entry->count > 0) {
        struct entry *entry = lookup->entry;

        refresh_entry(entry);
        if (lookup->entry != NULL) {
            lookup->is_old = entry->query != NULL;
            lookup->known_rc = RC_OK;
            copy_addresses(lookup, entry);
            lookup->entry = NULL;
            loop_timer_arm(lookup->timer, 0);
        }
    } else if (lookup->entry != NULL) {
        ask(lookup->entry);
    }
    return lookup;
}

void resolver_lookup_cancel(struct resolver_lookup *lookup)
{
    end_lookup(lookup, RC_CANCELLED, "");
}

void resolver_note_failed(struct resolver *resolver, const char *name)
{
    char plain[RESOLVER_NAME_SIZE];
    struct entry *entry;

    if (!normalise(name, plain, sizeof(plain)) || is_literal(plain))
        return;
    entry = find_entry(resolver, plain);
    if (entry == NULL)
        return;
    entry->is_suspect = true;
    refresh_entry(entry);
}

bool resolver_peek(struct resolver *resolver, const char *name,
                   char addresses[][RESOLVER_ADDRESS_SIZE], int size, int *ret_count)
{
    char known[RESOLVER_ADDRESSES_MAX][RESOLVER_ADDRESS_SIZE];
    char plain[RESOLVER_NAME_SIZE];
    const struct entry *entry;
    int count;

    if (!normalise(name, plain, sizeof(plain)))
        return false;
    count = find_constant(plain, known);
    if (count == 0) {
        entry = find_entry(resolver, plain);
        if (entry == NULL || entry->count == 0)
            return false;
        count = entry->count;
        memcpy(known, entry->addresses, sizeof(known));
    }
    *ret_count = count < size ? count : size;
    memcpy(addresses, known, (size_t)*ret_count * sizeof(known[0]));
    return true;
}
