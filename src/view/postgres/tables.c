/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a SELECT's names mean to PostgreSQL: tables with their columns and keys, as its catalog has
 * them, and functions of which the same arguments give the same value.
 */
#include <stdio.h>

#include "view/postgres/state.h"
#include "view/select.h"

/* ---- Asking the catalog ---- */

static int ask(struct dbk_connection *connection, const char *sql, const struct dbk_value *value,
               struct dbk_statement **statement_out, struct dbk_error *err)
{
    int rc = dbk_statement_open(connection, dbk_slice_of(sql), statement_out, NULL, err);
    if (rc < 0)
        return rc;
    dbk_statement_bind(*statement_out, 1, value);
    return DBK_OK;
}

/* A name as it is written in SQL: [schema.]name. */
static const char *written_name(struct dbk_arena *arena, struct dbk_slice schema,
                                struct dbk_slice name)
{
    struct dbk_buf text;
    dbk_buf_init(&text, 1024);
    for (int i = schema.size == 0; i < 2; i++) {
        char *copy = dbk_copy_text(i == 0 ? schema : name);
        if (copy == NULL)
            text.rc = DBK_ENOMEM;
        else
            dbk_emit_name(&text, copy);
        dbk_buf_append_text(&text, i == 0 ? "." : "");
        dbk_free(copy);
    }
    const char *made = text.rc < 0 ? NULL : dbk_arena_copy(arena, dbk_buf_slice(&text)).data;
    dbk_buf_release(&text);
    return made;
}

static const char *quoted(struct dbk_arena *arena, struct dbk_slice name)
{
    return written_name(arena, dbk_slice(NULL, 0), name);
}

/* The table that a plain view of Daybook's shows; 0: it is another view. One in temp stands for
   another. */
static int find_behind(struct dbk_connection *connection, int64_t oid, int64_t *oid_out,
                       struct dbk_error *err)
{
    struct dbk_statement *statement = NULL;
    const struct dbk_value value = {.kind = DBK_VALUE_INTEGER, .integer = oid};
    int rc = ask(connection,
                 "SELECT t.oid FROM pg_class AS c JOIN pg_class AS t ON t.relnamespace = "
                 "CASE c.relnamespace WHEN pg_my_temp_schema() THEN "
                 "to_regnamespace(quote_ident(current_schema())) ELSE c.relnamespace END AND "
                 "t.relkind = 'r' AND left(t.relname, length(c.relname) + 3) = "
                 "c.relname || '__g' AND substr(t.relname, length(c.relname) + 4) ~ '^[0-9]+$' "
                 "WHERE c.oid = ?1::bigint::oid AND regexp_replace(rtrim(pg_get_viewdef(c.oid), E' "
                 ";\\n'), '\\n  ORDER BY [^\\n]*$', '') ~ ('[ .]' || t.relname || '$')",
                 &value, &statement, err);
    if (rc == DBK_OK)
        rc = dbk_statement_step(statement, err);
    if (rc == 1)
        *oid_out = dbk_statement_column(statement, 0).integer;
    dbk_statement_free(statement);
    return rc;
}

/* ---- A table ---- */

struct described {
    struct dbk_connection *connection;
    struct dbk_arena *arena;
    struct dbk_obstacle *obstacle; /* with its place */
    struct dbk_relation *table;
    const char *name; /* as it is written */
    int64_t oid;
    struct dbk_buf signature;
};

