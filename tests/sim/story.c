/* Golden stories: small scripts over the same world. tests/sim/README.md explains the verbs. A
 * story fails if an expectation is not met in time, if a judge speaks, or if the decisions of a
 * node are not the ones at its end, word for word. */
#include "sim.h"

#include <dirent.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "pgheir/base/buf.h"
#include "pgheir/base/mem.h"

enum { WORDS_MAX = 12, STORY_SIZE = 32768, STORIES_MAX = 128, LINE_WIDTH = 96 };

struct story {
    struct world *w;
    const char *name;
    int32_t line;
    int32_t word_count;
    char *words[WORDS_MAX];
    bool begun;
    bool failed;
    int32_t watch_from;   /* first note that the trace is about */
    int16_t last_writer;  /* at the last disturbance */
    int64_t disturbed_us;
};

static void fail(struct story *story, const char *fmt, ...) PGH_PRINTF(2, 3);

static void fail(struct story *story, const char *fmt, ...)
{
    char text[300];
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    (void)printf("%s:%d: at %.3f s: %s\n", story->name, story->line,
                 (double)story->w->now_us / US_PER_S, text);
    story->failed = true;
}

static bool is_word(const struct story *story, int32_t idx, const char *text)
{
    return idx < story->word_count && strcmp(story->words[idx], text) == 0;
}

static int64_t parse_us(struct story *story, int32_t idx)
{
    int64_t ms = 0;

    if (idx >= story->word_count || !str_parse_duration_ms(story->words[idx], 1000, &ms))
        fail(story, "word %d: expected a time such as 500ms or 7s", (int)idx + 1);
    return ms * US_PER_MS;
}

static int64_t parse_number(struct story *story, int32_t idx)
{
    int64_t number = 0;

    if (idx >= story->word_count || !str_parse_int64(story->words[idx], &number))
        fail(story, "word %d: expected a number", (int)idx + 1);
    return number;
}

/* A node's name, or: leader, replica (the first that does not lead), old (who wrote before). */
static struct node *parse_node(struct story *story, int32_t idx)
{
    struct world *w = story->w;
    struct node *n = idx < story->word_count ? node_by_name(w, story->words[idx]) : NULL;
    int leader = etcd_leader_node(w);

    if (n == NULL && is_word(story, idx, "leader") && leader >= 0)
        n = &w->nodes[leader];
    for (int32_t i = 0; n == NULL && is_word(story, idx, "replica") && i < w->node_count; i++)
        if (i != leader)
            n = &w->nodes[i];
    if (n == NULL && is_word(story, idx, "old") && story->last_writer >= 0)
        n = &w->nodes[story->last_writer];
    if (n == NULL) {
        fail(story, "word %d: expected a node", (int)idx + 1);
        n = &w->nodes[0];
    }
    return n;
}

/* ---- the cluster ---- */

static void set_default(struct story *story)
{
    struct setup *setup = &story->w->setup;

    memset(setup, 0, sizeof(*setup));
    policy_init(&setup->policy);
    setup->policy.ttl_ms = 5000;
    setup->policy.loop_wait_ms = 1000;
    setup->policy.retry_timeout_ms = 2000;
    setup->policy.use_pg_rewind = true;
    setup->policy.use_slots = false;
    setup->node_count = 3;
    for (int i = 0; i < NODES_MAX; i++) {
        tags_init(&setup->tags[i]);
        setup->may_bootstrap[i] = true;
    }
    setup->rewind_possible = true;
    setup->rtt_us = 1000;
    setup->write_every_us = 100 * US_PER_MS;
    setup->write_bytes = 1000;
    setup->receiver_timeout_us = 5 * (int64_t)US_PER_S;
    setup->receiver_retry_us = US_PER_S / 10;
    setup->poll_us = US_PER_S;
    setup->quiet = true;
    prng_seed(&story->w->prng, 1);
    prng_seed(&story->w->fault_prng, 1);
}

