/* Which member to ask: preference, avoidance, probes, discovery, and the memory of raft terms. */
#include <inttypes.h>
#include <string.h>

#include "pgheir/base/clock.h"
#include "pgheir/base/log.h"
#include "pgheir/base/mem.h"
#include "pgheir/base/str.h"
#include "pgheir/io/loop.h"
#include "src/io/etcd_private.h"

enum {
    PROBE_FIRST_MS = 500,
    PROBE_LAST_MS = 30 * 1000,
    PROBE_DEADLINE_MS = 2 * 1000,
    DISCOVERY_DEADLINE_MS = 5 * 1000,
    DISCOVERY_AGAIN_MS = 5 * 1000, /* after failures, at most this often */
    DISCOVERY_TTLS = 10,           /* pace in quiet times, as Patroni's */
    FOREIGN_TTL_SHARE = 4
};

/* ---- the list ---- */

static void free_endpoint(struct etcd_endpoint *endpoint)
{
    struct http_request *probe = endpoint->probe;

    endpoint->probe = NULL;
    if (probe != NULL)
        http_request_cancel(probe);
    mem_free(endpoint);
}

void etcd_endpoint_hold(struct etcd_endpoint *endpoint)
{
    endpoint->users++;
}

void etcd_endpoint_release(struct etcd_endpoint *endpoint)
{
    if (endpoint == NULL)
        return;
    pgh_assert(endpoint->users > 0);
    if (--endpoint->users == 0 && endpoint->is_gone)
        free_endpoint(endpoint);
}

static void remove_at(struct etcd *etcd, int idx)
{
    struct etcd_endpoint *endpoint = etcd->endpoints[idx];
    size_t behind = (size_t)(etcd->endpoint_count - idx - 1);

    memmove(&etcd->endpoints[idx], &etcd->endpoints[idx + 1], behind * sizeof(endpoint));
    etcd->endpoint_count--;
    if (etcd->preferred > idx)
        etcd->preferred--;
    if (etcd->preferred >= etcd->endpoint_count)
        etcd->preferred = 0;
    endpoint->is_gone = true;
    if (endpoint->users == 0)
        free_endpoint(endpoint);
}

struct etcd_endpoint *etcd_endpoint_add(struct etcd *etcd, const char *url, bool is_configured)
{
    struct etcd_endpoint *endpoint = NULL;

    for (int i = 0; i < etcd->endpoint_count && endpoint == NULL; i++) {
        if (str_equal(etcd->endpoints[i]->url, url))
            endpoint = etcd->endpoints[i];
    }
    if (endpoint == NULL && etcd->endpoint_count < ETCD_ENDPOINTS_MAX) {
        endpoint = mem_new(1, sizeof(*endpoint));
        if (!str_copy(endpoint->url, sizeof(endpoint->url), url)) {
            mem_free(endpoint);
            return NULL;
        }
        endpoint->etcd = etcd;
        endpoint->id = ++etcd->next_id;
        etcd->endpoints[etcd->endpoint_count++] = endpoint;
    }
    if (endpoint != NULL && is_configured)
        endpoint->is_configured = true;
    else if (endpoint != NULL)
        endpoint->is_listed = true;
    return endpoint;
}

void etcd_endpoint_forget_configured(struct etcd *etcd)
{
    for (int i = 0; i < etcd->endpoint_count; i++)
        etcd->endpoints[i]->is_configured = false;
}

void etcd_endpoint_drop_unused(struct etcd *etcd)
{
    for (int i = etcd->endpoint_count - 1; i >= 0; i--) {
        if (!etcd->endpoints[i]->is_configured && !etcd->endpoints[i]->is_listed)
            remove_at(etcd, i);
    }
}

void etcd_endpoint_free_all(struct etcd *etcd)
{
    while (etcd->endpoint_count > 0)
        remove_at(etcd, etcd->endpoint_count - 1);
}

static bool is_tried(const struct etcd_endpoint *endpoint, const uint32_t *tried, int tried_count)
{
    for (int i = 0; i < tried_count; i++) {
        if (tried[i] == endpoint->id)
            return true;
    }
    return false;
}

/* Lower is better: the one that answered last, then configured ones (what members advertise may
 * be of no use to a client), then learned ones; those that did not answer well only when no
 * other is left. */
static int rank_of(const struct etcd *etcd, int idx)
{
    const struct etcd_endpoint *endpoint = etcd->endpoints[idx];

    if (endpoint->is_avoided)
        return 3;
    if (idx == etcd->preferred)
        return 0;
    return endpoint->is_configured ? 1 : 2;
}

/* Of equals the next in turn; of avoided ones the one whose failure is longest ago. */
struct etcd_endpoint *etcd_endpoint_pick(struct etcd *etcd, const uint32_t *tried, int tried_count)
{
    struct etcd_endpoint *best = NULL;
    int best_rank = 4;

