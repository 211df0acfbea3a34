/* Seeds: one run each, many of them, and the report. */
#include "sim.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pgheir/base/mem.h"

enum {
    JOBS_MAX = 16,
    SWARM_FINDINGS_MAX = 64, /* listed per worker; all are counted */
    CALM_AFTER_S = 20        /* well again means: for so long */
};

struct swarm_finding {
    uint64_t seed;
    struct finding finding;
};

/* What one worker found out; lives in memory that parent and workers share. */
struct tally {
    uint64_t seeds;
    uint64_t next_seed; /* done up to here, for resuming */
    uint64_t role_change;
    uint64_t partition;
    uint64_t freeze;
    uint64_t crash;
    uint64_t cold_start;
    uint64_t switchover;
    uint64_t pause;
    uint64_t faults_total;
    uint64_t promotions;
    uint64_t steps;
    uint64_t events;
    uint64_t excused_freeze;
    uint64_t excused_removed;
    uint64_t excused_pause;
    uint64_t excused_wiped;
    uint64_t second_cluster;
    uint64_t person_init;
    uint64_t person_forced;
    uint64_t reasons[REASON_COUNT];
    uint64_t faults[FAULT_COUNT];
    int64_t lost_bytes_max;
    int64_t live_us_max;
    int64_t live_us_sum;
    double cpu_s;
    uint64_t found;
    int32_t finding_count;
    struct swarm_finding findings[SWARM_FINDINGS_MAX];
};

/* ---- one seed ---- */

static struct world *asserting_world;

static void on_assert(const char *text)
{
    struct world *w = asserting_world;

    judge_find(w, "invariant", "%s", text);
    longjmp(w->abandoned, 1);
}

/* After the faults: how long until everything is well, and stays so. */
static void run_liveness(struct world *w)
{
    int64_t healed_us = w->now_us;
    int64_t well_us = 0;
    char why[200];

    fault_heal_all(w);
    for (int32_t second = 1; !judge_has_spoken(w); second++) {
        world_run_until(w, healed_us + second * (int64_t)US_PER_S);
        if (second % 25 == 20)
            person_mends(w);
        if (!judge_is_well(w, why, sizeof(why)))
            well_us = 0;
        else if (well_us == 0)
            well_us = w->now_us;
        if (well_us != 0 && w->now_us - well_us >= CALM_AFTER_S * (int64_t)US_PER_S)
            break;
        if (well_us == 0 && w->now_us - healed_us > w->setup.live_bound_us)
            judge_find(w, "comes back", "%lld s after the heal: %s",
                       (long long)(w->now_us - healed_us) / US_PER_S, why);
    }
    w->seen.live_us = well_us - healed_us;
    for (int32_t i = 0; i < w->node_count; i++)
        if (w->nodes[i].requests_open > 0)
            judge_find(w, "answered", "%s has not answered a person's request", w->nodes[i].name);
}

bool seed_run(struct world *w, uint64_t seed, FILE *trace)
{
    w->trace = trace;
    w->is_story = false;
    asserting_world = w;
    if (setjmp(w->abandoned) == 0) {
        pgh_assert_set_hook(on_assert);
        setup_draw(w, seed);
        world_reset(w, seed);
        for (int32_t i = 0; i < w->node_count; i++)
            node_power_on(w, &w->nodes[i]);
        fault_plan(w);
        world_run_until(w, w->setup.safety_us);
        if (!judge_has_spoken(w) && !w->seen.second_cluster)
            run_liveness(w);
    }
    pgh_assert_set_hook(NULL);
    return judge_has_spoken(w);
}

/* ---- many ---- */

