#include "pgheir/codec/pg_text.h"

#include "pgheir/base/str.h"

#include <string.h>

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v';
}

static char lower_ascii(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static enum rc append_char(struct buf *out, char c)
{
    return buf_append(out, &c, 1);
}

/* ---- postgresql.conf ---- */

bool pg_text_is_setting_name(const char *name)
{
    if (!is_letter(name[0]))
        return false;
    for (const char *at = name; *at != '\0'; at++) {
        bool is_after_dot = at > name && at[-1] == '.';
        if (*at == '.') {
            if (is_after_dot || at[1] == '\0')
                return false;
        } else if (is_after_dot ? !is_letter(*at)
                                : !is_letter(*at) && !is_digit(*at) && *at != '$') {
            return false;
        }
    }
    return true;
}

/* Inside its quotes PostgreSQL's scanner knows \n and \r as line breaks but ends the string at a
 * raw one (guc-file.l, STRING), so a raw one would let a value begin the next line. */
enum rc pg_text_conf_value(struct buf *out, const char *value)
{
    enum rc rc = append_char(out, '\'');
    for (const char *at = value; *at != '\0' && rc == RC_OK; at++) {
        switch (*at) {
        case '\'':
            rc = buf_puts(out, "''");
            break;
        case '\\':
            rc = buf_puts(out, "\\\\");
            break;
        case '\n':
            rc = buf_puts(out, "\\n");
            break;
        case '\r':
            rc = buf_puts(out, "\\r");
            break;
        default:
            rc = append_char(out, *at);
        }
    }
    return rc != RC_OK ? rc : append_char(out, '\'');
}

enum rc pg_text_conf_line(struct buf *out, const char *name, const char *value, struct err *err)
{
    if (!pg_text_is_setting_name(name))
        return err_set(err, RC_INVALID,
                       "\"%s\" is not the name of a PostgreSQL setting: expected letters, digits, _"
                       " and dots", name);
    enum rc rc = buf_printf(out, "%s = ", name);
    if (rc == RC_OK)
        rc = pg_text_conf_value(out, value);
    if (rc == RC_OK)
        rc = append_char(out, '\n');
    if (rc != RC_OK)
        return err_set(err, rc, "setting %s: the configuration file would grow over %zu bytes",
                       name, out->ceiling);
    return RC_OK;
}

/* Reads one escape after a backslash as PostgreSQL does; returns the position after it. */
static const char *conf_escape_parse(const char *at, char *ret)
{
    switch (*at) {
    case 'b':
        *ret = '\b';
        return at + 1;
    case 'f':
        *ret = '\f';
        return at + 1;
    case 'n':
        *ret = '\n';
        return at + 1;
    case 'r':
        *ret = '\r';
        return at + 1;
    case 't':
        *ret = '\t';
        return at + 1;
    default:
        break;
    }
    if (*at >= '0' && *at <= '7') {
        unsigned value = 0;
        for (int digits = 0; digits < 3 && *at >= '0' && *at <= '7'; digits++, at++)
            value = value * 8 + (unsigned)(*at - '0');
        *ret = (char)(value & 0xff);
        return at;
    }
    *ret = *at;
    return at + 1;
}

/* True if at began with a complete quoted string; its content is then in out. */
static bool conf_quoted_parse(const char *at, struct buf *out)
{
    for (at++; *at != '\0' && *at != '\n';) {
        char c = *at;
        if (c == '\'' && at[1] != '\'')
            return true;
        if (c == '\'') {
            at += 2;
        } else if (c == '\\' && at[1] != '\0') {
            at = conf_escape_parse(at + 1, &c);
        } else {
            at++;
        }
        if (append_char(out, c) != RC_OK)
            return false;
    }
    return false;
}

bool pg_text_conf_line_parse(const char *line, char *ret_name, size_t name_size,
                             struct buf *ret_value)
{
    size_t length = 0;
    buf_clear(ret_value);
    ret_name[0] = '\0';
    while (is_blank(*line))
        line++;
    if (*line == '\0' || *line == '#')
        return false;
    while (is_letter(line[length]) || is_digit(line[length]) || line[length] == '.' ||
           line[length] == '$')
        length++;
    if (length == 0 || length >= name_size)
        return true;
    for (size_t i = 0; i < length; i++)
        ret_name[i] = lower_ascii(line[i]);
    ret_name[length] = '\0';
    for (line += length; is_blank(*line); line++)
        ;
    if (*line == '=')
        for (line++; is_blank(*line); line++)
            ;
    if (*line == '\'') {
        if (!conf_quoted_parse(line, ret_value))
            buf_clear(ret_value);
        return true;
    }
    for (length = 0; line[length] != '\0' && !is_blank(line[length]) && line[length] != '#';)
        length++;
    (void)buf_append(ret_value, line, length); /* too long leaves it empty: unusable either way */
    return true;
}

/* ---- conninfo ---- */

enum rc pg_text_conninfo_add(struct buf *out, const char *keyword, const char *value,
                             struct err *err)
{
    for (const char *at = keyword; *at != '\0'; at++)
        if (!is_letter(*at) && !is_digit(*at))
            return err_set(err, RC_INVALID, "\"%s\" is not a keyword of a connection string",
                           keyword);
    enum rc rc = buf_printf(out, "%s%s='", out->length > 0 ? " " : "", keyword);
    for (const char *at = value; *at != '\0' && rc == RC_OK; at++) {
        if (*at == '\'' || *at == '\\')
            rc = append_char(out, '\\');
        if (rc == RC_OK)
            rc = append_char(out, *at);
    }
    if (rc == RC_OK)
        rc = append_char(out, '\'');
    if (rc != RC_OK)
        return err_set(err, rc, "connection string: longer than %zu bytes at keyword %s",
                       out->ceiling, keyword);
    return RC_OK;
}

enum rc pg_text_conninfo_add_all(struct buf *out, const struct pg_text_pair *pairs, size_t count,
                                 struct err *err)
{
    for (size_t i = 0; i < count; i++) {
        if (pairs[i].value == NULL)
            continue;
        enum rc rc = pg_text_conninfo_add(out, pairs[i].name, pairs[i].value, err);
        if (rc != RC_OK)
            return rc;
    }
    return RC_OK;
}

/* Copies a value that starts at `at` into out; returns the position after it, NULL if it is
 * broken. */
static const char *conninfo_value_parse(const char *at, struct buf *out)
{
    bool is_quoted = *at == '\'';
    buf_clear(out);
    if (is_quoted)
        at++;
    for (;; at++) {
        if (*at == '\0')
            return is_quoted ? NULL : at;
        if (is_quoted ? *at == '\'' : is_blank(*at))
            return at + 1;
        if (*at == '\\' && at[1] != '\0')
            at++;
        if (append_char(out, *at) != RC_OK)
            return NULL;
    }
}

bool pg_text_conninfo_get(const char *conninfo, const char *keyword, struct buf *ret_value)
{
    struct buf value;
    bool is_found = false;
    const char *at = conninfo;
    buf_clear(ret_value);
    buf_init(&value, ret_value->ceiling);
    for (;;) {
        while (is_blank(*at))
            at++;
        if (*at == '\0')
            break;
        const char *name = at;
        while (*at != '\0' && *at != '=' && !is_blank(*at))
            at++;
        size_t length = (size_t)(at - name);
        while (is_blank(*at))
            at++;
        if (*at != '=') {
            is_found = false;
            break;
        }
        for (at++; is_blank(*at); at++)
            ;
        at = conninfo_value_parse(at, &value);
        if (at == NULL) {
            is_found = false;
            break;
        }
        if (strlen(keyword) == length && memcmp(name, keyword, length) == 0) {
            buf_clear(ret_value);
            is_found = buf_append(ret_value, buf_text(&value), value.length) == RC_OK;
        }
    }
    if (!is_found)
        buf_clear(ret_value);
    buf_done(&value);
    return is_found;
}

/* ---- password file ---- */

/* A single star is libpq's wildcard and a leading # a comment: both are escaped in what is meant
 * literally (fe-connect.c, passwordFromFile). */
static enum rc pgpass_field_add(struct buf *out, const char *field)
{
    enum rc rc = RC_OK;
    if (field == NULL)
        return append_char(out, '*');
    if (field[0] == '*' || field[0] == '#')
        rc = append_char(out, '\\');
    for (const char *at = field; *at != '\0' && rc == RC_OK; at++) {
        if (*at == ':' || *at == '\\')
            rc = append_char(out, '\\');
        if (rc == RC_OK)
            rc = append_char(out, *at);
    }
    return rc;
}

enum rc pg_text_pgpass_line(struct buf *out, const char *host, const char *port,
                            const char *database, const char *user, const char *password,
                            struct err *err)
{
    const char *const fields[] = {host, port, database, user, password};
    static const char *const names[] = {"host", "port", "database", "user", "password"};
    enum rc rc = RC_OK;
    for (size_t i = 0; i < PGH_COUNT(fields); i++)
        if (fields[i] != NULL && strpbrk(fields[i], "\r\n") != NULL)
            return err_set(err, RC_INVALID,
                           "password file: the %s has a line break in it, which libpq cannot read"
                           " back: choose one without", names[i]);
    pgh_assert(password != NULL);
    for (size_t i = 0; i < PGH_COUNT(fields) && rc == RC_OK; i++) {
        rc = pgpass_field_add(out, fields[i]);
        if (rc == RC_OK)
            rc = append_char(out, i + 1 < PGH_COUNT(fields) ? ':' : '\n');
    }
    return rc == RC_OK ? RC_OK : err_set(err, rc, "password file: longer than %zu bytes",
                                         out->ceiling);
}

/* ---- SQL ---- */

enum rc pg_text_sql_literal(struct buf *out, const char *text)
{
    enum rc rc = buf_puts(out, "E'");
    for (const char *at = text; *at != '\0' && rc == RC_OK; at++) {
        if (*at == '\'' || *at == '\\')
            rc = append_char(out, *at);
        if (rc == RC_OK)
            rc = append_char(out, *at);
    }
    return rc != RC_OK ? rc : append_char(out, '\'');
}

enum rc pg_text_sql_name(struct buf *out, const char *name)
{
    enum rc rc = append_char(out, '"');
    for (const char *at = name; *at != '\0' && rc == RC_OK; at++) {
        if (*at == '"')
            rc = append_char(out, '"');
        if (rc == RC_OK)
            rc = append_char(out, *at);
    }
    return rc != RC_OK ? rc : append_char(out, '"');
}

/* ---- slot names ---- */

/* Reads one code point; an invalid byte stands for itself. */
static const char *utf8_parse(const char *at, uint32_t *ret)
{
    const unsigned char *byte = (const unsigned char *)at;
    int more = byte[0] >= 0xf0 && byte[0] < 0xf8 ? 3
               : byte[0] >= 0xe0 && byte[0] < 0xf0 ? 2
               : byte[0] >= 0xc2 && byte[0] < 0xe0 ? 1 : 0;
    uint32_t code = more == 3 ? byte[0] & 0x07u : more == 2 ? byte[0] & 0x0fu : byte[0] & 0x1fu;
    for (int i = 1; i <= more; i++) {
        if ((byte[i] & 0xc0) != 0x80) {
            more = 0;
            break;
        }
        code = code << 6 | (byte[i] & 0x3fu);
    }
    *ret = more == 0 ? byte[0] : code;
    return at + 1 + more;
}

/* The scripts in which host names are written; Patroni lowers all of Unicode. */
static uint32_t code_lower(uint32_t code)
{
    if (code >= 'A' && code <= 'Z')
        return code + 32;
    if (code >= 0xc0 && code <= 0xde && code != 0xd7)
        return code + 32;
    if (code >= 0x391 && code <= 0x3a9 && code != 0x3a2)
        return code + 32;
    if (code >= 0x410 && code <= 0x42f)
        return code + 32;
    if (code >= 0x400 && code <= 0x40f)
        return code + 80;
    return code;
}

const char *pg_text_slot_name(const char *member_name, char out[static PG_SLOT_NAME_SIZE])
{
    char piece[16];
    size_t used = 0;
    for (const char *at = member_name; *at != '\0' && used + 1 < PG_SLOT_NAME_SIZE;) {
        uint32_t code = 0;
        at = utf8_parse(at, &code);
        code = code_lower(code);
        bool is_plain = (code >= 'a' && code <= 'z') || (code >= '0' && code <= '9') || code == '_';
        bool is_fit = is_plain ? str_format(piece, sizeof piece, "%c", (int)code)
                      : code == '-' || code == '.' ? str_copy(piece, sizeof piece, "_")
                      : str_format(piece, sizeof piece, "u%04u", (unsigned)code);
        pgh_assert(is_fit);
        for (const char *from = piece; *from != '\0' && used + 1 < PG_SLOT_NAME_SIZE; from++)
            out[used++] = *from;
    }
    out[used] = '\0';
    return out;
}
