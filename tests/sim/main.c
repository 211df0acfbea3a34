/* pgheir-sim: see usage(). */
#include "sim.h"

#include <stdlib.h>
#include <string.h>


static const char usage[] =
    "usage: pgheir-sim --seeds N [--from S] [--jobs J] [--same] [--first] [--quiet]\n"
    "                                   play seeds S .. S+N-1 and report; exit 1 if a judge spoke\n"
    "       pgheir-sim --seed S [--trace]    play one seed, say how it went\n"
    "       pgheir-sim --stories DIR|FILE [--bless] [--trace]\n"
    "                                   play the golden stories; --bless rewrites their ends\n"
    "--same plays each seed twice and compares; --first stops at the first finding of each job;\n"
    "--quiet leaves the lists of faults and reasons out. To resume a long run, go on with --from\n";

struct arguments {
    struct swarm_options swarm;
    bool one_seed;
    uint64_t seed;
    bool trace;
    bool bless;
    const char *stories;
};

static bool parse_number(const char *text, uint64_t *ret)
{
    return text != NULL && str_parse_uint64(text, ret);
}

static bool parse_one(struct arguments *arguments, const char *option, const char *value,
                      int *ret_used)
{
    uint64_t number = 0;
    bool is_number = parse_number(value, &number);

    *ret_used = 1;
    if (strcmp(option, "--trace") == 0)
        return arguments->trace = true;
    if (strcmp(option, "--bless") == 0)
        return arguments->bless = true;
    if (strcmp(option, "--same") == 0)
        return arguments->swarm.check_same = true;
    if (strcmp(option, "--first") == 0)
        return arguments->swarm.stop_at_first = true;
    if (strcmp(option, "--quiet") == 0)
        return arguments->swarm.quiet = true;
    *ret_used = 2;
    if (strcmp(option, "--stories") == 0)
        return (arguments->stories = value) != NULL;
    if (strcmp(option, "--seeds") == 0)
        arguments->swarm.count = number;
    else if (strcmp(option, "--from") == 0)
        arguments->swarm.from = number;
    else if (strcmp(option, "--jobs") == 0)
        arguments->swarm.jobs = (int32_t)number;
    else if (strcmp(option, "--seed") == 0)
        arguments->one_seed = true;
    else
        return false;
    if (arguments->one_seed && strcmp(option, "--seed") == 0)
        arguments->seed = number;
    return is_number;
}

static int play_one(const struct arguments *arguments)
{
    struct world *w = world_new();
    bool found = seed_run(w, arguments->seed, arguments->trace ? stdout : NULL);

    for (int32_t i = 0; i < w->judge.finding_count; i++)
        (void)printf("FOUND seed %llu at %.3f s: %s: %s\n", (unsigned long long)w->seed,
                     (double)w->judge.findings[i].at_us / US_PER_S, w->judge.findings[i].judge,
                     w->judge.findings[i].text);
    (void)printf("seed %llu: %s, %d nodes, ttl %lld ms, %d faults, %d promotions, well again after "
                 "%.1f s, hash %016llx\n",
                 (unsigned long long)w->seed, found ? "FOUND something" : "quiet", w->node_count,
                 (long long)w->setup.policy.ttl_ms, w->seen.fault_count, w->seen.promotions,
                 (double)w->seen.live_us / US_PER_S, (unsigned long long)w->hash);
    world_free(w);
    return found ? 1 : 0;
}

int main(int argc, char **argv)
{
    struct arguments arguments = {.swarm = {.from = 1, .jobs = 1}};

    for (int i = 1; i < argc;) {
        int used = 1;

        if (!parse_one(&arguments, argv[i], i + 1 < argc ? argv[i + 1] : NULL, &used)) {
            (void)fprintf(stderr, "pgheir-sim: cannot use %s\n%s", argv[i], usage);
            return 2;
        }
        i += used;
    }
    if (arguments.stories != NULL)
        return stories_run(arguments.stories, arguments.bless, arguments.trace);
    if (arguments.one_seed)
        return play_one(&arguments);
    if (arguments.swarm.count == 0 || arguments.swarm.jobs < 1 || arguments.swarm.jobs > 16) {
        (void)fputs(usage, stderr);
        return 2;
    }
    return swarm_run(&arguments.swarm);
}
