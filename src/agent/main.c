/* pgheir-agent: options, run, exit code. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent.h"

#include "pgheir/base/log.h"
#include "pgheir/base/mem.h"
#include "pgheir/base/str.h"

enum { MAIN_TEXT_BYTES_MAX = 4 * 1024 * 1024, MAIN_EXIT_USAGE = 2 };

enum main_mode {
    MAIN_RUN,
    MAIN_VALIDATE,
    MAIN_DESCRIBE,
    MAIN_SAMPLE,
    MAIN_SUPERVISOR,
    MAIN_VERSION,
    MAIN_HELP
};

static const char *const main_usage =
    "usage: pgheir [CONFIG]                             run a member of the cluster\n"
    "       pgheir --validate-config [--print] [CONFIG] check the configuration, print it merged\n"
    "       pgheir --describe-config                    every option, as docs/configuration.md\n"
    "       pgheir --generate-sample-config [FILE]      a configuration to begin with\n"
    "       pgheir --version | --help\n"
    "CONFIG is a file or a directory of *.yml; without it PATRONI_* variables alone count.\n";

static void
main_print_report(const struct conf_report *report)
{
    struct buf line;

    for (int i = 0; i < report->count; i++) {
        buf_init(&line, 4096);
        if (conf_message_format(&report->messages[i], &line) == RC_OK)
            (void)fprintf(stderr, "%s\n", buf_text(&line));
        buf_done(&line);
    }
}

static enum rc
main_load(const char *path, bool is_quiet, struct conf **ret)
{
    struct conf_report report;
    enum rc rc;

    conf_report_init(&report);
    rc = conf_load(path, (const char *const *)environ, CONF_FOR_AGENT, ret, &report);
    if (rc != RC_OK || !is_quiet)
        main_print_report(&report);
    conf_report_done(&report);
    return rc;
}

static int
main_validate(const char *path, bool is_printing)
{
    struct conf *conf = NULL;
    struct pg_site site;
    struct err err;
    int code = 0;

    if (main_load(path, false, &conf) != RC_OK)
        return 1;
    if (startup_site(conf, &site, &err) != RC_OK) {
        (void)fprintf(stderr, "%s\n", err.text);
        code = 1;
    } else {
        code = validate_surroundings(&site);
    }
    if (is_printing) {
        json_t *tree = conf_tree_masked(conf);
        char *text = json_dumps(tree, JSON_INDENT(2) | JSON_SORT_KEYS);

        (void)printf("%s\n", text != NULL ? text : "{}");
        free(text);
        json_decref(tree);
    }
    conf_free(conf);
    return code;
}

/* src/supervisor/ask.h */
static int
main_supervisor(const char *path)
{
    struct conf *conf = NULL;
    struct pg_site site;
    struct err err;

    if (main_load(path, true, &conf) != RC_OK)
        return 1;
    if (startup_site(conf, &site, &err) != RC_OK) {
        (void)fprintf(stderr, "%s\n", err.text);
        conf_free(conf);
        return 1;
    }
    if (validate_start(&site) != 0) {
        conf_free(conf);
        return 1;
    }
    (void)printf("data_dir=%s\nstate_dir=%s\n", site.data_dir, site.state_dir);
    if (!str_is_empty(conf->postgresql.bin_name.postgres))
        (void)printf("program=%s/%s\n", site.bin_dir, site.tools[PG_TOOL_POSTGRES]);
    conf_free(conf);
    return 0;
}

static int
main_describe(void)
{
    struct buf text;
    enum rc rc;

    buf_init(&text, MAIN_TEXT_BYTES_MAX);
    rc = conf_describe(&text);
    (void)fputs(buf_text(&text), stdout);
    buf_done(&text);
    return rc == RC_OK ? 0 : 1;
}

/* The installed sample, byte for byte. */
static int
main_sample(const char *path)
{
    static const char *const sample = PGHEIR_SYSCONFDIR "/pgheir.sample.yml";
    FILE *in = fopen(sample, "re");
    FILE *out = path == NULL ? stdout : fopen(path, "wxe");
    char bytes[4096];
    size_t length;

    if (in == NULL)
        (void)fprintf(stderr, "pgheir: cannot read %s\n", sample);
    if (out == NULL)
        (void)fprintf(stderr, "pgheir: cannot make %s (it must not be there yet)\n", path);
    while (in != NULL && out != NULL && (length = fread(bytes, 1, sizeof(bytes), in)) > 0)
        (void)fwrite(bytes, 1, length, out);
    if (in != NULL)
        (void)fclose(in);
    if (out != NULL && out != stdout)
        (void)fclose(out);
    return in != NULL && out != NULL ? 0 : 1;
}

static int
main_run(const char *path)
{
    struct agent *agent = mem_new(1, sizeof(*agent));
    struct err err;
    int code;

    if (startup_begin(agent, path, &code) == RC_OK) {
        if (loop_run(agent->loop, &err) == RC_OK) {
            code = agent->exit_code;
        } else {
            log_critical("%s", err.text);
            code = EXIT_FAILURE + 1; /* counts as a crash: the supervisor starts another */
        }
    }
    startup_end(agent);
    if (log_close() != 0 && code == AGENT_EXIT_STOPPED)
        code = AGENT_EXIT_LOG_QUEUE;
    mem_free(agent);
    return code;
}

int
main(int argc, char **argv)
{
    static const struct option options[] = {{"validate-config", no_argument, NULL, 'V'},
                                            {"print", no_argument, NULL, 'p'},
                                            {"ignore-listen-port", no_argument, NULL, 'i'},
                                            {"describe-config", no_argument, NULL, 'D'},
                                            {"generate-sample-config", no_argument, NULL, 'S'},
                                            {"print-supervisor", no_argument, NULL, 'P'},
                                            {"version", no_argument, NULL, 'v'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    enum main_mode mode = MAIN_RUN;
    bool is_printing = false;
    const char *path;
    int option;

    while ((option = getopt_long(argc, argv, "piv", options, NULL)) != -1) {
        if (option == 'p')
            is_printing = true;
        else if (option == 'V')
            mode = MAIN_VALIDATE;
        else if (option == 'D')
            mode = MAIN_DESCRIBE;
        else if (option == 'S')
            mode = MAIN_SAMPLE;
        else if (option == 'P')
            mode = MAIN_SUPERVISOR;
        else if (option == 'v')
            mode = MAIN_VERSION;
        else if (option == 'h')
            mode = MAIN_HELP;
        else if (option != 'i') {
            (void)fputs(main_usage, stderr);
            return MAIN_EXIT_USAGE;
        }
    }
    path = optind < argc ? argv[optind] : NULL;
    if (optind + 1 < argc) {
        (void)fprintf(stderr, "pgheir: more than one file: %s and %s\n%s", argv[optind],
                      argv[optind + 1], main_usage);
        return MAIN_EXIT_USAGE;
    }
    switch (mode) {
    case MAIN_VALIDATE:
        return main_validate(path, is_printing);
    case MAIN_DESCRIBE:
        return main_describe();
    case MAIN_SAMPLE:
        return main_sample(path);
    case MAIN_SUPERVISOR:
        return main_supervisor(path);
    case MAIN_VERSION:
        (void)printf("pgheir %s\n", PGHEIR_VERSION);
        return 0;
    case MAIN_HELP:
        (void)fputs(main_usage, stdout);
        return 0;
    case MAIN_RUN:
        return main_run(path);
    }
    return MAIN_EXIT_USAGE;
}