static void set_word(struct story *story)
{
    struct setup *setup = &story->w->setup;
    bool on = is_word(story, 2, "on");

    if (is_word(story, 1, "rewind"))
        setup->policy.use_pg_rewind = on;
    else if (is_word(story, 1, "replace"))
        setup->policy.remove_data_directory_on_diverged_timelines = on;
    else if (is_word(story, 1, "slots"))
        setup->policy.use_slots = on;
    else if (is_word(story, 1, "lag"))
        setup->policy.maximum_lag_on_failover_bytes = parse_number(story, 2);
    else if (is_word(story, 1, "nofailover"))
        setup->tags[parse_number(story, 2) - 1].nofailover = true;
    else if (is_word(story, 1, "priority"))
        setup->tags[parse_number(story, 2) - 1].failover_priority = (int32_t)parse_number(story, 3);
    else if (is_word(story, 1, "start_timeout"))
        setup->policy.primary_start_timeout_ms = parse_us(story, 2) / US_PER_MS;
    else if (is_word(story, 1, "ttl")) {
        setup->policy.ttl_ms = parse_us(story, 2) / US_PER_MS;
        setup->policy.loop_wait_ms = parse_us(story, 3) / US_PER_MS;
        setup->policy.retry_timeout_ms = parse_us(story, 4) / US_PER_MS;
    } else if (is_word(story, 1, "nodes"))
        setup->node_count = (int32_t)parse_number(story, 2);
    else
        fail(story, "set what?");
}

static void start_nodes(struct story *story)
{
    struct world *w = story->w;

    if (!story->begun) {
        story->begun = true;
        world_reset(w, 1);
        w->is_story = true;
    }
    for (int32_t i = 0; i < w->node_count; i++)
        if (story->word_count == 1 || is_word(story, 1, w->nodes[i].name)) {
            node_power_on(w, &w->nodes[i]);
            w->nodes[i].service_wanted = true;
            world_post(w, w->now_us + US_PER_MS, EV_SUPERVISOR_START, (int)i, 0, 0);
        }
}

/* ---- what happens ---- */

static bool play_fault(struct story *story, enum fault_kind kind, int16_t node, int16_t other,
                       bool end)
{
    struct world *w = story->w;
    struct fault *fault = NULL;

    for (int32_t i = 0; end && i < w->fault_count; i++)
        if (w->faults[i].active && w->faults[i].kind == kind &&
            (node < 0 || w->faults[i].node == node))
            fault = &w->faults[i];
    if (end) {
        if (fault == NULL)
            fail(story, "nothing of this kind to end");
        else
            fault_end(w, fault);
        return true;
    }
    pgh_assert(w->fault_count < FAULTS_MAX);
    fault = &w->faults[w->fault_count++];
    *fault = (struct fault){.kind = kind, .node = node < 0 ? 0 : node, .other = other,
                            .duration_us = 3600 * (int64_t)US_PER_S};
    fault_begin(w, fault);
    return true;
}

struct verb {
    const char *first, *second; /* words around the node; second NULL: none */
    enum fault_kind kind;
    bool end;
};

