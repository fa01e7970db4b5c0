/* SPDX-License-Identifier: Apache-2.0 */
#include "view/plan.h"

#include <stdio.h>

#define PLAN_MEMORY_MAX ((size_t)32 << 20)

void dbk_view_plan_init(struct dbk_view_plan *plan)
{
    *plan = (struct dbk_view_plan){0};
    dbk_arena_init(&plan->arena, PLAN_MEMORY_MAX);
}

void dbk_view_plan_release(struct dbk_view_plan *plan)
{
    dbk_arena_release(&plan->arena);
    *plan = (struct dbk_view_plan){0};
}

/* ---- What stands behind a name ---- */

struct finding {
    struct dbk_connection *connection;
    struct dbk_arena *arena;
};

/*
 * A plain view as Daybook makes them: CREATE VIEW "t" AS SELECT … FROM "t__g<number>", whose table
 * is written behind the last FROM. ORDER BY may follow; where more does, it shows other rows than
 * the table has.
 */
static bool is_plain(struct dbk_slice sql, struct dbk_slice name, struct dbk_slice *table_out)
{
    struct dbk_slice last = {0};
    size_t at = 0;
    bool from = false;
    bool order = false;
    for (;;) {
        struct dbk_sql_token token = dbk_sql_next(sql, at);
        if (token.kind == DBK_SQL_END || token.kind == DBK_SQL_BROKEN)
            break;
        at += token.text.size;
        if (token.kind == DBK_SQL_SPACE)
            continue;
        if (order && dbk_slice_equal_text(token.text, "LIMIT"))
            return false;
        order = order || (last.size != 0 && dbk_slice_equal_text(token.text, "ORDER"));
        if (order)
            continue;
        if (last.size != 0 || (from && token.kind != DBK_SQL_NAME))
            return false;
        if (from)
            last = token.text;
        from = dbk_slice_equal_text(token.text, "FROM");
    }
    if (last.size < name.size + 6 || last.data[0] != '"')
        return false;
    last = dbk_slice(last.data + 1, last.size - 2);
    *table_out = last;
    return memcmp(last.data + name.size, "__g", 3) == 0;
}

static int find_behind(const struct finding *finding, struct dbk_slice name,
                       struct dbk_statement *statement, const char **table_out,
                       struct dbk_obstacle *obstacle)
{
    struct dbk_value type = dbk_statement_column(statement, 0);
    struct dbk_value sql = dbk_statement_column(statement, 1);
    struct dbk_slice table = dbk_statement_column(statement, 2).bytes;
    if (dbk_slice_equal_text(type.bytes, "view") && !is_plain(sql.bytes, table, &table))
        return dbk_obstacle_set(obstacle, obstacle->place, "read what it reads",
                                "\"%.*s\" is a view that its model's schema makes, or one that "
                                "shows a part of its rows",
                                DBK_SLICE_ARGS(name));
    *table_out = dbk_arena_copy(finding->arena, table).data;
    return *table_out == NULL ? DBK_ENOMEM : 1;
}

static int find(void *context, struct dbk_slice name, const char **table_out,
                struct dbk_obstacle *obstacle, struct dbk_error *err)
{
    const struct finding *finding = context;
    struct dbk_statement *statement = NULL;
    if (dbk_sql_name_is(name, DBK_SLICE_LITERAL(DBK_EVENTS_TABLE))) {
        *table_out = DBK_EVENTS_TABLE;
        return 1;
    }
    int rc = dbk_statement_open(
        finding->connection,
        /* A view in temp is what stands for another on a build's connection. */
        DBK_SLICE_LITERAL("SELECT type, sql, name FROM temp.sqlite_schema WHERE type = 'view' AND "
                          "name = ?1 COLLATE NOCASE UNION ALL SELECT type, sql, name FROM "
                          "main.sqlite_schema WHERE type IN ('table', 'view') AND name = ?1 "
                          "COLLATE NOCASE"),
        &statement, NULL, err);
    if (rc < 0)
        return rc;
    struct dbk_value value = {.kind = DBK_VALUE_TEXT, .bytes = name};
    dbk_statement_bind(statement, 1, &value);
    rc = dbk_statement_step(statement, err);
    if (rc == 1)
        rc = find_behind(finding, name, statement, table_out, obstacle);
    else if (rc == 0)
        rc = dbk_obstacle_set(obstacle, obstacle->place, "", "%.*s is no stored table",
                              DBK_SLICE_ARGS(name));
    dbk_statement_free(statement);
    return rc == DBK_ENOMEM ? dbk_error_set(err, rc, "%s", dbk_code_text(rc)) : rc;
}

