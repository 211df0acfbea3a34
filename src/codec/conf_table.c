/* Every option of the configuration. One row each: this table parses, checks and documents. */
#include "conf_private.h"

#include "pgheir/base/str.h"
#include "pgheir/model/policy.h"

#define IN_CONF(member)                                                                            \
    .part = CONF_PART_CONF, .offset = offsetof(struct conf, member),                               \
    .size = sizeof(((struct conf *)0)->member)
#define IN_PG(member)                                                                              \
    .part = CONF_PART_POSTGRESQL, .offset = offsetof(struct conf_postgresql, member),              \
    .size = sizeof(((struct conf_postgresql *)0)->member)
#define IN_POLICY(member)                                                                          \
    .part = CONF_PART_POLICY, .offset = offsetof(struct policy, member),                           \
    .size = sizeof(((struct policy *)0)->member)

/* Local and reloadable is what most are. */
#define OPTION(path_, type_, sentence_, ...)                                                       \
    {.path = path_, .type = CONF_TYPE_##type_, .sentence = sentence_, __VA_ARGS__}
#define NEW_AGENT .reload = CONF_RESTART
#define AT_BOOTSTRAP .reload = CONF_BOOTSTRAP
#define DYNAMIC .scope = CONF_DYNAMIC
#define BOTH .scope = CONF_BOTH
#define INERT .effect = CONF_INERT
#define UNAVAILABLE .effect = CONF_UNAVAILABLE
#define SECONDS .unit = CONF_UNIT_SECONDS
#define BYTES .unit = CONF_UNIT_BYTES
#define DEFAULT(text_) .default_text = text_
#define RANGE(min_, max_) .min = min_, .max = max_
#define ENV(name_) .env = name_
#define WORDS(words_) .words = words_
#define SECRET .is_secret = true
#define REQUIRED .is_required = true

enum { MANY = INT32_MAX };

#define ROLE(name, upper, member, sentence_)                                                       \
    OPTION("postgresql.authentication." name, OBJECT, sentence_),                                  \
    OPTION("postgresql.authentication." name ".username", TEXT, "Its name.",                       \
           IN_PG(member.username), ENV(upper "_USERNAME")),                                        \
    OPTION("postgresql.authentication." name ".password", TEXT, "Its password.",                   \
           IN_PG(member.password), SECRET, ENV(upper "_PASSWORD")),                                \
    OPTION("postgresql.authentication." name ".sslmode", TEXT, "libpq's sslmode.",                 \
           ENV(upper "_SSLMODE")),                                                                 \
    OPTION("postgresql.authentication." name ".sslcert", PATH, "Client certificate.",              \
           ENV(upper "_SSLCERT")),                                                                 \
    OPTION("postgresql.authentication." name ".sslkey", PATH, "Its key.", ENV(upper "_SSLKEY")),   \
    OPTION("postgresql.authentication." name ".sslpassword", TEXT, "Password of the key.", SECRET, \
           ENV(upper "_SSLPASSWORD")),                                                             \
    OPTION("postgresql.authentication." name ".sslrootcert", PATH, "CA of the server.",            \
           ENV(upper "_SSLROOTCERT")),                                                             \
    OPTION("postgresql.authentication." name ".sslcrl", PATH, "Revoked certificates.",             \
           ENV(upper "_SSLCRL")),                                                                  \
    OPTION("postgresql.authentication." name ".sslcrldir", PATH, "Directory of revoked ones.",     \
           ENV(upper "_SSLCRLDIR")),                                                               \
    OPTION("postgresql.authentication." name ".gssencmode", TEXT, "libpq's gssencmode.",           \
           ENV(upper "_GSSENCMODE")),                                                              \
    OPTION("postgresql.authentication." name ".channel_binding", TEXT,                             \
           "libpq's channel_binding.", ENV(upper "_CHANNEL_BINDING")),                             \
    OPTION("postgresql.authentication." name ".sslnegotiation", TEXT,                              \
           "libpq's sslnegotiation (PostgreSQL 17).", ENV(upper "_SSLNEGOTIATION"))

#define BIN_NAME(name, upper)                                                                      \
    OPTION("postgresql.bin_name." #name, TEXT, "Name of this program.", IN_PG(bin_name.name),      \
           NEW_AGENT, DEFAULT(#name), ENV("POSTGRESQL_BIN_" upper))

#define CALLBACK(name, sentence_)                                                                  \
    OPTION("postgresql.callbacks." #name, COMMAND, sentence_, IN_PG(callbacks.name), BOTH)

static const struct conf_option options[] = {
    /* ---- the node ---- */
    OPTION("scope", TEXT, "Name of the cluster; the same on all its members.", IN_CONF(scope),
           NEW_AGENT, REQUIRED, ENV("SCOPE")),
    OPTION("name", TEXT, "Name of this member; unique in the cluster.", IN_CONF(name), NEW_AGENT,
           REQUIRED, ENV("NAME")),
    OPTION("namespace", TEXT, "First part of the keys in etcd: /<namespace>/<scope>/.",
           IN_CONF(namespace), NEW_AGENT, DEFAULT("service"), ENV("NAMESPACE")),
    OPTION("thread_pool_size", INT, "The agent has one thread.", INERT, DEFAULT("5"),
           RANGE(5, MANY), ENV("THREAD_POOL_SIZE")),
    OPTION("thread_stack_size", INT, "The agent has one thread.", INERT, BYTES, DEFAULT("524288"),
           RANGE(65536, MANY), ENV("THREAD_STACK_SIZE")),

    /* ---- log ---- */
    OPTION("log.type", ENUM, "json: one object per line.", IN_CONF(log.options.json),
           DEFAULT("plain"), WORDS("plain,json"), ENV("LOG_TYPE")),
    OPTION("log.level", ENUM, "Least severity that is written.", IN_CONF(log.options.level),
           DEFAULT("INFO"), WORDS("DEBUG,INFO,WARNING|WARN,ERROR,CRITICAL|FATAL"),
           ENV("LOG_LEVEL")),
    OPTION("log.traceback_level", ENUM, "There are no tracebacks.", INERT, DEFAULT("ERROR"),
           WORDS("DEBUG,INFO,WARNING|WARN,ERROR,CRITICAL|FATAL"), ENV("LOG_TRACEBACK_LEVEL")),
    OPTION("log.format", ANY, "The form of a line is fixed.", INERT, ENV("LOG_FORMAT")),
    OPTION("log.dateformat", TEXT, "The form of a time is fixed.", INERT, ENV("LOG_DATEFORMAT")),
    OPTION("log.static_fields", OBJECT, "The fields of a JSON line are fixed.", INERT,
           ENV("LOG_STATIC_FIELDS")),
    OPTION("log.max_queue_size", INT, "The queue is bounded in bytes; lost lines are counted.",
           INERT, DEFAULT("1000"), RANGE(1, MANY), ENV("LOG_MAX_QUEUE_SIZE")),
    OPTION("log.dir", PATH, "Directory of patroni.log; without it the log goes to stderr.",
           IN_CONF(log.options.dir), ENV("LOG_DIR")),
    OPTION("log.mode", INT, "Permission bits of the file, as 0640; without it umask decides.",
           IN_CONF(log.options.file_mode), RANGE(0, 511), ENV("LOG_MODE")),
    OPTION("log.file_num", INT, "Rotated files kept; 0: never rotate.",
           IN_CONF(log.options.file_num), DEFAULT("4"), RANGE(0, MANY), ENV("LOG_FILE_NUM")),
    OPTION("log.file_size", INT, "Size at which the file is rotated.",
           IN_CONF(log.options.file_size), BYTES, DEFAULT("25000000"), RANGE(0, INT64_MAX),
           ENV("LOG_FILE_SIZE")),
    OPTION("log.loggers", OBJECT, "There is one logger.", INERT, ENV("LOG_LOGGERS")),
    OPTION("log.deduplicate_heartbeat_logs", BOOL,
           "At level INFO, leave out a repeated line \"no action\".",
           IN_CONF(log.options.deduplicate), DEFAULT("false"),
           ENV("LOG_DEDUPLICATE_HEARTBEAT_LOGS")),

    /* ---- restapi ---- */
    OPTION("restapi.listen", ADDRESS, "Where the REST API listens; host * is every address.",
           IN_CONF(restapi.listen), REQUIRED, ENV("RESTAPI_LISTEN")),
    OPTION("restapi.connect_address", ADDRESS, "Where others reach it; becomes api_url in etcd.",
           IN_CONF(restapi.connect_address), DEFAULT("(listen)"), ENV("RESTAPI_CONNECT_ADDRESS")),
    OPTION("restapi.authentication", OBJECT, "Basic authentication of what changes things."),
    OPTION("restapi.authentication.username", TEXT, "User for requests that change something.",
           IN_CONF(restapi.username), ENV("RESTAPI_USERNAME")),
    OPTION("restapi.authentication.password", TEXT, "Its password.", IN_CONF(restapi.password),
           SECRET, ENV("RESTAPI_PASSWORD")),
    OPTION("restapi.certfile", PATH, "Certificate (PEM); switches TLS on.",
           IN_CONF(restapi.certfile), ENV("RESTAPI_CERTFILE")),
    OPTION("restapi.keyfile", PATH, "Key (PEM).", IN_CONF(restapi.keyfile),
           DEFAULT("(in certfile)"), ENV("RESTAPI_KEYFILE")),
    OPTION("restapi.keyfile_password", TEXT, "Password of the key.",
           IN_CONF(restapi.keyfile_password), SECRET, ENV("RESTAPI_KEYFILE_PASSWORD")),
    OPTION("restapi.cafile", PATH, "CA of client certificates.", IN_CONF(restapi.cafile),
           ENV("RESTAPI_CAFILE")),
    OPTION("restapi.ciphers", TEXT, "OpenSSL's list of ciphers.", IN_CONF(restapi.ciphers),
           ENV("RESTAPI_CIPHERS")),
    OPTION("restapi.verify_client", ENUM,
           "required: no connection without a client certificate; optional: no change without one.",
           IN_CONF(restapi.verify_client), DEFAULT("none"), WORDS("none|,optional,required"),
           ENV("RESTAPI_VERIFY_CLIENT")),
    OPTION("restapi.allowlist", LIST, "Names, addresses or CIDR blocks that may change something.",
           IN_CONF(restapi.allowlist), ENV("RESTAPI_ALLOWLIST")),
    OPTION("restapi.allowlist_include_members", BOOL, "Members of the cluster may, too.",
           IN_CONF(restapi.allowlist_include_members), DEFAULT("false"),
           ENV("RESTAPI_ALLOWLIST_INCLUDE_MEMBERS")),
    OPTION("restapi.http_extra_headers", OBJECT, "Headers added to every answer with a body.",
           IN_CONF(restapi.http_extra_headers), ENV("RESTAPI_HTTP_EXTRA_HEADERS")),
    OPTION("restapi.https_extra_headers", OBJECT, "The same, added under TLS.",
           IN_CONF(restapi.https_extra_headers), ENV("RESTAPI_HTTPS_EXTRA_HEADERS")),
    OPTION("restapi.request_queue_size", INT, "Backlog of the listening socket.",
           IN_CONF(restapi.request_queue_size), DEFAULT("5"), RANGE(0, 4096),
           ENV("RESTAPI_REQUEST_QUEUE_SIZE")),
    OPTION("restapi.thread_pool_size", INT, "The server needs no threads.", INERT, DEFAULT("5"),
           RANGE(5, MANY)),
    OPTION("restapi.server_tokens", ENUM, "What the header Server tells.",
           IN_CONF(restapi.server_tokens), DEFAULT("original"),
           WORDS("original,minimal,productonly"), ENV("RESTAPI_SERVER_TOKENS")),

    /* ---- ctl ---- */
    OPTION("ctl.authentication", OBJECT, "Credentials towards other members' REST API."),
    OPTION("ctl.authentication.username", TEXT, "User.", IN_CONF(ctl.username),
           DEFAULT("(restapi.authentication.username)"), ENV("CTL_USERNAME")),
    OPTION("ctl.authentication.password", TEXT, "Password.", IN_CONF(ctl.password), SECRET,
           DEFAULT("(restapi.authentication.password)"), ENV("CTL_PASSWORD")),
    OPTION("ctl.insecure", BOOL, "Do not verify the REST API's certificates.",
           IN_CONF(ctl.insecure), DEFAULT("false"), ENV("CTL_INSECURE")),
    OPTION("ctl.cacert", PATH, "CA of the REST API.", IN_CONF(ctl.cacert),
           DEFAULT("(restapi.cafile)"), ENV("CTL_CACERT")),
    OPTION("ctl.certfile", PATH, "Client certificate.", IN_CONF(ctl.certfile),
           ENV("CTL_CERTFILE")),
    OPTION("ctl.keyfile", PATH, "Its key.", IN_CONF(ctl.keyfile), ENV("CTL_KEYFILE")),
    OPTION("ctl.keyfile_password", TEXT, "Password of the key.", IN_CONF(ctl.keyfile_password),
           SECRET, ENV("CTL_KEYFILE_PASSWORD")),

    /* ---- etcd3 ---- */
    OPTION("etcd3.host", TEXT, "One member, host:port.", ENV("ETCD3_HOST")),
    OPTION("etcd3.hosts", LIST, "Several members, host:port.", ENV("ETCD3_HOSTS")),
    OPTION("etcd3.port", INT, "Port where host or hosts name none.", DEFAULT("2379"),
           RANGE(1, 65535), ENV("ETCD3_PORT")),
    OPTION("etcd3.url", TEXT, "One member as URL; user and password may stand in it.", SECRET,
           ENV("ETCD3_URL")),
    OPTION("etcd3.proxy", TEXT, "URL of a proxy; its list is final.", SECRET, ENV("ETCD3_PROXY")),
    OPTION("etcd3.srv", TEXT, "DNS domain of SRV records (aliases discovery_srv, srv_domain).",
           UNAVAILABLE, ENV("ETCD3_SRV")),
    OPTION("etcd3.srv_suffix", TEXT, "Suffix of the SRV records' service.", UNAVAILABLE,
           ENV("ETCD3_SRV_SUFFIX")),
    OPTION("etcd3.use_proxies", BOOL, "The list is final: members are not discovered.",
           IN_CONF(etcd3.use_proxies), DEFAULT("false"), ENV("ETCD3_USE_PROXIES")),
    OPTION("etcd3.protocol", ENUM, "Where host or hosts name none.", DEFAULT("http"),
           WORDS("http,https"), ENV("ETCD3_PROTOCOL")),
    OPTION("etcd3.username", TEXT, "User.", IN_CONF(etcd3.username), ENV("ETCD3_USERNAME")),
    OPTION("etcd3.password", TEXT, "Password.", IN_CONF(etcd3.password), SECRET,
           ENV("ETCD3_PASSWORD")),
    OPTION("etcd3.cacert", PATH, "CA of etcd; without it the servers are not verified.",
           IN_CONF(etcd3.cacert), ENV("ETCD3_CACERT")),
    OPTION("etcd3.cert", PATH, "Client certificate.", IN_CONF(etcd3.cert), ENV("ETCD3_CERT")),
    OPTION("etcd3.key", PATH, "Its key.", IN_CONF(etcd3.key), ENV("ETCD3_KEY")),

    /* ---- watchdog ---- */
    OPTION("watchdog.mode", ENUM,
           "This version has no hardware watchdog: required is refused, automatic does without.",
           IN_CONF(watchdog.mode), DEFAULT("automatic"),
           WORDS("off|disable|disabled,automatic|auto,required|require")),
    OPTION("watchdog.device", PATH, "Device.", INERT, IN_CONF(watchdog.device),
           DEFAULT("/dev/watchdog")),
    OPTION("watchdog.driver", ENUM, "Driver.", INERT, DEFAULT("default"),
           WORDS("default,testing")),
    OPTION("watchdog.safety_margin", INT, "Time between its bite and the end of the lease.",
           INERT, IN_CONF(watchdog.safety_margin_ms), SECONDS, DEFAULT("5"), RANGE(-1, MANY)),

    /* ---- tags ---- */
    OPTION("tags", OBJECT, "What others may expect of this member; custom ones are published."),
    OPTION("tags.nofailover", BOOL, "Never becomes leader."),
    OPTION("tags.failover_priority", INT,
           "Breaks ties between equally advanced members; 0 is nofailover.", DEFAULT("1")),
    OPTION("tags.noloadbalance", BOOL, "/replica answers 503."),
    OPTION("tags.clonefrom", BOOL, "Preferred source of new members."),
    OPTION("tags.replicatefrom", TEXT, "Member to stream from."),
    OPTION("tags.nosync", BOOL, "Never a synchronous standby."),
    OPTION("tags.sync_priority", INT, "Order of synchronous standbys; 0 is nosync.", DEFAULT("1")),
    OPTION("tags.nostream", BOOL, "No streaming, WAL archive only."),

    /* ---- bootstrap ---- */
    OPTION("bootstrap", OBJECT, "Without this section this node never makes a new cluster.",
           AT_BOOTSTRAP),
    OPTION("bootstrap.dcs", OBJECT, "First dynamic configuration of a new cluster.",
           AT_BOOTSTRAP),
    OPTION("bootstrap.method", TEXT, "initdb, or a section beside it that names a command.",
           AT_BOOTSTRAP, IN_CONF(bootstrap.method), DEFAULT("initdb")),
    OPTION("bootstrap.initdb", OPTIONS, "Options of initdb.", AT_BOOTSTRAP),
    OPTION("bootstrap.pg_hba", LIST,
           "Lines of pg_hba.conf, if neither postgresql.pg_hba nor hba_file is given.",
           AT_BOOTSTRAP, IN_CONF(bootstrap.pg_hba)),
    OPTION("bootstrap.post_bootstrap", COMMAND,
           "Runs once after initdb, with a connection string (alias post_init).", AT_BOOTSTRAP,
           IN_CONF(bootstrap.post_bootstrap)),
    OPTION("bootstrap.post_init", COMMAND, "Old name of post_bootstrap.", AT_BOOTSTRAP),
    OPTION("bootstrap.users", ANY, "Gone since Patroni 4.0; use post_bootstrap.", INERT,
           AT_BOOTSTRAP),

    /* ---- postgresql ---- */
    OPTION("postgresql.listen", TEXT, "host,host:port; becomes listen_addresses and port.",
           REQUIRED, ENV("POSTGRESQL_LISTEN")),
    OPTION("postgresql.connect_address", ADDRESS, "Where clients and members reach PostgreSQL.",
           IN_PG(connect_address), DEFAULT("(listen)"), ENV("POSTGRESQL_CONNECT_ADDRESS")),
    OPTION("postgresql.proxy_address", ADDRESS, "Where a pooler in front is reached (proxy_url).",
           IN_PG(proxy_address), ENV("POSTGRESQL_PROXY_ADDRESS")),
    OPTION("postgresql.database", TEXT, "Database of the agent's own sessions.", IN_PG(database),
           BOTH, DEFAULT("postgres")),
    OPTION("postgresql.data_dir", PATH, "Data directory.", IN_PG(data_dir), NEW_AGENT, REQUIRED,
           ENV("POSTGRESQL_DATA_DIR")),
    OPTION("postgresql.config_dir", PATH, "Directory of postgresql.conf.", IN_PG(config_dir),
           NEW_AGENT, DEFAULT("(data_dir)"), ENV("POSTGRESQL_CONFIG_DIR")),
    OPTION("postgresql.config_base_name", TEXT, "<x>.conf and <x>.base.conf.",
           IN_PG(config_base_name), NEW_AGENT, DEFAULT("postgresql")),
    OPTION("postgresql.bin_dir", PATH, "Directory of PostgreSQL's programs.", IN_PG(bin_dir),
           NEW_AGENT, DEFAULT("(PATH)"), ENV("POSTGRESQL_BIN_DIR")),
    OPTION("postgresql.bin_name", OBJECT, "Other names of PostgreSQL's programs."),
    BIN_NAME(pg_ctl, "PG_CTL"),
    BIN_NAME(initdb, "INITDB"),
    BIN_NAME(pg_controldata, "PG_CONTROLDATA"),
    BIN_NAME(pg_basebackup, "PG_BASEBACKUP"),
    BIN_NAME(postgres, "POSTGRES"),
    BIN_NAME(pg_isready, "PG_ISREADY"),
    BIN_NAME(pg_rewind, "PG_REWIND"),
    OPTION("postgresql.pgpass", PATH, "Password file that the agent writes (0600).",
           IN_PG(pgpass), NEW_AGENT, DEFAULT("(<pgheir.state_dir>/pgpass)"),
           ENV("POSTGRESQL_PGPASS")),
    OPTION("postgresql.krbsrvname", TEXT, "Kerberos service name.", IN_PG(krbsrvname), BOTH),
    OPTION("postgresql.authentication", OBJECT, "The agent's roles."),
    ROLE("superuser", "SUPERUSER", superuser, "Role of the agent's own sessions."),
    ROLE("replication", "REPLICATION", replication, "Role that replicas stream with."),
    ROLE("rewind", "REWIND", rewind, "Role of pg_rewind; without it the superuser."),
    OPTION("postgresql.callbacks", OBJECT, "Commands called as <command> <action> <role> <scope>.",
           BOTH),
    CALLBACK(on_start, "PostgreSQL has started."),
    CALLBACK(on_stop, "PostgreSQL has stopped."),
    CALLBACK(on_restart, "PostgreSQL has restarted in the same role."),
    CALLBACK(on_reload, "PostgreSQL has reloaded its configuration."),
    CALLBACK(on_role_change, "The role has changed."),
    OPTION("postgresql.create_replica_methods", LIST,
           "Ways to make a replica, in order (alias create_replica_method).",
           IN_PG(create_replica_methods), BOTH, DEFAULT("basebackup")),
    OPTION("postgresql.create_replica_method", LIST, "Old name of create_replica_methods.", BOTH),
    OPTION("postgresql.basebackup", OPTIONS, "Options of pg_basebackup.", BOTH),
    OPTION("postgresql.rewind", OPTIONS, "Options of pg_rewind.", BOTH),
    OPTION("postgresql.use_slots", BOOL, "Replication slots for members; cluster-wide only.",
           IN_PG(use_slots), DYNAMIC, DEFAULT("true")),
    OPTION("postgresql.use_pg_rewind", BOOL, "A diverged member is rewound.", IN_PG(use_pg_rewind),
           BOTH, DEFAULT("false")),
    OPTION("postgresql.remove_data_directory_on_rewind_failure", BOOL,
           "Where pg_rewind fails, the data directory may be replaced by a fresh copy.",
           IN_PG(remove_data_directory_on_rewind_failure), BOTH, DEFAULT("false")),
    OPTION("postgresql.remove_data_directory_on_diverged_timelines", BOOL,
           "Where pg_rewind is not possible, a diverged data directory may be replaced.",
           IN_PG(remove_data_directory_on_diverged_timelines), BOTH, DEFAULT("false")),
    OPTION("postgresql.use_unix_socket", BOOL, "The agent's sessions go through the Unix socket.",
           IN_PG(use_unix_socket), BOTH, DEFAULT("false")),
    OPTION("postgresql.use_unix_socket_repl", BOOL,
           "The agent's replication sessions to its own server go through the Unix socket.",
           IN_PG(use_unix_socket_repl), BOTH, DEFAULT("false")),
    OPTION("postgresql.parameters", OBJECT,
           "Settings of PostgreSQL; merged one by one, the local file wins.", BOTH),
    OPTION("postgresql.parameters_primary", OBJECT, "Settings while primary.", BOTH),
    OPTION("postgresql.parameters_replica", OBJECT, "Settings while replica.", BOTH),
    OPTION("postgresql.parameters_standby_leader", OBJECT, "Settings while standby leader.", BOTH),
    OPTION("postgresql.pg_hba", LIST, "The lines of pg_hba.conf, all of them.", BOTH),
    OPTION("postgresql.pg_hba_primary", LIST, "Instead of pg_hba while primary.", BOTH),
    OPTION("postgresql.pg_hba_replica", LIST, "Instead of pg_hba while replica.", BOTH),
    OPTION("postgresql.pg_hba_standby_leader", LIST, "Instead of pg_hba while standby leader.",
           BOTH),
    OPTION("postgresql.pg_ident", LIST, "The lines of pg_ident.conf, all of them.", BOTH),
    OPTION("postgresql.pg_ident_primary", LIST, "Instead of pg_ident while primary.", BOTH),
    OPTION("postgresql.pg_ident_replica", LIST, "Instead of pg_ident while replica.", BOTH),
    OPTION("postgresql.pg_ident_standby_leader", LIST, "Instead of pg_ident while standby leader.",
           BOTH),
    OPTION("postgresql.custom_conf", PATH, "Included instead of <x>.base.conf.",
           IN_PG(custom_conf), BOTH),
    OPTION("postgresql.recovery_conf", OBJECT, "Recovery settings of a standby.", BOTH),
    OPTION("postgresql.pg_ctl_timeout", INT, "Longest wait for a start.", IN_PG(pg_ctl_timeout_ms),
           BOTH, SECONDS, DEFAULT("60"), RANGE(1, MANY)),
    OPTION("postgresql.pre_promote", COMMAND, "Runs before a promotion; may refuse it.",
           IN_PG(pre_promote), BOTH),
    OPTION("postgresql.before_stop", COMMAND, "Runs before a stop; its result is ignored.",
           IN_PG(before_stop), BOTH),

    /* ---- pgheir ---- */
    OPTION("pgheir", OBJECT, "What Patroni does not have."),
    OPTION("pgheir.state_dir", PATH, "Our own files, beside the data directory (0700).",
           IN_CONF(state_dir), NEW_AGENT, DEFAULT("(<postgresql.data_dir>.pgheir)"),
           ENV("STATE_DIR")),

    /* ---- dynamic ---- */
    OPTION("ttl", INT, "Life of the leader lease without renewal.", IN_POLICY(ttl_ms), DYNAMIC,
           SECONDS, DEFAULT("30"), RANGE(1, MANY)),
    OPTION("loop_wait", INT, "Pace of housekeeping.", IN_POLICY(loop_wait_ms), DYNAMIC, SECONDS,
           DEFAULT("10"), RANGE(1, MANY)),
    OPTION("retry_timeout", INT, "Time for one call to etcd or PostgreSQL.",
           IN_POLICY(retry_timeout_ms), DYNAMIC, SECONDS, DEFAULT("10"), RANGE(1, MANY)),
    OPTION("maximum_lag_on_failover", INT,
           "A member further behind never takes the lead by itself.",
           IN_POLICY(maximum_lag_on_failover_bytes), DYNAMIC, BYTES, DEFAULT("1048576"),
           RANGE(0, INT64_MAX)),
    OPTION("maximum_lag_on_syncnode", INT, "Synchronous modes.", INERT, DYNAMIC, BYTES,
           DEFAULT("-1"), RANGE(-1, INT64_MAX)),
    OPTION("max_timelines_history", INT, "Rows kept in the key history; 0: all.",
           DYNAMIC, DEFAULT("0"), RANGE(0, MANY)),
    OPTION("check_timeline", BOOL, "Timelines are always compared here.",
           IN_POLICY(check_timeline), DYNAMIC, DEFAULT("false")),
    OPTION("primary_start_timeout", INT,
           "Time for a crashed primary to come back; 0: fail over at once where possible.",
           IN_POLICY(primary_start_timeout_ms), DYNAMIC, SECONDS, DEFAULT("300"), RANGE(0, MANY)),
    OPTION("master_start_timeout", INT, "Old name of primary_start_timeout.", DYNAMIC, SECONDS,
           RANGE(0, MANY)),
    OPTION("primary_stop_timeout", INT, "Counts in synchronous modes only.", INERT, DYNAMIC,
           SECONDS, DEFAULT("0"), RANGE(0, MANY)),
    OPTION("master_stop_timeout", INT, "Old name of primary_stop_timeout.", INERT, DYNAMIC,
           SECONDS, RANGE(0, MANY)),
    OPTION("primary_race_backoff", INT, "Not needed: a race waits for the old fence.", INERT,
           DYNAMIC, SECONDS, DEFAULT("0"), RANGE(0, MANY)),
    OPTION("synchronous_mode", ENUM, "Synchronous replication under control.", UNAVAILABLE, DYNAMIC,
           DEFAULT("off"), WORDS("off|false|no|0,on|true|yes|1,quorum")),
    OPTION("synchronous_mode_strict", BOOL, "No commit without a standby.", UNAVAILABLE, DYNAMIC,
           DEFAULT("false")),
    OPTION("synchronous_node_count", INT, "Synchronous modes.", INERT, DYNAMIC, DEFAULT("1"),
           RANGE(1, MANY)),
    OPTION("failsafe_mode", BOOL, "Without it a leader demotes when etcd is gone.", INERT,
           DYNAMIC, DEFAULT("false")),
    OPTION("pause", BOOL, "Maintenance: nothing is decided.", IN_POLICY(pause), DYNAMIC,
           DEFAULT("false")),
    OPTION("member_slots_ttl", INT, "How long the slot of a vanished member is kept.",
           IN_POLICY(member_slots_ttl_ms), DYNAMIC, SECONDS, DEFAULT("30min"), RANGE(0, MANY)),
    OPTION("slots", OBJECT, "Permanent replication slots.", INERT, DYNAMIC),
    OPTION("permanent_slots", OBJECT, "Old name of slots.", INERT, DYNAMIC),
    OPTION("permanent_replication_slots", OBJECT, "Old name of slots.", INERT, DYNAMIC),
    OPTION("ignore_slots", ANY, "Slots that are left alone.", INERT, DYNAMIC),
    OPTION("standby_cluster", OBJECT, "The whole cluster follows another one.", UNAVAILABLE,
           DYNAMIC),
};

const struct conf_option *conf_options(size_t *ret_count)
{
    *ret_count = PGH_COUNT(options);
    return options;
}

const struct conf_option *conf_option_find(const char *path)
{
    for (size_t i = 0; i < PGH_COUNT(options); i++)
        if (str_equal(options[i].path, path))
            return &options[i];
    return NULL;
}
