/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What Daybook keeps of its models in a MongoDB database:
 *
 *     _daybook_models   {_id: "orders:3", model: "orders", generation: 3, position: 1234,
 *                        shift: 0, fingerprint: "…", definition: "…", forgotten: 0, retried: [17]}
 *     _daybook_serving  {_id: "orders", generation: 3}
 *
 * The second is the pointer that a swap changes, one document in one update. Each step here is one
 * update that may be done twice.
 */
#include "target/mongodb/session.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define NAMESPACE_EXISTS 48

/* MongoDB has no statements: these are known by where they stand. */
const char *const dbk_mongodb_catalog[DBK_CATALOG_COUNT] = {
    [DBK_CATALOG_MAKE] = "make",
    [DBK_CATALOG_FIND] = "find",
    [DBK_CATALOG_NEWEST] = "newest",
    [DBK_CATALOG_POSITION] = "position",
    [DBK_CATALOG_FENCE] = "fence",
    [DBK_CATALOG_PURGED] = "purged",
    [DBK_CATALOG_RETRIED] = "retried",
    [DBK_CATALOG_INSERT] = "insert",
    [DBK_CATALOG_SET_POSITION] = "set position",
    [DBK_CATALOG_SERVE] = "serve",
    [DBK_CATALOG_SET_PURGED] = "set purged",
    [DBK_CATALOG_SET_RETRIED] = "set retried",
    [DBK_CATALOG_CLEAR_RETRIED] = "clear retried",
    [DBK_CATALOG_REMOVE] = "remove",
};

/* ---- One document ---- */

/* 1: found_out is a copy of it; 0: there is none. The filter and the options are taken. */
static int find_one(struct dbk_mongodb_session *session, const char *name, bson_t *filter,
                    bson_t *options, bson_t **found_out, struct dbk_error *err)
{
    const bson_t *document = NULL;
    const bson_t *reply = NULL;
    bson_error_t error = {0};
    int rc = 0;
    mongoc_collection_t *collection =
        mongoc_client_get_collection(session->client, session->database, name);
    mongoc_cursor_t *cursor = mongoc_collection_find_with_opts(collection, filter, options, NULL);
    if (mongoc_cursor_next(cursor, &document)) {
        *found_out = bson_copy(document);
        rc = 1;
    } else if (mongoc_cursor_error_document(cursor, &error, &reply)) {
        rc = dbk_mongodb_fault(&error, reply, err);
    }
    mongoc_cursor_destroy(cursor);
    mongoc_collection_destroy(collection);
    bson_destroy(filter);
    bson_destroy(options);
    return rc;
}

/* What a majority has: else it may be taken back, and with it a mark or a position that the book
   was told of. */
static bson_t *one(const struct dbk_mongodb_session *session)
{
    bson_t *options = BCON_NEW("limit", BCON_INT64(1));
    if (session->majority)
        BCON_APPEND(options, "readConcern", "{", "level", BCON_UTF8("majority"), "}");
    return options;
}

/* Runs a command, which is taken, and that must succeed (or fail so). */
static int run(struct dbk_mongodb_session *session, bson_t *command, struct dbk_error *err)
{
    bson_t reply;
    int rc = dbk_mongodb_change_command(session, command, &reply, err);
    bson_iter_t at;
    if (rc == DBK_OK && bson_iter_init_find(&at, &reply, "writeErrors"))
        rc =
            dbk_error_set(err, DBK_ESCRIPT, "MongoDB: the model's own documents cannot be written");
    bson_destroy(&reply);
    bson_destroy(command);
    return rc;
}

static void write_key(struct dbk_slice model, int64_t generation,
                      char key_out[DBK_MONGODB_KEY_SIZE])
{
    (void)snprintf(key_out, DBK_MONGODB_KEY_SIZE, "%.*s:%" PRId64, DBK_SLICE_ARGS(model),
                   generation);
}

static struct dbk_slice text_at(const bson_t *document, const char *key)
{
    bson_iter_t at;
    uint32_t size = 0;
    if (!bson_iter_init_find(&at, document, key) || !BSON_ITER_HOLDS_UTF8(&at))
        return (struct dbk_slice){0};
    const char *text = bson_iter_utf8(&at, &size);
    return dbk_slice(text, size);
}

static struct dbk_value integer_value(int64_t number)
{
    return (struct dbk_value){.kind = DBK_VALUE_INTEGER, .integer = number};
}

