/* One value of one option: checked, typed, stored. */
#include <string.h>

#include "conf_private.h"
#include "json_value.h"

#include "pgheir/base/str.h"
#include "pgheir/codec/policy_json.h"

enum { EXPECTS_MAX = 300, VALUE_MAX = 120, TEXT_MAX = 65536, ITEMS_MAX = 4096 };

/* ---- Words of an enum ---- */

/* Index of the word that text spells, or -1. */
static int words_find(const char *words, const char *text)
{
    int idx = 0;
    size_t text_length = strlen(text);

    for (const char *at = words;; at++) {
        size_t length = strcspn(at, "|,");
        char given[VALUE_MAX];

        if (length == text_length && length < sizeof(given)) {
            memcpy(given, at, length);
            given[length] = '\0';
            if (str_equal_nocase(given, text))
                return idx;
        }
        at += length;
        if (*at == '\0')
            return -1;
        if (*at == ',')
            idx++;
    }
}

/* First spelling of each word: "off, on or quorum". */
static void words_list(const char *words, struct buf *out)
{
    for (const char *at = words; *at != '\0';) {
        size_t length = strcspn(at, "|,");
        const char *next = at + strcspn(at, ",");

        (void)buf_append(out, at, length);
        if (*next == '\0')
            break;
        at = next + 1;
        (void)buf_puts(out, strchr(at, ',') == NULL ? " or " : ", ");
    }
}

/* ---- What is expected ---- */

static void expects_int(const struct conf_option *option, struct buf *out)
{
    bool is_bounded = option->min != 0 || option->max != 0;

    if (option->unit == CONF_UNIT_SECONDS)
        (void)buf_puts(out, "a number of seconds");
    else if (option->unit == CONF_UNIT_BYTES)
        (void)buf_puts(out, "a number of bytes");
    else
        (void)buf_puts(out, "a whole number");
    if (is_bounded && option->max >= INT32_MAX)
        (void)buf_printf(out, ", at least %lld", (long long)option->min);
    else if (is_bounded)
        (void)buf_printf(out, " from %lld to %lld", (long long)option->min,
                         (long long)option->max);
    if (option->unit == CONF_UNIT_SECONDS)
        (void)buf_puts(out, " (or with a unit: 500ms, 2min)");
    else if (option->unit == CONF_UNIT_BYTES)
        (void)buf_puts(out, " (or with a unit: 16MB)");
}

void conf_option_expects(const struct conf_option *option, struct buf *out)
{
    switch (option->type) {
    case CONF_TYPE_TEXT:
        (void)buf_puts(out, "a text");
        return;
    case CONF_TYPE_PATH:
        (void)buf_puts(out, "a path");
        return;
    case CONF_TYPE_COMMAND:
        (void)buf_puts(out, "a command");
        return;
    case CONF_TYPE_BOOL:
        (void)buf_puts(out, "true or false");
        return;
    case CONF_TYPE_INT:
        expects_int(option, out);
        return;
    case CONF_TYPE_ENUM:
        words_list(option->words, out);
        return;
    case CONF_TYPE_ADDRESS:
        (void)buf_puts(out, "host:port, such as 10.0.0.1:5432 or [::1]:5432");
        return;
    case CONF_TYPE_LIST:
        (void)buf_puts(out, "a list of texts, or one text with commas");
        return;
    case CONF_TYPE_OBJECT:
        (void)buf_puts(out, "an object (key: value)");
        return;
    case CONF_TYPE_OPTIONS:
        (void)buf_puts(out, "a list of options, each \"name\" or {name: value}");
        return;
    case CONF_TYPE_ANY:
        (void)buf_puts(out, "any value");
        return;
    }
}

static bool option_refuse(const struct conf_option *option, const json_t *value,
                          const struct conf_places *places, enum conf_severity severity,
                          struct conf_report *report)
{
    struct buf expected;
    struct buf found;

    buf_init(&expected, EXPECTS_MAX);
    buf_init(&found, VALUE_MAX);
    conf_option_expects(option, &expected);
    /* What stands in a place for a secret may be one, whatever its type. */
    if (!option->is_secret && json_is_string(value) && json_string_length(value) < VALUE_MAX / 2)
        (void)buf_printf(&found, "\"%s\"", json_string_value(value));
    else if (option->is_secret || !policy_json_text(value, &found) || json_is_boolean(value))
        (void)buf_puts((buf_clear(&found), &found), conf_type_word(value));
    conf_report_at(report, places, severity, option->path, "expected %s, found %s",
                   buf_text(&expected), buf_text(&found));
    buf_done(&expected);
    buf_done(&found);
    return false;
}

/* ---- Storing ---- */

