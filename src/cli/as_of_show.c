/* SPDX-License-Identifier: Apache-2.0 */
/* What `model as-of` and `view as-of` show alike. */
#include "cli/as_of.h"
#include "json/json.h"

#define ROW_SIZE_MAX ((size_t)1 << 20)

void dbk_as_of_put_text(struct dbk_buf *out, bool *first, const char *name, const char *text)
{
    dbk_json_write_key(out, first, name);
    dbk_json_write_string(out, dbk_slice_of(text));
}

void dbk_as_of_put_number(struct dbk_buf *out, bool *first, const char *name, uint64_t number)
{
    dbk_json_write_key(out, first, name);
    dbk_json_write_u64(out, number);
}

void dbk_as_of_put_time(struct dbk_buf *out, bool *first, const char *name, int64_t time_us)
{
    char text[DBK_TIME_TEXT_SIZE];
    if (time_us == DBK_TIME_NONE)
        return;
    (void)dbk_time_format(time_us, text);
    dbk_as_of_put_text(out, first, name, text);
}

struct listing {
    const char *name;
    dbk_as_of_put_fn put;
    struct dbk_table *table;
    struct dbk_json *json;
    struct dbk_buf row;
    struct dbk_error *err;
};

static int list_one(const struct dbk_as_of_file *file, void *context)
{
    struct listing *listing = context;
    const struct dbk_json_node *root = NULL;
    dbk_buf_reset(&listing->row);
    dbk_buf_append_char(&listing->row, '{');
    if (!listing->put(file, listing->name, &listing->row))
        return DBK_OK;
    dbk_buf_append_char(&listing->row, '}');
    int rc = dbk_json_parse(listing->json, dbk_buf_slice(&listing->row), &root, listing->err);
    return rc < 0 ? rc : dbk_table_row(listing->table, root, listing->err);
}

int dbk_as_of_list(const struct dbk_arguments *arguments, struct dbk_link *link,
                   const char *const *columns, const char *name, dbk_as_of_put_fn put,
                   struct dbk_error *err)
{
    struct dbk_table_options options = dbk_data_options(
        arguments, &(struct dbk_data_show){.table_columns = columns, .csv_columns = columns});
    struct listing listing = {.name = name,
                              .put = put,
                              .table = dbk_table_create(&options),
                              .json = dbk_json_create(ROW_SIZE_MAX),
                              .err = err};
    dbk_buf_init(&listing.row, ROW_SIZE_MAX);
    int rc = listing.table == NULL || listing.json == NULL
                 ? dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM))
                 : dbk_engine_as_of_list(dbk_link_engine(link), list_one, &listing, err);
    if (rc == DBK_OK)
        rc = dbk_table_end(listing.table, err);
    dbk_buf_release(&listing.row);
    dbk_json_free(listing.json);
    dbk_table_free(listing.table);
    return rc;
}

int dbk_as_of_show(const struct dbk_arguments *arguments, const struct dbk_buf *text,
                   struct dbk_error *err)
{
    const struct dbk_json_node *root = NULL;
    struct dbk_table_options options = dbk_data_options(arguments, &(struct dbk_data_show){0});
    struct dbk_json *json = dbk_json_create(ROW_SIZE_MAX);
    int rc = json == NULL ? dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM))
                          : dbk_json_parse(json, dbk_buf_slice(text), &root, err);
    if (rc == DBK_OK)
        rc = dbk_table_object(&options, root, NULL, err);
    dbk_json_free(json);
    return rc;
}

int dbk_as_of_show_removed(const struct dbk_arguments *arguments, uint64_t count,
                           struct dbk_error *err)
{
    struct dbk_buf out;
    bool first = true;
    dbk_buf_init(&out, ROW_SIZE_MAX);
    dbk_buf_append_char(&out, '{');
    dbk_as_of_put_number(&out, &first, "removed", count);
    dbk_buf_append_char(&out, '}');
    int rc = dbk_as_of_show(arguments, &out, err);
    dbk_buf_release(&out);
    return rc;
}

bool dbk_as_of_tell(void *context, uint64_t done, uint64_t total)
{
    dbk_progress_update(context, done, done, total);
    return !dbk_link_stopped();
}
