/* What pgheirctl prints (contract/ctl.md section 3) and reads: rows -> text, YAML, diffs. Pure. */
#ifndef PGHEIR_CODEC_CTL_TEXT_H
#define PGHEIR_CODEC_CTL_TEXT_H

#include <jansson.h>

#include "pgheir/base/buf.h"
#include "pgheir/base/err.h"
#include "pgheir/codec/view_map.h"

enum ctl_format { CTL_PRETTY, CTL_TOPOLOGY, CTL_TSV, CTL_JSON, CTL_YAML };

/* pretty, topology, tsv, json, yaml, yml; false if it is none. */
bool ctl_format_parse(const char *text, enum ctl_format *ret);

/* ---- Tables ----
 * pretty and topology: with borders, rules between rows as soon as one cell has several lines. tsv:
 * objects in flow style. json: one line. yaml: sorted keys, one blank line at the end. */

/* `list` and `topology`. cluster is GET /cluster's document (rest_json_cluster()). state: sysid,
 * "uninitialized" or "initializing". extended: -e. Footer lines included. */
enum rc ctl_put_cluster(struct buf *out, const json_t *cluster, const char *state, bool extended,
                        enum ctl_format format);
/* `history`: rows of the key, short ones padded. */
enum rc ctl_put_history(struct buf *out, const json_t *history, enum ctl_format format);

/* ---- YAML ---- */

/* Block style, sorted keys, as PyYAML's safe_dump(default_flow_style=False, width=200). */
enum rc ctl_put_yaml(struct buf *out, const json_t *value);
/* One line: {clonefrom: true}. */
enum rc ctl_put_yaml_flow(struct buf *out, const json_t *value);

/* ---- edit-config ---- */

/* Unified diff with three lines of context, headers "--- " and "+++ "; nothing if equal. RC_LIMIT
 * if a text has more than 20000 lines. */
enum rc ctl_put_diff(struct buf *out, const char *old_text, const char *new_text);

/* -s a.b.c=value: the value read as YAML; null or empty deletes and prunes emptied parents; below
 * postgresql.parameters the rest of the path is one GUC. Changes config. RC_INVALID. */
enum rc ctl_config_set(json_t *config, const char *assignment, struct err *err);
/* -p guc=value */
enum rc ctl_config_set_guc(json_t *config, const char *assignment, struct err *err);

#endif
