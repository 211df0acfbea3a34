/* The configuration: YAML as Patroni types it, files and environment, messages that name the
 * place. */
#include "pgheir/codec/conf.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "pgheir/base/str.h"
#include "pgheir/codec/policy_json.h"

#include "tests/lib/check.h"

/* ---- YAML ---- */

static void expect_yaml(const char *text, const char *expected)
{
    struct err err = {0};
    json_t *value = NULL;
    char *dump;

    if (conf_yaml_parse("f", text, strlen(text), &value, &err) != RC_OK)
        fail_msg("%s: %s", text, err.text);
    dump = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY | JSON_SORT_KEYS);
    assert_string_equal(dump, expected);
    free(dump);
    json_decref(value);
}

static void expect_yaml_error(const char *text, const char *part)
{
    struct err err = {0};
    json_t *value = NULL;

    assert_int_equal(conf_yaml_parse("f.yml", text, strlen(text), &value, &err), RC_INVALID);
    assert_null(value);
    if (strstr(err.text, part) == NULL)
        fail_msg("%s: expected %s in: %s", text, part, err.text);
}

/* What PyYAML 6's safe_load() makes of the same texts. */
static void test_yaml_scalars(void **state)
{
    (void)state;
    expect_yaml("[yes, No, on, OFF, true, False, y, 'on', \"no\"]",
                "[true,false,true,false,true,false,\"y\",\"on\",\"no\"]");
    expect_yaml("[1, -2, +3, 0x1f, 017, 0b101, 1_000, 0, 0o17, 08, 1:30, 190:20:30]",
                "[1,-2,3,31,15,5,1000,0,\"0o17\",\"08\",90,685230]");
    expect_yaml("[1.5, .5, 1.e+3, 1e3, 1.5e3, -2.0, 1_0.5, .inf, .nan, .]",
                "[1.5,0.5,1000.0,\"1e3\",\"1.5e3\",-2.0,10.5,\".inf\",\".nan\",\".\"]");
    expect_yaml("[~, null, Null, '', nUll]", "[null,null,null,\"\",\"nUll\"]");
    expect_yaml("a:", "{\"a\":null}");
    expect_yaml("", "null");
    expect_yaml("2001-12-14", "\"2001-12-14\"");
    expect_yaml("99999999999999999999", "\"99999999999999999999\"");
    expect_yaml("-9223372036854775808", "-9223372036854775808");
    expect_yaml("host: 127.0.0.1:5432", "{\"host\":\"127.0.0.1:5432\"}");
    expect_yaml("[!!str 1, !!int '2', !!bool 'yes', !!float 3]", "[\"1\",2,true,3.0]");
    expect_yaml("on: 1\n5: x", "{\"5\":\"x\",\"on\":1}");
}

static void test_yaml_structure(void **state)
{
    (void)state;
    expect_yaml("a: &x {b: 1}\nc: *x", "{\"a\":{\"b\":1},\"c\":{\"b\":1}}");
    expect_yaml("d: &x {a: 1, b: 2}\ne:\n  <<: *x\n  b: 3", /* own keys win */
                "{\"d\":{\"a\":1,\"b\":2},\"e\":{\"a\":1,\"b\":3}}");
    expect_yaml("e:\n  <<: [{a: 1}, {a: 2, c: 3}]", "{\"e\":{\"a\":1,\"c\":3}}");
    expect_yaml("e:\n  '<<': 1", "{\"e\":{\"<<\":1}}");
    expect_yaml("a: 1\na: 2", "{\"a\":2}");
    expect_yaml("t: |\n  x\n  y\n", "{\"t\":\"x\\ny\\n\"}");
    expect_yaml("- encoding: UTF8\n- data-checksums", "[{\"encoding\":\"UTF8\"},\"data-"
                "checksums\"]");
}

