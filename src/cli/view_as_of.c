/* SPDX-License-Identifier: Apache-2.0 */
/* view as-of: builds, finds, lists and removes views as of a time. */
#include <string.h>

#include "cli/as_of.h"
#include "cli/commands.h"
#include "cli/fail.h"
#include "json/json.h"

#define ROW_SIZE_MAX ((size_t)1 << 20)

/* What the command line asks for. */
struct wish {
    const char *view; /* NULL: all */
    bool timed;
    struct dbk_as_of_time time;
    uint64_t position; /* 0: none */
    const char *out;   /* NULL: the book's folder of such files */
    bool remove;
};

static int read_time(const struct dbk_arguments *arguments, struct wish *wish)
{
    static const char *const names[] = {"at", "occurred-at", "position"};
    size_t given = 0;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        given += dbk_arguments_has(arguments, names[i]);
    if (given + (arguments->positional_count > 1) > 1)
        return dbk_fail_usage(arguments,
                              "view as-of takes one of TIME, --at, --occurred-at and --position");
    wish->position = dbk_arguments_number(arguments, "position", 0);
    wish->timed = given > 0;
    if (given > 0 && !dbk_arguments_has(arguments, "position"))
        wish->time = dbk_as_of_option(arguments);
    if (dbk_arguments_has(arguments, "position") && wish->position == 0)
        return dbk_fail_usage(arguments, "--position takes that of an event, from 1");
    if (arguments->positional_count < 2)
        return DBK_EXIT_OK;
    if (!dbk_time_parse(dbk_slice_of(arguments->positional[1]), &wish->time.time_us))
        return dbk_fail_usage(arguments,
                              "TIME is an instant such as 2011-03-01 or 2011-03-01T08:26:00Z, "
                              "not \"%s\"",
                              arguments->positional[1]);
    wish->timed = true;
    return DBK_EXIT_OK;
}

static int read_wish(const struct dbk_arguments *arguments, struct wish *wish)
{
    wish->view = arguments->positional_count > 0 ? arguments->positional[0] : NULL;
    int status = read_time(arguments, wish);
    if (status != DBK_EXIT_OK)
        return status;
    wish->out = dbk_arguments_text(arguments, "out");
    wish->remove = dbk_arguments_has(arguments, "rm");
    if (wish->view == NULL && wish->timed)
        return dbk_fail_usage(arguments, "which view? daybook view as-of VIEW TIME");
    if (!wish->timed && wish->out != NULL)
        return dbk_fail_usage(arguments, "as of when? daybook view as-of VIEW TIME");
    if (wish->remove && (wish->out != NULL || wish->timed))
        return dbk_fail_usage(arguments, "--rm removes a view's files, or all: without a time");
    return DBK_EXIT_OK;
}

static void put_text(struct dbk_buf *out, bool *first, const char *name, const char *text)
{
    dbk_json_write_key(out, first, name);
    dbk_json_write_string(out, dbk_slice_of(text));
}

static void put_number(struct dbk_buf *out, bool *first, const char *name, uint64_t number)
{
    dbk_json_write_key(out, first, name);
    dbk_json_write_u64(out, number);
}

static void put_time(struct dbk_buf *out, bool *first, const char *name, int64_t time_us)
{
    char text[DBK_TIME_TEXT_SIZE];
    if (time_us == DBK_TIME_NONE)
        return;
    (void)dbk_time_format(time_us, text);
    put_text(out, first, name, text);
}

/* ---- Listing ---- */

struct listing {
    const struct wish *wish;
    struct dbk_table *table;
    struct dbk_json *json;
    struct dbk_buf row;
    struct dbk_error *err;
};

static int list_one(const struct dbk_as_of_file *file, void *context)
{
    struct listing *listing = context;
    struct dbk_buf *row = &listing->row;
    const struct dbk_json_node *root = NULL;
    bool first = true;
    if (!file->view ||
        (listing->wish->view != NULL && strcmp(listing->wish->view, file->model) != 0))
        return DBK_OK;
    dbk_buf_reset(row);
    dbk_buf_append_char(row, '{');
    put_text(row, &first, "view", file->model);
    put_time(row, &first, file->time.occurred ? "occurred_at" : "at", file->time.time_us);
    put_number(row, &first, "position", file->position);
    put_text(row, &first, "state", file->current ? "whole" : "of another definition");
    put_number(row, &first, "bytes", file->size);
    put_text(row, &first, "file", file->name);
    dbk_buf_append_char(row, '}');
    int rc = dbk_json_parse(listing->json, dbk_buf_slice(row), &root, listing->err);
    return rc < 0 ? rc : dbk_table_row(listing->table, root, listing->err);
}