/* 0: there is an obstacle. */
static int look_at_class(struct described *described, bool behind, struct dbk_error *err)
{
    struct dbk_statement *statement = NULL;
    struct dbk_value value = {.kind = DBK_VALUE_TEXT, .bytes = dbk_slice_of(described->name)};
    if (behind)
        value = (struct dbk_value){.kind = DBK_VALUE_INTEGER, .integer = described->oid};
    int rc = ask(described->connection,
                 behind ? "SELECT c.oid, c.relkind::text, n.nspname::text, c.relname::text, "
                          "c.relispartition OR c.relhassubclass, c.relrowsecurity, "
                          "c.relpersistence::text, EXISTS (SELECT 1 FROM pg_subscription_rel AS r "
                          "WHERE r.srrelid = c.oid) FROM pg_class AS c JOIN pg_namespace AS n ON "
                          "n.oid = c.relnamespace WHERE c.oid = ?1::bigint::oid"
                        : "SELECT c.oid, c.relkind::text, n.nspname::text, c.relname::text, "
                          "c.relispartition OR c.relhassubclass, c.relrowsecurity, "
                          "c.relpersistence::text, EXISTS (SELECT 1 FROM pg_subscription_rel AS r "
                          "WHERE r.srrelid = c.oid) FROM pg_class AS c JOIN pg_namespace AS n ON "
                          "n.oid = c.relnamespace WHERE c.oid = to_regclass(?1)",
                 &value, &statement, err);
    if (rc == DBK_OK)
        rc = dbk_statement_step(statement, err);
    if (rc < 0) {
        dbk_statement_free(statement);
        return rc;
    }
    struct dbk_obstacle *obstacle = described->obstacle;
    size_t place = obstacle->place;
    struct dbk_slice kind = rc == 1 ? dbk_statement_column(statement, 1).bytes : dbk_slice(NULL, 0);
    bool view = dbk_slice_equal_text(kind, "v");
    if (rc == 1)
        described->oid = dbk_statement_column(statement, 0).integer;
    if (rc == 0)
        rc = dbk_obstacle_set(obstacle, place, "", "%s is no stored table", described->name);
    else if (view && !behind)
        rc = 2;
    else if (!dbk_slice_equal_text(kind, "r"))
        rc = dbk_obstacle_set(obstacle, place, "read a table", "%s is no plain table",
                              described->name);
    else if (dbk_statement_column(statement, 4).integer != 0)
        rc = dbk_obstacle_set(obstacle, place, "",
                              "%s is a partition, or has children: its changes cannot be noted by "
                              "statement",
                              described->name);
    else if (dbk_statement_column(statement, 5).integer != 0)
        rc = dbk_obstacle_set(obstacle, place, "", "%s has row security", described->name);
    else if (!dbk_slice_equal_text(dbk_statement_column(statement, 6).bytes, "p"))
        rc = dbk_obstacle_set(obstacle, place, "",
                              "%s is temporary or unlogged: after a crash its notes would not fit",
                              described->name);
    else if (dbk_statement_column(statement, 7).integer != 0)
        rc = dbk_obstacle_set(obstacle, place, "",
                              "%s is written by logical replication, which fires no triggers by "
                              "statement",
                              described->name);
    if (rc == 1) {
        described->table->schema =
            dbk_arena_copy(described->arena, dbk_statement_column(statement, 2).bytes).data;
        described->table->table =
            dbk_arena_copy(described->arena, dbk_statement_column(statement, 3).bytes).data;
        rc = described->table->schema == NULL || described->table->table == NULL ? DBK_ENOMEM : 1;
    }
    dbk_statement_free(statement);
    if (rc != 2)
        return rc;
    rc = find_behind(described->connection, described->oid, &described->oid, err);
    if (rc == 0)
        return dbk_obstacle_set(obstacle, place, "read what it reads",
                                "%s is a view of others, or one that shows a part of its rows",
                                described->name);
    return rc < 0 ? rc : look_at_class(described, true, err);
}

static int add_column(struct described *described, struct dbk_statement *statement)
{
    struct dbk_relation *table = described->table;
    const char **grown =
        dbk_arena_alloc(described->arena, (table->column_count + 1) * sizeof(*grown));
    const char *name =
        dbk_arena_copy(described->arena, dbk_statement_column(statement, 0).bytes).data;
    if (grown == NULL || name == NULL)
        return DBK_ENOMEM;
    for (size_t i = 0; i < table->column_count; i++)
        grown[i] = table->columns[i];
    grown[table->column_count++] = name;
    table->columns = grown;
    table->labels = grown;
    return 1;
}

static int read_columns(struct described *described, struct dbk_error *err)
{
    struct dbk_statement *statement = NULL;
    const struct dbk_value value = {.kind = DBK_VALUE_INTEGER, .integer = described->oid};
    int rc = ask(described->connection,
                 "SELECT a.attname::text, format_type(a.atttypid, a.atttypmod), "
                 "coalesce(NOT l.collisdeterministic, false) FROM pg_attribute AS a LEFT JOIN "
                 "pg_collation AS l ON l.oid = a.attcollation WHERE a.attrelid = "
                 "?1::bigint::oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum",
                 &value, &statement, err);
    while (rc >= 0 && (rc = dbk_statement_step(statement, err)) == 1) {
        struct dbk_slice name = dbk_statement_column(statement, 0).bytes;
        dbk_buf_append_text(&described->signature, "; ");
        dbk_buf_append(&described->signature, name);
        dbk_buf_append_char(&described->signature, ' ');
        dbk_buf_append(&described->signature, dbk_statement_column(statement, 1).bytes);
        if (dbk_slice_starts_with(name, DBK_SLICE_LITERAL("_daybook_")))
            continue;
        if (dbk_statement_column(statement, 2).integer != 0)
            rc = dbk_obstacle_set(described->obstacle, described->obstacle->place, "",
                                  "%s has a column that is compared by a collation",
                                  described->name);
        else
            rc = add_column(described, statement);
        if (rc != 1)
            break;
        rc = DBK_OK;
    }
    bool ended = rc == 0 && described->obstacle->what[0] == '\0';
    dbk_statement_free(statement);
    return rc < 0 ? rc : ended;
}

