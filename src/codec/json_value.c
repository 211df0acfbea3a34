/* Scalars as PostgreSQL and Patroni read them: config.md section 2. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json_value.h"

#include "pgheir/base/str.h"
#include "pgheir/codec/policy_json.h"

enum { REAL_TEXT_SIZE = 40 };

const char *json_value_real_text(double real, char out[static JSON_VALUE_REAL_SIZE])
{
    /* The shortest text that reads back as the same number, as Python prints it. */
    for (int precision = 15; precision <= 17; precision++) {
        (void)snprintf(out, JSON_VALUE_REAL_SIZE, "%.*g", precision, real);
        if (strtod(out, NULL) == real)
            break;
    }
    if (strpbrk(out, ".en") == NULL)
        memcpy(out + strlen(out), ".0", 3); /* at most 24 characters stand there */
    return out;
}

bool policy_json_text(const json_t *value, struct buf *out)
{
    char text[JSON_VALUE_REAL_SIZE];

    if (value == NULL)
        return false;
    switch (json_typeof(value)) {
    case JSON_STRING:
        return buf_puts(out, json_string_value(value)) == RC_OK;
    case JSON_INTEGER:
        return buf_printf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(value)) == RC_OK;
    case JSON_REAL:
        return buf_puts(out, json_value_real_text(json_real_value(value), text)) == RC_OK;
    case JSON_TRUE:
        return buf_puts(out, "on") == RC_OK;
    case JSON_FALSE:
        return buf_puts(out, "off") == RC_OK;
    case JSON_OBJECT:
    case JSON_ARRAY:
    case JSON_NULL:
        return false;
    }
    return false;
}

bool policy_json_bool(const json_t *value, bool *ret)
{
    if (json_is_boolean(value)) {
        *ret = json_is_true(value);
        return true;
    }
    if (json_is_integer(value) &&
        (json_integer_value(value) == 0 || json_integer_value(value) == 1)) {
        *ret = json_integer_value(value) == 1;
        return true;
    }
    return json_is_string(value) && str_parse_bool(json_string_value(value), ret);
}

/* A number at the start of text: hexadecimal, octal, decimal, or with a fraction or an exponent.
 * NULL if there is none; else what follows it. */
static const char *number_read(const char *text, double *ret)
{
    const char *at = text + strspn(text, " \t\r\n");
    const char *digits = at + (*at == '-' || *at == '+' ? 1 : 0);
    char *end;
    size_t whole;

    if (digits[0] == '0' && (digits[1] == 'x' || digits[1] == 'X')) {
        uint64_t number;

        if (strspn(digits + 2, "0123456789abcdefABCDEF") == 0)
            return NULL;
        errno = 0;
        number = strtoull(digits + 2, &end, 16);
        *ret = (*at == '-' ? -1.0 : 1.0) * (double)number;
        return errno == 0 ? end : NULL;
    }
    whole = strspn(digits, "0123456789");
    if (digits[whole] == '.' || digits[whole] == 'e' || digits[whole] == 'E') {
        if (whole == 0 && strspn(digits + 1, "0123456789") == 0)
            return NULL;
        *ret = strtod(at, &end);
        return end > at && isfinite(*ret) ? end : NULL;
    }
    if (whole == 0 || whole > 18)
        return NULL;
    if (digits[0] == '0' && whole > 1 && strspn(digits, "01234567") != whole)
        return NULL;
    *ret = (*at == '-' ? -1.0 : 1.0) *
           (double)strtoull(digits, &end, digits[0] == '0' && whole > 1 ? 8 : 10);
    return end;
}

struct unit {
    const char *name;
    double factor;
};

/* Half to even, as Python's round(); false beyond 2^53, where a double has gaps. */
static bool number_round(double number, int64_t *ret)
{
    double rounded = rint(number);

    if (!isfinite(rounded) || fabs(rounded) > 9007199254740992.0)
        return false;
    *ret = (int64_t)rounded;
    return true;
}

static bool text_with_unit(const char *text, const struct unit *units, size_t count,
                           double bare_factor, int64_t *ret)
{
    double number = 0;
    const char *rest = number_read(text, &number);
    size_t length;

    if (rest == NULL)
        return false;
    rest += strspn(rest, " \t\r\n");
    length = strlen(rest);
    while (length > 0 && strchr(" \t\r\n", rest[length - 1]) != NULL)
        length--;
    if (length == 0)
        return number_round(number * bare_factor, ret);
    for (size_t i = 0; i < count; i++)
        if (strlen(units[i].name) == length && strncmp(units[i].name, rest, length) == 0)
            return number_round(number * units[i].factor, ret);
    return false;
}

