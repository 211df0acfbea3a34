#include "pgheir/model/policy.h"

enum {
    TTL_FLOOR_MS = 2000, /* smallest TTL that etcd grants with its default election timeout */
    LOOP_WAIT_FLOOR_MS = 1000,
    RETRY_TIMEOUT_FLOOR_MS = 1000,
    PATRONI_TTL_FLOOR_MS = 20000,
    PATRONI_RETRY_TIMEOUT_FLOOR_MS = 3000,
    RULE_TTL_MIN_MS = 3000 /* below, loop_wait + 2 * retry_timeout <= ttl cannot hold at all */
};

static int64_t max_int64(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int64_t min_int64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

void policy_init(struct policy *policy)
{
    *policy = (struct policy){
        .ttl_ms = 30000,
        .loop_wait_ms = 10000,
        .retry_timeout_ms = 10000,
        .maximum_lag_on_failover_bytes = 1048576,
        .primary_start_timeout_ms = 300000,
        .member_slots_ttl_ms = 1800000,
        .use_slots = true,
    };
}

/* The published rule: if even a loop_wait of one second does not fit, retry_timeout gives way
 * too. */
static void apply_rule(struct policy *policy)
{
    if (policy->loop_wait_ms + 2 * policy->retry_timeout_ms <= policy->ttl_ms)
        return;
    if (LOOP_WAIT_FLOOR_MS + 2 * policy->retry_timeout_ms > policy->ttl_ms) {
        policy->loop_wait_ms = LOOP_WAIT_FLOOR_MS;
        policy->retry_timeout_ms = (policy->ttl_ms / 1000 - 1) / 2 * 1000;
        return;
    }
    policy->loop_wait_ms = policy->ttl_ms - 2 * policy->retry_timeout_ms;
}

bool policy_adjust(struct policy *policy, bool patroni_beside)
{
    const struct policy before = *policy;

    policy->ttl_ms =
        max_int64(policy->ttl_ms, patroni_beside ? PATRONI_TTL_FLOOR_MS : TTL_FLOOR_MS);
    policy->loop_wait_ms = max_int64(policy->loop_wait_ms, LOOP_WAIT_FLOOR_MS);
    policy->retry_timeout_ms =
        max_int64(policy->retry_timeout_ms,
                  patroni_beside ? PATRONI_RETRY_TIMEOUT_FLOOR_MS : RETRY_TIMEOUT_FLOOR_MS);
    if (policy->ttl_ms >= RULE_TTL_MIN_MS)
        apply_rule(policy);
    return before.ttl_ms != policy->ttl_ms || before.loop_wait_ms != policy->loop_wait_ms ||
           before.retry_timeout_ms != policy->retry_timeout_ms;
}

int64_t policy_fence_margin_ms(int64_t ttl_ms)
{
    return max_int64(300, ttl_ms / 10);
}

int64_t policy_demote_lead_ms(int64_t ttl_ms)
{
    return max_int64(500, ttl_ms / 5);
}

int64_t policy_renew_interval_ms(int64_t ttl_ms)
{
    return ttl_ms / 3;
}

int64_t policy_race_wait_ms(int64_t ttl_ms)
{
    return min_int64(300, ttl_ms / 10);
}
