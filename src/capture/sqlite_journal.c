/* SPDX-License-Identifier: Apache-2.0 */
/* The journal and the triggers that write it: see sqlite.h. */
#include <inttypes.h>
#include <stdio.h>

#include "base/uuid.h"
#include "capture/sqlite.h"

#define SQL_SIZE_MAX ((size_t)1 << 20)
#define NAMES_SIZE_MAX ((size_t)16 << 20)
/* The journal's own columns come with those of a table, and SQLite has at most 2,000. */
#define WIDTH_MAX 1990

static int no_memory(const struct dbk_journal *journal, struct dbk_error *err)
{
    return dbk_error_set(err, DBK_ENOMEM, "out of memory capturing %s",
                         journal->options.service->name);
}

/* ---- Asking ---- */

static int ask(struct dbk_connection *connection, const char *sql, struct dbk_arena *arena,
               struct dbk_value *value_out, struct dbk_error *err)
{
    struct dbk_statement *statement = NULL;
    *value_out = (struct dbk_value){.kind = DBK_VALUE_NULL};
    int rc = dbk_statement_open(connection, dbk_slice_of(sql), &statement, NULL, err);
    if (rc == DBK_OK)
        rc = dbk_statement_step(statement, err);
    if (rc == 1)
        *value_out = dbk_statement_column(statement, 0);
    if (rc == 1 && value_out->kind == DBK_VALUE_TEXT) {
        value_out->bytes =
            arena == NULL ? (struct dbk_slice){0} : dbk_arena_copy(arena, value_out->bytes);
        if (arena != NULL && value_out->bytes.data == NULL)
            rc = dbk_error_set(err, DBK_ENOMEM, "out of memory");
    }
    dbk_statement_free(statement);
    return rc < 0 ? rc : DBK_OK;
}

int dbk_journal_number(struct dbk_connection *connection, const char *sql, int64_t *number_out,
                       struct dbk_error *err)
{
    struct dbk_value value;
    int rc = ask(connection, sql, NULL, &value, err);
    *number_out = rc == DBK_OK && value.kind == DBK_VALUE_INTEGER ? value.integer : 0;
    return rc;
}

int dbk_journal_text(struct dbk_connection *connection, const char *sql, struct dbk_arena *arena,
                     struct dbk_slice *text_out, struct dbk_error *err)
{
    struct dbk_value value;
    int rc = ask(connection, sql, arena, &value, err);
    *text_out = rc == DBK_OK && value.kind == DBK_VALUE_TEXT ? value.bytes : (struct dbk_slice){0};
    return rc;
}

static int run(struct dbk_journal *journal, struct dbk_buf *sql, struct dbk_error *err)
{
    dbk_buf_append_char(sql, '\0');
    return sql->rc < 0 ? no_memory(journal, err)
                       : dbk_connection_run(journal->connection, sql->data, err);
}

/* ---- Shapes ---- */

static int add_shape(struct dbk_journal *journal, struct dbk_journal_shape **shape_out,
                     struct dbk_error *err)
{
    if (journal->shape_count == journal->shape_capacity) {
        size_t capacity = journal->shape_capacity == 0 ? 16 : journal->shape_capacity * 2;
        struct dbk_journal_shape *shapes =
            dbk_realloc(journal->shapes, capacity * sizeof(*journal->shapes));
        if (shapes == NULL)
            return no_memory(journal, err);
        journal->shapes = shapes;
        journal->shape_capacity = capacity;
    }
    *shape_out = &journal->shapes[journal->shape_count];
    **shape_out = (struct dbk_journal_shape){0};
    dbk_arena_init(&(*shape_out)->arena, NAMES_SIZE_MAX);
    return DBK_OK;
}