static void test_yaml_errors(void **state)
{
    char deep[1000];

    (void)state;
    expect_yaml_error("a: [1,\nb: 2", "f.yml:3: not YAML");
    expect_yaml_error("a: 1\n\tb: 2", "f.yml:2: not YAML");
    expect_yaml_error("a: *nobody", "f.yml:1: an alias without its anchor");
    expect_yaml_error("a: &x [*x]", "inside of its own anchor");
    expect_yaml_error("a: !!python/object:os.system x", "tag");
    expect_yaml_error("a: !!int x", "tag");
    expect_yaml_error("--- 1\n--- 2", "second document");
    expect_yaml_error("? [a]\n: 1", "a key must be a text");
    expect_yaml_error("a: \"x\\0y\"", "NUL");
    expect_yaml_error("<<: 1", "merge key");
    memset(deep, '[', sizeof(deep) - 1);
    deep[sizeof(deep) - 1] = '\0';
    expect_yaml_error(deep, "nested deeper");
    /* The million laughs. */
    expect_yaml_error("a: &a [1,1,1,1,1,1,1,1,1]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\n"
                      "c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\n"
                      "e: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e,*e,*e,*e,*e,*e,*e,*e]\n",
                      "unfold");
}

/* ---- Building ---- */

static const char good[] =
    "scope: demo\n"                             /* 1 */
    "name: node1\n"                             /* 2 */
    "restapi:\n"                                /* 3 */
    "  listen: 127.0.0.1:8008\n"                /* 4 */
    "etcd3:\n"                                  /* 5 */
    "  hosts: 10.0.0.1:2379, 10.0.0.2\n"        /* 6 */
    "bootstrap:\n"                              /* 7 */
    "  dcs: {ttl: 5, loop_wait: 1, retry_timeout: 2}\n"
    "  initdb:\n"                               /* 9 */
    "  - encoding: UTF8\n"
    "  - data-checksums\n"
    "postgresql:\n"                             /* 12 */
    "  listen: 127.0.0.1,10.0.0.1:5433\n"
    "  connect_address: 10.0.0.1:5433\n"
    "  data_dir: /pg/data\n"
    "  authentication:\n"
    "    superuser: {username: postgres, password: geheim}\n"
    "    replication: {username: rep, password: auch, sslmode: require}\n"
    "  parameters:\n"
    "    shared_buffers: 16MB\n";               /* 20 */

struct built {
    struct conf *conf;
    struct conf_report report;
    enum rc rc;
};

static void build_with(struct built *ret, const char *more, const char *const *env)
{
    struct conf_source *source = conf_source_new(CONF_FOR_AGENT);

    *ret = (struct built){0};
    conf_report_init(&ret->report);
    if (more != NULL) {
        conf_source_add_file(source, "a.yml", good, strlen(good));
        conf_source_add_file(source, "b.yml", more, strlen(more));
    }
    for (size_t i = 0; env != NULL && env[i] != NULL; i += 2)
        conf_source_add_env(source, env[i], env[i + 1]);
    ret->rc = conf_build(source, &ret->conf, &ret->report);
    assert_int_equal(ret->rc == RC_OK, ret->conf != NULL);
    assert_int_equal(ret->rc == RC_OK, ret->report.error_count == 0);
    conf_source_free(source);
}

static void built_done(struct built *built)
{
    conf_free(built->conf);
    conf_report_done(&built->report);
}

/* All messages as lines. */
static const char *messages(const struct built *built)
{
    static char text[16384];
    struct buf line;

    text[0] = '\0';
    buf_init(&line, 4096);
    for (int i = 0; i < built->report.count; i++) {
        buf_clear(&line);
        assert_int_equal(conf_message_format(&built->report.messages[i], &line), RC_OK);
        assert_true(str_format(text + strlen(text), sizeof(text) - strlen(text), "%s\n",
                               buf_text(&line)));
    }
    buf_done(&line);
    return text;
}

static void expect_message(const struct built *built, const char *part)
{
    if (strstr(messages(built), part) == NULL)
        fail_msg("expected \"%s\" in:\n%s", part, messages(built));
}

static void expect_build(const char *more, enum rc rc, const char *part)
{
    struct built built;

    build_with(&built, more, NULL);
    if (built.rc != rc)
        fail_msg("%s: %s\n%s", more, rc_text(built.rc), messages(&built));
    if (part != NULL)
        expect_message(&built, part);
    built_done(&built);
}

