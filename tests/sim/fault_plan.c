/* What a seed draws: the cluster, its configuration, and what will go wrong when. Each seed
 * switches a good part of the kinds off, so that the rest meets more of itself. */
#include "sim.h"

#include <stdlib.h>
#include <string.h>

enum { SAFETY_S = 600, FAULTS_MIN = 5, FAULTS_SPREAD = 14 };

static const int32_t weights[FAULT_COUNT] = {
#define X(name, weight) weight,
    FAULT_TABLE(X)
#undef X
};

static int64_t below(struct prng *prng, int64_t limit)
{
    return (int64_t)(prng_next(prng) % (uint64_t)limit);
}

static bool percent(struct prng *prng, int64_t share)
{
    return below(prng, 100) < share;
}

static void draw_profile(struct prng *prng, struct policy *policy)
{
    static const int32_t profiles[][3] = {{5, 1, 2},    {5, 1, 2},    {5, 1, 2},    {5, 1, 2},
                                          {30, 10, 10}, {30, 10, 10}, {30, 10, 10}, {20, 5, 5},
                                          {10, 2, 3},   {2, 1, 1}};
    const int32_t *profile = profiles[below(prng, PGH_COUNT(profiles))];
    static const int64_t lags[] = {0, 65536, 1048576, 1048576, 1048576, 16777216};
    static const int64_t starts[] = {0, 30000, 300000, 300000};

    policy_init(policy);
    policy->ttl_ms = profile[0] * INT64_C(1000);
    policy->loop_wait_ms = profile[1] * INT64_C(1000);
    policy->retry_timeout_ms = profile[2] * INT64_C(1000);
    policy->maximum_lag_on_failover_bytes = lags[below(prng, PGH_COUNT(lags))];
    policy->primary_start_timeout_ms = starts[below(prng, PGH_COUNT(starts))];
    policy->use_slots = percent(prng, 50);
    policy->member_slots_ttl_ms = percent(prng, 50) ? 1800000 : 20000;
    policy->use_pg_rewind = percent(prng, 75);
    policy->remove_data_directory_on_rewind_failure = percent(prng, 40);
    policy->remove_data_directory_on_diverged_timelines = percent(prng, 40);
    (void)policy_adjust(policy, false);
}

/* The first node is always an ordinary one, so that there can be a cluster. */
static void draw_tags(struct prng *prng, struct setup *setup)
{
    for (int32_t i = 0; i < NODES_MAX; i++) {
        struct tags *tags = &setup->tags[i];

        tags_init(tags);
        setup->may_bootstrap[i] = i == 0 || percent(prng, 95);
        tags->failover_priority = percent(prng, 12) ? 2 : 1;
        tags->nofailover = i > 0 && percent(prng, 7);
        tags->clonefrom = percent(prng, 7);
        if (percent(prng, 8) && i > 1) /* never in a ring */
            text_set(tags->replicatefrom, sizeof(tags->replicatefrom), "node2");
    }
}

static int32_t draw_size(struct prng *prng)
{
    int64_t drawn = below(prng, 100);

    return drawn < 4 ? 1 : drawn < 14 ? 2 : drawn < 82 ? 3 : drawn < 90 ? 4 : 5;
}

void setup_draw(struct world *w, uint64_t seed)
{
    struct setup *setup = &w->setup;
    struct prng *prng = &w->fault_prng;

    prng_seed(&w->prng, seed * UINT64_C(0x9e3779b97f4a7c15) + 1);
    prng_seed(prng, seed * UINT64_C(0xd1342543de82ef95) + 2);
    memset(setup, 0, sizeof(*setup));
    setup->node_count = draw_size(prng);
    draw_profile(prng, &setup->policy);
    draw_tags(prng, setup);
    setup->rewind_possible = percent(prng, 85);
    setup->rtt_us = percent(prng, 80) ? 300 + below(prng, 4000) : 5000 + below(prng, 45000);
    setup->write_every_us = (100 + below(prng, 400)) * US_PER_MS;
    setup->write_bytes = percent(prng, 70) ? 2000 : 200000 + below(prng, 1000000);
    setup->receiver_timeout_us =
        (percent(prng, 50) ? 3 + below(prng, 5) : 10 + below(prng, 50)) * US_PER_S;
    setup->receiver_retry_us = percent(prng, 60) ? US_PER_S / 10 : 5 * US_PER_S;
    setup->op_fail_permille = percent(prng, 60) ? 0 : (int32_t)below(prng, 120);
    setup->poll_us = setup->policy.loop_wait_ms * US_PER_MS;
    if (setup->poll_us > 5 * US_PER_S)
        setup->poll_us = 5 * US_PER_S;
    setup->safety_us = SAFETY_S * (int64_t)US_PER_S;
    /* A held lease, a receiver that waits for a dead line, a copy or a rewind, back-offs in
     * between. */
    setup->live_bound_us = 4 * setup->policy.ttl_ms * US_PER_MS + 2 * setup->receiver_timeout_us +
                           180 * (int64_t)US_PER_S;
}

