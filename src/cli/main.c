/* pgheirctl: the operator's hand on a cluster. Under the name patronictl it exits as that does. */
#include "ctl.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pgheir/base/log.h"
#include "pgheir/base/str.h"

enum { PATH_SIZE = 4096, USAGE_SIZE = 256 };

#define FORCE {"--force", OPT_FLAG, NULL, "Do not ask for confirmation at any point"}
#define WATCH_FLAG {"-W", OPT_FLAG, NULL, "Auto update the screen every 2 seconds"}
#define WATCH_SPAN                                                                                 \
    {                                                                                              \
        "-w, --watch", OPT_NUMBER, NULL, "Auto update the screen every X seconds"                  \
    }
#define FORMAT {"-f, --format", OPT_CHOICE, "pretty,tsv,json,yaml,yml", "Output format"}
#define ROLE(text) {"-r, --role", OPT_CHOICE, ctl_roles, text}
#define END {NULL, OPT_FLAG, NULL, NULL}

static const struct opt_spec global_specs[] = {
    {"-c, --config-file", OPT_TEXT, NULL, "Configuration file or directory"},
    {"-d, --dcs, --dcs-url", OPT_TEXT, NULL, "Where etcd is: etcd3://HOST:2379/NAMESPACE"},
    {"-k, --insecure", OPT_FLAG, NULL, "Do not check certificates of the REST API"},
    END,
};
static const struct opt_spec list_specs[] = {
    {"-e, --extended", OPT_FLAG, NULL, "Show some extra information"},
    {"-t, --timestamp", OPT_FLAG, NULL, "Print timestamp"},
    FORMAT,
    WATCH_FLAG,
    WATCH_SPAN,
    END,
};
static const struct opt_spec topology_specs[] = {WATCH_FLAG, WATCH_SPAN, END};
static const struct opt_spec switchover_specs[] = {
    {"--primary, --leader", OPT_TEXT, NULL, "The name of the current leader"},
    {"--candidate", OPT_TEXT, NULL, "The name of the candidate"},
    {"--scheduled", OPT_TEXT, NULL, "When, in unambiguous format (e.g. ISO 8601)"},
    FORCE,
    END,
};
static const struct opt_spec failover_specs[] = {
    {"--candidate", OPT_TEXT, NULL, "The name of the candidate"},
    FORCE,
    END,
};
static const struct opt_spec restart_specs[] = {
    ROLE("Restart only members with this role"),
    {"--any", OPT_FLAG, NULL, "Restart a single member only"},
    {"--scheduled", OPT_TEXT, NULL, "When, in unambiguous format (e.g. ISO 8601)"},
    {"--pg-version", OPT_TEXT, NULL, "Restart if PostgreSQL is older than this (e.g. 15.2)"},
    {"--pending", OPT_FLAG, NULL, "Restart if pending"},
    {"--timeout", OPT_TEXT, NULL, "Return error when restarting takes longer than this"},
    FORCE,
    END,
};
static const struct opt_spec reload_specs[] = {ROLE("Reload only members with this role"), FORCE,
                                               END};
static const struct opt_spec reinit_specs[] = {
    {"--from-leader", OPT_FLAG, NULL, "Get the base backup from the leader"},
    {"--wait", OPT_FLAG, NULL, "Wait until reinitialization completes"},
    FORCE,
    END,
};
static const struct opt_spec pause_specs[] = {
    {"--wait", OPT_FLAG, NULL, "Wait until all members follow"},
    END,
};
static const struct opt_spec edit_specs[] = {
    {"-q, --quiet", OPT_FLAG, NULL, "Do not show changes"},
    {"-s, --set", OPT_MANY, NULL, "Set specific configuration value: KEY.PATH=VALUE"},
    {"-p, --pg", OPT_MANY, NULL, "Set specific PostgreSQL parameter: NAME=VALUE"},
    {"--apply", OPT_TEXT, NULL, "Apply configuration from file. Use - for stdin"},
    {"--replace", OPT_TEXT, NULL, "Replace the configuration by file. Use - for stdin"},
    FORCE,
    END,
};
static const struct opt_spec history_specs[] = {FORMAT, END};
static const struct opt_spec no_specs[] = {END};