static int take_columns(struct dbk_journal_shape *shape, struct dbk_statement *statement,
                        struct dbk_error *err)
{
    struct dbk_slice *names = dbk_arena_alloc_zero(&shape->arena, WIDTH_MAX, sizeof(*names));
    int rc = names == NULL ? dbk_error_set(err, DBK_ENOMEM, "out of memory") : 1;
    while (rc == 1 && (rc = dbk_statement_step(statement, err)) == 1) {
        struct dbk_value name = dbk_statement_column(statement, 0);
        struct dbk_value key = dbk_statement_column(statement, 1);
        if (name.kind != DBK_VALUE_TEXT || key.kind != DBK_VALUE_INTEGER || key.integer < 0 ||
            key.integer > DBK_READER_KEYS_MAX || shape->shape.count == WIDTH_MAX)
            return dbk_error_set(err, DBK_ECORRUPT,
                                 "_daybook_columns does not say what a table is");
        names[shape->shape.count] = dbk_arena_copy(&shape->arena, name.bytes);
        if (names[shape->shape.count].data == NULL)
            return dbk_error_set(err, DBK_ENOMEM, "out of memory");
        if (key.integer > 0) {
            shape->keys[key.integer - 1] = shape->shape.count;
            shape->key_count++;
        }
        shape->shape.count++;
    }
    shape->shape.names = names;
    return rc;
}

static struct dbk_journal_table *table_named(struct dbk_journal *journal, struct dbk_slice name)
{
    for (size_t i = 0; i < journal->table_count; i++) {
        if (journal->tables[i].captured &&
            dbk_slice_equal_text(name, journal->tables[i].reader.table->name))
            return &journal->tables[i];
    }
    return NULL;
}

static int load_shape(struct dbk_journal *journal, struct dbk_journal_shape *shape,
                      struct dbk_error *err)
{
    char sql[160];
    struct dbk_slice name;
    struct dbk_statement *statement = NULL;
    (void)snprintf(sql, sizeof(sql), "SELECT name FROM main._daybook_shapes WHERE id = %" PRId64,
                   shape->id);
    int rc = dbk_journal_text(journal->connection, sql, &shape->arena, &name, err);
    if (rc < 0)
        return rc;
    (void)snprintf(sql, sizeof(sql),
                   "SELECT name, key FROM main._daybook_columns WHERE shape = %" PRId64
                   " ORDER BY place",
                   shape->id);
    rc = dbk_statement_open(journal->connection, dbk_slice_of(sql), &statement, NULL, err);
    if (rc == DBK_OK)
        rc = take_columns(shape, statement, err);
    dbk_statement_free(statement);
    shape->table = table_named(journal, name);
    shape->shape.number = ++journal->shape_number;
    return rc;
}

int dbk_journal_find_shape(struct dbk_journal *journal, int64_t id,
                           struct dbk_journal_shape **shape_out, struct dbk_error *err)
{
    for (size_t i = 0; i < journal->shape_count; i++) {
        *shape_out = &journal->shapes[i];
        if (journal->shapes[i].id == id)
            return DBK_OK;
    }
    int rc = add_shape(journal, shape_out, err);
    if (rc < 0)
        return rc;
    (*shape_out)->id = id;
    rc = load_shape(journal, *shape_out, err);
    if (rc < 0)
        dbk_arena_release(&(*shape_out)->arena);
    else
        journal->shape_count++;
    return rc;
}

static bool fits(const struct dbk_journal_shape *shape, const struct dbk_reader *reader)
{
    if (shape->shape.count != reader->shape.count || shape->key_count != reader->key_count)
        return false;
    for (size_t i = 0; i < shape->shape.count; i++) {
        if (!dbk_slice_equal(shape->shape.names[i], reader->columns[i].name))
            return false;
    }
    for (size_t i = 0; i < shape->key_count; i++) {
        if (shape->keys[i] != reader->keys[i])
            return false;
    }
    return true;
}

static int store_shape(struct dbk_journal *journal, struct dbk_journal_table *table,
                       struct dbk_error *err)
{
    const struct dbk_reader *reader = &table->reader;
    struct dbk_value name = {.kind = DBK_VALUE_TEXT, .bytes = dbk_slice_of(reader->table->name)};
    struct dbk_buf sql;
    dbk_buf_init(&sql, SQL_SIZE_MAX);
    dbk_buf_append_text(&sql, "INSERT INTO main._daybook_shapes (name) VALUES (");
    dbk_reader_put_literal(reader, &name, NULL, &sql);
    dbk_buf_append_text(&sql, ");");
    for (size_t i = 0; i < reader->shape.count; i++) {
        size_t place = 0;
        for (size_t j = 0; j < reader->key_count; j++)
            place = reader->keys[j] == i ? j + 1 : place;
        name.bytes = reader->columns[i].name;
        dbk_buf_append_format(&sql, "INSERT INTO main._daybook_columns SELECT max(id), %zu, ", i);
        dbk_reader_put_literal(reader, &name, NULL, &sql);
        dbk_buf_append_format(&sql, ", %zu FROM main._daybook_shapes;", place);
    }
    int rc = run(journal, &sql, err);
    dbk_buf_release(&sql);
    return rc < 0
               ? rc
               : dbk_journal_number(journal->connection, "SELECT max(id) FROM main._daybook_shapes",
                                    &table->shape, err);
}

