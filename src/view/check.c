/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Views and queries are checked on a database in memory that has the models' tables, an empty
 * `events`, and an empty table for each view already checked: SQLite itself says what does not fit.
 * A query is checked as a view without a name, behind all views.
 */
#include "view/check.h"

#include <strings.h>

#include "base/assert.h"
#include "view/alert.h"
#include "view/plan.h"

#define EVENTS_TABLE "CREATE TABLE " DBK_EVENTS_TABLE " " DBK_EVENTS_COLUMNS

/* What is said of a view, and of a query. */
struct texts {
    const char *none;
    const char *none_why;
    const char *second;
    const char *second_fix;
    const char *unprepared_why;
    const char *no_select_why;
    const char *columns_why;
};

static const struct texts view_texts = {
    .none = "the view has no SELECT",
    .none_why = "there is nothing to store",
    .second = "the view has a second statement",
    .second_fix = "a view is one SELECT; make another view of it",
    .unprepared_why = "the view could not be refreshed",
    .no_select_why = "a view stores the result of one",
    .columns_why = "the result is stored as a table",
};

static const struct texts query_texts = {
    .none = "the query has no SELECT",
    .none_why = "there is nothing to ask",
    .second = "the query has a second statement",
    .second_fix = "a query is one SELECT; make another query of it",
    .unprepared_why = "the query could not be asked",
    .no_select_why = "a query only reads",
    .columns_why = "a row of the answer names each value once",
};

#define CHECK_MEMORY_MAX ((size_t)64 << 20)
#define SQL_SIZE_MAX ((size_t)4 << 20)

struct check {
    const struct dbk_view_definition *views;
    size_t view_count;
    const struct dbk_model_definition *models;
    size_t model_count;
    struct dbk_diagnostics *diagnostics;
    struct dbk_arena arena;
    bool *done; /* a view a time */
    const struct texts *texts;
};

static int fault(struct check *check, const struct dbk_view_definition *view, size_t offset,
                 const struct dbk_diagnostic *texts)
{
    struct dbk_diagnostic item = *texts;
    item.file = view->file;
    dbk_text_place(view->sql, offset, &item.line, &item.column);
    return dbk_diagnostics_add(check->diagnostics, &item);
}

static bool depends(const struct dbk_view_definition *view, const struct dbk_view_definition *other)
{
    return strcmp(view->database, other->database) == 0 &&
           dbk_sql_names(dbk_view_select(view), other->name);
}

/* Names of all tables in the memory database, for a did-you-mean. */
static int list_names(struct check *check, struct dbk_connection *connection, const char *sql,
                      const char ***names_out, size_t *count_out)
{
    struct dbk_statement *statement = NULL;
    const char **list = NULL;
    size_t count = 0;
    size_t capacity = 0;
    int rc = dbk_statement_open(connection, dbk_slice_of(sql), &statement, NULL, NULL);
    while (rc >= 0 && (rc = dbk_statement_step(statement, NULL)) == 1) {
        if (count == capacity) {
            capacity = capacity == 0 ? 64 : capacity * 2;
            const char **grown = dbk_arena_alloc(&check->arena, capacity * sizeof(*grown));
            if (grown == NULL) {
                rc = DBK_ENOMEM;
                break;
            }
            for (size_t i = 0; i < count; i++)
                grown[i] = list[i];
            list = grown;
        }
        list[count] = dbk_arena_copy(&check->arena, dbk_statement_column(statement, 0).bytes).data;
        if (list[count] == NULL) {
            rc = DBK_ENOMEM;
            break;
        }
        count++;
    }
    dbk_statement_free(statement);
    *names_out = list;
    *count_out = count;
    return rc < 0 ? rc : DBK_OK;
}

/* What stands behind "no such table: " or "no such column: " in SQLite's text. */
static const char *missing_name(struct check *check, const char *message, const char *what)
{
    const char *at = strstr(message, what);
    if (at == NULL)
        return NULL;
    at += strlen(what);
    size_t size = strcspn(at, " ,;");
    const char *point = memchr(at, '.', size);
    if (point != NULL) {
        size -= (size_t)(point - at) + 1;
        at = point + 1;
    }
    return dbk_arena_copy(&check->arena, dbk_slice(at, size)).data;
}

