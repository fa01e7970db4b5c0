/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/reader.h"

#include "base/base64.h"
#include "capture/value.h"

#define NAMES_SIZE_MAX ((size_t)16 << 20)
#define SQL_SIZE_MAX ((size_t)16 << 20)
#define VALUE_SIZE_MAX ((size_t)1 << 30)

static int no_memory(const struct dbk_reader *reader, struct dbk_error *err)
{
    return dbk_error_set(err, DBK_ENOMEM, "out of memory reading %s.%s", reader->service->name,
                         reader->table->name);
}

static bool is_postgres(const struct dbk_reader *reader)
{
    return dbk_connection_dialect(reader->connection) == DBK_DIALECT_POSTGRES;
}

int dbk_reader_fault(const struct dbk_reader *reader, int code, const char *what, const char *fix,
                     struct dbk_error *err)
{
    return dbk_error_set(err, code, "%s:%u:%u: the table `%s` %s: %s", reader->service->file,
                         reader->table->line, reader->table->column, reader->table->name, what,
                         fix);
}

void dbk_reader_init(struct dbk_reader *reader, struct dbk_connection *connection,
                     const struct dbk_capture_service *service, size_t index, struct dbk_json *json)
{
    *reader = (struct dbk_reader){.connection = connection,
                                  .service = service,
                                  .table = &service->tables[index],
                                  .index = index,
                                  .json = json};
    dbk_arena_init(&reader->arena, NAMES_SIZE_MAX);
}

void dbk_reader_release(struct dbk_reader *reader)
{
    dbk_arena_release(&reader->arena);
}

const struct dbk_reader_column *dbk_reader_column(const struct dbk_reader *reader,
                                                  struct dbk_slice name)
{
    for (size_t i = 0; i < reader->shape.count; i++) {
        if (dbk_slice_equal(reader->columns[i].name, name))
            return &reader->columns[i];
    }
    return NULL;
}

/* ---- The table ---- */

int dbk_reader_prepare(struct dbk_reader *reader, const struct dbk_buf *sql,
                       struct dbk_statement **statement_out, struct dbk_error *err)
{
    return sql->rc < 0 ? no_memory(reader, err)
                       : dbk_statement_open(reader->connection, dbk_buf_slice(sql), statement_out,
                                            NULL, err);
}

static uint64_t number_of(struct dbk_statement *statement, int column)
{
    struct dbk_value value = dbk_statement_column(statement, column);
    return value.kind == DBK_VALUE_INTEGER && value.integer > 0 ? (uint64_t)value.integer : 0;
}

static struct dbk_slice text_of(struct dbk_statement *statement, int column)
{
    struct dbk_value value = dbk_statement_column(statement, column);
    return value.kind == DBK_VALUE_TEXT ? value.bytes : (struct dbk_slice){0};
}

/* Columns of an answer: name, type, type's name, place in the key from 1 or 0, kind of the table,
   not null. */
static void put_look_sqlite(const struct dbk_reader *reader, struct dbk_buf *sql)
{
    struct dbk_value name = {.kind = DBK_VALUE_TEXT, .bytes = dbk_slice_of(reader->table->name)};
    dbk_buf_append_text(sql, "SELECT c.name, 0, c.type, c.pk, s.type, c.\"notnull\" FROM "
                             "sqlite_schema AS s, pragma_table_info(s.name) AS c WHERE s.type IN "
                             "('table','view') AND s.name = ");
    dbk_reader_put_literal(reader, &name, NULL, sql);
    dbk_buf_append_text(sql, " ORDER BY c.cid");
}

static void put_look_postgres(const struct dbk_reader *reader, struct dbk_buf *sql)
{
    struct dbk_value name = {.kind = DBK_VALUE_TEXT, .bytes = dbk_slice_of(reader->table->name)};
    dbk_buf_append_text(
        sql,
        "SELECT a.attname::text, CASE WHEN t.typtype = 'd' THEN (WITH RECURSIVE b AS (SELECT "
        "t.typbasetype AS oid UNION ALL SELECT p.typbasetype FROM b JOIN pg_type p ON p.oid = "
        "b.oid WHERE p.typtype = 'd') SELECT b.oid FROM b JOIN pg_type p ON p.oid = b.oid WHERE "
        "p.typtype <> 'd') ELSE t.oid END, format_type(a.atttypid, a.atttypmod), "
        "CASE WHEN array_position(i.indkey::int2[], a.attnum) < i.indnkeyatts THEN "
        "array_position(i.indkey::int2[], a.attnum) + 1 ELSE 0 END, c.relkind::text, "
        "a.attnotnull FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid JOIN pg_type t ON "
        "t.oid = a.atttypid LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary WHERE "
        "a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' AND c.oid = "
        "to_regclass(quote_ident(");
    dbk_reader_put_literal(reader, &name, "text", sql);
    dbk_buf_append_text(sql, ")) ORDER BY a.attnum");
}