static struct dbk_value text_value(struct dbk_arena *arena, struct dbk_slice text)
{
    return (struct dbk_value){.kind = DBK_VALUE_TEXT, .bytes = dbk_arena_copy(arena, text)};
}

/* ---- Reading ---- */

int dbk_mongodb_serving(struct dbk_mongodb_session *session, struct dbk_slice model,
                        int64_t *generation_out, struct dbk_error *err)
{
    bson_t *found = NULL;
    bson_t *filter = bson_new();
    bson_append_utf8(filter, "_id", 3, model.data, (int)model.size);
    int rc = find_one(session, DBK_MONGODB_SERVING, filter, one(session), &found, err);
    *generation_out = rc == 1 ? dbk_mongodb_integer(found, "generation") : 0;
    bson_destroy(found);
    return rc < 0 ? rc : DBK_OK;
}

/* The document of a generation; or, where it is 0, of the newest that is not `but`. */
static int find_generation(struct dbk_mongodb_session *session, struct dbk_slice model,
                           int64_t generation, int64_t but, bson_t **found_out,
                           struct dbk_error *err)
{
    bson_t *filter = bson_new();
    char key[DBK_MONGODB_KEY_SIZE];
    if (generation != 0) {
        write_key(model, generation, key);
        BSON_APPEND_UTF8(filter, "_id", key);
        return find_one(session, DBK_MONGODB_MODELS, filter, one(session), found_out, err);
    }
    bson_append_utf8(filter, "model", 5, model.data, (int)model.size);
    if (but != 0) {
        bson_t condition;
        BSON_APPEND_DOCUMENT_BEGIN(filter, "generation", &condition);
        BSON_APPEND_INT64(&condition, "$ne", but);
        bson_append_document_end(filter, &condition);
    }
    bson_t *newest = one(session);
    BCON_APPEND(newest, "sort", "{", "generation", BCON_INT32(-1), "}");
    return find_one(session, DBK_MONGODB_MODELS, filter, newest, found_out, err);
}

static int find(struct dbk_mongodb_session *session, const struct dbk_value *values,
                struct dbk_arena *arena, struct dbk_value *out, struct dbk_error *err)
{
    struct dbk_slice model = values[0].bytes;
    bool serves = values[1].integer != 0;
    int64_t serving = 0;
    bson_t *found = NULL;
    int rc = dbk_mongodb_serving(session, model, &serving, err);
    if (rc < 0 || (serves && serving == 0))
        return rc;
    rc = find_generation(session, model, serves ? serving : 0, serving, &found, err);
    if (rc == 1) {
        out[0] = integer_value(dbk_mongodb_integer(found, "generation"));
        out[1] = integer_value(dbk_mongodb_integer(found, "position"));
        out[2] = text_value(arena, text_at(found, "fingerprint"));
        out[3] = text_value(arena, text_at(found, "definition"));
    }
    bson_destroy(found);
    if (rc == 1 && (out[2].bytes.data == NULL || out[3].bytes.data == NULL))
        return dbk_error_set(err, DBK_ENOMEM, "out of memory reading a model");
    return rc;
}

/* generation 0: the newest; a number of its document. */
static int find_number(struct dbk_mongodb_session *session, struct dbk_slice model,
                       int64_t generation, const char *key, struct dbk_value *out,
                       struct dbk_error *err)
{
    bson_t *found = NULL;
    int rc = find_generation(session, model, generation, 0, &found, err);
    out[0] = integer_value(rc == 1 ? dbk_mongodb_integer(found, key) : 0);
    bson_destroy(found);
    return rc < 0 ? rc : 1;
}

static int find_serving_position(struct dbk_mongodb_session *session, struct dbk_slice model,
                                 struct dbk_value *out, struct dbk_error *err)
{
    int64_t serving = 0;
    int rc = dbk_mongodb_serving(session, model, &serving, err);
    return rc < 0 || serving == 0 ? rc : find_number(session, model, serving, "position", out, err);
}

/* ---- Writing ---- */

static bson_t *update_of(const char *collection, const char *id, const bson_t *update, bool upsert)
{
    return BCON_NEW("update", BCON_UTF8(collection), "updates", "[", "{", "q", "{", "_id",
                    BCON_UTF8(id), "}", "u", BCON_DOCUMENT(update), "upsert", BCON_BOOL(upsert),
                    "}", "]");
}

