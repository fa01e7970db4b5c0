/* SPDX-License-Identifier: Apache-2.0 */
/* Tables as the catalog has them, and relations as the stream tells them. */
#include <poll.h>
#include <stdio.h>

#include "capture/postgres/state.h"

#define SQL_SIZE_MAX ((size_t)1 << 20)
#define NAMES_SIZE_MAX ((size_t)16 << 20)
/* Types from here on are made by users, domains among them. */
#define TYPE_USER_MIN 16384
/* How long a transaction that was streamed may take to be seen. */
#define VISIBLE_US (INT64_C(1) * 1000000)

static int no_memory(const struct source *source, struct dbk_error *err)
{
    return dbk_error_set(err, DBK_ENOMEM, "out of memory capturing %s",
                         source->options.service->name);
}

static uint32_t number_of(const PGresult *result, int row, int column)
{
    uint64_t number = 0;
    (void)dbk_slice_to_u64(dbk_pg_value(result, row, column), &number);
    return (uint32_t)number;
}

static int fault(const struct source *source, const struct table *table, int code, const char *what,
                 const char *fix, struct dbk_error *err)
{
    return dbk_error_set(err, code, "%s:%u:%u: the table `%s` %s: %s",
                         source->options.service->file, table->definition->line,
                         table->definition->column, table->definition->name, what, fix);
}

/* ---- Tables ---- */

static int find_table(struct source *source, struct table *table, struct dbk_error *err)
{
    struct dbk_buf sql;
    PGresult *result = NULL;
    dbk_buf_init(&sql, SQL_SIZE_MAX);
    dbk_buf_append_text(&sql, "SELECT c.oid, n.nspname, c.relkind, c.relreplident FROM pg_class c "
                              "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = "
                              "to_regclass(quote_ident(");
    dbk_pg_put_literal(&sql, dbk_slice_of(table->definition->name));
    dbk_buf_append(&sql, dbk_slice("))", 3));
    int rc = sql.rc < 0 ? no_memory(source, err)
                        : dbk_pg_ask(source, source->sql, sql.data, &result, err);
    dbk_buf_release(&sql);
    if (rc < 0)
        return rc;
    if (PQntuples(result) == 0) {
        rc = fault(source, table, DBK_ENOTFOUND, "is not in the database",
                   "create it, or put its schema into the user's search_path", err);
    } else {
        char kind = PQgetvalue(result, 0, 2)[0];
        table->id = number_of(result, 0, 0);
        table->space = dbk_arena_copy(&table->arena, dbk_pg_value(result, 0, 1)).data;
        table->identity = PQgetvalue(result, 0, 3)[0];
        if (table->space == NULL)
            rc = no_memory(source, err);
        else if (kind != 'r' && kind != 'p')
            rc = fault(source, table, DBK_EINVAL, "is a view or a foreign table",
                       "only tables tell their changes", err);
        else if (table->identity != 'd' && table->identity != 'f')
            rc = fault(source, table, DBK_EINVAL,
                       "does not tell which row was changed (its replica identity)",
                       "ALTER TABLE … REPLICA IDENTITY DEFAULT, or FULL", err);
    }
    PQclear(result);
    return rc;
}

static int take_columns(struct source *source, struct table *table, const PGresult *result,
                        struct dbk_error *err)
{
    size_t count = (size_t)PQntuples(result);
    size_t key_count = 0;
    table->columns = dbk_arena_alloc_zero(&table->arena, count + 1, sizeof(*table->columns));
    table->names = dbk_arena_alloc_zero(&table->arena, count + 1, sizeof(*table->names));
    if (table->columns == NULL || table->names == NULL)
        return no_memory(source, err);
    for (size_t i = 0; i < count; i++) {
        int row = (int)i;
        struct column *column = &table->columns[i];
        column->name = dbk_arena_copy(&table->arena, dbk_pg_value(result, row, 0));
        column->type = number_of(result, row, 1);
        column->type_name = dbk_arena_copy(&table->arena, dbk_pg_value(result, row, 2)).data;
        table->names[i] = column->name;
        if (column->name.data == NULL || column->type_name == NULL)
            return no_memory(source, err);
        uint32_t place = number_of(result, row, 3);
        if (PQgetisnull(result, row, 3) || place >= KEY_COLUMNS_MAX)
            continue;
        table->keys[place] = i;
        key_count++;
    }
    table->key_count = key_count;
    table->shape = (struct dbk_change_shape){++source->shape_count, table->names, count};
    return key_count > 0 ? DBK_OK
                         : fault(source, table, DBK_EINVAL, "has no primary key",
                                 "it names the row's stream: ALTER TABLE … ADD PRIMARY KEY", err);
}

