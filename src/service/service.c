/* SPDX-License-Identifier: Apache-2.0 */
#include "service/service.h"

#include <stdio.h>

#include "json/json.h"

bool dbk_service_has(const char *const *names, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(names[i], name) == 0)
            return true;
    }
    return false;
}

size_t dbk_service_share(const struct dbk_service_definition *services, size_t count,
                         const char *database)
{
    size_t found = 0;
    for (size_t i = 0; i < count; i++) {
        const char *other = services[i].own->database;
        found += other != NULL && database != NULL && strcmp(other, database) == 0 ? 1 : 0;
    }
    return found;
}

static void write_text(struct dbk_buf *out, bool *first, const char *key, const char *text)
{
    dbk_json_write_key(out, first, key);
    if (text == NULL)
        dbk_buf_append_text(out, "null");
    else
        dbk_json_write_string(out, dbk_slice_of(text));
}

static void write_names(struct dbk_buf *out, bool *first, const char *key, const char *const *names,
                        size_t count)
{
    dbk_json_write_key(out, first, key);
    dbk_buf_append_char(out, '[');
    for (size_t i = 0; i < count; i++) {
        dbk_buf_append_text(out, i > 0 ? "," : "");
        dbk_json_write_string(out, dbk_slice_of(names[i]));
    }
    dbk_buf_append_char(out, ']');
}

static const struct dbk_service_contract *contract_with(const struct dbk_service_definition *reader,
                                                        const char *service, const char *table)
{
    for (size_t i = 0; i < reader->contract_count; i++) {
        const struct dbk_service_contract *contract = &reader->contracts[i];
        if (strcmp(contract->service, service) == 0 && strcmp(contract->table, table) == 0)
            return contract;
    }
    return NULL;
}

/* Who reads a table, in the order of services. */
static void write_readers(struct dbk_buf *out, bool *first,
                          const struct dbk_service_definition *services, size_t count,
                          const char *service, const char *table)
{
    bool none = true;
    dbk_json_write_key(out, first, "read_by");
    dbk_buf_append_char(out, '[');
    for (size_t i = 0; i < count; i++) {
        const struct dbk_service_contract *contract = contract_with(&services[i], service, table);
        bool inner = true;
        if (contract == NULL)
            continue;
        dbk_buf_append_text(out, none ? "{" : ",{");
        none = false;
        write_text(out, &inner, "service", services[i].own->name);
        write_names(out, &inner, "columns", contract->columns, contract->column_count);
        dbk_json_write_key(out, &inner, "version");
        dbk_json_write_u64(out, contract->version);
        dbk_buf_append_char(out, '}');
    }
    dbk_buf_append_char(out, ']');
}

static const char *capture_text(enum dbk_capture_kind kind)
{
    return kind == DBK_CAPTURE_CDC ? "cdc" : kind == DBK_CAPTURE_POLLING ? "polling" : NULL;
}

static void write_tables(struct dbk_buf *out, bool *first,
                         const struct dbk_service_definition *services, size_t count,
                         const struct dbk_service_definition *service)
{
    dbk_json_write_key(out, first, "tables");
    dbk_buf_append_char(out, '[');
    for (size_t i = 0; i < service->own->table_count; i++) {
        const struct dbk_capture_table *table = &service->own->tables[i];
        bool inner = true;
        dbk_buf_append_text(out, i > 0 ? ",{" : "{");
        write_text(out, &inner, "table", table->name);
        write_text(out, &inner, "capture", capture_text(table->kind));
        write_names(out, &inner, "public", service->tables[i].public,
                    service->tables[i].public_count);
        dbk_json_write_key(out, &inner, "version");
        dbk_json_write_u64(out, service->tables[i].version);
        write_readers(out, &inner, services, count, service->own->name, table->name);
        dbk_buf_append_char(out, '}');
    }
    dbk_buf_append_char(out, ']');
}

static void write_contracts(struct dbk_buf *out, bool *first,
                            const struct dbk_service_definition *service)
{
    dbk_json_write_key(out, first, "reads");
    dbk_buf_append_char(out, '[');
    for (size_t i = 0; i < service->contract_count; i++) {
        const struct dbk_service_contract *contract = &service->contracts[i];
        char table[256];
        bool inner = true;
        (void)snprintf(table, sizeof(table), "%s.%s", contract->service, contract->table);
        dbk_buf_append_text(out, i > 0 ? ",{" : "{");
        write_text(out, &inner, "table", table);
        write_names(out, &inner, "columns", contract->columns, contract->column_count);
        dbk_json_write_key(out, &inner, "version");
        dbk_json_write_u64(out, contract->version);
        dbk_buf_append_char(out, '}');
    }
    dbk_buf_append_char(out, ']');
}

static void write_sharers(struct dbk_buf *out, bool *first,
                          const struct dbk_service_definition *services, size_t count, size_t index)
{
    const char *database = services[index].own->database;
    bool none = true;
    dbk_json_write_key(out, first, "shared_with");
    dbk_buf_append_char(out, '[');
    for (size_t i = 0; i < count && database != NULL; i++) {
        const char *other = services[i].own->database;
        if (i == index || other == NULL || strcmp(other, database) != 0)
            continue;
        dbk_buf_append_text(out, none ? "" : ",");
        none = false;
        dbk_json_write_string(out, dbk_slice_of(services[i].own->name));
    }
    dbk_buf_append_char(out, ']');
}

static void write_scopes(struct dbk_buf *out, bool *first,
                         const struct dbk_service_definition *service)
{
    dbk_json_write_key(out, first, "scopes");
    dbk_buf_append_char(out, '[');
    for (size_t i = 0; i < service->scope_count; i++) {
        dbk_buf_append_text(out, i > 0 ? "," : "");
        dbk_json_write_string(out, service->scopes[i].text);
    }
    dbk_buf_append_char(out, ']');
}

void dbk_service_write(const struct dbk_service_definition *services, size_t count, size_t index,
                       struct dbk_buf *out)
{
    const struct dbk_service_definition *service = &services[index];
    bool first = true;
    dbk_buf_append_char(out, '{');
    write_text(out, &first, "service", service->own->name);
    write_text(out, &first, "file", service->own->file);
    write_text(out, &first, "database", service->own->database);
    write_sharers(out, &first, services, count, index);
    write_tables(out, &first, services, count, service);
    write_text(out, &first, "outbox", service->own->outbox.table);
    write_contracts(out, &first, service);
    write_names(out, &first, "events_append", service->appends, service->append_count);
    write_names(out, &first, "events_read", service->reads, service->read_count);
    write_names(out, &first, "models", service->models, service->model_count);
    write_scopes(out, &first, service);
    dbk_buf_append_char(out, '}');
}