static int make_collection(struct dbk_mongodb_session *session, const char *name,
                           struct dbk_error *err)
{
    bson_t *command = BCON_NEW("create", BCON_UTF8(name));
    bson_t reply;
    int rc = dbk_mongodb_change_command(session, command, &reply, err);
    if (rc < 0 && dbk_mongodb_integer(&reply, "code") == NAMESPACE_EXISTS)
        rc = DBK_OK;
    bson_destroy(&reply);
    bson_destroy(command);
    return rc;
}

static int serve(struct dbk_mongodb_session *session, struct dbk_slice model, int64_t generation,
                 struct dbk_error *err)
{
    char id[DBK_MONGODB_KEY_SIZE];
    bson_t *update = BCON_NEW("$set", "{", "generation", BCON_INT64(generation), "}");
    (void)snprintf(id, sizeof(id), "%.*s", DBK_SLICE_ARGS(model));
    int rc = run(session, update_of(DBK_MONGODB_SERVING, id, update, true), err);
    bson_destroy(update);
    return rc;
}

static int insert(struct dbk_mongodb_session *session, const struct dbk_value *values,
                  struct dbk_error *err)
{
    char key[DBK_MONGODB_KEY_SIZE];
    bson_t fields = BSON_INITIALIZER;
    bson_t update = BSON_INITIALIZER;
    write_key(values[0].bytes, values[1].integer, key);
    bson_append_utf8(&fields, "model", 5, values[0].bytes.data, (int)values[0].bytes.size);
    BSON_APPEND_INT64(&fields, "generation", values[1].integer);
    BSON_APPEND_INT64(&fields, "position", 0);
    BSON_APPEND_INT64(&fields, "shift", 0);
    bson_append_utf8(&fields, "fingerprint", 11, values[3].bytes.data, (int)values[3].bytes.size);
    bson_append_utf8(&fields, "definition", 10, values[4].bytes.data, (int)values[4].bytes.size);
    BSON_APPEND_DOCUMENT(&update, "$set", &fields);
    int rc = run(session, update_of(DBK_MONGODB_MODELS, key, &update, true), err);
    bson_destroy(&fields);
    bson_destroy(&update);
    return rc == DBK_OK && values[2].integer != 0
               ? serve(session, values[0].bytes, values[1].integer, err)
               : rc;
}

static int set_key(struct dbk_mongodb_session *session, const char *key, struct dbk_error *err)
{
    char *copy = dbk_copy_text(dbk_slice_of(key));
    dbk_free(session->key);
    session->key = copy;
    return copy == NULL ? dbk_error_set(err, DBK_ENOMEM, "out of memory posting") : DBK_OK;
}

/* What a generation's documents were before its last batch. */
static int forget_records(struct dbk_mongodb_session *session, const char *key,
                          struct dbk_error *err)
{
    int rc = set_key(session, key, err);
    return rc == DBK_OK ? dbk_mongodb_forget_records(session, 0, err) : rc;
}

static int set_purged(struct dbk_mongodb_session *session, const struct dbk_value *values,
                      struct dbk_error *err)
{
    char key[DBK_MONGODB_KEY_SIZE];
    bson_t *update = BCON_NEW("$set", "{", "forgotten", BCON_INT64(values[2].integer), "}");
    write_key(values[0].bytes, values[1].integer, key);
    int rc = run(session, update_of(DBK_MONGODB_MODELS, key, update, false), err);
    bson_destroy(update);
    return rc == DBK_OK ? forget_records(session, key, err) : rc;
}

/* The one that serves stays. */
static int remove_generation(struct dbk_mongodb_session *session, const struct dbk_value *values,
                             struct dbk_error *err)
{
    char key[DBK_MONGODB_KEY_SIZE];
    int64_t serving = 0;
    int rc = dbk_mongodb_serving(session, values[0].bytes, &serving, err);
    if (rc < 0 || serving == values[1].integer)
        return rc;
    write_key(values[0].bytes, values[1].integer, key);
    rc = run(session,
             BCON_NEW("delete", BCON_UTF8(DBK_MONGODB_MODELS), "deletes", "[", "{", "q", "{", "_id",
                      BCON_UTF8(key), "}", "limit", BCON_INT32(1), "}", "]"),
             err);
    return rc == DBK_OK ? forget_records(session, key, err) : rc;
}

