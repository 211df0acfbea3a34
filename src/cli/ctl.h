/* What the files of pgheirctl share. One process, one command: it reads etcd (linearizably), asks
 * agents over REST, prints, and exits. Waiting is done in the loop, until an answer or a deadline.
 * Commands, texts and prompts are those of contract/ctl.md. */
#ifndef PGHEIR_SRC_CLI_CTL_H
#define PGHEIR_SRC_CLI_CTL_H

#include <jansson.h>

#include "pgheir/base/base.h"
#include "pgheir/base/buf.h"
#include "pgheir/base/err.h"
#include "pgheir/codec/conf.h"
#include "pgheir/codec/ctl_text.h"
#include "pgheir/codec/view_map.h"
#include "pgheir/io/etcd.h"
#include "pgheir/io/http.h"

struct loop;
struct resolver;

enum ctl_exit {
    CTL_DONE = 0,
    CTL_FAILED = 1,  /* refused or failed */
    CTL_USAGE = 2,
    CTL_UNKNOWN = 3  /* sent, and nobody knows how it ended */
};

enum { CTL_ADDRESS_SIZE = 512, CTL_TIME_SIZE = 48 };

struct ctl {
    const char *program;   /* as it was called: pgheirctl or patronictl */
    bool is_patronictl;    /* exit codes of the original */
    const char *config_path; /* NULL: none found */
    const char *hidden_path; /* one that is there and that we may not read; NULL: none */
    const char *dcs_url;   /* NULL: that of the configuration */
    bool insecure;
    struct conf *conf;
    struct loop *loop;
    struct resolver *resolver;
    struct http *http;
    struct etcd *etcd;
    int worst;             /* what happened to the members so far: enum ctl_exit */
};

/* ---- opt.c: the command line ---- */

enum opt_kind { OPT_FLAG, OPT_TEXT, OPT_NUMBER, OPT_CHOICE, OPT_MANY };

struct opt_spec {
    const char *names; /* "-f, --format"; the last one is its name in the code */
    enum opt_kind kind;
    const char *choices; /* OPT_CHOICE: comma list */
    const char *help;
};

enum { OPT_VALUES_MAX = 128 };

struct ctl;

struct opt_values {
    const struct opt_spec *specs;
    int count; /* of options given */
    struct {
        const struct opt_spec *spec;
        const char *value; /* "" for a flag */
    } given[OPT_VALUES_MAX];
    int argument_count;
    const char *arguments[OPT_VALUES_MAX];
};

struct ctl_command {
    const char *name;
    const char *arguments; /* "[CLUSTER_NAME]", "CLUSTER_NAME [MEMBER_NAMES]..." */
    int argument_min;
    int argument_max;
    const struct opt_spec *specs; /* ends with names == NULL */
    const char *help;
    int (*run)(struct ctl *ctl, const struct opt_values *values);
};

/* Reads options and arguments, mixed. specs ends with names == NULL. stop_at_argument: the first
 * word that is no option ends it; *ret_next is its place. Returns CTL_DONE, CTL_USAGE (said on
 * stderr), or -1 after --help was printed. */
int opt_parse(const char *usage, const struct opt_spec *specs, int argc, char **argv,
              bool stop_at_argument, struct opt_values *ret, int *ret_next);
/* The number of arguments that the command takes: CTL_DONE or CTL_USAGE (said). */
int opt_check_arguments(const char *usage, const struct ctl_command *command,
                        const struct opt_values *values);
int opt_fail_command(const char *usage, const char *name);
void opt_print_specs(const struct opt_spec *specs);
bool opt_is_given(const struct opt_values *values, const char *name);
/* Last value; NULL if it was not given. */
const char *opt_text(const struct opt_values *values, const char *name);

/* ---- commands ---- */

int cmd_list(struct ctl *ctl, const struct opt_values *values);
int cmd_topology(struct ctl *ctl, const struct opt_values *values);
int cmd_switchover(struct ctl *ctl, const struct opt_values *values);
int cmd_failover(struct ctl *ctl, const struct opt_values *values);
int cmd_restart(struct ctl *ctl, const struct opt_values *values);
int cmd_reload(struct ctl *ctl, const struct opt_values *values);
int cmd_reinit(struct ctl *ctl, const struct opt_values *values);
int cmd_pause(struct ctl *ctl, const struct opt_values *values);
int cmd_resume(struct ctl *ctl, const struct opt_values *values);
int cmd_edit_config(struct ctl *ctl, const struct opt_values *values);
int cmd_show_config(struct ctl *ctl, const struct opt_values *values);
int cmd_history(struct ctl *ctl, const struct opt_values *values);
int cmd_version(struct ctl *ctl, const struct opt_values *values);

/* ---- say.c: to people and from them ---- */

