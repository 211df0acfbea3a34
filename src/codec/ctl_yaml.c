/* YAML as PyYAML's safe_dump() writes it, so that what people edit looks as they know it. Long
 * texts are not folded: a line of pg_hba.conf stays a line. */
#include <stdlib.h>
#include <string.h>

#include "ctl_private.h"
#include "json_value.h"
#include "yaml_scalar.h"

#include "pgheir/base/mem.h"
#include "pgheir/base/str.h"

enum { DEPTH_MAX = 64 };

/* ---- Texts ---- */

enum quoting { QUOTING_NONE, QUOTING_SINGLE, QUOTING_DOUBLE };

static bool is_blank_or_end(char c)
{
    return c == '\0' || c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* C1 controls (U+0080 to U+009F) and the byte order mark cannot stand in a YAML text. */
static bool is_special(const unsigned char *at)
{
    return at[0] < ' ' || at[0] == 0x7f || (at[0] == 0xc2 && at[1] < 0xa0) ||
           (at[0] == 0xef && at[1] == 0xbb && at[2] == 0xbf);
}

/* Would this character, here, mean something to a YAML reader? */
static bool is_indicator(const char *text, size_t idx, bool is_flow)
{
    char c = text[idx];
    bool is_before_blank = is_blank_or_end(text[idx + 1]);

    if (idx == 0) {
        if (strchr("#,[]{}&*!|>'\"%@`", c) != NULL)
            return true;
        if (c == '?' || c == ':')
            return is_flow || is_before_blank;
        return c == '-' && is_before_blank;
    }
    if (strchr(",?[]{}", c) != NULL)
        return is_flow;
    if (c == ':')
        return is_flow || is_before_blank;
    return c == '#' && is_blank_or_end(text[idx - 1]);
}

static enum quoting quoting_of(const char *text, bool is_flow)
{
    enum quoting quoting = QUOTING_NONE;
    size_t length = strlen(text);

    for (size_t i = 0; i < length; i++) {
        if (is_special((const unsigned char *)text + i))
            return QUOTING_DOUBLE;
        if (is_indicator(text, i, is_flow))
            quoting = QUOTING_SINGLE;
    }
    if (length == 0 || text[0] == ' ' || text[length - 1] == ' ' ||
        str_starts_with(text, "---") || str_starts_with(text, "...") ||
        yaml_scalar_is_ambiguous(text))
        quoting = QUOTING_SINGLE;
    return quoting;
}

static void put_double_quoted(struct buf *out, const char *text)
{
    (void)buf_puts(out, "\"");
    for (const unsigned char *at = (const unsigned char *)text; *at != '\0'; at++) {
        if (*at == '"' || *at == '\\')
            (void)buf_printf(out, "\\%c", *at);
        else if (*at == '\n')
            (void)buf_puts(out, "\\n");
        else if (*at == '\t')
            (void)buf_puts(out, "\\t");
        else if (*at == '\r')
            (void)buf_puts(out, "\\r");
        else if (at[0] == 0xc2 && at[1] < 0xa0 && at[1] != '\0')
            (void)buf_printf(out, "\\x%02X", *++at);
        else if (at[0] == 0xef && at[1] == 0xbb && at[2] == 0xbf)
            (void)buf_puts((at += 2, out), "\\uFEFF");
        else if (is_special(at))
            (void)buf_printf(out, "\\x%02X", *at);
        else
            (void)buf_append(out, at, 1);
    }
    (void)buf_puts(out, "\"");
}

static void put_text(struct buf *out, const char *text, bool is_flow)
{
    switch (quoting_of(text, is_flow)) {
    case QUOTING_NONE:
        (void)buf_puts(out, text);
        return;
    case QUOTING_SINGLE:
        (void)buf_puts(out, "'");
        for (; *text != '\0'; text++)
            (void)buf_append(out, *text == '\'' ? "''" : text, *text == '\'' ? 2 : 1);
        (void)buf_puts(out, "'");
        return;
    case QUOTING_DOUBLE:
        put_double_quoted(out, text);
        return;
    }
}

/* YAML 1.1 takes 1e+20 for a text: it wants the point. */
static void put_real(struct buf *out, const char *text)
{
    size_t digits = strcspn(text, ".e");

    if (text[digits] == 'e')
        (void)buf_printf(out, "%.*s.0%s", (int)digits, text, text + digits);
    else
        (void)buf_puts(out, text);
}

static void put_scalar(struct buf *out, const json_t *value, bool is_flow)
{
    char text[JSON_VALUE_REAL_SIZE];

    switch (json_typeof(value)) {
    case JSON_STRING:
        put_text(out, json_string_value(value), is_flow);
        return;
    case JSON_INTEGER:
        (void)buf_printf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        return;
    case JSON_REAL:
        put_real(out, json_value_real_text(json_real_value(value), text));
        return;
    case JSON_TRUE:
        (void)buf_puts(out, "true");
        return;
    case JSON_FALSE:
        (void)buf_puts(out, "false");
        return;
    case JSON_NULL:
        (void)buf_puts(out, "null");
        return;
    case JSON_OBJECT:
        (void)buf_puts(out, "{}"); /* an empty one: others are written by their writers */
        return;
    case JSON_ARRAY:
        (void)buf_puts(out, "[]");
        return;
    }
}

/* ---- Keys in order ---- */

static int compare_keys(const void *a, const void *b)
{
    const char *const *left = a;
    const char *const *right = b;

    return strcmp(*left, *right);
}

/* Sorted keys; owner: the caller, mem_free(). */
static const char **new_sorted_keys(const json_t *object)
{
    const char **keys = mem_new(json_object_size(object) + 1, sizeof(*keys));
    size_t count = 0;
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)object, key, value)
        keys[count++] = key;
    if (count > 1)
        qsort(keys, count, sizeof(*keys), compare_keys);
    return keys;
}