/* Waits for COMMIT, as the changes do. */
static int set_position(struct dbk_mongodb_session *session, const struct dbk_value *values,
                        struct dbk_error *err)
{
    char key[DBK_MONGODB_KEY_SIZE];
    write_key(values[1].bytes, values[2].integer, key);
    if (session->key == NULL || strcmp(key, session->key) != 0 ||
        values[3].integer != session->position_before)
        return dbk_mongodb_fenced(err);
    session->moves = true;
    session->position = values[0].integer;
    session->letter = session->position == session->position_before;
    return DBK_OK;
}

/* Where the model is, once nothing is left of a batch that is not done. */
static int fence(struct dbk_mongodb_session *session, const struct dbk_value *values,
                 struct dbk_value *out, struct dbk_error *err)
{
    char key[DBK_MONGODB_KEY_SIZE];
    bson_t *found = NULL;
    write_key(values[0].bytes, values[1].integer, key);
    int rc = set_key(session, key, err);
    if (rc == DBK_OK)
        rc = find_generation(session, values[0].bytes, values[1].integer, 0, &found, err);
    if (rc == 1) {
        session->position_before = dbk_mongodb_integer(found, "position");
        session->shift = dbk_mongodb_integer(found, "shift");
        out[0] = integer_value(session->position_before);
        rc = dbk_mongodb_mend(session, dbk_mongodb_integer(found, "undo"), err);
        rc = rc == DBK_OK ? 1 : rc;
    }
    bson_destroy(found);
    return rc;
}

static int clear_retried(struct dbk_mongodb_session *session, const struct dbk_value *values,
                         struct dbk_error *err)
{
    char key[DBK_MONGODB_KEY_SIZE];
    bson_t *update = BCON_NEW("$pull", "{", "retried", BCON_INT64(values[2].integer), "}");
    write_key(values[0].bytes, values[1].integer, key);
    int rc = run(session, update_of(DBK_MONGODB_MODELS, key, update, false), err);
    bson_destroy(update);
    return rc;
}

int dbk_mongodb_retried(struct dbk_mongodb_session *session, const struct dbk_value *values,
                        struct dbk_arena *arena, int64_t **positions_out, size_t *count_out,
                        struct dbk_error *err)
{
    bson_t *found = NULL;
    bson_iter_t at;
    bson_iter_t item;
    size_t count = 0;
    *count_out = 0;
    int rc = find_generation(session, values[0].bytes, values[1].integer, 0, &found, err);
    if (rc == 1 && bson_iter_init_find(&at, found, "retried") && BSON_ITER_HOLDS_ARRAY(&at)) {
        for (bool more = bson_iter_recurse(&at, &item); more && bson_iter_next(&item);)
            count++;
        *positions_out = dbk_arena_alloc_zero(arena, count + 1, sizeof(**positions_out));
        if (*positions_out == NULL)
            rc = dbk_error_set(err, DBK_ENOMEM, "out of memory reading letters");
        for (bool more = rc == 1 && bson_iter_recurse(&at, &item); more && bson_iter_next(&item);)
            (*positions_out)[(*count_out)++] = bson_iter_as_int64(&item);
    }
    bson_destroy(found);
    return rc < 0 ? rc : DBK_OK;
}

int dbk_mongodb_run_catalog(struct dbk_mongodb_session *session, enum dbk_catalog which,
                            const struct dbk_value *values, struct dbk_arena *arena,
                            struct dbk_value *values_out, struct dbk_error *err)
{
    struct dbk_slice model = values[0].bytes;
    int rc = DBK_OK;
    switch (which) {
    case DBK_CATALOG_MAKE:
        rc = make_collection(session, DBK_MONGODB_MODELS, err);
        if (rc == DBK_OK)
            rc = make_collection(session, DBK_MONGODB_UNDO, err);
        return rc < 0 ? rc : make_collection(session, DBK_MONGODB_SERVING, err);
    case DBK_CATALOG_FIND:
        return find(session, values, arena, values_out, err);
    case DBK_CATALOG_NEWEST:
        return find_number(session, model, 0, "generation", values_out, err);
    case DBK_CATALOG_POSITION:
        return find_serving_position(session, model, values_out, err);
    case DBK_CATALOG_PURGED:
        return find_number(session, model, values[1].integer, "forgotten", values_out, err);
    case DBK_CATALOG_FENCE:
        return fence(session, values, values_out, err);
    case DBK_CATALOG_INSERT:
        return insert(session, values, err);
    case DBK_CATALOG_SET_POSITION:
        return set_position(session, values, err);
    case DBK_CATALOG_SERVE:
        return serve(session, model, values[1].integer, err);
    case DBK_CATALOG_SET_PURGED:
        return set_purged(session, values, err);
    case DBK_CATALOG_REMOVE:
        return remove_generation(session, values, err);
    case DBK_CATALOG_SET_RETRIED:
        session->retried = values[2].integer; /* waits for COMMIT, too */
        return DBK_OK;
    case DBK_CATALOG_CLEAR_RETRIED:
        return clear_retried(session, values, err);
    case DBK_CATALOG_RETRIED: /* has rows: dbk_mongodb_retried */
    case DBK_CATALOG_COUNT:
        break;
    }
    return dbk_error_set(err, DBK_EINVAL, "the catalog has no such statement");
}

