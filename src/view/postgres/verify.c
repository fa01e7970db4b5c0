/* SPDX-License-Identifier: Apache-2.0 */
/* The stored rows against the SELECT, in PostgreSQL: EXCEPT ALL both ways, in one snapshot. */
#include <stdio.h>

#include "view/postgres/state.h"
#include "view/shown.h"

struct verifying {
    const struct dbk_view_refresh *refresh;
    struct dbk_connection *connection;
    struct dbk_buf expected; /* the SELECT that the rows are compared with */
    struct dbk_buf stored;   /* and that of the rows */
    struct dbk_buf sql;
    struct dbk_view_check check;
    struct dbk_buf columns; /* "c1, c2" */
    struct dbk_buf values;  /* as they are compared */
};

static bool is_among(struct dbk_slice name, const char *const *names)
{
    while (*names != NULL && !dbk_slice_equal_text(name, *names))
        names++;
    return *names != NULL;
}

/* Floating-point numbers in twelve digits; what cannot be compared as it is, as its text. */
static void append_value(struct dbk_buf *out, struct dbk_slice type, int column)
{
    static const char *const plain[] = {"bool",     "int2", "int4",      "int8",        "numeric",
                                        "text",     "name", "varchar",   "bpchar",      "date",
                                        "time",     "uuid", "timestamp", "timestamptz", "timetz",
                                        "interval", "oid",  "bytea",     "jsonb",       NULL};
    static const char *const real[] = {"float4", "float8", NULL};
    if (is_among(type, real))
        dbk_buf_append_format(out,
                              "CASE WHEN c%d::text IN ('NaN', 'Infinity', '-Infinity') THEN "
                              "c%d::text ELSE to_char(c%d, '9.99999999999EEEE') END",
                              column, column, column);
    else
        dbk_buf_append_format(out, is_among(type, plain) ? "c%d" : "c%d::text", column);
}

static int read_columns(struct verifying *verifying, struct dbk_error *err)
{
    struct dbk_statement *statement = NULL;
    int rc = dbk_statement_open(
        verifying->connection,
        DBK_SLICE_LITERAL("SELECT t.typname::text FROM pg_attribute AS a JOIN pg_type AS t ON "
                          "t.oid = a.atttypid WHERE a.attrelid = to_regclass(quote_ident(?1)) AND "
                          "a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum"),
        &statement, NULL, err);
    if (rc < 0)
        return rc;
    const struct dbk_value name = {.kind = DBK_VALUE_TEXT,
                                   .bytes = dbk_slice_of(verifying->refresh->definition->name)};
    dbk_statement_bind(statement, 1, &name);
    for (int i = 1; (rc = dbk_statement_step(statement, err)) == 1; i++) {
        dbk_buf_append_format(&verifying->columns, i > 1 ? ", c%d" : "c%d", i);
        dbk_buf_append_text(&verifying->values, i > 1 ? ", " : "");
        append_value(&verifying->values, dbk_statement_column(statement, 0).bytes, i);
    }
    dbk_statement_free(statement);
    return rc;
}

static void append_side(struct verifying *verifying, bool expected)
{
    struct dbk_buf *sql = &verifying->sql;
    dbk_buf_append_text(sql, "SELECT ");
    dbk_buf_append(sql, dbk_buf_slice(&verifying->values));
    dbk_buf_append_text(sql, " FROM (");
    dbk_buf_append(sql, dbk_buf_slice(expected ? &verifying->expected : &verifying->stored));
    dbk_buf_append_text(sql, "\n) AS q(");
    dbk_buf_append(sql, dbk_buf_slice(&verifying->columns));
    dbk_buf_append_char(sql, ')');
}

static int compare(struct verifying *verifying, struct dbk_error *err)
{
    struct dbk_buf *sql = &verifying->sql;
    struct dbk_statement *statement = NULL;
    dbk_buf_append_text(sql, "WITH a AS MATERIALIZED (");
    append_side(verifying, false);
    dbk_buf_append_text(sql, "), b AS MATERIALIZED (");
    append_side(verifying, true);
    dbk_buf_append_text(sql, "), more AS (SELECT * FROM a EXCEPT ALL SELECT * FROM b), less AS "
                             "(SELECT * FROM b EXCEPT ALL SELECT * FROM a) SELECT (SELECT count(*) "
                             "FROM more), (SELECT count(*) FROM less), coalesce((SELECT more::text "
                             "FROM more LIMIT 1), (SELECT less::text FROM less LIMIT 1))");
    int rc =
        sql->rc < 0 || verifying->expected.rc < 0 || verifying->stored.rc < 0 ||
                verifying->values.rc < 0 || verifying->columns.rc < 0
            ? dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM))
            : dbk_statement_open(verifying->connection, dbk_buf_slice(sql), &statement, NULL, err);
    if (rc == DBK_OK)
        rc = dbk_statement_step(statement, err);
    if (rc == 1) {
        int64_t more = dbk_statement_column(statement, 0).integer;
        int64_t less = dbk_statement_column(statement, 1).integer;
        struct dbk_value row = dbk_statement_column(statement, 2);
        rc = DBK_OK;
        verifying->check.more = (uint64_t)more;
        verifying->check.less = (uint64_t)less;
        if (more != 0 || less != 0)
            rc = dbk_error_set(err, DBK_ECORRUPT,
                               "%lld rows are stored that its SELECT does not give, and %lld are "
                               "missing, such as %.*s",
                               (long long)more, (long long)less, DBK_SLICE_ARGS(row.bytes));
    }
    dbk_statement_free(statement);
    return rc;
}

