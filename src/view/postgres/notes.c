/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A followed table's triggers and notes, and the cursors of views on them (docs/format/view.md).
 *
 * A transaction's notes have its id. A view's cursor is the snapshot of the transaction that last
 * brought it up to date: what that snapshot saw has been taken, whatever the order of commits, and
 * of what it did not see nothing has. So no horizon has to be waited for.
 *
 * The trigger's function must never break a writer: it says in a sequence, which no ROLLBACK takes
 * back, that notes are missing, and each view that stands on the table is filled anew.
 */
#include <stdio.h>

#include "base/hash.h"
#include "view/postgres/state.h"

/* How many notes of a table are kept for views that stand still. */
#define NOTES_MAX "500000"
/* Notes removed by one statement. */
#define LOCK_WAIT "2s"
/* Of a name behind "_daybook_changes_". */
#define NAME_SIZE_MAX 40

int dbk_pgview_catalog(struct dbk_connection *connection, struct dbk_error *err)
{
    return dbk_connection_run(connection,
                              "CREATE TABLE IF NOT EXISTS _daybook_cursors (view TEXT NOT NULL, "
                              "source TEXT NOT NULL, log OID, seen TEXT, lost BIGINT, "
                              "PRIMARY KEY (view, source))",
                              err);
}

bool dbk_pgview_is_numbered(const struct dbk_relation *relation)
{
    return strcmp(relation->rows[0], "_daybook_row") == 0 ||
           strcmp(relation->rows[0], "\"_daybook_row\"") == 0;
}

void dbk_pgview_columns(struct dbk_buf *out, const struct dbk_relation *relation,
                        const char *prefix)
{
    for (size_t i = 0; i < relation->column_count; i++) {
        dbk_buf_append_text(out, ", ");
        dbk_buf_append_text(out, prefix);
        dbk_emit_name(out, relation->columns[i]);
    }
    if (dbk_pgview_is_numbered(relation))
        dbk_buf_append_format(out, ", %s_daybook_row", prefix);
}

/* The row's key, each part behind a comma and a prefix. */
static void append_key(struct dbk_buf *out, const struct dbk_relation *table, const char *prefix)
{
    for (size_t i = 0; i < table->row_count; i++)
        dbk_buf_append_format(out, ", %s%s", prefix, table->rows[i]);
}

static void append_same_key(struct dbk_buf *out, const struct dbk_relation *table,
                            const char *first, const char *second)
{
    for (size_t i = 0; i < table->row_count; i++)
        dbk_buf_append_format(out, "%s%s%s = %s%s", i > 0 ? " AND " : "", first, table->rows[i],
                              second, table->rows[i]);
}

static void source_of(const struct dbk_relation *table, char *text, size_t size)
{
    (void)snprintf(text, size, "%s.%s", table->schema, table->table);
}

/* `_daybook_<what>_<schema>.<table>`, which PostgreSQL does not cut. */
static void log_name(const struct dbk_relation *table, const char *what, char *text, size_t size)
{
    char source[2 * DBK_VIEW_TABLE_SIZE_MAX];
    source_of(table, source, sizeof(source));
    if (strlen(source) > NAME_SIZE_MAX) {
        struct dbk_sha256 hash;
        uint8_t digest[DBK_SHA256_SIZE];
        dbk_sha256_init(&hash);
        dbk_sha256_update(&hash, dbk_slice_of(source));
        dbk_sha256_final(&hash, digest);
        (void)snprintf(source + NAME_SIZE_MAX - 9, 10, "_%02x%02x%02x%02x", digest[0], digest[1],
                       digest[2], digest[3]);
    }
    (void)snprintf(text, size, "_daybook_%s_%s", what, source);
}

static void append_log(struct dbk_buf *out, const struct dbk_relation *table, const char *what)
{
    char name[2 * DBK_VIEW_TABLE_SIZE_MAX];
    log_name(table, what, name, sizeof(name));
    dbk_emit_name(out, name);
}

/* ---- Following ---- */