/* ---- Whether there are transactions ---- */

/* What a server says of itself is not believed: one that ignores transactions would keep this. */
static int probe_document(struct dbk_mongodb_session *session, const char *id, bool *kept_out,
                          struct dbk_error *err)
{
    bson_t *found = NULL;
    /* Not as one() asks: what such a server keeps may be no majority's yet. */
    int rc = find_one(session, DBK_MONGODB_MODELS, BCON_NEW("_id", BCON_UTF8(id)),
                      BCON_NEW("limit", BCON_INT64(1)), &found, err);
    bson_destroy(found);
    *kept_out = rc == 1;
    if (rc == 1)
        rc = run(session,
                 BCON_NEW("delete", BCON_UTF8(DBK_MONGODB_MODELS), "deletes", "[", "{", "q", "{",
                          "_id", BCON_UTF8(id), "}", "limit", BCON_INT32(1), "}", "]"),
                 err);
    return rc < 0 ? rc : DBK_OK;
}

int dbk_mongodb_probe(struct dbk_mongodb_session *session, struct dbk_error *err)
{
    bson_oid_t oid;
    char id[32] = "probe:";
    bson_error_t error = {0};
    struct dbk_error failure = {0};
    bool kept = false;
    bson_oid_init(&oid, NULL);
    bson_oid_to_string(&oid, id + strlen(id));
    int rc = make_collection(session, DBK_MONGODB_MODELS, err);
    if (rc < 0)
        return rc;
    session->transaction = mongoc_client_start_session(session->client, NULL, &error);
    bool began = session->transaction != NULL &&
                 mongoc_client_session_start_transaction(session->transaction, NULL, &error);
    if (began)
        rc = run(session,
                 BCON_NEW("insert", BCON_UTF8(DBK_MONGODB_MODELS), "documents", "[", "{", "_id",
                          BCON_UTF8(id), "}", "]"),
                 &failure);
    bool inserted = began && rc == DBK_OK;
    bool taken_back =
        inserted && mongoc_client_session_abort_transaction(session->transaction, &error);
    dbk_mongodb_abort(session);
    if (rc == DBK_ECONNECT || rc == DBK_EBUSY)
        return dbk_error_set(err, DBK_ECONNECT, "%s", failure.message);
    rc = probe_document(session, id, &kept, err);
    if (rc == DBK_OK)
        session->mode = taken_back && !kept ? DBK_MONGODB_TRANSACTION : DBK_MONGODB_GUARDED;
    return rc;
}

/* ---- Dropping ---- */

int dbk_mongodb_drop(struct dbk_connection *connection, struct dbk_slice prefix,
                     struct dbk_error *err)
{
    struct dbk_mongodb_session *session = (struct dbk_mongodb_session *)connection;
    bson_error_t error = {0};
    int rc = DBK_OK;
    mongoc_database_t *database = mongoc_client_get_database(session->client, session->database);
    char **names = mongoc_database_get_collection_names_with_opts(database, NULL, &error);
    mongoc_database_destroy(database);
    if (names == NULL)
        return dbk_mongodb_fault(&error, NULL, err);
    for (char **name = names; rc == DBK_OK && *name != NULL; name++) {
        bool own = strncmp(*name, prefix.data, prefix.size) == 0 && (*name)[prefix.size] == '_';
        if (own)
            rc = run(session, BCON_NEW("drop", BCON_UTF8(*name)), err);
    }
    bson_strfreev(names);
    return rc;
}