/* What an unreadable file would have said only seems to be missing. */
static void test_unreadable_file_is_the_only_error(void **state)
{
    struct built built;

    (void)state;
    build_with(&built, "scope: null\nname: [", NULL);
    assert_int_equal(built.rc, RC_INVALID);
    expect_message(&built, "not YAML");
    assert_int_equal(built.report.error_count, 1);
    built_done(&built);
}

static void test_all_that_is_wrong_in_dcs(void **state)
{
    struct built built;

    (void)state;
    build_with(&built,
               "bootstrap:\n  dcs:\n    ttl: soon\n    pause: maybe\n    postgresql:\n"
               "      use_pg_rewind: perhaps\n      parameters:\n        max_connections: 5\n"
               "        a b: 1\n",
               NULL);
    assert_int_equal(built.rc, RC_INVALID);
    expect_message(&built, "b.yml:3: error: bootstrap.dcs.ttl: expected a number of seconds");
    expect_message(&built, "b.yml:4: error: bootstrap.dcs.pause: expected true or false");
    expect_message(&built, "b.yml:6: error: bootstrap.dcs.postgresql.use_pg_rewind: ");
    expect_message(&built,
                   "b.yml:8: error: bootstrap.dcs.postgresql.parameters.max_connections: ");
    expect_message(&built, "b.yml:9: error: bootstrap.dcs.postgresql.parameters.a b: ");
    assert_int_equal(built.report.error_count, 5);
    built_done(&built);
}

static void test_good(void **state)
{
    struct built built;
    struct buf text;
    const struct conf *conf;

    (void)state;
    build_with(&built, "{}", NULL);
    if (built.rc != RC_OK || built.report.count != 0)
        fail_msg("%s", messages(&built));
    conf = built.conf;
    assert_string_equal(conf->scope, "demo");
    assert_string_equal(conf->namespace, "service");
    assert_string_equal(conf->restapi.connect_address.host, "127.0.0.1");
    assert_int_equal(conf->restapi.connect_address.port, 8008);
    assert_int_equal(conf->etcd3.host_count, 2);
    assert_string_equal(conf->etcd3.hosts[0], "10.0.0.1:2379");
    assert_string_equal(conf->etcd3.hosts[1], "10.0.0.2:2379");
    assert_string_equal(conf->etcd3.protocol, "http");
    assert_true(conf->bootstrap.present);
    assert_int_equal(conf->bootstrap.initdb_count, 2);
    assert_string_equal(conf->bootstrap.initdb[0].name, "encoding");
    assert_string_equal(conf->bootstrap.initdb[0].value, "UTF8");
    assert_string_equal(conf->bootstrap.initdb[1].name, "data-checksums");
    assert_null(conf->bootstrap.initdb[1].value);
    assert_string_equal(conf->postgresql.listen_addresses, "127.0.0.1,10.0.0.1");
    assert_int_equal(conf->postgresql.port, 5433);
    assert_string_equal(conf->postgresql.config_dir, "/pg/data");
    assert_string_equal(conf->postgresql.superuser.password, "geheim");
    assert_string_equal(conf->postgresql.rewind.username, "postgres");
    assert_int_equal(conf->postgresql.replication.options_count, 1);
    assert_string_equal(conf->postgresql.replication.options[0].value, "require");
    assert_int_equal(conf->postgresql.pg_ctl_timeout_ms, 60000);
    assert_string_equal(conf->state_dir, "/pg/data.pgheir");
    assert_int_equal(conf->log.options.level, LOG_LEVEL_INFO);
    assert_int_equal(conf->log.options.file_num, 4);
    assert_int_equal(conf->log.options.file_size, 25000000);
    buf_init(&text, 1000);
    assert_int_equal(conf_conn_url(&conf->postgresql, &text), RC_OK);
    assert_string_equal(buf_text(&text), "postgres://10.0.0.1:5433/postgres");
    buf_clear(&text);
    assert_int_equal(conf_api_url(conf, &text), RC_OK);
    assert_string_equal(buf_text(&text), "http://127.0.0.1:8008/patroni");
    buf_clear(&text);
    assert_int_equal(conf_etcd_prefix(conf, &text), RC_OK);
    assert_string_equal(buf_text(&text), "/service/demo/");
    buf_done(&text);
    built_done(&built);
}