static int take_column(struct dbk_reader *reader, struct dbk_statement *statement, size_t index,
                       struct dbk_error *err)
{
    struct dbk_reader_column *column = &reader->columns[index];
    struct dbk_slice *names = (struct dbk_slice *)(uintptr_t)reader->shape.names;
    column->name = dbk_arena_copy(&reader->arena, text_of(statement, 0));
    column->type = (uint32_t)number_of(statement, 1);
    column->type_name = dbk_arena_copy(&reader->arena, text_of(statement, 2)).data;
    column->nullable = number_of(statement, 5) == 0;
    names[index] = column->name;
    if (column->name.data == NULL || column->type_name == NULL)
        return no_memory(reader, err);
    uint64_t place = number_of(statement, 3);
    if (place > DBK_READER_KEYS_MAX)
        return dbk_reader_fault(reader, DBK_EINVAL, "has more than 32 columns in its primary key",
                                "leave it out", err);
    if (place > 0) {
        reader->keys[place - 1] = index;
        reader->key_count++;
    }
    return DBK_OK;
}

static int check_kind(const struct dbk_reader *reader, struct dbk_slice kind, struct dbk_error *err)
{
    if (dbk_slice_equal_text(kind, "table") || dbk_slice_equal_text(kind, "r") ||
        dbk_slice_equal_text(kind, "p"))
        return DBK_OK;
    return dbk_reader_fault(reader, DBK_EINVAL, "is a view or a foreign table",
                            "only tables have rows with a primary key", err);
}

#define COLUMNS_MAX 2000

static int take_columns(struct dbk_reader *reader, struct dbk_statement *statement,
                        struct dbk_error *err)
{
    size_t count = 0;
    int rc = DBK_OK;
    reader->columns = dbk_arena_alloc_zero(&reader->arena, COLUMNS_MAX, sizeof(*reader->columns));
    reader->shape.names =
        dbk_arena_alloc_zero(&reader->arena, COLUMNS_MAX, sizeof(*reader->shape.names));
    if (reader->columns == NULL || reader->shape.names == NULL)
        return no_memory(reader, err);
    while ((rc = dbk_statement_step(statement, err)) == 1) {
        rc = count == COLUMNS_MAX
                 ? dbk_reader_fault(reader, DBK_ELIMIT, "has too many columns", "leave it out", err)
                 : check_kind(reader, text_of(statement, 4), err);
        if (rc == DBK_OK)
            rc = take_column(reader, statement, count++, err);
        if (rc < 0)
            return rc;
    }
    reader->shape.count = count;
    if (rc < 0)
        return rc;
    if (count == 0)
        return dbk_reader_fault(reader, DBK_ENOTFOUND, "is not in the database",
                                is_postgres(reader)
                                    ? "create it, or put its schema into the user's search_path"
                                    : "create it, or leave it out",
                                err);
    return reader->key_count > 0 ? DBK_OK
                                 : dbk_reader_fault(reader, DBK_EINVAL, "has no primary key",
                                                    "it names the row's stream: give it one", err);
}

int dbk_reader_look(struct dbk_reader *reader, uint64_t shape, struct dbk_error *err)
{
    struct dbk_buf sql;
    struct dbk_statement *statement = NULL;
    dbk_arena_reset(&reader->arena);
    reader->key_count = 0;
    reader->shape = (struct dbk_change_shape){.number = shape};
    dbk_buf_init(&sql, SQL_SIZE_MAX);
    if (is_postgres(reader))
        put_look_postgres(reader, &sql);
    else
        put_look_sqlite(reader, &sql);
    int rc = dbk_reader_prepare(reader, &sql, &statement, err);
    dbk_buf_release(&sql);
    if (rc == DBK_OK)
        rc = take_columns(reader, statement, err);
    dbk_statement_free(statement);
    return rc;
}

/* ---- SQL text ---- */

static void put_quoted(struct dbk_buf *out, struct dbk_slice text, char quote)
{
    dbk_buf_append_char(out, quote);
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] == quote)
            dbk_buf_append_char(out, quote);
        dbk_buf_append_char(out, text.data[i]);
    }
    dbk_buf_append_char(out, quote);
}

void dbk_reader_put_name(struct dbk_buf *out, struct dbk_slice name)
{
    put_quoted(out, name, '"');
}