static bool value_with_unit(const json_t *value, const struct unit *units, size_t count,
                            double bare_factor, int64_t *ret)
{
    if (json_is_integer(value)) {
        json_int_t number = json_integer_value(value);
        int64_t product;

        if (__builtin_mul_overflow((int64_t)number, (int64_t)bare_factor, &product))
            return false;
        *ret = product;
        return true;
    }
    if (json_is_real(value))
        return number_round(json_real_value(value) * bare_factor, ret);
    return json_is_string(value) &&
           text_with_unit(json_string_value(value), units, count, bare_factor, ret);
}

bool policy_json_int(const json_t *value, int64_t *ret)
{
    /* Whole numbers beyond 2^53 pass a double badly: a plain decimal needs none. */
    if (json_is_string(value) && json_string_value(value)[0] != '0' &&
        str_parse_int64(json_string_value(value), ret))
        return true;
    return value_with_unit(value, NULL, 0, 1.0, ret);
}

bool policy_json_span_ms(const json_t *value, int64_t *ret_ms)
{
    static const struct unit units[] = {{"us", 0.001},     {"ms", 1.0},       {"s", 1000.0},
                                        {"min", 60000.0},  {"h", 3600000.0},  {"d", 86400000.0}};

    return value_with_unit(value, units, PGH_COUNT(units), 1000.0, ret_ms);
}

bool policy_json_bytes(const json_t *value, int64_t *ret_bytes)
{
    static const struct unit units[] = {{"B", 1.0},
                                        {"kB", 1024.0},
                                        {"MB", 1048576.0},
                                        {"GB", 1073741824.0},
                                        {"TB", 1099511627776.0}};

    return value_with_unit(value, units, PGH_COUNT(units), 1.0, ret_bytes);
}

/* ---- Whole values ---- */

bool json_value_depth_is_ok(const json_t *value, int depth_max)
{
    const char *key;
    json_t *child;
    size_t idx;

    if (!json_is_object(value) && !json_is_array(value))
        return true;
    if (depth_max == 0)
        return false;
    json_object_foreach((json_t *)(uintptr_t)value, key, child)
        if (!json_value_depth_is_ok(child, depth_max - 1))
            return false;
    json_array_foreach(value, idx, child)
        if (!json_value_depth_is_ok(child, depth_max - 1))
            return false;
    return true;
}

json_t *json_value_read(const char *text, size_t length, char *problem, size_t problem_size)
{
    json_error_t error;
    json_t *value = json_loadb(text, length, JSON_DECODE_ANY, &error);

    if (value == NULL) {
        (void)snprintf(problem, problem_size, "not JSON: %.120s at line %d, column %d", error.text,
                       error.line, error.column);
        return NULL;
    }
    if (!json_value_depth_is_ok(value, JSON_VALUE_DEPTH_MAX)) {
        (void)snprintf(problem, problem_size, "nested deeper than %d levels", JSON_VALUE_DEPTH_MAX);
        json_decref(value);
        return NULL;
    }
    return value;
}

/* Digits that the reals of a tree need. */
static int real_precision(const json_t *value)
{
    int precision = 15;
    const char *key;
    json_t *child;
    size_t idx;

    if (json_is_real(value)) {
        char text[REAL_TEXT_SIZE];

        for (; precision < 17; precision++) {
            (void)snprintf(text, sizeof(text), "%.*g", precision, json_real_value(value));
            if (strtod(text, NULL) == json_real_value(value))
                break;
        }
        return precision;
    }
    json_object_foreach((json_t *)(uintptr_t)value, key, child) {
        int of_child = real_precision(child);

        precision = of_child > precision ? of_child : precision;
    }
    json_array_foreach(value, idx, child) {
        int of_child = real_precision(child);

        precision = of_child > precision ? of_child : precision;
    }
    return precision;
}

static int dump_to_buf(const char *bytes, size_t length, void *arg)
{
    return buf_append(arg, bytes, length) == RC_OK ? 0 : -1;
}

enum rc json_value_put(struct buf *out, const json_t *value, bool is_compact)
{
    size_t flags = JSON_ENSURE_ASCII | JSON_ENCODE_ANY |
                   JSON_REAL_PRECISION((size_t)real_precision(value)) |
                   (is_compact ? JSON_COMPACT : 0);

    return json_dump_callback(value, dump_to_buf, out, flags) == 0 ? RC_OK : RC_LIMIT;
}
