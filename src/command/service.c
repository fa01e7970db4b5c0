/* SPDX-License-Identifier: Apache-2.0 */
#include "command/service.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "base/time.h"
#include "command/fence.h"
#include "command/parameter.h"
#include "json/json.h"
#include "os/os.h"
#include "target/login.h"
#include "target/target.h"

/* Idle sessions of one command that are kept; past the first only as long as they are needed now
   and then. */
#define SESSIONS_MAX 16
#define SESSIONS_KEPT 4
#define SESSION_IDLE_US (INT64_C(10) * 1000000)
#define STATEMENT_LIMIT_US (INT64_C(30) * 1000000)
#define CONSTRAINT "constraint"

#define KEEP_TABLE                                                                                 \
    "CREATE TABLE IF NOT EXISTS _daybook_commands (command TEXT NOT NULL, key TEXT NOT NULL, "     \
    "hash TEXT NOT NULL, answer TEXT NOT NULL, time TEXT NOT NULL, PRIMARY KEY (command, key))"
#define KEEP_KEY                                                                                   \
    "INSERT INTO _daybook_commands (command, key, hash, answer, time) "                            \
    "VALUES (?1, ?2, ?3, '', ?4) ON CONFLICT DO NOTHING RETURNING 1"
#define READ_KEY "SELECT hash, answer FROM _daybook_commands WHERE command = ?1 AND key = ?2"
#define KEEP_ANSWER "UPDATE _daybook_commands SET answer = ?3 WHERE command = ?1 AND key = ?2"

struct session {
    struct session *next;
    struct dbk_connection *connection;
    struct dbk_statement **statements; /* as the definition's */
    int64_t idle_us;                   /* since then */
    bool keeps;                        /* the keys' table is there */
    int64_t checked;                   /* the schema that fences were checked with */
};

struct dbk_service_runner {
    const struct dbk_service_command *definition;
    struct dbk_os *os;
    pthread_mutex_t lock;
    struct session *free;
    size_t free_count;
    atomic_bool placed; /* its own login leads to the service's database */
};

/* One run. */
struct run {
    struct dbk_service_runner *runner;
    const struct dbk_service_command *definition;
    const struct dbk_command *command;
    struct session *session;
    struct dbk_value *values; /* of the definition's parameters */
    const char *hash;
    char id[DBK_UUID_TEXT_SIZE];
    char time[DBK_TIME_TEXT_SIZE];
    struct dbk_buf *rows;
    struct dbk_command_result *result;
};

struct dbk_service_runner *dbk_service_runner_create(const struct dbk_service_command *definition,
                                                     struct dbk_os *os)
{
    struct dbk_service_runner *runner = dbk_alloc_zero(1, sizeof(*runner));
    if (runner == NULL)
        return NULL;
    runner->definition = definition;
    runner->os = os;
    (void)pthread_mutex_init(&runner->lock, NULL);
    return runner;
}

/* ---- Sessions ---- */

static void free_session(const struct dbk_service_runner *runner, struct session *session)
{
    for (size_t i = 0; session->statements != NULL && i < runner->definition->statement_count; i++)
        dbk_statement_free(session->statements[i]);
    dbk_free(session->statements);
    dbk_connection_free(session->connection);
    dbk_free(session);
}

void dbk_service_runner_free(struct dbk_service_runner *runner)
{
    if (runner == NULL)
        return;
    for (struct session *session = runner->free, *next; session != NULL; session = next) {
        next = session->next;
        free_session(runner, session);
    }
    (void)pthread_mutex_destroy(&runner->lock);
    dbk_free(runner);
}

/* A failure of a statement, with its place. */
static int failed(const struct dbk_service_command *definition, size_t index, int rc,
                  const struct dbk_error *failure, struct dbk_error *err)
{
    return dbk_error_set(err, rc, "%s:%u: %s", definition->file, definition->statements[index].line,
                         failure->message);
}