/* <first> NODE <second> */
static const struct verb node_verbs[] = {
    {"kill", "agent", FAULT_AGENT_CRASH, false},
    {"kill", "supervisor", FAULT_SUPERVISOR_CRASH, false},
    {"kill", "postmaster", FAULT_POSTMASTER_CRASH, false},
    {"kill", "machine", FAULT_MACHINE_LOSS, false},
    {"revive", "machine", FAULT_MACHINE_LOSS, true},
    {"freeze", "agent", FAULT_AGENT_FREEZE, false},
    {"thaw", "agent", FAULT_AGENT_FREEZE, true},
    {"freeze", "supervisor", FAULT_SUPERVISOR_FREEZE, false},
    {"thaw", "supervisor", FAULT_SUPERVISOR_FREEZE, true},
    {"freeze", "both", FAULT_SUPERVISOR_AND_AGENT_FREEZE, false},
    {"thaw", "both", FAULT_SUPERVISOR_AND_AGENT_FREEZE, true},
    {"freeze", "postmaster", FAULT_POSTMASTER_FREEZE, false},
    {"thaw", "postmaster", FAULT_POSTMASTER_FREEZE, true},
    {"freeze", "machine", FAULT_NODE_FREEZE, false},
    {"thaw", "machine", FAULT_NODE_FREEZE, true},
    {"freeze", "vm", FAULT_VM_PAUSE, false},
    {"thaw", "vm", FAULT_VM_PAUSE, true},
    {"cut", "etcd", FAULT_CUT_ETCD, false},
    {"join", "etcd", FAULT_CUT_ETCD, true},
    {"cut", "peers", FAULT_CUT_PEERS, false},
    {"join", "peers", FAULT_CUT_PEERS, true},
    {"cut", "all", FAULT_ISOLATE, false},
    {"join", "all", FAULT_ISOLATE, true},
    {"cut", "answers", FAULT_CUT_ETCD_ANSWERS, false},
    {"join", "answers", FAULT_CUT_ETCD_ANSWERS, true},
    {"stop", "service", FAULT_SERVICE_STOP, false},
    {"start", "service", FAULT_SERVICE_STOP, true},
    {"stop", "postgres", FAULT_STOPPED_BY_HAND, false},
    {"lose", "volume", FAULT_VOLUME_LOST, false},
    {"mount", "volume", FAULT_VOLUME_LOST, true},
    {"unmount", "volume", FAULT_VOLUME_UNMOUNTED, false},
    {"remount", "volume", FAULT_VOLUME_UNMOUNTED, true},
    {"loop", "crash", FAULT_CRASH_LOOP, false},
    {"end", "crash", FAULT_CRASH_LOOP, true},
    {"ask", "restart", FAULT_RESTART, false},
    {"ask", "reinit", FAULT_REINIT, false},
    {"revoke", "lease", FAULT_LEASE_REVOKED, false},
};

/* <first> <second> */
static const struct verb plain_verbs[] = {
    {"etcd", "down", FAULT_ETCD_DOWN, false},
    {"etcd", "up", FAULT_ETCD_DOWN, true},
    {"etcd", "elects", FAULT_ETCD_ELECTION, false},
    {"etcd", "replaced", FAULT_ETCD_WIPED, false},
    {"delete", "leader-key", FAULT_LEADER_KEY_DELETED, false},
    {"wipe", "keys", FAULT_KEYS_WIPED, false},
    {"cold", "stop", FAULT_COLD_START, false},
    {"cold", "start", FAULT_COLD_START, true},
};

static bool play_table(struct story *story)
{
    for (size_t i = 0; i < PGH_COUNT(node_verbs); i++)
        if (is_word(story, 0, node_verbs[i].first) && is_word(story, 2, node_verbs[i].second))
            return play_fault(story, node_verbs[i].kind, parse_node(story, 1)->index, 0,
                              node_verbs[i].end);
    for (size_t i = 0; i < PGH_COUNT(plain_verbs); i++)
        if (is_word(story, 0, plain_verbs[i].first) && is_word(story, 1, plain_verbs[i].second))
            return play_fault(story, plain_verbs[i].kind, -1, 0, plain_verbs[i].end);
    return false;
}