/* ---- the plan ---- */

static enum fault_kind draw_kind(struct prng *prng, const bool *enabled)
{
    int64_t total = 0;
    int64_t drawn;

    for (int i = 0; i < FAULT_COUNT; i++)
        total += enabled[i] ? weights[i] : 0;
    drawn = below(prng, total);
    for (int i = 0; i < FAULT_COUNT; i++) {
        drawn -= enabled[i] ? weights[i] : 0;
        if (drawn < 0)
            return (enum fault_kind)i;
    }
    pgh_unreachable();
}

/* Shorter than anybody notices, about a ttl, or long. */
static int64_t draw_duration_us(struct prng *prng, const struct setup *setup, enum fault_kind kind)
{
    int64_t ttl_us = setup->policy.ttl_ms * US_PER_MS;
    int64_t drawn = below(prng, 100);
    int64_t span_us;

    if (drawn < 30)
        span_us = 50 * US_PER_MS + below(prng, ttl_us / 3);
    else if (drawn < 65)
        span_us = ttl_us * 7 / 10 + below(prng, ttl_us * 8 / 10);
    else
        span_us = ttl_us * 3 / 2 + below(prng, ttl_us * 5);
    if (kind == FAULT_PAUSE || kind == FAULT_SLOW_DISK || kind == FAULT_SLOW_REPLICATION)
        span_us += 15 * US_PER_S + below(prng, 60 * (int64_t)US_PER_S);
    if (span_us > 120 * (int64_t)US_PER_S)
        span_us = 120 * (int64_t)US_PER_S;
    return span_us;
}

static int compare_times(const void *a, const void *b)
{
    int64_t left = ((const struct fault *)a)->at_us;
    int64_t right = ((const struct fault *)b)->at_us;

    return left < right ? -1 : left > right;
}

void fault_plan(struct world *w)
{
    struct prng *prng = &w->fault_prng;
    bool enabled[FAULT_COUNT];
    int32_t count = FAULTS_MIN + (int32_t)below(prng, FAULTS_SPREAD);
    int64_t first_us = percent(prng, 20) ? 0 : 20 * US_PER_S;

    for (int i = 0; i < FAULT_COUNT; i++)
        enabled[i] = percent(prng, 60);
    enabled[FAULT_MACHINE_LOSS] = true;
    for (int32_t i = 0; i < count; i++) {
        struct fault *fault = &w->faults[i];

        memset(fault, 0, sizeof(*fault));
        fault->at_us = first_us + below(prng, w->setup.safety_us - first_us - 5 * US_PER_S);
        /* Faults that meet are the ones that hurt. */
        if (i > 0 && percent(prng, 35))
            fault->at_us = w->faults[i - 1].at_us +
                           below(prng, 2 * w->setup.policy.ttl_ms * US_PER_MS);
        if (fault->at_us > w->setup.safety_us - US_PER_S)
            fault->at_us = w->setup.safety_us - US_PER_S;
        fault->kind = draw_kind(prng, enabled);
        fault->duration_us = draw_duration_us(prng, &w->setup, fault->kind);
        fault->value = below(prng, INT64_C(1) << 40);
        fault->node = percent(prng, 60) ? -1 : (int16_t)below(prng, w->node_count);
        fault->other = (int16_t)below(prng, w->node_count);
    }
    qsort(w->faults, (size_t)count, sizeof(w->faults[0]), compare_times);
    w->fault_count = count;
    for (int32_t i = 0; i < count; i++)
        world_post(w, w->faults[i].at_us, EV_FAULT, 0, (uint32_t)i, 0);
}