static int prepare_all(const struct dbk_service_command *definition, struct session *session,
                       struct dbk_error *err)
{
    int rc = DBK_OK;
    dbk_connection_guard(session->connection, DBK_GUARD_COMMAND);
    for (size_t i = 0; rc == DBK_OK && i < definition->statement_count; i++) {
        struct dbk_error failure = {0};
        rc = dbk_statement_open(session->connection, definition->statements[i].sql,
                                &session->statements[i], NULL, &failure);
        /* It is the file that is at fault, and not who asks. */
        if (rc < 0)
            rc = failed(definition, i, rc == DBK_EINVAL || rc == DBK_EDENIED ? DBK_ESCRIPT : rc,
                        &failure, err);
    }
    dbk_connection_guard(session->connection, DBK_GUARD_NONE);
    return rc;
}

/* A login of its own leads to where the book's string of the service's database does: a command
   must not change what nobody captures, or another environment's database. Looked at once. */
static int check_place(struct dbk_service_runner *runner, struct session *session,
                       struct dbk_error *failure)
{
    const struct dbk_service_command *definition = runner->definition;
    struct dbk_connection *books = NULL;
    char here[DBK_LOGIN_IDENTITY_SIZE] = "";
    char there[DBK_LOGIN_IDENTITY_SIZE] = "";
    if (definition->address == definition->service->address || atomic_load(&runner->placed) ||
        dbk_connection_dialect(session->connection) != DBK_DIALECT_POSTGRES)
        return DBK_OK;
    int rc = dbk_login_identity(session->connection, there, failure);
    if (rc == DBK_OK)
        rc = dbk_connection_open(definition->service->address, DBK_CONNECT_READ, &books, failure);
    if (rc == DBK_OK)
        rc = dbk_login_identity(books, here, failure);
    dbk_connection_free(books);
    if (rc == DBK_OK && strcmp(here, there) != 0)
        rc = dbk_error_set(failure, DBK_ECONNECT,
                           "its `login` leads to another server or database than `%s`",
                           definition->service->database);
    if (rc == DBK_OK)
        atomic_store(&runner->placed, true);
    return rc;
}

static int open_session(struct dbk_service_runner *runner, struct session **session_out,
                        struct dbk_error *err)
{
    const struct dbk_service_command *definition = runner->definition;
    struct dbk_error failure = {0};
    struct session *session = dbk_alloc_zero(1, sizeof(*session));
    if (session == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory opening %s", definition->file);
    session->statements = dbk_alloc_zero(definition->statement_count, sizeof(*session->statements));
    int rc = session->statements == NULL
                 ? dbk_error_set(&failure, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM))
                 : dbk_connection_open(definition->address, DBK_CONNECT_FOREIGN,
                                       &session->connection, &failure);
    if (rc < 0) {
        bool own = definition->address != definition->service->address;
        rc = dbk_error_set(err, rc == DBK_ENOTFOUND ? DBK_ECONNECT : rc, "service %s: %s: %s",
                           definition->service->name, failure.message,
                           own ? "its `login` must let it in: `daybook service apply` makes it"
                               : "its database is the service's to make");
    } else {
        dbk_connection_limit_us(session->connection, STATEMENT_LIMIT_US);
        rc = check_place(runner, session, &failure);
        rc = rc < 0 ? dbk_error_set(err, rc, "service %s: %s", definition->service->name,
                                    failure.message)
                    : prepare_all(definition, session, err);
    }
    if (rc < 0) {
        free_session(runner, session);
        return rc;
    }
    *session_out = session;
    return DBK_OK;
}

static int take(struct dbk_service_runner *runner, struct session **session_out,
                struct dbk_error *err)
{
    (void)pthread_mutex_lock(&runner->lock);
    struct session *session = runner->free;
    if (session != NULL) {
        runner->free = session->next;
        runner->free_count--;
    }
    (void)pthread_mutex_unlock(&runner->lock);
    *session_out = session;
    return session != NULL ? DBK_OK : open_session(runner, session_out, err);
}

