/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MongoDB behind target/target.h, by libmongoc.
 *
 * Source: libmongoc's manual 1.23; MongoDB's manual 7.0, "Database Commands".
 */
#include <pthread.h>
#include <string.h>

#include "base/assert.h"
#include "target/mongodb/statement.h"
#include "target/secret.h"

/* A server that says nothing for so long is taken for gone. */
#define SILENCE_MS 30000
#define CONNECT_MS 5000
#define WIRE_VERSION_MIN 6 /* MongoDB 3.6 */
#define TEXTS_SIZE_MAX ((size_t)64 << 20)
#define VALUE_SIZE_MAX ((size_t)16 << 20) /* a document's, at a server */

extern const struct dbk_driver dbk_driver;

static struct dbk_mongodb_session *session_of(struct dbk_connection *connection)
{
    return (struct dbk_mongodb_session *)connection;
}

static struct dbk_mongodb_statement *of(const struct dbk_statement *statement)
{
    union {
        const struct dbk_statement *given;
        struct dbk_mongodb_statement *own;
    } cast = {.given = statement};
    return cast.own;
}

struct dbk_mongodb_build dbk_mongodb_building(struct dbk_mongodb_statement *statement,
                                              struct dbk_error *err)
{
    return (struct dbk_mongodb_build){.values = statement->values,
                                      .value_count = statement->value_count,
                                      .json = statement->session->json,
                                      .models = statement->models,
                                      .model_count = statement->model_count,
                                      .err = err};
}

/* ---- Sessions ---- */

static void start_library(void)
{
    mongoc_log_set_handler(NULL, NULL); /* what goes wrong is in our errors */
    mongoc_init();
}

static void close_session(struct dbk_connection *connection)
{
    struct dbk_mongodb_session *session = session_of(connection);
    if (session->client != NULL)
        dbk_mongodb_clear(session);
    mongoc_client_destroy(session->client);
    for (uint32_t i = 0; i < session->collection_count; i++)
        dbk_free(session->collections[i]);
    dbk_free((void *)session->collections);
    dbk_free(session->changes);
    dbk_free(session->list);
    dbk_free(session->marks);
    dbk_free(session->database);
    dbk_buf_release(&session->bodies);
    dbk_json_free(session->json);
    bson_free(session->reply);
    dbk_free(session);
}

/* libmongoc's words would have parts of the string. */
static int bad_secret(struct dbk_error *err)
{
    return dbk_error_set(err, DBK_ECONNECT,
                         "MongoDB: the connection string is none: write "
                         "mongodb://user:password@host:27017/database, and percent-encode what is "
                         "special in a password");
}

static void set_default(mongoc_uri_t *uri, const char *option, int32_t value)
{
    if (!mongoc_uri_has_option(uri, option))
        (void)mongoc_uri_set_option_as_int32(uri, option, value);
}

/* Confirmed by most of a replica set, where nothing else is asked for. */
static int be_durable(struct dbk_mongodb_session *session, struct dbk_error *err)
{
    const mongoc_write_concern_t *asked = mongoc_client_get_write_concern(session->client);
    int32_t members = mongoc_write_concern_get_w(asked);
    if (members == MONGOC_WRITE_CONCERN_W_UNACKNOWLEDGED ||
        members == MONGOC_WRITE_CONCERN_W_ERRORS_IGNORED)
        return dbk_error_set(err, DBK_ECONNECT,
                             "MongoDB: the connection string has w=%d, with which nothing tells "
                             "what was written: leave it out, or write w=majority",
                             (int)members);
    if (members != MONGOC_WRITE_CONCERN_W_DEFAULT)
        return DBK_OK;
    mongoc_write_concern_t *most = mongoc_write_concern_copy(asked);
    mongoc_write_concern_set_w(most, MONGOC_WRITE_CONCERN_W_MAJORITY);
    mongoc_client_set_write_concern(session->client, most);
    mongoc_write_concern_destroy(most);
    return DBK_OK;
}

/* Positions and guards of a member that lags behind would be older than what was done. Without
   this, collections and transactions take what the string says. */
static void read_primary(struct dbk_mongodb_session *session)
{
    mongoc_read_prefs_t *primary = mongoc_read_prefs_new(MONGOC_READ_PRIMARY);
    mongoc_client_set_read_prefs(session->client, primary);
    mongoc_read_prefs_destroy(primary);
}