static int read_columns(struct source *source, struct table *table, struct dbk_error *err)
{
    struct dbk_buf sql;
    PGresult *result = NULL;
    dbk_buf_init(&sql, SQL_SIZE_MAX);
    dbk_buf_append_format(
        &sql,
        "SELECT a.attname, CASE WHEN t.typtype = 'd' THEN (WITH RECURSIVE b AS (SELECT "
        "t.typbasetype AS oid UNION ALL SELECT p.typbasetype FROM b JOIN pg_type p ON p.oid = "
        "b.oid WHERE p.typtype = 'd') SELECT b.oid FROM b JOIN pg_type p ON p.oid = b.oid WHERE "
        "p.typtype <> 'd') ELSE t.oid END, format_type(a.atttypid, a.atttypmod), "
        "array_position(i.indkey::int2[], a.attnum) FROM pg_attribute a JOIN pg_type t ON t.oid = "
        "a.atttypid LEFT JOIN pg_index i ON i.indrelid = a.attrelid AND i.indisprimary WHERE "
        "a.attrelid = %u AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' "
        "ORDER BY a.attnum",
        table->id);
    dbk_buf_append_char(&sql, '\0');
    int rc = sql.rc < 0 ? no_memory(source, err)
                        : dbk_pg_ask(source, source->sql, sql.data, &result, err);
    dbk_buf_release(&sql);
    if (rc == DBK_OK)
        rc = take_columns(source, table, result, err);
    PQclear(result);
    return rc;
}

int dbk_pg_read_table(struct source *source, struct table *table, struct dbk_error *err)
{
    dbk_arena_reset(&table->arena);
    int rc = find_table(source, table, err);
    return rc < 0 ? rc : read_columns(source, table, err);
}

int dbk_pg_read_tables(struct source *source, struct dbk_error *err)
{
    int rc = DBK_OK;
    for (size_t i = 0; i < source->table_count && rc == DBK_OK; i++) {
        if (source->tables[i].definition->kind == DBK_CAPTURE_CDC)
            rc = dbk_pg_read_table(source, &source->tables[i], err);
    }
    return rc;
}

/* ---- Relations ---- */

struct relation *dbk_pg_relation(struct source *source, uint32_t id)
{
    for (size_t i = 0; i < source->relation_count; i++) {
        if (source->relations[i].id == id)
            return &source->relations[i];
    }
    return NULL;
}

static int add_relation(struct source *source, uint32_t id, struct relation **relation_out,
                        struct dbk_error *err)
{
    *relation_out = dbk_pg_relation(source, id);
    if (*relation_out != NULL)
        return DBK_OK;
    if (source->relation_count == source->relation_capacity) {
        size_t capacity = source->relation_capacity == 0 ? 16 : source->relation_capacity * 2;
        struct relation *relations =
            dbk_realloc(source->relations, capacity * sizeof(*source->relations));
        if (relations == NULL)
            return no_memory(source, err);
        source->relations = relations;
        source->relation_capacity = capacity;
    }
    struct relation *relation = &source->relations[source->relation_count++];
    *relation = (struct relation){.id = id};
    dbk_arena_init(&relation->arena, NAMES_SIZE_MAX);
    *relation_out = relation;
    return DBK_OK;
}

static struct table *table_of(struct source *source, uint32_t id)
{
    for (size_t i = 0; i < source->table_count; i++) {
        if (source->tables[i].id == id)
            return &source->tables[i];
    }
    return NULL;
}

/* What a domain is made of; another type is itself. */
static int ask_base(struct source *source, uint32_t type, bool *found_out, uint32_t *base_out,
                    struct dbk_error *err)
{
    char sql[512];
    PGresult *result = NULL;
    (void)snprintf(sql, sizeof(sql),
                   "WITH RECURSIVE b AS (SELECT oid, typtype, typbasetype FROM pg_type WHERE oid = "
                   "%u UNION ALL SELECT p.oid, p.typtype, p.typbasetype FROM b JOIN pg_type p ON "
                   "p.oid = b.typbasetype WHERE b.typtype = 'd') SELECT oid FROM b WHERE typtype "
                   "<> 'd'",
                   type);
    int rc = dbk_pg_ask(source, source->sql, sql, &result, err);
    *found_out = rc == DBK_OK && PQntuples(result) > 0;
    if (*found_out)
        *base_out = number_of(result, 0, 0);
    PQclear(result);
    return rc;
}

