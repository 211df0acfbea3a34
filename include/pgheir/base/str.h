/* Bounded text: fixed arrays, strict numbers. No locale anywhere. */
#ifndef PGHEIR_BASE_STR_H
#define PGHEIR_BASE_STR_H

#include "pgheir/base/base.h"

/* Copies src into dst of size bytes. false (and dst holds "") if it does not fit: never a silent
 * cut. */
bool str_copy(char *dst, size_t size, const char *src) PGH_MUSTCHECK;
/* As snprintf; false if the text was cut. */
bool str_format(char *dst, size_t size, const char *fmt, ...) PGH_PRINTF(3, 4);
/* Equal texts; NULL equals only NULL. */
bool str_equal(const char *a, const char *b);
/* The same without regard to the case of ASCII letters. */
bool str_equal_nocase(const char *a, const char *b);
/* Whether text begins with prefix. */
bool str_starts_with(const char *text, const char *prefix);
/* NULL or "". */
bool str_is_empty(const char *text);
/* Compares two secrets in a time that depends on the length of the given one only. */
bool str_equal_secret(const char *given, const char *expected);

/* Whole text must be a decimal integer in range, without blanks or a plus sign; else false and *ret
 * untouched, as in all that follow. */
bool str_parse_int64(const char *text, int64_t *ret);
/* The same without a minus sign. */
bool str_parse_uint64(const char *text, uint64_t *ret);
/* on/true/yes/1 and off/false/no/0 in any case. */
bool str_parse_bool(const char *text, bool *ret);
/* Number with an optional unit of PostgreSQL (us ms s min h d); without a unit the number counts
 * base_unit_ms (1000: seconds). Fractions (1.5s) are rounded to the nearest millisecond. */
bool str_parse_duration_ms(const char *text, int64_t base_unit_ms, int64_t *ret_ms);
/* Number with an optional unit B kB MB GB TB (1024 steps); without a unit bytes. */
bool str_parse_bytes(const char *text, int64_t *ret_bytes);

enum { LSN_TEXT_SIZE = 24 };
/* 0/9000148; upper-case hexadecimal without padding. Returns out. */
const char *lsn_format(uint64_t lsn, char out[static LSN_TEXT_SIZE]);
/* Reads what lsn_format() writes, in either case; at most 8 digits on each side. */
bool lsn_parse(const char *text, uint64_t *ret_lsn);

#endif
