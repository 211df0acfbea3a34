#include "yaml_scalar.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <yaml.h>

#include "pgheir/base/str.h"

enum { NUMBER_TEXT_MAX = 64 };

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_one_of(const char *text, const char *const *words, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(text, words[i]) == 0)
            return true;
    return false;
}

static bool is_null(const char *text)
{
    static const char *const words[] = {"", "~", "null", "Null", "NULL"};

    return is_one_of(text, words, PGH_COUNT(words));
}

static bool read_bool(const char *text, bool *ret)
{
    static const char *const yes[] = {"yes", "Yes", "YES", "true", "True", "TRUE",
                                      "on",  "On",  "ON"};
    static const char *const no[] = {"no",    "No",    "NO",  "false", "False",
                                     "FALSE", "off", "Off", "OFF"};

    if (is_one_of(text, yes, PGH_COUNT(yes)))
        *ret = true;
    else if (is_one_of(text, no, PGH_COUNT(no)))
        *ret = false;
    else
        return false;
    return true;
}

/* Digits of a base with underscores between; at least one digit. Big: more than 64 bits. */
enum number { NUMBER_NONE, NUMBER_OK, NUMBER_BIG };

static int digit_value(char c)
{
    if (is_digit(c))
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return 99;
}

static enum number read_digits(const char *text, size_t length, int base, uint64_t *ret)
{
    uint64_t number = 0;
    bool is_big = false;
    bool has_digit = false;

    for (size_t i = 0; i < length; i++) {
        int digit = digit_value(text[i]);

        if (text[i] == '_')
            continue;
        if (digit >= base)
            return NUMBER_NONE;
        has_digit = true;
        if (__builtin_mul_overflow(number, (uint64_t)base, &number) ||
            __builtin_add_overflow(number, (uint64_t)digit, &number))
            is_big = true;
    }
    *ret = number;
    if (!has_digit)
        return NUMBER_NONE;
    return is_big ? NUMBER_BIG : NUMBER_OK;
}

/* 1:30:00, every part after the first below 60. */
static enum number read_sexagesimal(const char *text, uint64_t *ret)
{
    size_t first = strcspn(text, ":");
    enum number result = NUMBER_NONE;
    uint64_t number = 0;

    if (text[0] < '1' || text[0] > '9')
        return NUMBER_NONE;
    result = read_digits(text, first, 10, &number);
    text += first;
    while (result != NUMBER_NONE && *text == ':') {
        size_t length = strspn(text + 1, "0123456789");
        uint64_t part = 0;

        if (length == 0 || length > 2 || read_digits(text + 1, length, 10, &part) != NUMBER_OK ||
            part > 59)
            return NUMBER_NONE;
        if (__builtin_mul_overflow(number, (uint64_t)60, &number) ||
            __builtin_add_overflow(number, part, &number))
            result = NUMBER_BIG;
        text += length + 1;
    }
    *ret = number;
    return *text == '\0' ? result : NUMBER_NONE;
}

static enum number read_magnitude(const char *text, uint64_t *ret)
{
    size_t length = strlen(text);

    if (!is_digit(text[0]))
        return NUMBER_NONE;
    if (strcmp(text, "0") == 0) {
        *ret = 0;
        return NUMBER_OK;
    }
    if (text[0] == '0' && text[1] == 'b')
        return read_digits(text + 2, length - 2, 2, ret);
    if (text[0] == '0' && text[1] == 'x')
        return read_digits(text + 2, length - 2, 16, ret);
    if (text[0] == '0') /* from its zero on, because 0_ is a number, too */
        return read_digits(text, length, 8, ret);
    if (strchr(text, ':') != NULL)
        return read_sexagesimal(text, ret);
    return read_digits(text, length, 10, ret);
}

static enum number read_int(const char *text, int64_t *ret)
{
    bool is_negative = text[0] == '-';
    uint64_t magnitude = 0;
    enum number result;

