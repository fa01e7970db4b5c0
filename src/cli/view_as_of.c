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

/* ---- Listing ---- */

static bool put_file(const struct dbk_as_of_file *file, const char *view, struct dbk_buf *row)
{
    bool first = true;
    if (!file->view || (view != NULL && strcmp(view, file->model) != 0))
        return false;
    dbk_as_of_put_text(row, &first, "view", file->model);
    dbk_as_of_put_time(row, &first, file->time.occurred ? "occurred_at" : "at", file->time.time_us);
    dbk_as_of_put_number(row, &first, "position", file->position);
    dbk_as_of_put_text(row, &first, "state", file->current ? "whole" : "of another definition");
    dbk_as_of_put_number(row, &first, "bytes", file->size);
    dbk_as_of_put_text(row, &first, "file", file->name);
    return true;
}

static int list_files(const struct dbk_arguments *arguments, struct dbk_link *link,
                      const struct wish *wish, struct dbk_error *err)
{
    static const char *const columns[] = {"view",  "at",    "occurred_at", "position",
                                          "state", "bytes", "file",        NULL};
    return dbk_as_of_list(arguments, link, columns, wish->view, put_file, err);
}

/* ---- One view ---- */

static int remove_files(const struct dbk_arguments *arguments, struct dbk_link *link,
                        const struct wish *wish, struct dbk_error *err)
{
    uint64_t count = 0;
    int rc = dbk_engine_as_of_remove(dbk_link_engine(link), DBK_AS_OF_VIEWS, wish->view, NULL,
                                     &count, err);
    return rc < 0 ? rc : dbk_as_of_show_removed(arguments, count, err);
}

static int show_built(const struct dbk_arguments *arguments, const struct wish *wish,
                      const struct dbk_view_as_of *as_of, struct dbk_error *err)
{
    struct dbk_buf out;
    bool first = true;
    dbk_buf_init(&out, ROW_SIZE_MAX);
    dbk_buf_append_char(&out, '{');
    dbk_as_of_put_text(&out, &first, "view", wish->view);
    if (wish->position == 0)
        dbk_as_of_put_time(&out, &first, wish->time.occurred ? "occurred_at" : "at",
                           wish->time.time_us);
    dbk_as_of_put_number(&out, &first, "position", as_of->position);
    dbk_as_of_put_time(&out, &first, "position_time", as_of->position_time_us);
    dbk_as_of_put_number(&out, &first, "rows", as_of->rows);
    dbk_as_of_put_text(&out, &first, "definition", "its file, and its models', as they are now");
    dbk_as_of_put_text(&out, &first, "built", as_of->found ? "before" : "now");
    dbk_as_of_put_text(&out, &first, "file", as_of->file);
    dbk_buf_append_char(&out, '}');
    int rc = dbk_as_of_show(arguments, &out, err);
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
                                                                    .progress = dbk_as_of_tell,
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