/* Takes off those that nobody needed for a while; the longest idle are last. Under the lock. */
static struct session *take_idle(struct dbk_service_runner *runner, int64_t now_us)
{
    struct session **link = &runner->free;
    for (size_t i = 0; i < runner->free_count; i++, link = &(*link)->next) {
        if (i < SESSIONS_KEPT || now_us - (*link)->idle_us < SESSION_IDLE_US)
            continue;
        struct session *idle = *link;
        *link = NULL;
        runner->free_count = i;
        return idle;
    }
    return NULL;
}

static void give(struct dbk_service_runner *runner, struct session *session, bool sound)
{
    session->idle_us = runner->os->now_us(runner->os);
    (void)pthread_mutex_lock(&runner->lock);
    bool kept = sound && runner->free_count < SESSIONS_MAX;
    if (kept) {
        session->next = runner->free;
        runner->free = session;
        runner->free_count++;
    }
    struct session *idle = take_idle(runner, session->idle_us);
    (void)pthread_mutex_unlock(&runner->lock);
    if (!kept)
        free_session(runner, session);
    for (struct session *next; idle != NULL; idle = next) {
        next = idle->next;
        free_session(runner, idle);
    }
}

/* ---- Parameters ---- */

static int check_names(const struct run *run, const struct dbk_json_node *body,
                       struct dbk_error *err)
{
    const struct dbk_service_command *definition = run->definition;
    const struct dbk_json_node *member = dbk_json_first(body);
    for (uint32_t i = 0; i < body->count; i++, member = dbk_json_sibling(member)) {
        size_t at = 0;
        while (at < definition->parameter_count &&
               (definition->parameters[at].name[0] == '_' ||
                !dbk_slice_equal_text(member->key, definition->parameters[at].name)))
            at++;
        if (at == definition->parameter_count)
            return dbk_error_set(err, DBK_EINVAL, "command %s has no parameter %.*s",
                                 definition->name, DBK_SLICE_ARGS(member->key));
    }
    return DBK_OK;
}

static struct dbk_value text_value(struct dbk_slice text)
{
    return (struct dbk_value){.kind = DBK_VALUE_TEXT, .bytes = text};
}

static struct dbk_value own_value(const struct run *run, const char *name)
{
    struct dbk_slice key = run->command->idempotency_key;
    struct dbk_slice meta = run->command->meta;
    if (strcmp(name, "_id") == 0)
        return text_value(dbk_slice_of(run->id));
    if (strcmp(name, "_time") == 0)
        return text_value(dbk_slice_of(run->time));
    if (strcmp(name, "_key") == 0)
        return key.size == 0 ? (struct dbk_value){.kind = DBK_VALUE_NULL} : text_value(key);
    return text_value(meta.size == 0 ? DBK_SLICE_LITERAL("{}") : meta);
}

static int make_value(const struct run *run, const struct dbk_command_parameter *parameter,
                      const struct dbk_json_node *body, struct dbk_value *value_out,
                      struct dbk_error *err)
{
    if (parameter->name[0] == '_') {
        *value_out = own_value(run, parameter->name);
        return DBK_OK;
    }
    return dbk_command_value(run->definition->name, parameter,
                             dbk_json_member(body, parameter->name), value_out, err);
}

static int make_values(struct run *run, const struct dbk_json_node *body, struct dbk_error *err)
{
    if (body->kind != DBK_JSON_OBJECT)
        return dbk_error_set(err, DBK_EINVAL, "the command's body is no JSON object");
    int rc = check_names(run, body, err);
    for (size_t i = 0; rc == DBK_OK && i < run->definition->parameter_count; i++)
        rc = make_value(run, &run->definition->parameters[i], body, &run->values[i], err);
    return rc;
}

/* ---- Statements ---- */