/* "Error: <text>" on stderr. Returns CTL_FAILED. */
int ctl_fail(const char *fmt, ...) PGH_PRINTF(1, 2);
/* A warning on stderr, as the original's log. */
void ctl_warn(const char *fmt, ...) PGH_PRINTF(1, 2);
/* Prints and drops the text. */
void ctl_print(struct buf *text);
/* Remembers how an action on one member ended; the worst becomes the exit code. */
void ctl_note(struct ctl *ctl, enum ctl_exit end);
/* "2026-11-23 14:52:54.00473", as the original prints it; with_fraction false: seconds only. */
const char *ctl_timestamp(bool with_fraction, char out[static CTL_TIME_SIZE]);
/* Asks on stdout, reads stdin. false (with "Aborted!") at the end of input. Empty: fallback. */
bool ctl_prompt(const char *question, const char *fallback, struct buf *answer);
/* y or n, No by default. false at the end of input. */
bool ctl_confirm(const char *question, bool *ret_yes);
/* What ends a command at the end of input: CTL_FAILED, already said. */
int ctl_aborted(void);

/* ---- client.c: etcd and agents ---- */

/* Loads the configuration and opens the doors. CTL_DONE or CTL_FAILED (said). */
int ctl_open(struct ctl *ctl);
void ctl_close(struct ctl *ctl);

struct ctl_cluster {
    char name[NAME_SIZE];
    struct buf prefix; /* /service/demo/ */
    struct view_map *map;
    struct view *view;
    json_t *document;  /* as GET /cluster */
};

/* name NULL: scope of the configuration. CTL_DONE or CTL_FAILED (said). Done with
 * ctl_cluster_done(), also after a failure. */
int ctl_cluster_read(struct ctl *ctl, const char *name, struct ctl_cluster *ret);
/* Once more, to see what has changed. */
int ctl_cluster_refresh(struct ctl *ctl, struct ctl_cluster *cluster);
void ctl_cluster_done(struct ctl_cluster *cluster);
/* No key at all. */
bool ctl_cluster_is_unknown(const struct ctl_cluster *cluster);
/* Says that there is no such cluster, and which ones there are. Returns CTL_FAILED. */
int ctl_cluster_fail_unknown(struct ctl *ctl, const struct ctl_cluster *cluster);

/* Puts key (behind the prefix) if its mod_revision is still that one; 0: if it is absent. */
enum etcd_outcome ctl_put(struct ctl *ctl, const struct ctl_cluster *cluster, const char *key,
                          const struct buf *value, int64_t mod_revision, struct err *err);

struct ctl_reply {
    enum http_fate fate;
    int status;
    struct buf body;
    struct err err; /* unless HTTP_ANSWERED */
};

/* Asks the member's agent. body may be NULL. Done with ctl_reply_done(). */
void ctl_ask(struct ctl *ctl, const char *api_url, const char *method, const char *endpoint,
             const json_t *body, int64_t span_ms, struct ctl_reply *ret);
void ctl_reply_done(struct ctl_reply *reply);
/* Turns the loop for a while. */
void ctl_wait(struct ctl *ctl, int64_t span_ms);

/* ---- members.c ---- */

/* role: leader, primary, standby-leader, replica, standby, any. */
struct ctl_members {
    int count;
    const struct member *items[MEMBERS_MAX]; /* of the cluster's view */
};
extern const char ctl_roles[]; /* for opt_spec.choices */

void ctl_members_by_role(const struct ctl_cluster *cluster, const char *role,
                         struct ctl_members *ret);
/* The common beginning of restart, reload and reinit: shows the cluster, picks by role and names,
 * asks for a name where the action wants one. CTL_DONE or CTL_FAILED (said). */
int ctl_members_choose(const struct ctl_cluster *cluster, const char *action, const char *role,
                       const char *const *names, int name_count, bool force,
                       struct ctl_members *ret);
/* The confirmation. scheduled_at NULL: now. CTL_DONE or CTL_FAILED (said). */
int ctl_members_confirm(const struct ctl_members *members, const char *action, bool force,
                        const char *scheduled_at, bool is_pending);
/* "node1, node2" */
void ctl_members_join(const struct ctl_members *members, struct buf *out);
/* Object of the member's key; NULL if there is none. */
const json_t *ctl_member_json(const struct ctl_cluster *cluster, const struct member *member);
/* The table, and what stands below it. */
void ctl_cluster_print(const struct ctl_cluster *cluster, bool extended, enum ctl_format format);
/* A time as people write it: NULL or "now" is now (out gets ""); otherwise ISO 8601, of which out
 * gets the form 2030-05-01T10:00:00+02:00, with the local zone if it had none. CTL_DONE or
 * CTL_FAILED (said). */
int ctl_read_time(const char *text, char out[static CTL_TIME_SIZE]);
/* The next full hour but one, for prompts: "2026-11-23T15:52". */
const char *ctl_next_hour(char out[static CTL_TIME_SIZE]);
/* As ctl_read_time(), of the option's text if it was given; otherwise the person is asked, or with
 * --force it is now. */
int ctl_choose_time(const char *question, const char *given, bool force,
                    char out[static CTL_TIME_SIZE]);
/* How far standard handling of an answer goes: HTTP_ANSWERED is the caller's; otherwise it is said
 * and noted, and the return is false. */
bool ctl_reply_is_answer(struct ctl *ctl, const struct ctl_reply *reply, const char *action,
                         const char *member);

#endif