/* The place, the key, what was expected: P8. */
static void test_messages(void **state)
{
    (void)state;
    expect_build("scope: null", RC_INVALID, "error: scope: missing: expected a text");
    expect_build("scope: [a]", RC_INVALID, "b.yml:1: error: scope: expected a text, found a list");
    expect_build("\nname: true", RC_INVALID, "b.yml:2: error: name: expected a text");
    expect_build("name: a/b", RC_INVALID, "b.yml:1: error: name: it becomes a part of keys");
    expect_build("restapi:\n  listen: nowhere", RC_INVALID,
                 "b.yml:2: error: restapi.listen: expected host:port");
    expect_build("restapi:\n  listen: 1.2.3.4:99999", RC_INVALID, "found \"1.2.3.4:99999\"");
    expect_build("restapi: {request_queue_size: 5000}", RC_INVALID,
                 "expected a whole number from 0 to 4096, found 5000");
    expect_build("restapi: {verify_client: sometimes}", RC_INVALID,
                 "expected none, optional or required, found \"sometimes\"");
    expect_build("restapi: {lisen: x}", RC_OK,
                 "b.yml:1: warning: restapi.lisen: unknown key: it is kept and has no effect; did "
                 "you mean restapi.listen?");
    expect_build("frobnicate: 1", RC_OK, "warning: frobnicate: unknown key");
    expect_build("log:\n  level: INFO\n  level: DEBUG\n", RC_OK,
                 "b.yml:3: warning: log.level: this key stands here twice");
    expect_build("restapi: 5", RC_INVALID, "restapi: expected an object");
    expect_build("ttl: 30", RC_OK, "b.yml:1: warning: ttl: counts only in etcd");
    expect_build("thread_pool_size: 7", RC_OK, "has no effect");
    expect_build("postgresql: {data_dir: rel/ative}", RC_INVALID, "expected an absolute path");
    expect_build("postgresql: {pg_hba: local all all trust}", RC_INVALID, "postgresql.pg_hba");
    expect_build("postgresql: {listen: 'x:y'}", RC_INVALID, "postgresql.listen");
    expect_build("postgresql: {connect_address: null}", RC_INVALID,
                 "postgresql.connect_address: expected host:port that other members can reach");
    expect_build("postgresql: {connect_address: null, listen: '10.0.0.7:5432'}", RC_OK, NULL);
    expect_build("postgresql: {connect_address: null, listen: '*:5432'}", RC_INVALID,
                 "postgresql.connect_address");
    expect_build("postgresql: {parameters: [a]}", RC_INVALID, "expected an object");
    expect_build("postgresql: {pg_ctl_timeout: 1h}", RC_OK, NULL);
    expect_build("postgresql: {pg_ctl_timeout: 0}", RC_INVALID,
                 "a number of seconds, at least 1 (or with a unit: 500ms, 2min), found 0");
    expect_build("bootstrap: {dcs: {ttl: soon}}", RC_INVALID,
                 "b.yml:1: error: bootstrap.dcs.ttl: expected a number of seconds");
    expect_build("bootstrap: {method: magic}", RC_INVALID, "bootstrap.magic with a command");
    expect_build("bootstrap: {method: magic, magic: {command: /bin/true}}", RC_OK, NULL);
    expect_build("watchdog: {mode: required}", RC_INVALID, "no hardware watchdog");
    expect_build("[1, 2]", RC_INVALID, "b.yml:1: error: expected keys and values");
    expect_build("a: [", RC_INVALID, "b.yml:2: error: a: not YAML");
    expect_build("restapi: {authentication: {username: u}}", RC_INVALID, "both username and");
    expect_build("restapi: {listen: '0.0.0.0:8008'}", RC_INVALID, "wildcard, so it must be given");
    expect_build("restapi: {listen: '10.0.0.1:8008'}", RC_OK, "set authentication");
    expect_build("log: {mode: 0640, level: warn}", RC_OK, NULL);
    expect_build("log: {mode: 0o640}", RC_INVALID, "log.mode");
    expect_build("log: {file_size: 25MB}", RC_OK, NULL);
    expect_build("tags: {nofailover: true, failover_priority: 1}", RC_OK,
                 "Conflicting configuration between nofailover: True and failover_priority: 1. "
                 "Defaulting to nofailover: True");
    expect_build("tags: {nosync: false, sync_priority: 0}", RC_OK,
                 "Defaulting to nosync: False");
}