static int put_row(const struct run *run, struct dbk_statement *statement, uint64_t count,
                   struct dbk_error *err)
{
    bool first = true;
    if (count > DBK_SERVICE_ROWS_MAX || run->rows->size > DBK_SERVICE_ANSWER_SIZE_MAX)
        return dbk_error_set(err, DBK_ELIMIT, "the answer has more than %d rows or %zu MiB",
                             DBK_SERVICE_ROWS_MAX, DBK_SERVICE_ANSWER_SIZE_MAX >> 20);
    dbk_buf_append_text(run->rows, count > 1 ? ",{" : "{");
    for (int i = 0; i < dbk_statement_column_count(statement); i++) {
        struct dbk_value value = dbk_statement_column(statement, i);
        dbk_json_write_key(run->rows, &first, dbk_statement_column_name(statement, i));
        dbk_value_write_json(run->rows, &value);
    }
    dbk_buf_append_char(run->rows, '}');
    return run->rows->rc < 0
               ? dbk_error_set(err, run->rows->rc, "the answer: %s", dbk_code_text(run->rows->rc))
               : DBK_OK;
}

/* Runs to the end: *count_out is how many rows came of it. */
static int step_all(const struct run *run, const struct dbk_command_statement *definition,
                    struct dbk_statement *statement, uint64_t *count_out, struct dbk_error *err)
{
    uint64_t count = 0;
    int rc = 0;
    while ((rc = dbk_statement_step(statement, err)) == 1) {
        count++;
        if (definition->answers)
            rc = put_row(run, statement, count, err);
        if (rc < 0)
            break;
    }
    dbk_statement_reset(statement);
    *count_out = count;
    /* What was sent ahead has failed, if it has, at this statement and no later one. */
    return rc < 0 ? rc : dbk_connection_settle(run->session->connection, false, err);
}

static int refuse(const struct run *run, const struct dbk_command_statement *statement,
                  uint64_t count, struct dbk_error *err)
{
    (void)snprintf(run->result->refusal, sizeof(run->result->refusal), "%s",
                   statement->refusal == NULL ? "rows" : statement->refusal);
    if (statement->text != NULL)
        return dbk_error_set(err, DBK_EREFUSED, "%s", statement->text);
    return dbk_error_set(err, DBK_EREFUSED,
                         "%s:%u: %" PRIu64 " %s%s, where %s%" PRIu64 " %s expected",
                         run->definition->file, statement->line, count,
                         statement->table != NULL ? "document" : "row", count == 1 ? "" : "s",
                         statement->expect == DBK_ROWS_AT_LEAST ? "at least " : "", statement->rows,
                         statement->rows == 1 ? "is" : "are");
}

static int run_statement(const struct run *run, size_t index, struct dbk_error *err)
{
    const struct dbk_command_statement *definition = &run->definition->statements[index];
    struct dbk_statement *statement = run->session->statements[index];
    struct dbk_error failure = {0};
    uint64_t count = 0;
    for (size_t i = 0; i < definition->parameter_count; i++)
        dbk_statement_bind(statement, (int)i + 1, &run->values[definition->parameters[i]]);
    int rc = step_all(run, definition, statement, &count, &failure);
    if (rc == DBK_EREFUSED)
        (void)snprintf(run->result->refusal, sizeof(run->result->refusal), "%s", CONSTRAINT);
    /* The service may not do it: no key of who asks would help. */
    if (rc == DBK_EINVAL || rc == DBK_EDENIED)
        rc = DBK_ESCRIPT;
    if (rc < 0)
        return failed(run->definition, index, rc, &failure, err);
    bool good = definition->expect == DBK_ROWS_ANY ||
                (definition->expect == DBK_ROWS_EXACTLY && count == definition->rows) ||
                (definition->expect == DBK_ROWS_AT_LEAST && count >= definition->rows);
    return good ? DBK_OK : refuse(run, definition, count, err);
}

static int run_statements(const struct run *run, struct dbk_error *err)
{
    int rc = DBK_OK;
    dbk_buf_append_char(run->rows, '[');
    for (size_t i = 0; rc == DBK_OK && i < run->definition->statement_count; i++)
        rc = run_statement(run, i, err);
    dbk_buf_append_char(run->rows, ']');
    return rc;
}

