#include "pgheir/base/clock.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "pgheir/base/base.h"

static struct timespec
clock_read(clockid_t id)
{
    struct timespec now;
    int rc = clock_gettime(id, &now);

    pgh_assert(rc == 0);
    return now;
}

int64_t
clock_boot_ms(void)
{
    return clock_boot_us() / 1000;
}

int64_t
clock_boot_us(void)
{
    struct timespec now = clock_read(CLOCK_BOOTTIME);
    int64_t now_us = (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;

    /* 0 means "never" elsewhere; in a fresh time namespace the clock may be about there. */
    return now_us < 1000 ? 1000 : now_us;
}

int64_t
clock_wall_ms(void)
{
    struct timespec now = clock_read(CLOCK_REALTIME);

    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

const char *
clock_iso_format(int64_t wall_ms, char out[static CLOCK_ISO_SIZE])
{
    int64_t fraction_ms = wall_ms % 1000;
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm parts;
    size_t used;

    if (fraction_ms < 0) {
        fraction_ms += 1000;
        seconds--;
    }
    /* A year has four digits in this format: what is beyond is no date of ours. */
    if (gmtime_r(&seconds, &parts) == NULL || parts.tm_year > 9999 - 1900 ||
        parts.tm_year < 1000 - 1900) {
        out[0] = '\0';
        return out;
    }
    /* Every part has its place already, but only strftime() knows that for the compiler. */
    used = strftime(out, CLOCK_ISO_SIZE, "%Y-%m-%dT%H:%M:%S", &parts);
    (void)snprintf(out + used, CLOCK_ISO_SIZE - used, ".%03u000+00:00",
                   (unsigned)fraction_ms % 1000);
    return out;
}

/* Reads exactly count digits and moves the cursor behind them. */
static int
iso_read_digits(const char **cursor, int count, int *ret_number)
{
    int number = 0;

    for (int i = 0; i < count; i++) {
        if ((*cursor)[i] < '0' || (*cursor)[i] > '9')
            return -1;
        number = number * 10 + ((*cursor)[i] - '0');
    }
    *cursor += count;
    *ret_number = number;
    return 0;
}

static int
iso_read_char(const char **cursor, char wanted)
{
    if (**cursor != wanted)
        return -1;
    (*cursor)++;
    return 0;
}

/* Reads the digits after the point, of which three count. */
static int
iso_read_fraction(const char **cursor, int *ret_ms)
{
    int number = 0;
    int scale = 100;
    int digits = 0;

    for (; **cursor >= '0' && **cursor <= '9'; (*cursor)++, digits++) {
        number += (**cursor - '0') * scale;
        scale /= 10;
    }
    *ret_ms = number;
    return digits > 0 && digits <= 9 ? 0 : -1;
}

/* Reads Z, +hh, +hhmm or +hh:mm up to the end of the text. */
static int
iso_read_zone(const char *cursor, int *ret_offset_minutes)
{
    int sign;
    int hours;
    int minutes = 0;

    if ((*cursor == 'Z' || *cursor == 'z') && cursor[1] == '\0') {
        *ret_offset_minutes = 0;
        return 0;
    }
    if (*cursor != '+' && *cursor != '-')
        return -1;
    sign = *cursor++ == '-' ? -1 : 1;
    if (iso_read_digits(&cursor, 2, &hours) != 0)
        return -1;
    if (*cursor == ':')
        cursor++;
    if (*cursor != '\0' && iso_read_digits(&cursor, 2, &minutes) != 0)
        return -1;
    if (*cursor != '\0' || hours > 23 || minutes > 59)
        return -1;
    *ret_offset_minutes = sign * (hours * 60 + minutes);
    return 0;
}

static int
iso_read_time(const char **cursor, struct tm *parts, int *ret_ms)
{
    *ret_ms = 0;
    if (iso_read_digits(cursor, 2, &parts->tm_hour) != 0 || iso_read_char(cursor, ':') != 0 ||
        iso_read_digits(cursor, 2, &parts->tm_min) != 0)
        return -1;
    if (**cursor != ':')
        return 0;
    (*cursor)++;
    if (iso_read_digits(cursor, 2, &parts->tm_sec) != 0)
        return -1;
    if (**cursor != '.')
        return 0;
    (*cursor)++;
    return iso_read_fraction(cursor, ret_ms);
}

int
clock_iso_parse(const char *text, int64_t *ret_wall_ms, int *ret_has_zone)
{
    struct tm parts = {0};
    struct tm wanted;
    const char *cursor = text;
    int fraction_ms;
    int offset_minutes = 0;
    int has_zone;
    int64_t seconds;

    if (text == NULL)
        return -1;
    if (iso_read_digits(&cursor, 4, &parts.tm_year) != 0 || iso_read_char(&cursor, '-') != 0 ||
        iso_read_digits(&cursor, 2, &parts.tm_mon) != 0 || iso_read_char(&cursor, '-') != 0 ||
        iso_read_digits(&cursor, 2, &parts.tm_mday) != 0)
        return -1;
    if (iso_read_char(&cursor, 'T') != 0 && iso_read_char(&cursor, ' ') != 0)
        return -1;
    if (iso_read_time(&cursor, &parts, &fraction_ms) != 0)
        return -1;
    if (*cursor == ' ' && cursor[1] != '\0')
        cursor++;
    has_zone = *cursor != '\0';
    if (has_zone && iso_read_zone(cursor, &offset_minutes) != 0)
        return -1;
    parts.tm_year -= 1900;
    parts.tm_mon -= 1;
    wanted = parts;
    seconds = (int64_t)timegm(&parts);
    /* timegm() turns the 31st of February into a day of March: then it was no such time. */
    if (parts.tm_mon != wanted.tm_mon || parts.tm_mday != wanted.tm_mday ||
        parts.tm_hour != wanted.tm_hour || parts.tm_min != wanted.tm_min ||
        parts.tm_sec != wanted.tm_sec)
        return -1;
    *ret_wall_ms = (seconds - (int64_t)offset_minutes * 60) * 1000 + fraction_ms;
    *ret_has_zone = has_zone;
    return 0;
}