/* The primary key, or another whose columns are never NULL; of one that is checked at the COMMIT
   two rows may have the same for a while. */
static int read_key(struct described *described, struct dbk_error *err)
{
    struct dbk_relation *table = described->table;
    struct dbk_statement *statement = NULL;
    const struct dbk_value value = {.kind = DBK_VALUE_INTEGER, .integer = described->oid};
    const char **rows = dbk_arena_alloc_zero(described->arena, 33, sizeof(*rows));
    const char **types = dbk_arena_alloc_zero(described->arena, 33, sizeof(*types));
    if (rows == NULL || types == NULL)
        return DBK_ENOMEM;
    int rc = ask(
        described->connection,
        "SELECT a.attname::text, format_type(a.atttypid, a.atttypmod) FROM (SELECT i.* FROM "
        "pg_index AS i WHERE i.indrelid = ?1::bigint::oid AND i.indisunique AND i.indisvalid AND "
        "i.indpred IS NULL AND i.indexprs IS NULL AND i.indimmediate AND NOT EXISTS (SELECT 1 FROM "
        "unnest(i.indkey::int2[]) AS k JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND "
        "a.attnum = k WHERE NOT a.attnotnull) ORDER BY i.indisprimary DESC, i.indnkeyatts, "
        "i.indexrelid LIMIT 1) AS i, unnest(i.indkey::int2[]) WITH ORDINALITY AS u(n, o) JOIN "
        "pg_attribute AS a ON a.attnum = u.n WHERE a.attrelid = i.indrelid AND u.o <= "
        "i.indnkeyatts ORDER BY u.o",
        &value, &statement, err);
    while (rc >= 0 && (rc = dbk_statement_step(statement, err)) == 1 && table->row_count < 32) {
        struct dbk_slice name = dbk_statement_column(statement, 0).bytes;
        rows[table->row_count] = quoted(described->arena, name);
        types[table->row_count] =
            dbk_arena_copy(described->arena, dbk_statement_column(statement, 1).bytes).data;
        dbk_buf_append_text(&described->signature, table->row_count == 0 ? "; key " : ", ");
        dbk_buf_append(&described->signature, name);
        if (rows[table->row_count] == NULL || types[table->row_count] == NULL)
            rc = DBK_ENOMEM;
        table->row_count++;
        rc = rc < 0 ? rc : DBK_OK;
    }
    dbk_statement_free(statement);
    table->rows = rows;
    table->noted = rows;
    table->row_types = types;
    table->key_count = table->row_count;
    if (rc < 0)
        return rc;
    return table->row_count > 0
               ? 1
               : dbk_obstacle_set(described->obstacle, described->obstacle->place,
                                  "give it a primary key",
                                  "%s has no primary key, and no unique one of columns that are "
                                  "NOT NULL: which of its rows changed cannot be told",
                                  described->name);
}

int dbk_pgview_describe(struct dbk_connection *connection, struct dbk_arena *arena,
                        struct dbk_slice schema, struct dbk_slice name, struct dbk_relation *table,
                        struct dbk_obstacle *obstacle, struct dbk_error *err)
{
    struct described described = {.connection = connection,
                                  .arena = arena,
                                  .obstacle = obstacle,
                                  .table = table,
                                  .name = written_name(arena, schema, name)};
    dbk_buf_init(&described.signature, DBK_PGVIEW_SQL_SIZE_MAX);
    int rc = described.name == NULL ? DBK_ENOMEM : look_at_class(&described, false, err);
    dbk_buf_append_format(&described.signature, "%lld", (long long)described.oid);
    table->row_count = 0;
    table->column_count = 0;
    if (rc == 1)
        rc = read_columns(&described, err);
    if (rc == 1)
        rc = read_key(&described, err);
    table->name = described.name;
    if (rc == 1) {
        table->signature = described.signature.rc < 0
                               ? NULL
                               : dbk_arena_copy(arena, dbk_buf_slice(&described.signature)).data;
        if (table->signature == NULL)
            rc = DBK_ENOMEM;
    }
    dbk_buf_release(&described.signature);
    return rc == DBK_ENOMEM ? dbk_error_set(err, rc, "%s", dbk_code_text(rc)) : rc;
}

int dbk_pgview_is_current(struct dbk_connection *connection, const struct dbk_relation *table,
                          bool *current_out, struct dbk_error *err)
{
    struct dbk_arena arena;
    struct dbk_relation now = {.kind = DBK_RELATION_TABLE};
    struct dbk_obstacle obstacle = {.place = SIZE_MAX};
    const char *point = strstr(table->name, "\".\"");
    size_t size = strlen(table->name);
    dbk_arena_init(&arena, DBK_PGVIEW_SQL_SIZE_MAX);
    /* The name as it is written has quotes, of which none is inside: the catalog has it so. */
    struct dbk_slice schema = point == NULL
                                  ? dbk_slice(NULL, 0)
                                  : dbk_slice(table->name + 1, (size_t)(point - table->name) - 1);
    const char *begin = point == NULL ? table->name + 1 : point + 3;
    struct dbk_slice name = dbk_slice(begin, size - (size_t)(begin - table->name) - 1);
    int rc = dbk_pgview_describe(connection, &arena, schema, name, &now, &obstacle, err);
    *current_out = rc == 1 && strcmp(now.signature, table->signature) == 0;
    dbk_arena_release(&arena);
    return rc < 0 ? rc : DBK_OK;
}

