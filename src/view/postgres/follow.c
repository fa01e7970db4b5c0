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

/*
 * How long a table's lock is waited for: writers queue behind who waits, and with a lock on another
 * table held meanwhile, one of them would be ended as in a deadlock after a second.
 */
#define LOCK_WAIT "100ms"
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

void dbk_pgview_source(const struct dbk_relation *table, char *text, size_t size)
{
    (void)snprintf(text, size, "%s.%s", table->schema, table->table);
}

/* So that PostgreSQL does not cut what stands behind "_daybook_<what>_"; no character in two. */
static void cut_name(char *name)
{
    struct dbk_sha256 hash;
    uint8_t digest[DBK_SHA256_SIZE];
    size_t end = NAME_SIZE_MAX - 9;
    if (strlen(name) <= NAME_SIZE_MAX)
        return;
    while (end > 0 && ((unsigned char)name[end] & 0xC0) == 0x80)
        end--;
    dbk_sha256_init(&hash);
    dbk_sha256_update(&hash, dbk_slice_of(name));
    dbk_sha256_final(&hash, digest);
    (void)snprintf(name + end, 10, "_%02x%02x%02x%02x", digest[0], digest[1], digest[2], digest[3]);
}

/* `_daybook_<what>_<schema>.<table>` */
void dbk_pgview_log_name(const struct dbk_relation *table, const char *what, char *text,
                         size_t size)
{
    char source[2 * DBK_VIEW_TABLE_SIZE_MAX];
    dbk_pgview_source(table, source, sizeof(source));
    cut_name(source);
    (void)snprintf(text, size, "_daybook_%s_%s", what, source);
}

void dbk_pgview_log(struct dbk_buf *out, const struct dbk_relation *table, const char *what)
{
    char name[2 * DBK_VIEW_TABLE_SIZE_MAX];
    dbk_pgview_log_name(table, what, name, sizeof(name));
    dbk_emit_name(out, name);
}

/* ---- Following ---- */

/*
 * Whether the notes are of the table as it is, and all triggers are there as they were made. One
 * that was disabled has been written since, by another transaction than its function, also when it
 * is enabled again: nobody knows what went unnoted meanwhile.
 */