static bool play_person(struct story *story)
{
    struct world *w = story->w;

    if (is_word(story, 0, "pause"))
        return play_fault(story, FAULT_PAUSE, -1, 0, false);
    if (is_word(story, 0, "resume"))
        return play_fault(story, FAULT_PAUSE, -1, 0, true);
    if (is_word(story, 0, "switchover"))
        return story->word_count == 1
                   ? play_fault(story, FAULT_SWITCHOVER, 0, 0, false)
                   : play_fault(story, FAULT_SWITCHOVER_TO, 0, parse_node(story, 2)->index, false);
    if (is_word(story, 0, "failover"))
        return play_fault(story, FAULT_FAILOVER_TO, 0, parse_node(story, 2)->index, false);
    if (is_word(story, 0, "lag")) {
        struct node *n = parse_node(story, 1);

        pg_settle(w, n);
        n->pg.lag_us = parse_us(story, 2) + 500;
        return true;
    }
    if (is_word(story, 0, "ttl")) {
        struct policy policy = w->etcd.now.policy;

        policy.ttl_ms = parse_us(story, 1) / US_PER_MS;
        etcd_put_policy(w, &policy);
        return true;
    }
    return false;
}

/* ---- what is expected ---- */

static bool met_leader(const struct story *story)
{
    const struct world *w = story->w;
    int holder = etcd_leader_node(w);

    if (is_word(story, 2, "none"))
        return holder < 0;
    if (holder < 0 || !w->nodes[holder].could_ack)
        return false;
    if (is_word(story, 2, "any"))
        return true;
    if (is_word(story, 2, "other"))
        return holder != story->last_writer;
    if (is_word(story, 2, "same"))
        return holder == story->last_writer;
    return is_word(story, 2, w->nodes[holder].name);
}

static bool has_reason(const struct story *story, const struct node *n, const char *code)
{
    const struct world *w = story->w;

    for (int32_t i = story->watch_from; i < w->note_count; i++)
        if (w->notes[i].node == n->index && strcmp(reason_code(w->notes[i].reason), code) == 0)
            return true;
    return false;
}

static bool met_node(struct story *story, struct node *n)
{
    struct world *w = story->w;

    if (is_word(story, 2, "primary"))
        return n->could_ack;
    if (is_word(story, 2, "standby"))
        return n->pg.state == POSTMASTER_UP && !n->pg.primary;
    if (is_word(story, 2, "streaming"))
        return n->pg.state == POSTMASTER_UP && n->pg.link == LINK_UP;
    if (is_word(story, 2, "down"))
        return !pg_is_running(n);
    if (is_word(story, 2, "empty"))
        return n->pg.data_dir == DATA_DIR_EMPTY;
    if (is_word(story, 2, "quiet"))
        return !n->could_ack;
    if (is_word(story, 2, "says"))
        return has_reason(story, n, story->words[3]);
    (void)w;
    fail(story, "expect what?");
    return true;
}

static bool met(struct story *story, char *why, size_t size)
{
    why[0] = '\0';
    if (is_word(story, 1, "well"))
        return judge_is_well(story->w, why, size);
    if (is_word(story, 1, "leader"))
        return met_leader(story);
    return met_node(story, parse_node(story, 1));
}

/* expect timeline N | expect lost N | expect outage below T: looked at once. */
static bool expect_number(struct story *story)
{
    struct world *w = story->w;
    int holder = etcd_leader_node(w);

    if (is_word(story, 1, "timeline")) {
        int64_t timeline = holder < 0 ? 0 : w->branches[w->nodes[holder].pg.branch].timeline;

        if (timeline != parse_number(story, 2))
            fail(story, "the timeline is %lld", (long long)timeline);
        return true;
    }
    if (is_word(story, 1, "lost")) {
        if (w->seen.lost_bytes_max != parse_number(story, 2))
            fail(story, "%lld acknowledged bytes were lost", (long long)w->seen.lost_bytes_max);
        return true;
    }
    if (is_word(story, 1, "outage")) {
        if (w->client_gap_us > parse_us(story, 3))
            fail(story, "nobody wrote for %lld ms", (long long)w->client_gap_us / US_PER_MS);
        return true;
    }
    return false;
}

