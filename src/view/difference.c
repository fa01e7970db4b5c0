/* SPDX-License-Identifier: Apache-2.0 */
#include "view/difference.h"

#include <stdio.h>

#include "view/shown.h"

#define SQL_SIZE_MAX ((size_t)4 << 20)

static int run(struct dbk_difference *difference, struct dbk_buf *sql, struct dbk_error *err)
{
    struct dbk_statement *statement = NULL;
    int rc = sql->rc < 0 ? dbk_error_set(err, sql->rc, "a statement: %s", dbk_code_text(sql->rc))
                         : dbk_statement_open(difference->connection, dbk_buf_slice(sql),
                                              &statement, NULL, err);
    if (rc == DBK_OK)
        rc = dbk_statement_step(statement, err);
    dbk_statement_free(statement);
    dbk_buf_release(sql);
    return rc < 0 ? rc : DBK_OK;
}

static void append_column(struct dbk_buf *out, const char *prefix, const char *name)
{
    dbk_buf_append_text(out, prefix);
    dbk_emit_name(out, name);
}

/* The names of temp.r behind the weight: key, then columns. */
static void append_names(const struct dbk_difference *difference, struct dbk_buf *out)
{
    for (size_t i = 0; i < difference->key_count; i++)
        dbk_buf_append_format(out, ", _daybook_p%zu", i);
    for (size_t i = 0; i < difference->name_count; i++)
        append_column(out, ", ", difference->names[i]);
}

static void append_keys(const struct dbk_difference *difference, struct dbk_buf *out,
                        const char *before)
{
    for (size_t i = 0; i < difference->key_count; i++)
        dbk_buf_append_format(out, "%s_daybook_p%zu", i > 0 ? ", " : before, i);
}

/* By what rows are the same: values and their types, so that 1 is not 1.0. */
static void append_group(const struct dbk_difference *difference, struct dbk_buf *out)
{
    dbk_buf_append_text(out, " GROUP BY ");
    for (size_t i = 0; i < difference->name_count; i++) {
        append_column(out, i > 0 ? ", " : "", difference->names[i]);
        append_column(out, ", typeof(", difference->names[i]);
        dbk_buf_append_char(out, ')');
    }
    dbk_buf_append_text(out, " HAVING sum(_daybook_w) <> 0");
}

int dbk_difference_init(struct dbk_difference *difference, bool hidden, struct dbk_error *err)
{
    const struct dbk_view_definition *definition = difference->definition;
    const struct dbk_view_plan *plan = difference->plan;
    const struct dbk_relation *root = plan->tree.root;
    struct dbk_buf *out = &difference->columns;
    dbk_buf_init(out, SQL_SIZE_MAX);
    size_t named = difference->plain ? 0 : definition->key_count;
    hidden = hidden && named == 0 && plan->incremental && root->kind != DBK_RELATION_WINDOW;
    difference->paired = named > 0 || hidden;
    difference->key_count = hidden ? root->key_count : named;
    for (size_t i = 0; i < named; i++) {
        append_column(out, "v.", definition->key[i]);
        dbk_buf_append_format(out, " AS _daybook_p%zu, ", i);
    }
    for (size_t i = 0; hidden && i < root->key_count; i++)
        dbk_buf_append_format(out, "v._daybook_k%zu AS _daybook_p%zu, ", i, i);
    for (size_t i = 0; i < difference->name_count; i++)
        append_column(out, i > 0 ? ", v." : "v.", difference->names[i]);
    return out->rc < 0 ? dbk_error_set(err, out->rc, "%s", dbk_code_text(out->rc)) : DBK_OK;
}

void dbk_difference_release(struct dbk_difference *difference)
{
    dbk_buf_release(&difference->columns);
}

