#include "pgheir/io/pg_query.h"

#include "pg_conn_private.h"
#include "pgheir/base/buf.h"
#include "pgheir/base/mem.h"
#include "pgheir/base/str.h"

#include <string.h>

enum { ROLES_MAX = 8, ROLE_NAME_MAX = 63, PASSWORD_MAX = 1024, SQL_MAX = 8192 };

/*  ENCRYPTION --> LOOK --> WRITE --> GRANT (rewind only) --> next role: LOOK ... --> done      */
enum roles_state { ROLES_ENCRYPTION, ROLES_LOOK, ROLES_WRITE, ROLES_GRANT };

struct role_entry {
    enum pg_role_kind kind;
    char name[ROLE_NAME_MAX + 1];
    char password[PASSWORD_MAX + 1];
};

struct roles {
    struct pg_conn *conn;
    enum roles_state state;
    bool exists;
    char encryption[32];
    int64_t deadline_ms;
    pg_answer_fn *on_done;
    void *arg;
    int idx, count;
    struct role_entry entries[ROLES_MAX];
};

static void on_answer(struct pg_answer *answer, void *arg);

/* pg_rewind reads the source through these. Source: PostgreSQL documentation, pg_rewind, Notes. */
static const char *const rewind_functions[] = {
    "pg_ls_dir(text, boolean, boolean)",
    "pg_stat_file(text, boolean)",
    "pg_read_binary_file(text)",
    "pg_read_binary_file(text, bigint, bigint, boolean)",
};

static enum rc send(struct roles *roles, const char *sql, int params_count,
                    const char *const *params, unsigned flags, struct err *err)
{
    enum rc rc = pg_conn_query(roles->conn, sql, params_count, params, flags, roles->deadline_ms,
                               on_answer, roles, err);
    if (rc == RC_OK)
        pg_conn_give(roles->conn, roles);
    return rc;
}

static enum rc look_send(struct roles *roles, struct err *err)
{
    const char *name = roles->entries[roles->idx].name;
    roles->state = ROLES_LOOK;
    return send(roles, "SELECT 1 FROM pg_catalog.pg_roles WHERE rolname = $1", 1, &name, 0, err);
}

/* The server gets the verifier only, so that no log, no statistics and no audit trail of it can
 * hold the password. */
static enum rc password_add(struct roles *roles, const struct role_entry *entry, struct buf *sql,
                            struct err *err)
{
    if (entry->password[0] == '\0')
        return RC_OK;
    char *verifier = PQencryptPasswordConn(pg_conn_raw(roles->conn), entry->password, entry->name,
                                           roles->encryption);
    if (verifier == NULL)
        return err_set(err, RC_INVALID, "role %s: libpq cannot encrypt its password with method %s",
                       entry->name, roles->encryption);
    enum rc rc = buf_puts(sql, " PASSWORD ");
    if (rc == RC_OK)
        rc = pg_text_sql_literal(sql, verifier);
    PQfreemem(verifier);
    return rc == RC_OK ? RC_OK : err_set(err, rc, "role %s: statement too long", entry->name);
}

static enum rc write_send(struct roles *roles, struct err *err)
{
    static const char *const rights[PG_ROLE_KIND_COUNT] = {
        [PG_ROLE_SUPERUSER] = " SUPERUSER", [PG_ROLE_REPLICATION] = " REPLICATION",
        [PG_ROLE_REWIND] = "",
    };
    const struct role_entry *entry = &roles->entries[roles->idx];
    struct buf sql;
    buf_init(&sql, SQL_MAX);
    enum rc rc = buf_puts(&sql, roles->exists ? "ALTER ROLE " : "CREATE ROLE ");
    if (rc == RC_OK)
        rc = pg_text_sql_name(&sql, entry->name);
    if (rc == RC_OK)
        rc = buf_printf(&sql, " LOGIN%s", rights[entry->kind]);
    if (rc == RC_OK)
        rc = password_add(roles, entry, &sql, err);
    roles->state = ROLES_WRITE;
    if (rc == RC_OK)
        rc = send(roles, buf_text(&sql), 0, NULL, PG_QUERY_SECRET, err);
    buf_done(&sql);
    return rc;
}