    for (int i = 0; i < etcd->endpoint_count; i++) {
        int idx = (etcd->preferred + i) % etcd->endpoint_count;
        struct etcd_endpoint *endpoint = etcd->endpoints[idx];
        int rank = rank_of(etcd, idx);

        if (is_tried(endpoint, tried, tried_count))
            continue;
        if (rank < best_rank ||
            (rank == 3 && best_rank == 3 && endpoint->failed_at_ms < best->failed_at_ms)) {
            best = endpoint;
            best_rank = rank;
        }
    }
    return best;
}

int etcd_endpoint_count_left(const struct etcd *etcd, const uint32_t *tried, int tried_count)
{
    int count = 0;

    for (int i = 0; i < etcd->endpoint_count; i++) {
        const struct etcd_endpoint *endpoint = etcd->endpoints[i];

        if (!endpoint->is_avoided && !is_tried(endpoint, tried, tried_count))
            count++;
    }
    return count;
}

/* ---- what is known of each ---- */

void etcd_endpoint_note_good(struct etcd_endpoint *endpoint)
{
    if (endpoint->is_avoided)
        log_debug("etcd %s answers well again", endpoint->url);
    endpoint->is_avoided = false;
    endpoint->wants_fresh = false;
    endpoint->failures = 0;
    endpoint->probe_at_ms = 0;
}

void etcd_endpoint_prefer(struct etcd_endpoint *endpoint)
{
    struct etcd *etcd = endpoint->etcd;

    for (int i = 0; i < etcd->endpoint_count; i++) {
        if (etcd->endpoints[i] == endpoint)
            etcd->preferred = i;
    }
}

void etcd_endpoint_note_bad(struct etcd_endpoint *endpoint, bool is_dead, const char *text)
{
    struct etcd *etcd = endpoint->etcd;
    int64_t now_ms = clock_boot_ms();
    int64_t wait_ms = PROBE_FIRST_MS;

    (void)str_format(endpoint->error, sizeof(endpoint->error), "%s", text);
    if (endpoint->is_gone)
        return;
    if (!endpoint->is_avoided)
        log_warning("etcd %s is avoided until it answers well: %s", endpoint->url, text);
    for (int i = 0; i < endpoint->failures && wait_ms < PROBE_LAST_MS; i++)
        wait_ms *= 2;
    endpoint->is_avoided = true;
    endpoint->wants_fresh = true;
    endpoint->failures++;
    endpoint->failed_at_ms = now_ms;
    endpoint->probe_at_ms = now_ms + (wait_ms < PROBE_LAST_MS ? wait_ms : PROBE_LAST_MS);
    /* Perhaps members were replaced (ET-06). */
    if (etcd->discover_at_ms > etcd->discovered_at_ms + DISCOVERY_AGAIN_MS)
        etcd->discover_at_ms = etcd->discovered_at_ms + DISCOVERY_AGAIN_MS;
    if (is_dead)
        etcd_watch_drop_endpoint(etcd, endpoint);
    etcd_endpoint_care(etcd);
}

/* Nothing but unusable answers for so long: then they are the truth. */
static bool is_stale_for(struct etcd *etcd, int64_t span_ms)
{
    int64_t now_ms = clock_boot_ms();

    if (etcd->stale_since_ms == 0)
        etcd->stale_since_ms = now_ms;
    return now_ms - etcd->stale_since_ms >= span_ms;
}

/* Another cluster answers at this address: a member that was made anew by itself, whose keys and
 * leases mean nothing to the others, or the whole store was replaced, and then no member of the old
 * one comes. A quarter of the ttl leaves a leader the time to make its key anew. */
static bool note_cluster(struct etcd_endpoint *endpoint, uint64_t cluster_id)
{
    struct etcd *etcd = endpoint->etcd;

    if (etcd->cluster_id != 0 && cluster_id != etcd->cluster_id) {
        if (!is_stale_for(etcd, etcd->ttl_ms / FOREIGN_TTL_SHARE))
            return false;
        log_warning("etcd %s is of cluster %" PRIx64 ", before it was %" PRIx64, endpoint->url,
                    cluster_id, etcd->cluster_id);
        etcd->raft_term = 0;
    }
    etcd->cluster_id = cluster_id;
    return true;
}

/* A term lower than one seen before comes from a member that was cut off (ET-03). If nothing else
 * comes for a whole ttl, it is the others that are gone, for instance because the store was
 * restored from a snapshot. */
bool etcd_endpoint_note_header(struct etcd_endpoint *endpoint, const struct etcd_header *header)
{
    struct etcd *etcd = endpoint->etcd;

    if (!note_cluster(endpoint, header->cluster_id))
        return false;
    if (header->raft_term < etcd->raft_term) {
        if (!is_stale_for(etcd, etcd->ttl_ms))
            return false;
        log_warning("etcd answers only under raft term %" PRIu64 " for a whole ttl, before it was "
                    "%" PRIu64 ": taken as restored from a snapshot",
                    header->raft_term, etcd->raft_term);
    }
    etcd->raft_term = header->raft_term;
    etcd->stale_since_ms = 0;
    return true;
}

/* ---- probes ---- */