static const char *suggestion(struct check *check, struct dbk_connection *connection,
                              const char *message)
{
    static const char tables[] = "SELECT name FROM sqlite_schema WHERE type IN ('table', 'view')";
    static const char columns[] = "SELECT DISTINCT c.name FROM sqlite_schema t, "
                                  "pragma_table_info(t.name) c WHERE t.type IN ('table', 'view')";
    const char **candidates = NULL;
    size_t count = 0;
    const char *name = missing_name(check, message, "no such table: ");
    const char *sql = tables;
    if (name == NULL) {
        name = missing_name(check, message, "no such column: ");
        sql = columns;
    }
    if (name == NULL || list_names(check, connection, sql, &candidates, &count) < 0)
        return NULL;
    return dbk_closest_name(name, candidates, count);
}

static int report_unprepared(struct check *check, struct dbk_connection *connection,
                             const struct dbk_view_definition *view, int offset,
                             const struct dbk_error *failure)
{
    struct dbk_slice select = dbk_view_select(view);
    size_t place = (size_t)(select.data - view->sql.data) + (offset < 0 ? 0 : (size_t)offset);
    const char *closest = suggestion(check, connection, failure->message);
    const char *fix = "";
    if (closest != NULL)
        fix = dbk_arena_format(&check->arena, "did you mean `%s`?", closest);
    if (fix == NULL)
        return DBK_ENOMEM;
    const struct dbk_diagnostic texts = {
        .what = failure->message, .why = check->texts->unprepared_why, .fix = fix};
    return fault(check, view, place, &texts);
}

/* Column names become the table's: each must be there and stand once. */
static int check_columns(struct check *check, const struct dbk_view_definition *view,
                         struct dbk_statement *statement)
{
    size_t place = (size_t)(dbk_view_select(view).data - view->sql.data);
    int count = dbk_statement_column_count(statement);
    for (int i = 0; i < count; i++) {
        for (int j = 0; j < i; j++) {
            const char *name = dbk_statement_column_name(statement, i);
            if (strcasecmp(name, dbk_statement_column_name(statement, j)) != 0)
                continue;
            const struct dbk_diagnostic texts = {
                .what = dbk_arena_format(&check->arena, "two columns are named `%s`", name),
                .why = check->texts->columns_why,
                .fix = "name one of them otherwise with AS"};
            return texts.what == NULL ? DBK_ENOMEM : fault(check, view, place, &texts);
        }
    }
    return DBK_OK;
}

/* Those by which a row is known must be of the result. */
static int check_key(struct check *check, const struct dbk_view_definition *view,
                     struct dbk_statement *statement)
{
    int count = dbk_statement_column_count(statement);
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < view->key_count; i++) {
        bool found = false;
        for (int j = 0; j < count && !found; j++)
            found = strcmp(view->key[i], dbk_statement_column_name(statement, j)) == 0;
        if (found)
            continue;
        const struct dbk_diagnostic texts = {
            .what = dbk_arena_format(&check->arena, "the view has no column `%s`", view->key[i]),
            .why = "rows could not be known by it",
            .fix = "name columns of the SELECT, as they are written there"};
        rc = texts.what == NULL ? DBK_ENOMEM : fault(check, view, view->key_place, &texts);
    }
    return rc;
}

/* Enters the view as an empty table, for the views that stand on it and for its indexes. */
static int enter(struct check *check, struct dbk_connection *connection,
                 const struct dbk_view_definition *view, struct dbk_statement *statement)
{
    struct dbk_buf sql;
    struct dbk_error failure = {0};
    dbk_buf_init(&sql, SQL_SIZE_MAX);
    dbk_buf_append_format(&sql, "CREATE TABLE \"%s\" (", view->name);
    for (int i = 0; i < dbk_statement_column_count(statement); i++) {
        dbk_buf_append_text(&sql, i > 0 ? ", \"" : "\"");
        for (const char *at = dbk_statement_column_name(statement, i); *at != '\0'; at++) {
            if (*at == '"')
                dbk_buf_append_char(&sql, '"');
            dbk_buf_append_char(&sql, *at);
        }
        dbk_buf_append_char(&sql, '"');
    }
    dbk_buf_append_text(&sql, ");");
    for (size_t i = 0; i < view->index_count; i++)
        dbk_buf_append_format(&sql, "CREATE INDEX \"%s__%zu\" ON \"%s\" (%s);", view->name, i,
                              view->name, view->indexes[i]);
    dbk_buf_append_char(&sql, '\0');
    int rc = sql.rc;
    if (rc == DBK_OK && dbk_connection_run(connection, sql.data, &failure) < 0) {
        const struct dbk_diagnostic texts = {
            .what = failure.message,
            .why = "the result could not be stored",
            .fix = "an index names columns of the result, with commas between them"};
        rc = fault(check, view, 0, &texts);
    }
    dbk_buf_release(&sql);
    return rc;
}

