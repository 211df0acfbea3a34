#include "pgheir/io/pg_conn.h"

#include "pgheir/base/mem.h"
#include "pgheir/base/str.h"
#include "pgheir/io/loop.h"

#include <string.h>

struct pg_probe {
    struct pg_conn *conn;
    int64_t deadline_ms;
    pg_probe_fn *on_done;
    void *arg;
};

const char *pg_probe_verdict_text(enum pg_probe_verdict verdict)
{
    static const char *const texts[PG_PROBE_VERDICT_COUNT] = {
        [PG_PROBE_ALIVE] = "alive",       [PG_PROBE_FULL] = "all connection slots taken",
        [PG_PROBE_STARTING] = "starting", [PG_PROBE_STOPPING] = "stopping",
        [PG_PROBE_LOGIN] = "login refused", [PG_PROBE_REFUSED] = "nobody listens",
        [PG_PROBE_SILENT] = "no answer",  [PG_PROBE_BROKEN] = "broken",
    };
    pgh_assert(verdict >= 0 && verdict < PG_PROBE_VERDICT_COUNT);
    return texts[verdict];
}

/* Source: PostgreSQL, errcodes.txt; postmaster.c, ProcessStartupPacket() for the three texts of
 * cannot_connect_now. Our sessions speak C; before a login the server's own lc_messages counts, so
 * a translated text is taken for starting: the answer itself proves the postmaster alive. */
enum pg_probe_verdict pg_probe_judge(const struct pg_answer *answer)
{
    const char *state = answer->sqlstate;
    const char *text = answer->err.text;
    if (answer->rc == RC_OK)
        return PG_PROBE_ALIVE;
    if (answer->rc == RC_TIMEOUT)
        return PG_PROBE_SILENT;
    if (answer->rc == RC_UNREACHABLE)
        return strstr(text, "Connection refused") != NULL || strstr(text, "No such file") != NULL
                   ? PG_PROBE_REFUSED
                   : PG_PROBE_BROKEN;
    if (str_equal(state, "53300"))
        return PG_PROBE_FULL;
    if (str_equal(state, "57P03"))
        return strstr(text, "shutting down") != NULL ? PG_PROBE_STOPPING
                                                                 : PG_PROBE_STARTING;
    if (str_starts_with(state, "28") || str_equal(state, "3D000") || str_equal(state, "42501"))
        return PG_PROBE_LOGIN;
    return PG_PROBE_BROKEN;
}

static void probe_done(struct pg_probe *probe, struct pg_answer *answer)
{
    enum pg_probe_verdict verdict = pg_probe_judge(answer);
    pg_probe_fn *on_done = probe->on_done;
    void *arg = probe->arg;
    struct err err = answer->err;
    pg_probe_free(probe);
    on_done(verdict, &err, arg);
}

static void on_one(struct pg_answer *answer, void *arg)
{
    probe_done(arg, answer);
}

static void on_open(struct pg_answer *answer, void *arg)
{
    struct pg_probe *probe = arg;
    if (answer->rc != RC_OK) {
        probe_done(probe, answer);
        return;
    }
    enum rc rc = pg_conn_query(probe->conn, "SELECT 1", 0, NULL, 0, probe->deadline_ms, on_one,
                               probe, &answer->err);
    pgh_assert(rc == RC_OK); /* open and idle: nothing can refuse it */
}

enum rc pg_probe_start(struct loop *loop, const struct pg_conn_target *target, int64_t deadline_ms,
                       pg_probe_fn *on_done, void *arg, struct pg_probe **ret, struct err *err)
{
    struct pg_probe *probe = mem_new(1, sizeof *probe);
    probe->conn = pg_conn_new(loop, "health check");
    probe->deadline_ms = deadline_ms;
    probe->on_done = on_done;
    probe->arg = arg;
    enum rc rc = pg_conn_open(probe->conn, PG_CONN_HEARTBEAT, target, deadline_ms, on_open, probe,
                              err);
    if (rc != RC_OK) {
        pg_probe_free(probe);
        return rc;
    }
    *ret = probe;
    return RC_OK;
}

void pg_probe_free(struct pg_probe *probe)
{
    if (probe == NULL)
        return;
    pg_conn_free(probe->conn);
    mem_free(probe);
}
