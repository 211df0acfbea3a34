/* JSON values as our files read and write them. */
#ifndef PGHEIR_SRC_CODEC_JSON_VALUE_H
#define PGHEIR_SRC_CODEC_JSON_VALUE_H

#include <jansson.h>

#include "pgheir/base/buf.h"

enum { JSON_VALUE_DEPTH_MAX = 64, JSON_VALUE_REAL_SIZE = 40, JSON_VALUE_PROBLEM_SIZE = 200 };

/* Any JSON value, or NULL with what is wrong in problem. New reference. */
json_t *json_value_read(const char *text, size_t length, char *problem, size_t problem_size);
/* Arrays and objects inside each other no deeper than depth_max. */
bool json_value_depth_is_ok(const json_t *value, int depth_max);
/* Appends; ASCII only; ", " and ": " unless compact. RC_LIMIT if out is full. */
enum rc json_value_put(struct buf *out, const json_t *value, bool is_compact);
/* Shortest text that reads back as the same number; with a point or an exponent. Returns out. */
const char *json_value_real_text(double real, char out[static JSON_VALUE_REAL_SIZE]);

#endif
