#include "ctl.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "pgheir/base/clock.h"
#include "pgheir/base/str.h"

enum { ANSWER_MAX = 64 * 1024 };

int ctl_fail(const char *fmt, ...)
{
    va_list args;

    (void)fflush(stdout);
    (void)fputs("Error: ", stderr);
    va_start(args, fmt);
    (void)vfprintf(stderr, fmt, args);
    va_end(args);
    (void)fputc('\n', stderr);
    return CTL_FAILED;
}

void ctl_warn(const char *fmt, ...)
{
    char time[CTL_TIME_SIZE];
    va_list args;

    (void)fflush(stdout);
    (void)fprintf(stderr, "%s - WARNING - ", ctl_timestamp(false, time));
    va_start(args, fmt);
    (void)vfprintf(stderr, fmt, args);
    va_end(args);
    (void)fputc('\n', stderr);
}

void ctl_print(struct buf *text)
{
    (void)fwrite(buf_text(text), 1, text->length, stdout);
    buf_done(text);
}

void ctl_note(struct ctl *ctl, enum ctl_exit end)
{
    if ((int)end > ctl->worst)
        ctl->worst = (int)end;
}

const char *ctl_timestamp(bool with_fraction, char out[static CTL_TIME_SIZE])
{
    int64_t now_ms = clock_wall_ms();
    time_t seconds = (time_t)(now_ms / 1000);
    struct tm parts;
    size_t length;

    out[0] = '\0';
    if (localtime_r(&seconds, &parts) == NULL)
        return out;
    length = strftime(out, CTL_TIME_SIZE, "%Y-%m-%d %H:%M:%S", &parts);
    /* Five digits: the original cuts the sixth. */
    if (with_fraction)
        (void)snprintf(out + length, CTL_TIME_SIZE - length, ".%03d00", (int)(now_ms % 1000));
    return out;
}

/* One line without its end; false at the end of input. */
static bool read_line(struct buf *out)
{
    int byte;

    buf_clear(out);
    (void)fflush(stdout);
    while ((byte = getchar()) != EOF && byte != '\n') {
        const char letter = (char)byte;

        (void)buf_append(out, &letter, 1); /* what is longer is no answer anyhow */
    }
    if (byte == EOF && out->length == 0) {
        (void)fputs("Aborted!\n", stderr);
        return false;
    }
    return true;
}

int ctl_aborted(void)
{
    return CTL_FAILED;
}

bool ctl_prompt(const char *question, const char *fallback, struct buf *answer)
{
    (void)printf("%s [%s]: ", question, fallback);
    if (!read_line(answer))
        return false;
    if (answer->length == 0)
        (void)buf_puts(answer, fallback); /* an answer is never longer than its ceiling */
    return true;
}

bool ctl_confirm(const char *question, bool *ret_yes)
{
    struct buf answer;
    bool is_read;

    buf_init(&answer, ANSWER_MAX);
    for (;;) {
        (void)printf("%s [y/N]: ", question);
        is_read = read_line(&answer);
        *ret_yes = is_read && (str_equal_nocase(buf_text(&answer), "y") ||
                               str_equal_nocase(buf_text(&answer), "yes"));
        if (!is_read || *ret_yes || answer.length == 0 ||
            str_equal_nocase(buf_text(&answer), "n") || str_equal_nocase(buf_text(&answer), "no"))
            break;
        (void)printf("Error: invalid input\n");
    }
    buf_done(&answer);
    return is_read;
}

const char *ctl_next_hour(char out[static CTL_TIME_SIZE])
{
    time_t seconds = (time_t)(clock_wall_ms() / 1000) + 3600;
    struct tm parts;

    out[0] = '\0';
    if (localtime_r(&seconds, &parts) != NULL)
        (void)strftime(out, CTL_TIME_SIZE, "%Y-%m-%dT%H:%M", &parts);
    return out;
}

/* Minutes east of Greenwich, as the end of an ISO time says it: Z, +02:00, -0330, +02. */
static int read_offset(const char *text)
{
    const char *sign = strpbrk(text + strcspn(text, "T "), "+-");
    int digits[4] = {0, 0, 0, 0};
    int count = 0;

    if (sign == NULL)
        return 0;
    for (const char *at = sign + 1; *at != '\0' && count < 4; at++) {
        if (*at >= '0' && *at <= '9')
            digits[count++] = *at - '0';
    }
    count = (digits[0] * 10 + digits[1]) * 60 + digits[2] * 10 + digits[3];
    return *sign == '-' ? -count : count;
}

/* A time without a zone is meant as the clock on the wall shows it. */
static int local_offset(int64_t as_utc_ms, int64_t *ret_wall_ms)
{
    time_t seconds = (time_t)(as_utc_ms / 1000);
    struct tm parts;

    (void)gmtime_r(&seconds, &parts);
    parts.tm_isdst = -1;
    seconds = mktime(&parts);
    (void)localtime_r(&seconds, &parts);
    *ret_wall_ms = (int64_t)seconds * 1000;
    return (int)(parts.tm_gmtoff / 60);
}

int ctl_read_time(const char *text, char out[static CTL_TIME_SIZE])
{
    int64_t wall_ms;
    int has_zone;
    int offset;
    time_t seconds;
    struct tm parts;
    size_t length;

    out[0] = '\0';
    if (str_is_empty(text) || str_equal(text, "now"))
        return CTL_DONE;
    if (clock_iso_parse(text, &wall_ms, &has_zone) != 0)
        return ctl_fail("Unable to parse scheduled timestamp (%s). It should be in an "
                        "unambiguous format (e.g. ISO 8601)",
                        text);
    offset = has_zone != 0 ? read_offset(text) : local_offset(wall_ms, &wall_ms);
    seconds = (time_t)(wall_ms / 1000 + offset * 60);
    (void)gmtime_r(&seconds, &parts);
    length = strftime(out, CTL_TIME_SIZE, "%Y-%m-%dT%H:%M:%S", &parts);
    (void)snprintf(out + length, CTL_TIME_SIZE - length, "%c%02d:%02d", offset < 0 ? '-' : '+',
                   abs(offset) / 60, abs(offset) % 60);
    return CTL_DONE;
}

int ctl_choose_time(const char *question, const char *given, bool force,
                    char out[static CTL_TIME_SIZE])
{
    struct buf answer;
    int code = CTL_DONE;

    buf_init(&answer, ANSWER_MAX);
    if (given != NULL)
        (void)buf_puts(&answer, given);
    else if (!force && !ctl_prompt(question, "now", &answer))
        code = ctl_aborted();
    if (code == CTL_DONE)
        code = ctl_read_time(buf_text(&answer), out);
    buf_done(&answer);
    return code;
}
