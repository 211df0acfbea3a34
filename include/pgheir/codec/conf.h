/* The local configuration: Patroni's YAML file or directory and the environment -> struct conf.
 * One table (conf_options()) drives parsing, checking, reload and docs/configuration.md.
 * For: agent (everything), pgheirctl (scope, namespace, restapi, ctl, etcd3). Not for: the dynamic
 * configuration's meaning for decisions (policy_json.h).
 *
 * Two steps, so that the disk never stands in the loop's way: conf_source_read() touches files
 * (call it at start, or in a thread), conf_build() is pure. conf_load() is both.
 * Units: spans milliseconds, sizes bytes, whatever the file said.
 * Errors: never the first only. All go into a struct conf_report, with place, key, what was
 * expected and what to do. With at least one error the function returns
 * RC_INVALID and gives no conf. */
#ifndef PGHEIR_CODEC_CONF_H
#define PGHEIR_CODEC_CONF_H

#include <jansson.h>

#include "pgheir/base/buf.h"
#include "pgheir/base/err.h"
#include "pgheir/base/log.h"
#include "pgheir/codec/pg_text.h"
#include "pgheir/model/limits.h"
#include "pgheir/model/view.h"

enum {
    CONF_HOSTS_MAX = 64,      /* etcd endpoints */
    CONF_MESSAGES_MAX = 200,  /* of one report; a last message says that there were more */
    CONF_FILE_BYTES_MAX = 1024 * 1024,
    CONF_FILES_MAX = 256      /* of a configuration directory */
};

/* ---- Messages ---- */

enum conf_severity { CONF_WARNING, CONF_ERROR };

struct conf_message {
    enum conf_severity severity;
    char *file; /* file, "environment", "dynamic configuration"; never NULL */
    int line;   /* 0: none */
    char *key;  /* dotted path or variable; "" if none */
    char *text; /* what was expected, what was found, what to do; no secret in it */
};

struct conf_report {
    int count;
    int error_count;
    struct conf_message *messages;
};

/* An empty report. */
void conf_report_init(struct conf_report *report);
/* Frees the messages. */
void conf_report_done(struct conf_report *report);
/* Adds one message; file and key may be NULL. report may be NULL: the message is dropped. */
void conf_report_add(struct conf_report *report, enum conf_severity severity, const char *file,
                     int line, const char *key, const char *fmt, ...) PGH_PRINTF(6, 7);
/* Appends "patroni.yml:12: error: restapi.listen: expected ...". */
enum rc conf_message_format(const struct conf_message *message, struct buf *out);

/* ---- Sources ---- */

/* Everything that a configuration is built from, as text. */
struct conf_source;

enum conf_use {
    CONF_FOR_AGENT, /* required keys must be there; path not there: environment alone */
    CONF_FOR_CTL    /* nothing is required; a path that is not there is an error */
};

/* Reads path (file or directory of *.yml and *.yaml; NULL: none), the variables PATRONI_* and
 * PGHEIR_* of env (as environ; copied) and the files that <VARIABLE>_FILE name. Blocks on the disk.
 * RC_NOT_FOUND, RC_INVALID, RC_LIMIT, RC_SYSTEM with the place in report. *ret is set even so and
 * must be freed. */
enum rc conf_source_read(const char *path, const char *const *env, enum conf_use use,
                         struct conf_source **ret, struct conf_report *report);
/* The same from memory, for tests and fuzzers: files[i] is called names[i]. */
struct conf_source *conf_source_new(enum conf_use use);
void conf_source_add_file(struct conf_source *source, const char *name, const char *text,
                          size_t length);
/* name must begin with PATRONI_ or PGHEIR_, others are ignored. */
void conf_source_add_env(struct conf_source *source, const char *name, const char *value);
void conf_source_free(struct conf_source *source);

/* ---- The result ---- */

/* "" and 0: not given. An IPv6 host is kept without its brackets. */
struct conf_address {
    char host[HOST_SIZE];
    int port;
};

