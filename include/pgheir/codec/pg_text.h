/* Text that PostgreSQL reads: configuration values, connection strings, password files, slot
 * names.
 * For: whoever writes such text. Pure: bytes in, bytes out. Every value is hostile: no value can
 * end the line, the string or the keyword that it stands in (a line break can never add a
 * setting).
 * Units: none. Errors: RC_INVALID (the text cannot be represented, the err names it), RC_LIMIT
 * (buffer full). */
#ifndef PGHEIR_CODEC_PG_TEXT_H
#define PGHEIR_CODEC_PG_TEXT_H

#include "pgheir/base/buf.h"
#include "pgheir/base/err.h"

/* A keyword and its value, for connection strings and settings. value NULL: the entry is left
 * out. */
struct pg_text_pair {
    const char *name;
    const char *value;
};

enum { PG_SLOT_NAME_SIZE = 64 };

/* Appends 'value' as postgresql.conf reads it: quotes and backslashes doubled, line breaks as \n
 * and \r. */
enum rc pg_text_conf_value(struct buf *out, const char *value);

/* Appends "name = 'value'\n". RC_INVALID unless name is a setting's name (letters, digits, _, $,
 * dots). */
enum rc pg_text_conf_line(struct buf *out, const char *name, const char *value, struct err *err);

/* True for a setting's name that postgresql.conf accepts. */
bool pg_text_is_setting_name(const char *name);

/* Reads one line of postgresql.conf. Returns false for an empty line or a comment, else true
 * with the name (lower case) in ret_name and, in ret_value (cleared first), the unquoted value.
 * A line that PostgreSQL would refuse gives true with an empty ret_value. Also understands "name
 * value" without the equals sign. */
bool pg_text_conf_line_parse(const char *line, char *ret_name, size_t name_size,
                             struct buf *ret_value);

/* Appends "keyword='value'" with ' and \ escaped, preceded by a blank if out is not empty. */
enum rc pg_text_conninfo_add(struct buf *out, const char *keyword, const char *value,
                             struct err *err);

/* Appends all pairs whose value is not NULL. */
enum rc pg_text_conninfo_add_all(struct buf *out, const struct pg_text_pair *pairs, size_t count,
                                 struct err *err);

/* Finds keyword in a conninfo string (as libpq's own parser would) and puts its value into
 * ret_value (cleared first). False if it is not there or the string is broken. The last one
 * counts. */
bool pg_text_conninfo_get(const char *conninfo, const char *keyword, struct buf *ret_value);

/* Appends one line of a password file. NULL for host, port or database writes the wildcard *.
 * RC_INVALID if user or password hold a line break: libpq could not read it back. */
enum rc pg_text_pgpass_line(struct buf *out, const char *host, const char *port,
                            const char *database,
                            const char *user, const char *password, struct err *err);

/* Appends E'text', safe in any session whatever standard_conforming_strings says. */
enum rc pg_text_sql_literal(struct buf *out, const char *text);
/* Appends "name" with quotes doubled. */
enum rc pg_text_sql_name(struct buf *out, const char *name);

/* The slot of a member: lower case, - and . become _, any other code point outside [a-z0-9_]
 * becomes u and its decimal number with at least 4 digits, cut to 63. Invalid UTF-8 counts byte
 * by byte. Two members may collide: the caller reports that. Returns out. */
const char *pg_text_slot_name(const char *member_name, char out[static PG_SLOT_NAME_SIZE]);

#endif