static void test_other_stores(void **state)
{
    (void)state;
    expect_build("etcd3: null\netcd: {host: a}", RC_INVALID,
                 "b.yml:2: error: etcd: this section means etcd's v2 API");
    expect_build("etcd3: null\nconsul: {host: a}", RC_INVALID, "consul: pgheir keeps its state");
    expect_build("consul: {host: a}", RC_OK, "warning: consul");
    expect_build("citus: {group: 0, database: x}", RC_INVALID, "Citus");
    expect_build("etcd3: {host: 'a:1'}", RC_INVALID, "expected one of hosts, host, url, proxy");
    expect_build("etcd3: {hosts: null, srv: example.org}", RC_INVALID, "not available");
}

/* A secret in the wrong place is not shown. */
static void test_secrets(void **state)
{
    struct built built;
    json_t *masked;
    char *dump;

    (void)state;
    build_with(&built,
               "restapi: {authentication: {username: u, password: [hush1]}}\n"
               "ctl: {keyfile_password: {a: hush2}}\n"
               "etcd3: {hosts: null, url: 'ftp://u:hush3@h'}\n",
               NULL);
    assert_int_equal(built.rc, RC_INVALID);
    assert_null(strstr(messages(&built), "hush"));
    built_done(&built);

    build_with(&built,
               "restapi: {authentication: {username: u, password: hush1}}\n"
               "etcd3: {hosts: null, url: 'http://root:hu%73h2@10.0.0.9'}\n"
               "my_secret_thing: hush3\n",
               NULL);
    if (built.rc != RC_OK)
        fail_msg("%s", messages(&built));
    assert_string_equal(built.conf->etcd3.password, "hush2");
    assert_string_equal(built.conf->etcd3.username, "root");
    assert_string_equal(built.conf->etcd3.hosts[0], "http://10.0.0.9:2379");
    assert_string_equal(built.conf->ctl.password, "hush1"); /* inherited */
    masked = conf_tree_masked(built.conf);
    dump = json_dumps(masked, 0);
    assert_null(strstr(dump, "hush"));
    assert_null(strstr(dump, "geheim"));
    assert_non_null(strstr(dump, "***"));
    free(dump);
    json_decref(masked);
    built_done(&built);
}

static void test_merge(void **state)
{
    struct built built;

    (void)state;
    build_with(&built, "name: node2\netcd3: {hosts: ['[::1]:1', b]}\nbootstrap: null\n", NULL);
    assert_int_equal(built.rc, RC_OK);
    assert_string_equal(built.conf->name, "node2");
    assert_int_equal(built.conf->etcd3.host_count, 2);
    assert_string_equal(built.conf->etcd3.hosts[0], "[::1]:1");
    assert_false(built.conf->bootstrap.present);
    built_done(&built);
}

static void test_prefix(void **state)
{
    static const char *const namespaces[] = {"service", "/service", "/service/", "//service//"};

    (void)state;
    for (size_t i = 0; i < PGH_COUNT(namespaces); i++) {
        char more[64];
        struct built built;
        struct buf prefix;

        assert_true(str_format(more, sizeof(more), "namespace: %s", namespaces[i]));
        build_with(&built, more, NULL);
        buf_init(&prefix, 100);
        assert_int_equal(conf_etcd_prefix(built.conf, &prefix), RC_OK);
        assert_string_equal(buf_text(&prefix), "/service/demo/");
        buf_done(&prefix);
        built_done(&built);
    }
}