static void store_number(const struct conf_option *option, int64_t number, void *base)
{
    unsigned char *at = (unsigned char *)base + option->offset;

    if (option->size == sizeof(int64_t)) {
        memcpy(at, &number, sizeof(number));
    } else if (option->size == sizeof(int32_t)) {
        int32_t narrow = (int32_t)number;

        memcpy(at, &narrow, sizeof(narrow));
    } else {
        bool is_on = number != 0;

        pgh_assert(option->size == sizeof(is_on));
        memcpy(at, &is_on, sizeof(is_on));
    }
}

static bool take_text(const struct conf_option *option, const json_t *value, void *base,
                      struct conf_storage *storage)
{
    struct buf text;
    bool is_good;

    if (json_is_boolean(value))
        return false;
    buf_init(&text, TEXT_MAX);
    is_good = policy_json_text(value, &text);
    /* An empty text says the same as no text. */
    if (is_good && base != NULL) {
        const char *kept = text.length == 0 ? NULL : conf_storage_text(storage, buf_text(&text));

        memcpy((unsigned char *)base + option->offset, &kept, sizeof(kept));
    }
    buf_done(&text);
    return is_good;
}

static bool take_int(const struct conf_option *option, const json_t *value, void *base)
{
    int64_t number = 0;
    int64_t factor = 1;
    bool is_good = false;

    if (option->unit == CONF_UNIT_SECONDS) {
        is_good = policy_json_span_ms(value, &number);
        factor = 1000;
    } else if (option->unit == CONF_UNIT_BYTES) {
        is_good = policy_json_bytes(value, &number);
    } else {
        is_good = policy_json_int(value, &number);
    }
    if (!is_good)
        return false;
    if ((option->min != 0 || option->max != 0) &&
        (number < option->min * factor || number / factor > option->max))
        return false;
    if (base != NULL)
        store_number(option, number, base);
    return true;
}

static bool take_enum(const struct conf_option *option, const json_t *value, void *base)
{
    struct buf text;
    int idx = -1;

    buf_init(&text, VALUE_MAX);
    if (policy_json_text(value, &text))
        idx = words_find(option->words, buf_text(&text));
    buf_done(&text);
    if (idx >= 0 && base != NULL)
        store_number(option, idx, base);
    return idx >= 0;
}

static bool take_address(const struct conf_option *option, const json_t *value, void *base)
{
    struct conf_address address;

    if (!json_is_string(value) || !conf_address_parse(json_string_value(value), 0, &address))
        return false;
    if (base != NULL)
        memcpy((unsigned char *)base + option->offset, &address, sizeof(address));
    return true;
}

/* "a, b" as a list of its parts without blanks around them. */
static json_t *split_commas(const char *text)
{
    json_t *list = json_array();

    pgh_assert(list != NULL);
    while (*text != '\0') {
        size_t length = strcspn(text, ",");
        const char *begin = text + strspn(text, " \t\r\n,");
        const char *end = text + length;

        while (end > begin && strchr(" \t\r\n", end[-1]) != NULL)
            end--;
        if (end > begin)
            (void)json_array_append_new(list, json_stringn(begin, (size_t)(end - begin)));
        text += length;
        if (*text == ',')
            text++;
    }
    return list;
}

/* Lines of pg_hba.conf hold commas of their own. */
static bool is_list_of_lines(const struct conf_option *option)
{
    return strstr(option->path, "pg_hba") != NULL || strstr(option->path, "pg_ident") != NULL;
}

static bool take_list(const struct conf_option *option, const json_t *value, void *base,
                      struct conf_storage *storage)
{
    json_t *list;
    json_t *item;
    size_t idx;

    if (json_is_string(value) && !is_list_of_lines(option)) {
        list = split_commas(json_string_value(value));
    } else if (json_is_array(value) && json_array_size(value) <= ITEMS_MAX) {
        list = json_array();
        json_array_foreach(value, idx, item) {
            struct buf text;
            bool is_good;

            buf_init(&text, TEXT_MAX);
            is_good = !json_is_boolean(item) && policy_json_text(item, &text);
            if (is_good)
                (void)json_array_append_new(list, json_string(buf_text(&text)));
            buf_done(&text);
            if (!is_good) {
                json_decref(list);
                return false;
            }
        }
    } else {
        return false;
    }
    if (base == NULL || option->part == CONF_PART_NONE) {
        json_decref(list);
        return true;
    }
    conf_storage_keep(storage, list);
    memcpy((unsigned char *)base + option->offset, &list, sizeof(list));
    return true;
}

static bool take_object(const struct conf_option *option, const json_t *value, void *base)
{
    if (!json_is_object(value))
        return false;
    if (base != NULL && option->part != CONF_PART_NONE)
        memcpy((unsigned char *)base + option->offset, &value, sizeof(value));
    return true;
}

