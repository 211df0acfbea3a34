/* ACTION_PEERS_ASK: the status document of every peer, in parallel, until the bound. Silence is
 * an answer, too: "not reachable". Credentials and TLS: contract/rest.md section 6, last line. */
#include "agent.h"

#include <string.h>

#include "pgheir/base/clock.h"
#include "pgheir/base/log.h"
#include "pgheir/base/mem.h"
#include "pgheir/base/str.h"
#include "pgheir/codec/rest_json.h"

enum {
    PEERS_BODY_BYTES_MAX = 256 * 1024,
    PEERS_ASKS_MAX = 2 /* the core may begin another ask after having given one up */
};

struct peers_ask_run {
    struct peers *peers;
    struct http_batch *batch; /* NULL: free */
    bool is_used;
    uint32_t ask_id;
    peers_fn *done; /* asked for REST: the run is on the heap; NULL: for the core */
    void *done_arg;
    int32_t count;
    struct peer_answer answers[MEMBERS_MAX];
};

struct peers {
    struct agent *agent;
    struct peers_ask_run runs[PEERS_ASKS_MAX];
};

static void
peers_post(struct peers_ask_run *run)
{
    struct event event = {.kind = EVENT_PEERS};

    if (run->done != NULL) {
        run->done(run->answers, run->count, run->done_arg);
        mem_free(run);
        return;
    }
    event.u.peers.ask_id = run->ask_id;
    event.u.peers.count = run->count;
    event.u.peers.answers = run->answers;
    agent_post(run->peers->agent, &event);
}

static void
peers_on_each(int idx, const struct http_result *result, void *arg)
{
    struct peers_ask_run *run = arg;
    struct peer_answer *answer = &run->answers[idx];
    char name[NAME_SIZE];
    struct err err;

    if (result->fate != HTTP_ANSWERED || result->status != 200) {
        log_debug("peer %s does not answer: %s", answer->name,
                  result->rc != RC_OK ? result->err->text : "unexpected status");
        return;
    }
    memcpy(name, answer->name, sizeof(name));
    if (rest_json_peer_parse(name, result->body, result->body_length,
                             agent_policy(run->peers->agent)->ttl_ms, answer, &err) != RC_OK)
        log_warning("peer %s: %s", name, err.text);
}

static void
peers_on_all(void *arg)
{
    struct peers_ask_run *run = arg;

    run->batch = NULL;
    /* The answers stay until the next ask of this place: the event borrows them. */
    run->is_used = false;
    peers_post(run);
}

/* names NULL: everybody but us. Named by a person, we are asked like anybody else. */
static bool
peers_is_asked(const struct agent *agent, const char *const *names, int count,
               const struct member *member)
{
    if (str_is_empty(member->api_url) ||
        (names == NULL && str_equal(member->name, agent->identity.name)))
        return false;
    for (int i = 0; names != NULL && i < count; i++)
        if (str_equal(member->name, names[i]))
            return true;
    return names == NULL;
}

static void
peers_send(struct peers_ask_run *run, const char *const *urls, int64_t deadline_ms)
{
    const struct conf_ctl *ctl = &run->peers->agent->conf->ctl;
    struct http_tls tls = {.cacert = ctl->cacert,
                           .cert = ctl->certfile,
                           .key = ctl->keyfile,
                           .key_password = ctl->keyfile_password,
                           .insecure = ctl->certfile == NULL};
    struct http_options options = {.method = "GET",
                                   .username = ctl->username,
                                   .password = ctl->password,
                                   .tls = &tls,
                                   .deadline_ms = deadline_ms,
                                   .body_max = PEERS_BODY_BYTES_MAX,
                                   .retry_safe = true};

    run->batch = http_batch_begin(run->peers->agent->http, urls, run->count, &options,
                                  peers_on_each, peers_on_all, run);
}

static void
peers_call_later(void *arg)
{
    peers_post(arg);
}

/* A peer without an api_url, or one that is not a member, is not asked and gives no answer. */
static void
peers_begin(struct peers_ask_run *run, const char *const *names, int count, int64_t deadline_ms)
{
    const struct view *view = agent_view(run->peers->agent);
    const char *urls[MEMBERS_MAX];

    run->count = 0;
    for (int i = 0; view != NULL && i < view->member_count; i++) {
        const struct member *member = &view->members[i];
        struct peer_answer *answer = &run->answers[run->count];

        if (!peers_is_asked(run->peers->agent, names, count, member))
            continue;
        *answer = (struct peer_answer){.fence_left_ms = -1};
        agent_copy(answer->name, sizeof(answer->name), member->name);
        urls[run->count++] = member->api_url;
    }
    if (run->count > 0)
        peers_send(run, urls, deadline_ms);
    else
        loop_post(run->peers->agent->loop, peers_call_later, run);
}

void
peers_ask_action(struct peers *peers, const struct action *action)
{
    const char *only = action->u.peers.only;
    struct peers_ask_run *run = NULL;

    for (int i = 0; i < PEERS_ASKS_MAX && run == NULL; i++)
        if (!peers->runs[i].is_used)
            run = &peers->runs[i];
    if (run == NULL) {
        run = &peers->runs[0];
        http_batch_cancel(run->batch);
    }
    run->ask_id = action->u.peers.ask_id;
    peers_begin(run, action->u.peers.count == 0 ? NULL : &only, 1, action->u.peers.deadline_ms);
    run->is_used = run->batch != NULL;
}

void
peers_ask_names(struct peers *peers, const char *const *names, int count, int64_t deadline_ms,
                peers_fn *done, void *arg)
{
    struct peers_ask_run *run = mem_new(1, sizeof(*run));

    run->peers = peers;
    run->done = done;
    run->done_arg = arg;
    peers_begin(run, names, count, deadline_ms);
}

struct peers *
peers_new(struct agent *agent)
{
    struct peers *peers = mem_new(1, sizeof(*peers));

    peers->agent = agent;
    for (int i = 0; i < PEERS_ASKS_MAX; i++)
        peers->runs[i].peers = peers;
    return peers;
}

void
peers_free(struct peers *peers)
{
    if (peers == NULL)
        return;
    for (int i = 0; i < PEERS_ASKS_MAX; i++)
        if (peers->runs[i].batch != NULL)
            http_batch_cancel(peers->runs[i].batch);
    mem_free(peers);
}
