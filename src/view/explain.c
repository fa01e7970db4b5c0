/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What `view explain` tells: operators and what is done for each, what is in the way, the
 * statements of an incremental refresh, and what refreshes took.
 */
#include "view/explain.h"

#include <stdio.h>
#include <strings.h>

#include "json/json.h"
#include "view/logged.h"

#define SQL_SIZE_MAX ((size_t)4 << 20)

struct explaining {
    struct dbk_buf *out;
    const struct dbk_view_definition *definition;
    const struct dbk_view_plan *plan;
    const struct dbk_view_row *row;
};

static void put_text(struct explaining *explaining, bool *first, const char *key, const char *text)
{
    dbk_json_write_key(explaining->out, first, key);
    dbk_json_write_string(explaining->out, dbk_slice_of(text));
}

static void put_number(struct explaining *explaining, bool *first, const char *key, uint64_t number)
{
    dbk_json_write_key(explaining->out, first, key);
    dbk_json_write_u64(explaining->out, number);
}

static void put_part(struct explaining *explaining, bool *first, const char *operator,
                     const char * how)
{
    bool begun = true;
    dbk_buf_append_text(explaining->out, *first ? "{" : ",{");
    *first = false;
    put_text(explaining, &begun, "operator", operator);
    put_text(explaining, &begun, "how", how);
    dbk_buf_append_char(explaining->out, '}');
}

static void put_table(struct explaining *explaining, bool *first, const struct dbk_relation *table)
{
    char operator[300];
    (void)snprintf(operator, sizeof(operator), "table %s", table->name);
    if (table->log) {
        put_part(explaining, first, operator,
                 "the log itself: what is behind the position that the view holds, looked up by "
                 "type, category and stream where those say which events are meant");
        return;
    }
    put_part(explaining, first, operator,
             "triggers note each row before it changes; of a row the first note counts, and how it "
             "is now");
}

static void put_block(struct explaining *explaining, bool *first, const struct dbk_relation *block,
                      bool grouped)
{
    char operator[64];
    char how[300];
    (void)snprintf(operator, sizeof(operator),
                   block->input_count == 1 ? "select from one table" : "join of %zu tables",
                   block->input_count);
    (void)snprintf(how, sizeof(how),
                   "%s, by up to %u statements, one for each set of tables that changed, those "
                   "differences outermost",
                   grouped ? "rows that came and went, with weights"
                           : "rows of changed row ids are deleted and read again",
                   (1U << block->input_count) - 1);
    put_part(explaining, first, operator, how);
    if (block->outer != 0)
        put_part(explaining, first, "left join",
                 grouped ? "the groups of rows before it that its changes meet are computed again"
                         : "the rows before it that its changes meet are read again");
}

/* Subqueries in a block's expressions. */
static void put_asking(struct explaining *explaining, bool *first,
                       const struct dbk_expression *expression)
{
    static const char among[] = "rows that a changed row of what it reads equals, or where one of "
                                "both is NULL, are read again";
    static const char met[] = "rows that a changed row of what it reads meets by the subquery's "
                              "own WHERE are read again";
    bool in = expression->kind == DBK_EXPRESSION_AMONG;
    if (expression->select != NULL)
        put_part(explaining, first,
                 in                                          ? "in (select …)"
                 : expression->kind == DBK_EXPRESSION_EXISTS ? "exists"
                                                             : "(select …) as a value",
                 in && expression->select->kind == DBK_RELATION_BLOCK ? among : met);
    for (size_t i = 0; i < expression->argument_count; i++)
        put_asking(explaining, first, expression->arguments[i]);
}

static void put_all_asking(struct explaining *explaining, bool *first,
                           const struct dbk_relation *block)
{
    for (size_t i = 0; i < block->condition_count; i++)
        put_asking(explaining, first, block->conditions[i].test);
    for (size_t i = 0; i < block->column_count; i++)
        put_asking(explaining, first, block->outputs[i]);
}

