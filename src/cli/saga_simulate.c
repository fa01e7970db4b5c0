/* SPDX-License-Identifier: Apache-2.0 */
/* saga simulate: a saga against a world that fails, offline. */
#include "saga/simulate.h"

#include "cli/commands.h"
#include "cli/data.h"
#include "cli/fail.h"
#include "cli/place.h"

#define TEXT_SIZE_MAX ((size_t)1 << 20)

struct showing {
    struct dbk_table *table;
    struct dbk_json *json;
    size_t counts[4]; /* by end */
};

static void put(struct dbk_buf *out, bool *first, const char *key, const char *text)
{
    dbk_json_write_key(out, first, key);
    dbk_json_write_string(out, dbk_slice_of(text));
}

static int show(const struct dbk_saga_simulated *run, void *context)
{
    struct showing *showing = context;
    const struct dbk_json_node *root = NULL;
    struct dbk_buf row;
    bool first = true;
    showing->counts[run->end]++;
    dbk_buf_init(&row, TEXT_SIZE_MAX);
    dbk_buf_append_char(&row, '{');
    put(&row, &first, "step", run->step);
    put(&row, &first, "fault", run->fault);
    put(&row, &first, "outcome", dbk_saga_end_name(run->end));
    put(&row, &first, "steps", run->steps);
    put(&row, &first, "why", run->why);
    dbk_buf_append_char(&row, '}');
    int rc = row.rc < 0 ? row.rc : dbk_json_parse(showing->json, dbk_buf_slice(&row), &root, NULL);
    if (rc == DBK_OK)
        rc = dbk_table_row(showing->table, root, NULL);
    dbk_buf_release(&row);
    return rc;
}

/* Runs the simulation; *status_out is 1 where a run got stuck, or ended half done. */
static int simulate(const struct dbk_arguments *arguments, const struct dbk_book_file *file,
                    int *status_out, struct dbk_error *err)
{
    static const char *const columns[] = {"step", "fault", "outcome", "steps", "why", NULL};
    struct dbk_table_options options = dbk_data_options(
        arguments, &(struct dbk_data_show){.table_columns = columns, .csv_columns = columns});
    struct showing showing = {.table = dbk_table_create(&options),
                              .json = dbk_json_create(TEXT_SIZE_MAX)};
    int rc = showing.table == NULL || showing.json == NULL
                 ? dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM))
                 : dbk_saga_simulate(file->name, file->file, file->source, show, &showing, err);
    if (rc == DBK_OK)
        rc = dbk_table_end(showing.table, err);
    if (rc == DBK_OK && options.output == DBK_OUTPUT_TABLE)
        (void)printf("\n%zu complete, %zu compensated, %zu stuck, %zu half done\n",
                     showing.counts[DBK_SAGA_END_COMPLETE],
                     showing.counts[DBK_SAGA_END_COMPENSATED], showing.counts[DBK_SAGA_END_STUCK],
                     showing.counts[DBK_SAGA_END_HALF_DONE]);
    *status_out = showing.counts[DBK_SAGA_END_STUCK] + showing.counts[DBK_SAGA_END_HALF_DONE] > 0
                      ? DBK_EXIT_FAILED
                      : DBK_EXIT_OK;
    dbk_table_free(showing.table);
    dbk_json_free(showing.json);
    return rc;
}

static int find(const struct dbk_book *book, const char *name,
                const struct dbk_book_file **file_out, struct dbk_error *err)
{
    const char **names = dbk_alloc_zero(book->saga_count + 1, sizeof(*names));
    *file_out = NULL;
    for (size_t i = 0; names != NULL && i < book->saga_count; i++) {
        names[i] = book->sagas[i].name;
        if (strcmp(names[i], name) == 0)
            *file_out = &book->sagas[i];
    }
    const char *closest = names == NULL ? NULL : dbk_closest_name(name, names, book->saga_count);
    dbk_free((void *)names);
    return *file_out != NULL
               ? DBK_OK
               : dbk_error_set(err, DBK_ENOTFOUND, "there is no saga %s%s%s%s", name,
                               closest == NULL ? "" : "; did you mean ",
                               closest == NULL ? "" : closest, closest == NULL ? "" : "?");
}

int dbk_run_saga_simulate(const struct dbk_arguments *arguments)
{
    struct dbk_error err = {0};
    struct dbk_place place;
    struct dbk_book *book = NULL;
    const struct dbk_book_file *file = NULL;
    struct dbk_diagnostics faults;
    int status = DBK_EXIT_FAILED;
    dbk_diagnostics_init(&faults);
    int rc = dbk_place_find(arguments, &place, &err);
    if (rc == DBK_OK)
        rc = dbk_book_load(&(struct dbk_book_options){.os = dbk_os_real(),
                                                      .folder = place.folder,
                                                      .data = place.data,
                                                      .environment = place.environment},
                           &faults, &book, &err);
    if (rc == DBK_EBOOK)
        dbk_fail_diagnostics(stderr, &faults);
    if (rc == DBK_OK)
        rc = find(book, arguments->positional[0], &file, &err);
    if (rc == DBK_OK)
        rc = simulate(arguments, file, &status, &err);
    dbk_book_free(book);
    dbk_diagnostics_release(&faults);
    return rc < 0 ? dbk_fail(arguments, &err) : status;
}
