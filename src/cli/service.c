/* SPDX-License-Identifier: Apache-2.0 */
/* service ls, service show: what the book's files say, without its data. */
#include "cli/commands.h"
#include "cli/fail.h"
#include "cli/schema_rows.h"

#define ANSWER_SIZE_MAX ((size_t)16 << 20)

static int load(const struct dbk_arguments *arguments, struct dbk_book **book_out,
                struct dbk_error *err)
{
    struct dbk_place place;
    int rc = dbk_place_find(arguments, &place, err);
    return rc < 0 ? rc : dbk_place_load(&place, book_out, err);
}

static void put_names(struct dbk_buf *out, bool *first, const char *key, const char *const *names,
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

static void put_tables(struct dbk_buf *out, bool *first, const struct dbk_capture_service *own)
{
    dbk_json_write_key(out, first, "tables");
    dbk_buf_append_char(out, '[');
    for (size_t i = 0; i < own->table_count; i++) {
        dbk_buf_append_text(out, i > 0 ? "," : "");
        dbk_json_write_string(out, dbk_slice_of(own->tables[i].name));
    }
    dbk_buf_append_char(out, ']');
}

static void put_contracts(struct dbk_buf *out, bool *first,
                          const struct dbk_service_definition *service)
{
    struct dbk_buf name;
    dbk_buf_init(&name, ANSWER_SIZE_MAX);
    dbk_json_write_key(out, first, "reads");
    dbk_buf_append_char(out, '[');
    for (size_t i = 0; i < service->contract_count; i++) {
        dbk_buf_reset(&name);
        dbk_buf_append_format(&name, "%s.%s", service->contracts[i].service,
                              service->contracts[i].table);
        dbk_buf_append_text(out, i > 0 ? "," : "");
        dbk_json_write_string(out, dbk_buf_slice(&name));
    }
    dbk_buf_append_char(out, ']');
    out->rc = name.rc < 0 ? name.rc : out->rc;
    dbk_buf_release(&name);
}

static void put_row(struct dbk_buf *row, const struct dbk_book *book,
                    const struct dbk_service_definition *service)
{
    bool first = true;
    size_t share =
        dbk_service_share(book->service_definitions, book->service_count, service->own->database);
    dbk_buf_append_char(row, '{');
    dbk_json_write_key(row, &first, "service");
    dbk_json_write_string(row, dbk_slice_of(service->own->name));
    dbk_json_write_key(row, &first, "database");
    if (service->own->database == NULL)
        dbk_buf_append_text(row, "null");
    else
        dbk_json_write_string(row, dbk_slice_of(service->own->database));
    dbk_json_write_key(row, &first, "shared");
    dbk_buf_append_text(row, share > 1 ? "true" : "false");
    put_tables(row, &first, service->own);
    put_contracts(row, &first, service);
    put_names(row, &first, "events_append", service->appends, service->append_count);
    put_names(row, &first, "events_read", service->reads, service->read_count);
    put_names(row, &first, "models", service->models, service->model_count);
    dbk_buf_append_char(row, '}');
}

int dbk_run_service_ls(const struct dbk_arguments *arguments)
{
    static const char *const columns[] = {"service",     "database", "shared",
                                          "tables",      "reads",    "events_append",
                                          "events_read", "models",   NULL};
    struct dbk_error err = {0};
    struct dbk_book *book = NULL;
    struct dbk_schema_rows rows;
    int rc = dbk_schema_rows_open(arguments, columns, &rows, &err);
    if (rc == DBK_OK)
        rc = load(arguments, &book, &err);
    for (size_t i = 0; rc == DBK_OK && i < book->service_count; i++) {
        put_row(&rows.row, book, &book->service_definitions[i]);
        rc = dbk_schema_rows_put(&rows, &err);
    }
    if (rc == DBK_OK)
        rc = dbk_schema_rows_end(&rows, &err);
    dbk_schema_rows_close(&rows);
    dbk_book_free(book);
    return rc < 0 ? dbk_fail(arguments, &err) : DBK_EXIT_OK;
}

static int find(const struct dbk_book *book, const char *name, size_t *index_out,
                struct dbk_error *err)
{
    struct dbk_arena arena;
    for (size_t i = 0; i < book->service_count; i++) {
        *index_out = i;
        if (strcmp(book->services[i].name, name) == 0)
            return DBK_OK;
    }
    dbk_arena_init(&arena, ANSWER_SIZE_MAX);
    const char **names = dbk_arena_alloc_zero(&arena, book->service_count + 1, sizeof(*names));
    for (size_t i = 0; names != NULL && i < book->service_count; i++)
        names[i] = book->services[i].name;
    const char *closest = names == NULL ? NULL : dbk_closest_name(name, names, book->service_count);
    int rc = closest == NULL
                 ? dbk_error_set(err, DBK_ENOTFOUND,
                                 "there is no service %s: `daybook service ls` "
                                 "lists them",
                                 name)
                 : dbk_error_set(err, DBK_ENOTFOUND, "there is no service %s: did you mean %s?",
                                 name, closest);
    dbk_arena_release(&arena);
    return rc;
}

int dbk_run_service_show(const struct dbk_arguments *arguments)
{
    struct dbk_error err = {0};
    struct dbk_book *book = NULL;
    struct dbk_buf text;
    size_t index = 0;
    dbk_buf_init(&text, ANSWER_SIZE_MAX);
    int rc = load(arguments, &book, &err);
    if (rc == DBK_OK)
        rc = find(book, arguments->positional[0], &index, &err);
    if (rc == DBK_OK) {
        dbk_service_write(book->service_definitions, book->service_count, index, &text);
        rc = dbk_data_object(arguments, &text, &err);
    }
    dbk_buf_release(&text);
    dbk_book_free(book);
    return rc < 0 ? dbk_fail(arguments, &err) : DBK_EXIT_OK;
}
