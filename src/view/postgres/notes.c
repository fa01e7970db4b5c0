/* SPDX-License-Identifier: Apache-2.0 */
/* A followed table's notes: cursors of views on them, the difference they tell of, their end. */
#include <stdio.h>

#include "view/postgres/state.h"

static void append_same_key(struct dbk_buf *out, const struct dbk_relation *table,
                            const char *first, const char *second)
{
    for (size_t i = 0; i < table->row_count; i++)
        dbk_buf_append_format(out, "%s%s%s = %s%s", i > 0 ? " AND " : "", first, table->rows[i],
                              second, table->rows[i]);
}

/* ---- Cursors ---- */

/*
 * `lost` is the count of losses with which the notes tell all from `seen` on. A loss is counted
 * when it happens, and seen when its transaction commits: so the count is read before the snapshot
 * is, and is -1 - count, which no count is equal to, as long as one of those counted may be of a
 * transaction that was under way in that snapshot. The next fill comes after all of these: then the
 * count holds when it is still the same.
 */

static int run_cursor(struct dbk_connection *connection, const char *sql, const char *view,
                      const struct dbk_relation *table, struct dbk_error *err)
{
    char source[2 * DBK_VIEW_TABLE_SIZE_MAX] = "";
    char log[2 * DBK_VIEW_TABLE_SIZE_MAX] = "";
    char *text = NULL;
    struct dbk_buf statement;
    dbk_buf_init(&statement, DBK_PGVIEW_SQL_SIZE_MAX);
    if (table != NULL) {
        dbk_pgview_source(table, source, sizeof(source));
        dbk_pgview_log_name(table, "changes", log, sizeof(log));
    }
    /* %v: the view, %s: the source, %c: the notes, %l: how often notes were lost. */
    for (const char *at = sql; *at != '\0'; at++) {
        if (*at != '%') {
            dbk_buf_append_char(&statement, *at);
            continue;
        }
        at++;
        if (*at == 'v')
            dbk_pgview_text(&statement, view);
        else if (*at == 's')
            dbk_pgview_text(&statement, source);
        else if (*at == 'c') {
            struct dbk_buf name;
            dbk_buf_init(&name, DBK_PGVIEW_SQL_SIZE_MAX);
            dbk_emit_name(&name, log);
            dbk_buf_append_char(&name, '\0');
            text = name.data;
            dbk_pgview_text(&statement, text == NULL ? "" : text);
            dbk_buf_release(&name);
        } else if (*at == 'l') {
            dbk_buf_append_text(&statement, "(SELECT last_value + is_called::int FROM ");
            dbk_pgview_log(&statement, table, "lost");
            dbk_buf_append_char(&statement, ')');
        }
    }
    int rc = dbk_pgview_run(connection, &statement, err);
    dbk_buf_release(&statement);
    return rc;
}

int dbk_pgview_hold(struct dbk_connection *connection, const char *view,
                    const struct dbk_relation *table, struct dbk_error *err)
{
    return run_cursor(
        connection,
        "INSERT INTO _daybook_cursors SELECT %v, %s, to_regclass(%c), NULL, CASE WHEN q.l = 1 THEN "
        "1 ELSE -1 - q.l END FROM (SELECT %l AS l OFFSET 0) AS q ON CONFLICT (view, source) DO "
        "UPDATE SET log = excluded.log, seen = NULL, lost = CASE WHEN excluded.lost < 0 AND "
        "_daybook_cursors.log = excluded.log AND (_daybook_cursors.lost = -1 - excluded.lost OR "
        "(_daybook_cursors.lost = excluded.lost AND "
        "txid_snapshot_xmax(_daybook_cursors.seen::txid_snapshot) <= "
        "txid_snapshot_xmin(txid_current_snapshot()))) THEN -1 - excluded.lost ELSE excluded.lost "
        "END",
        view, table, err);
}

