/* SPDX-License-Identifier: Apache-2.0 */
/* The triggers that write the journal: see sqlite.h. */
#include <inttypes.h>

#include "capture/sqlite.h"

#define SQL_SIZE_MAX ((size_t)1 << 20)
#define NOW_MS "CAST(round((julianday('now') - 2440587.5) * 86400000) AS INTEGER)"

/* ---- Triggers ---- */

static void put_trigger_name(const struct dbk_reader *reader, const char *which,
                             struct dbk_buf *sql)
{
    struct dbk_buf name;
    dbk_buf_init(&name, SQL_SIZE_MAX);
    dbk_buf_append_format(&name, "_daybook_%s_%s", reader->table->name, which);
    dbk_reader_put_name(sql, dbk_buf_slice(&name));
    dbk_buf_release(&name);
}

/* "INSERT INTO _daybook_journal (shape, op, at, v0, …" up to the values of columns. */
void dbk_journal_put_insert(const struct dbk_journal_table *table, char op, bool keys_only,
                            struct dbk_buf *sql)
{
    const struct dbk_reader *reader = &table->reader;
    size_t count = keys_only ? reader->key_count : reader->shape.count;
    dbk_buf_append_text(sql, "INSERT INTO _daybook_journal (shape,op,at");
    for (size_t i = 0; i < count; i++)
        dbk_buf_append_format(sql, ",v%zu", keys_only ? reader->keys[i] : i);
    dbk_buf_append_format(sql, ") SELECT %" PRId64 ",'%c'," NOW_MS, table->shape, op);
}

static void put_values(const struct dbk_reader *reader, const char *from, bool keys_only,
                       struct dbk_buf *sql)
{
    size_t count = keys_only ? reader->key_count : reader->shape.count;
    for (size_t i = 0; i < count; i++) {
        dbk_buf_append_format(sql, ",%s.", from);
        dbk_reader_put_name(sql, reader->columns[keys_only ? reader->keys[i] : i].name);
    }
}

/* The old key is another than the new, to the last letter. */
static void put_key_changed(const struct dbk_reader *reader, struct dbk_buf *sql)
{
    for (size_t i = 0; i < reader->key_count; i++) {
        struct dbk_slice name = reader->columns[reader->keys[i]].name;
        dbk_buf_append_text(sql, i == 0 ? " WHERE OLD." : " OR OLD.");
        dbk_reader_put_name(sql, name);
        dbk_buf_append_text(sql, " COLLATE BINARY IS NOT NEW.");
        dbk_reader_put_name(sql, name);
        dbk_buf_append_text(sql, " OR typeof(OLD.");
        dbk_reader_put_name(sql, name);
        dbk_buf_append_text(sql, ") <> typeof(NEW.");
        dbk_reader_put_name(sql, name);
        dbk_buf_append_char(sql, ')');
    }
}

static void put_head(const struct dbk_reader *reader, const char *which, const char *when,
                     struct dbk_buf *sql)
{
    dbk_buf_append_text(sql, "CREATE TRIGGER ");
    put_trigger_name(reader, which, sql);
    dbk_buf_append_format(sql, " %s ON ", when);
    dbk_reader_put_name(sql, dbk_slice_of(reader->table->name));
    dbk_buf_append_text(sql, " BEGIN ");
}

static void put_after(const struct dbk_journal_table *table, struct dbk_buf *sql)
{
    const struct dbk_reader *reader = &table->reader;
    put_head(reader, "insert", "AFTER INSERT", sql);
    dbk_journal_put_insert(table, 'i', false, sql);
    put_values(reader, "NEW", false, sql);
    dbk_buf_append_text(sql, "; END;");
    put_head(reader, "update", "AFTER UPDATE", sql);
    dbk_journal_put_insert(table, 'd', true, sql);
    put_values(reader, "OLD", true, sql);
    put_key_changed(reader, sql);
    dbk_buf_append_text(sql, "; ");
    dbk_journal_put_insert(table, 'u', false, sql);
    put_values(reader, "NEW", false, sql);
    dbk_buf_append_text(sql, "; END;");
    put_head(reader, "delete", "AFTER DELETE", sql);
    dbk_journal_put_insert(table, 'd', true, sql);
    put_values(reader, "OLD", true, sql);
    dbk_buf_append_text(sql, "; END;");
}

/* ---- Rows that REPLACE removes ---- */

/* Columns of the unique indexes: index, column (NULL: an expression), collation. The primary key
   is one of them where its collation takes other texts for equal. */
#define UNIQUE                                                                                     \
    "SELECT l.name, x.name, x.coll FROM pragma_index_list(?1) AS l, pragma_index_xinfo(l.name) "   \
    "AS x WHERE l.\"unique\" AND x.key AND (l.origin <> 'pk' OR EXISTS (SELECT 1 FROM "            \
    "pragma_index_xinfo(l.name) AS y WHERE y.key AND y.coll <> 'BINARY')) ORDER BY l.name, "       \
    "x.seqno"

static struct dbk_slice column_text(struct dbk_statement *statement, int column)
{
    struct dbk_value value = dbk_statement_column(statement, column);
    return value.kind == DBK_VALUE_TEXT ? value.bytes : (struct dbk_slice){0};
}