enum conf_verify_client { CONF_VERIFY_NONE, CONF_VERIFY_OPTIONAL, CONF_VERIFY_REQUIRED };
enum conf_server_tokens { CONF_TOKENS_ORIGINAL, CONF_TOKENS_MINIMAL, CONF_TOKENS_PRODUCT };
enum conf_watchdog_mode { CONF_WATCHDOG_OFF, CONF_WATCHDOG_AUTOMATIC, CONF_WATCHDOG_REQUIRED };

/* All pointers of the following structs are borrowed from their struct conf (or from the section of
 * a struct conf_postgresql) and NULL where nothing was given and there is no default. Never change
 * what a json_t points to. */

struct conf_restapi {
    struct conf_address listen;          /* required; host may be * or "" */
    struct conf_address connect_address; /* default: listen */
    const char *username, *password;
    const char *certfile, *keyfile, *keyfile_password, *cafile, *ciphers;
    enum conf_verify_client verify_client;
    const json_t *allowlist; /* array of strings */
    bool allowlist_include_members;
    const json_t *http_extra_headers, *https_extra_headers; /* objects of strings */
    int64_t request_queue_size;
    enum conf_server_tokens server_tokens;
};

struct conf_ctl {
    const char *username, *password; /* default: restapi's */
    bool insecure;
    const char *cacert; /* default: restapi.cafile */
    const char *certfile, *keyfile, *keyfile_password;
};

struct conf_etcd3 {
    const char *hosts[CONF_HOSTS_MAX]; /* "host:port" or URLs; what etcd_options.hosts takes */
    int host_count;
    const char *protocol; /* default http */
    const char *username, *password;
    const char *cacert, *cert, *key;
    bool use_proxies;
};

struct conf_log {
    struct log_options options; /* for log_open() */
    const char *traceback_level, *format, *dateformat; /* accepted for Patroni, without effect */
};

struct conf_watchdog {
    enum conf_watchdog_mode mode;
    const char *device;
    int64_t safety_margin_ms; /* -1000: timeout is half the ttl */
};

struct conf_bootstrap {
    bool present; /* the section exists: this node may bootstrap */
    const json_t *dcs; /* object, becomes the key config; never NULL */
    const char *method; /* default initdb */
    const json_t *method_section; /* object with command and more; NULL for initdb */
    const json_t *pg_hba; /* array of strings or NULL */
    const char *post_bootstrap; /* also from post_init */
    const struct pg_text_pair *initdb; /* long options without --; value NULL: a switch */
    size_t initdb_count;
};

/* One of postgresql.authentication. */
struct conf_role {
    const char *username, *password;
    const struct pg_text_pair *options; /* sslmode, sslcert, ...: libpq's keywords */
    size_t options_count;
};

struct conf_callbacks {
    const char *on_start, *on_stop, *on_restart, *on_reload, *on_role_change;
};

struct conf_bin_names {
    const char *pg_ctl, *initdb, *pg_controldata, *pg_basebackup, *postgres, *pg_isready;
    const char *pg_rewind;
};

/* The section postgresql as it is in force: dynamic configuration first, local file over it.
 * Owner: conf_postgresql_done(). */