static void tally_add(struct tally *tally, const struct world *w)
{
    const struct seen *seen = &w->seen;

    tally->seeds++;
    tally->role_change += seen->role_change;
    tally->partition += seen->partition;
    tally->freeze += seen->freeze;
    tally->crash += seen->crash;
    tally->cold_start += seen->cold_start;
    tally->switchover += seen->switchover;
    tally->pause += seen->pause;
    tally->faults_total += (uint64_t)seen->fault_count;
    tally->promotions += (uint64_t)seen->promotions;
    tally->steps += (uint64_t)seen->steps;
    tally->events += (uint64_t)seen->events;
    tally->excused_freeze += seen->excused_freeze > 0;
    tally->excused_removed += seen->excused_removed > 0;
    tally->excused_pause += seen->excused_pause > 0;
    tally->excused_wiped += seen->excused_wiped > 0;
    tally->second_cluster += seen->second_cluster;
    tally->person_init += seen->person_init > 0;
    tally->person_forced += seen->person_forced > 0;
    for (int i = 0; i < REASON_COUNT; i++)
        tally->reasons[i] += seen->reasons[i];
    for (int i = 0; i < FAULT_COUNT; i++)
        tally->faults[i] += seen->faults[i];
    if (seen->lost_bytes_max > tally->lost_bytes_max)
        tally->lost_bytes_max = seen->lost_bytes_max;
    if (seen->live_us > tally->live_us_max)
        tally->live_us_max = seen->live_us;
    tally->live_us_sum += seen->live_us;
}

static void tally_finding(struct tally *tally, const struct world *w)
{
    struct swarm_finding *to;

    tally->found++;
    if (tally->finding_count >= SWARM_FINDINGS_MAX)
        return;
    to = &tally->findings[tally->finding_count++];
    to->seed = w->seed;
    to->finding = w->judge.findings[0];
}

static void check_same(struct world *w, uint64_t seed)
{
    uint64_t hash = w->hash;

    if (!seed_run(w, seed, NULL) && w->hash != hash)
        judge_find(w, "same seed", "the same seed went another way the second time");
}