/*
 * The snapshot, and the transaction itself, whose own changes the rows have too where several views
 * are brought up to date together. Transactions that began between the snapshot and this one are
 * among those that it does not see: the transaction has its id from its first statement on, so that
 * they are few.
 */
#define SEEN                                                                                       \
    "(SELECT concat(coalesce(min(q.x), max(m.x)), ':', max(m.x), ':', string_agg(q.x::text, ',' "  \
    "ORDER BY q.x)) FROM (SELECT greatest(txid_current() + 1, "                                    \
    "txid_snapshot_xmax(txid_current_snapshot())) AS x) AS m LEFT JOIN (SELECT "                   \
    "txid_snapshot_xip(txid_current_snapshot()) AS x UNION ALL SELECT "                            \
    "generate_series(txid_snapshot_xmax(txid_current_snapshot()), txid_current() - 1)) AS q ON "   \
    "true)"

int dbk_pgview_set_cursors(struct dbk_connection *connection, const char *view,
                           const struct dbk_algebra *tree, struct dbk_error *err)
{
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < tree->relation_count; i++) {
        if (tree->relations[i]->kind != DBK_RELATION_TABLE)
            continue;
        rc = run_cursor(
            connection,
            "UPDATE _daybook_cursors SET seen = " SEEN
            ", lost = CASE WHEN lost < 0 AND txid_snapshot_xmin(txid_current_snapshot()) = "
            "txid_snapshot_xmax(txid_current_snapshot()) THEN -1 - lost ELSE lost END "
            "WHERE view = %v AND source = %s",
            view, tree->relations[i], err);
    }
    return rc;
}

int dbk_pgview_forget(struct dbk_connection *connection, const char *view,
                      enum dbk_pgview_forgotten which, struct dbk_error *err)
{
    static const char *const statements[] = {
        [DBK_PGVIEW_ALL] = "DELETE FROM _daybook_cursors WHERE view = %v",
        [DBK_PGVIEW_HELD] = "DELETE FROM _daybook_cursors WHERE view = %v AND seen IS NULL",
        [DBK_PGVIEW_OTHERS] = "DELETE FROM _daybook_cursors WHERE view = %v AND seen IS NOT NULL",
    };
    return run_cursor(connection, statements[which], view, NULL, err);
}

int dbk_pgview_take_over(struct dbk_connection *connection, const char *owner, const char *view,
                         struct dbk_error *err)
{
    struct dbk_buf sql;
    dbk_buf_init(&sql, DBK_PGVIEW_SQL_SIZE_MAX);
    dbk_buf_append_text(&sql, "DELETE FROM _daybook_cursors WHERE view = ");
    dbk_pgview_text(&sql, view);
    dbk_buf_append_text(&sql, "; UPDATE _daybook_cursors SET view = ");
    dbk_pgview_text(&sql, view);
    dbk_buf_append_text(&sql, " WHERE view = ");
    dbk_pgview_text(&sql, owner);
    int rc = dbk_pgview_run(connection, &sql, err);
    dbk_buf_release(&sql);
    return rc;
}

/* ---- What was noted ---- */