static int make_client(struct dbk_mongodb_session *session, const char *secret,
                       struct dbk_error *err)
{
    mongoc_uri_t *uri = mongoc_uri_new_with_error(secret, NULL);
    const char *database = uri == NULL ? NULL : mongoc_uri_get_database(uri);
    int rc = database == NULL || database[0] == '\0' ? bad_secret(err) : DBK_OK;
    if (rc == DBK_OK) {
        set_default(uri, MONGOC_URI_SOCKETTIMEOUTMS, SILENCE_MS);
        set_default(uri, MONGOC_URI_CONNECTTIMEOUTMS, CONNECT_MS);
        set_default(uri, MONGOC_URI_SERVERSELECTIONTIMEOUTMS, CONNECT_MS);
        /* What was done is ours to find out. */
        (void)mongoc_uri_set_option_as_bool(uri, MONGOC_URI_RETRYWRITES, false);
        session->database = dbk_copy_text(dbk_slice_of(database));
        session->client = mongoc_client_new_from_uri_with_error(uri, NULL);
        if (session->client == NULL)
            rc = bad_secret(err);
        else if (session->database == NULL)
            rc = dbk_error_set(err, DBK_ENOMEM, "out of memory connecting");
    }
    mongoc_uri_destroy(uri);
    if (rc < 0)
        return rc;
    (void)mongoc_client_set_error_api(session->client, MONGOC_ERROR_API_VERSION_2);
    (void)mongoc_client_set_appname(session->client, "daybook");
    read_primary(session);
    return be_durable(session, err);
}

/* Where writes are confirmed by fewer, what a majority has is older than what was just done. */
static bool waits_for_majority(const struct dbk_mongodb_session *session)
{
    const mongoc_write_concern_t *concern = mongoc_client_get_write_concern(session->client);
    return mongoc_write_concern_get_w(concern) == MONGOC_WRITE_CONCERN_W_MAJORITY;
}

/* What libmongoc would still try to speak with has no OP_MSG, which sessions are in. */
static int check_version(struct dbk_mongodb_session *session, struct dbk_error *err)
{
    bson_error_t error = {0};
    mongoc_server_description_t *server =
        mongoc_client_select_server(session->client, true, NULL, &error);
    if (server == NULL)
        return dbk_mongodb_fault(&error, NULL, err);
    const bson_t *hello = mongoc_server_description_hello_response(server);
    int64_t wire = dbk_mongodb_integer(hello, "maxWireVersion");
    session->majority = waits_for_majority(session) &&
                        (bson_has_field(hello, "setName") || bson_has_field(hello, "msg"));
    mongoc_server_description_destroy(server);
    return wire >= WIRE_VERSION_MIN
               ? DBK_OK
               : dbk_error_set(err, DBK_ECONNECT,
                               "MongoDB: the server is too old (wire version %d): MongoDB 3.6 or "
                               "later is needed",
                               (int)wire);
}

/* Who it is, and whether it lets us in. */
static int greet(struct dbk_mongodb_session *session, struct dbk_error *err)
{
    bson_t *command = NULL;
    bson_t reply;
    bson_iter_t at;
    int rc = check_version(session, err);
    if (rc < 0)
        return rc;
    command = BCON_NEW("buildInfo", BCON_INT32(1));
    rc = dbk_mongodb_ask(session, command, &reply, err);
    session->is_ferretdb = rc == DBK_OK && bson_iter_init_find(&at, &reply, "ferretdbVersion") &&
                           BSON_ITER_HOLDS_UTF8(&at) &&
                           strncmp(bson_iter_utf8(&at, NULL), "v1.", 3) == 0;
    bson_destroy(&reply);
    bson_destroy(command);
    return rc;
}