/* ---- Block style ---- */

static void put_block(struct buf *out, const json_t *value, int indent, bool is_inline, int depth);

static bool has_content(const json_t *value)
{
    return json_object_size(value) + json_array_size(value) > 0;
}

static void put_indent(struct buf *out, int indent)
{
    for (int i = 0; i < indent; i++)
        (void)buf_puts(out, " ");
}

/* is_inline: the first key stands behind a dash that is already there. */
static void put_block_object(struct buf *out, const json_t *object, int indent, bool is_inline,
                             int depth)
{
    const char **keys = new_sorted_keys(object);

    for (size_t i = 0; i < json_object_size(object); i++) {
        const json_t *value = json_object_get(object, keys[i]);

        if (i > 0 || !is_inline)
            put_indent(out, indent);
        put_text(out, keys[i], false);
        (void)buf_puts(out, ":");
        if (!has_content(value)) {
            (void)buf_puts(out, " ");
            put_scalar(out, value, false);
            (void)buf_puts(out, "\n");
            continue;
        }
        (void)buf_puts(out, "\n");
        /* As PyYAML does, a list in an object is not indented. */
        put_block(out, value, json_is_array(value) ? indent : indent + 2, false, depth + 1);
    }
    mem_free(keys);
}

static void put_block_array(struct buf *out, const json_t *array, int indent, bool is_inline,
                            int depth)
{
    const json_t *value;
    size_t idx;

    json_array_foreach(array, idx, value) {
        if (idx > 0 || !is_inline)
            put_indent(out, indent);
        (void)buf_puts(out, "- ");
        if (has_content(value)) {
            put_block(out, value, indent + 2, true, depth + 1);
        } else {
            put_scalar(out, value, false);
            (void)buf_puts(out, "\n");
        }
    }
}

static void put_block(struct buf *out, const json_t *value, int indent, bool is_inline, int depth)
{
    if (depth > DEPTH_MAX || buf_is_overflown(out))
        return; /* no tree that was read by us is that deep */
    if (json_is_object(value))
        put_block_object(out, value, indent, is_inline, depth);
    else
        put_block_array(out, value, indent, is_inline, depth);
}

enum rc ctl_put_yaml(struct buf *out, const json_t *value)
{
    if (has_content(value)) {
        put_block(out, value, 0, false, 0);
    } else {
        size_t begin = out->length;
        bool is_plain;

        put_scalar(out, value, false);
        /* PyYAML marks the end of a document that is a plain scalar. */
        is_plain = !json_is_object(value) && !json_is_array(value) &&
                   strchr("'\"", buf_text(out)[begin]) == NULL;
        (void)buf_puts(out, is_plain ? "\n...\n" : "\n");
    }
    return buf_is_overflown(out) ? RC_LIMIT : RC_OK;
}

/* ---- Flow style ---- */

static void put_flow(struct buf *out, const json_t *value, int depth)
{
    const json_t *item;
    size_t idx;

    if (depth > DEPTH_MAX || buf_is_overflown(out))
        return;
    if (!has_content(value)) {
        put_scalar(out, value, true);
    } else if (json_is_array(value)) {
        json_array_foreach(value, idx, item) {
            (void)buf_puts(out, idx == 0 ? "[" : ", ");
            put_flow(out, item, depth + 1);
        }
        (void)buf_puts(out, "]");
    } else {
        const char **keys = new_sorted_keys(value);

        for (size_t i = 0; i < json_object_size(value); i++) {
            (void)buf_puts(out, i == 0 ? "{" : ", ");
            put_text(out, keys[i], true);
            (void)buf_puts(out, ": ");
            put_flow(out, json_object_get(value, keys[i]), depth + 1);
        }
        (void)buf_puts(out, "}");
        mem_free(keys);
    }
}

enum rc ctl_put_yaml_flow(struct buf *out, const json_t *value)
{
    put_flow(out, value, 0);
    return buf_is_overflown(out) ? RC_LIMIT : RC_OK;
}
