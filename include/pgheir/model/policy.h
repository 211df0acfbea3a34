/* The dynamic configuration as decisions need it: the parsed key "config", with defaults, floors
 * and the rule loop_wait + 2 * retry_timeout <= ttl applied. Source: contract/config.md section
 * 3, DESIGN section 4. */
#ifndef PGHEIR_MODEL_POLICY_H
#define PGHEIR_MODEL_POLICY_H

#include "pgheir/base/base.h"

struct policy {
    /* default 30 s; floor 2 s (20 s while a Patroni member is registered) */
    int64_t ttl_ms;
    int64_t loop_wait_ms;     /* default 10 s; floor 1 s: pace of housekeeping, not of reaction */
    int64_t retry_timeout_ms; /* default 10 s; floor 1 s (3 s beside Patroni) */
    int64_t maximum_lag_on_failover_bytes; /* default 1 MiB */
    int64_t primary_start_timeout_ms;      /* default 300 s; 0: fail over at once after a crash */
    int64_t member_slots_ttl_ms;           /* default 30 min */
    bool pause;
    bool check_timeline; /* accepted for the contract; pgheir always compares timelines */
    bool failsafe_mode;
    bool use_slots;                                   /* default true */
    bool use_pg_rewind;                               /* default false */
    bool remove_data_directory_on_rewind_failure;     /* default false */
    bool remove_data_directory_on_diverged_timelines; /* default false */
};

/* All defaults. */
void policy_init(struct policy *policy);

/* Raises values to their floors and bends loop_wait and retry_timeout to the rule.
 * patroni_beside: a Patroni member is registered. Below ttl 3 s the rule is not applied. Returns
 * true if something was changed; the caller then warns with the values before and after. */
bool policy_adjust(struct policy *policy, bool patroni_beside);

/* fence = moment the keepalive was sent + ttl - this. Source: DESIGN section 1. */
int64_t policy_fence_margin_ms(int64_t ttl_ms);
/* Demotion begins this long before the fence. */
int64_t policy_demote_lead_ms(int64_t ttl_ms);
/* A lease is renewed this often. */
int64_t policy_renew_interval_ms(int64_t ttl_ms);
/* Longest wait for a peer's answer in a race. */
int64_t policy_race_wait_ms(int64_t ttl_ms);

#endif