/* What was noted and not taken is no fault of the view's; nor is what a reader's reason says. */
static int look_at_notes(struct verifying *verifying, const struct dbk_view_plan *plan,
                         struct dbk_error *err)
{
    const char *name = verifying->refresh->definition->name;
    char reason[512] = "";
    for (size_t i = 0; i < plan->tree.relation_count; i++) {
        const struct dbk_relation *table = plan->tree.relations[i];
        bool behind = false;
        if (table->kind != DBK_RELATION_TABLE)
            continue;
        int rc =
            dbk_pgview_look_at_triggers(verifying->connection, table, reason, sizeof(reason), err);
        if (rc == DBK_OK)
            rc = dbk_pgview_look(verifying->connection, name, table, reason, sizeof(reason), err);
        if (rc == DBK_OK)
            rc = dbk_pgview_is_behind(verifying->connection, name, table, &behind, err);
        if (rc == DBK_EREFUSED || behind)
            return dbk_error_set(err, DBK_EBUSY, "%s",
                                 behind ? "its tables have changed since" : reason);
        if (rc < 0)
            return rc;
    }
    return DBK_OK;
}

/* Sees that no change is missing in the view. */
static int begin(struct verifying *verifying, const struct dbk_view_plan *plan,
                 struct dbk_view_row *row, struct dbk_error *err)
{
    const struct dbk_view_refresh *refresh = verifying->refresh;
    uint64_t position = 0;
    bool found = false;
    int rc = dbk_connection_begin(verifying->connection, DBK_BEGIN_READ, err);
    if (rc == DBK_OK)
        rc = dbk_view_catalog_read(verifying->connection, refresh->definition->name, row, err);
    if (rc == DBK_OK && row->generation == 0)
        rc = dbk_error_set(err, DBK_ENOTFOUND, "it has not been refreshed yet");
    if (rc == DBK_OK && strcmp(row->fingerprint, refresh->fingerprint) != 0)
        rc = dbk_error_set(err, DBK_EBUSY, "its file has changed since it was refreshed");
    if (rc < 0)
        return rc;
    if (plan->incremental && row->layout == DBK_VIEW_LAYOUT)
        return look_at_notes(verifying, plan, err);
    rc = dbk_view_position(verifying->connection, refresh->source, &position, &found, err);
    if (rc == DBK_OK && !found)
        rc = dbk_error_set(err, DBK_EREFUSED,
                           "it reads tables of which is not known how they were when it was "
                           "refreshed, so that its rows cannot be compared: refresh it");
    if (rc == DBK_OK && position != row->position)
        rc = dbk_error_set(err, DBK_EBUSY, "it stands at position %ju, what it reads at %ju",
                           (uintmax_t)row->position, (uintmax_t)position);
    return rc;
}

/* Which rows are compared: what the view shows, or where LIMIT shows a part of them, or a window
   leaves open what comes first, all that are stored. */
static void choose(struct verifying *verifying, const struct dbk_view_plan *plan,
                   const struct dbk_view_row *row)
{
    const struct dbk_view_definition *definition = verifying->refresh->definition;
    if (plan->incremental && row->layout == DBK_VIEW_LAYOUT && plan->tree.whole != NULL) {
        dbk_buf_append_text(&verifying->expected, plan->tree.whole);
        dbk_shown_whole(&verifying->stored, plan, definition->name, row->generation, false);
        return;
    }
    dbk_buf_append(&verifying->expected, dbk_view_select(definition));
    dbk_buf_append_text(&verifying->stored, "SELECT * FROM ");
    dbk_emit_name(&verifying->stored, definition->name);
}

int dbk_pgview_verify(const struct dbk_view_refresh *refresh, struct dbk_view_check *check_out,
                      struct dbk_error *err)
{
    struct verifying verifying = {.refresh = refresh};
    struct dbk_view_plan plan;
    struct dbk_view_row row = {0};
    dbk_view_plan_init(&plan);
    dbk_buf_init(&verifying.sql, DBK_PGVIEW_SQL_SIZE_MAX);
    dbk_buf_init(&verifying.expected, DBK_PGVIEW_SQL_SIZE_MAX);
    dbk_buf_init(&verifying.stored, DBK_PGVIEW_SQL_SIZE_MAX);
    dbk_buf_init(&verifying.columns, DBK_PGVIEW_SQL_SIZE_MAX);
    dbk_buf_init(&verifying.values, DBK_PGVIEW_SQL_SIZE_MAX);
    int rc = dbk_pgview_open(refresh->definition, 0, &verifying.connection, err);
    if (rc == DBK_OK)
        dbk_view_tell_connection(refresh, verifying.connection);
    if (rc == DBK_OK)
        rc = dbk_pgview_plan(&plan, verifying.connection, refresh->definition, err);
    if (rc == DBK_OK)
        rc = begin(&verifying, &plan, &row, err);
    if (rc == DBK_OK)
        rc = read_columns(&verifying, err);
    choose(&verifying, &plan, &row);
    if (rc == DBK_OK)
        rc = compare(&verifying, err);
    verifying.check.rows = row.rows;
    verifying.check.position = row.position;
    *check_out = verifying.check;
    dbk_view_tell_connection(refresh, NULL);
    dbk_connection_free(verifying.connection);
    dbk_view_plan_release(&plan);
    dbk_buf_release(&verifying.sql);
    dbk_buf_release(&verifying.expected);
    dbk_buf_release(&verifying.stored);
    dbk_buf_release(&verifying.columns);
    dbk_buf_release(&verifying.values);
    return rc;
}
