/* SPDX-License-Identifier: Apache-2.0 */
/*
 * impact_fuzz -- any text is refused as a migration, or read into changes that each have a place in
 * it, a kind and words; and what a text uses is said with names, or by all of its words. Of a
 * script each member that is named stands in it.
 */
#include "fuzz.h"

#include <stdlib.h>

#include "service/migration.h"
#include "service/scripts.h"

static size_t count_lines(struct dbk_slice text)
{
    size_t lines = 1;
    for (size_t i = 0; i < text.size; i++)
        lines += text.data[i] == '\n' ? 1 : 0;
    return lines;
}

static void check_changes(struct dbk_slice text, enum dbk_dialect dialect)
{
    struct dbk_arena arena;
    struct dbk_error err = {0};
    dbk_arena_init(&arena, (size_t)64 << 20);
    struct dbk_migration migration = {
        .file = "m.sql", .text = text, .dialect = dialect, .arena = &arena};
    int rc = dbk_migration_read(&migration, &err);
    if (rc < 0 && err.message[0] == '\0')
        abort();
    for (size_t i = 0; rc == DBK_OK && i < migration.count; i++) {
        const struct dbk_change *change = &migration.changes[i];
        if (change->kind >= DBK_CHANGE_COUNT || change->table == NULL || change->column == NULL ||
            change->new_name == NULL || change->text[0] == '\0' || change->line == 0 ||
            change->line > count_lines(text) || change->place == 0)
            abort();
    }
    dbk_arena_release(&arena);
}

static void check_uses(struct dbk_slice text)
{
    struct dbk_arena arena;
    struct dbk_error err = {0};
    struct dbk_json *json = dbk_service_json();
    dbk_arena_init(&arena, (size_t)64 << 20);
    struct dbk_uses uses = {.arena = &arena};
    if (json != NULL && dbk_uses_read(&uses, json, text, &err) == DBK_OK) {
        for (size_t i = 0; i < uses.count; i++) {
            const struct dbk_use *use = &uses.items[i];
            bool possible = (use->flags & DBK_USE_POSSIBLE) != 0;
            if (use->table == NULL || use->column == NULL || use->flags == 0 ||
                (uses.unread && !possible))
                abort();
        }
    }
    dbk_json_free(json);
    dbk_arena_release(&arena);
}

static void check_script(struct dbk_slice text)
{
    struct dbk_arena arena;
    const struct dbk_capture_table table = {.name = "t"};
    dbk_arena_init(&arena, (size_t)64 << 20);
    struct dbk_uses uses = {.arena = &arena};
    int rc = dbk_script_uses(&uses, &table, text);
    for (size_t i = 2; rc == DBK_OK && i < uses.count; i++) {
        const char *column = uses.items[i].column;
        if (*column == '\0' || memmem(text.data, text.size, column, strlen(column)) == NULL)
            abort();
    }
    (void)dbk_script_has_text(text, DBK_SLICE_LITERAL("t"));
    dbk_arena_release(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_changes(dbk_slice(data, size), DBK_DIALECT_POSTGRES);
    check_changes(dbk_slice(data, size), DBK_DIALECT_SQLITE);
    check_uses(dbk_slice(data, size));
    check_script(dbk_slice(data, size));
    return 0;
}