static const struct ctl_command commands[] = {
    {"edit-config", "[CLUSTER_NAME]", 0, 1, edit_specs, "Edit cluster configuration",
     cmd_edit_config},
    {"failover", "[CLUSTER_NAME]", 0, 1, failover_specs, "Failover to a replica", cmd_failover},
    {"history", "[CLUSTER_NAME]", 0, 1, history_specs,
     "Show the history of failovers/switchovers", cmd_history},
    {"list", "[CLUSTER_NAMES]...", 0, OPT_VALUES_MAX, list_specs, "List the cluster members",
     cmd_list},
    {"pause", "[CLUSTER_NAME]", 0, 1, pause_specs, "Disable auto failover", cmd_pause},
    {"reinit", "CLUSTER_NAME [MEMBER_NAMES]...", 1, OPT_VALUES_MAX, reinit_specs,
     "Reinitialize cluster member", cmd_reinit},
    {"reload", "CLUSTER_NAME [MEMBER_NAMES]...", 1, OPT_VALUES_MAX, reload_specs,
     "Reload cluster member configuration", cmd_reload},
    {"restart", "CLUSTER_NAME [MEMBER_NAMES]...", 1, OPT_VALUES_MAX, restart_specs,
     "Restart cluster member", cmd_restart},
    {"resume", "[CLUSTER_NAME]", 0, 1, pause_specs, "Resume auto failover", cmd_resume},
    {"show-config", "[CLUSTER_NAME]", 0, 1, no_specs, "Show cluster configuration",
     cmd_show_config},
    {"switchover", "[CLUSTER_NAME]", 0, 1, switchover_specs, "Switchover to a replica",
     cmd_switchover},
    {"topology", "[CLUSTER_NAMES]...", 0, OPT_VALUES_MAX, topology_specs,
     "Print the topology of a cluster", cmd_topology},
    {"version", "[CLUSTER_NAME] [MEMBER_NAMES]...", 0, OPT_VALUES_MAX, no_specs,
     "Output version of this program or of running members", cmd_version},
};

static void print_help(const char *program)
{
    (void)printf("Usage: %s [OPTIONS] COMMAND [ARGS]...\n\n"
                 "  Command-line interface for interacting with a cluster.\n\nOptions:\n",
                 program);
    opt_print_specs(global_specs);
    (void)printf("\nCommands:\n");
    for (size_t i = 0; i < PGH_COUNT(commands); i++)
        (void)printf("  %-12s  %s\n", commands[i].name, commands[i].help);
}

static void print_command_help(const char *usage, const struct ctl_command *command)
{
    (void)printf("Usage: %s\n\n  %s\n\nOptions:\n", usage, command->help);
    opt_print_specs(command->specs);
}

static const struct ctl_command *find_command(const char *name)
{
    for (size_t i = 0; i < PGH_COUNT(commands); i++) {
        if (str_equal(commands[i].name, name))
            return &commands[i];
    }
    return NULL;
}

/* An environment variable or the option names a file that must be there; the two default places may
 * be empty. */
static const char *find_config(const struct opt_values *values, struct ctl *ctl,
                               char out[static PATH_SIZE])
{
    const char *named = opt_text(values, "--config-file");
    const char *home = getenv("HOME");
    const char *folder = getenv("XDG_CONFIG_HOME");
    bool fits;

    if (named == NULL)
        named = getenv("PGHEIRCTL_CONFIG_FILE");
    if (str_is_empty(named))
        named = getenv("PATRONICTL_CONFIG_FILE");
    if (!str_is_empty(named))
        return named;
    if (!str_is_empty(folder))
        fits = str_format(out, PATH_SIZE, "%s/patroni/patronictl.yaml", folder);
    else
        fits = home != NULL &&
               str_format(out, PATH_SIZE, "%s/.config/patroni/patronictl.yaml", home);
    if (fits && access(out, R_OK) == 0)
        return out;
    if (!str_format(out, PATH_SIZE, "%s/pgheir.yml", PGHEIR_SYSCONFDIR))
        return NULL;
    if (access(out, R_OK) == 0)
        return out;
    if (access(out, F_OK) == 0)
        ctl->hidden_path = out;
    return NULL;
}