static bool take_options(const json_t *value)
{
    struct conf_storage *storage = conf_storage_new();
    const struct pg_text_pair *pairs;
    size_t count;
    bool is_good = conf_pairs_read(value, storage, &pairs, &count);

    conf_storage_free(storage);
    return is_good;
}

bool conf_option_take(const struct conf_option *option, const json_t *value, void *base,
                      struct conf_storage *storage, const struct conf_places *places,
                      enum conf_severity severity, struct conf_report *report)
{
    bool is_good = false;

    if (option->part == CONF_PART_NONE)
        base = NULL;
    switch (option->type) {
    case CONF_TYPE_TEXT:
    case CONF_TYPE_PATH:
    case CONF_TYPE_COMMAND:
        is_good = take_text(option, value, base, storage);
        break;
    case CONF_TYPE_BOOL: {
        bool is_on = false;

        is_good = policy_json_bool(value, &is_on);
        if (is_good && base != NULL)
            store_number(option, is_on, base);
        break;
    }
    case CONF_TYPE_INT:
        is_good = take_int(option, value, base);
        break;
    case CONF_TYPE_ENUM:
        is_good = take_enum(option, value, base);
        break;
    case CONF_TYPE_ADDRESS:
        is_good = take_address(option, value, base);
        break;
    case CONF_TYPE_LIST:
        is_good = take_list(option, value, base, storage);
        break;
    case CONF_TYPE_OBJECT:
        is_good = take_object(option, value, base);
        break;
    case CONF_TYPE_OPTIONS:
        is_good = take_options(value);
        break;
    case CONF_TYPE_ANY:
        is_good = true;
        break;
    }
    return is_good || option_refuse(option, value, places, severity, report);
}

void conf_option_take_default(const struct conf_option *option, void *base,
                              struct conf_storage *storage)
{
    json_t *value;

    if (option->part == CONF_PART_NONE || option->default_text == NULL ||
        option->default_text[0] == '(')
        return;
    value = json_string(option->default_text);
    pgh_assert(value != NULL);
    pgh_assert(conf_option_take(option, value, base, storage, NULL, CONF_ERROR, NULL));
    json_decref(value);
}

/* ---- Long options ---- */

static bool pair_add(struct conf_storage *storage, struct pg_text_pair *pair, const char *name,
                     const json_t *value)
{
    struct buf text;
    bool is_good = true;

    while (*name == '-')
        name++;
    if (*name == '\0')
        return false;
    buf_init(&text, TEXT_MAX);
    pair->name = conf_storage_text(storage, name);
    pair->value = NULL;
    /* {verbose: true} is the switch --verbose. */
    if (value != NULL && !json_is_null(value) && !json_is_true(value)) {
        is_good = policy_json_text(value, &text);
        if (is_good)
            pair->value = conf_storage_text(storage, buf_text(&text));
    }
    buf_done(&text);
    return is_good;
}

/* "encoding", "encoding=UTF8", {"encoding": "UTF8"}. */
static bool pair_read(struct conf_storage *storage, struct pg_text_pair *pair, const json_t *item)
{
    if (json_is_string(item)) {
        const char *text = json_string_value(item);
        const char *equals = strchr(text, '=');
        char name[VALUE_MAX];
        json_t *value;
        bool is_good;

        if (equals == NULL)
            return pair_add(storage, pair, text, NULL);
        if ((size_t)(equals - text) >= sizeof(name))
            return false;
        memcpy(name, text, (size_t)(equals - text));
        name[equals - text] = '\0';
        value = json_string(equals + 1);
        is_good = pair_add(storage, pair, name, value);
        json_decref(value);
        return is_good;
    }
    if (json_is_object(item) && json_object_size(item) == 1) {
        void *iter = json_object_iter((json_t *)(uintptr_t)item);

        return pair_add(storage, pair, json_object_iter_key(iter), json_object_iter_value(iter));
    }
    return false;
}

bool conf_pairs_read(const json_t *value, struct conf_storage *storage,
                     const struct pg_text_pair **ret, size_t *ret_count)
{
    struct pg_text_pair *pairs;
    size_t count = 0;
    json_t *item;
    size_t idx;
    const char *key;

    *ret = NULL;
    *ret_count = 0;
    if (value == NULL || json_is_null(value))
        return true;
    if ((!json_is_array(value) && !json_is_object(value)) || json_array_size(value) > ITEMS_MAX ||
        json_object_size(value) > ITEMS_MAX)
        return false;
    pairs = conf_storage_alloc(storage, json_array_size(value) + json_object_size(value),
                               sizeof(*pairs));
    json_array_foreach(value, idx, item)
        if (!pair_read(storage, &pairs[count++], item))
            return false;
    json_object_foreach((json_t *)(uintptr_t)value, key, item)
        if (!pair_add(storage, &pairs[count++], key, item))
            return false;
    *ret = pairs;
    *ret_count = count;
    return true;
}
