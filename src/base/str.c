#include "pgheir/base/str.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

bool
str_copy(char *dst, size_t size, const char *src)
{
    size_t length;

    pgh_assert(dst != NULL);
    pgh_assert(size > 0);
    length = strnlen(src, size);
    if (length == size) {
        dst[0] = '\0';
        return false;
    }
    memmove(dst, src, length + 1);
    return true;
}

bool
str_format(char *dst, size_t size, const char *fmt, ...)
{
    va_list args;
    int length;

    pgh_assert(size > 0);
    va_start(args, fmt);
    length = vsnprintf(dst, size, fmt, args);
    va_end(args);
    return length >= 0 && (size_t)length < size;
}

bool
str_equal(const char *a, const char *b)
{
    if (a == NULL || b == NULL)
        return a == b;
    return strcmp(a, b) == 0;
}

/* tolower() would ask the locale. */
static char
ascii_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

bool
str_equal_nocase(const char *a, const char *b)
{
    if (a == NULL || b == NULL)
        return a == b;
    while (*a != '\0' && ascii_lower(*a) == ascii_lower(*b)) {
        a++;
        b++;
    }
    return ascii_lower(*a) == ascii_lower(*b);
}

bool
str_starts_with(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

bool
str_is_empty(const char *text)
{
    return text == NULL || text[0] == '\0';
}

bool
str_equal_secret(const char *given, const char *expected)
{
    size_t given_length = strlen(given);
    size_t expected_length = strlen(expected);
    volatile unsigned difference = given_length == expected_length ? 0 : 1;

    /* One step per byte of the given text, whatever the expected one is: what the caller can
     * measure he knew already. */
    for (size_t i = 0; i < given_length; i++) {
        size_t other = expected_length == 0 ? 0 : i % expected_length;

        difference |= (unsigned)(unsigned char)given[i] ^ (unsigned)(unsigned char)expected[other];
    }
    return difference == 0;
}

bool
str_parse_uint64(const char *text, uint64_t *ret)
{
    uint64_t number = 0;

    if (str_is_empty(text))
        return false;
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9')
            return false;
        if (__builtin_mul_overflow(number, UINT64_C(10), &number) ||
            __builtin_add_overflow(number, (uint64_t)(*text - '0'), &number))
            return false;
    }
    *ret = number;
    return true;
}

bool
str_parse_int64(const char *text, int64_t *ret)
{
    bool negative = text != NULL && text[0] == '-';
    uint64_t magnitude;

    if (!str_parse_uint64(negative ? text + 1 : text, &magnitude))
        return false;
    if (magnitude > (uint64_t)INT64_MAX + (negative ? 1 : 0))
        return false;
    *ret = negative ? (int64_t)(0 - magnitude) : (int64_t)magnitude;
    return true;
}

bool
str_parse_bool(const char *text, bool *ret)
{
    static const char *const yes[] = {"on", "true", "yes", "1"};
    static const char *const no[] = {"off", "false", "no", "0"};

    for (size_t i = 0; i < PGH_COUNT(yes); i++) {
        if (str_equal_nocase(text, yes[i])) {
            *ret = true;
            return true;
        }
        if (str_equal_nocase(text, no[i])) {
            *ret = false;
            return true;
        }
    }
    return false;
}

struct str_unit {
    const char *name;
    int64_t factor;
};

/* The longest fraction that is read digit by digit; the rest cannot change a rounded result. */
enum { STR_FRACTION_DIGITS = 6 };

static const char *
skip_blanks(const char *text)
{
    while (*text == ' ' || *text == '\t')
        text++;
    return text;
}

/* Finds the factor of the unit that is all that text holds, apart from blanks around it. */
static bool
unit_find(const char *text, const struct str_unit *units, size_t count, int64_t *ret_factor)
{
    text = skip_blanks(text);
    for (size_t i = 0; i < count; i++) {
        if (str_starts_with(text, units[i].name) &&
            *skip_blanks(text + strlen(units[i].name)) == '\0') {
            *ret_factor = units[i].factor;
            return true;
        }
    }
    return false;
}