static int check_rest(struct check *check, const struct dbk_view_definition *view)
{
    size_t behind = 0;
    struct dbk_slice select = dbk_sql_statement(view->sql, 0, &behind);
    if (select.size == 0) {
        const struct dbk_diagnostic texts = {.what = check->texts->none,
                                             .why = check->texts->none_why,
                                             .fix = "write one SELECT under the head"};
        return fault(check, view, 0, &texts);
    }
    struct dbk_slice second = dbk_sql_statement(view->sql, behind, &behind);
    if (second.size == 0)
        return DBK_OK;
    const struct dbk_diagnostic texts = {
        .what = check->texts->second, .why = "it would never run", .fix = check->texts->second_fix};
    return fault(check, view, (size_t)(second.data - view->sql.data), &texts);
}

/* Of rows as the view has been entered. */
static int check_alerts(struct check *check, struct dbk_connection *connection,
                        const struct dbk_view_definition *view)
{
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < view->alert_count; i++) {
        struct dbk_diagnostic texts;
        size_t offset = 0;
        if (view->alerts[i].when.size == 0)
            continue;
        rc = dbk_alert_check(connection, view, i, &check->arena, &texts, &offset);
        if (rc == 1)
            rc = fault(check, view, offset, &texts);
    }
    return rc;
}

/* A refresh has nothing to bind: a parameter would be NULL. */
static int check_parameters(struct check *check, const struct dbk_view_definition *view)
{
    size_t offset = 0;
    for (;;) {
        struct dbk_sql_token token = dbk_sql_next(view->sql, offset);
        if (token.kind == DBK_SQL_END || token.kind == DBK_SQL_BROKEN)
            return DBK_OK;
        if (token.kind == DBK_SQL_PARAMETER)
            break;
        offset += token.text.size;
    }
    const struct dbk_diagnostic texts = {.what = "a view has no parameters",
                                         .why = "it is refreshed without anybody asking",
                                         .fix = "make it a query in queries/, or write the value"};
    return fault(check, view, offset, &texts);
}

/* What `mode: incremental` or `refresh: continuous` asks for must be possible. */
static int check_mode(struct check *check, struct dbk_connection *connection,
                      const struct dbk_view_definition *view)
{
    bool continuous = view->schedule.kind == DBK_SCHEDULE_CONTINUOUS;
    struct dbk_view_plan plan;
    if (view->mode != DBK_VIEW_INCREMENTAL && !continuous)
        return DBK_OK;
    dbk_view_plan_init(&plan);
    int rc = dbk_view_plan_make(&plan, connection, view, NULL);
    const struct dbk_obstacle *obstacle = &plan.tree.obstacle;
    if (rc == DBK_OK && !plan.incremental) {
        const struct dbk_diagnostic texts = {
            .what = dbk_arena_format(
                &check->arena, "the view cannot be refreshed incrementally: %s", obstacle->what),
            .why = view->mode == DBK_VIEW_INCREMENTAL
                       ? "its head says `mode: incremental`"
                       : "its head says `refresh: continuous`, and each change would compute all "
                         "of it",
            .fix = obstacle->fix[0] == '\0' ? "write `mode: auto` and a schedule"
                                            : dbk_arena_format(&check->arena, "%s", obstacle->fix)};
        size_t select = (size_t)(plan.tree.select.data - view->sql.data);
        rc = texts.what == NULL || texts.fix == NULL
                 ? DBK_ENOMEM
                 : fault(check, view,
                         obstacle->place == SIZE_MAX ? view->mode_place : select + obstacle->place,
                         &texts);
    }
    dbk_view_plan_release(&plan);
    return rc;
}

