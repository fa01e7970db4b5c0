/* SPDX-License-Identifier: Apache-2.0 */
#include "migrate/report.h"

#include <stdio.h>

/* Names past so many bytes are counted with the others, so that a report fits into an event. */
#define NAMES_SIZE_MAX ((size_t)192 << 10)
#define ARENA_SIZE_MAX (NAMES_SIZE_MAX * 2)
#define OTHERS DBK_SLICE_LITERAL("…")

static const char *const change_names[DBK_REPORT_CHANGES] = {"type", "stream", "data",
                                                             "tags", "meta",   "occurred"};

struct number {
    const char *name;
    size_t offset;
};
#define NUMBER(field)                                                                              \
    {                                                                                              \
#field, offsetof(struct dbk_report, field)                                                 \
    }
static const struct number numbers[] = {NUMBER(read),    NUMBER(made),  NUMBER(kept),
                                        NUMBER(changed), NUMBER(split), NUMBER(dropped),
                                        NUMBER(removed), NUMBER(own)};
#define NUMBERS (sizeof(numbers) / sizeof(numbers[0]))

static uint64_t *number_at(struct dbk_report *report, size_t index)
{
    return (uint64_t *)(void *)((char *)report + numbers[index].offset);
}

int dbk_report_init(struct dbk_report *report, struct dbk_error *err)
{
    *report = (struct dbk_report){0};
    dbk_arena_init(&report->arena, ARENA_SIZE_MAX);
    report->types.rows = dbk_alloc_zero(DBK_REPORT_ROWS_MAX + 1, sizeof(struct dbk_report_row));
    report->categories.rows =
        dbk_alloc_zero(DBK_REPORT_ROWS_MAX + 1, sizeof(struct dbk_report_row));
    if (report->types.rows != NULL && report->categories.rows != NULL)
        return DBK_OK;
    dbk_report_release(report);
    return dbk_error_set(err, DBK_ENOMEM, "out of memory opening a migration");
}

void dbk_report_release(struct dbk_report *report)
{
    dbk_free(report->types.rows);
    dbk_free(report->categories.rows);
    dbk_arena_release(&report->arena);
    *report = (struct dbk_report){0};
}

static uint32_t hash_of(struct dbk_slice from, struct dbk_slice to)
{
    uint32_t hash = 2166136261u;
    for (size_t i = 0; i < from.size; i++)
        hash = (hash ^ (uint8_t)from.data[i]) * 16777619u;
    hash = (hash ^ 0xffu) * 16777619u;
    for (size_t i = 0; i < to.size; i++)
        hash = (hash ^ (uint8_t)to.data[i]) * 16777619u;
    return hash ^ hash >> 15;
}

/* The row of two names, made when there is none; NULL when out of memory. */
static struct dbk_report_row *row_of(struct dbk_report *report, struct dbk_report_table *table,
                                     struct dbk_slice from, struct dbk_slice to)
{
    size_t slot = hash_of(from, to) % DBK_REPORT_SLOTS;
    for (; table->slots[slot] != 0; slot = (slot + 1) % DBK_REPORT_SLOTS) {
        struct dbk_report_row *row = &table->rows[table->slots[slot] - 1];
        if (dbk_slice_equal(row->from, from) && dbk_slice_equal(row->to, to))
            return row;
    }
    bool full = table->count == DBK_REPORT_ROWS_MAX || report->arena.used > NAMES_SIZE_MAX;
    if (full && !dbk_slice_equal(from, OTHERS))
        return row_of(report, table, OTHERS, OTHERS);
    struct dbk_report_row *row = &table->rows[table->count];
    row->from = dbk_arena_copy(&report->arena, from);
    row->to = to.size == 0 ? to : dbk_arena_copy(&report->arena, to);
    if (row->from.data == NULL || (to.size > 0 && row->to.data == NULL))
        return NULL;
    table->slots[slot] = (uint16_t)++table->count;
    return row;
}

static int count_in(struct dbk_report *report, struct dbk_report_table *table,
                    struct dbk_slice from, struct dbk_slice to, bool first, unsigned changes,
                    uint64_t old_position, uint64_t new_position)
{
    struct dbk_report_row *row = row_of(report, table, from, to);
    if (row == NULL)
        return DBK_ENOMEM;
    if (row->sources + row->events == 0) {
        row->old_position = old_position;
        row->new_position = new_position;
    }
    row->sources += first;
    row->events += new_position > 0;
    for (unsigned i = 0; i < DBK_REPORT_CHANGES; i++)
        row->changes[i] += (changes >> i & 1) != 0;
    return DBK_OK;
}

int dbk_report_add(struct dbk_report *report, const struct dbk_event *event,
                   const struct dbk_made *made, size_t count, uint64_t new_position,
                   struct dbk_error *err)
{
    static const struct dbk_slice none = {0};
    struct dbk_slice category = dbk_stream_category(event->stream);
    int rc = DBK_OK;
    report->read++;
    report->made += count;
    report->dropped += count == 0;
    report->split += count > 1;
    report->kept += count == 1 && made[0].changes == 0;
    report->changed += count == 1 && made[0].changes != 0;
    if (count == 0)
        rc = count_in(report, &report->types, event->type, none, true, 0, event->position, 0);
    if (count == 0 && rc == DBK_OK)
        rc = count_in(report, &report->categories, category, none, true, 0, event->position, 0);
    for (size_t i = 0; rc == DBK_OK && i < count; i++) {
        const struct dbk_new_event *new = &made[i].event;
        rc = count_in(report, &report->types, event->type, new->type, i == 0, made[i].changes,
                      event->position, new_position + i);
        if (rc == DBK_OK)
            rc = count_in(report, &report->categories, category, dbk_stream_category(new->stream),
                          i == 0, made[i].changes, event->position, new_position + i);
    }
    return rc < 0 ? dbk_error_set(err, rc, "out of memory counting what a migration changed") : rc;
}