/* What another relation reads has rows and a difference of its own. */
static void put_stored(struct explaining *explaining, bool *first,
                       const struct dbk_relation *relation)
{
    char operator[64];
    if (!relation->stored)
        return;
    (void)snprintf(operator, sizeof(operator), "its result, number %zu", relation->number);
    put_part(explaining, first, operator,
             "is stored beside the view, with a difference of its own for what reads it");
}

static bool is_grouped(const struct dbk_algebra *tree, const struct dbk_relation *block)
{
    for (size_t i = 0; i < tree->relation_count; i++) {
        const struct dbk_relation *group = tree->relations[i];
        if (group->kind == DBK_RELATION_GROUP && group->inputs[0] == block)
            return true;
    }
    return false;
}

static const char *how_of(const struct dbk_aggregate *aggregate)
{
    switch (aggregate->kind) {
    case DBK_AGGREGATE_COUNT:
        return "added to";
    case DBK_AGGREGATE_SUM:
        return dbk_aggregate_is_real(aggregate)
                   ? "added to while the group's values are integers whose sum is exact as a "
                     "floating-point number; else the group is computed again"
                   : "added to while the group's values are integers that cannot overflow; else "
                     "the "
                     "group is computed again";
    case DBK_AGGREGATE_LEAST:
        return "compared with what came; a group that lost the value it shows is computed again";
    case DBK_AGGREGATE_OTHER:
        return "has no rule for adding: each group that changed is computed again";
    }
    return "";
}

static void put_group(struct explaining *explaining, bool *first, const struct dbk_relation *group)
{
    char operator[128];
    if (group->set != NULL)
        (void)snprintf(operator, sizeof(operator), "%s", group->set);
    else
        (void)snprintf(operator, sizeof(operator),
                       group->distinct ? "distinct" : "group by %zu keys", group->key_count);
    put_part(explaining, first, operator,
             group->key_count == 0 ? "one group, which always is there"
                                   : "a hidden count of rows says when a group comes and goes");
    for (size_t i = 0; i < group->aggregate_count; i++) {
        const struct dbk_aggregate *aggregate = &group->aggregates[i];
        (void)snprintf(operator, sizeof(operator), "%s(%s)", aggregate->name,
                       aggregate->star       ? "*"
                       : aggregate->distinct ? "distinct …"
                                             : "…");
        put_part(explaining, first, operator, how_of(aggregate));
    }
    if (group->having != NULL)
        put_part(explaining, first, "having", "all groups are kept, and those shown are marked");
}

static void put_parts(struct explaining *explaining)
{
    const struct dbk_algebra *tree = &explaining->plan->tree;
    bool first = true;
    for (size_t i = 0; i < tree->relation_count; i++) {
        const struct dbk_relation *relation = tree->relations[i];
        switch (relation->kind) {
        case DBK_RELATION_TABLE:
            put_table(explaining, &first, relation);
            break;
        case DBK_RELATION_BLOCK:
            put_block(explaining, &first, relation, is_grouped(tree, relation));
            put_all_asking(explaining, &first, relation);
            break;
        case DBK_RELATION_WINDOW:
            put_part(explaining, &first, "window functions",
                     "the partitions whose rows changed are computed again");
            break;
        case DBK_RELATION_UNION:
            put_part(explaining, &first, "union all", "each branch by itself");
            break;
        case DBK_RELATION_SET:
            break;
        case DBK_RELATION_GROUP:
            put_group(explaining, &first, relation);
            break;
        }
        put_stored(explaining, &first, relation);
    }
    if (tree->order_count > 0 || tree->limit != NULL)
        put_part(explaining, &first, tree->limit == NULL ? "order by" : "limit",
                 "applied when the view is read; all rows are stored");
}