struct conf_postgresql {
    const char *listen_addresses; /* comma list, * for all; becomes the GUC */
    int port;
    struct conf_address connect_address; /* default: first of listen, if it is one address */
    struct conf_address proxy_address;
    const char *database; /* default postgres */
    const char *data_dir; /* required; absolute */
    const char *config_dir; /* default data_dir */
    const char *config_base_name;
    const char *bin_dir; /* NULL: PATH */
    struct conf_bin_names bin_name;
    const char *pgpass; /* NULL: <state_dir>/pgpass */
    const char *krbsrvname;
    struct conf_role superuser, replication, rewind; /* rewind: superuser if not given */
    struct conf_callbacks callbacks;
    const json_t *create_replica_methods; /* array of strings */
    const struct pg_text_pair *basebackup; /* long options without -- */
    size_t basebackup_count;
    const struct pg_text_pair *rewind_options;
    size_t rewind_options_count;
    bool use_slots, use_pg_rewind;
    bool remove_data_directory_on_rewind_failure;
    bool remove_data_directory_on_diverged_timelines;
    bool use_unix_socket, use_unix_socket_repl;
    const struct pg_text_pair *settings; /* sorted, lower-case names; listen_addresses, port,
                                          * cluster_name and the controlled ones included */
    size_t settings_count;
    const struct pg_text_pair *recovery; /* recovery_conf and recovery GUCs of parameters */
    size_t recovery_count;
    const char *const *pg_hba; /* NULL: leave the file alone */
    size_t pg_hba_count;
    const char *const *pg_ident;
    size_t pg_ident_count;
    const char *custom_conf;
    int64_t pg_ctl_timeout_ms;
    const char *pre_promote, *before_stop;
    json_t *section; /* all of it, unknown keys too; what methods and their options are read from */
    void *storage;   /* private */
};

struct conf {
    const char *scope, *name, *namespace;
    struct conf_restapi restapi;
    struct conf_ctl ctl;
    struct conf_etcd3 etcd3;
    struct conf_log log;
    struct conf_watchdog watchdog;
    struct tags tags;      /* effective */
    const json_t *tags_json; /* object to publish in member key and REST: behaviour.md section 12 */
    struct conf_bootstrap bootstrap;
    struct conf_postgresql postgresql; /* with an empty dynamic configuration */
    const char *state_dir; /* default <data_dir>.pgheir */
    json_t *tree;          /* files and environment merged */
    void *storage;         /* private */
};

/* Pure. RC_INVALID: report has at least one error, *ret is untouched. Owner: conf_free(). */
enum rc conf_build(const struct conf_source *source, struct conf **ret, struct conf_report *report);
/* conf_source_read() and conf_build(). */
enum rc conf_load(const char *path, const char *const *env, enum conf_use use, struct conf **ret,
                  struct conf_report *report);
void conf_free(struct conf *conf);

/* pgheirctl -d: etcd3://host:port/namespace in place of etcd3 and namespace. RC_INVALID. */
enum rc conf_set_dcs_url(struct conf *conf, const char *url, struct err *err);

/* conf->tree, places and all, with every secret replaced by ***: for --validate-config --print. */
json_t *conf_tree_masked(const struct conf *conf);

/* What a reload changed. */
struct conf_changes {
    bool any;
    bool listen;     /* the REST listener must be opened anew */
    bool tls;        /* ... or its certificates read anew */
    bool etcd;       /* etcd_reconfigure() */
    bool log;
    bool postgresql; /* files must be written anew */
    bool identity;   /* tags */
    char refused[256]; /* comma list of keys that need a new agent (scope, name, data_dir, ...) and
                        * keep their old value until then; "" if none */
};
void conf_compare(const struct conf *old, const struct conf *new, struct conf_changes *ret);

/* ---- Dynamic configuration over it ---- */

/* The section postgresql in force for this dynamic configuration (the value of the key config, or
 * NULL) and role ("primary", "replica", "standby_leader" or NULL: no role overrides). What is
 * unusable is ignored with a warning in report. Cannot fail. */
void conf_postgresql_merge(const struct conf *conf, const json_t *dynamic, const char *role,
                           struct conf_postgresql *ret, struct conf_report *report);
void conf_postgresql_done(struct conf_postgresql *postgresql);
/* The local file may override what policy (from etcd alone) says of rewind and removal: call it on
 * every policy before the core sees it. */
void conf_postgresql_override_policy(const struct conf_postgresql *postgresql,
                                     struct policy *policy);
/* NULL if it is not set. Any case. */
const char *conf_postgresql_setting(const struct conf_postgresql *postgresql, const char *name);

