/* SPDX-License-Identifier: Apache-2.0 */
#include "base/diagnostics.h"

#include <stdlib.h>

/* Room for the copies of a full list of long messages. */
#define DIAGNOSTICS_ARENA_SIZE_MAX ((size_t)16 << 20)
#define NAME_SIZE_MAX 64

void dbk_diagnostics_init(struct dbk_diagnostics *list)
{
    *list = (struct dbk_diagnostics){0};
    dbk_arena_init(&list->arena, DIAGNOSTICS_ARENA_SIZE_MAX);
}

void dbk_diagnostics_release(struct dbk_diagnostics *list)
{
    dbk_free(list->items);
    dbk_arena_release(&list->arena);
    dbk_diagnostics_init(list);
}

static const char *copy(struct dbk_diagnostics *list, const char *text)
{
    return dbk_arena_copy(&list->arena, dbk_slice_of(text)).data;
}

int dbk_diagnostics_add(struct dbk_diagnostics *list, const struct dbk_diagnostic *item)
{
    if (!item->warning)
        list->error_count++;
    if (list->count == DBK_DIAGNOSTICS_MAX)
        return DBK_OK;
    if (list->count == list->capacity) {
        size_t capacity = list->capacity == 0 ? 16 : list->capacity * 2;
        struct dbk_diagnostic *items = dbk_realloc(list->items, capacity * sizeof(*items));
        if (items == NULL)
            return DBK_ENOMEM;
        list->items = items;
        list->capacity = capacity;
    }
    struct dbk_diagnostic added = *item;
    added.file = copy(list, item->file);
    added.what = copy(list, item->what);
    added.why = copy(list, item->why);
    added.fix = copy(list, item->fix);
    if (added.file == NULL || added.what == NULL || added.why == NULL || added.fix == NULL)
        return DBK_ENOMEM;
    list->items[list->count++] = added;
    return DBK_OK;
}

static int compare(const void *a, const void *b)
{
    const struct dbk_diagnostic *left = a;
    const struct dbk_diagnostic *right = b;
    int order = strcmp(left->file, right->file);
    if (order != 0)
        return order;
    if (left->line != right->line)
        return left->line < right->line ? -1 : 1;
    return (left->column > right->column) - (left->column < right->column);
}

void dbk_diagnostics_sort(struct dbk_diagnostics *list)
{
    if (list->count > 1)
        qsort(list->items, list->count, sizeof(*list->items), compare);
}

void dbk_text_place(struct dbk_slice text, size_t offset, unsigned *line_out, unsigned *column_out)
{
    unsigned line = 1;
    unsigned column = 1;
    for (size_t i = 0; i < offset && i < text.size; i++) {
        if (text.data[i] == '\n') {
            line++;
            column = 1;
        } else if (((unsigned char)text.data[i] & 0xC0) != 0x80) {
            column++;
        }
    }
    *line_out = line;
    *column_out = column;
}

/* Optimal string alignment distance; names past NAME_SIZE_MAX are never close to anything. */
static size_t distance(struct dbk_slice a, struct dbk_slice b)
{
    size_t rows[3][NAME_SIZE_MAX + 1];
    if (a.size > NAME_SIZE_MAX || b.size > NAME_SIZE_MAX)
        return SIZE_MAX;
    for (size_t j = 0; j <= b.size; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= a.size; i++) {
        size_t *row = rows[i % 3];
        const size_t *above = rows[(i + 2) % 3];
        const size_t *two_above = rows[(i + 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= b.size; j++) {
            size_t best = above[j - 1] + (a.data[i - 1] != b.data[j - 1]);
            if (above[j] + 1 < best)
                best = above[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            if (i > 1 && j > 1 && a.data[i - 1] == b.data[j - 2] &&
                a.data[i - 2] == b.data[j - 1] && two_above[j - 2] + 1 < best)
                best = two_above[j - 2] + 1;
            row[j] = best;
        }
    }
    return rows[a.size % 3][b.size];
}

const char *dbk_closest_name(const char *name, const char *const *candidates, size_t count)
{
    struct dbk_slice wanted = dbk_slice_of(name);
    size_t best_distance = wanted.size < 4 ? 2 : 3;
    const char *best = NULL;
    for (size_t i = 0; i < count; i++) {
        size_t found = distance(wanted, dbk_slice_of(candidates[i]));
        if (found < best_distance) {
            best_distance = found;
            best = candidates[i];
        }
    }
    return best;
}
