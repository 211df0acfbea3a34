#include "restart.h"

#include <sys/wait.h>

#include "pgheir/base/base.h"
#include "pgheir/supervisor/proto.h"

static bool is_decision(int code)
{
    return code == AGENT_EXIT_STOPPED || code == AGENT_EXIT_REFUSED || code == AGENT_EXIT_LOG_QUEUE;
}

enum restart_verdict restart_judge(const struct restart_facts *facts, int *ret_code)
{
    int code = WIFEXITED(facts->status) ? WEXITSTATUS(facts->status) : -1;

    /* Asked to stop before it had begun (its handler for SIGTERM perhaps not even set), and
     * nothing runs. */
    if (facts->is_shutting_down && !facts->is_greeted && !facts->is_postgres_running) {
        *ret_code = is_decision(code) ? code : AGENT_EXIT_STOPPED;
        return RESTART_LEAVE;
    }
    if (code == AGENT_EXIT_REPLACE && facts->lived_ms >= RESTART_REPLACE_MS)
        return RESTART_REPLACE;
    if (!is_decision(code))
        return RESTART_CRASH;
    /* One that did not know that PostgreSQL runs cannot have decided to end it: see enum
     * agent_exit. */
    if (facts->is_postgres_running && !facts->is_greeted)
        return RESTART_CRASH;
    *ret_code = code;
    return RESTART_LEAVE;
}

int64_t restart_delay_ms(int crash_count)
{
    static const int64_t delays_ms[] = {0, 100, 500, 2000};
    int last = (int)PGH_COUNT(delays_ms) - 1;
    int idx = crash_count - 1;

    if (idx < 0)
        idx = 0;
    return delays_ms[idx < last ? idx : last];
}