int dbk_difference_make(struct dbk_difference *difference, const char *table, struct dbk_error *err)
{
    struct dbk_buf sql;
    dbk_buf_init(&sql, SQL_SIZE_MAX);
    dbk_buf_append_text(&sql, "CREATE TEMP TABLE IF NOT EXISTS r AS SELECT 0 AS _daybook_w, ");
    dbk_buf_append(&sql, dbk_buf_slice(&difference->columns));
    dbk_buf_append_text(&sql, " FROM ");
    dbk_emit_name(&sql, table);
    dbk_buf_append_text(&sql, " AS v WHERE 0");
    return run(difference, &sql, err);
}

bool dbk_difference_is_whole(const struct dbk_difference *difference)
{
    return difference->plan->tree.limit != NULL;
}

static void append_shown(const struct dbk_difference *difference, struct dbk_buf *sql,
                         uint64_t generation, int weight)
{
    dbk_buf_append_format(sql, "SELECT %d AS _daybook_w, ", weight);
    dbk_buf_append(sql, dbk_buf_slice(&difference->columns));
    if (generation != 0) {
        dbk_shown_from(sql, difference->plan, difference->definition->name, generation);
        return;
    }
    append_column(sql, " FROM ", difference->definition->name);
    dbk_buf_append_text(sql, " AS v");
}

int dbk_difference_whole(struct dbk_difference *difference, uint64_t generation, int weight,
                         struct dbk_error *err)
{
    struct dbk_buf sql;
    dbk_buf_init(&sql, SQL_SIZE_MAX);
    dbk_buf_append_text(&sql, "INSERT INTO temp.r ");
    append_shown(difference, &sql, generation, weight);
    return run(difference, &sql, err);
}

int dbk_difference_open(struct dbk_difference *difference, struct dbk_statement **select_out,
                        struct dbk_error *err)
{
    struct dbk_buf sql;
    dbk_buf_init(&sql, SQL_SIZE_MAX);
    dbk_buf_append_text(&sql, difference->paired ? "SELECT dense_rank() OVER (ORDER BY "
                                                 : "SELECT row_number() OVER (ORDER BY _daybook_w");
    append_keys(difference, &sql, difference->paired ? "" : ", ");
    if (difference->paired)
        dbk_buf_append_format(&sql, "%s_daybook_copy", difference->key_count > 0 ? ", " : "");
    dbk_buf_append_text(&sql, ") AS _daybook_pair, _daybook_w");
    for (size_t i = 0; i < difference->name_count; i++)
        append_column(&sql, ", ", difference->names[i]);
    dbk_buf_append_text(&sql, " FROM (SELECT *, row_number() OVER (PARTITION BY _daybook_w < 0");
    append_keys(difference, &sql, ", ");
    dbk_buf_append_text(&sql, ") AS _daybook_copy FROM (SELECT sum(_daybook_w) AS _daybook_w");
    append_names(difference, &sql);
    dbk_buf_append_text(&sql, " FROM temp.r");
    append_group(difference, &sql);
    dbk_buf_append_text(&sql, ")) ORDER BY 1, 2");
    int rc = sql.rc < 0 ? dbk_error_set(err, sql.rc, "a statement: %s", dbk_code_text(sql.rc))
                        : dbk_statement_open(difference->connection, dbk_buf_slice(&sql),
                                             select_out, NULL, err);
    dbk_buf_release(&sql);
    return rc;
}

/* ---- Between generations ---- */

/* A transaction has so many rows. */
#define TAKE_ROWS 500

struct columns {
    struct dbk_arena arena;
    const char **names;
    size_t count;
};