/* ---- Making it ---- */

#define TABLES                                                                                     \
    "CREATE TABLE IF NOT EXISTS main._daybook_meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);"  \
    "CREATE TABLE IF NOT EXISTS main._daybook_shapes (id INTEGER PRIMARY KEY AUTOINCREMENT, name " \
    "TEXT NOT NULL);"                                                                              \
    "CREATE TABLE IF NOT EXISTS main._daybook_columns (shape INTEGER, place INTEGER, name TEXT, "  \
    "key INTEGER, PRIMARY KEY (shape, place));"                                                    \
    "CREATE TABLE IF NOT EXISTS main._daybook_journal (id INTEGER PRIMARY KEY AUTOINCREMENT, "     \
    "shape INTEGER NOT NULL, op TEXT NOT NULL, at INTEGER NOT NULL, v0);"

/* A new incarnation: what was captured before is told from it. */
static int begin_anew(struct dbk_journal *journal, struct dbk_error *err)
{
    struct dbk_os *os = journal->options.os;
    struct dbk_uuid uuid;
    struct dbk_buf sql;
    int rc = os->random(os, uuid.bytes, sizeof(uuid.bytes), err);
    if (rc == DBK_OK)
        rc = dbk_journal_number(journal->connection, DBK_JOURNAL_LAST, &journal->position, err);
    if (rc < 0)
        return rc;
    dbk_uuid_format(&uuid, journal->incarnation);
    journal->removed = journal->position;
    dbk_buf_init(&sql, SQL_SIZE_MAX);
    dbk_buf_append_format(&sql,
                          "DELETE FROM main._daybook_journal; DELETE FROM main._daybook_shapes; "
                          "DELETE FROM main._daybook_columns; INSERT OR REPLACE INTO "
                          "main._daybook_meta VALUES ('owner', '%s'), ('incarnation', '%s'), "
                          "('captured', '%" PRId64 "');",
                          journal->owner, journal->incarnation, journal->position);
    rc = run(journal, &sql, err);
    dbk_buf_release(&sql);
    return rc;
}

static int widen(struct dbk_journal *journal, size_t width, struct dbk_error *err)
{
    int rc = DBK_OK;
    while (journal->width < width && rc == DBK_OK) {
        char sql[80];
        (void)snprintf(sql, sizeof(sql), "ALTER TABLE main._daybook_journal ADD COLUMN v%zu",
                       journal->width);
        rc = dbk_connection_run(journal->connection, sql, err);
        journal->width++;
    }
    return rc;
}

/* What is known of a table: its last shape in the journal (0: none), and whether its triggers are
   there. */
static int look_back(struct dbk_journal *journal, const struct dbk_journal_table *table,
                     int64_t *shape_out, int64_t *triggers_out, struct dbk_error *err)
{
    const struct dbk_reader *reader = &table->reader;
    struct dbk_value name = {.kind = DBK_VALUE_TEXT, .bytes = dbk_slice_of(reader->table->name)};
    struct dbk_buf sql;
    dbk_buf_init(&sql, SQL_SIZE_MAX);
    dbk_buf_append_text(&sql,
                        "SELECT coalesce(max(id), 0) FROM main._daybook_shapes WHERE name = ");
    dbk_reader_put_literal(reader, &name, NULL, &sql);
    dbk_buf_append_char(&sql, '\0');
    int rc = sql.rc < 0 ? no_memory(journal, err)
                        : dbk_journal_number(journal->connection, sql.data, shape_out, err);
    dbk_buf_reset(&sql);
    dbk_buf_append_text(&sql, "WITH w(n) AS (SELECT ");
    dbk_reader_put_literal(reader, &name, NULL, &sql);
    dbk_buf_append_text(&sql, ") SELECT count(*) FROM w, main.sqlite_schema AS s WHERE s.type = "
                              "'trigger' AND s.tbl_name = n AND s.name IN "
                              "('_daybook_'||n||'_insert','_daybook_'||n||'_update',"
                              "'_daybook_'||n||'_delete')");
    dbk_buf_append_char(&sql, '\0');
    if (rc == DBK_OK)
        rc = sql.rc < 0 ? no_memory(journal, err)
                        : dbk_journal_number(journal->connection, sql.data, triggers_out, err);
    dbk_buf_release(&sql);
    return rc;
}