int dbk_pgview_look(struct dbk_connection *connection, const char *view,
                    const struct dbk_relation *table, char *reason, size_t size,
                    struct dbk_error *err)
{
    struct dbk_buf sql;
    struct dbk_statement *statement = NULL;
    char source[2 * DBK_VIEW_TABLE_SIZE_MAX];
    char log[2 * DBK_VIEW_TABLE_SIZE_MAX];
    dbk_pgview_source(table, source, sizeof(source));
    dbk_pgview_log_name(table, "changes", log, sizeof(log));
    dbk_buf_init(&sql, DBK_PGVIEW_SQL_SIZE_MAX);
    dbk_buf_append_text(&sql, "SELECT log = (SELECT oid FROM pg_class WHERE relname = ?3 AND "
                              "relnamespace = to_regnamespace(quote_ident(current_schema()))) AND "
                              "seen IS NOT NULL AND txid_snapshot_xmax(seen::txid_snapshot) <= "
                              "txid_snapshot_xmax(txid_current_snapshot()), lost = (SELECT "
                              "last_value + is_called::int FROM ");
    dbk_pgview_log(&sql, table, "lost");
    dbk_buf_append_text(&sql, ") FROM _daybook_cursors WHERE view = ?1 AND source = ?2");
    int rc = dbk_statement_open(connection, dbk_buf_slice(&sql), &statement, NULL, err);
    if (rc == DBK_OK) {
        const struct dbk_value values[] = {{.kind = DBK_VALUE_TEXT, .bytes = dbk_slice_of(view)},
                                           {.kind = DBK_VALUE_TEXT, .bytes = dbk_slice_of(source)},
                                           {.kind = DBK_VALUE_TEXT, .bytes = dbk_slice_of(log)}};
        for (int i = 0; i < 3; i++)
            dbk_statement_bind(statement, i + 1, &values[i]);
        rc = dbk_statement_step(statement, err);
    }
    bool has = rc == 1 && dbk_statement_column(statement, 0).integer == 1;
    bool whole = has && dbk_statement_column(statement, 1).integer == 1;
    dbk_statement_free(statement);
    dbk_buf_release(&sql);
    if (rc < 0)
        return rc;
    if (!has)
        (void)snprintf(reason, size, "%s was built anew since", table->name);
    else if (!whole)
        (void)snprintf(
            reason, size,
            "%s was truncated, or written by a trigger of its own or by several foreign keys at "
            "once, or changed more often since than is noted, " DBK_PGVIEW_NOTES_MAX " times",
            table->name);
    return whole ? DBK_OK : DBK_EREFUSED;
}

int dbk_pgview_is_behind(struct dbk_connection *connection, const char *view,
                         const struct dbk_relation *table, bool *behind_out, struct dbk_error *err)
{
    struct dbk_buf sql;
    char source[2 * DBK_VIEW_TABLE_SIZE_MAX];
    int64_t any = 0;
    dbk_pgview_source(table, source, sizeof(source));
    dbk_buf_init(&sql, DBK_PGVIEW_SQL_SIZE_MAX);
    dbk_buf_append_text(&sql, "SELECT count(*) FROM _daybook_cursors AS c WHERE c.view = ");
    dbk_pgview_text(&sql, view);
    dbk_buf_append_text(&sql, " AND c.source = ");
    dbk_pgview_text(&sql, source);
    dbk_buf_append_text(&sql, " AND EXISTS (SELECT 1 FROM ");
    dbk_pgview_log(&sql, table, "changes");
    dbk_buf_append_text(&sql, " AS n WHERE NOT txid_visible_in_snapshot(n._daybook_xid, "
                              "c.seen::txid_snapshot))");
    dbk_buf_append_char(&sql, '\0');
    int rc = sql.rc < 0 ? dbk_error_set(err, sql.rc, "%s", dbk_code_text(sql.rc))
                        : dbk_view_integer(connection, sql.data, NULL, &any, err);
    dbk_buf_release(&sql);
    *behind_out = any != 0;
    return rc;
}