static enum rc grant_send(struct roles *roles, struct err *err)
{
    const struct role_entry *entry = &roles->entries[roles->idx];
    struct buf sql;
    enum rc rc = RC_OK;
    buf_init(&sql, SQL_MAX);
    for (size_t i = 0; i < PGH_COUNT(rewind_functions) && rc == RC_OK; i++) {
        rc = buf_printf(&sql, "GRANT EXECUTE ON FUNCTION pg_catalog.%s TO ", rewind_functions[i]);
        if (rc == RC_OK)
            rc = pg_text_sql_name(&sql, entry->name);
        if (rc == RC_OK)
            rc = buf_puts(&sql, ";");
    }
    pgh_assert(rc == RC_OK);
    roles->state = ROLES_GRANT;
    rc = send(roles, buf_text(&sql), 0, NULL, 0, err);
    buf_done(&sql);
    return rc;
}

/* Sends what comes next; *ret_done if there is nothing. */
static enum rc step(struct roles *roles, const struct pg_answer *answer, bool *ret_done,
                    struct err *err)
{
    const struct role_entry *entry = &roles->entries[roles->idx];
    switch (roles->state) {
    case ROLES_ENCRYPTION:
        if (answer->results_count != 1 || PQntuples(answer->results[0]) != 1 ||
            !str_copy(roles->encryption, sizeof roles->encryption,
                      PQgetvalue(answer->results[0], 0, 0)))
            return err_set(err, RC_PROTOCOL, "SHOW password_encryption: unreadable answer");
        return look_send(roles, err);
    case ROLES_LOOK:
        roles->exists = answer->results_count == 1 && PQntuples(answer->results[0]) == 1;
        if (!roles->exists || entry->password[0] != '\0')
            return write_send(roles, err);
        break;
    case ROLES_WRITE:
        break;
    case ROLES_GRANT:
        roles->idx++;
        *ret_done = roles->idx == roles->count;
        return *ret_done ? RC_OK : look_send(roles, err);
    }
    if (entry->kind == PG_ROLE_REWIND)
        return grant_send(roles, err);
    roles->idx++;
    *ret_done = roles->idx == roles->count;
    return *ret_done ? RC_OK : look_send(roles, err);
}

static void on_answer(struct pg_answer *answer, void *arg)
{
    struct roles *roles = arg;
    bool is_done = answer->rc != RC_OK;
    if (!is_done) {
        answer->rc = step(roles, answer, &is_done, &answer->err);
        if (answer->rc == RC_OK && !is_done)
            return;
    }
    if (answer->rc != RC_OK && roles->idx < roles->count)
        (void)err_wrap(&answer->err, "role %s", roles->entries[roles->idx].name);
    /* Passwords do not stay in freed memory. */
    explicit_bzero(roles->entries, sizeof roles->entries);
    roles->on_done(answer, roles->arg);
}

enum rc pg_query_roles(struct pg_conn *conn, const struct pg_account *list, int count,
                       int64_t deadline_ms, pg_answer_fn *on_done, void *arg, struct err *err)
{
    if (count < 1 || count > ROLES_MAX)
        return err_set(err, RC_INVALID, "%d roles: expected 1 to %d", count, ROLES_MAX);
    struct roles *roles = mem_new(1, sizeof *roles);
    roles->conn = conn;
    roles->count = count;
    roles->deadline_ms = deadline_ms;
    roles->on_done = on_done;
    roles->arg = arg;
    enum rc rc = RC_OK;
    for (int i = 0; i < count && rc == RC_OK; i++) {
        struct role_entry *entry = &roles->entries[i];
        const char *password = list[i].password != NULL ? list[i].password : "";
        entry->kind = list[i].kind;
        if (str_is_empty(list[i].name) ||
            !str_copy(entry->name, sizeof entry->name, list[i].name))
            rc = err_set(err, RC_INVALID, "role name \"%.80s\": expected 1 to %d bytes",
                         list[i].name != NULL ? list[i].name : "", ROLE_NAME_MAX);
        else if (!str_copy(entry->password, sizeof entry->password, password))
            rc = err_set(err, RC_INVALID, "role %s: its password is longer than %d bytes",
                         entry->name, PASSWORD_MAX);
    }
    if (rc == RC_OK)
        rc = send(roles, "SHOW password_encryption", 0, NULL, 0, err);
    if (rc != RC_OK) {
        explicit_bzero(roles->entries, sizeof roles->entries);
        mem_free(roles);
    }
    return rc;
}