static void test_legacy(void **state)
{
    struct built built;

    (void)state;
    build_with(&built,
               "name: null\n"
               "bootstrap: {post_init: /bin/true}\n"
               "postgresql:\n"
               "  name: old\n"
               "  authentication: null\n"
               "  superuser: {username: su, password: p1}\n"
               "  replication: {username: re, password: p2}\n"
               "  pg_rewind: {username: rw}\n"
               "  create_replica_method: [wal_e, basebackup]\n"
               "  wal_e: {command: x}\n",
               NULL);
    if (built.rc != RC_OK || built.report.count != 0)
        fail_msg("%s", messages(&built));
    assert_string_equal(built.conf->name, "old");
    assert_string_equal(built.conf->postgresql.superuser.username, "su");
    assert_string_equal(built.conf->postgresql.replication.password, "p2");
    assert_true(built.conf->postgresql.use_pg_rewind);
    assert_string_equal(built.conf->bootstrap.post_bootstrap, "/bin/true");
    assert_int_equal(json_array_size(built.conf->postgresql.create_replica_methods), 2);
    built_done(&built);
}

/* ---- Environment ---- */

static void test_env(void **state)
{
    static const char *const env[] = {
        "PATRONI_NAME", "env1",
        "PATRONI_SCOPE", "",
        "PATRONI_ETCD3_HOSTS", "'a:1', \"b:2\"",
        "PATRONI_RESTAPI_ALLOWLIST", "10.0.0.0/8,x",
        "PATRONI_RESTAPI_HTTP_EXTRA_HEADERS", "X-A: 1",
        "PATRONI_RESTAPI_USERNAME", "ru",
        "PATRONI_RESTAPI_PASSWORD", "rp",
        "PATRONI_REPLICATION_PASSWORD", "123",
        "PATRONI_POSTGRESQL_DATA_DIR", "/env/data",
        "PATRONI_POSTGRESQL_BIN_POSTGRES", "postgres15",
        "PATRONI_LOGLEVEL", "debug",
        "PGHEIR_NAME", "env2",
        "PGHEIR_STATE_DIR", "/env/state",
        "PATRONI_CONSUL_HOST", "c",
        "PATRONI_FROB", "x",
        "HOME", "/root",
        NULL};
    struct built built;

    (void)state;
    build_with(&built, "{}", env);
    if (built.rc != RC_OK)
        fail_msg("%s", messages(&built));
    assert_string_equal(built.conf->name, "env2");
    assert_string_equal(built.conf->scope, "demo");
    assert_int_equal(built.conf->etcd3.host_count, 2);
    assert_string_equal(built.conf->etcd3.hosts[1], "b:2");
    assert_int_equal(json_array_size(built.conf->restapi.allowlist), 2);
    assert_int_equal(json_object_size(built.conf->restapi.http_extra_headers), 1);
    assert_string_equal(built.conf->restapi.password, "rp");
    assert_string_equal(built.conf->postgresql.replication.password, "123");
    assert_string_equal(built.conf->postgresql.data_dir, "/env/data");
    assert_string_equal(built.conf->postgresql.bin_name.postgres, "postgres15");
    assert_string_equal(built.conf->state_dir, "/env/state");
    assert_int_equal(built.conf->log.options.level, LOG_LEVEL_DEBUG);
    expect_message(&built, "PATRONI_CONSUL_HOST: pgheir works with etcd v3 only");
    expect_message(&built, "PATRONI_FROB: unknown variable");
    assert_int_equal(built.report.count, 2);
    built_done(&built);
}

/* Without files PATRONI_CONFIGURATION is everything, and no other variable counts. */
static void test_env_configuration(void **state)
{
    const char *env[] = {"PATRONI_CONFIGURATION", good, "PATRONI_NAME", "other", NULL};
    struct built built;

    (void)state;
    build_with(&built, NULL, env);
    if (built.rc != RC_OK)
        fail_msg("%s", messages(&built));
    assert_string_equal(built.conf->name, "node1");
    built_done(&built);
}

