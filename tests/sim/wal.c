/* WAL as a tree of branches: a timeline is a branch with a number, a parent and a fork point. */
#include "sim.h"

int32_t wal_branch_new(struct world *w, int32_t parent, uint64_t fork_lsn, uint32_t timeline,
                       int writer, uint64_t sysid)
{
    struct branch *branch;

    pgh_assert(w->branch_count < BRANCHES_MAX);
    branch = &w->branches[w->branch_count++];
    branch->timeline = timeline;
    branch->parent = parent;
    branch->fork_lsn = fork_lsn;
    branch->end_lsn = fork_lsn;
    branch->acked_lsn = fork_lsn;
    branch->sysid = sysid;
    branch->writer = (int16_t)writer;
    branch->begun_us = w->now_us;
    branch->won_us = w->now_us;
    branch->log_count = 0;
    return w->branch_count - 1;
}

void wal_append(struct world *w, int32_t branch_idx, uint64_t bytes)
{
    struct branch *branch = &w->branches[branch_idx];
    int32_t slot = branch->log_count % WAL_LOG_MAX;

    branch->end_lsn += (bytes + 7) & ~UINT64_C(7);
    branch->log_at_us[slot] = w->now_us;
    branch->log_lsn[slot] = branch->end_lsn;
    branch->log_count++;
}

uint64_t wal_lsn_at(const struct world *w, int32_t branch_idx, int64_t at_us)
{
    const struct branch *branch = &w->branches[branch_idx];
    int32_t oldest = branch->log_count > WAL_LOG_MAX ? branch->log_count - WAL_LOG_MAX : 0;

    for (int32_t i = branch->log_count - 1; i >= oldest; i--)
        if (branch->log_at_us[i % WAL_LOG_MAX] <= at_us)
            return branch->log_lsn[i % WAL_LOG_MAX];
    /* Before what is remembered: the oldest known, or the very beginning. */
    return oldest > 0 ? branch->log_lsn[oldest % WAL_LOG_MAX] : branch->fork_lsn;
}

bool wal_is_on(const struct world *w, int32_t branch, uint64_t lsn, int32_t of, uint64_t of_lsn)
{
    if (branch < 0 || of < 0)
        return false;
    while (of != branch) {
        if (w->branches[of].fork_lsn < of_lsn)
            of_lsn = w->branches[of].fork_lsn;
        of = w->branches[of].parent;
        if (of < 0)
            return false;
    }
    return lsn <= of_lsn;
}

int32_t wal_branch_at(const struct world *w, int32_t branch, uint64_t lsn)
{
    while (w->branches[branch].parent >= 0 && lsn < w->branches[branch].fork_lsn)
        branch = w->branches[branch].parent;
    return branch;
}

static int32_t depth_of(const struct world *w, int32_t branch)
{
    int32_t depth = 0;

    for (; branch >= 0; branch = w->branches[branch].parent)
        depth++;
    return depth;
}

uint64_t wal_common_lsn(const struct world *w, int32_t a, uint64_t a_lsn, int32_t b,
                        uint64_t b_lsn)
{
    int32_t a_depth = depth_of(w, a);
    int32_t b_depth = depth_of(w, b);

    while (a != b) {
        int32_t *deeper = a_depth >= b_depth ? &a : &b;
        uint64_t *lsn = a_depth >= b_depth ? &a_lsn : &b_lsn;

        if (*deeper < 0)
            return 0;
        if (w->branches[*deeper].fork_lsn < *lsn)
            *lsn = w->branches[*deeper].fork_lsn;
        *deeper = w->branches[*deeper].parent;
        if (deeper == &a)
            a_depth--;
        else
            b_depth--;
    }
    if (a < 0)
        return 0;
    return a_lsn < b_lsn ? a_lsn : b_lsn;
}

int32_t wal_history(const struct world *w, int32_t branch, struct history_row *rows,
                    int32_t rows_max)
{
    int32_t depth = branch < 0 ? 0 : depth_of(w, branch);
    int32_t count = depth > 0 ? depth - 1 : 0;
    int32_t skip = count > rows_max ? count - rows_max : 0;

    for (int32_t i = count - 1; i >= skip; i--) {
        int32_t parent = w->branches[branch].parent;

        rows[i - skip].timeline = w->branches[parent].timeline;
        rows[i - skip].switch_lsn = w->branches[branch].fork_lsn;
        branch = parent;
    }
    return count - skip;
}
