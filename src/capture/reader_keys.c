/* SPDX-License-Identifier: Apache-2.0 */
/* Keys that the book has and the table has not, and places in a table. */
#include <math.h>
#include <stdlib.h>

#include "base/base64.h"
#include "capture/reader.h"

#define NAMES_SIZE_MAX ((size_t)16 << 20)
#define SQL_SIZE_MAX ((size_t)64 << 20)
#define KEY_SIZE_MAX ((size_t)64 << 20)

static int no_memory(const struct dbk_reader *reader, struct dbk_error *err)
{
    return dbk_error_set(err, DBK_ENOMEM, "out of memory reading %s.%s", reader->service->name,
                         reader->table->name);
}

/* ---- PostgreSQL: all keys in one statement ---- */

static void put_keys(const struct dbk_reader *reader, const struct dbk_live_keys *keys,
                     struct dbk_buf *sql)
{
    for (size_t i = 0; i < keys->count; i++) {
        dbk_buf_append_format(sql, i == 0 ? "(%zu" : ",(%zu", i);
        for (size_t j = 0; j < reader->key_count; j++) {
            struct dbk_value part = {.kind = DBK_VALUE_TEXT,
                                     .bytes = keys->keys[i * keys->parts + j]};
            dbk_buf_append_char(sql, ',');
            dbk_reader_put_literal(reader, &part, reader->columns[reader->keys[j]].type_name, sql);
        }
        dbk_buf_append_char(sql, ')');
    }
}

/* By the text, which a collation may take for another's equal. */
static void put_same(const struct dbk_reader *reader, struct dbk_buf *sql)
{
    for (size_t j = 0; j < reader->key_count; j++) {
        struct dbk_slice name = reader->columns[reader->keys[j]].name;
        dbk_buf_append_text(sql, j == 0 ? "t." : " AND t.");
        dbk_reader_put_name(sql, name);
        dbk_buf_append_format(sql, " = k.k%zu AND format('%%s', t.", j);
        dbk_reader_put_name(sql, name);
        dbk_buf_append_format(sql, ") = format('%%s', k.k%zu)", j);
    }
}

static int find_gone_postgres(struct dbk_reader *reader, const struct dbk_live_keys *keys,
                              bool *gone, struct dbk_error *err)
{
    struct dbk_buf sql;
    struct dbk_statement *statement = NULL;
    dbk_buf_init(&sql, SQL_SIZE_MAX);
    dbk_buf_append_text(&sql, "SELECT k.i FROM (VALUES ");
    put_keys(reader, keys, &sql);
    dbk_buf_append_text(&sql, ") AS k (i");
    for (size_t j = 0; j < reader->key_count; j++)
        dbk_buf_append_format(&sql, ",k%zu", j);
    dbk_buf_append_text(&sql, ") WHERE NOT EXISTS (SELECT 1 FROM ");
    dbk_reader_put_table(reader, &sql);
    dbk_buf_append_text(&sql, " AS t WHERE ");
    put_same(reader, &sql);
    dbk_buf_append_char(&sql, ')');
    int rc = dbk_reader_prepare(reader, &sql, &statement, err);
    dbk_buf_release(&sql);
    while (rc >= 0 && (rc = dbk_statement_step(statement, err)) == 1) {
        struct dbk_value value = dbk_statement_column(statement, 0);
        if (value.kind == DBK_VALUE_INTEGER && value.integer >= 0 &&
            (size_t)value.integer < keys->count)
            gone[value.integer] = true;
    }
    dbk_statement_free(statement);
    return rc;
}

/* ---- SQLite: one look-up a key ---- */

/* A part of a key is a text, and may have been a number or a blob. */
#define CANDIDATES 3

static void put_candidates(const struct dbk_reader *reader, struct dbk_buf *sql)
{
    dbk_buf_append_text(sql, "SELECT ");
    dbk_reader_put_key(reader, sql);
    dbk_buf_append_text(sql, " FROM ");
    dbk_reader_put_table(reader, sql);
    dbk_buf_append_text(sql, " WHERE ");
    for (size_t j = 0; j < reader->key_count; j++) {
        dbk_buf_append_text(sql, j == 0 ? "" : " AND ");
        dbk_reader_put_name(sql, reader->columns[reader->keys[j]].name);
        dbk_buf_append_format(sql, " IN (?%zu,?%zu,?%zu)", CANDIDATES * j + 1, CANDIDATES * j + 2,
                              CANDIDATES * j + 3);
    }
}

