/* The dynamic configuration (key config) as JSON: its meaning for decisions, the check of what
 * people want to write, and the merge. Pure.
 * What already stands in etcd and is unusable is ignored, each key by itself, with a warning; what
 * somebody wants to write is refused whole, with the key in the message. Unknown keys are kept. */
#ifndef PGHEIR_CODEC_POLICY_JSON_H
#define PGHEIR_CODEC_POLICY_JSON_H

#include <jansson.h>

#include "pgheir/codec/conf.h"
#include "pgheir/model/policy.h"

enum { POLICY_JSON_BYTES_MAX = 1024 * 1024, POLICY_JSON_DEPTH_MAX = 64 };

/* Reads the value of the key config. RC_INVALID if it is not a JSON object (treat it as absent).
 * Owner of *ret: the caller. */
enum rc policy_json_read(const char *text, size_t length, json_t **ret, struct err *err);

/* Defaults, then every usable known key. Not adjusted: call policy_adjust(). config may be NULL.
 * report may be NULL. Cannot fail. */
void policy_json_parse(const json_t *config, struct policy *ret, struct conf_report *report);

/* Would this object (a PATCH, a PUT or bootstrap.dcs) be good to write? RC_INVALID names the first
 * known key of wrong type or range and what was expected. null is always good: it removes. */
enum rc policy_json_check(const json_t *patch, struct err *err);
/* All that policy_json_check() would refuse, one error each, under its path from here ("ttl"). */
void policy_json_report(const json_t *patch, struct conf_report *report);

/* The merge of rest.md 7.1: null removes, object onto object recurses, the rest replaces; values
 * that are equal as text count as unchanged. Returns a new object (owner: the caller) and in
 * *ret_changed whether it differs from config. */
json_t *policy_json_merge(const json_t *config, const json_t *patch, bool *ret_changed);

/* Equality as Patroni's tools see it: leaves compared by text, objects by content. */
bool policy_json_equal(const json_t *a, const json_t *b);

/* Numbers and switches as config.md section 2 reads them, from any JSON scalar. */
bool policy_json_bool(const json_t *value, bool *ret);
bool policy_json_int(const json_t *value, int64_t *ret);
/* Bare number: seconds; or a unit of PostgreSQL. */
bool policy_json_span_ms(const json_t *value, int64_t *ret_ms);
/* Bare number: bytes; or B kB MB GB TB. */
bool policy_json_bytes(const json_t *value, int64_t *ret_bytes);
/* A scalar as text, as it goes into postgresql.conf: true is on. Appends. false for arrays,
 * objects and null. */
bool policy_json_text(const json_t *value, struct buf *out);

#endif
