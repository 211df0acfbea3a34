/* What comes over HTTP: A a peer's document, B a request body (all kinds of them), C a path with
 * its query, D a switchover body against a small cluster. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "pgheir/base/buf.h"
#include "pgheir/base/mem.h"
#include "pgheir/base/str.h"
#include "pgheir/codec/rest_json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void feed_peer(const char *text, size_t length)
{
    struct peer_answer answer;
    struct err err = {0};
    enum rc rc = rest_json_peer_parse("n", text, length, 5000, &answer, &err);

    pgh_assert(rc == RC_OK || rc == RC_INVALID);
    pgh_assert(answer.reachable == (rc == RC_OK));
    pgh_assert(rc == RC_OK || err.text[0] != '\0');
    pgh_assert(answer.fence_left_ms >= -1);
    pgh_assert(strcmp(answer.name, "n") == 0);
    pgh_assert(answer.reachable || (!answer.is_primary && answer.received_lsn == 0));
    pgh_assert(answer.is_pgheir || answer.fence_left_ms == -1);
}

static void feed_body(const char *text, size_t length)
{
    json_t *body = NULL;
    struct err err = {0};
    struct rest_restart restart;
    struct rest_reinit reinit;

    if (rest_json_body_read(text, length, true, &body, &err) != RC_OK) {
        pgh_assert(body == NULL && err.text[0] != '\0');
        return;
    }
    if (rest_json_restart_read(body, false, 1000, &restart, &err) == 0)
        pgh_assert(restart.timeout_ms >= 0 && restart.schedule_wall_ms >= 0);
    (void)rest_json_reinit_read(body, &reinit, &err);
    json_decref(body);
}

static void add_member(struct view *view, const char *name)
{
    struct member *member = &view->members[view->member_count++];

    *member = (struct member){0};
    pgh_assert(str_copy(member->name, sizeof(member->name), name));
    pgh_assert(str_copy(member->api_url, sizeof(member->api_url), "http://h/"));
}

static void feed_switchover(const char *text, size_t length)
{
    struct view *view = mem_new(1, sizeof(*view));
    const char *names[MEMBERS_MAX];
    json_t *body = NULL;
    struct rest_switchover request;
    struct err err;
    bool is_failover = false;
    int count = 0;

    view_init(view);
    view->leader_present = true;
    pgh_assert(str_copy(view->leader_name, sizeof(view->leader_name), "a"));
    add_member(view, "a");
    add_member(view, "b");
    if (rest_json_body_read(text, length, false, &body, &err) == RC_OK) {
        for (int kind = 0; kind < 4; kind++) {
            if (rest_json_switchover_read(body, (kind & 1) != 0, (kind & 2) != 0, 1000, &request,
                                          &is_failover, &err) != 0)
                continue;
            pgh_assert(request.candidate[0] != '\0' || request.leader[0] != '\0');
            if (rest_json_switchover_check(&request, is_failover, view, names, &count, &err) == 0)
                pgh_assert(count >= 1 && count <= 2);
        }
        json_decref(body);
    }
    mem_free(view);
}

static void feed_path(const char *text, size_t length)
{
    struct local *local = mem_new(1, sizeof(*local));
    json_t *tags = json_pack("{s:s, s:b, s:f}", "dc", "A", "x", 1, "r", 1.5);
    struct rest_node node = {.scope = "s",
                             .name = "n",
                             .local = local,
                             .state = PG_STATE_RUNNING,
                             .role = PG_ROLE_REPLICA,
                             .tags = tags};
    char *path = mem_new(length + 1, 1);
    char *query;
    struct rest_health health;
    struct buf value;

    if (length > 0)
        memcpy(path, text, length);
    query = strchr(path, '?');
    if (query != NULL)
        *query++ = '\0';
    local_init(local);
    local->sql_valid = true;
    local->in_recovery = true;
    health = rest_json_health(&node, path, query);
    pgh_assert(health.code == 200 || health.code == 503);
    buf_init(&value, 1024);
    (void)rest_query_get(query, "lag", &value);
    buf_done(&value);
    mem_free(path);
    mem_free(local);
    json_decref(tags);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data + 1;

    if (size == 0)
        return 0;
    size--;
    switch ((data[0] - 'A') & 3) {
    case 0:
        feed_peer(text, size);
        break;
    case 1:
        feed_body(text, size);
        break;
    case 2:
        feed_path(text, size);
        break;
    default:
        feed_switchover(text, size);
        break;
    }
    return 0;
}