/* Nothing of ours needs cleaning up: temporary files are unlinked as soon as the editor is done,
 * and a request that was sent goes on without us. */
static void on_interrupt(int signo)
{
    static const char text[] = "\nAborted!\n";
    ssize_t ignored = write(STDERR_FILENO, text, sizeof(text) - 1);

    (void)signo;
    (void)ignored;
    _exit(CTL_FAILED);
}

static int run(struct ctl *ctl, const struct ctl_command *command, int argc, char **argv)
{
    struct opt_values values;
    char usage[USAGE_SIZE];
    int next;
    int code;

    if (!str_format(usage, sizeof(usage), "%s %s [OPTIONS] %s", ctl->program, command->name,
                    command->arguments))
        return CTL_USAGE;
    code = opt_parse(usage, command->specs, argc, argv, false, &values, &next);
    if (code < 0) {
        print_command_help(usage, command);
        return CTL_DONE;
    }
    if (code == CTL_DONE)
        code = opt_check_arguments(usage, command, &values);
    if (code != CTL_DONE)
        return code;
    /* The version of this very program needs no configuration. */
    if (command->run != cmd_version || values.argument_count > 0)
        code = ctl_open(ctl);
    if (code == CTL_DONE)
        code = command->run(ctl, &values);
    ctl_close(ctl);
    if (code == CTL_DONE && !ctl->is_patronictl)
        code = ctl->worst;
    return code;
}

int main(int argc, char **argv)
{
    static const struct log_options quiet = {.level = LOG_LEVEL_ERROR};
    struct ctl ctl = {.program = "pgheirctl"};
    const struct ctl_command *command;
    struct opt_values values;
    char path[PATH_SIZE];
    char usage[USAGE_SIZE];
    const char *name = argc > 0 && argv[0] != NULL ? argv[0] : "pgheirctl";
    int next = 0;
    int code;

    name = strrchr(name, '/') == NULL ? name : strrchr(name, '/') + 1;
    ctl.is_patronictl = str_equal(name, "patronictl");
    ctl.program = ctl.is_patronictl ? "patronictl" : "pgheirctl";
    (void)signal(SIGINT, on_interrupt);
    (void)log_open(&quiet);
    (void)str_format(usage, sizeof(usage), "%s [OPTIONS] COMMAND [ARGS]...", ctl.program);
    code = opt_parse(usage, global_specs, argc - 1, argv + 1, true, &values, &next);
    if (code > 0)
        return code;
    if (code < 0 || next >= argc - 1) {
        print_help(ctl.program);
        return code < 0 ? CTL_DONE : CTL_USAGE;
    }
    command = find_command(argv[next + 1]);
    if (command == NULL)
        return opt_fail_command(usage, argv[next + 1]);
    ctl.config_path = find_config(&values, &ctl, path);
    ctl.dcs_url = opt_text(&values, "--dcs-url");
    if (ctl.dcs_url == NULL && !str_is_empty(getenv("DCS_URL")))
        ctl.dcs_url = getenv("DCS_URL");
    ctl.insecure = opt_is_given(&values, "--insecure");
    code = run(&ctl, command, argc - next - 2, argv + next + 2);
    if (fflush(stdout) != 0 || ferror(stdout) != 0) {
        (void)fprintf(stderr, "Error: cannot write to standard output\n");
        return code == CTL_DONE ? CTL_FAILED : code;
    }
    return code;
}