    if (text[0] == '-' || text[0] == '+')
        text++;
    result = read_magnitude(text, &magnitude);
    if (result != NUMBER_OK)
        return result;
    if (magnitude > (uint64_t)INT64_MAX + (is_negative ? 1 : 0))
        return NUMBER_BIG;
    *ret = is_negative ? (int64_t)(0 - magnitude) : (int64_t)magnitude;
    return NUMBER_OK;
}

/* Digits, a point, digits, and an exponent that must carry its sign; or a point and digits. */
static bool read_real(const char *text, double *ret)
{
    char clean[NUMBER_TEXT_MAX];
    size_t count = 0;
    const char *at = text;
    bool has_digit = false;

    if (*at == '-' || *at == '+')
        at++;
    /* Without digits before the point, one must follow at once, and there may be no sign. */
    if (!is_digit(*at) && (*at != '.' || at != text || !is_digit(at[1])))
        return false;
    for (; is_digit(*at) || *at == '_'; at++)
        has_digit = true;
    if (*at++ != '.')
        return false;
    for (; is_digit(*at) || *at == '_'; at++)
        has_digit = has_digit || *at != '_';
    if (!has_digit)
        return false;
    if (*at == 'e' || *at == 'E') {
        at++;
        if (*at != '-' && *at != '+')
            return false;
        at++;
        if (!is_digit(*at))
            return false;
        at += strspn(at, "0123456789");
    }
    if (*at != '\0' || strlen(text) >= sizeof(clean))
        return false;
    for (at = text; *at != '\0'; at++)
        if (*at != '_')
            clean[count++] = *at;
    clean[count] = '\0';
    *ret = strtod(clean, NULL); /* the process keeps the C locale for numbers */
    return isfinite(*ret);
}

static json_t *read_plain(const char *text)
{
    bool is_on = false;
    int64_t number = 0;
    double real = 0;

    if (is_null(text))
        return json_null();
    if (read_bool(text, &is_on))
        return json_boolean(is_on);
    if (read_int(text, &number) == NUMBER_OK)
        return json_integer(number);
    if (read_real(text, &real))
        return json_real(real);
    return json_string(text);
}

json_t *yaml_scalar_read(const char *text, const char *tag, bool is_plain)
{
    bool is_on = false;
    int64_t number = 0;
    double real = 0;

    if (is_plain)
        return read_plain(text);
    if (tag == NULL || strcmp(tag, "!") == 0 || strcmp(tag, YAML_STR_TAG) == 0)
        return json_string(text);
    if (strcmp(tag, YAML_NULL_TAG) == 0)
        return json_null();
    if (strcmp(tag, YAML_BOOL_TAG) == 0 && read_bool(text, &is_on))
        return json_boolean(is_on);
    if (strcmp(tag, YAML_INT_TAG) == 0 && read_int(text, &number) == NUMBER_OK)
        return json_integer(number);
    if (strcmp(tag, YAML_FLOAT_TAG) == 0 && read_real(text, &real))
        return json_real(real);
    if (strcmp(tag, YAML_FLOAT_TAG) == 0 && read_int(text, &number) == NUMBER_OK)
        return json_real((double)number);
    return NULL;
}

/* YYYY-M-D and what follows: a date to YAML. */
static bool is_date(const char *text)
{
    return strspn(text, "0123456789") == 4 && text[4] == '-' && is_digit(text[5]);
}

bool yaml_scalar_is_ambiguous(const char *text)
{
    static const char *const words[] = {"=", "<<", ".inf", ".Inf", ".INF", ".nan", ".NaN", ".NAN"};
    bool is_on = false;
    int64_t number = 0;
    double real = 0;
    const char *unsigned_text = text[0] == '-' || text[0] == '+' ? text + 1 : text;

    return is_null(text) || read_bool(text, &is_on) || read_int(text, &number) != NUMBER_NONE ||
           read_real(text, &real) || is_date(text) ||
           is_one_of(unsigned_text, words, PGH_COUNT(words));
}