/* A catalog's rows have the transaction that wrote them: when none is another, nothing is. */
void dbk_pgview_marks(struct dbk_buf *sql, const struct dbk_algebra *tree)
{
    struct dbk_buf name;
    dbk_buf_init(&name, DBK_PGVIEW_SQL_SIZE_MAX);
    dbk_buf_append_text(sql, "SELECT concat_ws(','");
    for (size_t i = 0; i < tree->relation_count; i++) {
        const struct dbk_relation *table = tree->relations[i];
        if (table->kind != DBK_RELATION_TABLE)
            continue;
        dbk_buf_append_text(sql, ", (SELECT concat_ws(':', c.oid, c.xmin, (SELECT "
                                 "max(r.xmin::text) FROM pg_rewrite AS r WHERE r.ev_class = "
                                 "c.oid)) FROM pg_class AS c WHERE c.oid = to_regclass(");
        dbk_pgview_text(sql, table->name);
        dbk_buf_append_text(
            sql,
            ")), (SELECT concat_ws(':', c.oid, c.xmin, (SELECT string_agg(a.xmin::text, '.' ORDER "
            "BY a.attnum) FROM pg_attribute AS a WHERE a.attrelid = c.oid AND a.attnum > 0), "
            "(SELECT string_agg(i.xmin::text, '.' ORDER BY i.indexrelid) FROM pg_index AS i WHERE "
            "i.indrelid = c.oid), (SELECT count(*) FROM pg_subscription_rel AS r WHERE r.srrelid = "
            "c.oid), (SELECT string_agg(concat_ws('-', g.oid, g.xmin), '.' ORDER BY "
            "g.oid) FROM pg_trigger AS g WHERE g.tgrelid = c.oid)) FROM pg_class AS c WHERE c.oid "
            "= to_regclass(");
        dbk_buf_reset(&name);
        dbk_emit_table(&name, table);
        dbk_buf_append_char(&name, '\0');
        dbk_pgview_text(sql, name.rc < 0 ? "" : name.data);
        dbk_buf_append_text(sql, "))");
    }
    dbk_buf_append_char(sql, ')');
    if (name.rc < 0)
        sql->rc = name.rc;
    dbk_buf_release(&name);
}

/* Temporary tables that are emptied with each transaction: l<n> has a row's first note, d<n> the
   difference. */
void dbk_pgview_make_notes(struct dbk_buf *sql, const struct dbk_relation *table)
{
    dbk_buf_append_format(sql,
                          "CREATE TEMP TABLE IF NOT EXISTS l%zu ON COMMIT DELETE ROWS AS SELECT "
                          "_daybook_had",
                          table->number);
    dbk_pgview_columns(sql, table, "");
    dbk_buf_append_text(sql, " FROM ");
    dbk_pgview_log(sql, table, "changes");
    dbk_buf_append_text(sql, " WITH NO DATA; ");
}

void dbk_pgview_make_difference(struct dbk_buf *sql, const struct dbk_relation *relation)
{
    dbk_buf_append_format(sql,
                          "CREATE TEMP TABLE IF NOT EXISTS d%zu ON COMMIT DELETE ROWS AS SELECT "
                          "0 AS _daybook_w",
                          relation->number);
    dbk_pgview_columns(sql, relation, "");
    dbk_buf_append_text(sql, " FROM ");
    dbk_emit_table(sql, relation);
    dbk_buf_append_text(sql, " WITH NO DATA; ");
}

void dbk_pgview_gather(struct dbk_buf *sql, const char *view, const struct dbk_relation *table)
{
    char source[2 * DBK_VIEW_TABLE_SIZE_MAX];
    dbk_pgview_source(table, source, sizeof(source));
    dbk_buf_append_format(sql, "INSERT INTO pg_temp.l%zu SELECT DISTINCT ON (", table->number);
    for (size_t i = 0; i < table->row_count; i++)
        dbk_buf_append_format(sql, "%sn.%s", i > 0 ? ", " : "", table->rows[i]);
    dbk_buf_append_text(sql, ") n._daybook_had");
    dbk_pgview_columns(sql, table, "n.");
    dbk_buf_append_text(sql, " FROM ");
    dbk_pgview_log(sql, table, "changes");
    dbk_buf_append_text(sql, " AS n, (SELECT seen::txid_snapshot AS s FROM _daybook_cursors WHERE "
                             "view = ");
    dbk_pgview_text(sql, view);
    dbk_buf_append_text(sql, " AND source = ");
    dbk_pgview_text(sql, source);
    dbk_buf_append_text(sql, " OFFSET 0) AS c WHERE n._daybook_xid >= (SELECT "
                             "txid_snapshot_xmin(seen::txid_snapshot) FROM _daybook_cursors WHERE "
                             "view = ");
    dbk_pgview_text(sql, view);
    dbk_buf_append_text(sql, " AND source = ");
    dbk_pgview_text(sql, source);
    dbk_buf_append_text(sql, ") AND NOT txid_visible_in_snapshot(n._daybook_xid, c.s) ORDER BY ");
    for (size_t i = 0; i < table->row_count; i++)
        dbk_buf_append_format(sql, "n.%s, ", table->rows[i]);
    dbk_buf_append_text(sql, "n._daybook_seq; ");
}