/* ---- The plan ---- */

static int read_names(struct dbk_view_plan *plan, struct dbk_connection *connection,
                      struct dbk_slice select, struct dbk_error *err)
{
    struct dbk_statement *statement = NULL;
    int rc = dbk_statement_open(connection, select, &statement, NULL, err);
    if (rc < 0)
        return rc;
    plan->name_count = (size_t)dbk_statement_column_count(statement);
    plan->names = dbk_arena_alloc_zero(&plan->arena, plan->name_count + 1, sizeof(*plan->names));
    for (size_t i = 0; plan->names != NULL && i < plan->name_count; i++) {
        plan->names[i] =
            dbk_arena_format(&plan->arena, "%s", dbk_statement_column_name(statement, (int)i));
        if (plan->names[i] == NULL)
            rc = DBK_ENOMEM;
    }
    dbk_statement_free(statement);
    if (plan->names == NULL || rc < 0)
        return dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM));
    return rc;
}

int dbk_view_plan_name_hidden(struct dbk_view_plan *plan, struct dbk_error *err)
{
    size_t count = plan->tree.root->column_count;
    const char **names = dbk_arena_alloc_zero(&plan->arena, count + 1, sizeof(*names));
    bool failed = names == NULL;
    for (size_t i = 0; !failed && i < count; i++) {
        names[i] = i < plan->name_count
                       ? plan->names[i]
                       : dbk_arena_format(&plan->arena, "_daybook_o%zu", i - plan->name_count);
        failed = names[i] == NULL;
    }
    plan->names = names;
    return failed ? dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM)) : 1;
}

int dbk_view_plan_make(struct dbk_view_plan *plan, struct dbk_connection *connection,
                       const struct dbk_view_definition *definition, struct dbk_error *err)
{
    struct finding finding = {.connection = connection, .arena = &plan->arena};
    const struct dbk_algebra_source source = {.find = find, .context = &finding};
    struct dbk_slice select = dbk_view_select(definition);
    if (definition->mode == DBK_VIEW_FULL) {
        plan->tree.select = select;
        (void)dbk_obstacle_set(&plan->tree.obstacle, SIZE_MAX, "leave `-- mode: full` out",
                               "its head says `mode: full`");
        return DBK_OK;
    }
    struct dbk_error failure = {0};
    int rc = read_names(plan, connection, select, &failure);
    if (rc == DBK_OK)
        rc = dbk_algebra_read(&plan->tree, connection, select, &source, &plan->arena, &failure);
    if (rc == 1 && plan->tree.root->column_count != plan->name_count + plan->tree.hidden_count)
        rc = dbk_error_set(&failure, DBK_EINVAL, "two parsers count its columns otherwise");
    if (rc == 1)
        rc = dbk_view_plan_name_hidden(plan, &failure);
    if (rc == DBK_ENOMEM)
        return dbk_error_set(err, rc, "%s", failure.message);
    plan->incremental = rc == 1;
    /* What is wrong with the SELECT is the full refresh's to report. */
    if (rc < 0)
        (void)dbk_obstacle_set(&plan->tree.obstacle, SIZE_MAX, "", "%s", failure.message);
    plan->tree.select = select;
    return DBK_OK;
}