/* The columns of a table or view. */
static int read_columns(struct columns *columns, struct dbk_connection *connection,
                        const char *table, struct dbk_error *err)
{
    struct dbk_statement *statement = NULL;
    struct dbk_buf sql;
    dbk_buf_init(&sql, SQL_SIZE_MAX);
    append_column(&sql, "SELECT * FROM ", table);
    int rc = sql.rc < 0
                 ? dbk_error_set(err, sql.rc, "%s", dbk_code_text(sql.rc))
                 : dbk_statement_open(connection, dbk_buf_slice(&sql), &statement, NULL, err);
    dbk_buf_release(&sql);
    if (rc < 0)
        return rc;
    columns->count = (size_t)dbk_statement_column_count(statement);
    columns->names =
        dbk_arena_alloc_zero(&columns->arena, columns->count + 1, sizeof(*columns->names));
    for (size_t i = 0; columns->names != NULL && i < columns->count; i++) {
        columns->names[i] =
            dbk_arena_format(&columns->arena, "%s", dbk_statement_column_name(statement, (int)i));
        if (columns->names[i] == NULL)
            rc = DBK_ENOMEM;
    }
    dbk_statement_free(statement);
    if (columns->names == NULL || rc < 0)
        return dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM));
    return DBK_OK;
}

static bool are_same(const struct columns *first, const struct columns *second)
{
    bool same = first->count == second->count;
    for (size_t i = 0; same && i < first->count; i++)
        same = strcmp(first->names[i], second->names[i]) == 0;
    return same;
}

/* What temp.r has, some rows in a transaction. */
static int take_all(struct dbk_recording *recording, struct dbk_difference *difference,
                    struct dbk_error *err)
{
    struct dbk_statement *select = NULL;
    int more = dbk_difference_open(difference, &select, err);
    more = more < 0 ? more : 1;
    while (more == 1) {
        more = dbk_connection_begin(difference->connection, DBK_BEGIN_WRITE, err);
        if (more == DBK_OK)
            more = dbk_recording_take(recording, select, TAKE_ROWS, err);
        int rc = dbk_view_end_transaction(difference->connection, more, err);
        more = rc < 0 ? rc : more;
    }
    dbk_statement_free(select);
    return more;
}

/* Rows of a generation (0: of the plain view) that are there no longer, or are. */
struct side {
    uint64_t generation;
    int weight;
};

/* What the sides do not have in common, into temp.r. */
static int compare(struct dbk_difference *difference, const struct side *sides, size_t count,
                   struct dbk_error *err)
{
    struct dbk_buf sql;
    dbk_buf_init(&sql, SQL_SIZE_MAX);
    dbk_buf_append_text(&sql, "INSERT INTO temp.r SELECT sum(_daybook_w)");
    append_names(difference, &sql);
    dbk_buf_append_text(&sql, " FROM (");
    for (size_t i = 0; i < count; i++) {
        dbk_buf_append_text(&sql, i > 0 ? " UNION ALL SELECT * FROM (" : "SELECT * FROM (");
        append_shown(difference, &sql, sides[i].generation, sides[i].weight);
        dbk_buf_append_char(&sql, ')');
    }
    dbk_buf_append_char(&sql, ')');
    append_group(difference, &sql);
    return run(difference, &sql, err);
}

/* hidden: the sides are stored in one way. */
static int record(struct dbk_recording *recording, struct dbk_difference *difference, bool hidden,
                  const struct side *sides, size_t count, struct dbk_error *err)
{
    char table[DBK_VIEW_TABLE_SIZE_MAX];
    const char *view = difference->definition->name;
    if (sides[count - 1].generation == 0)
        (void)snprintf(table, sizeof(table), "%s", view);
    else
        (void)snprintf(table, sizeof(table), "%s__g%llu", view,
                       (unsigned long long)sides[count - 1].generation);
    int rc = dbk_difference_init(difference, hidden, err);
    if (rc == DBK_OK)
        rc = dbk_connection_run(difference->connection, "DROP TABLE IF EXISTS temp.r", err);
    if (rc == DBK_OK)
        rc = dbk_difference_make(difference, table, err);
    if (rc == DBK_OK)
        rc = compare(difference, sides, count, err);
    if (rc == DBK_OK)
        rc = take_all(recording, difference, err);
    if (rc == DBK_OK)
        rc = dbk_connection_run(difference->connection, "DROP TABLE temp.r", err);
    dbk_difference_release(difference);
    return rc;
}