static void begin_snapshot(struct dbk_journal *journal, struct dbk_journal_table *table)
{
    table->phase = DBK_JOURNAL_READ;
    table->until = journal->options.last_position(journal->options.context);
    table->swept = 0;
    table->rows = 0;
    dbk_reader_place_reset(&table->cursor);
}

/* Rows that were changed before the triggers knew all columns are written into the journal as they
   are now. */
static int write_again(struct dbk_journal *journal, const struct dbk_journal_table *table,
                       const struct dbk_journal_shape *old, struct dbk_error *err)
{
    const struct dbk_reader *reader = &table->reader;
    struct dbk_buf sql;
    dbk_buf_init(&sql, SQL_SIZE_MAX);
    dbk_journal_put_insert(table, 'u', false, &sql);
    dbk_buf_append_char(&sql, ',');
    dbk_reader_put_columns(reader, &sql);
    dbk_buf_append_text(&sql, " FROM ");
    dbk_reader_put_table(reader, &sql);
    dbk_buf_append_text(&sql, " WHERE (");
    dbk_reader_put_key(reader, &sql);
    dbk_buf_append_text(&sql, ") IN (SELECT ");
    for (size_t i = 0; i < old->key_count; i++)
        dbk_buf_append_format(&sql, i == 0 ? "v%zu" : ",v%zu", old->keys[i]);
    dbk_buf_append_format(
        &sql, " FROM main._daybook_journal WHERE shape = %" PRId64 " AND id > %" PRId64 ")",
        old->id, journal->position);
    int rc = run(journal, &sql, err);
    dbk_buf_release(&sql);
    return rc;
}

static int make_table(struct dbk_journal *journal, struct dbk_journal_table *table, bool opening,
                      bool *lost_out, struct dbk_error *err)
{
    struct dbk_journal_shape *old = NULL;
    struct dbk_buf sql;
    int64_t last = 0;
    int64_t triggers = 0;
    int rc = dbk_reader_look(&table->reader, ++journal->shape_number, err);
    if (rc == DBK_OK && table->reader.shape.count > WIDTH_MAX)
        rc = dbk_reader_fault(&table->reader, DBK_ELIMIT, "has too many columns", "leave it out",
                              err);
    if (rc == DBK_OK)
        rc = look_back(journal, table, &last, &triggers, err);
    if (rc == DBK_OK && last > 0)
        rc = dbk_journal_find_shape(journal, last, &old, err);
    if (rc < 0)
        return rc;
    bool lost = last > 0 && triggers < 3;
    bool same = old != NULL && fits(old, &table->reader);
    if (lost && !opening)
        return dbk_error_set(err, DBK_EBUSY,
                             "the table %s was made anew, or its triggers were dropped: it is read "
                             "again",
                             table->reader.table->name);
    if (lost || table->phase == DBK_JOURNAL_NEW)
        begin_snapshot(journal, table);
    *lost_out = *lost_out || lost;
    table->shape = last;
    rc = widen(journal, table->reader.shape.count, err);
    if (rc == DBK_OK && !same)
        rc = store_shape(journal, table, err);
    if (rc == DBK_OK && old != NULL && !same && old->key_count == table->reader.key_count)
        rc = write_again(journal, table, old, err);
    if (rc < 0)
        return rc;
    dbk_buf_init(&sql, SQL_SIZE_MAX);
    rc = dbk_journal_put_triggers(journal, table, &sql, err);
    if (rc == DBK_OK)
        rc = run(journal, &sql, err);
    dbk_buf_release(&sql);
    return rc;
}

