/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/commands.h"
#include "cli/data.h"
#include "cli/fail.h"

static void write_member(struct dbk_buf *out, bool *first, const char *key, const char *text)
{
    dbk_json_write_key(out, first, key);
    dbk_json_write_string(out, dbk_slice_of(text));
}

static void write_number(struct dbk_buf *out, bool *first, const char *key, uint64_t value)
{
    dbk_json_write_key(out, first, key);
    dbk_json_write_u64(out, value);
}

/* The faults as rows: file, line, column, severity, what, why, fix. */
static int print_rows(const struct dbk_arguments *arguments, const struct dbk_diagnostics *faults,
                      struct dbk_error *err)
{
    struct dbk_table_options options = dbk_data_options(arguments, &(struct dbk_data_show){0});
    struct dbk_table *table = dbk_table_create(&options);
    struct dbk_json *json = dbk_json_create(16 << 20);
    struct dbk_buf row;
    dbk_buf_init(&row, 16 << 20);
    int rc = table == NULL || json == NULL
                 ? dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM))
                 : DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < faults->count; i++) {
        const struct dbk_diagnostic *item = &faults->items[i];
        const struct dbk_json_node *root = NULL;
        bool first = true;
        dbk_buf_reset(&row);
        dbk_buf_append_char(&row, '{');
        write_member(&row, &first, "file", item->file);
        write_number(&row, &first, "line", item->line);
        write_number(&row, &first, "column", item->column);
        write_member(&row, &first, "severity", item->warning ? "warning" : "error");
        write_member(&row, &first, "what", item->what);
        write_member(&row, &first, "why", item->why);
        write_member(&row, &first, "fix", item->fix);
        dbk_buf_append_char(&row, '}');
        rc = dbk_json_parse(json, dbk_buf_slice(&row), &root, err);
        if (rc == DBK_OK)
            rc = dbk_table_row(table, root, err);
    }
    if (rc == DBK_OK)
        rc = dbk_table_end(table, err);
    dbk_buf_release(&row);
    dbk_json_free(json);
    dbk_table_free(table);
    return rc;
}

static void print_summary(const struct dbk_book *book, const struct dbk_diagnostics *faults)
{
    if (book == NULL) {
        (void)printf("%zu %s\n", faults->error_count,
                     faults->error_count == 1 ? "error" : "errors");
        return;
    }
    (void)printf("%s: %zu types, %zu folds, %zu commands, %zu queries, %zu models, %zu views, "
                 "%zu services, %zu imports: no errors\n",
                 book->name, dbk_schemas_count(book->schemas), book->fold_count,
                 book->command_count + book->service_command_count, book->query_count,
                 book->model_count, book->view_count, book->service_count, book->import_count);
}

int dbk_run_check(const struct dbk_arguments *arguments)
{
    struct dbk_error err = {0};
    struct dbk_place place;
    struct dbk_book *book = NULL;
    struct dbk_diagnostics faults;
    dbk_diagnostics_init(&faults);
    int rc = dbk_place_find(arguments, &place, &err);
    if (rc == DBK_OK)
        rc = dbk_book_load(&(struct dbk_book_options){.os = dbk_os_real(),
                                                      .folder = place.folder,
                                                      .data = place.data,
                                                      .environment = place.environment},
                           &faults, &book, &err);
    bool portable = rc == DBK_OK && dbk_arguments_has(arguments, "portable");
    if (portable)
        rc = dbk_book_check_portable(book, dbk_os_real(), &faults, &err);
    if (rc == DBK_OK && portable && faults.error_count > 0)
        rc = DBK_EBOOK;
    bool checked = rc == DBK_OK || rc == DBK_EBOOK;
    bool rows = dbk_output_of(arguments) != DBK_OUTPUT_TABLE;
    int status = rc == DBK_OK ? DBK_EXIT_OK : DBK_EXIT_FAILED;
    if (checked && rows) {
        rc = print_rows(arguments, &faults, &err);
        checked = rc == DBK_OK;
    } else if (checked) {
        dbk_fail_diagnostics(stdout, &faults);
        print_summary(rc == DBK_OK ? book : NULL, &faults);
    }
    dbk_book_free(book);
    dbk_diagnostics_release(&faults);
    return checked ? status : dbk_fail(arguments, &err);
}