static struct dbk_relation *known_table(const struct dbk_algebra *tree,
                                        const struct dbk_relation *table)
{
    for (size_t i = 0; i < tree->relation_count; i++) {
        struct dbk_relation *known = tree->relations[i];
        if (known->kind == DBK_RELATION_TABLE && strcmp(known->table, table->table) == 0 &&
            strcmp(known->schema, table->schema) == 0)
            return known;
    }
    return NULL;
}

int dbk_pgview_read_table(struct dbk_reading *reading, const struct dbk_json_node *node,
                          struct dbk_relation **relation_out)
{
    struct dbk_algebra *tree = reading->tree;
    struct dbk_relation *table = NULL;
    struct dbk_slice name = dbk_read_text(node, "relname");
    tree->obstacle.place = dbk_read_place(node);
    if (name.size > 0 && memchr(name.data, '"', name.size) != NULL)
        return dbk_read_obstacle(reading, tree->obstacle.place, "", "a name with quotes in it");
    int rc = dbk_read_make_relation(reading, DBK_RELATION_TABLE, 0, 0, &table);
    if (rc == DBK_OK)
        rc = dbk_pgview_describe(tree->connection, tree->arena, dbk_read_text(node, "schemaname"),
                                 name, table, &tree->obstacle, reading->err);
    if (rc == 0)
        return DBK_EREFUSED;
    if (rc < 0)
        return rc;
    struct dbk_relation *known = known_table(tree, table);
    *relation_out = known != NULL ? known : table;
    return known != NULL ? DBK_OK : dbk_read_enter(reading, table);
}

/* ---- Functions ---- */

/* Stable only because the time zone or a setting counts, which in our sessions never change. */
static const char *const settled[] = {
    "age",
    "array_to_string",
    "concat",
    "concat_ws",
    "convert",
    "convert_from",
    "convert_to",
    "date",
    "date_part",
    "date_trunc",
    "extract",
    "format",
    "interval",
    "json_build_array",
    "json_build_object",
    "jsonb_build_array",
    "jsonb_build_object",
    "length",
    "make_timestamptz",
    "numeric",
    "overlaps",
    "quote_literal",
    "quote_nullable",
    "row_to_json",
    "time",
    "timestamp",
    "timestamptz",
    "timetz",
    "timezone",
    "to_char",
    "to_date",
    "to_json",
    "to_jsonb",
    "to_number",
    "to_timestamp",
};

int dbk_pgview_read_call(struct dbk_reading *reading, struct dbk_slice name,
                         const struct dbk_expression *call)
{
    struct dbk_statement *statement = NULL;
    const struct dbk_value value = {.kind = DBK_VALUE_TEXT, .bytes = name};
    int rc = ask(reading->tree->connection,
                 "SELECT count(*), coalesce(bool_or(prokind <> 'f' OR proretset), false), "
                 "coalesce(bool_or(provolatile = 'v'), false), coalesce(bool_or(provolatile = "
                 "'s'), false) FROM pg_proc WHERE proname = ?1",
                 &value, &statement, reading->err);
    if (rc == DBK_OK)
        rc = dbk_statement_step(statement, reading->err);
    if (rc < 0) {
        dbk_statement_free(statement);
        return rc;
    }
    bool known =
        dbk_statement_column(statement, 0).integer != 0 || DBK_READ_IS_AMONG(name, settled);
    bool several = dbk_statement_column(statement, 1).integer != 0;
    bool volatile_one = dbk_statement_column(statement, 2).integer != 0;
    bool stable = dbk_statement_column(statement, 3).integer != 0;
    bool clock = dbk_read_is_name(name, "age") && call->argument_count < 2;
    dbk_statement_free(statement);
    if (several)
        return dbk_read_obstacle(reading, call->place, "",
                                 "%.*s() is an aggregate whose value cannot be followed, or gives "
                                 "several rows",
                                 DBK_SLICE_ARGS(name));
    if (!known || volatile_one || clock || (stable && !DBK_READ_IS_AMONG(name, settled)))
        return dbk_read_obstacle(reading, call->place, "let a column say it",
                                 "%.*s() is not known to give the same value each time",
                                 DBK_SLICE_ARGS(name));
    return DBK_OK;
}