static int bind_part(struct dbk_statement *statement, size_t part, struct dbk_slice text,
                     struct dbk_arena *arena)
{
    struct dbk_value values[CANDIDATES] = {{.kind = DBK_VALUE_TEXT, .bytes = text}};
    struct dbk_decimal number;
    size_t size = 0;
    if (dbk_slice_to_i64(text, &values[1].integer))
        values[1].kind = DBK_VALUE_INTEGER;
    else if (dbk_decimal_parse(text, &number)) {
        values[1].kind = DBK_VALUE_REAL;
        values[1].real = dbk_decimal_to_double(number);
    } else if (dbk_slice_equal_text(text, "Infinity") || dbk_slice_equal_text(text, "-Infinity")) {
        values[1].kind = DBK_VALUE_REAL;
        values[1].real = text.data[0] == '-' ? -(double)INFINITY : (double)INFINITY;
    }
    char *bytes = dbk_arena_alloc(arena, DBK_BASE64_ROOM(text.size) + 1);
    if (bytes == NULL)
        return DBK_ENOMEM;
    if (dbk_base64_decode(text, bytes, &size)) {
        values[2].kind = DBK_VALUE_BLOB;
        values[2].bytes = dbk_slice(bytes, size);
    }
    for (size_t i = 0; i < CANDIDATES; i++)
        dbk_statement_bind(statement, (int)(CANDIDATES * part + i + 1), &values[i]);
    return DBK_OK;
}

static bool is_same(const struct dbk_reader *reader, struct dbk_statement *statement,
                    const struct dbk_slice *key, struct dbk_arena *arena)
{
    for (size_t j = 0; j < reader->key_count; j++) {
        struct dbk_value value = dbk_statement_column(statement, (int)j);
        struct dbk_slice text;
        if (!dbk_reader_key_text(&value, arena, &text) || !dbk_slice_equal(text, key[j]))
            return false;
    }
    return true;
}

static int find_one(struct dbk_reader *reader, struct dbk_statement *statement,
                    const struct dbk_slice *key, struct dbk_arena *arena, bool *gone,
                    struct dbk_error *err)
{
    int rc = DBK_OK;
    *gone = true;
    dbk_arena_reset(arena);
    for (size_t j = 0; j < reader->key_count; j++) {
        if (bind_part(statement, j, key[j], arena) < 0)
            return no_memory(reader, err);
    }
    while (*gone && (rc = dbk_statement_step(statement, err)) == 1)
        *gone = !is_same(reader, statement, key, arena);
    dbk_statement_reset(statement);
    return rc < 0 ? rc : DBK_OK;
}

static int find_gone_sqlite(struct dbk_reader *reader, const struct dbk_live_keys *keys, bool *gone,
                            struct dbk_error *err)
{
    struct dbk_buf sql;
    struct dbk_arena arena;
    struct dbk_statement *statement = NULL;
    dbk_buf_init(&sql, SQL_SIZE_MAX);
    dbk_arena_init(&arena, KEY_SIZE_MAX);
    put_candidates(reader, &sql);
    int rc = dbk_reader_prepare(reader, &sql, &statement, err);
    dbk_buf_release(&sql);
    for (size_t i = 0; i < keys->count && rc == DBK_OK; i++)
        rc = find_one(reader, statement, keys->keys + i * keys->parts, &arena, &gone[i], err);
    dbk_statement_free(statement);
    dbk_arena_release(&arena);
    return rc;
}

int dbk_reader_find_gone(struct dbk_reader *reader, const struct dbk_live_keys *keys, bool *gone,
                         struct dbk_error *err)
{
    memset(gone, 0, keys->count * sizeof(*gone));
    if (keys->count == 0)
        return DBK_OK;
    return dbk_connection_dialect(reader->connection) == DBK_DIALECT_POSTGRES
               ? find_gone_postgres(reader, keys, gone, err)
               : find_gone_sqlite(reader, keys, gone, err);
}

/* ---- Places ---- */

void dbk_reader_place_init(struct dbk_reader_place *place)
{
    place->count = 0;
    dbk_arena_init(&place->arena, NAMES_SIZE_MAX);
}

void dbk_reader_place_release(struct dbk_reader_place *place)
{
    dbk_arena_release(&place->arena);
}

void dbk_reader_place_reset(struct dbk_reader_place *place)
{
    place->count = 0;
    dbk_arena_reset(&place->arena);
}

int dbk_reader_place_add(struct dbk_reader_place *place, const struct dbk_value *value)
{
    if (place->count == DBK_READER_KEYS_MAX)
        return DBK_ENOMEM;
    struct dbk_value *kept = &place->values[place->count];
    *kept = *value;
    if (value->kind == DBK_VALUE_TEXT || value->kind == DBK_VALUE_BLOB) {
        kept->bytes = dbk_arena_copy(&place->arena, value->bytes);
        if (kept->bytes.data == NULL)
            return DBK_ENOMEM;
    }
    place->count++;
    return DBK_OK;
}

int dbk_reader_place_add_key(const struct dbk_reader *reader, struct dbk_reader_place *place,
                             struct dbk_statement *statement, int first)
{
    int rc = DBK_OK;
    for (size_t i = 0; i < reader->key_count && rc == DBK_OK; i++) {
        struct dbk_value value = dbk_statement_column(statement, first + (int)reader->keys[i]);
        rc = dbk_reader_place_add(place, &value);
    }
    return rc;
}