/* The stream may tell of a type before others see the transaction that made it; and of one that is
   gone by now, whose values stay texts. */
static int find_base(struct source *source, uint32_t type, uint32_t *base_out,
                     struct dbk_error *err)
{
    struct dbk_os *os = source->options.os;
    int64_t end_us = os->monotonic_us(os) + VISIBLE_US;
    bool found = false;
    int rc = dbk_pg_take_piece(source, true, err);
    *base_out = type;
    while (rc == DBK_OK && !found) {
        rc = ask_base(source, type, &found, base_out, err);
        if (found || os->monotonic_us(os) > end_us)
            break;
        struct pollfd look = {.fd = source->options.over, .events = POLLIN};
        (void)poll(&look, 1, 10);
    }
    return rc;
}

static int base_type(struct source *source, uint32_t type, uint32_t *base_out,
                     struct dbk_error *err)
{
    *base_out = type;
    if (type < TYPE_USER_MIN)
        return DBK_OK;
    for (size_t i = 0; i < source->base_count; i++) {
        if (source->bases[i].type == type) {
            *base_out = source->bases[i].base;
            return DBK_OK;
        }
    }
    int rc = find_base(source, type, base_out, err);
    if (rc == DBK_OK && source->base_count < BASES_MAX)
        source->bases[source->base_count++] = (struct base){type, *base_out};
    return rc;
}

static int take_relation_columns(struct source *source, struct relation *relation,
                                 const struct dbk_pgoutput *message, struct dbk_error *err)
{
    struct dbk_pgoutput_tuple columns = message->columns;
    struct dbk_pgoutput_column column;
    size_t count = columns.count;
    dbk_arena_reset(&relation->arena);
    relation->names = dbk_arena_alloc_zero(&relation->arena, count + 1, sizeof(*relation->names));
    relation->types = dbk_arena_alloc_zero(&relation->arena, count + 1, sizeof(*relation->types));
    if (relation->names == NULL || relation->types == NULL)
        return no_memory(source, err);
    for (size_t i = 0; dbk_pgoutput_next_column(&columns, &column); i++) {
        relation->names[i] = dbk_arena_copy(&relation->arena, column.name);
        if (relation->names[i].data == NULL)
            return no_memory(source, err);
        int rc = base_type(source, column.type, &relation->types[i], err);
        if (rc < 0)
            return rc;
    }
    relation->shape = (struct dbk_change_shape){++source->shape_count, relation->names, count};
    return DBK_OK;
}

/* The key's columns, in the order of the primary key. */
static int find_keys(struct source *source, struct relation *relation, struct dbk_error *err)
{
    const struct table *table = relation->table;
    relation->key_count = table->key_count;
    for (size_t i = 0; i < table->key_count; i++) {
        struct dbk_slice name = table->columns[table->keys[i]].name;
        size_t at = 0;
        while (at < relation->shape.count && !dbk_slice_equal(relation->names[at], name))
            at++;
        if (at == relation->shape.count)
            return fault(source, table, DBK_EINVAL, "does not tell the columns of its primary key",
                         "has the key been changed, or the publication a list of columns?", err);
        relation->keys[i] = at;
    }
    return DBK_OK;
}

int dbk_pg_take_relation(struct source *source, const struct dbk_pgoutput *message,
                         struct dbk_error *err)
{
    struct relation *relation = NULL;
    struct table *table = table_of(source, message->relation);
    int rc = add_relation(source, message->relation, &relation, err);
    if (rc < 0 || relation == NULL)
        return rc;
    relation->table = table;
    if (table == NULL)
        return DBK_OK;
    relation->index = (size_t)(table - source->tables);
    if (!dbk_slice_equal_text(message->name, table->definition->name))
        return fault(source, table, DBK_EINVAL, "was renamed",
                     "name it in the service's file as it is named now", err);
    if (message->identity != 'd' && message->identity != 'f')
        return fault(source, table, DBK_EINVAL,
                     "does not tell any more which row was changed (its replica identity)",
                     "ALTER TABLE … REPLICA IDENTITY DEFAULT, and read it again with `daybook "
                     "capture resnapshot`",
                     err);
    rc = take_relation_columns(source, relation, message, err);
    return rc < 0 ? rc : find_keys(source, relation, err);
}
