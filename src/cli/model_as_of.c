/* SPDX-License-Identifier: Apache-2.0 */
/* model as-of: builds, finds, lists and removes models as of a time. */
#include <string.h>

#include "cli/as_of.h"
#include "cli/commands.h"
#include "cli/fail.h"
#include "json/json.h"

#define ROW_SIZE_MAX ((size_t)1 << 20)

/* What the command line asks for. */
struct wish {
    const char *model; /* NULL: all */
    bool timed;
    struct dbk_as_of_time time;
    const char *sql; /* NULL: none */
    const char *out; /* NULL: the book's folder of such files */
    bool remove;
};

static int read_time(const struct dbk_arguments *arguments, struct wish *wish, size_t *used)
{
    bool at = dbk_arguments_has(arguments, "at");
    bool occurred = dbk_arguments_has(arguments, "occurred-at");
    if (at && occurred)
        return dbk_fail_usage(arguments, "model as-of takes one of --at and --occurred-at");
    wish->timed = at || occurred;
    if (wish->timed)
        wish->time = dbk_as_of_option(arguments);
    if (arguments->positional_count < 2)
        return DBK_EXIT_OK;
    const char *text = arguments->positional[1];
    int64_t time_us = 0;
    bool is_time = dbk_time_parse(dbk_slice_of(text), &time_us);
    if (wish->timed && is_time)
        return dbk_fail_usage(arguments, "one time: \"%s\", or --%s", text,
                              at ? "at" : "occurred-at");
    if (wish->timed)
        return DBK_EXIT_OK;
    if (!is_time)
        return dbk_fail_usage(arguments,
                              "TIME is an instant such as 2011-03-01 or 2011-03-01T08:26:00Z, "
                              "not \"%s\"",
                              text);
    wish->time.time_us = time_us;
    wish->timed = true;
    *used = 2;
    return DBK_EXIT_OK;
}

static int read_wish(const struct dbk_arguments *arguments, struct wish *wish)
{
    size_t count = arguments->positional_count;
    size_t used = count > 0;
    wish->model = count > 0 ? arguments->positional[0] : NULL;
    int status = read_time(arguments, wish, &used);
    if (status != DBK_EXIT_OK)
        return status;
    wish->sql = dbk_arguments_text(arguments, "query");
    wish->out = dbk_arguments_text(arguments, "out");
    wish->remove = dbk_arguments_has(arguments, "rm");
    if (count > used && wish->sql != NULL)
        return dbk_fail_usage(arguments, "one query at a time: --query, or SQL behind `--`");
    if (count > used)
        wish->sql = arguments->positional[used++];
    if (count > used)
        return dbk_fail_usage(arguments, "\"%s\" is one argument too many",
                              arguments->positional[used]);
    if (wish->model == NULL && wish->timed)
        return dbk_fail_usage(arguments, "which model? daybook model as-of MODEL TIME");
    if (!wish->timed && (wish->sql != NULL || wish->out != NULL))
        return dbk_fail_usage(arguments, "as of when? daybook model as-of MODEL TIME");
    if ((wish->remove && (wish->sql != NULL || wish->out != NULL)) ||
        (wish->sql != NULL && wish->out != NULL))
        return dbk_fail_usage(arguments, "only one of --rm, --out and a query");
    return DBK_EXIT_OK;
}

/* ---- Listing ---- */

static bool put_file(const struct dbk_as_of_file *file, const char *model, struct dbk_buf *row)
{
    bool first = true;
    if (file->view || (model != NULL && strcmp(model, file->model) != 0))
        return false;
    dbk_as_of_put_text(row, &first, "model", file->model);
    dbk_as_of_put_time(row, &first, file->time.occurred ? "occurred_at" : "at", file->time.time_us);
    dbk_as_of_put_number(row, &first, "position", file->position);
    dbk_as_of_put_number(row, &first, "of", file->target);
    dbk_as_of_put_text(row, &first, "state",
                       file->model[0] == 0             ? "damaged"
                       : file->position < file->target ? "half built"
                       : file->current                 ? "whole"
                                                       : "of another definition");
    dbk_as_of_put_number(row, &first, "bytes", file->size);
    dbk_as_of_put_text(row, &first, "file", file->name);
    return true;
}

static int list_files(const struct dbk_arguments *arguments, struct dbk_link *link,
                      const struct wish *wish, struct dbk_error *err)
{
    static const char *const columns[] = {"model", "at",    "occurred_at", "position", "of",
                                          "state", "bytes", "file",        NULL};
    return dbk_as_of_list(arguments, link, columns, wish->model, put_file, err);
}

/* ---- One model ---- */

