/* SPDX-License-Identifier: Apache-2.0 */
#include "service/reading.h"

#include <stdarg.h>
#include <stdio.h>
#include <strings.h>

int dbk_migration_no_memory(struct dbk_migration_reading *reading)
{
    return dbk_error_set(reading->err, DBK_ENOMEM, "out of memory reading %s",
                         reading->migration->file);
}

/* PostgreSQL's names have been folded where they have no quotes. */
bool dbk_migration_is(const struct dbk_migration_reading *reading, struct dbk_slice name,
                      struct dbk_slice other)
{
    if (reading->migration->dialect == DBK_DIALECT_POSTGRES)
        return dbk_slice_equal(name, other);
    return name.size == other.size && strncasecmp(name.data, other.data, name.size) == 0;
}

/* ---- Names ---- */

struct dbk_migration_name *dbk_migration_find_name(struct dbk_migration_reading *reading,
                                                   struct dbk_slice table)
{
    for (size_t i = reading->schemas ? 0 : reading->name_count; i > 0; i--) {
        if (dbk_migration_is(reading, reading->names[i - 1].now, table))
            return &reading->names[i - 1];
    }
    return NULL;
}

int dbk_migration_put_name(struct dbk_migration_reading *reading,
                           const struct dbk_migration_name *name)
{
    if (reading->name_count == DBK_MIGRATION_NAMES_MAX)
        return dbk_error_set(reading->err, DBK_ELIMIT,
                             "%s makes and renames more than %d tables: split it",
                             reading->migration->file, DBK_MIGRATION_NAMES_MAX);
    /* The tree of a statement is gone with the next one. */
    struct dbk_migration_name *added = &reading->names[reading->name_count];
    *added = *name;
    added->now = dbk_arena_copy(reading->migration->arena, name->now);
    added->before = dbk_arena_copy(reading->migration->arena, name->before);
    if (added->now.data == NULL || added->before.data == NULL)
        return dbk_migration_no_memory(reading);
    reading->name_count++;
    return DBK_OK;
}

/* ---- Changes ---- */

int dbk_migration_put(struct dbk_migration_reading *reading, const struct dbk_change *change,
                      const char *format, ...)
{
    struct dbk_migration *migration = reading->migration;
    va_list arguments;
    if (migration->count == migration->capacity) {
        size_t capacity = migration->capacity == 0 ? 16 : migration->capacity * 2;
        struct dbk_change *changes =
            dbk_arena_alloc_zero(migration->arena, capacity, sizeof(*changes));
        if (changes == NULL)
            return dbk_migration_no_memory(reading);
        for (size_t i = 0; i < migration->count; i++)
            changes[i] = migration->changes[i];
        migration->changes = changes;
        migration->capacity = capacity;
    }
    struct dbk_change *added = &migration->changes[migration->count++];
    *added = *change;
    dbk_text_place(migration->text, reading->offset, &added->line, &added->place);
    va_start(arguments, format);
    (void)vsnprintf(added->text, sizeof(added->text), format, arguments);
    va_end(arguments);
    return DBK_OK;
}

/*
 * Begins a change of a table: fills it in and answers 1, or 0 of a table that the file made, which
 * has no users.
 */
int dbk_migration_begin(struct dbk_migration_reading *reading, enum dbk_change_kind kind,
                        struct dbk_slice table, struct dbk_slice column,
                        struct dbk_change *change_out)
{
    struct dbk_arena *arena = reading->migration->arena;
    const struct dbk_migration_name *name = dbk_migration_find_name(reading, table);
    struct dbk_slice before = name == NULL ? table : name->before;
    *change_out = (struct dbk_change){.kind = kind, .new_name = ""};
    if (name != NULL && before.size == 0)
        return 0;
    change_out->table = dbk_arena_copy(arena, before).data;
    change_out->column = dbk_arena_copy(arena, column).data;
    return change_out->table == NULL || change_out->column == NULL
               ? dbk_migration_no_memory(reading)
               : 1;
}

/* A change whose words are followed by `table.column` or `table`. */
int dbk_migration_put_simple(struct dbk_migration_reading *reading, enum dbk_change_kind kind,
                             struct dbk_slice table, struct dbk_slice column, const char *words)
{
    struct dbk_change change;
    int rc = dbk_migration_begin(reading, kind, table, column, &change);
    if (rc <= 0)
        return rc;
    return column.size > 0
               ? dbk_migration_put(reading, &change, "%s %s.%s", words, change.table, change.column)
               : dbk_migration_put(reading, &change, "%s %s", words, change.table);
}

int dbk_migration_put_unknown(struct dbk_migration_reading *reading, struct dbk_slice what)
{
    struct dbk_change change = {
        .kind = DBK_CHANGE_UNKNOWN, .table = "", .column = "", .new_name = ""};
    return dbk_migration_put(reading, &change, "what %.*s changes cannot be told",
                             DBK_SLICE_ARGS(what));
}

/* A table of a name that its users know is there again. */
int dbk_migration_make_anew(struct dbk_migration_reading *reading, struct dbk_slice table,
                            const char *const *columns, size_t count)
{
    struct dbk_migration *migration = reading->migration;
    if (reading->schemas)
        return DBK_OK;
    for (size_t i = migration->count; i > 0; i--) {
        struct dbk_change *change = &migration->changes[i - 1];
        if ((change->kind != DBK_CHANGE_DROP_TABLE && change->kind != DBK_CHANGE_RENAME_TABLE) ||
            !dbk_service_is_name(table, change->table))
            continue;
        change->kind = DBK_CHANGE_REMADE;
        change->columns = columns;
        change->column_count = count;
        (void)snprintf(change->text, sizeof(change->text), "makes %s anew", change->table);
        return dbk_migration_put_name(reading,
                                      &(struct dbk_migration_name){.now = table, .before = table});
    }
    return dbk_migration_put_name(
        reading, &(struct dbk_migration_name){table, DBK_MIGRATION_NONE, columns, count});
}

/* ---- Nodes ---- */

const struct dbk_json_node *dbk_migration_list(const struct dbk_json_node *node, const char *key)
{
    const struct dbk_json_node *list = node == NULL ? NULL : dbk_json_member(node, key);
    return list == NULL || list->kind != DBK_JSON_ARRAY ? NULL : list;
}

struct dbk_slice dbk_migration_table(const struct dbk_json_node *node, const char *key)
{
    return dbk_service_text(dbk_json_member(node, key), "relname");
}

/* The last of a list of names, which is the one without its schema. */
struct dbk_slice dbk_migration_last(const struct dbk_json_node *list)
{
    struct dbk_slice name = {0};
    const struct dbk_json_node *one = list == NULL ? NULL : dbk_json_first(list);
    for (uint32_t i = 0; one != NULL && i < list->count; i++, one = dbk_json_sibling(one))
        name = dbk_service_string(one);
    return name;
}

int dbk_migration_put_cascade(struct dbk_migration_reading *reading,
                              const struct dbk_json_node *node)
{
    bool cascades = dbk_slice_equal_text(dbk_service_text(node, "behavior"), "DROP_CASCADE") ||
                    reading->migration->dialect == DBK_DIALECT_SQLITE;
    struct dbk_change change = {
        .kind = DBK_CHANGE_CASCADE, .table = "", .column = "", .new_name = ""};
    return cascades ? dbk_migration_put(reading, &change,
                                        "takes along what stands on it in the database")
                    : DBK_OK;
}
