/* The roles of postgresql.authentication in a server that was not made by us (takeover of an
 * existing directory): those that are missing are made. One that is there is left alone, its
 * password, too. */
#include "agent.h"

#include "pgheir/base/clock.h"
#include "pgheir/base/log.h"
#include "pgheir/base/mem.h"
#include "pgheir/base/str.h"

enum { ROLES_MS = 20000 };

struct roles {
    struct agent *agent;
    struct pg_conn *conn;
};

static void
roles_on_made(struct pg_answer *answer, void *arg)
{
    struct roles *roles = arg;

    if (answer->rc == RC_OK)
        log_info("missing roles of postgresql.authentication were made");
    else
        log_warning("roles of postgresql.authentication cannot be made: %s", answer->err.text);
    pg_conn_close(roles->conn);
}

static bool
roles_is_there(const struct pg_answer *answer, const char *name)
{
    const PGresult *rows = answer->results[0];

    for (int i = 0; i < PQntuples(rows); i++)
        if (str_equal(PQgetvalue(rows, i, 0), name))
            return true;
    return false;
}

static void
roles_on_names(struct pg_answer *answer, void *arg)
{
    struct roles *roles = arg;
    const struct conf_postgresql *pg = &roles->agent->pg;
    struct pg_account missing[2];
    struct err err;
    int count = 0;

    if (answer->rc != RC_OK || answer->results_count < 1) {
        log_warning("cannot look for the roles of postgresql.authentication: %s",
                    answer->err.text);
        pg_conn_close(roles->conn);
        return;
    }
    if (pg->replication.username != NULL && !roles_is_there(answer, pg->replication.username))
        missing[count++] = (struct pg_account){PG_ROLE_REPLICATION, pg->replication.username,
                                               pg->replication.password};
    if (pg->rewind.username != NULL && !roles_is_there(answer, pg->rewind.username))
        missing[count++] =
            (struct pg_account){PG_ROLE_REWIND, pg->rewind.username, pg->rewind.password};
    if (count == 0 || pg_query_roles(roles->conn, missing, count, clock_boot_ms() + ROLES_MS,
                                     roles_on_made, roles, &err) != RC_OK)
        pg_conn_close(roles->conn);
}

static void
roles_on_open(struct pg_answer *answer, void *arg)
{
    struct roles *roles = arg;
    struct err err;

    if (answer->rc != RC_OK ||
        pg_conn_query(roles->conn, "SELECT rolname FROM pg_catalog.pg_roles", 0, NULL, 0,
                      clock_boot_ms() + ROLES_MS, roles_on_names, roles, &err) != RC_OK)
        pg_conn_close(roles->conn);
}

void
roles_ensure(struct roles *roles)
{
    struct pg_plan_target local;
    struct err err;

    if (pg_conn_is_busy(roles->conn) || pg_conn_is_open(roles->conn) ||
        !pg_plan_local_target(roles->agent, NULL, &local))
        return;
    local.target.application_name = "pgheir roles";
    if (pg_conn_open(roles->conn, PG_CONN_TASK, &local.target, clock_boot_ms() + ROLES_MS,
                     roles_on_open, roles, &err) != RC_OK)
        log_warning("cannot look for the roles of postgresql.authentication: %s", err.text);
}

struct roles *
roles_new(struct agent *agent)
{
    struct roles *roles = mem_new(1, sizeof(*roles));

    roles->agent = agent;
    roles->conn = pg_conn_new(agent->loop, "local roles");
    return roles;
}

void
roles_free(struct roles *roles)
{
    if (roles == NULL)
        return;
    pg_conn_free(roles->conn);
    mem_free(roles);
}
