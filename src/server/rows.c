/* SPDX-License-Identifier: Apache-2.0 */
/* Reads of SQL: queries, tables of models, views, and SQL itself. */
#include "server/guard.h"

#define SQL_LIMIT_US (INT64_C(60) * 1000000)
#define PIECE_SIZE ((size_t)64 << 10)
/* How long `after` waits when nothing is said. */
#define TIMEOUT_US (INT64_C(5) * 1000000)

static int64_t monotonic_us(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* "<service>:<position of its database>" becomes a position of the book, once that is captured;
   what is left of the time is for the models. */
static int wait_captured(const struct dbk_api_call *call, struct dbk_slice text,
                         uint64_t *after_out, int64_t *timeout_us, struct dbk_error *err)
{
    size_t colon = (size_t)((const char *)memchr(text.data, ':', text.size) - text.data);
    int64_t begun_us = monotonic_us();
    int rc = dbk_captures_wait(dbk_engine_captures(call->engine), dbk_slice(text.data, colon),
                               dbk_slice(text.data + colon + 1, text.size - colon - 1), *timeout_us,
                               after_out, err);
    int64_t took_us = monotonic_us() - begun_us;
    *timeout_us = took_us < *timeout_us ? *timeout_us - took_us : 0;
    return rc;
}

int dbk_api_after(const struct dbk_api_call *call, uint64_t *after_out, int64_t *timeout_us_out,
                  struct dbk_error *err)
{
    uint64_t timeout_ms = TIMEOUT_US / 1000;
    struct dbk_slice text = {0};
    bool source = dbk_call_text(call, "after", &text) && memchr(text.data, ':', text.size) != NULL;
    int rc = source ? DBK_OK : dbk_call_number(call, "after", after_out, err);
    if (rc == DBK_OK)
        rc = dbk_call_number(call, "timeout_ms", &timeout_ms, err);
    if (rc == DBK_OK && timeout_ms > 600000)
        return dbk_error_set(err, DBK_EINVAL, "timeout_ms: at most 600000");
    *timeout_us_out = (int64_t)timeout_ms * 1000;
    return rc == DBK_OK && source ? wait_captured(call, text, after_out, timeout_us_out, err) : rc;
}

static void put_columns(struct dbk_buf *out, const struct dbk_rows *rows)
{
    for (int i = 0; i < dbk_rows_column_count(rows); i++) {
        if (i > 0)
            dbk_buf_append_char(out, ',');
        dbk_json_write_string(out, dbk_slice_of(dbk_rows_column_name(rows, i)));
    }
}

/* The first row is fetched before the answer begins, so that most failures become a problem. */
int dbk_api_send_rows(struct dbk_api_call *call, struct dbk_rows *rows, const char *more,
                      struct dbk_error *err)
{
    struct dbk_buf *out = &call->scratch->out;
    int rc = dbk_rows_next(rows, err);
    if (rc < 0)
        return rc;
    call->position = dbk_rows_position(rows);
    call->lag_us = dbk_rows_lag_us(rows);
    call->has_lag = call->lag_us >= 0;
    int begun = dbk_call_begin(call, 200, "application/json");
    if (begun < 0)
        return begun;
    /* What a transaction reads is kept in the write-ahead log until it ends. */
    if (call->response->limit != NULL)
        call->response->limit(call->response->context, SQL_LIMIT_US);
    dbk_buf_append_char(out, '{');
    dbk_buf_append_text(out, more);
    dbk_buf_append_text(out, "\"columns\":[");
    put_columns(out, rows);
    dbk_buf_append_text(out, "],\"rows\":[");
    for (uint64_t count = 0; rc == 1; count++) {
        if (count > 0)
            dbk_buf_append_char(out, ',');
        dbk_rows_put(rows, out);
        if (out->size >= PIECE_SIZE || out->rc < 0) {
            int sent = dbk_call_flush(call);
            if (sent < 0)
                return sent;
        }
        rc = dbk_rows_next(rows, err);
    }
    if (rc < 0)
        return rc;
    bool first = false;
    dbk_buf_append_char(out, ']');
    dbk_put_u64(out, &first, "position", call->position);
    if (call->has_lag)
        dbk_put_ms(out, &first, "lag_ms", call->lag_us);
    dbk_buf_append_text(out, "}\n");
    rc = dbk_call_flush(call);
    return rc < 0 ? rc : 200;
}

static int read_rows(struct dbk_api_call *call, const struct dbk_rows_options *options,
                     const char *more, struct dbk_error *err)
{
    struct dbk_rows *rows = NULL;
    int rc = dbk_engine_rows(call->engine, options, &rows, err);
    if (rc == DBK_OK)
        rc = dbk_api_send_rows(call, rows, more, err);
    dbk_rows_free(rows);
    return rc;
}

/* A member of the body that is an instant. 1: it is there. */
static int read_instant(const struct dbk_json_node *root, const char *name, int64_t *time_us,
                        struct dbk_error *err)
{
    const struct dbk_json_node *node = dbk_json_member(root, name);
    if (node == NULL)
        return 0;
    if (node->kind != DBK_JSON_STRING || !dbk_time_parse(node->text, time_us))
        return dbk_error_set(err, DBK_EINVAL,
                             "%s: %.*s is no instant, as \"2011-03-01\" or "
                             "\"2011-03-01T08:26:00Z\"",
                             name, (int)(node->raw.size < 80 ? node->raw.size : 80),
                             node->raw.data);
    return 1;
}

struct sql_body {
    struct dbk_slice sql;
    const char *database; /* NULL: all files beside each other */
    bool timed;
    struct dbk_as_of_time at;
};

static int read_body(struct dbk_api_call *call, struct sql_body *body, struct dbk_error *err)
{
    const struct dbk_json_node *root = NULL;
    struct dbk_error failure = {0};
    int rc = dbk_json_parse(call->scratch->json, call->request->body, &root, &failure);
    if (rc < 0)
        return dbk_error_set(err, rc, "the body: %s", failure.message);
    const struct dbk_json_node *sql = dbk_json_member(root, "sql");
    const struct dbk_json_node *database = dbk_json_member(root, "database");
    int at = read_instant(root, "at", &body->at.time_us, err);
    if (at < 0)
        return at;
    int occurred = read_instant(root, "occurred_at", &body->at.time_us, err);
    if (occurred < 0)
        return occurred;
    uint32_t one = at + occurred > 0 || database != NULL;
    if (sql == NULL || sql->kind != DBK_JSON_STRING || root->count != 1 + one ||
        (database != NULL && database->kind != DBK_JSON_STRING))
        return dbk_error_set(err, DBK_EINVAL,
                             "the body is {\"sql\":\"SELECT …\"}, with \"at\" or \"occurred_at\" "
                             "where it is as of a time, or with \"database\"");
    body->sql = sql->text;
    if (database != NULL) {
        body->database = dbk_arena_copy(&call->scratch->arena, database->text).data;
        if (body->database == NULL)
            return dbk_error_set(err, DBK_ENOMEM, "out of memory reading");
    }
    body->timed = at + occurred > 0;
    body->at.occurred = occurred > 0;
    return DBK_OK;
}

/* A model that is built first: it ends, to be gone on with, when nobody waits for it. */
static bool tell(void *context, uint64_t done, uint64_t total)
{
    const struct dbk_api_call *call = context;
    if (call->response->progress != NULL)
        call->response->progress(call->response->context, done, total);
    return dbk_call_wait(call) >= 0;
}

int dbk_api_sql(struct dbk_api_call *call, struct dbk_error *err)
{
    struct sql_body body = {0};
    int rc = read_body(call, &body, err);
    return rc < 0 ? rc
                  : read_rows(call,
                              &(struct dbk_rows_options){.sql = body.sql,
                                                         .database = body.database,
                                                         .limit_us = SQL_LIMIT_US,
                                                         .at = body.timed ? &body.at : NULL,
                                                         .progress = tell,
                                                         .context = call},
                              "", err);
}

int dbk_api_queries(struct dbk_api_call *call, struct dbk_error *err)
{
    const struct dbk_book *book = dbk_engine_book(call->engine);
    struct dbk_buf *out = &call->scratch->out;
    const char *comma = "";
    (void)err;
    dbk_buf_append_text(out, "{\"queries\":[");
    for (size_t i = 0; i < book->query_count; i++) {
        const struct dbk_book_query *query = &book->queries[i];
        bool first = true;
        if (!dbk_guard_sees(call, DBK_SCOPE_QUERY, dbk_slice_of(query->name)))
            continue;
        dbk_buf_append_text(out, comma);
        comma = ",";
        dbk_buf_append_char(out, '{');
        dbk_put_text(out, &first, "name", dbk_slice_of(query->name));
        dbk_put_text(out, &first, "file", dbk_slice_of(query->file));
        dbk_json_write_key(out, &first, "parameters");
        dbk_buf_append_char(out, '[');
        for (size_t j = 0; j < query->parameter_count; j++) {
            if (j > 0)
                dbk_buf_append_char(out, ',');
            dbk_json_write_string(out, dbk_slice_of(query->parameters[j]));
        }
        dbk_buf_append_text(out, "]}");
    }
    dbk_buf_append_text(out, "]}");
    return dbk_call_send_json(call, 200);
}

/* A parameter as JSON: numbers, true, false and null as such, "…" as text, all else as text. */
static void put_parameter(struct dbk_buf *out, struct dbk_slice value)
{
    struct dbk_decimal number;
    bool quoted = value.size >= 2 && value.data[0] == '"' && value.data[value.size - 1] == '"';
    if (quoted)
        dbk_json_write_string(out, dbk_slice(value.data + 1, value.size - 2));
    else if (dbk_decimal_parse(value, &number) || dbk_slice_equal_text(value, "true") ||
             dbk_slice_equal_text(value, "false") || dbk_slice_equal_text(value, "null"))
        dbk_buf_append(out, value);
    else
        dbk_json_write_string(out, value);
}

static int put_parameters(struct dbk_api_call *call, struct dbk_buf *out, struct dbk_error *err)
{
    bool first = true;
    dbk_buf_append_char(out, '{');
    for (size_t i = 0; i < call->query_count; i++) {
        const struct dbk_api_field *field = &call->query[i];
        if (dbk_slice_equal_text(field->name, "after") ||
            dbk_slice_equal_text(field->name, "timeout_ms"))
            continue;
        if (!dbk_slice_is_utf8(field->name) || !dbk_slice_is_utf8(field->value))
            return dbk_error_set(err, DBK_EINVAL, "a query parameter is not UTF-8");
        dbk_json_write_key(out, &first, field->name.data);
        put_parameter(out, field->value);
    }
    dbk_buf_append_char(out, '}');
    return out->rc < 0 ? dbk_error_set(err, out->rc, "out of memory reading parameters") : DBK_OK;
}

/* report: on one cut, which stands before the rows. */
static int ask(struct dbk_api_call *call, bool report, struct dbk_error *err)
{
    struct dbk_rows *rows = NULL;
    struct dbk_buf cut;
    const struct dbk_json_node *root = NULL;
    struct dbk_buf text;
    uint64_t after = 0;
    int64_t timeout_us = 0;
    dbk_buf_init(&text, DBK_URL_SIZE_MAX * 8);
    dbk_buf_init(&cut, DBK_ENGINE_TEXT_SIZE_MAX);
    int rc = dbk_api_after(call, &after, &timeout_us, err);
    if (rc == DBK_OK)
        rc = put_parameters(call, &text, err);
    if (rc == DBK_OK)
        rc = dbk_json_parse(call->scratch->json, dbk_buf_slice(&text), &root, err);
    if (rc == DBK_OK && report)
        rc = dbk_engine_report(call->engine, dbk_api_part(call, 1), root, after, timeout_us, &cut,
                               &rows, err);
    else if (rc == DBK_OK)
        rc = dbk_engine_query(call->engine, dbk_api_part(call, 1), root, after, timeout_us, &rows,
                              err);
    const char *more = "";
    if (rc == DBK_OK && report) {
        more = dbk_arena_format(&call->scratch->arena, "\"cut\":%.*s,",
                                DBK_SLICE_ARGS(dbk_buf_slice(&cut)));
        rc = more == NULL ? dbk_error_set(err, DBK_ENOMEM, "out of memory reading") : DBK_OK;
    }
    if (rc == DBK_OK)
        rc = dbk_api_send_rows(call, rows, more, err);
    dbk_rows_free(rows);
    dbk_buf_release(&cut);
    dbk_buf_release(&text);
    return rc;
}

int dbk_api_query(struct dbk_api_call *call, struct dbk_error *err)
{
    return ask(call, false, err);
}

int dbk_api_report(struct dbk_api_call *call, struct dbk_error *err)
{
    return ask(call, true, err);
}

/* All of a table or view that the book names. model: of a MongoDB database, else NULL. */
static int read_table(struct dbk_api_call *call, const char *database, const char *model,
                      const char *table, const char *more, struct dbk_error *err)
{
    uint64_t limit = 1000;
    uint64_t after = 0;
    int64_t timeout_us = 0;
    int rc = dbk_call_number(call, "limit", &limit, err);
    if (rc == DBK_OK)
        rc = dbk_api_after(call, &after, &timeout_us, err);
    if (rc < 0)
        return rc;
    uintmax_t most = limit > INT32_MAX ? INT32_MAX : limit;
    const char *sql =
        model == NULL
            ? dbk_arena_format(&call->scratch->arena, "SELECT * FROM \"%s\" LIMIT %ju", table, most)
            : dbk_arena_format(&call->scratch->arena,
                               "{\"find\": \"{%s}%s\", \"sort\": {\"_id\": 1}, \"limit\": %ju}",
                               model, table, most);
    if (sql == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory reading");
    return read_rows(call,
                     &(struct dbk_rows_options){.sql = dbk_slice_of(sql),
                                                .database = database,
                                                .limit_us = SQL_LIMIT_US,
                                                .after = after,
                                                .timeout_us = timeout_us},
                     more, err);
}

int dbk_api_model_table(struct dbk_api_call *call, struct dbk_error *err)
{
    size_t index = 0;
    size_t count = 0;
    int rc = dbk_models_find(dbk_engine_models(call->engine), dbk_api_part(call, 1), &index, err);
    if (rc < 0)
        return rc;
    const char *const *tables = dbk_engine_model_tables(call->engine, index, &count);
    const char *table = dbk_api_part(call, 3);
    for (size_t i = 0; i < count; i++) {
        const struct dbk_model_definition *model = &dbk_engine_book(call->engine)->models[index];
        bool documents = dbk_target_dialect(model->database_path) == DBK_DIALECT_MONGODB;
        if (strcmp(tables[i], table) == 0)
            return read_table(call, model->database, documents ? model->name : NULL, table, "",
                              err);
    }
    return dbk_error_set(err, DBK_ENOTFOUND, "model %s has no table %s", dbk_api_part(call, 1),
                         table);
}

int dbk_api_view_rows(struct dbk_api_call *call, struct dbk_error *err)
{
    size_t index = 0;
    struct dbk_view_status status;
    struct dbk_buf more;
    bool first = true;
    struct dbk_views *views = dbk_engine_views(call->engine);
    int rc = dbk_views_find(views, dbk_api_part(call, 1), &index, err);
    uint64_t after = 0;
    int64_t timeout_us = 0;
    if (rc == DBK_OK)
        rc = dbk_api_after(call, &after, &timeout_us, err);
    if (rc == DBK_OK && after != 0)
        rc = dbk_engine_wait(call->engine, dbk_api_part(call, 1), after, timeout_us, err);
    if (rc == DBK_OK)
        rc = dbk_views_status(views, index, &status, err);
    if (rc < 0)
        return rc;
    if (status.generation == 0)
        return dbk_error_set(err, DBK_ENOTFOUND, "view %s has not been refreshed yet",
                             dbk_api_part(call, 1));
    dbk_buf_init(&more, DBK_URL_SIZE_MAX);
    dbk_put_text(&more, &first, "view", dbk_slice_of(status.name));
    dbk_put_time(&more, &first, "time", status.as_of_us);
    dbk_buf_append_text(&more, ",");
    dbk_buf_append_char(&more, 0);
    rc = more.rc < 0 ? dbk_error_set(err, more.rc, "out of memory reading")
                     : read_table(call, status.database, NULL, status.name, more.data, err);
    dbk_buf_release(&more);
    return rc;
}