/* Triggers of tables that are not captured any more. */
static int drop_others(struct dbk_journal *journal, struct dbk_error *err)
{
    struct dbk_statement *statement = NULL;
    struct dbk_buf sql;
    dbk_buf_init(&sql, SQL_SIZE_MAX);
    int rc = dbk_statement_open(journal->connection,
                                DBK_SLICE_LITERAL("SELECT tbl_name, name FROM main.sqlite_schema "
                                                  "WHERE type = 'trigger' AND name GLOB "
                                                  "'_daybook_*'"),
                                &statement, NULL, err);
    while (rc >= 0 && (rc = dbk_statement_step(statement, err)) == 1) {
        struct dbk_value table = dbk_statement_column(statement, 0);
        struct dbk_value name = dbk_statement_column(statement, 1);
        if (table.kind != DBK_VALUE_TEXT || name.kind != DBK_VALUE_TEXT ||
            table_named(journal, table.bytes) != NULL)
            continue;
        dbk_buf_append_text(&sql, "DROP TRIGGER main.");
        dbk_reader_put_name(&sql, name.bytes);
        dbk_buf_append_char(&sql, ';');
    }
    dbk_statement_free(statement);
    if (rc == DBK_OK)
        rc = run(journal, &sql, err);
    dbk_buf_release(&sql);
    return rc;
}

static int make_all(struct dbk_journal *journal, enum dbk_journal_make how, struct dbk_error *err)
{
    bool lost = false;
    int64_t width = 0;
    int rc = dbk_connection_run(journal->connection, TABLES, err);
    if (rc == DBK_OK && how == DBK_JOURNAL_ANEW)
        rc = begin_anew(journal, err);
    if (rc == DBK_OK)
        rc = dbk_journal_number(journal->connection,
                                "SELECT count(*) - 4 FROM pragma_table_info('_daybook_journal')",
                                &width, err);
    journal->width = (size_t)width;
    for (size_t i = 0; i < journal->table_count && rc == DBK_OK; i++) {
        if (journal->tables[i].captured)
            rc = make_table(journal, &journal->tables[i], how != DBK_JOURNAL_RUNNING, &lost, err);
    }
    if (rc == DBK_OK)
        rc = drop_others(journal, err);
    if (rc == DBK_OK)
        rc = dbk_journal_number(journal->connection, "PRAGMA main.schema_version",
                                &journal->schema_version, err);
    if (rc == DBK_OK && lost && how == DBK_JOURNAL_OPENING) {
        /* With the triggers made again nothing would tell that there were none for a while. */
        struct dbk_buf state;
        dbk_buf_init(&state, SQL_SIZE_MAX);
        dbk_journal_put_state(journal, &state);
        rc = state.rc < 0
                 ? no_memory(journal, err)
                 : journal->options.note(journal->options.context, dbk_buf_slice(&state), err);
        dbk_buf_release(&state);
    }
    return rc;
}

int dbk_journal_make(struct dbk_journal *journal, enum dbk_journal_make how, struct dbk_error *err)
{
    dbk_statement_free(journal->rows);
    journal->rows = NULL;
    int rc = dbk_connection_begin(journal->connection, DBK_BEGIN_WRITE, err);
    if (rc < 0)
        return rc;
    rc = make_all(journal, how, err);
    if (rc == DBK_OK)
        rc = dbk_connection_run(journal->connection, "COMMIT", err);
    if (rc < 0 && dbk_connection_in_transaction(journal->connection))
        dbk_ignore(dbk_connection_run(journal->connection, "ROLLBACK", NULL));
    return rc;
}

int dbk_journal_remove(struct dbk_journal *journal, struct dbk_error *err)
{
    char sql[200];
    int64_t until = journal->stored;
    (void)snprintf(sql, sizeof(sql),
                   "DELETE FROM main._daybook_journal WHERE id <= %" PRId64
                   "; UPDATE main._daybook_meta SET value = '%" PRId64 "' WHERE name = 'captured'",
                   until, until);
    int rc = dbk_connection_begin(journal->connection, DBK_BEGIN_WRITE, err);
    if (rc == DBK_OK)
        rc = dbk_connection_run(journal->connection, sql, err);
    if (rc == DBK_OK)
        rc = dbk_connection_run(journal->connection, "COMMIT", err);
    if (rc == DBK_OK)
        journal->removed = until;
    else if (dbk_connection_in_transaction(journal->connection))
        dbk_ignore(dbk_connection_run(journal->connection, "ROLLBACK", NULL));
    return rc;
}