static int settle(struct dbk_recording *recording, struct dbk_connection *connection,
                  const struct dbk_view_refresh *refresh, struct dbk_error *err)
{
    int rc = dbk_connection_begin(connection, DBK_BEGIN_WRITE, err);
    if (rc == DBK_OK)
        rc = dbk_recording_begin(recording, connection, refresh->definition, refresh->os, err);
    return dbk_view_end_transaction(connection, rc, err);
}

/* Rows of other columns are other rows. */
static int record_apart(struct dbk_recording *recording, const struct dbk_difference *of,
                        const struct columns *before, const struct columns *after,
                        uint64_t generation, struct dbk_error *err)
{
    const struct side sides[] = {{0, -1}, {generation, 1}};
    struct dbk_difference difference = *of;
    difference.plain = true;
    difference.names = before->names;
    difference.name_count = before->count;
    int rc = record(recording, &difference, false, &sides[0], 1, err);
    difference.names = after->names;
    difference.name_count = after->count;
    return rc < 0 ? rc : record(recording, &difference, false, &sides[1], 1, err);
}

static int record_between(struct dbk_recording *recording, struct dbk_difference *difference,
                          bool onto, const struct dbk_view_row *old, const struct dbk_view_row *row,
                          struct columns columns[2], struct dbk_error *err)
{
    char table[DBK_VIEW_TABLE_SIZE_MAX];
    const struct dbk_view_plan *plan = difference->plan;
    /* Row ids of a model's next generation are others. */
    bool hidden = plan->incremental && old->layout == DBK_VIEW_LAYOUT &&
                  strcmp(old->fingerprint, row->fingerprint) == 0 &&
                  (!onto || plan->tree.root->kind == DBK_RELATION_GROUP);
    const struct side sides[] = {{hidden ? old->generation : 0, -1}, {row->generation, 1}};
    (void)snprintf(table, sizeof(table), "%s__g%llu", difference->definition->name,
                   (unsigned long long)row->generation);
    /* Without its plain view there is nothing to compare with. */
    if (read_columns(&columns[0], difference->connection, difference->definition->name, NULL) < 0) {
        recording->lost = true;
        return DBK_OK;
    }
    int rc = read_columns(&columns[1], difference->connection, table, err);
    if (rc == DBK_OK && plan->incremental) {
        columns[1].names = plan->names;
        columns[1].count = plan->name_count;
    }
    if (rc < 0)
        return rc;
    if (!are_same(&columns[0], &columns[1]))
        return record_apart(recording, difference, &columns[0], &columns[1], row->generation, err);
    difference->names = columns[1].names;
    difference->name_count = columns[1].count;
    return record(recording, difference, hidden, sides, 2, err);
}

int dbk_difference_record(struct dbk_recording *recording, struct dbk_connection *connection,
                          const struct dbk_view_refresh *refresh, const struct dbk_view_plan *plan,
                          const struct dbk_view_row *old, const struct dbk_view_row *row,
                          struct dbk_error *err)
{
    struct dbk_difference difference = {
        .connection = connection, .definition = refresh->definition, .plan = plan};
    struct columns columns[2] = {{.count = 0}, {.count = 0}};
    dbk_recording_release(recording);
    int rc = settle(recording, connection, refresh, err);
    recording->position = row->position;
    if (rc < 0 || recording->record.epoch[0] == '\0' || old->generation == 0)
        return rc;
    dbk_arena_init(&columns[0].arena, SQL_SIZE_MAX);
    dbk_arena_init(&columns[1].arena, SQL_SIZE_MAX);
    rc = record_between(recording, &difference, refresh->source->onto != NULL, old, row, columns,
                        err);
    dbk_arena_release(&columns[0].arena);
    dbk_arena_release(&columns[1].arena);
    return rc;
}
