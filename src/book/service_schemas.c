/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Personal columns of captured tables are sealed as personal fields of events are: by a schema of
 * the table's three event types, which is made here of what the service's file says. It demands
 * nothing of the other columns.
 */
#include "book/loader.h"
#include "json/json.h"

#define SCHEMA_SIZE_MAX ((size_t)1 << 20)

/* {"properties":{"name":{"x-personal":true},…}} of an image. */
static void put_image(const struct dbk_capture_table *table, struct dbk_buf *out)
{
    dbk_buf_append_text(out, "{\"type\":\"object\",\"properties\":{");
    dbk_json_write_string(out, dbk_slice_of(table->subject));
    dbk_buf_append_text(out, ":{\"type\":[\"string\",\"integer\"]}");
    for (size_t i = 0; i < table->personal_count; i++) {
        dbk_buf_append_char(out, ',');
        dbk_json_write_string(out, dbk_slice_of(table->personal[i]));
        dbk_buf_append_text(out, ":{\"x-personal\":true}");
    }
    dbk_buf_append_text(out, "},\"required\":[");
    dbk_json_write_string(out, dbk_slice_of(table->subject));
    dbk_buf_append_text(out, "]}");
}

static void put_schema(const struct dbk_capture_table *table, bool has_new, bool has_old,
                       struct dbk_buf *out)
{
    dbk_buf_append_text(out, "{\"versions\":[{\"version\":1,\"schema\":{\"type\":\"object\","
                             "\"x-subject\":");
    dbk_buf_append_char(out, '"');
    dbk_buf_append_text(out, has_new ? "new." : "old.");
    dbk_buf_append_text(out, table->subject);
    dbk_buf_append_text(out, "\",\"properties\":{");
    if (has_new) {
        dbk_buf_append_text(out, "\"new\":");
        put_image(table, out);
    }
    if (has_old) {
        dbk_buf_append_text(out, has_new ? ",\"old\":" : "\"old\":");
        put_image(table, out);
    }
    dbk_buf_append_text(out, has_new ? "},\"required\":[\"new\"]}}]}\n"
                                     : "},\"required\":[\"old\"]}}]}\n");
}

static int add_type(struct dbk_book_loader *loader, const struct dbk_capture_service *service,
                    const struct dbk_capture_table *table, const char *change,
                    struct dbk_error *err)
{
    struct dbk_arena *arena = &loader->book->arena;
    struct dbk_buf text;
    const char *type = dbk_arena_format(arena, "%s.%s", table->name, change);
    dbk_buf_init(&text, SCHEMA_SIZE_MAX);
    put_schema(table, strcmp(change, "delete") != 0, strcmp(change, "insert") != 0, &text);
    struct dbk_slice source = dbk_arena_copy(arena, dbk_buf_slice(&text));
    int rc = text.rc < 0 || type == NULL || source.data == NULL ? dbk_book_no_memory(err) : DBK_OK;
    dbk_buf_release(&text);
    return rc < 0 ? rc
                  : dbk_schemas_add(loader->book->schemas, type, service->file, source,
                                    loader->faults, err);
}

/* Types are named by the table alone: two tables of one name would share a schema. */
static int check_alone(struct dbk_book_loader *loader, size_t service, size_t table,
                       bool *alone_out)
{
    const struct dbk_book *book = loader->book;
    const struct dbk_capture_table *own = &book->services[service].tables[table];
    *alone_out = true;
    for (size_t i = 0; i < book->service_count; i++) {
        const struct dbk_capture_table *other =
            i == service ? NULL : dbk_capture_table(&book->services[i], dbk_slice_of(own->name));
        if (other == NULL || (i > service && other->personal_count > 0))
            continue; /* Reported where that one is looked at. */
        struct dbk_fault fault = {.file = book->services[service].file,
                                  .line = own->line,
                                  .column = own->column,
                                  .why = "the events of both would be sealed by one schema",
                                  .fix = "capture a view of another name of one of them"};
        *alone_out = false;
        return dbk_fault_add(loader->faults, &fault,
                             "the table `%s` has personal columns, and %s has one of that name",
                             own->name, book->services[i].file);
    }
    return DBK_OK;
}

int dbk_book_add_service_schemas(struct dbk_book_loader *loader, struct dbk_error *err)
{
    static const char *const changes[] = {"insert", "update", "delete"};
    const struct dbk_book *book = loader->book;
    for (size_t i = 0; i < book->service_count; i++) {
        for (size_t j = 0; j < book->services[i].table_count; j++) {
            const struct dbk_capture_table *table = &book->services[i].tables[j];
            bool alone = true;
            if (table->personal_count == 0 || table->subject == NULL)
                continue;
            if (check_alone(loader, i, j, &alone) < 0)
                return dbk_book_no_memory(err);
            for (size_t k = 0; alone && k < 3; k++) {
                int rc = add_type(loader, &book->services[i], table, changes[k], err);
                if (rc < 0)
                    return rc;
            }
        }
    }
    return DBK_OK;
}