static void write_value(const struct dbk_value *value, struct dbk_buf *out)
{
    switch (value->kind) {
    case DBK_VALUE_NULL:
        dbk_buf_append_text(out, "null");
        return;
    case DBK_VALUE_INTEGER:
        dbk_json_write_integer(out, value->integer);
        return;
    case DBK_VALUE_DECIMAL:
        dbk_json_write_decimal(out, value->decimal);
        return;
    case DBK_VALUE_REAL:
        dbk_buf_append_format(out, "{\"real\":\"%a\"}", value->real);
        return;
    case DBK_VALUE_TEXT:
        if (dbk_slice_is_utf8(value->bytes)) {
            dbk_json_write_string(out, value->bytes);
            return;
        }
        dbk_buf_append_text(out, "{\"text\":\"");
        break;
    case DBK_VALUE_BLOB:
        dbk_buf_append_text(out, "{\"blob\":\"");
        break;
    }
    dbk_base64_encode(value->bytes, out);
    dbk_buf_append_text(out, "\"}");
}

void dbk_reader_place_write(const struct dbk_reader_place *place, struct dbk_buf *out)
{
    dbk_buf_append_char(out, '[');
    for (size_t i = 0; i < place->count; i++) {
        if (i > 0)
            dbk_buf_append_char(out, ',');
        write_value(&place->values[i], out);
    }
    dbk_buf_append_char(out, ']');
}

static int read_bytes(struct dbk_slice text, enum dbk_value_kind kind, struct dbk_arena *arena,
                      struct dbk_value *value_out)
{
    size_t size = 0;
    char *bytes = dbk_arena_alloc(arena, DBK_BASE64_ROOM(text.size) + 1);
    if (bytes == NULL)
        return DBK_ENOMEM;
    if (!dbk_base64_decode(text, bytes, &size))
        return DBK_ECORRUPT;
    *value_out = (struct dbk_value){.kind = kind, .bytes = dbk_slice(bytes, size)};
    return DBK_OK;
}

/* {"real":"0x1p+0"}, {"blob":"AP8="}, {"text":"/w=="} */
static int read_object(const struct dbk_json_node *node, struct dbk_arena *arena,
                       struct dbk_value *value_out)
{
    const struct dbk_json_node *member = dbk_json_first(node);
    char *end = NULL;
    if (node->count != 1 || member->kind != DBK_JSON_STRING)
        return DBK_ECORRUPT;
    if (dbk_slice_equal_text(member->key, "blob"))
        return read_bytes(member->text, DBK_VALUE_BLOB, arena, value_out);
    if (dbk_slice_equal_text(member->key, "text"))
        return read_bytes(member->text, DBK_VALUE_TEXT, arena, value_out);
    struct dbk_slice text = dbk_arena_copy(arena, member->text);
    if (text.data == NULL)
        return DBK_ENOMEM;
    *value_out = (struct dbk_value){.kind = DBK_VALUE_REAL, .real = strtod(text.data, &end)};
    return dbk_slice_equal_text(member->key, "real") && text.size > 0 &&
                   end == text.data + text.size
               ? DBK_OK
               : DBK_ECORRUPT;
}

static int read_value(const struct dbk_json_node *node, struct dbk_arena *arena,
                      struct dbk_value *value_out)
{
    switch (node->kind) {
    case DBK_JSON_NULL:
        *value_out = (struct dbk_value){.kind = DBK_VALUE_NULL};
        return DBK_OK;
    case DBK_JSON_INTEGER:
        *value_out = (struct dbk_value){.kind = DBK_VALUE_INTEGER, .integer = node->integer};
        return DBK_OK;
    case DBK_JSON_DECIMAL:
        *value_out = (struct dbk_value){.kind = DBK_VALUE_DECIMAL, .decimal = node->decimal};
        return DBK_OK;
    case DBK_JSON_STRING:
        *value_out = (struct dbk_value){.kind = DBK_VALUE_TEXT, .bytes = node->text};
        return DBK_OK;
    case DBK_JSON_OBJECT:
        return read_object(node, arena, value_out);
    case DBK_JSON_FALSE:
    case DBK_JSON_TRUE:
    case DBK_JSON_ARRAY:
        break;
    }
    return DBK_ECORRUPT;
}

int dbk_reader_place_read(struct dbk_reader_place *place, const struct dbk_json_node *list)
{
    struct dbk_value value;
    int rc = DBK_OK;
    dbk_reader_place_reset(place);
    if (list == NULL)
        return DBK_OK;
    if (list->kind != DBK_JSON_ARRAY || list->count > DBK_READER_KEYS_MAX)
        return DBK_ECORRUPT;
    const struct dbk_json_node *item = dbk_json_first(list);
    for (uint32_t i = 0; i < list->count && rc == DBK_OK; i++, item = dbk_json_sibling(item)) {
        rc = read_value(item, &place->arena, &value);
        if (rc == DBK_OK)
            rc = dbk_reader_place_add(place, &value);
    }
    return rc;
}