static int is_followed(struct dbk_connection *connection, const struct dbk_relation *table,
                       bool *there_out, bool *current_out, struct dbk_error *err)
{
    struct dbk_buf sql;
    struct dbk_statement *statement = NULL;
    char name[2 * DBK_VIEW_TABLE_SIZE_MAX];
    dbk_pgview_log_name(table, "changes", name, sizeof(name));
    dbk_buf_init(&sql, DBK_PGVIEW_SQL_SIZE_MAX);
    dbk_buf_append_text(&sql, "SELECT c.oid, obj_description(c.oid, 'pg_class'), (SELECT count(*) "
                              "FROM pg_trigger AS t JOIN pg_proc AS p ON p.oid = t.tgfoid WHERE "
                              "t.tgrelid = to_regclass(?2) AND p.pronamespace = c.relnamespace AND "
                              "p.proname = ?3 AND t.tgenabled <> 'D' AND t.xmin = p.xmin) FROM "
                              "pg_class AS c WHERE c.relname = ?1 AND c.relnamespace = "
                              "to_regnamespace(quote_ident(current_schema()))");
    int rc = dbk_statement_open(connection, dbk_buf_slice(&sql), &statement, NULL, err);
    dbk_buf_reset(&sql);
    if (rc == DBK_OK) {
        char function[2 * DBK_VIEW_TABLE_SIZE_MAX];
        dbk_emit_table(&sql, table);
        dbk_pgview_log_name(table, "note", function, sizeof(function));
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
    dbk_pgview_log_name(table, "note", note, sizeof(note));
    dbk_pgview_log_name(table, "changes", changes, sizeof(changes));
    append_end_of(sql, note, changes);
}

/* Of a row that came only the key is noted: a domain would not let the rest be NULL. */
static void append_base_types(struct dbk_buf *sql, const struct dbk_relation *table)
{
    struct dbk_buf name;
    dbk_buf_init(&name, DBK_PGVIEW_SQL_SIZE_MAX);
    dbk_pgview_log(&name, table, "changes");
    dbk_buf_append_char(&name, '\0');
    dbk_buf_append_text(sql, "DO $daybook$ DECLARE c record; BEGIN LOOP FOR c IN SELECT a.attname, "
                             "format_type(t.typbasetype, t.typtypmod) AS base FROM pg_attribute AS "
                             "a JOIN pg_type AS t ON t.oid = a.atttypid WHERE a.attrelid = "
                             "to_regclass(");
    dbk_pgview_text(sql, name.rc < 0 ? "" : name.data);
    dbk_buf_append_text(sql, ") AND a.attnum > 0 AND t.typtype = 'd' LOOP EXECUTE format('ALTER "
                             "TABLE %s ALTER %I TYPE %s', ");
    dbk_pgview_text(sql, name.rc < 0 ? "" : name.data);
    dbk_buf_append_text(sql, ", c.attname, c.base); END LOOP; EXIT WHEN NOT FOUND; END LOOP; END "
                             "$daybook$; ");
    dbk_buf_release(&name);
}

static void append_table(struct dbk_buf *sql, const struct dbk_relation *table)
{
    dbk_buf_append_text(sql, "CREATE TABLE ");
    dbk_pgview_log(sql, table, "changes");
    dbk_buf_append_text(sql, " AS SELECT 0::bigint AS _daybook_seq, 0::bigint AS _daybook_xid, "
                             "0::smallint AS _daybook_had");
    dbk_pgview_columns(sql, table, "");
    dbk_buf_append_text(sql, " FROM ");
    dbk_emit_table(sql, table);
    dbk_buf_append_text(sql, " WITH NO DATA; ");
    append_base_types(sql, table);
    static const char *const sequences[] = {"seq", "floor", "lost"};
    for (size_t i = 0; i < sizeof(sequences) / sizeof(sequences[0]); i++) {
        dbk_buf_append_text(sql, "CREATE SEQUENCE ");
        dbk_pgview_log(sql, table, sequences[i]);
        dbk_buf_append_text(sql, " OWNED BY ");
        dbk_pgview_log(sql, table, "changes");
        dbk_buf_append_text(sql, "._daybook_seq; ");
    }
    dbk_buf_append_text(sql, "CREATE INDEX ON ");
    dbk_pgview_log(sql, table, "changes");
    dbk_buf_append_text(sql, " (_daybook_xid); COMMENT ON TABLE ");
    dbk_pgview_log(sql, table, "changes");
    dbk_buf_append_text(sql, " IS ");
    dbk_pgview_text(sql, table->signature);
    dbk_buf_append_text(sql, "; ");
}

static void append_here(struct dbk_buf *sql, const char *schema, const struct dbk_relation *table,
                        const char *what)
{
    dbk_buf_append_text(sql, schema);
    dbk_buf_append_char(sql, '.');
    dbk_pgview_log(sql, table, what);
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

/*
 * Whether a statement on the table is under way that has called what writes the table now: an AFTER
 * trigger of its own is among the callers. The outer statement's note, of the row as it was before
 * both, comes after the inner one's then, and the first would not be the one that counts.
 */
#define IS_INSIDE                                                                                  \
    "EXISTS (SELECT 1 FROM pg_trigger AS t JOIN pg_proc AS p ON p.oid = t.tgfoid WHERE t.tgrelid " \
    "= TG_RELID AND NOT t.tgisinternal AND (t.tgtype & 2) = 0 AND left(t.tgname::text, 9) <> "     \
    "'_daybook_' AND strpos(_daybook_calls, quote_ident(p.proname::text) || '()') > 0)"

/*
 * Whether a change of keys comes round to the table by foreign keys: what is changed by them is in
 * the same tables of old and new rows, and a row that was changed twice there twice.
 */
#define IS_ROUND                                                                                   \
    "EXISTS (SELECT 1 FROM pg_constraint AS k WHERE k.contype = 'f' AND k.conrelid = TG_RELID "    \
    "AND k.confupdtype IN ('c', 'n', 'd')) AND EXISTS (SELECT 1 FROM pg_constraint AS k WHERE "    \
    "k.contype = 'f' AND k.confrelid = TG_RELID AND k.confupdtype IN ('c', 'n', 'd'))"

/*
 * Whether one deletion elsewhere may change rows of the table by a foreign key and delete them by
 * another. Which trigger comes first, that of the changes or of the deletions, goes by the keys'
 * order, and a deletion's old row is not what was there before both.
 */
#define IS_ENDED                                                                                   \
    "EXISTS (SELECT 1 FROM pg_constraint AS k WHERE k.contype = 'f' AND k.conrelid = TG_RELID "    \
    "AND k.confdeltype = 'c') AND EXISTS (SELECT 1 FROM pg_constraint AS k WHERE k.contype = 'f' " \
    "AND k.conrelid = TG_RELID AND (k.confdeltype IN ('n', 'd') OR k.confupdtype IN ('c', 'n', "   \
    "'d')))"

/* schema: in quotes, where its tables lie. */
static void append_function(struct dbk_buf *sql, const char *schema,
                            const struct dbk_relation *table)
{
    dbk_buf_append_text(sql, "CREATE FUNCTION ");
    append_here(sql, schema, table, "note");
    dbk_buf_append_text(sql, "() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path "
                             "= pg_catalog, pg_temp AS $daybook$ DECLARE _daybook_calls text; "
                             "BEGIN IF pg_trigger_depth() > 1 THEN GET DIAGNOSTICS _daybook_calls "
                             "= PG_CONTEXT; IF " IS_INSIDE " THEN PERFORM ");
    append_nextval(sql, schema, table, "lost");
    dbk_buf_append_text(sql, "; RETURN NULL; END IF; END IF; IF (SELECT s.last_value - "
                             "f.last_value FROM ");
    append_here(sql, schema, table, "seq");
    dbk_buf_append_text(sql, " AS s, ");
    append_here(sql, schema, table, "floor");
    dbk_buf_append_text(sql,
                        " AS f) > " DBK_PGVIEW_NOTES_MAX " OR TG_OP = 'TRUNCATE' THEN PERFORM ");
    append_nextval(sql, schema, table, "lost");
    dbk_buf_append_text(sql, "; ELSIF TG_OP = 'INSERT' THEN ");
    append_note(sql, schema, table, false);
    dbk_buf_append_text(sql, "; ELSIF TG_OP = 'DELETE' THEN ");
    append_note(sql, schema, table, true);
    dbk_buf_append_text(sql, "; ELSIF " IS_ROUND " AND (EXISTS (SELECT 1 FROM _daybook_old AS o "
                             "WHERE NOT EXISTS (SELECT 1 FROM _daybook_new AS n WHERE ");
    append_same_key(sql, table, "o.", "n.");
    dbk_buf_append_text(sql, ")) OR EXISTS (SELECT count(*)");
    append_key(sql, table, "n.");
    dbk_buf_append_text(sql, " FROM _daybook_new AS n GROUP BY TG_OP");
    append_key(sql, table, "n.");
    dbk_buf_append_text(sql, " HAVING count(*) > 1)) THEN PERFORM ");
    append_nextval(sql, schema, table, "lost");
    dbk_buf_append_text(sql, "; ELSIF " IS_ENDED " AND EXISTS (SELECT 1 FROM _daybook_new AS n "
                             "WHERE NOT EXISTS (SELECT 1 FROM ");
    dbk_emit_table(sql, table);
    dbk_buf_append_text(sql, " AS t WHERE ");
    append_same_key(sql, table, "t.", "n.");
    dbk_buf_append_text(sql, ")) THEN PERFORM ");
    append_nextval(sql, schema, table, "lost");
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

/* `_daybook_<what>_<where the notes lie>`: others may follow the same table from their schema. */
static void append_trigger_name(struct dbk_buf *sql, const char *schema, const char *what)
{
    char behind[2 * DBK_VIEW_TABLE_SIZE_MAX];
    char name[2 * DBK_VIEW_TABLE_SIZE_MAX + 24];
    (void)snprintf(behind, sizeof(behind), "%s", schema);
    cut_name(behind);
    (void)snprintf(name, sizeof(name), "_daybook_%s_%s", what, behind);
    dbk_emit_name(sql, name);
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
        append_trigger_name(sql, schema, triggers[i].name);
        dbk_buf_append_format(sql, " AFTER %s ON ", triggers[i].when);
        dbk_emit_table(sql, table);
        dbk_buf_append_text(sql, triggers[i].tables);
        dbk_buf_append_text(sql, " FOR EACH STATEMENT EXECUTE FUNCTION ");
        append_here(sql, schema, table, "note");
        dbk_buf_append_text(sql, "(); ");
        if (!owned)
            continue;
        /* Also of what is written with session_replication_role = replica. */
        dbk_buf_append_text(sql, "ALTER TABLE ");
        dbk_emit_table(sql, table);
        dbk_buf_append_text(sql, " ENABLE ALWAYS TRIGGER ");
        append_trigger_name(sql, schema, triggers[i].name);
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

/* Nobody else makes a trigger of it on a table of theirs, and notes what never was. Who fires one
   needs no right to it. */
static void append_revoke(struct dbk_buf *sql, const char *schema, const struct dbk_relation *table)
{
    dbk_buf_append_text(sql, "REVOKE ALL ON FUNCTION ");
    append_here(sql, schema, table, "note");
    dbk_buf_append_text(sql, "() FROM PUBLIC; ");
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
    append_revoke(&sql, rights.schema, table);
    append_triggers(&sql, rights.schema, table, rights.owned);
    rc = dbk_pgview_run(connection, &sql, err);
    dbk_buf_release(&sql);
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
            rc = dbk_pgview_hold(connection, view, table, err);
    }
    return rc;
}

/* 1: the transaction has made it; 0: it has not, and holds it for the view, or nobody does. */
static int is_made(struct dbk_connection *connection, const char *view,
                   const struct dbk_relation *table, bool *held_out, struct dbk_error *err)
{
    char source[2 * DBK_VIEW_TABLE_SIZE_MAX];
    struct dbk_buf name;
    struct dbk_statement *statement = NULL;
    dbk_pgview_source(table, source, sizeof(source));
    dbk_buf_init(&name, DBK_PGVIEW_SQL_SIZE_MAX);
    dbk_emit_table(&name, table);
    const struct dbk_value values[] = {{.kind = DBK_VALUE_TEXT, .bytes = dbk_buf_slice(&name)},
                                       {.kind = DBK_VALUE_TEXT, .bytes = dbk_slice_of(view)},
                                       {.kind = DBK_VALUE_TEXT, .bytes = dbk_slice_of(source)}};
    int rc = dbk_statement_open(
        connection,
        DBK_SLICE_LITERAL(
            "SELECT (SELECT count(*) FROM pg_locks AS l JOIN pg_class AS c ON c.oid = l.relation "
            "WHERE l.pid = pg_backend_pid() AND l.mode = 'AccessExclusiveLock' AND c.oid = "
            "to_regclass(?1)), (SELECT count(*) FROM _daybook_cursors WHERE view = ?2 AND source "
            "= ?3 AND seen IS NULL)"),
        &statement, NULL, err);
    for (int i = 0; rc == DBK_OK && i < 3; i++)
        dbk_statement_bind(statement, i + 1, &values[i]);
    if (rc == DBK_OK)
        rc = dbk_statement_step(statement, err);
    if (rc == 1) {
        *held_out = dbk_statement_column(statement, 1).integer != 0;
        rc = dbk_statement_column(statement, 0).integer != 0;
    }
    dbk_statement_free(statement);
    dbk_buf_release(&name);
    return rc;
}

int dbk_pgview_follow_made(struct dbk_connection *connection, const char *view,
                           const struct dbk_algebra *tree, struct dbk_error *err)
{
    int rc = DBK_OK;
    for (size_t i = 0; rc >= 0 && i < tree->relation_count; i++) {
        const struct dbk_relation *table = tree->relations[i];
        bool there = false;
        bool current = false;
        bool held = false;
        if (table->kind != DBK_RELATION_TABLE)
            continue;
        rc = is_made(connection, view, table, &held, err);
        if (rc == 0 && !held)
            return dbk_error_set(err, DBK_EBUSY, "%s is not followed", table->name);
        if (rc != 1)
            continue;
        rc = is_followed(connection, table, &there, &current, err);
        if (rc == DBK_OK && !current)
            rc = make_log(connection, table, err);
        if (rc == DBK_OK)
            rc = dbk_pgview_hold(connection, view, table, err);
    }
    return rc < 0 ? rc : DBK_OK;
}

int dbk_pgview_look_at_triggers(struct dbk_connection *connection, const struct dbk_relation *table,
                                char *reason, size_t size, struct dbk_error *err)
{
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
    return DBK_OK;
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