/* Whether the notes are of the table as it is, and all triggers are there. */
static int is_followed(struct dbk_connection *connection, const struct dbk_relation *table,
                       bool *there_out, bool *current_out, struct dbk_error *err)
{
    struct dbk_buf sql;
    struct dbk_statement *statement = NULL;
    char name[2 * DBK_VIEW_TABLE_SIZE_MAX];
    log_name(table, "changes", name, sizeof(name));
    dbk_buf_init(&sql, DBK_PGVIEW_SQL_SIZE_MAX);
    dbk_buf_append_text(&sql, "SELECT c.oid, obj_description(c.oid, 'pg_class'), (SELECT count(*) "
                              "FROM pg_trigger AS t JOIN pg_proc AS p ON p.oid = t.tgfoid WHERE "
                              "t.tgrelid = to_regclass(?2) AND p.pronamespace = c.relnamespace AND "
                              "p.proname = ?3 AND t.tgenabled <> 'D') FROM pg_class AS c WHERE "
                              "c.relname = ?1 AND c.relnamespace = "
                              "to_regnamespace(quote_ident(current_schema()))");
    int rc = dbk_statement_open(connection, dbk_buf_slice(&sql), &statement, NULL, err);
    dbk_buf_reset(&sql);
    if (rc == DBK_OK) {
        char function[2 * DBK_VIEW_TABLE_SIZE_MAX];
        dbk_emit_table(&sql, table);
        log_name(table, "note", function, sizeof(function));
        const struct dbk_value values[] = {
            {.kind = DBK_VALUE_TEXT, .bytes = dbk_slice_of(name)},
            {.kind = DBK_VALUE_TEXT, .bytes = dbk_buf_slice(&sql)},
            {.kind = DBK_VALUE_TEXT, .bytes = dbk_slice_of(function)}};
        for (int i = 0; i < 3; i++)
            dbk_statement_bind(statement, i + 1, &values[i]);
        rc = dbk_statement_step(statement, err);
        *there_out = rc == 1;
        *current_out =
            rc == 1 &&
            dbk_slice_equal_text(dbk_statement_column(statement, 1).bytes, table->signature) &&
            dbk_statement_column(statement, 2).integer == 4;
    }
    dbk_statement_free(statement);
    dbk_buf_release(&sql);
    return rc < 0 ? rc : DBK_OK;
}

static void append_end_of(struct dbk_buf *sql, const char *note, const char *changes)
{
    dbk_buf_append_text(sql, "DROP FUNCTION IF EXISTS ");
    dbk_emit_name(sql, note);
    dbk_buf_append_text(sql, "() CASCADE; DROP TABLE IF EXISTS ");
    dbk_emit_name(sql, changes);
    dbk_buf_append_text(sql, "; ");
}

static void append_end(struct dbk_buf *sql, const struct dbk_relation *table)
{
    char note[2 * DBK_VIEW_TABLE_SIZE_MAX];
    char changes[2 * DBK_VIEW_TABLE_SIZE_MAX];
    log_name(table, "note", note, sizeof(note));
    log_name(table, "changes", changes, sizeof(changes));
    append_end_of(sql, note, changes);
}

static void append_table(struct dbk_buf *sql, const struct dbk_relation *table)
{
    dbk_buf_append_text(sql, "CREATE TABLE ");
    append_log(sql, table, "changes");
    dbk_buf_append_text(sql, " AS SELECT 0::bigint AS _daybook_seq, 0::bigint AS _daybook_xid, "
                             "0::smallint AS _daybook_had");
    dbk_pgview_columns(sql, table, "");
    dbk_buf_append_text(sql, " FROM ");
    dbk_emit_table(sql, table);
    dbk_buf_append_text(sql, " WITH NO DATA; ");
    static const char *const sequences[] = {"seq", "floor", "lost"};
    for (size_t i = 0; i < sizeof(sequences) / sizeof(sequences[0]); i++) {
        dbk_buf_append_text(sql, "CREATE SEQUENCE ");
        append_log(sql, table, sequences[i]);
        dbk_buf_append_text(sql, " OWNED BY ");
        append_log(sql, table, "changes");
        dbk_buf_append_text(sql, "._daybook_seq; ");
    }
    dbk_buf_append_text(sql, "CREATE INDEX ON ");
    append_log(sql, table, "changes");
    dbk_buf_append_text(sql, " (_daybook_xid); COMMENT ON TABLE ");
    append_log(sql, table, "changes");
    dbk_buf_append_text(sql, " IS ");
    dbk_pgview_text(sql, table->signature);
    dbk_buf_append_text(sql, "; ");
}

static void append_here(struct dbk_buf *sql, const char *schema, const struct dbk_relation *table,
                        const char *what)
{
    dbk_buf_append_text(sql, schema);
    dbk_buf_append_char(sql, '.');
    append_log(sql, table, what);
}