static int open_session(const char *address, unsigned flags, struct dbk_connection **connection_out,
                        struct dbk_error *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct dbk_buf secret;
    struct dbk_mongodb_session *session = dbk_alloc_zero(1, sizeof(*session));
    (void)flags;
    if (session == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory connecting");
    (void)pthread_once(&once, start_library);
    session->base.driver = &dbk_driver;
    atomic_init(&session->interrupted, false);
    dbk_buf_init(&session->bodies, DBK_MONGODB_BODIES_SIZE_MAX);
    dbk_buf_init(&secret, DBK_SECRET_TEXT_SIZE_MAX + 1);
    session->json = dbk_json_create(VALUE_SIZE_MAX);
    int rc = session->json == NULL
                 ? dbk_error_set(err, DBK_ENOMEM, "out of memory connecting")
                 : dbk_secret_read(address, "the connection string", &secret, err);
    if (rc == DBK_OK)
        rc = make_client(session, secret.data, err);
    if (rc == DBK_OK)
        rc = greet(session, err);
    if (secret.data != NULL)
        explicit_bzero(secret.data, secret.size);
    dbk_buf_release(&secret);
    if (rc < 0) {
        close_session(&session->base);
        return rc;
    }
    *connection_out = &session->base;
    return DBK_OK;
}

static int begin(struct dbk_connection *connection, enum dbk_begin how, struct dbk_error *err)
{
    struct dbk_mongodb_session *session = session_of(connection);
    (void)err;
    dbk_mongodb_clear(session);
    session->suspect = 0;
    session->in_transaction = how == DBK_BEGIN_WRITE;
    return DBK_OK;
}

/* Events one by one: what each of them does is done now, so that one that fails is found. */
static int settle(struct dbk_connection *connection, bool constraints, struct dbk_error *err)
{
    struct dbk_mongodb_session *session = session_of(connection);
    if (constraints || !session->in_transaction || session->change_count == session->sent)
        return DBK_OK;
    return dbk_mongodb_flush(session, err);
}

static int run(struct dbk_connection *connection, const char *text, struct dbk_error *err)
{
    struct dbk_mongodb_session *session = session_of(connection);
    bool commits = strcmp(text, "COMMIT") == 0;
    if (!commits && strcmp(text, "ROLLBACK") != 0)
        return dbk_error_set(err, DBK_EINVAL, "MongoDB runs commands, not: %s", text);
    int rc = commits ? dbk_mongodb_commit(session, err) : DBK_OK;
    session->in_transaction = false;
    if (rc < 0 || !commits)
        dbk_mongodb_take_back(session);
    dbk_mongodb_clear(session);
    return rc;
}

static int mode(struct dbk_connection *connection, const char **mode_out, struct dbk_error *err)
{
    struct dbk_mongodb_session *session = session_of(connection);
    int rc = session->mode == DBK_MONGODB_UNKNOWN ? dbk_mongodb_probe(session, err) : DBK_OK;
    *mode_out = session->mode == DBK_MONGODB_TRANSACTION ? "transaction" : "guarded";
    return rc;
}

static void set_guard(struct dbk_connection *connection, enum dbk_guard guard)
{
    session_of(connection)->guard = guard;
}

static int checkpoint(struct dbk_connection *connection, struct dbk_error *err)
{
    (void)connection;
    (void)err;
    return DBK_OK;
}

static void limit_us(struct dbk_connection *connection, int64_t limit)
{
    session_of(connection)->limit_us = limit;
}

static void interrupt(struct dbk_connection *connection)
{
    atomic_store(&session_of(connection)->interrupted, true);
}

static bool deferred_violation(struct dbk_connection *connection)
{
    (void)connection;
    return false;
}

static bool is_full(const struct dbk_connection *connection)
{
    const struct dbk_mongodb_session *session = (const struct dbk_mongodb_session *)connection;
    return session->bodies.size > DBK_MONGODB_BODIES_SIZE_FULL;
}

static uint64_t suspects(const struct dbk_connection *connection, uint64_t *first_out)
{
    const struct dbk_mongodb_session *session = (const struct dbk_mongodb_session *)connection;
    *first_out = (uint64_t)session->suspect;
    return session->suspect == 0 ? 0 : session->suspects;
}

static bool in_transaction(struct dbk_connection *connection)
{
    return session_of(connection)->in_transaction;
}

/* ---- Statements ---- */

static void end_rows(struct dbk_mongodb_statement *statement)
{
    mongoc_cursor_destroy(statement->cursor);
    statement->cursor = NULL;
    statement->row = NULL;
    statement->ran = false;
}

static void free_statement(struct dbk_statement *base)
{
    struct dbk_mongodb_statement *statement = of(base);
    end_rows(statement);
    dbk_arena_release(&statement->arena);
    dbk_arena_release(&statement->texts);
    dbk_free(statement);
}

static int find_collection(struct dbk_mongodb_session *session, struct dbk_slice name,
                           uint32_t *index_out, struct dbk_error *err)
{
    for (uint32_t i = 0; i < session->collection_count; i++) {
        if (dbk_slice_equal_text(name, session->collections[i])) {
            *index_out = i;
            return DBK_OK;
        }
    }
    char **grown = dbk_realloc((void *)session->collections,
                               (session->collection_count + (size_t)1) * sizeof(*grown));
    char *copy = grown == NULL ? NULL : dbk_copy_text(name);
    if (grown != NULL)
        session->collections = grown;
    if (copy == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory preparing a command");
    *index_out = session->collection_count;
    session->collections[session->collection_count++] = copy;
    return DBK_OK;
}

static int parse(struct dbk_mongodb_statement *statement, struct dbk_slice text,
                 struct dbk_error *err)
{
    struct dbk_error failure = {0};
    const struct dbk_json_node *root = NULL;
    struct dbk_slice kept = dbk_arena_copy(&statement->arena, text);
    int rc = kept.data == NULL ? DBK_ENOMEM
                               : dbk_json_parse(statement->session->json, kept, &root, &failure);
    if (rc == DBK_OK)
        rc = dbk_json_keep(root, kept, &statement->arena, &statement->root);
    if (rc < 0)
        return dbk_error_set(err, rc, "%s",
                             failure.message[0] == '\0' ? dbk_code_text(rc) : failure.message);
    if (statement->root->kind != DBK_JSON_OBJECT || statement->root->count == 0)
        return dbk_error_set(err, DBK_EINVAL, "a command is an object");
    return DBK_OK;
}

static enum dbk_mongodb_use use_of(struct dbk_mongodb_statement *statement, const char *text)
{
    for (int i = 0; i < (int)DBK_CATALOG_COUNT; i++) {
        statement->which = (enum dbk_catalog)i;
        if (text == dbk_mongodb_catalog[i])
            return DBK_MONGODB_CATALOG;
    }
    switch (statement->session->guard) {
    case DBK_GUARD_SCHEMA:
        return DBK_MONGODB_SCHEMA;
    case DBK_GUARD_HANDLER:
        return DBK_MONGODB_HANDLER;
    case DBK_GUARD_PURGE:
        return DBK_MONGODB_PURGE;
    case DBK_GUARD_COMMAND:
        return DBK_MONGODB_COMMAND;
    case DBK_GUARD_NONE:
    case DBK_GUARD_QUERY:
    case DBK_GUARD_SENT:
        break;
    }
    return DBK_MONGODB_QUERY;
}

static int prepare(struct dbk_mongodb_statement *statement, struct dbk_slice text, int *offset_out,
                   struct dbk_error *err)
{
    int offset = -1;
    int rc = DBK_OK;
    statement->use = use_of(statement, text.data);
    if (statement->use == DBK_MONGODB_CATALOG)
        return DBK_OK;
    if (statement->use == DBK_MONGODB_QUERY)
        rc = dbk_mongodb_check(text, DBK_GUARD_QUERY, &offset, err);
    if (rc < 0 && offset_out != NULL)
        *offset_out = offset;
    if (rc == DBK_OK)
        rc = parse(statement, text, err);
    if (rc == DBK_OK && statement->use == DBK_MONGODB_HANDLER)
        rc = find_collection(statement->session, dbk_json_first(statement->root)->text,
                             &statement->collection, err);
    if (rc == DBK_OK && statement->use == DBK_MONGODB_QUERY)
        rc = dbk_mongodb_prepare_query(statement, err);
    return rc;
}

static int open_statement(struct dbk_connection *connection, struct dbk_slice text,
                          struct dbk_statement **statement_out, int *offset_out,
                          struct dbk_error *err)
{
    struct dbk_mongodb_statement *statement = dbk_alloc_zero(1, sizeof(*statement));
    if (statement == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory preparing a command");
    statement->base.driver = &dbk_driver;
    statement->session = session_of(connection);
    dbk_arena_init(&statement->arena, TEXTS_SIZE_MAX);
    dbk_arena_init(&statement->texts, TEXTS_SIZE_MAX);
    int rc = prepare(statement, text, offset_out, err);
    if (rc < 0) {
        free_statement(&statement->base);
        return rc;
    }
    *statement_out = &statement->base;
    return DBK_OK;
}

static void bind_value(struct dbk_statement *base, int index, const struct dbk_value *value)
{
    struct dbk_mongodb_statement *statement = of(base);
    dbk_assert(index >= 1 && index <= DBK_MONGODB_PARAMETERS_MAX);
    statement->values[index - 1] = *value;
    if ((size_t)index > statement->value_count)
        statement->value_count = (size_t)index;
}

static int step_retried(struct dbk_mongodb_statement *statement, struct dbk_error *err)
{
    if (!statement->ran) {
        dbk_arena_reset(&statement->texts);
        statement->ran = true;
        statement->position_at = 0;
        int rc = dbk_mongodb_retried(statement->session, statement->values, &statement->texts,
                                     &statement->positions, &statement->position_count, err);
        if (rc < 0)
            return rc;
    }
    if (statement->position_at == statement->position_count)
        return 0;
    statement->cells[0] = (struct dbk_value){
        .kind = DBK_VALUE_INTEGER, .integer = statement->positions[statement->position_at++]};
    return 1;
}

static int step_catalog(struct dbk_mongodb_statement *statement, struct dbk_error *err)
{
    if (statement->which == DBK_CATALOG_RETRIED)
        return step_retried(statement, err);
    if (statement->ran)
        return 0;
    dbk_arena_reset(&statement->texts);
    statement->ran = true;
    return dbk_mongodb_run_catalog(statement->session, statement->which, statement->values,
                                   &statement->texts, statement->cells, err);
}

static int step(struct dbk_statement *base, struct dbk_error *err)
{
    struct dbk_mongodb_statement *statement = of(base);
    switch (statement->use) {
    case DBK_MONGODB_CATALOG:
        return step_catalog(statement, err);
    case DBK_MONGODB_HANDLER:
        return dbk_mongodb_change(statement, err);
    case DBK_MONGODB_SCHEMA:
    case DBK_MONGODB_PURGE:
        return dbk_mongodb_run_now(statement, err);
    case DBK_MONGODB_COMMAND: /* is done by change */
    case DBK_MONGODB_QUERY:
        break;
    }
    return dbk_mongodb_next_row(statement, err);
}

static int change(struct dbk_statement *base, const struct dbk_document_wish *wish,
                  enum dbk_document_outcome *outcome_out, struct dbk_error *err)
{
    return dbk_mongodb_change_document(of(base), wish, outcome_out, err);
}

static void reset(struct dbk_statement *base)
{
    end_rows(of(base));
}

static bool is_read_only(const struct dbk_statement *statement)
{
    return of(statement)->use == DBK_MONGODB_QUERY;
}

static int column_count(const struct dbk_statement *statement)
{
    return of(statement)->column_count;
}

static const char *column_name(const struct dbk_statement *statement, int column)
{
    return of(statement)->names[column];
}

static struct dbk_value column(struct dbk_statement *statement, int index)
{
    return dbk_mongodb_cell(of(statement), index);
}

__attribute__((visibility("default"))) const struct dbk_driver dbk_driver = {
    .version = DBK_DRIVER_VERSION,
    .dialect = DBK_DIALECT_MONGODB,
    .open = open_session,
    .close = close_session,
    .run = run,
    .begin = begin,
    .settle = settle,
    .guard = set_guard,
    .checkpoint = checkpoint,
    .limit_us = limit_us,
    .interrupt = interrupt,
    .deferred_violation = deferred_violation,
    .in_transaction = in_transaction,
    .statement_open = open_statement,
    .statement_free = free_statement,
    .bind = bind_value,
    .step = step,
    .reset = reset,
    .is_read_only = is_read_only,
    .column_count = column_count,
    .column_name = column_name,
    .column = column,
    .check = dbk_mongodb_check,
    .objects = dbk_mongodb_objects,
    .catalog = dbk_mongodb_catalog,
    .drop = dbk_mongodb_drop,
    .mode = mode,
    .change = change,
    .is_full = is_full,
    .suspects = suspects,
};