static void put_obstacle(struct explaining *explaining)
{
    const struct dbk_obstacle *obstacle = &explaining->plan->tree.obstacle;
    struct dbk_slice select = explaining->plan->tree.select;
    bool first = true;
    unsigned line = 0;
    unsigned column = 0;
    dbk_buf_append_char(explaining->out, '{');
    put_text(explaining, &first, "what", obstacle->what);
    if (obstacle->place != SIZE_MAX) {
        dbk_text_place(explaining->definition->sql,
                       (size_t)(select.data - explaining->definition->sql.data) + obstacle->place,
                       &line, &column);
        put_text(explaining, &first, "file", explaining->definition->file);
        put_number(explaining, &first, "line", line);
        put_number(explaining, &first, "column", column);
    }
    if (obstacle->fix[0] != '\0')
        put_text(explaining, &first, "fix", obstacle->fix);
    dbk_buf_append_char(explaining->out, '}');
}

/* The statements, run over empty differences, which the transaction's end takes back. */
static int run_statements(struct explaining *explaining, struct dbk_connection *connection,
                          struct dbk_buf *log, struct dbk_error *err)
{
    const struct dbk_algebra *tree = &explaining->plan->tree;
    char table[256];
    bool *changed = dbk_alloc_zero(tree->relation_count + 1, sizeof(*changed));
    if (changed == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM));
    (void)snprintf(table, sizeof(table), "%s__g%llu", explaining->definition->name,
                   (unsigned long long)explaining->row->generation);
    struct dbk_delta delta = {.connection = connection,
                              .tree = tree,
                              .view = table,
                              .labels = explaining->plan->names,
                              .all = true,
                              .changed = changed,
                              .log = log};
    dbk_buf_init(&delta.sql, SQL_SIZE_MAX);
    int rc = dbk_layout_place(tree, explaining->definition->name, explaining->row->generation);
    if (rc < 0)
        dbk_ignore(dbk_error_set(err, rc, "%s", dbk_code_text(rc)));
    for (size_t i = 0; rc == DBK_OK && i < tree->relation_count; i++) {
        uint64_t count = 0;
        changed[i] = tree->relations[i]->kind == DBK_RELATION_TABLE;
        if (!changed[i])
            continue;
        bool of_log = tree->relations[i]->log;
        rc = of_log ? DBK_OK : dbk_notes_none(&delta, tree->relations[i], err);
        if (rc == DBK_OK)
            rc = dbk_delta_make(&delta, tree->relations[i], err);
        if (rc == DBK_OK && of_log)
            rc = dbk_logged_gather(&delta, tree->relations[i], INT64_MAX, INT64_MAX, &count, err);
        else if (rc == DBK_OK)
            rc = dbk_notes_difference(&delta, tree->relations[i], &count, err);
    }
    if (rc == DBK_OK)
        rc = dbk_delta_apply(&delta, err);
    dbk_buf_release(&delta.sql);
    dbk_free(changed);
    return rc;
}

/* Whether its tables are those that its rows were made of: without cursors there are no notes. */
static int is_followed(const struct explaining *explaining, struct dbk_connection *connection,
                       bool *followed_out, struct dbk_error *err)
{
    const struct dbk_algebra *tree = &explaining->plan->tree;
    struct dbk_logged logged = {.found = true};
    int rc = DBK_OK;
    if (dbk_logged_reads(tree))
        rc = dbk_logged_read(connection, explaining->definition->name, &logged, err);
    *followed_out = logged.found;
    for (size_t i = 0; rc == DBK_OK && i < tree->relation_count; i++) {
        int64_t cursor = -1;
        if (tree->relations[i]->kind != DBK_RELATION_TABLE || tree->relations[i]->log)
            continue;
        rc = dbk_follow_cursor(connection, explaining->definition->name, tree->relations[i]->table,
                               &cursor, err);
        if (cursor < 0)
            *followed_out = false;
    }
    return rc;
}

