#include "pgheir/io/pg_conn.h"

#include "pg_conn_private.h"
#include "pgheir/base/clock.h"
#include "pgheir/base/log.h"
#include "pgheir/base/mem.h"
#include "pgheir/base/str.h"
#include "pgheir/io/loop.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { LABEL_SIZE = 64, SQL_LOG_MAX = 200 };

/*  CLOSED --open--> CONNECTING --> SETTING_UP --> IDLE <--query/answer--> QUERYING
 *     ^                 |  |            |           |                         |
 *     '--- deadline, error, close <-----+-----------+-------------------------'            */
enum conn_state {
    CONN_CLOSED,
    CONN_CONNECTING, /* PQconnectPoll() */
    CONN_SETTING_UP, /* statements that make the session safe */
    CONN_IDLE,
    CONN_QUERYING
};

struct pg_conn {
    struct loop *loop;
    char label[LABEL_SIZE];
    enum conn_state state;
    enum pg_conn_kind kind;
    PGconn *pg;
    int watched_fd;
    struct loop_fd *watch;
    /* the deadline of the request, or a completion due in the next turn */
    struct loop_timer *timer;
    bool has_request, is_posted, is_in_callback, is_free_wanted, is_secret;
    struct pg_answer answer;
    PGresult *results[PG_CONN_RESULTS_MAX];
    pg_answer_fn *on_answer;
    void *on_answer_arg;
    void *memory; /* see pg_conn_give() */
    pg_lost_fn *on_lost;
    void *on_lost_arg;
};

static void on_socket(int fd, unsigned ready, void *arg);
static void on_timer(void *arg);

/* ---- socket and results ---- */

static void watch_update(struct pg_conn *conn, unsigned wanted)
{
    int fd = PQsocket(conn->pg);
    /* libpq may go on with another socket (next address, retry without TLS). */
    if (conn->watch != NULL && fd != conn->watched_fd) {
        loop_fd_free(conn->watch);
        conn->watch = NULL;
    }
    if (fd < 0)
        return;
    if (conn->watch == NULL)
        conn->watch = loop_fd_new(conn->loop, fd, on_socket, conn);
    conn->watched_fd = fd;
    loop_fd_want(conn->watch, wanted);
}

static void watch_drop(struct pg_conn *conn)
{
    loop_fd_free(conn->watch);
    conn->watch = NULL;
    conn->watched_fd = -1;
}

static void results_clear(struct pg_conn *conn)
{
    for (int i = 0; i < PG_CONN_RESULTS_MAX; i++) {
        PQclear(conn->results[i]);
        conn->results[i] = NULL;
    }
}

static void socket_close(struct pg_conn *conn)
{
    watch_drop(conn);
    if (conn->pg != NULL) {
        /* PQfinish() says goodbye: through a socket that is shut it cannot wait. */
        int fd = PQsocket(conn->pg);
        if (fd >= 0 && conn->state != CONN_IDLE)
            (void)shutdown(fd, SHUT_RDWR);
        PQfinish(conn->pg);
    }
    conn->pg = NULL;
    conn->state = CONN_CLOSED;
}

/* ---- completion ---- */

static void conn_destroy(struct pg_conn *conn)
{
    socket_close(conn);
    loop_timer_free(conn->timer);
    results_clear(conn);
    mem_free(conn->memory);
    mem_free(conn);
}

static void request_complete(struct pg_conn *conn)
{
    pgh_assert(conn->has_request);
    conn->has_request = false;
    conn->is_posted = false;
    loop_timer_disarm(conn->timer);
    conn->answer.took_ms = clock_boot_ms() - conn->answer.sent_at_ms;
    conn->answer.results = conn->results;
    /* The callback may begin the next request: what belongs to this one is moved out first. */
    struct pg_answer answer = conn->answer;
    PGresult *results[PG_CONN_RESULTS_MAX];
    memcpy(results, conn->results, sizeof results);
    memset(conn->results, 0, sizeof conn->results);
    answer.results = results;
    void *memory = conn->memory;
    conn->memory = NULL;
    pgh_assert(!conn->is_in_callback);
    conn->is_in_callback = true;
    conn->on_answer(&answer, conn->on_answer_arg);
    conn->is_in_callback = false;
    if (conn->memory != memory)
        mem_free(memory);
    for (int i = 0; i < PG_CONN_RESULTS_MAX; i++)
        PQclear(results[i]);
    if (conn->is_free_wanted)
        conn_destroy(conn);
}

/* For completions that become known inside the caller's own call. */
static void request_post(struct pg_conn *conn)
{
    conn->is_posted = true;
    loop_timer_arm(conn->timer, clock_boot_ms());
}