/* ---- Texts made of it ---- */

/* postgres://<connect_address>/<database>: never credentials. */
enum rc conf_conn_url(const struct conf_postgresql *postgresql, struct buf *out);
/* Nothing is appended without proxy_address. */
enum rc conf_proxy_url(const struct conf_postgresql *postgresql, struct buf *out);
/* http(s)://<restapi.connect_address>/patroni */
enum rc conf_api_url(const struct conf *conf, struct buf *out);
/* /service/demo/ : with the slash at its end, runs of slashes collapsed. */
enum rc conf_etcd_prefix(const struct conf *conf, struct buf *out);
/* Reads host:port, [::1]:5432, host (then default_port; 0: a port must be given). */
bool conf_address_parse(const char *text, int default_port, struct conf_address *ret);
/* The reverse; brackets around IPv6. */
enum rc conf_address_format(const struct conf_address *address, struct buf *out);

/* ---- The option table ---- */

enum conf_type {
    CONF_TYPE_TEXT, CONF_TYPE_PATH, CONF_TYPE_COMMAND, CONF_TYPE_BOOL, CONF_TYPE_INT,
    CONF_TYPE_ENUM,     /* words, in the order of the C enum */
    CONF_TYPE_ADDRESS,  /* host:port */
    CONF_TYPE_LIST,     /* of texts, or comma text */
    CONF_TYPE_OBJECT,
    CONF_TYPE_OPTIONS,  /* list of option and {option: value}, or an object */
    CONF_TYPE_ANY
};

enum conf_unit { CONF_UNIT_NONE, CONF_UNIT_SECONDS, CONF_UNIT_BYTES };

enum conf_scope_of {
    CONF_LOCAL,      /* file and environment only */
    CONF_DYNAMIC,    /* key config of etcd only */
    CONF_BOTH        /* dynamic, overridden by the file */
};

enum conf_reload {
    CONF_RELOAD,     /* taken over by SIGHUP, POST /reload or a change in etcd */
    CONF_RESTART,    /* a new agent is needed (SIGUSR2 to pgheir); PostgreSQL runs on */
    CONF_BOOTSTRAP   /* looked at only while a cluster is made */
};

/* What an option does in this version. */
enum conf_effect {
    CONF_LIVE,
    CONF_INERT,      /* accepted for Patroni's sake and reported; harmless to ignore */
    CONF_UNAVAILABLE /* would not be safe to ignore: refused where it is switched on */
};

struct conf_option {
    const char *path;         /* restapi.listen */
    enum conf_type type;
    enum conf_unit unit;      /* of a bare number */
    enum conf_scope_of scope;
    enum conf_reload reload;
    enum conf_effect effect;
    bool is_required;         /* by the agent */
    bool is_secret;
    const char *default_text; /* as one would write it, or described in (); NULL: none */
    int64_t min, max;         /* in its unit; both 0: no limit */
    const char *words;        /* CONF_TYPE_ENUM: comma list; | between spellings of one */
    const char *env;          /* without PATRONI_; NULL: none */
    const char *sentence;
    int part;                 /* the rest is private: where the value is stored */
    size_t offset, size;
};

/* All options in the order of the documentation. */
const struct conf_option *conf_options(size_t *ret_count);
/* NULL if there is none of this path. */
const struct conf_option *conf_option_find(const char *path);
/* docs/configuration.md, generated. */
enum rc conf_describe(struct buf *out);
/* One YAML document into a jansson tree, as PyYAML's safe loader types it (YAML 1.1: yes, 0x1f,
 * 017, 1_000). Anchors and aliases are followed within bounds. Keys become texts. file is for
 * messages. RC_INVALID with file:line. Owner of *ret: the caller. An empty document is null. */
enum rc conf_yaml_parse(const char *file, const char *text, size_t length, json_t **ret,
                        struct err *err);

#endif