static void append_nextval(struct dbk_buf *sql, const char *schema,
                           const struct dbk_relation *table, const char *what)
{
    struct dbk_buf name;
    dbk_buf_init(&name, DBK_PGVIEW_SQL_SIZE_MAX);
    append_here(&name, schema, table, what);
    dbk_buf_append_char(&name, '\0');
    dbk_buf_append_text(sql, "nextval(");
    if (name.rc < 0)
        sql->rc = name.rc;
    else
        dbk_pgview_text(sql, name.data);
    dbk_buf_append_text(sql, ")");
    dbk_buf_release(&name);
}

static void append_note(struct dbk_buf *sql, const char *schema, const struct dbk_relation *table,
                        bool old)
{
    dbk_buf_append_text(sql, "INSERT INTO ");
    append_here(sql, schema, table, "changes");
    dbk_buf_append_text(sql, " (_daybook_seq, _daybook_xid, _daybook_had");
    if (old)
        dbk_pgview_columns(sql, table, "");
    else
        append_key(sql, table, "");
    dbk_buf_append_text(sql, ") SELECT ");
    append_nextval(sql, schema, table, "seq");
    dbk_buf_append_format(sql, ", txid_current(), %d", old);
    if (old)
        dbk_pgview_columns(sql, table, "n.");
    else
        append_key(sql, table, "n.");
    dbk_buf_append_format(sql, " FROM %s AS n", old ? "_daybook_old" : "_daybook_new");
}

/* schema: in quotes, where its tables lie. */
static void append_function(struct dbk_buf *sql, const char *schema,
                            const struct dbk_relation *table)
{
    dbk_buf_append_text(sql, "CREATE FUNCTION ");
    append_here(sql, schema, table, "note");
    dbk_buf_append_text(sql, "() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path "
                             "= pg_catalog, pg_temp AS $daybook$ BEGIN IF (SELECT s.last_value - "
                             "f.last_value FROM ");
    append_here(sql, schema, table, "seq");
    dbk_buf_append_text(sql, " AS s, ");
    append_here(sql, schema, table, "floor");
    dbk_buf_append_text(sql, " AS f) > " NOTES_MAX " OR TG_OP = 'TRUNCATE' THEN PERFORM ");
    append_nextval(sql, schema, table, "lost");
    dbk_buf_append_text(sql, "; ELSIF TG_OP = 'INSERT' THEN ");
    append_note(sql, schema, table, false);
    dbk_buf_append_text(sql, "; ELSIF TG_OP = 'DELETE' THEN ");
    append_note(sql, schema, table, true);
    dbk_buf_append_text(sql, "; ELSE ");
    append_note(sql, schema, table, true);
    dbk_buf_append_text(sql, "; ");
    append_note(sql, schema, table, false);
    dbk_buf_append_text(sql, " WHERE NOT EXISTS (SELECT 1 FROM _daybook_old AS o WHERE ");
    append_same_key(sql, table, "o.", "n.");
    dbk_buf_append_text(sql, "); END IF; RETURN NULL; EXCEPTION WHEN OTHERS THEN PERFORM ");
    append_nextval(sql, schema, table, "lost");
    dbk_buf_append_text(sql, "; RETURN NULL; END $daybook$; ");
}

static void append_triggers(struct dbk_buf *sql, const char *schema,
                            const struct dbk_relation *table, bool owned)
{
    static const struct {
        const char *name;
        const char *when;
        const char *tables;
    } triggers[] = {
        {"insert", "INSERT", " REFERENCING NEW TABLE AS _daybook_new"},
        {"delete", "DELETE", " REFERENCING OLD TABLE AS _daybook_old"},
        {"update", "UPDATE", " REFERENCING OLD TABLE AS _daybook_old NEW TABLE AS _daybook_new"},
        {"truncate", "TRUNCATE", ""},
    };
    for (size_t i = 0; i < sizeof(triggers) / sizeof(triggers[0]); i++) {
        dbk_buf_append_text(sql, "CREATE TRIGGER ");
        append_log(sql, table, triggers[i].name);
        dbk_buf_append_format(sql, " AFTER %s ON ", triggers[i].when);
        dbk_emit_table(sql, table);
        dbk_buf_append_text(sql, triggers[i].tables);
        dbk_buf_append_text(sql, " FOR EACH STATEMENT EXECUTE FUNCTION ");
        append_here(sql, schema, table, "note");
        dbk_buf_append_text(sql, "(); ");
        if (!owned)
            continue;
        /* Also of what replication writes. */
        dbk_buf_append_text(sql, "ALTER TABLE ");
        dbk_emit_table(sql, table);
        dbk_buf_append_text(sql, " ENABLE ALWAYS TRIGGER ");
        append_log(sql, table, triggers[i].name);
        dbk_buf_append_text(sql, "; ");
    }
}