/* ---- Keys ---- */

/* Runs one of the statements above; more: the third value and those behind it. 1: a row came,
   and stays until the statement is freed. */
static int run_own(const struct run *run, const char *sql, const struct dbk_value *more,
                   int more_count, struct dbk_statement **statement_out, struct dbk_error *err)
{
    struct dbk_value name = text_value(run->command->name);
    struct dbk_value key = text_value(run->command->idempotency_key);
    struct dbk_statement *statement = NULL;
    int rc = dbk_statement_open(run->session->connection, dbk_slice_of(sql), &statement, NULL, err);
    if (rc < 0)
        return rc;
    dbk_statement_bind(statement, 1, &name);
    dbk_statement_bind(statement, 2, &key);
    for (int i = 0; i < more_count; i++)
        dbk_statement_bind(statement, i + 3, &more[i]);
    rc = dbk_statement_step(statement, err);
    if (rc >= 0)
        *statement_out = statement;
    else
        dbk_statement_free(statement);
    return rc;
}

/* Two sessions that make it at once: one of them may fail, and finds it then. */
static int make_table(const struct run *run, struct dbk_error *err)
{
    struct dbk_error failure = {0};
    if (run->session->keeps)
        return DBK_OK;
    for (int tries = 0; tries < 3 && !run->session->keeps; tries++)
        run->session->keeps =
            dbk_connection_run(run->session->connection, KEEP_TABLE, &failure) == DBK_OK;
    return run->session->keeps
               ? DBK_OK
               : dbk_error_set(err, failure.code,
                               "service %s: the table that keeps idempotency keys cannot be made; "
                               "let it be made, or make it: %s; (%s)",
                               run->definition->service->name, KEEP_TABLE, failure.message);
}

static int other_body(const struct run *run, struct dbk_error *err)
{
    return dbk_error_set(err, DBK_ECONFLICT,
                         "the idempotency key was used for another %.*s before, at service %s",
                         DBK_SLICE_ARGS(run->command->name), run->definition->service->name);
}

static int answer_known(const struct run *run, struct dbk_error *err)
{
    struct dbk_statement *statement = NULL;
    int rc = run_own(run, READ_KEY, NULL, 0, &statement, err);
    if (rc < 0)
        return rc;
    if (rc == 0) {
        rc = dbk_error_set(err, DBK_EBUSY, "the key's first run ended without a trace: try again");
    } else if (!dbk_slice_equal_text(dbk_statement_column(statement, 0).bytes, run->hash)) {
        rc = other_body(run, err);
    } else {
        dbk_buf_append(run->rows, dbk_statement_column(statement, 1).bytes);
        run->result->known = true;
        rc = DBK_OK;
    }
    dbk_statement_free(statement);
    return rc;
}

/* 1: the key is taken by this run, or there is none; 0: it was used before, and is answered. */
static int take_key(const struct run *run, struct dbk_error *err)
{
    const struct dbk_value values[] = {text_value(dbk_slice_of(run->hash)),
                                       text_value(dbk_slice_of(run->time))};
    struct dbk_statement *statement = NULL;
    if (run->command->idempotency_key.size == 0)
        return 1;
    int rc = run_own(run, KEEP_KEY, values, 2, &statement, err);
    dbk_statement_free(statement);
    if (rc != 0)
        return rc;
    return answer_known(run, err);
}

static int keep_answer(const struct run *run, struct dbk_error *err)
{
    const struct dbk_value answer = text_value(dbk_buf_slice(run->rows));
    struct dbk_statement *statement = NULL;
    if (run->command->idempotency_key.size == 0)
        return DBK_OK;
    int rc = run_own(run, KEEP_ANSWER, &answer, 1, &statement, err);
    dbk_statement_free(statement);
    return rc < 0 ? rc : dbk_connection_settle(run->session->connection, false, err);
}

/* ---- The transaction ---- */