/* expect ... within T (it comes true) | for T (it is true all the time) */
static void expect(struct story *story)
{
    struct world *w = story->w;
    int32_t last = story->word_count - 1;
    char why[200] = "";
    bool stays = last > 1 && is_word(story, last - 1, "for");
    int64_t until_us;

    if (expect_number(story))
        return;
    if (last < 2 || (!stays && !is_word(story, last - 1, "within"))) {
        fail(story, "expected: within TIME or for TIME at the end");
        return;
    }
    until_us = w->now_us + parse_us(story, last);
    while (!story->failed && !judge_has_spoken(w)) {
        bool is_met = met(story, why, sizeof(why));

        if (is_met != stays) {
            if (stays)
                fail(story, "not true any more%s%s", why[0] != '\0' ? ": " : "", why);
            return;
        }
        if (!world_step(w, until_us)) {
            w->now_us = until_us;
            if (!stays)
                fail(story, "did not come true%s%s", why[0] != '\0' ? ": " : "", why);
            return;
        }
    }
}

/* ---- the play ---- */

static void disturb(struct story *story)
{
    struct world *w = story->w;

    story->last_writer = -1;
    for (int32_t i = 0; i < w->node_count; i++)
        if (w->nodes[i].could_ack)
            story->last_writer = (int16_t)i;
    if (story->last_writer < 0)
        story->last_writer = w->judge.last_writer;
    w->client_gap_us = 0;
    story->disturbed_us = w->now_us;
}

static void play_words(struct story *story)
{
    if (is_word(story, 0, "at")) {
        world_run_until(story->w, parse_us(story, 1));
        story->word_count -= 2;
        memmove(story->words, story->words + 2, sizeof(char *) * (size_t)story->word_count);
    }
    if (story->word_count == 0)
        return;
    if (is_word(story, 0, "set")) {
        set_word(story);
    } else if (is_word(story, 0, "start") && story->word_count <= 2) {
        start_nodes(story);
    } else if (!story->begun) {
        fail(story, "nothing was started yet");
    } else if (is_word(story, 0, "wait")) {
        world_run_until(story->w, story->w->now_us + parse_us(story, 1));
    } else if (is_word(story, 0, "watch")) {
        story->watch_from = story->w->note_count;
    } else if (is_word(story, 0, "expect")) {
        expect(story);
    } else {
        disturb(story);
        if (!play_table(story) && !play_person(story))
            fail(story, "unknown verb %s", story->words[0]);
    }
}

static void split(struct story *story, char *line)
{
    char *rest = line;

    story->word_count = 0;
    while (story->word_count < WORDS_MAX) {
        rest += strspn(rest, " \t");
        if (*rest == '\0' || *rest == '#')
            return;
        story->words[story->word_count++] = rest;
        rest += strcspn(rest, " \t");
        if (*rest != '\0')
            *rest++ = '\0';
    }
}

/* The decisions, one paragraph per node. */
static void write_trace(const struct story *story, struct buf *out)
{
    const struct world *w = story->w;

    for (int32_t i = 0; i < w->node_count; i++) {
        size_t column = strlen(w->nodes[i].name) + 1;

        (void)buf_printf(out, "%s:", w->nodes[i].name);
        for (int32_t j = story->watch_from; j < w->note_count; j++) {
            const char *code = reason_code(w->notes[j].reason);

            if (w->notes[j].node != i)
                continue;
            if (column + strlen(code) + 1 > LINE_WIDTH) {
                (void)buf_puts(out, "\n   ");
                column = 3;
            }
            (void)buf_printf(out, " %s", code);
            column += strlen(code) + 1;
        }
        (void)buf_puts(out, "\n");
    }
}