/* What the role may do with a table, and where its own things lie. */
struct rights {
    char schema[2 * DBK_VIEW_TABLE_SIZE_MAX];
    bool may;
    bool owned;
};

static int find_rights(struct dbk_connection *connection, const struct dbk_relation *table,
                       struct rights *rights_out, struct dbk_error *err)
{
    struct dbk_statement *statement = NULL;
    struct dbk_buf name;
    dbk_buf_init(&name, DBK_PGVIEW_SQL_SIZE_MAX);
    dbk_emit_table(&name, table);
    const struct dbk_value value = {.kind = DBK_VALUE_TEXT, .bytes = dbk_buf_slice(&name)};
    int rc = dbk_statement_open(
        connection,
        DBK_SLICE_LITERAL("SELECT quote_ident(current_schema()), has_table_privilege(c.oid, "
                          "'TRIGGER'), pg_has_role(c.relowner, 'USAGE') FROM pg_class AS c WHERE "
                          "c.oid = to_regclass(?1)"),
        &statement, NULL, err);
    if (rc == DBK_OK) {
        dbk_statement_bind(statement, 1, &value);
        rc = dbk_statement_step(statement, err);
    }
    if (rc == 1) {
        (void)snprintf(rights_out->schema, sizeof(rights_out->schema), "%.*s",
                       DBK_SLICE_ARGS(dbk_statement_column(statement, 0).bytes));
        rights_out->may = dbk_statement_column(statement, 1).integer != 0;
        rights_out->owned = dbk_statement_column(statement, 2).integer != 0;
    }
    dbk_statement_free(statement);
    dbk_buf_release(&name);
    return rc < 0 ? rc : DBK_OK;
}

int dbk_pgview_may_follow(struct dbk_connection *connection, const struct dbk_relation *table,
                          bool *may_out, struct dbk_error *err)
{
    struct rights rights = {.may = false};
    int rc = find_rights(connection, table, &rights, err);
    *may_out = rights.may;
    return rc;
}

static int make_log(struct dbk_connection *connection, const struct dbk_relation *table,
                    struct dbk_error *err)
{
    struct rights rights = {.may = false};
    struct dbk_buf sql;
    int rc = find_rights(connection, table, &rights, err);
    if (rc < 0)
        return rc;
    dbk_buf_init(&sql, DBK_PGVIEW_SQL_SIZE_MAX);
    append_end(&sql, table);
    append_table(&sql, table);
    append_function(&sql, rights.schema, table);
    append_triggers(&sql, rights.schema, table, rights.owned);
    rc = dbk_pgview_run(connection, &sql, err);
    dbk_buf_release(&sql);
    return rc;
}

/* ---- Cursors ---- */

static int run_cursor(struct dbk_connection *connection, const char *sql, const char *view,
                      const struct dbk_relation *table, struct dbk_error *err)
{
    char source[2 * DBK_VIEW_TABLE_SIZE_MAX] = "";
    char log[2 * DBK_VIEW_TABLE_SIZE_MAX] = "";
    char *text = NULL;
    struct dbk_buf statement;
    dbk_buf_init(&statement, DBK_PGVIEW_SQL_SIZE_MAX);
    if (table != NULL) {
        source_of(table, source, sizeof(source));
        log_name(table, "changes", log, sizeof(log));
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
            append_log(&statement, table, "lost");
            dbk_buf_append_char(&statement, ')');
        }
    }
    int rc = dbk_pgview_run(connection, &statement, err);
    dbk_buf_release(&statement);
    return rc;
}

int dbk_pgview_follow(struct dbk_connection *connection, const char *view,
                      const struct dbk_algebra *tree, struct dbk_error *err)
{
    int rc = dbk_connection_run(connection, "SET LOCAL lock_timeout = '" LOCK_WAIT "'", err);
    for (size_t i = 0; rc == DBK_OK && i < tree->relation_count; i++) {
        const struct dbk_relation *table = tree->relations[i];
        bool there = false;
        bool current = false;
        if (table->kind != DBK_RELATION_TABLE)
            continue;
        rc = is_followed(connection, table, &there, &current, err);
        if (rc == DBK_OK && !current)
            rc = make_log(connection, table, err);
        /* So that nobody ends it before the view has its rows. */
        if (rc == DBK_OK)
            rc = run_cursor(connection,
                            "INSERT INTO _daybook_cursors VALUES (%v, %s, to_regclass(%c), NULL, "
                            "NULL) ON CONFLICT (view, source) DO UPDATE SET log = excluded.log, "
                            "seen = NULL WHERE _daybook_cursors.log IS DISTINCT FROM excluded.log",
                            view, table, err);
    }
    return rc;
}

