/* Small texts of PostgreSQL that others write: configuration lines, connection strings, histories,
 * postmaster.pid, pg_controldata's output. What is quoted must be read back. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "pgheir/base/mem.h"
#include "pgheir/codec/pg_control_data.h"
#include "pgheir/codec/pg_history.h"
#include "pgheir/codec/pg_pidfile.h"
#include "pgheir/codec/pg_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_quotes(const char *text)
{
    struct buf line, value;
    char name[16], slot[PG_SLOT_NAME_SIZE];
    buf_init(&line, 1024 * 1024);
    buf_init(&value, 1024 * 1024);
    if (pg_text_conf_line(&line, "name", text, NULL) == RC_OK) {
        pgh_assert(strchr(buf_text(&line), '\n') == buf_text(&line) + line.length - 1);
        pgh_assert(pg_text_conf_line_parse(buf_text(&line), name, sizeof name, &value));
        pgh_assert(strcmp(buf_text(&value), text) == 0);
    }
    buf_clear(&line);
    if (pg_text_conninfo_add(&line, "user", text, NULL) == RC_OK) {
        pgh_assert(pg_text_conninfo_get(buf_text(&line), "user", &value));
        pgh_assert(strcmp(buf_text(&value), text) == 0);
    }
    (void)pg_text_conf_line_parse(text, name, sizeof name, &value);
    (void)pg_text_conninfo_get(text, "user", &value);
    const char *at = pg_text_slot_name(text, slot);
    pgh_assert(strspn(at, "abcdefghijklmnopqrstuvwxyz0123456789_") == strlen(at));
    buf_done(&value);
    buf_done(&line);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pg_history *history = mem_new(1, sizeof *history);
    struct pg_pidfile pidfile;
    struct pg_control_data control;
    char *text = mem_new(size + 1, 1);
    uint64_t lsn;
    if (size > 0)
        memcpy(text, data, size);
    if (pg_history_parse((const char *)data, size, 1000, history, NULL) == RC_OK)
        for (int i = 0; i < history->count; i++)
            pgh_assert(pg_history_find_switch(history, history->rows[i].timeline, &lsn));
    if (pg_pidfile_parse((const char *)data, size, &pidfile, NULL) == RC_OK)
        pgh_assert(pidfile.pid > 0);
    (void)pg_control_data_parse_text(text, &control, NULL);
    check_quotes(text);
    mem_free(text);
    mem_free(history);
    return 0;
}
