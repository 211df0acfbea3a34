/* A configuration: A the YAML alone, B a whole file, C a file with variables before it (NAME=value
 * lines up to an empty one), D a dynamic configuration over a good file. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "pgheir/base/mem.h"
#include "pgheir/codec/conf.h"
#include "pgheir/codec/ctl_text.h"
#include "pgheir/codec/policy_json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char good[] = "scope: s\nname: n\nrestapi: {listen: '127.0.0.1:1'}\n"
                           "etcd3: {host: 'e:1'}\npostgresql:\n  listen: '127.0.0.1:2'\n"
                           "  data_dir: /d\n  authentication: {replication: {username: r}}\n"
                           "  parameters: {work_mem: 1MB}\n  pg_hba: [a]\n";

/* What was read must be written as YAML that reads back as the same. */
static void check_yaml(const json_t *value)
{
    struct buf text;
    struct err err;
    json_t *back = NULL;

    buf_init(&text, 16 * 1024 * 1024);
    if (ctl_put_yaml(&text, value) == RC_OK) {
        pgh_assert(conf_yaml_parse("back", buf_text(&text), text.length, &back, &err) == RC_OK);
        pgh_assert(json_equal(value, back));
    }
    json_decref(back);
    buf_done(&text);
}

static void feed_yaml(const char *text, size_t length)
{
    json_t *value = NULL;
    struct err err = {0};

    if (conf_yaml_parse("f", text, length, &value, &err) == RC_OK) {
        check_yaml(value);
        json_decref(value);
    } else {
        pgh_assert(err.text[0] != '\0');
        pgh_assert(value == NULL);
    }
}

static void check_postgresql(const struct conf_postgresql *postgresql)
{
    for (size_t i = 0; i < postgresql->settings_count; i++) {
        pgh_assert(pg_text_is_setting_name(postgresql->settings[i].name));
        pgh_assert(postgresql->settings[i].value != NULL);
    }
    for (size_t i = 0; i < postgresql->pg_hba_count; i++)
        pgh_assert(postgresql->pg_hba[i] != NULL);
    pgh_assert(conf_postgresql_setting(postgresql, "max_connections") != NULL);
}

static void check_conf(const struct conf *conf)
{
    struct buf text;
    json_t *masked = conf_tree_masked(conf);
    struct conf_changes changes;

    buf_init(&text, 4096);
    (void)conf_conn_url(&conf->postgresql, &text);
    (void)conf_api_url(conf, &text);
    (void)conf_etcd_prefix(conf, &text);
    buf_done(&text);
    conf_compare(conf, conf, &changes);
    pgh_assert(!changes.any && changes.refused[0] == '\0');
    pgh_assert(conf->etcd3.host_count >= 1 && conf->etcd3.host_count <= CONF_HOSTS_MAX);
    pgh_assert(conf->scope[0] != '\0' && conf->name[0] != '\0');
    pgh_assert(conf->postgresql.data_dir[0] == '/');
    pgh_assert(conf->bootstrap.dcs != NULL);
    check_postgresql(&conf->postgresql);
    json_decref(masked);
}

static void feed_source(struct conf_source *source)
{
    struct conf_report report;
    struct conf *conf = NULL;
    enum rc rc;

    conf_report_init(&report);
    rc = conf_build(source, &conf, &report);
    pgh_assert((rc == RC_OK) == (report.error_count == 0));
    pgh_assert((rc == RC_OK) == (conf != NULL));
    if (conf != NULL)
        check_conf(conf);
    conf_free(conf);
    conf_report_done(&report);
    conf_source_free(source);
}

/* NAME=value, one per line; what follows an empty line is the file. */
static void feed_with_env(const char *text, size_t length)
{
    struct conf_source *source = conf_source_new(CONF_FOR_AGENT);
    char *copy = mem_new(length + 1, 1);
    char *at = copy;

    if (length > 0)
        memcpy(copy, text, length);
    while (*at != '\0' && *at != '\n') {
        size_t line = strcspn(at, "\n");
        char *equals = memchr(at, '=', line);
        bool is_last = at[line] == '\0';

        at[line] = '\0';
        if (equals != NULL) {
            *equals = '\0';
            conf_source_add_env(source, at, equals + 1);
        }
        at += line + (is_last ? 0 : 1);
    }
    conf_source_add_file(source, "good", good, strlen(good));
    conf_source_add_file(source, "f", at, length - (size_t)(at - copy));
    feed_source(source);
    mem_free(copy);
}

static void feed_dynamic(const char *text, size_t length)
{
    struct conf_source *source = conf_source_new(CONF_FOR_AGENT);
    struct conf_report report;
    struct conf *conf = NULL;
    struct conf_postgresql merged;
    json_t *config = NULL;
    struct err err;

    conf_report_init(&report);
    conf_source_add_file(source, "good", good, strlen(good));
    pgh_assert(conf_build(source, &conf, &report) == RC_OK);
    if (policy_json_read(text, length, &config, &err) == RC_OK) {
        conf_postgresql_merge(conf, config, "primary", &merged, &report);
        check_postgresql(&merged);
        pgh_assert(strcmp(merged.data_dir, "/d") == 0);
        pgh_assert(report.error_count == 0);
        conf_postgresql_done(&merged);
        json_decref(config);
    }
    conf_free(conf);
    conf_report_done(&report);
    conf_source_free(source);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data + 1;

    if (size == 0)
        return 0;
    size--;
    switch ((data[0] - 'A') & 3) {
    case 0:
        feed_yaml(text, size);
        break;
    case 1: {
        struct conf_source *source = conf_source_new(CONF_FOR_AGENT);

        conf_source_add_file(source, "f", text, size);
        feed_source(source);
        break;
    }
    case 2:
        feed_with_env(text, size);
        break;
    default:
        feed_dynamic(text, size);
        break;
    }
    return 0;
}