int dbk_pgview_set_cursors(struct dbk_connection *connection, const char *view,
                           const struct dbk_algebra *tree, struct dbk_error *err)
{
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < tree->relation_count; i++) {
        if (tree->relations[i]->kind != DBK_RELATION_TABLE)
            continue;
        rc = run_cursor(connection,
                        "INSERT INTO _daybook_cursors VALUES (%v, %s, to_regclass(%c), "
                        "txid_current_snapshot()::text, %l) ON CONFLICT (view, source) DO UPDATE "
                        "SET log = excluded.log, seen = excluded.seen, lost = excluded.lost",
                        view, tree->relations[i], err);
    }
    return rc;
}

int dbk_pgview_forget(struct dbk_connection *connection, const char *view, bool held,
                      struct dbk_error *err)
{
    return run_cursor(connection,
                      held ? "DELETE FROM _daybook_cursors WHERE view = %v AND seen IS NULL"
                           : "DELETE FROM _daybook_cursors WHERE view = %v",
                      view, NULL, err);
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
    bool there = false;
    bool current = false;
    int rc = is_followed(connection, table, &there, &current, err);
    if (rc < 0)
        return rc;
    if (!there || !current) {
        (void)snprintf(reason, size,
                       there ? "the columns, the key or the triggers of %s have changed"
                             : "%s was built anew since",
                       table->name);
        return DBK_EREFUSED;
    }
    source_of(table, source, sizeof(source));
    log_name(table, "changes", log, sizeof(log));
    dbk_buf_init(&sql, DBK_PGVIEW_SQL_SIZE_MAX);
    dbk_buf_append_text(&sql, "SELECT log = (SELECT oid FROM pg_class WHERE relname = ?3 AND "
                              "relnamespace = to_regnamespace(quote_ident(current_schema()))) AND "
                              "seen IS NOT NULL AND txid_snapshot_xmax(seen::txid_snapshot) <= "
                              "txid_snapshot_xmax(txid_current_snapshot()), lost = (SELECT "
                              "last_value + is_called::int FROM ");
    append_log(&sql, table, "lost");
    dbk_buf_append_text(&sql, ") FROM _daybook_cursors WHERE view = ?1 AND source = ?2");
    rc = dbk_statement_open(connection, dbk_buf_slice(&sql), &statement, NULL, err);
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
        (void)snprintf(reason, size,
                       "%s was truncated, or changed more often since than is noted, " NOTES_MAX
                       " times",
                       table->name);
    return whole ? DBK_OK : DBK_EREFUSED;
}

