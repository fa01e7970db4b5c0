/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Queries. Documents have no columns, so what is asked for says them: the fields of a projection,
 * or of the last stage that makes new documents ($project, $group, $count). Where nothing does, the
 * one column `document` is the document as extended JSON.
 */
#include <inttypes.h>
#include <string.h>

#include "base/time.h"
#include "target/mongodb/statement.h"

#define COLUMNS_MAX 1000

/* ---- Columns ---- */

static int add_column(struct dbk_mongodb_statement *statement, struct dbk_slice name,
                      struct dbk_error *err)
{
    const char *dot = memchr(name.data, '.', name.size);
    struct dbk_slice top =
        dbk_slice(name.data, dot == NULL ? name.size : (size_t)(dot - name.data));
    for (int i = 0; i < statement->column_count; i++) {
        if (dbk_slice_equal_text(top, statement->names[i]))
            return DBK_OK;
    }
    if (statement->column_count == COLUMNS_MAX)
        return dbk_error_set(err, DBK_ELIMIT, "more than %d columns", COLUMNS_MAX);
    statement->names[statement->column_count] = dbk_arena_copy(&statement->arena, top).data;
    if (statement->names[statement->column_count] == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory reading columns");
    statement->column_count++;
    return DBK_OK;
}

static bool is_left_out(const struct dbk_json_node *field)
{
    return field->kind == DBK_JSON_FALSE ||
           (field->kind == DBK_JSON_INTEGER && field->integer == 0);
}

/* The fields that a projection keeps; none when it says only which it leaves out. */
static int add_projection(struct dbk_mongodb_statement *statement,
                          const struct dbk_json_node *projection, struct dbk_error *err)
{
    const struct dbk_json_node *id = dbk_json_member(projection, "_id");
    const struct dbk_json_node *field = dbk_json_first(projection);
    bool keeps = false;
    for (uint32_t i = 0; i < projection->count; i++, field = dbk_json_sibling(field))
        keeps = keeps || (!is_left_out(field));
    int rc = DBK_OK;
    if (keeps && id == NULL)
        rc = add_column(statement, DBK_SLICE_LITERAL("_id"), err);
    field = dbk_json_first(projection);
    for (uint32_t i = 0; rc == DBK_OK && keeps && i < projection->count;
         i++, field = dbk_json_sibling(field)) {
        if (!is_left_out(field))
            rc = add_column(statement, field->key, err);
    }
    return rc;
}

static int add_group(struct dbk_mongodb_statement *statement, const struct dbk_json_node *group,
                     struct dbk_error *err)
{
    const struct dbk_json_node *field = dbk_json_first(group);
    int rc = DBK_OK;
    for (uint32_t i = 0; rc == DBK_OK && i < group->count; i++, field = dbk_json_sibling(field))
        rc = add_column(statement, field->key, err);
    return rc;
}

/* 1: the stage says the columns; 0: it keeps what is before it; 2: it makes what is not known. */
static int take_stage(struct dbk_mongodb_statement *statement, const struct dbk_json_node *stage,
                      struct dbk_error *err)
{
    static const char *const keeping[] = {"$match", "$sort", "$limit", "$skip", "$sample"};
    const struct dbk_json_node *what = dbk_json_first(stage);
    int rc = DBK_OK;
    for (size_t i = 0; i < sizeof(keeping) / sizeof(keeping[0]); i++) {
        if (dbk_slice_equal_text(what->key, keeping[i]))
            return 0;
    }
    if (dbk_slice_equal_text(what->key, "$project"))
        rc = add_projection(statement, what, err);
    else if (dbk_slice_equal_text(what->key, "$group"))
        rc = add_group(statement, what, err);
    else if (dbk_slice_equal_text(what->key, "$count") && what->kind == DBK_JSON_STRING)
        rc = add_column(statement, what->text, err);
    else
        return 2;
    return rc < 0 ? rc : 1;
}

static int add_pipeline(struct dbk_mongodb_statement *statement,
                        const struct dbk_json_node *pipeline, struct dbk_error *err)
{
    int rc = 0;
    for (uint32_t last = pipeline->count; rc == 0 && last > 0; last--) {
        const struct dbk_json_node *stage = dbk_json_first(pipeline);
        for (uint32_t i = 1; i < last; i++)
            stage = dbk_json_sibling(stage);
        rc = take_stage(statement, stage, err);
    }
    return rc < 0 ? rc : DBK_OK;
}

static int find_columns(struct dbk_mongodb_statement *statement, struct dbk_error *err)
{
    const struct dbk_json_node *projection = dbk_json_member(statement->root, "projection");
    const struct dbk_json_node *pipeline = dbk_json_member(statement->root, "pipeline");
    int rc = DBK_OK;
    statement->names =
        dbk_arena_alloc_zero(&statement->arena, COLUMNS_MAX + 1, sizeof(*statement->names));
    if (statement->names == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory reading columns");
    if (projection != NULL && projection->kind == DBK_JSON_OBJECT)
        rc = add_projection(statement, projection, err);
    else if (pipeline != NULL)
        rc = add_pipeline(statement, pipeline, err);
    statement->whole = statement->column_count == 0;
    if (rc == DBK_OK && statement->whole)
        rc = add_column(statement, DBK_SLICE_LITERAL("document"), err);
    return rc;
}

/* ---- Models ---- */

static int find_model(struct dbk_mongodb_statement *statement, struct dbk_slice model,
                      struct dbk_error *err)
{
    int64_t generation = 0;
    for (size_t i = 0; i < statement->model_count; i++) {
        if (dbk_slice_equal(statement->models[i].name, model))
            return DBK_OK;
    }
    if (statement->model_count == DBK_MONGODB_MODELS_MAX)
        return dbk_error_set(err, DBK_ELIMIT, "a query names more than %d models",
                             DBK_MONGODB_MODELS_MAX);
    int rc = dbk_mongodb_serving(statement->session, model, &generation, err);
    if (rc < 0)
        return rc;
    if (generation == 0)
        return dbk_error_set(err, DBK_EINVAL, "there is no model %.*s in this database",
                             DBK_SLICE_ARGS(model));
    statement->models[statement->model_count++] = (struct dbk_mongodb_model){model, generation};
    return DBK_OK;
}

static int find_models(struct dbk_mongodb_statement *statement, const struct dbk_json_node *node,
                       struct dbk_error *err)
{
    struct dbk_slice model = {0};
    struct dbk_slice name = {0};
    int rc = DBK_OK;
    if (node->kind == DBK_JSON_STRING && dbk_mongodb_collection(node->text, &model, &name))
        return find_model(statement, model, err);
    if (node->kind != DBK_JSON_OBJECT && node->kind != DBK_JSON_ARRAY)
        return DBK_OK;
    const struct dbk_json_node *item = dbk_json_first(node);
    for (uint32_t i = 0; rc == DBK_OK && i < node->count; i++, item = dbk_json_sibling(item))
        rc = find_models(statement, item, err);
    return rc;
}

int dbk_mongodb_prepare_query(struct dbk_mongodb_statement *statement, struct dbk_error *err)
{
    int rc = find_models(statement, statement->root, err);
    return rc == DBK_OK ? find_columns(statement, err) : rc;
}

/* ---- Rows ---- */

static int write_query(struct dbk_mongodb_statement *statement, bson_t *command,
                       struct dbk_error *err)
{
    struct dbk_mongodb_build build = dbk_mongodb_building(statement, err);
    int64_t limit_ms = statement->session->limit_us / 1000;
    bson_t cursor;
    int rc = dbk_mongodb_build_members(&build, statement->root, command);
    if (dbk_json_member(statement->root, "aggregate") != NULL) {
        BSON_APPEND_DOCUMENT_BEGIN(command, "cursor", &cursor);
        bson_append_document_end(command, &cursor);
    }
    if (limit_ms > 0)
        BSON_APPEND_INT64(command, "maxTimeMS", limit_ms);
    return rc;
}

/* What the first answer does not hold is asked for at the same server. */
static int open_cursor(struct dbk_mongodb_statement *statement, struct dbk_error *err)
{
    mongoc_client_t *client = statement->session->client;
    bson_t command = BSON_INITIALIZER;
    bson_t options = BSON_INITIALIZER;
    bson_t reply;
    bson_error_t error = {0};
    int rc = write_query(statement, &command, err);
    mongoc_server_description_t *server =
        rc < 0 ? NULL : mongoc_client_select_server(client, false, NULL, &error);
    if (rc == DBK_OK && server == NULL)
        rc = dbk_mongodb_fault(&error, NULL, err);
    if (rc == DBK_OK) {
        BSON_APPEND_INT32(&options, "serverId", (int32_t)mongoc_server_description_id(server));
        if (mongoc_client_command_with_opts(client, statement->session->database, &command, NULL,
                                            &options, &reply, &error)) {
            statement->cursor =
                mongoc_cursor_new_from_command_reply_with_opts(client, &reply, &options);
        } else {
            rc = dbk_mongodb_fault(&error, &reply, err);
            bson_destroy(&reply);
        }
    }
    mongoc_server_description_destroy(server);
    bson_destroy(&options);
    bson_destroy(&command);
    return rc;
}

/* The first and the last date that RFC 3339 can write, years 1 and 9999. */
static bool is_writable(const bson_iter_t *at)
{
    int64_t time_ms = bson_iter_date_time(at);
    return time_ms >= DBK_TIME_MIN / 1000 && time_ms <= DBK_TIME_MAX / 1000;
}

/* Cells cannot fail: what has no value here ends the query before its row is given. */
static int check_dates(const struct dbk_mongodb_statement *statement, struct dbk_error *err)
{
    bson_iter_t at;
    for (int i = 0; !statement->whole && i < statement->column_count; i++) {
        if (bson_iter_init_find(&at, statement->row, statement->names[i]) &&
            BSON_ITER_HOLDS_DATE_TIME(&at) && !is_writable(&at))
            return dbk_error_set(err, DBK_ESCRIPT,
                                 "MongoDB: the column `%s` has a date outside of the years 1 to "
                                 "9999, %" PRId64 " ms from 1970: ask for {\"$toLong\": \"$%s\"}",
                                 statement->names[i], bson_iter_date_time(&at),
                                 statement->names[i]);
    }
    return DBK_OK;
}

int dbk_mongodb_next_row(struct dbk_mongodb_statement *statement, struct dbk_error *err)
{
    const bson_t *reply = NULL;
    bson_error_t error = {0};
    dbk_arena_reset(&statement->texts);
    if (!statement->ran) {
        int rc = open_cursor(statement, err);
        if (rc < 0)
            return rc;
        statement->ran = true;
    }
    if (mongoc_cursor_next(statement->cursor, &statement->row)) {
        int rc = check_dates(statement, err);
        return rc < 0 ? rc : 1;
    }
    statement->row = NULL;
    return mongoc_cursor_error_document(statement->cursor, &error, &reply)
               ? dbk_mongodb_fault(&error, reply, err)
               : 0;
}

/* ---- Values ---- */

static struct dbk_value text_value(struct dbk_mongodb_statement *statement, const char *text,
                                   size_t size, bool json)
{
    struct dbk_slice copy = dbk_arena_copy(&statement->texts, dbk_slice(text, size));
    if (copy.data == NULL)
        return (struct dbk_value){.kind = DBK_VALUE_NULL};
    return (struct dbk_value){.kind = DBK_VALUE_TEXT, .json = json, .bytes = copy};
}

static struct dbk_value extended(struct dbk_mongodb_statement *statement, const bson_t *document)
{
    size_t size = 0;
    char *text = bson_as_relaxed_extended_json(document, &size);
    struct dbk_value value = {.kind = DBK_VALUE_NULL};
    if (text != NULL)
        value = text_value(statement, text, size, true);
    bson_free(text);
    return value;
}

/* libbson writes documents only: { "v" : … }, of which the value is taken. */
static struct dbk_value nested(struct dbk_mongodb_statement *statement, const bson_iter_t *at)
{
    bson_t one = BSON_INITIALIZER;
    (void)bson_append_iter(&one, "v", 1, at);
    struct dbk_value value = extended(statement, &one);
    bson_destroy(&one);
    const char *colon =
        value.kind == DBK_VALUE_NULL ? NULL : memchr(value.bytes.data, ':', value.bytes.size);
    if (colon != NULL) {
        size_t before = (size_t)(colon - value.bytes.data) + 2;
        value.bytes = dbk_slice(value.bytes.data + before, value.bytes.size - before - 2);
    }
    return value;
}

static struct dbk_value decimal_value(struct dbk_mongodb_statement *statement,
                                      const bson_iter_t *at)
{
    char text[BSON_DECIMAL128_STRING];
    bson_decimal128_t number;
    struct dbk_decimal decimal = {0};
    (void)bson_iter_decimal128(at, &number);
    bson_decimal128_to_string(&number, text);
    if (dbk_decimal_parse(dbk_slice_of(text), &decimal))
        return (struct dbk_value){.kind = DBK_VALUE_DECIMAL, .decimal = decimal};
    return text_value(statement, text, strlen(text), false);
}

/* Within what check_dates lets through. */
static struct dbk_value time_value(struct dbk_mongodb_statement *statement, const bson_iter_t *at)
{
    char text[DBK_TIME_TEXT_SIZE];
    return text_value(statement, text, dbk_time_format(bson_iter_date_time(at) * 1000, text),
                      false);
}

static struct dbk_value oid_value(struct dbk_mongodb_statement *statement, const bson_iter_t *at)
{
    char text[25];
    bson_oid_to_string(bson_iter_oid(at), text);
    return text_value(statement, text, 24, false);
}

static struct dbk_value value_of(struct dbk_mongodb_statement *statement, const bson_iter_t *at)
{
    uint32_t size = 0;
    if (BSON_ITER_HOLDS_NULL(at))
        return (struct dbk_value){.kind = DBK_VALUE_NULL};
    if (BSON_ITER_HOLDS_BOOL(at))
        return (struct dbk_value){.kind = DBK_VALUE_INTEGER, .integer = bson_iter_bool(at)};
    if (BSON_ITER_HOLDS_INT32(at) || BSON_ITER_HOLDS_INT64(at))
        return (struct dbk_value){.kind = DBK_VALUE_INTEGER, .integer = bson_iter_as_int64(at)};
    if (BSON_ITER_HOLDS_DOUBLE(at))
        return (struct dbk_value){.kind = DBK_VALUE_REAL, .real = bson_iter_double(at)};
    if (BSON_ITER_HOLDS_UTF8(at)) {
        const char *text = bson_iter_utf8(at, &size);
        return text_value(statement, text, size, false);
    }
    if (BSON_ITER_HOLDS_DECIMAL128(at))
        return decimal_value(statement, at);
    if (BSON_ITER_HOLDS_DATE_TIME(at))
        return time_value(statement, at);
    if (BSON_ITER_HOLDS_OID(at))
        return oid_value(statement, at);
    return nested(statement, at);
}

/* The guard is Daybook's own. */
static struct dbk_value document_value(struct dbk_mongodb_statement *statement)
{
    bson_t plain;
    bson_init(&plain);
    bson_copy_to_excluding_noinit(statement->row, &plain, "_daybook", NULL);
    struct dbk_value value = extended(statement, &plain);
    bson_destroy(&plain);
    return value;
}

struct dbk_value dbk_mongodb_cell(struct dbk_mongodb_statement *statement, int column)
{
    bson_iter_t at;
    if (statement->use == DBK_MONGODB_CATALOG)
        return statement->cells[column];
    if (statement->whole)
        return document_value(statement);
    return bson_iter_init_find(&at, statement->row, statement->names[column])
               ? value_of(statement, &at)
               : (struct dbk_value){.kind = DBK_VALUE_NULL};
}
