/* The dynamic configuration: two JSON texts, divided by an empty line. The first is what stands in
 * etcd, the second what somebody wants to write; and lines of edit-config -s after another one. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "pgheir/base/mem.h"
#include "pgheir/codec/ctl_text.h"
#include "pgheir/codec/policy_json.h"
#include "pgheir/codec/tags_json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_policy(const json_t *config)
{
    struct policy policy;
    struct conf_report report;

    conf_report_init(&report);
    policy_json_parse(config, &policy, &report);
    pgh_assert(report.error_count == 0);
    pgh_assert(policy.ttl_ms >= 1000 && policy.loop_wait_ms >= 1000);
    pgh_assert(policy.retry_timeout_ms >= 1000);
    pgh_assert(policy.maximum_lag_on_failover_bytes >= 0);
    pgh_assert(policy.primary_start_timeout_ms >= 0 && policy.member_slots_ttl_ms >= 0);
    (void)policy_adjust(&policy, true);
    pgh_assert(policy.loop_wait_ms + 2 * policy.retry_timeout_ms <= policy.ttl_ms);
    conf_report_done(&report);
}

static void check_merge(const json_t *config, const json_t *patch)
{
    bool is_changed = false;
    bool is_changed_again = true;
    json_t *merged = policy_json_merge(config, patch, &is_changed);
    json_t *again = policy_json_merge(merged, patch, &is_changed_again);

    pgh_assert(json_is_object(merged));
    pgh_assert(is_changed || policy_json_equal(config, merged));
    /* A patch that has been applied changes nothing any more. */
    pgh_assert(!is_changed_again);
    pgh_assert(json_equal(merged, again));
    check_policy(merged);
    json_decref(merged);
    json_decref(again);
}

static void feed_assignments(json_t *config, char *text)
{
    struct err err;
    int count = 0;

    while (text != NULL && *text != '\0' && count++ < 20) {
        char *next = strchr(text, '\n');

        if (next != NULL)
            *next++ = '\0';
        (void)ctl_config_set(config, text, &err);
        (void)ctl_config_set_guc(config, text, &err);
        text = next;
    }
}

/* Cuts text at its first empty line; NULL if there is none. */
static char *cut(char *text)
{
    char *empty = strstr(text, "\n\n");

    if (empty == NULL)
        return NULL;
    *empty = '\0';
    return empty + 2;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = mem_new(size + 1, 1);
    char *second;
    char *third;
    json_t *config = NULL;
    json_t *patch = NULL;
    struct err err;

    if (size > 0)
        memcpy(text, data, size);
    second = cut(text);
    third = second == NULL ? NULL : cut(second);
    if (policy_json_read(text, strlen(text), &config, &err) == RC_OK) {
        struct tags tags;
        json_t *published = tags_json_publish(config);

        tags_json_parse(config, &tags);
        json_decref(published);
        check_policy(config);
        (void)policy_json_check(config, &err);
        if (second != NULL && policy_json_read(second, strlen(second), &patch, &err) == RC_OK)
            check_merge(config, patch);
        feed_assignments(config, third);
        json_decref(config);
        json_decref(patch);
    }
    mem_free(text);
    return 0;
}