static int commit(const struct run *run, struct dbk_error *err)
{
    struct dbk_error failure = {0};
    struct dbk_connection *connection = run->session->connection;
    int rc = dbk_connection_settle(connection, true, &failure);
    bool settled = rc == DBK_OK;
    if (rc == DBK_OK)
        rc = dbk_connection_run(connection, "COMMIT", &failure);
    if (rc == DBK_EREFUSED)
        (void)snprintf(run->result->refusal, sizeof(run->result->refusal), "%s", CONSTRAINT);
    if (rc == DBK_ECONNECT && settled)
        return dbk_error_set(err, DBK_EUNKNOWN,
                             "%s: the database was lost while the command committed: repeat it "
                             "with its idempotency key (%s)",
                             run->definition->file, failure.message);
    if (rc < 0)
        return dbk_error_set(err, rc, "%s: %s", run->definition->file, failure.message);
    run->result->committed_us = run->runner->os->now_us(run->runner->os);
    return DBK_OK;
}

/* Where a server's log stands now: at or behind what was committed. One that does not tell is no
   failure of the command's. */
static void note_position(const struct run *run)
{
    struct dbk_statement *statement = NULL;
    struct dbk_connection *connection = run->session->connection;
    if (dbk_connection_dialect(connection) != DBK_DIALECT_POSTGRES)
        return;
    int rc = dbk_statement_open(connection,
                                DBK_SLICE_LITERAL("SELECT pg_current_wal_insert_lsn()::text"),
                                &statement, NULL, NULL);
    if (rc == DBK_OK && dbk_statement_step(statement, NULL) == 1) {
        struct dbk_value value = dbk_statement_column(statement, 0);
        if (value.kind == DBK_VALUE_TEXT)
            (void)snprintf(run->result->source_position, sizeof(run->result->source_position),
                           "%.*s", DBK_SLICE_ARGS(value.bytes));
    }
    dbk_statement_free(statement);
}

static int transact(const struct run *run, struct dbk_error *err)
{
    struct dbk_connection *connection = run->session->connection;
    int rc = run->command->idempotency_key.size > 0 ? make_table(run, err) : DBK_OK;
    if (rc == DBK_OK)
        rc = dbk_connection_begin(connection, DBK_BEGIN_WRITE, err);
    if (rc < 0)
        return rc;
    rc = take_key(run, err);
    bool fresh = rc == 1;
    if (fresh) {
        rc = run_statements(run, err);
        if (rc == DBK_OK)
            rc = keep_answer(run, err);
        if (rc == DBK_OK && !run->command->dry_run)
            rc = commit(run, err);
    }
    if (dbk_connection_in_transaction(connection))
        dbk_ignore(dbk_connection_run(connection, "ROLLBACK", NULL));
    if (rc == DBK_OK && !run->command->dry_run)
        note_position(run);
    return rc;
}

/* ---- A document ---- */

/* The change and its key are one write of the server's. */
static int change_document(const struct run *run, struct dbk_error *err)
{
    const struct dbk_command_statement *definition = &run->definition->statements[0];
    struct dbk_statement *statement = run->session->statements[0];
    const struct dbk_value none = {.kind = DBK_VALUE_NULL};
    struct dbk_error failure = {0};
    enum dbk_document_outcome outcome = DBK_DOCUMENT_DONE;
    bool keyed = run->command->idempotency_key.size > 0;
    const struct dbk_document_wish wish = {.id = keyed ? dbk_slice_of(run->id)
                                                       : (struct dbk_slice){0},
                                           .hash = dbk_slice_of(run->hash),
                                           .now_us = run->runner->os->now_us(run->runner->os),
                                           .must = definition->expect != DBK_ROWS_ANY,
                                           .dry_run = run->command->dry_run};
    for (size_t i = 0; i < definition->parameter_count; i++) {
        size_t at = definition->parameters[i];
        bool given = at < run->definition->parameter_count;
        dbk_statement_bind(statement, (int)i + 1, given ? &run->values[at] : &none);
    }
    run->result->tries = 1;
    int rc = dbk_statement_change(statement, &wish, &outcome, &failure);
    if (rc == DBK_EREFUSED)
        (void)snprintf(run->result->refusal, sizeof(run->result->refusal), "%s", CONSTRAINT);
    if (rc == DBK_EINVAL || rc == DBK_EDENIED)
        rc = DBK_ESCRIPT;
    if (rc < 0)
        return failed(run->definition, 0, rc, &failure, err);
    if (outcome == DBK_DOCUMENT_MISSED)
        return refuse(run, definition, 0, err);
    if (outcome == DBK_DOCUMENT_OTHER)
        return other_body(run, err);
    run->result->known = outcome == DBK_DOCUMENT_KNOWN;
    run->result->committed_us = run->runner->os->now_us(run->runner->os);
    dbk_buf_append_text(run->rows, "[]");
    return DBK_OK;
}