static void end_index(bool open, bool update, const struct dbk_buf *changed, struct dbk_buf *sql)
{
    if (open && update) {
        dbk_buf_append_text(sql, " AND (");
        dbk_buf_append(sql, dbk_buf_slice(changed));
        dbk_buf_append_char(sql, ')');
    }
    if (open)
        dbk_buf_append_text(sql, "; ");
}

/* A column of a unique index: the row that has the new row's value there may be about to go. */
static void put_unique(struct dbk_statement *statement, bool begins, struct dbk_buf *changed,
                       struct dbk_buf *sql)
{
    struct dbk_slice name = column_text(statement, 1);
    struct dbk_slice collation = column_text(statement, 2);
    struct dbk_buf test;
    dbk_buf_init(&test, SQL_SIZE_MAX);
    dbk_reader_put_name(&test, name);
    dbk_buf_append_text(sql, begins ? " WHERE t." : " AND t.");
    dbk_buf_append(sql, dbk_buf_slice(&test));
    dbk_buf_append_text(sql, " = NEW.");
    dbk_buf_append(sql, dbk_buf_slice(&test));
    dbk_buf_append_text(sql, " COLLATE ");
    dbk_reader_put_name(sql, collation);
    dbk_buf_append_text(changed, begins ? "NEW." : " OR NEW.");
    dbk_buf_append(changed, dbk_buf_slice(&test));
    dbk_buf_append_text(changed, " COLLATE BINARY IS NOT OLD.");
    dbk_buf_append(changed, dbk_buf_slice(&test));
    dbk_buf_release(&test);
}

/* The body of a trigger before an insert or update; nothing where no index asks for it. */
static int put_unique_rows(const struct dbk_journal_table *table, struct dbk_statement *statement,
                           bool update, struct dbk_buf *sql, struct dbk_error *err)
{
    const struct dbk_reader *reader = &table->reader;
    struct dbk_buf index;
    struct dbk_buf changed;
    bool open = false;
    int rc = DBK_OK;
    dbk_buf_init(&index, SQL_SIZE_MAX);
    dbk_buf_init(&changed, SQL_SIZE_MAX);
    while ((rc = dbk_statement_step(statement, err)) == 1) {
        bool begins = !open || !dbk_slice_equal(dbk_buf_slice(&index), column_text(statement, 0));
        if (column_text(statement, 1).size == 0) {
            rc = dbk_reader_fault(reader, DBK_EINVAL, "has a unique index on an expression",
                                  "REPLACE removes rows by it that no trigger sees; capture it by "
                                  "`polling`, or index a generated column",
                                  err);
            break;
        }
        if (begins) {
            end_index(open, update, &changed, sql);
            dbk_buf_reset(&index);
            dbk_buf_reset(&changed);
            dbk_buf_append(&index, column_text(statement, 0));
            dbk_journal_put_insert(table, 'm', true, sql);
            put_values(reader, "t", true, sql);
            dbk_buf_append_text(sql, " FROM ");
            dbk_reader_put_name(sql, dbk_slice_of(reader->table->name));
            dbk_buf_append_text(sql, " AS t");
            open = true;
        }
        put_unique(statement, begins, &changed, sql);
    }
    if (rc == 0)
        end_index(open, update, &changed, sql);
    dbk_statement_reset(statement);
    dbk_buf_release(&index);
    dbk_buf_release(&changed);
    return rc;
}

static int put_before(struct dbk_journal *journal, const struct dbk_journal_table *table,
                      struct dbk_buf *sql, struct dbk_error *err)
{
    static const char *const names[] = {"before", "before_update"};
    static const char *const when[] = {"BEFORE INSERT", "BEFORE UPDATE"};
    const struct dbk_value name = {.kind = DBK_VALUE_TEXT,
                                   .bytes = dbk_slice_of(table->reader.table->name)};
    struct dbk_statement *statement = NULL;
    int rc =
        dbk_statement_open(journal->connection, DBK_SLICE_LITERAL(UNIQUE), &statement, NULL, err);
    for (int i = 0; i < 2 && rc == DBK_OK; i++) {
        struct dbk_buf body;
        dbk_buf_init(&body, SQL_SIZE_MAX);
        dbk_statement_bind(statement, 1, &name);
        rc = put_unique_rows(table, statement, i == 1, &body, err);
        if (rc == DBK_OK && body.size > 0) {
            put_head(&table->reader, names[i], when[i], sql);
            dbk_buf_append(sql, dbk_buf_slice(&body));
            dbk_buf_append_text(sql, "END;");
        }
        dbk_buf_release(&body);
    }
    dbk_statement_free(statement);
    return rc;
}

int dbk_journal_put_triggers(struct dbk_journal *journal, const struct dbk_journal_table *table,
                             struct dbk_buf *sql, struct dbk_error *err)
{
    static const char *const names[] = {"insert", "update", "delete", "before", "before_update"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        dbk_buf_append_text(sql, "DROP TRIGGER IF EXISTS main.");
        put_trigger_name(&table->reader, names[i], sql);
        dbk_buf_append_char(sql, ';');
    }
    put_after(table, sql);
    return put_before(journal, table, sql, err);
}
