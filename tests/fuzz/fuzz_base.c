/* The small texts of base: numbers, times, LSNs, base64. What is read back must be what was
 * read. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "pgheir/base/base64.h"
#include "pgheir/base/clock.h"
#include "pgheir/base/mem.h"
#include "pgheir/base/str.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_numbers(const char *text)
{
    int64_t number;
    uint64_t natural;
    bool flag;

    if (str_parse_uint64(text, &natural) && natural <= INT64_MAX) {
        pgh_assert(str_parse_int64(text, &number));
        pgh_assert((uint64_t)number == natural);
    }
    if (str_parse_int64(text, &number)) {
        char again[32];
        int64_t read_again;

        pgh_assert(str_format(again, sizeof(again), "%lld", (long long)number));
        pgh_assert(str_parse_int64(again, &read_again));
        pgh_assert(read_again == number);
    }
    (void)str_parse_bool(text, &flag);
    (void)str_parse_bytes(text, &number);
    if (str_parse_duration_ms(text, 1000, &number))
        pgh_assert(number >= -INT64_MAX / 1000 - 1 && number <= INT64_MAX / 1000 + 1);
}

static void
check_times(const char *text)
{
    char again[CLOCK_ISO_SIZE];
    int64_t wall_ms;
    int64_t read_again_ms;
    int has_zone;

    if (clock_iso_parse(text, &wall_ms, &has_zone) != 0)
        return;
    pgh_assert(has_zone == 0 || has_zone == 1);
    if (clock_iso_format(wall_ms, again)[0] == '\0')
        return;
    pgh_assert(clock_iso_parse(again, &read_again_ms, &has_zone) == 0);
    pgh_assert(read_again_ms == wall_ms);
}

static void
check_lsn(const char *text)
{
    char again[LSN_TEXT_SIZE];
    uint64_t lsn;
    uint64_t read_again;

    if (!lsn_parse(text, &lsn))
        return;
    pgh_assert(lsn_parse(lsn_format(lsn, again), &read_again));
    pgh_assert(read_again == lsn);
}

static void
check_base64(const char *text, size_t length)
{
    unsigned char *bytes = mem_new(base64_decoded_max(length) + 1, 1);
    size_t bytes_length;
    struct buf again;

    if (base64_decode(text, length, bytes, &bytes_length)) {
        pgh_assert(bytes_length <= base64_decoded_max(length));
        buf_init(&again, length);
        pgh_assert(base64_encode(&again, bytes, bytes_length) == RC_OK);
        /* Strict: each byte string has exactly one text. */
        pgh_assert(again.length == length);
        pgh_assert(memcmp(buf_text(&again), text, length) == 0);
        buf_done(&again);
    }
    mem_free(bytes);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = mem_new(size + 1, 1);

    if (size > 0)
        memcpy(text, data, size);
    check_numbers(text);
    check_times(text);
    check_lsn(text);
    check_base64(text, strlen(text));
    mem_free(text);
    return 0;
}