static int remove_files(const struct dbk_arguments *arguments, struct dbk_link *link,
                        const struct wish *wish, struct dbk_error *err)
{
    uint64_t count = 0;
    /* Without a model also those that cannot be read; those of views are made of models. */
    int rc = dbk_engine_as_of_remove(dbk_link_engine(link),
                                     wish->model == NULL ? DBK_AS_OF_ANY : DBK_AS_OF_MODELS,
                                     wish->model, wish->timed ? &wish->time : NULL, &count, err);
    return rc < 0 ? rc : dbk_as_of_show_removed(arguments, count, err);
}

/* The files may differ from what the serving tables were built with. */
static int is_changed(struct dbk_engine *engine, const char *model, size_t *index_out,
                      bool *changed_out, struct dbk_error *err)
{
    struct dbk_model_status status;
    struct dbk_models *models = dbk_engine_models(engine);
    int rc = dbk_models_find(models, model, index_out, err);
    if (rc == DBK_OK)
        rc = dbk_models_status(models, *index_out, &status, err);
    if (rc == DBK_OK)
        *changed_out = status.changed;
    return rc;
}

static int show_built(const struct dbk_arguments *arguments, struct dbk_engine *engine,
                      const struct wish *wish, const struct dbk_as_of *as_of, struct dbk_error *err)
{
    struct dbk_buf out;
    bool first = true;
    bool changed = false;
    size_t index = 0;
    size_t tables = 0;
    int rc = is_changed(engine, wish->model, &index, &changed, err);
    if (rc < 0)
        return rc;
    dbk_buf_init(&out, ROW_SIZE_MAX);
    dbk_buf_append_char(&out, '{');
    dbk_as_of_put_text(&out, &first, "model", wish->model);
    dbk_as_of_put_time(&out, &first, wish->time.occurred ? "occurred_at" : "at",
                       wish->time.time_us);
    dbk_as_of_put_number(&out, &first, "position", as_of->position);
    dbk_as_of_put_time(&out, &first, "position_time", as_of->position_time_us);
    dbk_as_of_put_number(&out, &first, "letters", as_of->letters);
    dbk_as_of_put_text(&out, &first, "definition",
                       changed ? "its files as they are now, which is not what serves"
                               : "its files as they are now");
    dbk_as_of_put_text(&out, &first, "built",
                       as_of->found       ? "before"
                       : as_of->begun > 0 ? "the rest"
                                          : "now");
    dbk_as_of_put_text(&out, &first, "file", as_of->file);
    dbk_buf_append_char(&out, '}');
    rc = dbk_as_of_show(arguments, &out, err);
    dbk_buf_release(&out);
    const char *const *names = dbk_engine_model_tables(engine, index, &tables);
    if (rc == DBK_OK && tables > 0 && dbk_output_of(arguments) == DBK_OUTPUT_TABLE)
        (void)printf("\nsqlite3 '%s' 'SELECT * FROM %s LIMIT 10'\n", as_of->file, names[0]);
    return rc;
}

/* A time to come means what there is now: the query is of the same moment as the model. */
static int ask(const struct dbk_arguments *arguments, struct dbk_link *link,
               const struct wish *wish, const struct dbk_as_of *as_of, struct dbk_error *err)
{
    struct dbk_as_of_time time = wish->time;
    char text[DBK_TIME_TEXT_SIZE] = "the beginning";
    if (as_of->position > 0)
        (void)dbk_time_format(as_of->position_time_us, text);
    if (!time.occurred && as_of->position > 0)
        time.time_us = as_of->position_time_us;
    if (dbk_output_of(arguments) == DBK_OUTPUT_TABLE)
        (void)fprintf(stderr, "as of position %ju, %s; the model by its files as they are now\n",
                      (uintmax_t)as_of->position, text);
    return dbk_as_of_ask(arguments, link, wish->sql, &time, err);
}

static int build(const struct dbk_arguments *arguments, struct dbk_link *link,
                 const struct wish *wish, struct dbk_progress *progress, struct dbk_error *err)
{
    struct dbk_as_of as_of;
    struct dbk_engine *engine = dbk_link_engine(link);
    int rc = dbk_engine_as_of(engine,
                              &(struct dbk_as_of_options){.file = wish->out,
                                                          .model = wish->model,
                                                          .time = wish->time,
                                                          .progress = dbk_as_of_tell,
                                                          .context = progress},
                              &as_of, err);
    dbk_progress_clear(progress);
    if (rc < 0)
        return rc;
    return wish->sql != NULL ? ask(arguments, link, wish, &as_of, err)
                             : show_built(arguments, engine, wish, &as_of, err);
}

int dbk_run_model_as_of(const struct dbk_arguments *arguments)
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