void dbk_pgview_difference(struct dbk_buf *sql, const struct dbk_relation *table)
{
    size_t n = table->number;
    dbk_buf_append_format(sql, "INSERT INTO pg_temp.d%zu SELECT -1", n);
    dbk_pgview_columns(sql, table, "l.");
    dbk_buf_append_format(sql, " FROM pg_temp.l%zu AS l WHERE l._daybook_had = 1; ", n);
    dbk_buf_append_format(sql, "ANALYZE pg_temp.l%zu; INSERT INTO pg_temp.d%zu SELECT 1", n, n);
    dbk_pgview_columns(sql, table, "t.");
    dbk_buf_append_format(sql, " FROM pg_temp.l%zu AS l JOIN ", n);
    dbk_emit_table(sql, table);
    dbk_buf_append_text(sql, " AS t ON ");
    append_same_key(sql, table, "t.", "l.");
    dbk_buf_append_format(sql, "; ANALYZE pg_temp.d%zu; ", n);
}

/* ---- Cleaning ---- */

int dbk_pgview_clean_notes(struct dbk_connection *connection, const struct dbk_relation *table,
                           struct dbk_error *err)
{
    struct dbk_buf sql;
    char source[2 * DBK_VIEW_TABLE_SIZE_MAX];
    dbk_pgview_source(table, source, sizeof(source));
    dbk_buf_init(&sql, DBK_PGVIEW_SQL_SIZE_MAX);
    dbk_buf_append_text(&sql, "DELETE FROM ");
    dbk_pgview_log(&sql, table, "changes");
    /* A view that is being filled may need all of them; one to which notes were lost, none. */
    dbk_buf_append_text(&sql, " WHERE _daybook_xid < (SELECT CASE WHEN count(*) = count(seen) THEN "
                              "min(txid_snapshot_xmin(seen::txid_snapshot)) END FROM "
                              "_daybook_cursors WHERE source = ");
    dbk_pgview_text(&sql, source);
    dbk_buf_append_text(&sql, " AND (seen IS NULL OR lost < 0 OR lost = (SELECT last_value + "
                              "is_called::int FROM ");
    dbk_pgview_log(&sql, table, "lost");
    dbk_buf_append_text(&sql, "))); SELECT setval(");
    {
        char floor[2 * DBK_VIEW_TABLE_SIZE_MAX];
        struct dbk_buf name;
        dbk_pgview_log_name(table, "floor", floor, sizeof(floor));
        dbk_buf_init(&name, DBK_PGVIEW_SQL_SIZE_MAX);
        dbk_emit_name(&name, floor);
        dbk_buf_append_char(&name, '\0');
        dbk_pgview_text(&sql, name.data == NULL ? "" : name.data);
        dbk_buf_release(&name);
    }
    /* Those of the oldest transaction, by which there is an index, are among the oldest. */
    dbk_buf_append_text(&sql, ", coalesce((SELECT min(_daybook_seq) FROM ");
    dbk_pgview_log(&sql, table, "changes");
    dbk_buf_append_text(&sql, " WHERE _daybook_xid = (SELECT min(_daybook_xid) FROM ");
    dbk_pgview_log(&sql, table, "changes");
    dbk_buf_append_text(&sql, ")), (SELECT last_value FROM ");
    dbk_pgview_log(&sql, table, "seq");
    dbk_buf_append_text(&sql, ")))");
    int rc = dbk_pgview_run(connection, &sql, err);
    dbk_buf_release(&sql);
    return rc;
}
