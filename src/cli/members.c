#include "ctl.h"

#include <stdio.h>
#include <string.h>

#include "pgheir/base/str.h"

enum { QUESTION_MAX = 16 * 1024 };

const char ctl_roles[] = "leader,primary,standby-leader,replica,standby,any";

static bool has_role(const struct ctl_cluster *cluster, const struct member *member,
                     const char *role)
{
    const struct view *view = cluster->view;
    bool is_leader = view->leader_present && str_equal(view->leader_name, member->name);

    if (str_equal(role, "any"))
        return true;
    if (str_equal(role, "replica") || str_equal(role, "standby"))
        return !is_leader;
    if (str_equal(role, "primary"))
        return is_leader && member->role != PG_ROLE_STANDBY_LEADER;
    if (str_equal(role, "standby-leader"))
        return is_leader && member->role != PG_ROLE_PRIMARY;
    return is_leader;
}

void ctl_members_by_role(const struct ctl_cluster *cluster, const char *role,
                         struct ctl_members *ret)
{
    const struct view *view = cluster->view;

    ret->count = 0;
    for (int i = 0; i < view->member_count; i++) {
        if (has_role(cluster, &view->members[i], role))
            ret->items[ret->count++] = &view->members[i];
    }
}

static bool is_named(const char *name, const char *const *names, int count)
{
    for (int i = 0; i < count; i++) {
        if (str_equal(name, names[i]))
            return true;
    }
    return false;
}

/* Keeps those that are named. Unknown names are dropped in silence, as the original does. */
static void keep_named(struct ctl_members *members, const char *const *names, int count)
{
    int kept = 0;

    for (int i = 0; i < members->count; i++) {
        if (is_named(members->items[i]->name, names, count))
            members->items[kept++] = members->items[i];
    }
    members->count = kept;
}

void ctl_members_join(const struct ctl_members *members, struct buf *out)
{
    for (int i = 0; i < members->count; i++)
        (void)buf_printf(out, "%s%s", i == 0 ? "" : ", ", members->items[i]->name); /* 64 names */
}

static int ask_for_member(const char *action, struct ctl_members *members)
{
    struct buf question;
    struct buf answer;
    const char *name;
    int code = CTL_DONE;

    buf_init(&question, QUESTION_MAX);
    buf_init(&answer, QUESTION_MAX);
    (void)buf_printf(&question, "Which member do you want to %s [", action); /* 64 names fit */
    ctl_members_join(members, &question);
    (void)buf_puts(&question, "]?");
    if (!ctl_prompt(buf_text(&question), "", &answer)) {
        code = ctl_aborted();
    } else {
        name = buf_text(&answer);
        keep_named(members, &name, 1);
        if (members->count == 0)
            code = ctl_fail("%s is not a member of cluster", name);
    }
    buf_done(&question);
    buf_done(&answer);
    return code;
}

int ctl_members_choose(const struct ctl_cluster *cluster, const char *action, const char *role,
                       const char *const *names, int name_count, bool force,
                       struct ctl_members *ret)
{
    bool names_needed = str_equal(action, "reinitialize");

    ctl_members_by_role(cluster, role, ret);
    if (name_count == 0 && ret->count == 0)
        return ctl_fail("%s cluster doesn't have any members", cluster->name);
    ctl_cluster_print(cluster, false, CTL_PRETTY);
    if (name_count > 0) {
        keep_named(ret, names, name_count);
        if (ret->count == 0)
            return ctl_fail("No '%s' among provided members", role);
        return CTL_DONE;
    }
    if (!names_needed)
        return CTL_DONE;
    if (!force)
        return ask_for_member(action, ret);
    /* Nobody gets cloned anew because a name was forgotten. */
    ret->count = 0;
    return CTL_DONE;
}

int ctl_members_confirm(const struct ctl_members *members, const char *action, bool force,
                        const char *scheduled_at, bool is_pending)
{
    struct buf question;
    bool is_yes = false;
    bool is_read;

    if (force)
        return CTL_DONE;
    buf_init(&question, QUESTION_MAX);
    if (scheduled_at != NULL && is_pending) {
        (void)buf_puts(&question,
                       "The nodes needing a restart will be identified at the scheduled time, and "
                       "might be different from the ones showing pending restart right now. Is "
                       "this fine?");
    } else {
        (void)buf_printf(&question,
                         scheduled_at != NULL ? "Are you sure you want to schedule %s of members "
                                              : "Are you sure you want to %s members ",
                         action);
        ctl_members_join(members, &question);
        if (scheduled_at != NULL)
            (void)buf_printf(&question, " at %.10s %s", scheduled_at,
                             scheduled_at + strlen("2026-11-23T"));
        (void)buf_puts(&question, "?");
    }
    is_read = ctl_confirm(buf_text(&question), &is_yes);
    buf_done(&question);
    if (!is_read)
        return ctl_aborted();
    if (!is_yes)
        return ctl_fail(scheduled_at != NULL ? "Aborted scheduled %s" : "Aborted %s", action);
    return CTL_DONE;
}

const json_t *ctl_member_json(const struct ctl_cluster *cluster, const struct member *member)
{
    const struct view_entry *entry = view_map_find_member(cluster->map, member->name);

    return entry != NULL && json_is_object(entry->json) ? entry->json : NULL;
}

void ctl_cluster_print(const struct ctl_cluster *cluster, bool extended, enum ctl_format format)
{
    const struct view_entry *entry = view_map_find(cluster->map, "initialize");
    const char *state = entry == NULL          ? "uninitialized"
                        : entry->length == 0   ? "initializing"
                                               : entry->value;
    struct buf text;

    buf_init(&text, 16 * 1024 * 1024);
    if (ctl_put_cluster(&text, cluster->document, state, extended, format) != RC_OK)
        ctl_warn("the table is larger than 16 MiB and was cut");
    ctl_print(&text);
}

bool ctl_reply_is_answer(struct ctl *ctl, const struct ctl_reply *reply, const char *action,
                         const char *member)
{
    switch (reply->fate) {
    case HTTP_ANSWERED:
        return true;
    case HTTP_NOT_SENT:
        (void)printf("Failed: %s for member %s, (%s)\n", action, member, reply->err.text);
        ctl_note(ctl, CTL_FAILED);
        return false;
    case HTTP_UNKNOWN:
    case HTTP_CANCELLED:
        (void)printf("Failed: %s for member %s, result unknown, (%s)\n", action, member,
                     reply->err.text);
        ctl_note(ctl, CTL_UNKNOWN);
        return false;
    case HTTP_FATE_COUNT:
        break;
    }
    pgh_unreachable();
}
