#include "tests/lib/check.h"

#include <time.h>

#include "pgheir/base/base.h"
#include "pgheir/base/clock.h"

static void
test_boot_clock_runs_and_is_never_zero(void **state)
{
    int64_t before_us = clock_boot_us();
    int64_t before_ms = clock_boot_ms();
    int64_t deadline_ms = before_ms + 5000;
    struct timespec direct;

    (void)state;
    assert_true(before_us > 0);
    assert_true(before_ms > 0);
    while (clock_boot_ms() <= before_ms)
        assert_true(clock_boot_ms() < deadline_ms);
    assert_true(clock_boot_us() > before_us);
    /* Boot time, not the wall and not the monotonic clock that stands still in a suspend. */
    assert_int_equal(clock_gettime(CLOCK_BOOTTIME, &direct), 0);
    assert_in_range((uint64_t)clock_boot_ms() - (uint64_t)direct.tv_sec * 1000, 0, 2000);
}

static void
test_wall_clock_is_the_time_of_day(void **state)
{
    int64_t now_ms = (int64_t)time(NULL) * 1000;

    (void)state;
    assert_in_range((uint64_t)(clock_wall_ms() - now_ms + 2000), 0, 6000);
}

static void
test_format(void **state)
{
    char text[CLOCK_ISO_SIZE];

    (void)state;
    assert_string_equal(clock_iso_format(INT64_C(1795445697001), text),
                        "2026-11-23T14:54:57.001000+00:00");
    assert_string_equal(clock_iso_format(0, text), "1970-01-01T00:00:00.000000+00:00");
    assert_string_equal(clock_iso_format(-1, text), "1969-12-31T23:59:59.999000+00:00");
    assert_string_equal(clock_iso_format(INT64_MAX, text), "");
    assert_string_equal(clock_iso_format(INT64_MIN, text), "");
}

static void
test_parse_good(void **state)
{
    static const struct {
        const char *text;
        int64_t wanted_ms;
        int has_zone;
    } good[] = {
        {"2026-11-23T14:54:57.001196+00:00", INT64_C(1795445697001), 1},
        {"2026-11-23T14:54:57.001Z", INT64_C(1795445697001), 1},
        {"2026-11-23 14:54:57.001", INT64_C(1795445697001), 0},
        {"2026-11-23T14:54:57", INT64_C(1795445697000), 0},
        {"2026-11-23T14:54", INT64_C(1795445640000), 0},
        {"2026-11-23T14:54+0130", INT64_C(1795440240000), 1},
        {"2026-11-23T14:54 +01:30", INT64_C(1795440240000), 1},
        {"2026-11-23T14:54:00-02", INT64_C(1795452840000), 1},
        {"2028-02-29T00:00:00Z", INT64_C(1835395200000), 1},
        {"1970-01-01T00:00:00.9Z", 900, 1},
    };

    (void)state;
    for (size_t i = 0; i < PGH_COUNT(good); i++) {
        int64_t wall_ms = -77;
        int has_zone = -77;

        assert_int_equal(clock_iso_parse(good[i].text, &wall_ms, &has_zone), 0);
        assert_int_equal(wall_ms, good[i].wanted_ms);
        assert_int_equal(has_zone, good[i].has_zone);
    }
}

static void
test_parse_bad(void **state)
{
    static const char *const bad[] = {
        "",
        "now",
        "2026-11-23",
        "2026-11-23T",
        "2026-11-23T14",
        "2026-11-23T14:5",
        "26-11-23T14:54",
        "2026-02-29T14:54",
        "2026-13-01T14:54",
        "2026-00-10T14:54",
        "2026-11-31T14:54",
        "2026-11-23T24:00",
        "2026-11-23T14:60",
        "2026-11-23T14:54:60",
        "2026-11-23T14:54:57.",
        "2026-11-23T14:54:57.1234567890",
        "2026-11-23T14:54:57+",
        "2026-11-23T14:54:57+1",
        "2026-11-23T14:54:57+24:00",
        "2026-11-23T14:54:57+01:60",
        "2026-11-23T14:54:57 ",
        "2026-11-23T14:54:57Zulu",
        "2026-11-23T14:54:57+01:30 ",
        " 2026-11-23T14:54:57",
        "2026/11/23T14:54:57",
        "20a6-11-23T14:54:57",
        "2026-1x-23T14:54:57",
        "2026-11-23T1:54:57",
        "2026-11-23T14:54:5:",
    };
    int64_t wall_ms = 77;
    int has_zone = 77;

    (void)state;
    for (size_t i = 0; i < PGH_COUNT(bad); i++) {
        assert_int_equal(clock_iso_parse(bad[i], &wall_ms, &has_zone), -1);
        assert_int_equal(wall_ms, 77);
        assert_int_equal(has_zone, 77);
    }
    assert_int_equal(clock_iso_parse(NULL, &wall_ms, &has_zone), -1);
}

static void
test_what_is_written_is_read(void **state)
{
    (void)state;
    for (int64_t wall_ms = -1000000007; wall_ms < INT64_C(4000000000000);
         wall_ms += INT64_C(987654321)) {
        char text[CLOCK_ISO_SIZE];
        int64_t read_ms;
        int has_zone;

        assert_int_equal(clock_iso_parse(clock_iso_format(wall_ms, text), &read_ms, &has_zone), 0);
        assert_int_equal(read_ms, wall_ms);
        assert_int_equal(has_zone, 1);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_boot_clock_runs_and_is_never_zero),
        cmocka_unit_test(test_wall_clock_is_the_time_of_day),
        cmocka_unit_test(test_format),
        cmocka_unit_test(test_parse_good),
        cmocka_unit_test(test_parse_bad),
        cmocka_unit_test(test_what_is_written_is_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