static int check_view(struct check *check, struct dbk_connection *connection,
                      const struct dbk_view_definition *view)
{
    struct dbk_slice select = dbk_view_select(view);
    struct dbk_statement *statement = NULL;
    struct dbk_error failure = {0};
    int offset = -1;
    int rc = check_rest(check, view);
    if (rc < 0 || select.size == 0)
        return rc;
    dbk_connection_guard(connection, DBK_GUARD_QUERY);
    rc = dbk_statement_open(connection, select, &statement, &offset, &failure);
    dbk_connection_guard(connection, DBK_GUARD_NONE);
    if (rc == DBK_ENOMEM)
        return rc;
    if (rc < 0)
        return report_unprepared(check, connection, view, offset, &failure);
    if (!dbk_statement_is_read_only(statement) || dbk_statement_column_count(statement) == 0) {
        const struct dbk_diagnostic texts = {.what = "this is no SELECT",
                                             .why = check->texts->no_select_why,
                                             .fix = "write one SELECT under the head"};
        rc = fault(check, view, (size_t)(select.data - view->sql.data), &texts);
    } else {
        rc = check_columns(check, view, statement);
        if (rc == DBK_OK && view->name != NULL)
            rc = check_parameters(check, view);
        if (rc == DBK_OK && view->name != NULL)
            rc = check_key(check, view, statement);
        if (rc == DBK_OK && view->name != NULL)
            rc = check_mode(check, connection, view);
        if (rc == DBK_OK && view->name != NULL)
            rc = enter(check, connection, view, statement);
        if (rc == DBK_OK && view->name != NULL)
            rc = check_alerts(check, connection, view);
    }
    dbk_statement_free(statement);
    return rc;
}

/* True when every view of the same database that it names has been checked. */
static bool ready(const struct check *check, size_t index)
{
    for (size_t i = 0; i < check->view_count; i++) {
        if (!check->done[i] && depends(&check->views[index], &check->views[i]))
            return false;
    }
    return true;
}

static int report_cycle(struct check *check, const struct dbk_view_definition *view)
{
    const struct dbk_diagnostic texts = {
        .what = "views stand on each other in a circle, or one on itself",
        .why = "none of them can be refreshed first",
        .fix = "let one of them read a read model or `events` instead"};
    return fault(check, view, (size_t)(dbk_view_select(view).data - view->sql.data), &texts);
}

/* A database in memory with the tables of the models in the view's database. */
static int open_scope(struct check *check, const char *database,
                      struct dbk_connection **connection_out, struct dbk_error *err)
{
    struct dbk_connection *connection = NULL;
    int rc = dbk_connection_open(NULL, DBK_CONNECT_MEMORY, &connection, err);
    if (rc == DBK_OK)
        rc = dbk_connection_run(connection, EVENTS_TABLE, err);
    if (rc == DBK_OK)
        rc = dbk_target_attach_unseal(connection, err);
    for (size_t i = 0; i < check->model_count && rc == DBK_OK; i++) {
        const struct dbk_model_definition *model = &check->models[i];
        if (strcmp(model->database, database) != 0)
            continue;
        const char *schema = dbk_arena_copy(&check->arena, model->schema).data;
        if (schema == NULL)
            rc = dbk_error_set(err, DBK_ENOMEM, "views: %s", dbk_code_text(DBK_ENOMEM));
        else /* A schema that does not run is the model's fault, and reported as such. */
            dbk_ignore(dbk_connection_run(connection, schema, NULL));
    }
    if (rc < 0)
        dbk_connection_free(connection);
    else
        *connection_out = connection;
    return rc;
}

/* Checks the views of one database, each after those it names, which makes their tables.
   connection: NULL of a server, which alone knows what a SELECT reads. */
static int check_views(struct check *check, const char *database, struct dbk_connection *connection)
{
    int rc = DBK_OK;
    bool moved = true;
    while (moved && rc == DBK_OK) {
        moved = false;
        for (size_t i = 0; i < check->view_count && rc == DBK_OK; i++) {
            if (check->done[i] || strcmp(check->views[i].database, database) != 0 ||
                !ready(check, i))
                continue;
            rc = connection == NULL ? DBK_OK : check_view(check, connection, &check->views[i]);
            check->done[i] = true;
            moved = true;
        }
    }
    for (size_t i = 0; i < check->view_count && rc == DBK_OK; i++) {
        if (check->done[i] || strcmp(check->views[i].database, database) != 0)
            continue;
        rc = report_cycle(check, &check->views[i]);
        check->done[i] = true;
    }
    return rc;
}