int dbk_report_count(struct dbk_report *report, struct dbk_slice type, struct dbk_error *err)
{
    struct dbk_report_row *row = row_of(report, &report->types, type, (struct dbk_slice){0});
    if (row == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory counting events");
    row->events++;
    return DBK_OK;
}

/* ---- JSON ---- */

static void write_number(struct dbk_buf *out, bool *first, const char *name, uint64_t value)
{
    dbk_json_write_key(out, first, name);
    dbk_json_write_u64(out, value);
}

static void write_row(struct dbk_buf *out, const struct dbk_report_row *row)
{
    bool first = true;
    dbk_buf_append_char(out, '{');
    dbk_json_write_key(out, &first, "from");
    dbk_json_write_string(out, row->from);
    dbk_json_write_key(out, &first, "to");
    if (row->to.size == 0)
        dbk_buf_append_text(out, "null");
    else
        dbk_json_write_string(out, row->to);
    write_number(out, &first, "sources", row->sources);
    write_number(out, &first, "events", row->events);
    for (size_t i = 0; i < DBK_REPORT_CHANGES; i++) {
        char name[32];
        (void)snprintf(name, sizeof(name), "other_%s", change_names[i]);
        if (row->changes[i] > 0)
            write_number(out, &first, name, row->changes[i]);
    }
    write_number(out, &first, "first", row->old_position);
    if (row->new_position > 0)
        write_number(out, &first, "became", row->new_position);
    dbk_buf_append_char(out, '}');
}

static void write_table(struct dbk_buf *out, bool *first, const char *name,
                        const struct dbk_report_table *table)
{
    dbk_json_write_key(out, first, name);
    dbk_buf_append_char(out, '[');
    for (size_t i = 0; i < table->count; i++) {
        if (i > 0)
            dbk_buf_append_char(out, ',');
        write_row(out, &table->rows[i]);
    }
    dbk_buf_append_char(out, ']');
}

void dbk_report_write(const struct dbk_report *report, struct dbk_buf *out)
{
    bool first = true;
    dbk_buf_append_char(out, '{');
    for (size_t i = 0; i < NUMBERS; i++)
        write_number(out, &first, numbers[i].name,
                     *(const uint64_t *)(const void *)((const char *)report + numbers[i].offset));
    write_table(out, &first, "types", &report->types);
    write_table(out, &first, "categories", &report->categories);
    dbk_buf_append_char(out, '}');
}

/* A member that is a number; 0 where there is none. */
static bool read_number(const struct dbk_json_node *node, const char *name, uint64_t *value_out)
{
    const struct dbk_json_node *member = dbk_json_member(node, name);
    *value_out = 0;
    if (member == NULL)
        return true;
    if (member->kind != DBK_JSON_INTEGER || member->integer < 0)
        return false;
    *value_out = (uint64_t)member->integer;
    return true;
}

static int read_row(struct dbk_report *report, struct dbk_report_table *table,
                    const struct dbk_json_node *node)
{
    const struct dbk_json_node *from = dbk_json_member(node, "from");
    const struct dbk_json_node *to = dbk_json_member(node, "to");
    if (from == NULL || from->kind != DBK_JSON_STRING || to == NULL ||
        (to->kind != DBK_JSON_STRING && to->kind != DBK_JSON_NULL))
        return DBK_ECORRUPT;
    struct dbk_report_row *row = row_of(
        report, table, from->text, to->kind == DBK_JSON_STRING ? to->text : (struct dbk_slice){0});
    if (row == NULL)
        return DBK_ENOMEM;
    bool sound = read_number(node, "sources", &row->sources) &&
                 read_number(node, "events", &row->events) &&
                 read_number(node, "first", &row->old_position) &&
                 read_number(node, "became", &row->new_position);
    for (size_t i = 0; sound && i < DBK_REPORT_CHANGES; i++) {
        char name[32];
        (void)snprintf(name, sizeof(name), "other_%s", change_names[i]);
        sound = read_number(node, name, &row->changes[i]);
    }
    return sound ? DBK_OK : DBK_ECORRUPT;
}

static int read_table(struct dbk_report *report, struct dbk_report_table *table,
                      const struct dbk_json_node *list)
{
    int rc = DBK_OK;
    if (list == NULL || list->kind != DBK_JSON_ARRAY || list->count > DBK_REPORT_ROWS_MAX + 1)
        return DBK_ECORRUPT;
    const struct dbk_json_node *row = dbk_json_first(list);
    for (uint32_t i = 0; rc == DBK_OK && i < list->count; i++, row = dbk_json_sibling(row))
        rc = read_row(report, table, row);
    return rc;
}

int dbk_report_read(struct dbk_report *report, const struct dbk_json_node *node,
                    struct dbk_error *err)
{
    int rc = node == NULL ? DBK_ECORRUPT : DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < NUMBERS; i++)
        if (!read_number(node, numbers[i].name, number_at(report, i)))
            rc = DBK_ECORRUPT;
    if (rc == DBK_OK)
        rc = read_table(report, &report->types, dbk_json_member(node, "types"));
    if (rc == DBK_OK)
        rc = read_table(report, &report->categories, dbk_json_member(node, "categories"));
    return rc < 0 ? dbk_error_set(err, rc, "a migration's report makes no sense") : DBK_OK;
}