int dbk_view_explain_write(const struct dbk_view_definition *definition,
                           const struct dbk_view_plan *plan, const struct dbk_view_row *row,
                           const struct dbk_slice *statements, struct dbk_buf *out,
                           struct dbk_error *err)
{
    struct explaining explaining = {.out = out, .definition = definition, .plan = plan, .row = row};
    bool first = true;
    dbk_buf_append_char(out, '{');
    put_text(&explaining, &first, "view", definition->name);
    put_text(&explaining, &first, "mode", dbk_view_mode_text(definition->mode));
    dbk_json_write_key(out, &first, "incremental");
    dbk_buf_append_text(out, plan->incremental ? "true" : "false");
    dbk_json_write_key(out, &first, plan->incremental ? "parts" : "obstacle");
    if (plan->incremental) {
        dbk_buf_append_char(out, '[');
        put_parts(&explaining);
        dbk_buf_append_char(out, ']');
    } else {
        put_obstacle(&explaining);
    }
    if (row->refreshed != DBK_VIEW_AUTO)
        put_text(&explaining, &first, "last_mode", dbk_view_mode_text(row->refreshed));
    if (row->reason[0] != '\0')
        put_text(&explaining, &first, "full_because", row->reason);
    put_number(&explaining, &first, "rows", row->rows);
    put_number(&explaining, &first, "full_us", (uint64_t)row->full_us);
    put_number(&explaining, &first, "incremental_us", (uint64_t)row->incremental_us);
    put_number(&explaining, &first, "incremental_changes", row->incremental_changes);
    if (statements != NULL) {
        dbk_json_write_key(out, &first, "statements");
        dbk_json_write_string(out, *statements);
    }
    dbk_buf_append_char(out, '}');
    return out->rc < 0 ? dbk_error_set(err, out->rc, "%s", dbk_code_text(out->rc)) : DBK_OK;
}

static int put_all(struct explaining *explaining, struct dbk_connection *connection, bool writer,
                   struct dbk_error *err)
{
    const struct dbk_view_row *row = explaining->row;
    struct dbk_buf log;
    bool followed = explaining->plan->incremental && writer && row->layout == DBK_VIEW_LAYOUT &&
                    row->generation != 0;
    int rc = DBK_OK;
    dbk_buf_init(&log, SQL_SIZE_MAX);
    if (followed)
        rc = is_followed(explaining, connection, &followed, err);
    if (rc == DBK_OK && followed)
        rc = run_statements(explaining, connection, &log, err);
    const struct dbk_slice statements = dbk_buf_slice(&log);
    if (rc == DBK_OK)
        rc = dbk_view_explain_write(explaining->definition, explaining->plan, row,
                                    followed ? &statements : NULL, explaining->out, err);
    dbk_buf_release(&log);
    return rc;
}

int dbk_view_explain(const struct dbk_view_refresh *refresh, bool writer, struct dbk_buf *out,
                     struct dbk_error *err)
{
    const struct dbk_view_definition *definition = refresh->definition;
    struct dbk_connection *connection = NULL;
    struct dbk_view_plan plan;
    struct dbk_view_row row = {0};
    struct explaining explaining = {
        .out = out, .definition = definition, .plan = &plan, .row = &row};
    dbk_view_plan_init(&plan);
    int rc = dbk_connection_open(definition->database_path, writer ? 0 : DBK_CONNECT_READ,
                                 &connection, err);
    if (rc == DBK_OK)
        rc = dbk_logged_attach(connection, refresh->store, err);
    /* All of one state: a model's rebuild puts other tables behind the names at any time. */
    if (rc == DBK_OK)
        rc = dbk_connection_begin(connection, writer ? DBK_BEGIN_WRITE : DBK_BEGIN_READ, err);
    if (rc == DBK_OK)
        rc = dbk_view_catalog_read(connection, definition->name, &row, err);
    if (rc == DBK_OK)
        rc = dbk_view_plan_make(&plan, connection, definition, err);
    /* Rows that another SELECT has stored tell nothing of this one's statements. */
    if (rc == DBK_OK && strcmp(row.fingerprint, refresh->fingerprint) != 0)
        row.layout = 0;
    if (rc == DBK_OK)
        rc = put_all(&explaining, connection, writer, err);
    if (connection != NULL && dbk_connection_in_transaction(connection))
        dbk_ignore(dbk_connection_run(connection, "ROLLBACK", NULL));
    dbk_connection_free(connection);
    dbk_view_plan_release(&plan);
    return rc;
}
