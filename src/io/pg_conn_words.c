#include "pg_conn_private.h"

#include "pgheir/base/str.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

/* Settings that come with the login, so that not even the first statement runs without them.
 * search_path: nobody's functions but PostgreSQL's own (SE-02). jit: its compiler would cost
 * more than the query. The statistics and audit extensions are told nothing; where they are not
 * loaded the names are mere placeholders. */
#define OPTIONS_COMMON                                                                             \
    "-c search_path=pg_catalog -c jit=off -c idle_in_transaction_session_timeout=0"
#define OPTIONS_SUPERUSER                                                                          \
    OPTIONS_COMMON " -c lc_messages=C -c client_min_messages=warning"                              \
                   " -c pg_stat_statements.track=none"

static const char *const session_options[PG_CONN_KIND_COUNT] = {
    [PG_CONN_HEARTBEAT] = OPTIONS_SUPERUSER " -c statement_timeout=2000",
    /* synchronous_commit local: no standby may hold up what must happen before there is one.
     * Logged is nothing: the statements hold password verifiers (SE-01). */
    [PG_CONN_TASK] = OPTIONS_SUPERUSER
    " -c statement_timeout=0 -c synchronous_commit=local -c default_transaction_read_only=off"
    " -c log_statement=none -c log_min_duration_statement=-1 -c log_duration=off"
    " -c log_min_error_statement=panic -c pg_stat_statements.track_utility=off -c pgaudit.log=none",
    [PG_CONN_PLAIN] = OPTIONS_COMMON " -c statement_timeout=2000",
    [PG_CONN_REPLICATION] = "-c search_path=pg_catalog -c statement_timeout=2000",
};

/* libpq reads these wherever the connection string is silent. Source: libpq, "Environment
 * Variables". */
static const char *const variables[] = {
    "PGHOST", "PGHOSTADDR", "PGPORT", "PGDATABASE", "PGUSER", "PGPASSWORD", "PGSERVICE",
    "PGSERVICEFILE", "PGSYSCONFDIR", "PGOPTIONS", "PGAPPNAME", "PGSSLMODE", "PGREQUIRESSL",
    "PGSSLNEGOTIATION", "PGSSLCOMPRESSION", "PGSSLCERT", "PGSSLKEY", "PGSSLROOTCERT", "PGSSLCRL",
    "PGSSLCRLDIR", "PGSSLSNI", "PGSSLCERTMODE", "PGREQUIREPEER", "PGREQUIREAUTH",
    "PGSSLMINPROTOCOLVERSION", "PGSSLMAXPROTOCOLVERSION", "PGGSSENCMODE", "PGGSSLIB",
    "PGGSSDELEGATION", "PGCHANNELBINDING", "PGCONNECT_TIMEOUT", "PGCLIENTENCODING",
    "PGTARGETSESSIONATTRS", "PGLOADBALANCEHOSTS", "PGDATESTYLE", "PGTZ", "PGGEQO",
    "PGMINPROTOCOLVERSION", "PGMAXPROTOCOLVERSION",
};

void pg_conn_clean_environment(void)
{
    for (size_t i = 0; i < PGH_COUNT(variables); i++)
        (void)unsetenv(variables[i]);
}

static bool address_is_numeric(const char *address)
{
    unsigned char bytes[16];
    char plain[64];
    /* fe80::1%eth0: the scope is not part of the number. */
    size_t length = strcspn(address, "%");
    if (length >= sizeof plain)
        return false;
    memcpy(plain, address, length);
    plain[length] = '\0';
    return inet_pton(AF_INET, plain, bytes) == 1 || inet_pton(AF_INET6, plain, bytes) == 1;
}

static enum rc word_add(struct pg_conn_words *words, const char *keyword, const char *value,
                        struct err *err)
{
    if (value == NULL)
        return RC_OK;
    if (words->count == PG_CONN_WORDS_MAX)
        return err_set(err, RC_LIMIT, "more than %d connection options", PG_CONN_WORDS_MAX);
    words->keywords[words->count] = keyword;
    words->values[words->count++] = value;
    return RC_OK;
}

static enum rc address_add(const struct pg_conn_target *target, struct pg_conn_words *words,
                           struct err *err)
{
    if (target->address != NULL && target->address[0] == '/')
        return word_add(words, "host", target->address, err);
    if (target->address == NULL || !address_is_numeric(target->address))
        return err_set(err, RC_INVALID, "\"%.100s\" is neither a numeric address nor an absolute"
                       " socket directory", target->address != NULL ? target->address : "");
    enum rc rc = word_add(words, "hostaddr", target->address, err);
    return rc != RC_OK ? rc : word_add(words, "host", target->host, err);
}

/* What the caller must not say through options: it would undo what this file promises. */
static bool option_is_refused(const char *name)
{
    static const char *const refused[] = {"host", "hostaddr", "port", "options", "service",
                                          "replication", "target_session_attrs"};
    for (size_t i = 0; i < PGH_COUNT(refused); i++)
        if (str_equal(name, refused[i]))
            return true;
    return false;
}

static bool option_is_given(const struct pg_conn_target *target, const char *name)
{
    for (size_t i = 0; i < target->options_count; i++)
        if (str_equal(target->options[i].name, name) && target->options[i].value != NULL)
            return true;
    return false;
}

static enum rc options_add(const struct pg_conn_target *target, struct pg_conn_words *words,
                           struct err *err)
{
    enum rc rc = RC_OK;
    /* GSS would ask DNS for the realm while the loop waits; only who configures it gets it. */
    if (!option_is_given(target, "gssencmode"))
        rc = word_add(words, "gssencmode", "disable", err);
    for (size_t i = 0; i < target->options_count && rc == RC_OK; i++) {
        if (option_is_refused(target->options[i].name))
            return err_set(err, RC_INVALID, "connection option %s cannot be given here",
                           target->options[i].name);
        rc = word_add(words, target->options[i].name, target->options[i].value, err);
    }
    return rc;
}

enum rc pg_conn_words_fill(enum pg_conn_kind kind, const struct pg_conn_target *target,
                           struct pg_conn_words *ret, struct err *err)
{
    memset(ret, 0, sizeof *ret);
    if (target->port < 1 || target->port > 65535)
        return err_set(err, RC_INVALID, "port %d is not between 1 and 65535", target->port);
    bool is_fit = str_format(ret->port, sizeof ret->port, "%d", target->port);
    pgh_assert(is_fit);
    const char *name = target->application_name;
    const struct pg_text_pair words[] = {
        {"port", ret->port},
        {"dbname", target->database != NULL ? target->database : "postgres"},
        {"user", target->user},
        {"password", target->password},
        {"application_name", name != NULL ? name : "pgheir heartbeat"},
        {"options", session_options[kind]},
        {"replication", kind == PG_CONN_REPLICATION ? "1" : NULL},
        {"client_encoding", "UTF8"},
        {"keepalives_idle", "10"},
        {"keepalives_interval", "5"},
        {"keepalives_count", "3"},
    };
    enum rc rc = address_add(target, ret, err);
    for (size_t i = 0; i < PGH_COUNT(words) && rc == RC_OK; i++)
        rc = word_add(ret, words[i].name, words[i].value, err);
    return rc != RC_OK ? rc : options_add(target, ret, err);
}

/* Settings that older servers do not know cannot come with the login. */
const char *pg_conn_setup_sql(enum pg_conn_kind kind, int server_version)
{
    if (kind == PG_CONN_REPLICATION || server_version < 140000)
        return NULL;
    if (server_version < 170000)
        return "SET idle_session_timeout = 0";
    return "SET idle_session_timeout = 0; SET transaction_timeout = 0";
}