static void put_hex(struct dbk_buf *out, struct dbk_slice bytes)
{
    dbk_buf_append_text(out, "x'");
    for (size_t i = 0; i < bytes.size; i++)
        dbk_buf_append_format(out, "%02x", (unsigned)(unsigned char)bytes.data[i]);
    dbk_buf_append_char(out, '\'');
}

/* SQLite's text of a number that has no such literal. */
static void put_real(struct dbk_buf *out, double value)
{
    if (value > 1.7976931348623157e308)
        dbk_buf_append_text(out, "9e999");
    else if (value < -1.7976931348623157e308)
        dbk_buf_append_text(out, "-9e999");
    else
        dbk_buf_append_format(out, "%.17e", value);
}

void dbk_reader_put_literal(const struct dbk_reader *reader, const struct dbk_value *value,
                            const char *type, struct dbk_buf *out)
{
    char text[DBK_DECIMAL_TEXT_SIZE];
    switch (value->kind) {
    case DBK_VALUE_NULL:
        dbk_buf_append_text(out, "NULL");
        break;
    case DBK_VALUE_INTEGER:
        /* The least has no literal of its own. */
        if (value->integer == INT64_MIN)
            dbk_buf_append_text(out, "(-9223372036854775807-1)");
        else
            dbk_buf_append_format(out, "%lld", (long long)value->integer);
        break;
    case DBK_VALUE_REAL:
        put_real(out, value->real);
        break;
    case DBK_VALUE_DECIMAL:
        dbk_buf_append(out, dbk_slice(text, dbk_decimal_format(value->decimal, text)));
        break;
    case DBK_VALUE_TEXT:
        if (value->bytes.size > 0 && memchr(value->bytes.data, 0, value->bytes.size) != NULL) {
            dbk_buf_append_text(out, "CAST(");
            put_hex(out, value->bytes);
            dbk_buf_append_text(out, " AS TEXT)");
        } else
            put_quoted(out, value->bytes, '\'');
        break;
    case DBK_VALUE_BLOB:
        put_hex(out, value->bytes);
        break;
    }
    if (type != NULL && is_postgres(reader))
        dbk_buf_append_format(out, "::%s", type);
}

void dbk_reader_put_table(const struct dbk_reader *reader, struct dbk_buf *out)
{
    if (!is_postgres(reader))
        dbk_buf_append_text(out, "main.");
    dbk_reader_put_name(out, dbk_slice_of(reader->table->name));
}

void dbk_reader_put_plain(const struct dbk_reader *reader, struct dbk_slice name,
                          struct dbk_buf *out)
{
    if (!is_postgres(reader)) {
        dbk_reader_put_name(out, name);
        return;
    }
    /* As the type's output has it, which a cast to text is not for all of them. */
    dbk_buf_append_text(out, "CASE WHEN ");
    dbk_reader_put_name(out, name);
    dbk_buf_append_text(out, " IS NOT NULL THEN format('%s',");
    dbk_reader_put_name(out, name);
    dbk_buf_append_text(out, ") END");
}

void dbk_reader_put_columns(const struct dbk_reader *reader, struct dbk_buf *out)
{
    for (size_t i = 0; i < reader->shape.count; i++) {
        if (i > 0)
            dbk_buf_append_char(out, ',');
        dbk_reader_put_plain(reader, reader->columns[i].name, out);
    }
}

void dbk_reader_put_key(const struct dbk_reader *reader, struct dbk_buf *out)
{
    for (size_t i = 0; i < reader->key_count; i++) {
        if (i > 0)
            dbk_buf_append_char(out, ',');
        dbk_reader_put_name(out, reader->columns[reader->keys[i]].name);
    }
}

void dbk_reader_put_behind(const struct dbk_reader *reader, const struct dbk_reader_place *place,
                           struct dbk_buf *out)
{
    dbk_buf_append_char(out, '(');
    dbk_reader_put_key(reader, out);
    dbk_buf_append_text(out, ") > (");
    for (size_t i = 0; i < reader->key_count; i++) {
        if (i > 0)
            dbk_buf_append_char(out, ',');
        dbk_reader_put_literal(reader, &place->values[i],
                               reader->columns[reader->keys[i]].type_name, out);
    }
    dbk_buf_append_char(out, ')');
}

/* ---- Rows ---- */

static int keep(const struct dbk_buf *text, struct dbk_arena *arena, struct dbk_slice *text_out)
{
    *text_out = dbk_arena_copy(arena, dbk_buf_slice(text));
    return text->rc < 0 || text_out->data == NULL ? DBK_ENOMEM : DBK_OK;
}