static void compare_trace(struct story *story, const char *expected, const char *path, bool bless,
                          size_t head_length, const char *text)
{
    struct buf now;
    FILE *file;

    buf_init(&now, STORY_SIZE);
    write_trace(story, &now);
    if (strcmp(buf_text(&now), expected) != 0 && !bless) {
        fail(story, "the decisions were others than expected");
        (void)printf("--- expected\n%s--- now\n%s", expected, buf_text(&now));
    } else if (bless && !story->failed) {
        file = fopen(path, "w");
        pgh_assert(file != NULL);
        (void)fwrite(text, 1, head_length, file);
        (void)fputs(buf_text(&now), file);
        (void)fclose(file);
    }
    buf_done(&now);
}

static struct story *telling;

static void on_assert(const char *text)
{
    judge_find(telling->w, "invariant", "%s", text);
    longjmp(telling->w->abandoned, 1);
}

/* Plays the lines up to "trace"; text is cut into words meanwhile. */
static void play_lines(struct story *story, char *text)
{
    char *line = text;

    while (line != NULL && *line != '\0' && !story->failed && !judge_has_spoken(story->w)) {
        char *end = strchr(line, '\n');

        if (end != NULL)
            *end++ = '\0';
        story->line++;
        split(story, line);
        if (is_word(story, 0, "trace"))
            return;
        if (story->word_count > 0)
            play_words(story);
        line = end;
    }
}

static void play(struct story *story, char *text)
{
    telling = story;
    if (setjmp(story->w->abandoned) != 0)
        return;
    pgh_assert_set_hook(on_assert);
    play_lines(story, text);
}

static bool story_run(struct world *w, const char *path, bool bless, bool trace)
{
    static char text[STORY_SIZE];
    static char copy[STORY_SIZE];
    const char *slash = strrchr(path, '/');
    struct story story = {.w = w, .name = slash == NULL ? path : slash + 1, .last_writer = -1};
    FILE *file = fopen(path, "r");
    size_t length;
    const char *tail;

    if (file == NULL) {
        (void)printf("%s: cannot be read\n", path);
        return false;
    }
    length = fread(text, 1, sizeof(text) - 1, file);
    (void)fclose(file);
    text[length] = '\0';
    memcpy(copy, text, sizeof(copy));
    w->trace = trace ? stdout : NULL;
    judge_reset(w);
    set_default(&story);
    play(&story, copy);
    pgh_assert_set_hook(NULL);
    for (int32_t i = 0; i < w->judge.finding_count; i++)
        fail(&story, "%s: %s", w->judge.findings[i].judge, w->judge.findings[i].text);
    tail = strstr(text, "\ntrace\n");
    if (tail != NULL && !story.failed)
        compare_trace(&story, tail + 7, path, bless, (size_t)(tail + 7 - text), text);
    (void)printf("%s %s\n", story.failed ? "FAIL" : "ok  ", story.name);
    return !story.failed;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int32_t list_stories(const char *path, char **paths)
{
    DIR *dir = opendir(path);
    struct dirent *entry;
    int32_t count = 0;

    if (dir == NULL) {
        paths[count++] = mem_strdup(path);
        return count;
    }
    while ((entry = readdir(dir)) != NULL && count < STORIES_MAX) {
        char name[600];
        size_t length = strlen(entry->d_name);

        if (length > 6 && strcmp(entry->d_name + length - 6, ".story") == 0 &&
            str_format(name, sizeof(name), "%s/%s", path, entry->d_name))
            paths[count++] = mem_strdup(name);
    }
    (void)closedir(dir);
    qsort(paths, (size_t)count, sizeof(paths[0]), compare_names);
    return count;
}

int stories_run(const char *path, bool bless, bool trace)
{
    char *paths[STORIES_MAX];
    int32_t count = list_stories(path, paths);
    int32_t failed = 0;
    struct world *w = world_new();

    for (int32_t i = 0; i < count; i++) {
        failed += !story_run(w, paths[i], bless, trace);
        mem_free(paths[i]);
    }
    world_free(w);
    (void)printf("stories: %d passed, %d failed\n", count - failed, failed);
    return failed == 0 && count > 0 ? 0 : 1;
}