static int list_files(const struct dbk_arguments *arguments, struct dbk_link *link,
                      const struct wish *wish, struct dbk_error *err)
{
    static const char *const columns[] = {"view",  "at",    "occurred_at", "position",
                                          "state", "bytes", "file",        NULL};
    struct dbk_table_options options = dbk_data_options(
        arguments, &(struct dbk_data_show){.table_columns = columns, .csv_columns = columns});
    struct listing listing = {.wish = wish,
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

/* ---- One view ---- */

static int show_object(const struct dbk_arguments *arguments, const struct dbk_buf *text,
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

static int remove_files(const struct dbk_arguments *arguments, struct dbk_link *link,
                        const struct wish *wish, struct dbk_error *err)
{
    struct dbk_buf out;
    uint64_t count = 0;
    bool first = true;
    int rc = dbk_engine_as_of_remove(dbk_link_engine(link), DBK_AS_OF_VIEWS, wish->view, NULL,
                                     &count, err);
    if (rc < 0)
        return rc;
    dbk_buf_init(&out, ROW_SIZE_MAX);
    dbk_buf_append_char(&out, '{');
    put_number(&out, &first, "removed", count);
    dbk_buf_append_char(&out, '}');
    rc = show_object(arguments, &out, err);
    dbk_buf_release(&out);
    return rc;
}

static bool tell(void *context, uint64_t done, uint64_t total)
{
    dbk_progress_update(context, done, done, total);
    return !dbk_link_stopped();
}

static int show_built(const struct dbk_arguments *arguments, const struct wish *wish,
                      const struct dbk_view_as_of *as_of, struct dbk_error *err)
{
    struct dbk_buf out;
    bool first = true;
    dbk_buf_init(&out, ROW_SIZE_MAX);
    dbk_buf_append_char(&out, '{');
    put_text(&out, &first, "view", wish->view);
    if (wish->position == 0)
        put_time(&out, &first, wish->time.occurred ? "occurred_at" : "at", wish->time.time_us);
    put_number(&out, &first, "position", as_of->position);
    put_time(&out, &first, "position_time", as_of->position_time_us);
    put_number(&out, &first, "rows", as_of->rows);
    put_text(&out, &first, "definition", "its file, and its models', as they are now");
    put_text(&out, &first, "built", as_of->found ? "before" : "now");
    put_text(&out, &first, "file", as_of->file);
    dbk_buf_append_char(&out, '}');
    int rc = show_object(arguments, &out, err);
    dbk_buf_release(&out);
    if (rc == DBK_OK && dbk_output_of(arguments) == DBK_OUTPUT_TABLE)
        (void)printf("\nsqlite3 '%s' 'SELECT * FROM %s LIMIT 10'\n", as_of->file, wish->view);
    return rc;
}

static int build(const struct dbk_arguments *arguments, struct dbk_link *link,
                 const struct wish *wish, struct dbk_progress *progress, struct dbk_error *err)
{
    struct dbk_view_as_of as_of;
    int rc = dbk_engine_view_as_of(dbk_link_engine(link),
                                   &(struct dbk_view_as_of_options){.view = wish->view,
                                                                    .time = wish->time,
                                                                    .position = wish->position,
                                                                    .file = wish->out,
                                                                    .progress = tell,
                                                                    .context = progress},
                                   &as_of, err);
    dbk_progress_clear(progress);
    return rc < 0 ? rc : show_built(arguments, wish, &as_of, err);
}

int dbk_run_view_as_of(const struct dbk_arguments *arguments)
{
    struct dbk_error err = {0};
    struct dbk_link *link = NULL;
    struct dbk_progress progress;
    struct wish wish = {0};
    int status = read_wish(arguments, &wish);
    if (status != DBK_EXIT_OK)
        return status;
    int rc = dbk_as_of_open(arguments, &progress, &link, &err);
    if (rc == DBK_OK && wish.remove)
        rc = remove_files(arguments, link, &wish, &err);
    else if (rc == DBK_OK && !wish.timed)
        rc = list_files(arguments, link, &wish, &err);
    else if (rc == DBK_OK)
        rc = build(arguments, link, &wish, &progress, &err);
    dbk_progress_clear(&progress);
    dbk_link_free(link);
    return rc < 0 ? dbk_fail(arguments, &err) : DBK_EXIT_OK;
}