static bool is_finite(double value)
{
    return value <= 1.7976931348623157e308 && value >= -1.7976931348623157e308;
}

/* A number's text; what JSON has no number for is a word. */
static int put_number(const struct dbk_value *value, struct dbk_arena *arena,
                      struct dbk_slice *text_out)
{
    struct dbk_buf text;
    dbk_buf_init(&text, DBK_DECIMAL_TEXT_SIZE);
    if (value->kind == DBK_VALUE_INTEGER)
        dbk_json_write_integer(&text, value->integer);
    else if (value->kind == DBK_VALUE_DECIMAL)
        dbk_json_write_decimal(&text, value->decimal);
    else if (is_finite(value->real))
        dbk_json_write_double(&text, value->real);
    else
        dbk_buf_append_text(&text, value->real > 0 ? "Infinity" : "-Infinity");
    int rc = keep(&text, arena, text_out);
    dbk_buf_release(&text);
    return rc;
}

static int put_base64(struct dbk_slice bytes, struct dbk_arena *arena, struct dbk_slice *text_out)
{
    struct dbk_buf text;
    dbk_buf_init(&text, VALUE_SIZE_MAX);
    dbk_base64_encode(bytes, &text);
    int rc = keep(&text, arena, text_out);
    dbk_buf_release(&text);
    return rc;
}

/* The text of a value that is not NULL. */
static int put_text(const struct dbk_value *value, struct dbk_arena *arena,
                    struct dbk_slice *text_out)
{
    if (value->kind == DBK_VALUE_BLOB)
        return put_base64(value->bytes, arena, text_out);
    if (value->kind != DBK_VALUE_TEXT)
        return put_number(value, arena, text_out);
    *text_out = dbk_arena_copy(arena, value->bytes);
    return text_out->data == NULL ? DBK_ENOMEM : DBK_OK;
}

bool dbk_reader_key_text(const struct dbk_value *value, struct dbk_arena *arena,
                         struct dbk_slice *text_out)
{
    return value->kind != DBK_VALUE_NULL && put_text(value, arena, text_out) == DBK_OK;
}

int dbk_reader_value(const struct dbk_reader *reader, const struct dbk_value *value, uint32_t type,
                     struct dbk_arena *arena, struct dbk_change_value *value_out,
                     struct dbk_error *err)
{
    *value_out = (struct dbk_change_value){.kind = DBK_CHANGE_NULL};
    if (value->kind == DBK_VALUE_NULL)
        return DBK_OK;
    int rc = put_text(value, arena, &value_out->text);
    if (rc < 0)
        return no_memory(reader, err);
    bool number = value->kind == DBK_VALUE_INTEGER || value->kind == DBK_VALUE_DECIMAL ||
                  (value->kind == DBK_VALUE_REAL && is_finite(value->real));
    value_out->kind = number ? DBK_CHANGE_JSON : DBK_CHANGE_TEXT;
    return is_postgres(reader) && value->kind == DBK_VALUE_TEXT
               ? dbk_change_value_of(type, value_out->text, arena, reader->json, value_out, err)
               : DBK_OK;
}

int dbk_reader_take(const struct dbk_reader *reader, struct dbk_statement *statement, int first,
                    struct dbk_arena *arena, struct dbk_change *change_out, struct dbk_error *err)
{
    struct dbk_slice *key = dbk_arena_alloc_zero(arena, reader->key_count + 1, sizeof(*key));
    struct dbk_change_value *values =
        dbk_arena_alloc_zero(arena, reader->shape.count + 1, sizeof(*values));
    if (key == NULL || values == NULL)
        return no_memory(reader, err);
    for (size_t i = 0; i < reader->shape.count; i++) {
        struct dbk_value value = dbk_statement_column(statement, first + (int)i);
        int rc = dbk_reader_value(reader, &value, reader->columns[i].type, arena, &values[i], err);
        if (rc < 0)
            return rc;
    }
    for (size_t i = 0; i < reader->key_count; i++) {
        struct dbk_value value = dbk_statement_column(statement, first + (int)reader->keys[i]);
        if (value.kind == DBK_VALUE_NULL)
            return dbk_reader_fault(reader, DBK_EINVAL, "has a row whose key is NULL",
                                    "give it one; it names the row's stream", err);
        if (!dbk_reader_key_text(&value, arena, &key[i]))
            return no_memory(reader, err);
    }
    *change_out = (struct dbk_change){.kind = DBK_CHANGE_ROW,
                                      .table = reader->index,
                                      .shape = &reader->shape,
                                      .values = values,
                                      .key = key,
                                      .key_count = reader->key_count};
    return DBK_OK;
}