int dbk_view_plan_is_current(const struct dbk_view_plan *plan, struct dbk_connection *connection,
                             bool *current_out, struct dbk_error *err)
{
    struct dbk_arena arena;
    struct finding finding = {.connection = connection, .arena = &arena};
    int rc = DBK_OK;
    *current_out = true;
    dbk_arena_init(&arena, PLAN_MEMORY_MAX);
    for (size_t i = 0; rc >= 0 && plan->incremental && i < plan->tree.relation_count; i++) {
        const struct dbk_relation *table = plan->tree.relations[i];
        const char *where = NULL;
        struct dbk_obstacle obstacle = {.place = SIZE_MAX};
        if (table->kind != DBK_RELATION_TABLE)
            continue;
        rc = find(&finding, dbk_slice_of(table->name), &where, &obstacle, err);
        if (rc >= 0 && (where == NULL || strcmp(where, table->table) != 0))
            *current_out = false;
    }
    dbk_arena_release(&arena);
    return rc < 0 ? rc : DBK_OK;
}

int dbk_view_plan_renew(struct dbk_view_plan *plan, struct dbk_connection *connection,
                        const struct dbk_view_definition *definition, struct dbk_error *err)
{
    dbk_view_plan_release(plan);
    dbk_view_plan_init(plan);
    return dbk_view_plan_make(plan, connection, definition, err);
}

void dbk_view_plan_obstacle(const struct dbk_view_plan *plan,
                            const struct dbk_view_definition *definition, char *text, size_t size)
{
    const struct dbk_obstacle *obstacle = &plan->tree.obstacle;
    unsigned line = 0;
    unsigned column = 0;
    if (obstacle->place == SIZE_MAX) {
        (void)snprintf(text, size, "%s", obstacle->what);
        return;
    }
    size_t begin = (size_t)(plan->tree.select.data - definition->sql.data);
    dbk_text_place(definition->sql, begin + obstacle->place, &line, &column);
    (void)snprintf(text, size, "%s:%u:%u: %s", definition->file, line, column, obstacle->what);
}

static int position_of_model(struct dbk_connection *connection, const struct dbk_view_onto *onto,
                             const char *model, int64_t *position_out, struct dbk_error *err)
{
    char sql[160];
    if (onto == NULL || strcmp(onto->model, model) != 0)
        return dbk_view_integer(
            connection, "SELECT position FROM _daybook_models WHERE model = ?1 AND serving = 1",
            model, position_out, err);
    (void)snprintf(sql, sizeof(sql),
                   "SELECT position FROM _daybook_models WHERE model = ?1 AND generation = %llu",
                   (unsigned long long)onto->generation);
    return dbk_view_integer(connection, sql, model, position_out, err);
}

static int position_of_view(struct dbk_connection *connection, const struct dbk_view_onto *onto,
                            const char *view, uint64_t *position_out, struct dbk_error *err)
{
    struct dbk_view_row row;
    for (size_t i = 0; onto != NULL && i < onto->name_count; i++) {
        if (onto->names[i].row == NULL || strcmp(onto->names[i].name, view) != 0)
            continue;
        *position_out = onto->names[i].row->position;
        return DBK_OK;
    }
    int rc = dbk_view_catalog_read(connection, view, &row, err);
    if (rc == DBK_OK)
        *position_out = row.position;
    return rc;
}

/* 0 in *found_out when there is no source. */
int dbk_view_position(struct dbk_connection *connection, const struct dbk_view_source *source,
                      uint64_t *position_out, bool *found_out, struct dbk_error *err)
{
    uint64_t least = UINT64_MAX;
    int rc = DBK_OK;
    for (size_t i = 0; i < source->model_count && rc == DBK_OK; i++) {
        int64_t position = 0;
        rc = position_of_model(connection, source->onto, source->models[i], &position, err);
        if ((uint64_t)position < least)
            least = (uint64_t)position;
    }
    for (size_t i = 0; i < source->view_count && rc == DBK_OK; i++) {
        uint64_t position = 0;
        rc = position_of_view(connection, source->onto, source->views[i], &position, err);
        if (rc == DBK_OK && position < least)
            least = position;
    }
    *found_out = source->model_count + source->view_count > 0;
    *position_out = least;
    return rc;
}