static double cpu_now_s(void)
{
    struct rusage usage;

    (void)getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void work(const struct swarm_options *options, int32_t job, struct tally *tally)
{
    struct world *w = world_new();
    double begun_s = cpu_now_s();

    for (uint64_t i = (uint64_t)job; i < options->count; i += (uint64_t)options->jobs) {
        uint64_t seed = options->from + i;

        if (!seed_run(w, seed, NULL) && (options->check_same || seed % 50 == 0))
            check_same(w, seed);
        tally_add(tally, w);
        if (judge_has_spoken(w)) {
            tally_finding(tally, w);
            if (options->stop_at_first)
                break;
        }
        tally->cpu_s = cpu_now_s() - begun_s;
    }
    world_free(w);
}

static void merge(struct tally *to, const struct tally *from)
{
    const uint64_t *source = &from->seeds;
    uint64_t *target = &to->seeds;
    size_t counters = (offsetof(struct tally, lost_bytes_max) - offsetof(struct tally, seeds)) /
                      sizeof(uint64_t);

    for (size_t i = 0; i < counters; i++)
        target[i] += source[i];
    if (from->lost_bytes_max > to->lost_bytes_max)
        to->lost_bytes_max = from->lost_bytes_max;
    if (from->live_us_max > to->live_us_max)
        to->live_us_max = from->live_us_max;
    to->live_us_sum += from->live_us_sum;
    to->cpu_s += from->cpu_s;
    to->found += from->found;
}

/* ---- the report ---- */

static void print_share(const char *what, uint64_t count, uint64_t of)
{
    (void)printf("  %-28s %7llu  %5.1f %%\n", what, (unsigned long long)count,
                 of == 0 ? 0.0 : 100.0 * (double)count / (double)of);
}

static void print_reasons(const struct tally *sum)
{
    (void)printf("decision reasons, and how many seeds reached them\n");
    for (int i = 1; i < REASON_COUNT; i++)
        if (sum->reasons[i] > 0)
            print_share(reason_code((enum reason)i), sum->reasons[i], sum->seeds);
    (void)printf("never reached:");
    for (int i = 1; i < REASON_COUNT; i++)
        if (sum->reasons[i] == 0)
            (void)printf(" %s", reason_code((enum reason)i));
    (void)printf("\n");
}

static void print_report(const struct swarm_options *options, const struct tally *sum)
{
    uint64_t n = sum->seeds == 0 ? 1 : sum->seeds;

    (void)printf("seeds with\n");
    print_share("role change", sum->role_change, n);
    print_share("partition", sum->partition, n);
    print_share("freeze", sum->freeze, n);
    print_share("crash", sum->crash, n);
    print_share("cold start", sum->cold_start, n);
    print_share("switchover", sum->switchover, n);
    print_share("pause", sum->pause, n);
    if (!options->quiet) {
        (void)printf("faults and acts of people, and how many seeds met them\n");
        for (int i = 0; i < FAULT_COUNT; i++)
            print_share(fault_text((enum fault_kind)i), sum->faults[i], n);
        print_reasons(sum);
    }
    (void)printf("two writers, excused: after a frozen machine's thaw %llu, key removed by hand "
                 "and holder out of reach %llu, in a pause %llu seeds\n",
                 (unsigned long long)sum->excused_freeze, (unsigned long long)sum->excused_removed,
                 (unsigned long long)sum->excused_pause);
    (void)printf("after all keys were removed: a timeline number used again %llu, a second cluster "
                 "made by a member that started later %llu, a person had to write initialize %llu "
                 "seeds\n",
                 (unsigned long long)sum->excused_wiped, (unsigned long long)sum->second_cluster,
                 (unsigned long long)sum->person_init);
    (void)printf("the newest data was lost, a person had to force a failover: %llu seeds\n",
                 (unsigned long long)sum->person_forced);
    (void)printf("per seed: %.1f faults, %.1f promotions, %.0f steps, %.0f events, %.1f ms CPU\n",
                 (double)sum->faults_total / (double)n, (double)sum->promotions / (double)n,
                 (double)sum->steps / (double)n, (double)sum->events / (double)n,
                 1000.0 * sum->cpu_s / (double)n);
    (void)printf("well again after the faults: mean %.1f s, longest %.1f s; most acknowledged "
                 "bytes lost at once %lld\n",
                 (double)sum->live_us_sum / (double)n / US_PER_S,
                 (double)sum->live_us_max / US_PER_S, (long long)sum->lost_bytes_max);
}

static int compare_findings(const void *a, const void *b)
{
    uint64_t left = ((const struct swarm_finding *)a)->seed;
    uint64_t right = ((const struct swarm_finding *)b)->seed;

    return left < right ? -1 : left > right;
}

static void print_findings(struct tally *tallies, int32_t jobs)
{
    static struct swarm_finding all[JOBS_MAX * SWARM_FINDINGS_MAX];
    size_t count = 0;

    for (int32_t job = 0; job < jobs; job++)
        for (int32_t i = 0; i < tallies[job].finding_count; i++)
            all[count++] = tallies[job].findings[i];
    qsort(all, count, sizeof(all[0]), compare_findings);
    for (size_t i = 0; i < count; i++)
        (void)printf("FOUND seed %llu at %.3f s: %s: %s\n", (unsigned long long)all[i].seed,
                     (double)all[i].finding.at_us / US_PER_S, all[i].finding.judge,
                     all[i].finding.text);
}

int swarm_run(const struct swarm_options *options)
{
    size_t size = sizeof(struct tally) * JOBS_MAX;
    struct tally *tallies =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct tally sum = {0};
    bool died = false;

    pgh_assert(tallies != MAP_FAILED);
    pgh_assert(options->jobs >= 1 && options->jobs <= JOBS_MAX);
    for (int32_t job = 0; job < options->jobs; job++) {
        pid_t pid = fork();

        pgh_assert(pid >= 0);
        if (pid == 0) {
            work(options, job, &tallies[job]);
            _exit(0);
        }
    }
    for (int32_t job = 0; job < options->jobs; job++) {
        int status = 0;

        (void)wait(&status);
        died = died || status != 0;
    }
    for (int32_t job = 0; job < options->jobs; job++)
        merge(&sum, &tallies[job]);
    print_report(options, &sum);
    print_findings(tallies, options->jobs);
    (void)printf("sim: %llu seeds from %llu, %llu found something%s\n",
                 (unsigned long long)sum.seeds, (unsigned long long)options->from,
                 (unsigned long long)sum.found, died ? "; A WORKER DIED" : "");
    (void)munmap(tallies, size);
    return sum.found == 0 && !died ? 0 : 1;
}