static int check_database(struct check *check, const struct dbk_view_definition *view,
                          struct dbk_error *err)
{
    struct dbk_connection *connection = NULL;
    bool server = dbk_target_dialect(view->database_path) != DBK_DIALECT_SQLITE;
    int rc = server ? DBK_OK : open_scope(check, view->database, &connection, err);
    if (rc < 0)
        return rc;
    rc = check_views(check, view->database, connection);
    dbk_connection_free(connection);
    return rc;
}

int dbk_views_check(const struct dbk_view_definition *views, size_t view_count,
                    const struct dbk_model_definition *models, size_t model_count,
                    struct dbk_diagnostics *diagnostics, struct dbk_error *err)
{
    struct check check = {.views = views,
                          .view_count = view_count,
                          .models = models,
                          .model_count = model_count,
                          .diagnostics = diagnostics,
                          .texts = &view_texts};
    int rc = DBK_OK;
    dbk_arena_init(&check.arena, CHECK_MEMORY_MAX);
    check.done = dbk_arena_alloc_zero(&check.arena, view_count + 1, sizeof(*check.done));
    if (check.done == NULL)
        rc = DBK_ENOMEM;
    for (size_t i = 0; i < view_count && rc == DBK_OK; i++) {
        if (!check.done[i])
            rc = check_database(&check, &views[i], err);
    }
    if (rc == DBK_OK)
        rc = dbk_views_check_timing(views, view_count, &check.arena, diagnostics);
    if (rc == DBK_ENOMEM)
        rc = dbk_error_set(err, rc, "views: %s", dbk_code_text(rc));
    dbk_arena_release(&check.arena);
    return rc;
}

/* Enters the views silently, then checks the queries of the same database. */
static int check_queries(struct check *check, const struct dbk_view_definition *queries,
                         size_t count, const char *database, struct dbk_error *err)
{
    struct dbk_connection *connection = NULL;
    struct dbk_diagnostics *diagnostics = check->diagnostics;
    struct dbk_diagnostics silent;
    int rc = open_scope(check, database, &connection, err);
    if (rc < 0)
        return rc;
    dbk_diagnostics_init(&silent);
    check->diagnostics = &silent;
    check->texts = &view_texts;
    rc = check_views(check, database, connection);
    check->diagnostics = diagnostics;
    check->texts = &query_texts;
    for (size_t i = 0; i < count && rc == DBK_OK; i++) {
        if (strcmp(queries[i].database, database) == 0)
            rc = check_view(check, connection, &queries[i]);
    }
    dbk_diagnostics_release(&silent);
    dbk_connection_free(connection);
    return rc;
}

/* True when a query before this one has its database: all of them were checked with that one. */
static bool was_checked(const struct dbk_view_definition *queries, size_t index)
{
    for (size_t i = 0; i < index; i++) {
        if (strcmp(queries[i].database, queries[index].database) == 0)
            return true;
    }
    return false;
}

int dbk_views_check_queries(const struct dbk_view_definition *queries, size_t query_count,
                            const struct dbk_view_scope *scope, struct dbk_diagnostics *diagnostics,
                            struct dbk_error *err)
{
    struct check check = {.views = scope->views,
                          .view_count = scope->view_count,
                          .models = scope->models,
                          .model_count = scope->model_count,
                          .diagnostics = diagnostics};
    int rc = DBK_OK;
    dbk_arena_init(&check.arena, CHECK_MEMORY_MAX);
    check.done = dbk_arena_alloc_zero(&check.arena, scope->view_count + 1, sizeof(*check.done));
    if (check.done == NULL)
        rc = DBK_ENOMEM;
    for (size_t i = 0; i < query_count && rc == DBK_OK; i++) {
        if (!was_checked(queries, i))
            rc = check_queries(&check, queries, query_count, queries[i].database, err);
    }
    if (rc == DBK_ENOMEM)
        rc = dbk_error_set(err, rc, "queries: %s", dbk_code_text(rc));
    dbk_arena_release(&check.arena);
    return rc;
}