static void write_text(const char *dir, const char *name, const char *text)
{
    char path[512];
    FILE *file;

    assert_true(str_format(path, sizeof(path), "%s/%s", dir, name));
    file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void test_files(void **state)
{
    char dir[] = "/tmp/pgheir-test-conf-XXXXXX";
    char secret[128];
    char config[128];
    const char *env[] = {secret, NULL, NULL};
    struct conf_report report;
    struct conf *conf = NULL;

    (void)state;
    assert_non_null(mkdtemp(dir));
    write_text(dir, "10-base.yml", good);
    write_text(dir, "20-own.yaml", "name: node7\n");
    write_text(dir, "30-ignored.txt", "name: [");
    write_text(dir, "secret", "s3cret\n");
    assert_true(str_format(secret, sizeof(secret), "PATRONI_REPLICATION_PASSWORD_FILE=%s/secret",
                           dir));
    conf_report_init(&report);
    assert_int_equal(conf_load(dir, env, CONF_FOR_AGENT, &conf, &report), RC_OK);
    assert_string_equal(conf->name, "node7");
    assert_string_equal(conf->postgresql.replication.password, "s3cret");
    conf_free(conf);

    /* Said twice, differently. */
    conf = NULL;
    env[1] = "PATRONI_REPLICATION_PASSWORD=x";
    assert_int_equal(conf_load(dir, env, CONF_FOR_AGENT, &conf, &report), RC_INVALID);
    assert_null(conf);
    assert_non_null(strstr(report.messages[report.count - 1].text, "given twice"));
    conf_report_done(&report);

    /* A path that is not there: the agent goes on with the environment if there is one, the console
     * does not. */
    env[0] = "PATRONI_SCOPE=demo";
    env[1] = NULL;
    assert_true(str_format(config, sizeof(config), "%s/none.yml", dir));
    assert_int_equal(conf_load(config, env, CONF_FOR_CTL, &conf, &report), RC_NOT_FOUND);
    conf_report_done(&report);
    assert_int_equal(conf_load(config, env, CONF_FOR_AGENT, &conf, &report), RC_INVALID);
    assert_non_null(strstr(report.messages[0].text, "only the environment counts"));
    conf_report_done(&report);
    env[0] = NULL;
    assert_int_equal(conf_load(config, env, CONF_FOR_AGENT, &conf, &report), RC_NOT_FOUND);
    assert_int_equal(report.count, 1);
    conf_report_done(&report);

    /* A key that is not there at all is missing in the file. */
    write_text(dir, "alone", "name: n1\n");
    assert_true(str_format(config, sizeof(config), "%s/alone", dir));
    assert_int_equal(conf_load(config, env, CONF_FOR_AGENT, &conf, &report), RC_INVALID);
    assert_string_equal(report.messages[0].file, config);
    assert_string_equal(report.messages[0].key, "scope");
    conf_report_done(&report);
    for (size_t i = 0; i < 5; i++) {
        static const char *const names[] = {"10-base.yml", "20-own.yaml", "30-ignored.txt",
                                            "secret", "alone"};

        assert_true(str_format(config, sizeof(config), "%s/%s", dir, names[i]));
        assert_int_equal(unlink(config), 0);
    }
    assert_int_equal(rmdir(dir), 0);
}

/* ---- The rest ---- */

static void test_addresses(void **state)
{
    struct conf_address address;
    struct buf text;

    (void)state;
    assert_true(conf_address_parse("[::1]:5432", 0, &address));
    assert_string_equal(address.host, "::1");
    assert_int_equal(address.port, 5432);
    buf_init(&text, 100);
    assert_int_equal(conf_address_format(&address, &text), RC_OK);
    assert_string_equal(buf_text(&text), "[::1]:5432");
    buf_done(&text);
    assert_true(conf_address_parse("::1:5432", 0, &address));
    assert_string_equal(address.host, "::1");
    assert_true(conf_address_parse("fe80::1", 2379, &address));
    assert_string_equal(address.host, "fe80::1");
    assert_true(conf_address_parse("h", 2379, &address));
    assert_int_equal(address.port, 2379);
    assert_true(conf_address_parse("*:8008", 0, &address));
    assert_true(conf_address_parse(":8008", 0, &address));
    assert_string_equal(address.host, "");
    assert_false(conf_address_parse("h", 0, &address));
    assert_false(conf_address_parse("h:0", 0, &address));
    assert_false(conf_address_parse("h:65536", 0, &address));
    assert_false(conf_address_parse("h:x", 0, &address));
    assert_false(conf_address_parse("h h:1", 0, &address));
    assert_false(conf_address_parse("[::1", 1, &address));
    assert_false(conf_address_parse("[::1]x", 1, &address));
    assert_false(conf_address_parse("u@h:1", 0, &address));
}

static void test_dcs_url(void **state)
{
    struct built built;
    struct err err;

    (void)state;
    build_with(&built, "{}", NULL);
    assert_int_equal(conf_set_dcs_url(built.conf, "etcd3://h:99/prod", &err), RC_OK);
    assert_int_equal(built.conf->etcd3.host_count, 1);
    assert_string_equal(built.conf->etcd3.hosts[0], "h:99");
    assert_string_equal(built.conf->namespace, "prod");
    assert_int_equal(conf_set_dcs_url(built.conf, "etcd3://", &err), RC_OK);
    assert_string_equal(built.conf->etcd3.hosts[0], "localhost:2379");
    assert_int_equal(conf_set_dcs_url(built.conf, "etcd://h", &err), RC_INVALID);
    assert_int_equal(conf_set_dcs_url(built.conf, "h:2379", &err), RC_INVALID);
    built_done(&built);
}

static void test_compare(void **state)
{
    struct built before;
    struct built after;
    struct conf_changes changes;

    (void)state;
    build_with(&before, "{}", NULL);
    build_with(&after, "name: x\ntags: {nofailover: true}\nrestapi: {listen: '127.0.0.1:9'}\n",
               NULL);
    conf_compare(before.conf, before.conf, &changes);
    assert_false(changes.any);
    conf_compare(before.conf, after.conf, &changes);
    assert_true(changes.any && changes.listen && changes.identity);
    assert_false(changes.etcd || changes.tls || changes.postgresql || changes.log);
    assert_string_equal(changes.refused, "name");
    built_done(&before);
    built_done(&after);
}

/* Every row must be able to take its own default, and stand once. */
static void test_table(void **state)
{
    size_t count = 0;
    const struct conf_option *options = conf_options(&count);
    struct buf text;

    (void)state;
    assert_true(count > 150);
    for (size_t i = 0; i < count; i++) {
        assert_ptr_equal(conf_option_find(options[i].path), &options[i]);
        assert_non_null(options[i].sentence);
        assert_int_equal(options[i].type == CONF_TYPE_ENUM, options[i].words != NULL);
        for (size_t j = 0; j < i && options[i].env != NULL; j++)
            assert_false(str_equal(options[i].env, options[j].env));
    }
    buf_init(&text, 1024 * 1024);
    assert_int_equal(conf_describe(&text), RC_OK);
    assert_non_null(strstr(buf_text(&text), "| `restapi.listen` |"));
    buf_done(&text);
}

static void test_report_is_bounded(void **state)
{
    struct conf_report report;

    (void)state;
    conf_report_init(&report);
    for (int i = 0; i < 5 * CONF_MESSAGES_MAX; i++)
        conf_report_add(&report, CONF_ERROR, "f", i, "k", "message %d", i);
    assert_int_equal(report.count, CONF_MESSAGES_MAX + 1);
    assert_int_equal(report.error_count, 5 * CONF_MESSAGES_MAX);
    assert_string_equal(report.messages[CONF_MESSAGES_MAX].text, "more messages are left out");
    conf_report_add(NULL, CONF_ERROR, "f", 1, "k", "nobody listens");
    conf_report_done(&report);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_yaml_scalars), cmocka_unit_test(test_yaml_structure),
        cmocka_unit_test(test_yaml_errors),
        cmocka_unit_test(test_unreadable_file_is_the_only_error),
        cmocka_unit_test(test_all_that_is_wrong_in_dcs),
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_messages),     cmocka_unit_test(test_other_stores),
        cmocka_unit_test(test_secrets),      cmocka_unit_test(test_merge),
        cmocka_unit_test(test_legacy),       cmocka_unit_test(test_env),
        cmocka_unit_test(test_env_configuration),
        cmocka_unit_test(test_files),        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_dcs_url),      cmocka_unit_test(test_compare),
        cmocka_unit_test(test_prefix),
        cmocka_unit_test(test_table),        cmocka_unit_test(test_report_is_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