int dbk_pgview_is_behind(struct dbk_connection *connection, const char *view,
                         const struct dbk_relation *table, bool *behind_out, struct dbk_error *err)
{
    struct dbk_buf sql;
    char source[2 * DBK_VIEW_TABLE_SIZE_MAX];
    int64_t any = 0;
    source_of(table, source, sizeof(source));
    dbk_buf_init(&sql, DBK_PGVIEW_SQL_SIZE_MAX);
    dbk_buf_append_text(&sql, "SELECT count(*) FROM _daybook_cursors AS c WHERE c.view = ");
    dbk_pgview_text(&sql, view);
    dbk_buf_append_text(&sql, " AND c.source = ");
    dbk_pgview_text(&sql, source);
    dbk_buf_append_text(&sql, " AND EXISTS (SELECT 1 FROM ");
    append_log(&sql, table, "changes");
    dbk_buf_append_text(&sql, " AS n WHERE NOT txid_visible_in_snapshot(n._daybook_xid, "
                              "c.seen::txid_snapshot))");
    dbk_buf_append_char(&sql, '\0');
    int rc = sql.rc < 0 ? dbk_error_set(err, sql.rc, "%s", dbk_code_text(sql.rc))
                        : dbk_view_integer(connection, sql.data, NULL, &any, err);
    dbk_buf_release(&sql);
    *behind_out = any != 0;
    return rc;
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
    append_log(sql, table, "changes");
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
    source_of(table, source, sizeof(source));
    dbk_buf_append_format(sql, "INSERT INTO pg_temp.l%zu SELECT DISTINCT ON (", table->number);
    for (size_t i = 0; i < table->row_count; i++)
        dbk_buf_append_format(sql, "%sn.%s", i > 0 ? ", " : "", table->rows[i]);
    dbk_buf_append_text(sql, ") n._daybook_had");
    dbk_pgview_columns(sql, table, "n.");
    dbk_buf_append_text(sql, " FROM ");
    append_log(sql, table, "changes");
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
    source_of(table, source, sizeof(source));
    dbk_buf_init(&sql, DBK_PGVIEW_SQL_SIZE_MAX);
    dbk_buf_append_text(&sql, "DELETE FROM ");
    append_log(&sql, table, "changes");
    dbk_buf_append_text(&sql, " WHERE _daybook_xid < (SELECT "
                              "min(txid_snapshot_xmin(seen::txid_snapshot)) FROM _daybook_cursors "
                              "WHERE source = ");
    dbk_pgview_text(&sql, source);
    dbk_buf_append_text(&sql, "); SELECT setval(");
    {
        char floor[2 * DBK_VIEW_TABLE_SIZE_MAX];
        struct dbk_buf name;
        log_name(table, "floor", floor, sizeof(floor));
        dbk_buf_init(&name, DBK_PGVIEW_SQL_SIZE_MAX);
        dbk_emit_name(&name, floor);
        dbk_buf_append_char(&name, '\0');
        dbk_pgview_text(&sql, name.data == NULL ? "" : name.data);
        dbk_buf_release(&name);
    }
    dbk_buf_append_text(&sql, ", coalesce((SELECT min(_daybook_seq) FROM ");
    append_log(&sql, table, "changes");
    dbk_buf_append_text(&sql, "), (SELECT last_value FROM ");
    append_log(&sql, table, "seq");
    dbk_buf_append_text(&sql, ")))");
    int rc = dbk_pgview_run(connection, &sql, err);
    dbk_buf_release(&sql);
    return rc;
}

int dbk_pgview_end_logs(struct dbk_connection *connection, struct dbk_error *err)
{
    static const char prefix[] = "_daybook_changes_";
    struct dbk_statement *statement = NULL;
    struct dbk_buf sql;
    dbk_buf_init(&sql, DBK_PGVIEW_SQL_SIZE_MAX);
    int rc = dbk_statement_open(
        connection,
        DBK_SLICE_LITERAL("SELECT c.relname::text FROM pg_class AS c WHERE c.relkind = 'r' AND "
                          "c.relnamespace = to_regnamespace(quote_ident(current_schema())) AND "
                          "left(c.relname, 17) = '_daybook_changes_' AND NOT EXISTS (SELECT 1 "
                          "FROM _daybook_cursors AS k WHERE k.log = c.oid)"),
        &statement, NULL, err);
    while (rc >= 0 && (rc = dbk_statement_step(statement, err)) == 1) {
        char note[2 * DBK_VIEW_TABLE_SIZE_MAX];
        char changes[2 * DBK_VIEW_TABLE_SIZE_MAX];
        struct dbk_slice name = dbk_statement_column(statement, 0).bytes;
        (void)snprintf(changes, sizeof(changes), "%.*s", DBK_SLICE_ARGS(name));
        (void)snprintf(note, sizeof(note), "_daybook_note_%s", changes + sizeof(prefix) - 1);
        append_end_of(&sql, note, changes);
    }
    dbk_statement_free(statement);
    if (rc == DBK_OK && sql.size > 0) {
        struct dbk_error failure = {0};
        rc = dbk_connection_begin(connection, DBK_BEGIN_WRITE, err);
        if (rc == DBK_OK)
            rc = dbk_connection_run(connection, "SET LOCAL lock_timeout = '100ms'", err);
        if (rc == DBK_OK)
            rc = dbk_pgview_run(connection, &sql, &failure);
        rc = dbk_view_end_transaction(connection, rc, &failure);
        rc = rc == DBK_EBUSY ? DBK_OK : rc; /* Somebody has the table: another time. */
        if (rc < 0)
            (void)dbk_error_set(err, rc, "%s", failure.message);
    }
    dbk_buf_release(&sql);
    return rc < 0 ? rc : DBK_OK;
}