/* Reads [-]digits[.digits] [unit] as a whole number of the smallest unit. The table ends in the
 * unit "" that stands for none given. */
static bool
str_parse_quantity(const char *text, const struct str_unit *units, size_t count, int64_t *ret)
{
    int64_t whole = 0;
    int64_t fraction = 0;
    int64_t scale = 1;
    int64_t factor;
    int64_t small;
    int64_t total;
    bool negative;
    bool digits = false;

    if (text == NULL)
        return false;
    text = skip_blanks(text);
    negative = *text == '-';
    if (negative)
        text++;
    for (; *text >= '0' && *text <= '9'; text++, digits = true) {
        if (__builtin_mul_overflow(whole, 10, &whole) ||
            __builtin_add_overflow(whole, *text - '0', &whole))
            return false;
    }
    if (!digits)
        return false;
    if (*text == '.') {
        int read = 0;

        for (text++; *text >= '0' && *text <= '9'; text++, read++) {
            if (read < STR_FRACTION_DIGITS) {
                fraction = fraction * 10 + (*text - '0');
                scale *= 10;
            }
        }
        if (read == 0)
            return false;
    }
    if (!unit_find(text, units, count, &factor) || __builtin_mul_overflow(whole, factor, &total) ||
        __builtin_mul_overflow(fraction, factor, &small) ||
        __builtin_add_overflow(total, (small + scale / 2) / scale, &total))
        return false;
    *ret = negative ? -total : total;
    return true;
}

bool
str_parse_duration_ms(const char *text, int64_t base_unit_ms, int64_t *ret_ms)
{
    const struct str_unit units[] = {
        {"us", 1},
        {"ms", 1000},
        {"s", 1000000},
        {"min", INT64_C(60) * 1000000},
        {"h", INT64_C(3600) * 1000000},
        {"d", INT64_C(86400) * 1000000},
        {"", base_unit_ms * 1000},
    };
    int64_t total_us;

    pgh_assert(base_unit_ms > 0);
    if (!str_parse_quantity(text, units, PGH_COUNT(units), &total_us))
        return false;
    *ret_ms = total_us / 1000 + (total_us % 1000) / 500;
    return true;
}

bool
str_parse_bytes(const char *text, int64_t *ret_bytes)
{
    static const struct str_unit units[] = {
        {"kB", INT64_C(1) << 10}, {"MB", INT64_C(1) << 20}, {"GB", INT64_C(1) << 30},
        {"TB", INT64_C(1) << 40}, {"B", 1},                 {"", 1},
    };

    return str_parse_quantity(text, units, PGH_COUNT(units), ret_bytes);
}

const char *
lsn_format(uint64_t lsn, char out[static LSN_TEXT_SIZE])
{
    (void)snprintf(out, LSN_TEXT_SIZE, "%X/%X", (unsigned)(lsn >> 32), (unsigned)lsn);
    return out;
}

/* Reads one half of an LSN, 1 to 8 hexadecimal digits, and moves the cursor behind it. */
static bool
lsn_read_half(const char **cursor, uint64_t *ret_half)
{
    uint64_t half = 0;
    int digits = 0;

    for (; digits < 9; (*cursor)++, digits++) {
        char c = ascii_lower(**cursor);

        if (c >= '0' && c <= '9')
            half = half << 4 | (uint64_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            half = half << 4 | (uint64_t)(c - 'a' + 10);
        else
            break;
    }
    *ret_half = half;
    return digits >= 1 && digits <= 8;
}

bool
lsn_parse(const char *text, uint64_t *ret_lsn)
{
    const char *cursor = text;
    uint64_t high;
    uint64_t low;

    if (text == NULL || !lsn_read_half(&cursor, &high) || *cursor++ != '/' ||
        !lsn_read_half(&cursor, &low) || *cursor != '\0')
        return false;
    *ret_lsn = high << 32 | low;
    return true;
}