static void text_trim(char *text)
{
    size_t length = strlen(text);
    while (length > 0 && (text[length - 1] == '\n' || text[length - 1] == ' '))
        text[--length] = '\0';
    for (char *at = text; *at != '\0'; at++)
        if (*at == '\n' || *at == '\r')
            *at = ' ';
}

/* Fills answer from libpq's message. At PQERRORS_VERBOSE the server's part reads
 * "FATAL:  53300: sorry, too many clients already": libpq has no other way to the SQLSTATE of a
 * refused login. */
static void answer_fail(struct pg_conn *conn, enum rc rc, const char *message)
{
    struct pg_answer *answer = &conn->answer;
    char text[ERR_TEXT_SIZE];
    /* Too long is cut at a line: the first one says what matters. */
    if (!str_format(text, sizeof text, "%s", message))
        text[sizeof text - 1] = '\0';
    char *location = strstr(text, "\nLOCATION:");
    if (location != NULL)
        *location = '\0';
    text_trim(text);
    answer->rc = err_set(&answer->err, rc, "%s: %s", conn->label, text);
}

static void sqlstate_find(struct pg_conn *conn, const char *message)
{
    for (const char *at = strstr(message, ":  "); at != NULL; at = strstr(at + 1, ":  ")) {
        const char *code = at + 3;
        size_t length = strspn(code, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ");
        if (length == PG_SQLSTATE_SIZE - 1 && code[length] == ':') {
            memcpy(conn->answer.sqlstate, code, length);
            conn->answer.sqlstate[length] = '\0';
        }
    }
}

static void connect_fail(struct pg_conn *conn)
{
    const char *message = PQerrorMessage(conn->pg);
    sqlstate_find(conn, message);
    answer_fail(conn, conn->answer.sqlstate[0] != '\0' ? RC_REFUSED : RC_UNREACHABLE, message);
    socket_close(conn);
    request_complete(conn);
}

static void connection_lost(struct pg_conn *conn)
{
    pg_lost_fn *on_lost = conn->on_lost;
    void *arg = conn->on_lost_arg;
    bool was_idle = conn->state == CONN_IDLE;
    if (conn->has_request)
        answer_fail(conn, RC_UNREACHABLE, PQerrorMessage(conn->pg));
    log_debug("session lost label=%s", conn->label);
    socket_close(conn);
    if (conn->has_request) {
        request_complete(conn);
    } else if (was_idle && on_lost != NULL) {
        conn->on_lost = NULL;
        on_lost(arg);
    }
}

/* ---- session ---- */

static void on_notice(void *arg, const PGresult *result)
{
    const struct pg_conn *conn = arg;
    if (!log_is_enabled(LOG_LEVEL_DEBUG) || conn->is_secret)
        return;
    const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    log_debug("notice from PostgreSQL label=%s text=\"%s\"", conn->label,
              message != NULL ? message : "");
}

static void open_succeed(struct pg_conn *conn)
{
    conn->state = CONN_IDLE;
    (void)PQsetErrorVerbosity(conn->pg, PQERRORS_DEFAULT);
    watch_update(conn, LOOP_READ);
    conn->answer.rc = RC_OK;
    request_complete(conn);
}

static void query_flush(struct pg_conn *conn)
{
    int left = PQflush(conn->pg);
    if (left < 0) {
        connection_lost(conn);
        return;
    }
    watch_update(conn, left > 0 ? LOOP_READ | LOOP_WRITE : LOOP_READ);
}

static void connected(struct pg_conn *conn)
{
    const char *setup = pg_conn_setup_sql(conn->kind, PQserverVersion(conn->pg));
    (void)PQsetnonblocking(conn->pg, 1);
    (void)PQsetNoticeReceiver(conn->pg, on_notice, conn);
    if (setup == NULL) {
        open_succeed(conn);
        return;
    }
    conn->state = CONN_SETTING_UP;
    if (!PQsendQuery(conn->pg, setup)) {
        connect_fail(conn);
        return;
    }
    query_flush(conn);
}

static void connect_poll(struct pg_conn *conn)
{
    switch (PQconnectPoll(conn->pg)) {
    case PGRES_POLLING_OK:
        connected(conn);
        return;
    case PGRES_POLLING_READING:
        watch_update(conn, LOOP_READ);
        return;
    case PGRES_POLLING_WRITING:
        watch_update(conn, LOOP_WRITE);
        return;
    case PGRES_POLLING_FAILED:
    case PGRES_POLLING_ACTIVE:
        break;
    }
    connect_fail(conn);
}

/* ---- answers ---- */

static void result_take(struct pg_conn *conn, PGresult *result)
{
    struct pg_answer *answer = &conn->answer;
    ExecStatusType status = PQresultStatus(result);
    bool is_good = status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK;
    if (!is_good && answer->rc == RC_OK) {
        const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
        const char *primary = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
        if (state == NULL || !str_copy(answer->sqlstate, sizeof answer->sqlstate, state))
            answer->sqlstate[0] = '\0';
        if (primary != NULL)
            answer->rc = err_set(&answer->err, RC_REFUSED, "%s: %s (SQLSTATE %s)", conn->label,
                                 conn->is_secret ? "a statement failed" : primary,
                                 answer->sqlstate);
        else
            answer_fail(conn, RC_PROTOCOL, PQresultErrorMessage(result));
    }
    if (status == PGRES_COPY_IN || status == PGRES_COPY_OUT || status == PGRES_COPY_BOTH ||
        answer->results_count == PG_CONN_RESULTS_MAX) {
        PQclear(result);
        return;
    }
    conn->results[answer->results_count++] = result;
}

static void answer_finish(struct pg_conn *conn)
{
    if (PQstatus(conn->pg) == CONNECTION_BAD) {
        connection_lost(conn);
        return;
    }
    if (conn->state == CONN_SETTING_UP) {
        results_clear(conn);
        conn->answer.results_count = 0;
        if (conn->answer.rc == RC_OK) {
            open_succeed(conn);
            return;
        }
        socket_close(conn);
    } else {
        conn->state = CONN_IDLE;
        watch_update(conn, LOOP_READ);
    }
    request_complete(conn);
}

static void answer_read(struct pg_conn *conn)
{
    while (!PQisBusy(conn->pg)) {
        PGresult *result = PQgetResult(conn->pg);
        if (result == NULL) {
            answer_finish(conn);
            return;
        }
        /* COPY never ends by itself: none of our statements asks for one, so the peer is broken. */
        ExecStatusType status = PQresultStatus(result);
        result_take(conn, result);
        if (status == PGRES_COPY_IN || status == PGRES_COPY_OUT || status == PGRES_COPY_BOTH) {
            socket_close(conn);
            request_complete(conn);
            return;
        }
    }
    query_flush(conn);
}

static void idle_read(struct pg_conn *conn)
{
    /* Notices, parameter changes, or the end. */
    (void)PQisBusy(conn->pg);
    PGnotify *notify = PQnotifies(conn->pg);
    if (notify != NULL)
        PQfreemem(notify);
    if (PQstatus(conn->pg) == CONNECTION_BAD)
        connection_lost(conn);
}

static void on_socket(int fd, unsigned ready, void *arg)
{
    struct pg_conn *conn = arg;
    (void)fd;
    if (conn->is_posted)
        return; /* a completion is already due */
    if (conn->state == CONN_CONNECTING) {
        connect_poll(conn);
        return;
    }
    if ((ready & LOOP_READ) && !PQconsumeInput(conn->pg)) {
        connection_lost(conn);
        return;
    }
    if (conn->state == CONN_IDLE)
        idle_read(conn);
    else
        answer_read(conn);
}

static void on_timer(void *arg)
{
    struct pg_conn *conn = arg;
    if (!conn->has_request)
        return;
    if (!conn->is_posted) {
        const char *doing = conn->state == CONN_CONNECTING ? "no session" : "no answer";
        (void)err_set(&conn->answer.err, RC_TIMEOUT, "%s: %s after %lld ms", conn->label, doing,
                      (long long)(clock_boot_ms() - conn->answer.sent_at_ms));
        conn->answer.rc = RC_TIMEOUT;
        socket_close(conn);
    }
    request_complete(conn);
}

/* ---- calls ---- */

struct pg_conn *pg_conn_new(struct loop *loop, const char *label)
{
    struct pg_conn *conn = mem_new(1, sizeof *conn);
    conn->loop = loop;
    conn->watched_fd = -1;
    conn->timer = loop_timer_new(loop, on_timer, conn);
    if (!str_copy(conn->label, sizeof conn->label, label))
        conn->label[0] = '\0';
    return conn;
}

void pg_conn_free(struct pg_conn *conn)
{
    if (conn == NULL)
        return;
    conn->has_request = false;
    conn->on_lost = NULL;
    if (conn->is_in_callback) {
        loop_timer_disarm(conn->timer);
        socket_close(conn);
        conn->is_free_wanted = true;
        return;
    }
    conn_destroy(conn);
}

static void request_begin(struct pg_conn *conn, int64_t deadline_ms, pg_answer_fn *on_answer,
                          void *arg)
{
    memset(&conn->answer, 0, sizeof conn->answer);
    results_clear(conn);
    conn->has_request = true;
    conn->answer.sent_at_ms = clock_boot_ms();
    conn->on_answer = on_answer;
    conn->on_answer_arg = arg;
    loop_timer_arm(conn->timer, deadline_ms);
}

enum rc pg_conn_open(struct pg_conn *conn, enum pg_conn_kind kind,
                     const struct pg_conn_target *target, int64_t deadline_ms,
                     pg_answer_fn *on_open, void *arg, struct err *err)
{
    struct pg_conn_words words;
    if (conn->has_request || conn->state != CONN_CLOSED)
        return err_set(err, RC_BUSY, "%s: already open or busy", conn->label);
    enum rc rc = pg_conn_words_fill(kind, target, &words, err);
    if (rc != RC_OK)
        return err_wrap(err, "%s", conn->label);
    conn->kind = kind;
    conn->is_secret = false;
    conn->pg = PQconnectStartParams(words.keywords, words.values, 0);
    if (conn->pg == NULL)
        return err_set(err, RC_SYSTEM, "%s: libpq has no memory", conn->label);
    (void)PQsetErrorVerbosity(conn->pg, PQERRORS_VERBOSE);
    request_begin(conn, deadline_ms, on_open, arg);
    conn->state = CONN_CONNECTING;
    if (PQstatus(conn->pg) == CONNECTION_BAD) {
        answer_fail(conn, RC_UNREACHABLE, PQerrorMessage(conn->pg));
        socket_close(conn);
        request_post(conn);
        return RC_OK;
    }
    watch_update(conn, LOOP_WRITE);
    return RC_OK;
}

enum rc pg_conn_query(struct pg_conn *conn, const char *sql, int params_count,
                      const char *const *params, unsigned flags, int64_t deadline_ms,
                      pg_answer_fn *on_answer, void *arg, struct err *err)
{
    if (conn->has_request)
        return err_set(err, RC_BUSY, "%s: a request is under way", conn->label);
    if (conn->state != CONN_IDLE)
        return err_set(err, RC_UNREACHABLE, "%s: the session is not open", conn->label);
    conn->is_secret = (flags & PG_QUERY_SECRET) != 0;
    if (!conn->is_secret)
        log_debug("query label=%s sql=\"%.*s\"", conn->label, SQL_LOG_MAX, sql);
    request_begin(conn, deadline_ms, on_answer, arg);
    conn->state = CONN_QUERYING;
    bool is_sent = params_count > 0
                       ? PQsendQueryParams(conn->pg, sql, params_count, NULL, params, NULL, NULL, 0)
                       : PQsendQuery(conn->pg, sql);
    int left = is_sent ? PQflush(conn->pg) : -1;
    if (left < 0) {
        answer_fail(conn, RC_UNREACHABLE, PQerrorMessage(conn->pg));
        socket_close(conn);
        request_post(conn);
        return RC_OK;
    }
    watch_update(conn, left > 0 ? LOOP_READ | LOOP_WRITE : LOOP_READ);
    return RC_OK;
}

void pg_conn_close(struct pg_conn *conn)
{
    socket_close(conn);
    if (!conn->has_request || conn->is_posted)
        return;
    conn->answer.rc = err_set(&conn->answer.err, RC_CANCELLED, "%s: cancelled", conn->label);
    request_post(conn);
}

PGresult *pg_answer_take(struct pg_answer *answer)
{
    if (answer->results_count == 0)
        return NULL;
    PGresult *result = answer->results[answer->results_count - 1];
    answer->results[answer->results_count - 1] = NULL;
    return result;
}

bool pg_conn_is_open(const struct pg_conn *conn)
{
    return conn->state == CONN_IDLE || conn->state == CONN_QUERYING;
}

bool pg_conn_is_busy(const struct pg_conn *conn)
{
    return conn->has_request;
}

int pg_conn_server_version(const struct pg_conn *conn)
{
    return pg_conn_is_open(conn) ? PQserverVersion(conn->pg) : 0;
}

int pg_conn_backend_pid(const struct pg_conn *conn)
{
    return pg_conn_is_open(conn) ? PQbackendPID(conn->pg) : 0;
}

void pg_conn_on_lost(struct pg_conn *conn, pg_lost_fn *on_lost, void *arg)
{
    conn->on_lost = on_lost;
    conn->on_lost_arg = arg;
}

void pg_conn_give(struct pg_conn *conn, void *memory)
{
    pgh_assert(conn->has_request);
    conn->memory = memory;
}

PGconn *pg_conn_raw(struct pg_conn *conn)
{
    return conn->pg;
}