static void on_probe_done(const struct http_result *result, void *arg)
{
    struct etcd_endpoint *endpoint = arg;

    /* NULL: the endpoint is being freed. */
    if (endpoint->probe == NULL)
        return;
    endpoint->probe = NULL;
    if (result->fate == HTTP_CANCELLED)
        return;
    /* /health is a linearizable read inside etcd. A proxy may not know the path: then its answering
     * is all that can be learned. */
    if (result->fate == HTTP_ANSWERED &&
        (result->status == 404 ||
         (result->status == 200 && strstr(result->body, "\"true\"") != NULL)))
        etcd_endpoint_note_good(endpoint);
    else if (result->fate == HTTP_ANSWERED)
        etcd_endpoint_note_bad(endpoint, false, "GET /health says that it is not healthy");
    else
        etcd_endpoint_note_bad(endpoint, false, result->err->text);
}

static void start_probe(struct etcd_endpoint *endpoint)
{
    struct etcd *etcd = endpoint->etcd;
    char url[ETCD_PATH_SIZE];
    struct http_options options = {.url = url,
                                   .tls = &etcd->tls,
                                   .deadline_ms = clock_boot_ms() + PROBE_DEADLINE_MS,
                                   .body_max = 4096,
                                   .retry_safe = true,
                                   .fresh_connection = true};

    (void)str_format(url, sizeof(url), "%s/health", endpoint->url);
    endpoint->probe_at_ms = 0;
    endpoint->probe = http_request_begin(etcd->http, &options, on_probe_done, endpoint);
}

/* ---- discovery ---- */

/* What members advertise may be no use to a client: then the configured hosts still are. */
static bool is_usable_url(const struct etcd *etcd, const char *url)
{
    bool is_https = str_starts_with(url, "https://");

    /* Credentials must not leave over plain HTTP because a member says so. */
    if (!is_https && (etcd->is_https_only || !str_starts_with(url, "http://")))
        return false;
    return strstr(url, "//0.0.0.0") == NULL && strstr(url, "//[::]") == NULL &&
           strchr(url, '@') == NULL && strlen(url) < ETCD_URL_SIZE;
}

static void on_members(const struct etcd_result *result, void *arg)
{
    struct etcd *etcd = arg;

    etcd->discovery = NULL;
    if (result->outcome == ETCD_CANCELLED)
        return;
    etcd->discovered_at_ms = clock_boot_ms();
    etcd->discover_at_ms = etcd->discovered_at_ms + DISCOVERY_TTLS * etcd->ttl_ms;
    if (result->outcome != ETCD_OK) {
        /* The role may not be allowed to list members: then the configured hosts must do. */
        etcd_endpoint_care(etcd);
        return;
    }
    for (int i = 0; i < etcd->endpoint_count; i++)
        etcd->endpoints[i]->is_listed = false;
    for (size_t i = 0; i < result->answer->client_url_count; i++) {
        char *url = result->answer->client_urls[i];
        size_t length = strlen(url);

        if (length > 0 && url[length - 1] == '/')
            url[length - 1] = '\0';
        if (is_usable_url(etcd, url))
            (void)etcd_endpoint_add(etcd, url, false);
    }
    etcd_endpoint_drop_unused(etcd);
    etcd_endpoint_care(etcd);
}

void etcd_endpoint_care(struct etcd *etcd)
{
    int64_t now_ms = clock_boot_ms();
    int64_t next_ms = INT64_MAX;

    for (int i = 0; i < etcd->endpoint_count; i++) {
        struct etcd_endpoint *endpoint = etcd->endpoints[i];

        if (endpoint->probe_at_ms == 0 || endpoint->probe != NULL)
            continue;
        if (endpoint->probe_at_ms <= now_ms)
            start_probe(endpoint);
        else if (endpoint->probe_at_ms < next_ms)
            next_ms = endpoint->probe_at_ms;
    }
    if (!etcd->use_proxies && etcd->discover_at_ms != 0 && etcd->discovery == NULL) {
        if (etcd->discover_at_ms <= now_ms)
            etcd->discovery = etcd_members(etcd, now_ms + DISCOVERY_DEADLINE_MS, on_members, etcd);
        else if (etcd->discover_at_ms < next_ms)
            next_ms = etcd->discover_at_ms;
    }
    if (next_ms < INT64_MAX)
        loop_timer_arm(etcd->care_timer, next_ms);
    else
        loop_timer_disarm(etcd->care_timer);
}

/* ---- for the outside ---- */

int etcd_endpoint_count(const struct etcd *etcd)
{
    return etcd->endpoint_count;
}

void etcd_endpoint_get(const struct etcd *etcd, int idx, struct etcd_endpoint_info *ret)
{
    const struct etcd_endpoint *endpoint;

    pgh_assert(idx >= 0);
    pgh_assert(idx < etcd->endpoint_count);
    endpoint = etcd->endpoints[(etcd->preferred + idx) % etcd->endpoint_count];
    *ret = (struct etcd_endpoint_info){.url = endpoint->url,
                                       .is_configured = endpoint->is_configured,
                                       .is_avoided = endpoint->is_avoided,
                                       .error = endpoint->error};
}