/* A server ends a transaction that stands in another's way, or in its own: it is done again. */
static int transact_until(struct run *run, struct dbk_error *err)
{
    size_t begun = run->rows->size;
    bool server = dbk_connection_dialect(run->session->connection) == DBK_DIALECT_POSTGRES;
    int rc = DBK_EBUSY;
    while (rc == DBK_EBUSY && run->result->tries < (server ? DBK_COMMAND_TRIES : 1)) {
        run->result->tries++;
        run->rows->size = begun;
        rc = transact(run, err);
    }
    return rc;
}

static int make_id(struct run *run, const struct dbk_uuid *id, struct dbk_error *err)
{
    struct dbk_os *os = run->runner->os;
    uint8_t random[10];
    int64_t now_us = os->now_us(os);
    (void)dbk_time_format(now_us, run->time);
    if (run->command->idempotency_key.size > 0) {
        run->result->id = *id;
        dbk_uuid_format(id, run->id);
        return DBK_OK;
    }
    int rc = os->random(os, random, sizeof(random), err);
    if (rc < 0)
        return rc;
    const struct dbk_uuid made = dbk_uuid_v7(now_us, random);
    run->result->id = made;
    dbk_uuid_format(&made, run->id);
    return DBK_OK;
}

int dbk_service_run(struct dbk_service_runner *runner, const struct dbk_command *command,
                    const struct dbk_uuid *id, const char *hash, struct dbk_buf *rows,
                    struct dbk_command_result *result, struct dbk_error *err)
{
    const struct dbk_service_command *definition = runner->definition;
    const struct dbk_json_node *body = NULL;
    struct run run = {.runner = runner,
                      .definition = definition,
                      .command = command,
                      .hash = hash,
                      .rows = rows,
                      .result = result};
    size_t begun = rows->size;
    result->service = definition->service->name;
    run.values = dbk_alloc_zero(definition->parameter_count + 1, sizeof(*run.values));
    struct dbk_json *json = dbk_json_create(command->body.size + 1);
    int rc = run.values == NULL || json == NULL
                 ? dbk_error_set(err, DBK_ENOMEM, "out of memory doing %s", definition->file)
                 : dbk_json_parse(json, command->body, &body, err);
    if (rc == DBK_OK)
        rc = make_id(&run, id, err);
    if (rc == DBK_OK)
        rc = make_values(&run, body, err);
    if (rc == DBK_OK)
        rc = take(runner, &run.session, err);
    if (rc == DBK_OK) {
        rc = dbk_command_check_fences(definition, run.session->connection, &run.session->checked,
                                      err);
        if (rc == DBK_OK)
            rc = definition->statements[0].table != NULL ? change_document(&run, err)
                                                         : transact_until(&run, err);
        give(runner, run.session, rc == DBK_OK || rc == DBK_EREFUSED || rc == DBK_ECONFLICT);
    }
    if (rc < 0)
        rows->size = begun;
    dbk_json_free(json);
    dbk_free(run.values);
    return rc;
}
