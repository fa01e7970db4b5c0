/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "cli/commands.h"
#include "cli/data.h"
#include "cli/fail.h"
#include "cli/progress.h"

int dbk_run_model_ls(const struct dbk_arguments *arguments)
{
    static const char *const columns[] = {"name",     "database",   "sync",  "generation",
                                          "position", "lag_events", "state", "changed",
                                          "error",    NULL};
    struct dbk_call call;
    dbk_call_init(&call, "GET", "/models");
    return dbk_data_answer(arguments, &call,
                           &(struct dbk_data_show){.mode = DBK_ENGINE_WRITE_OR_READ,
                                                   .rows = "models",
                                                   .table_columns = columns});
}

int dbk_run_model_show(const struct dbk_arguments *arguments)
{
    struct dbk_call call;
    dbk_call_init(&call, "GET", "/models/");
    dbk_call_path(&call, dbk_slice_of(arguments->positional[0]));
    return dbk_data_answer(arguments, &call,
                           &(struct dbk_data_show){.mode = DBK_ENGINE_WRITE_OR_READ});
}

/* The model's only table; DBK_EINVAL when it has several, and names them. */
static int find_table(struct dbk_link *link, const char *model, struct dbk_buf *name,
                      struct dbk_error *err)
{
    struct dbk_call call;
    struct dbk_answer answer;
    const struct dbk_json_node *root = NULL;
    struct dbk_json *json = dbk_json_create(16 << 20);
    dbk_answer_init(&answer);
    dbk_call_init(&call, "GET", "/models/");
    dbk_call_path(&call, dbk_slice_of(model));
    int rc = json == NULL ? dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM))
                          : dbk_link_send(link, &call, NULL, NULL, &answer, err);
    if (rc == DBK_OK)
        rc = dbk_json_parse(json, dbk_buf_slice(&answer.body), &root, err);
    if (rc == DBK_OK) {
        const struct dbk_json_node *tables = dbk_json_member(root, "tables");
        const struct dbk_json_node *first = tables != NULL ? dbk_json_first(tables) : NULL;
        if (first == NULL || first->kind != DBK_JSON_STRING)
            rc = dbk_error_set(err, DBK_EINVAL, "model %s has no table", model);
        else if (tables->count > 1)
            rc = dbk_error_set(err, DBK_EINVAL, "model %s has several tables, name one of %.*s",
                               model, DBK_SLICE_ARGS(tables->raw));
        else
            dbk_buf_append(name, first->text);
    }
    dbk_json_free(json);
    dbk_answer_release(&answer);
    dbk_call_release(&call);
    return rc;
}

int dbk_run_model_read(const struct dbk_arguments *arguments)
{
    struct dbk_error err = {0};
    struct dbk_link *link = NULL;
    struct dbk_buf table;
    struct dbk_call call;
    const char *model = arguments->positional[0];
    dbk_buf_init(&table, 1 << 16);
    int rc = DBK_OK;
    if (arguments->positional_count > 1) {
        dbk_buf_append_text(&table, arguments->positional[1]);
    } else {
        rc = dbk_link_open(arguments, DBK_ENGINE_WRITE_OR_READ, &link, &err);
        if (rc == DBK_OK)
            rc = find_table(link, model, &table, &err);
        dbk_link_free(link);
    }
    dbk_call_init(&call, "GET", "/models/");
    dbk_call_path(&call, dbk_slice_of(model));
    dbk_buf_append_text(&call.path, "/tables/");
    dbk_call_path(&call, dbk_buf_slice(&table));
    dbk_buf_release(&table);
    if (rc < 0) {
        dbk_call_release(&call);
        return dbk_fail(arguments, &err);
    }
    dbk_data_after(&call, arguments);
    dbk_call_option(&call, arguments, "limit", "limit");
    return dbk_data_answer(
        arguments, &call,
        &(struct dbk_data_show){.mode = DBK_ENGINE_WRITE_OR_READ, .rows = "rows"});
}

/* ---- rebuild: lines of progress, the last of which is the answer ---- */

struct rebuild {
    struct dbk_progress progress;
    struct dbk_json *json;
    struct dbk_buf line; /* not ended yet, or the last */
    struct dbk_buf last;
};

static void take_line(struct rebuild *rebuild)
{
    const struct dbk_json_node *root = NULL;
    if (dbk_json_parse(rebuild->json, dbk_buf_slice(&rebuild->line), &root, NULL) == DBK_OK) {
        const struct dbk_json_node *done = dbk_json_member(root, "done");
        const struct dbk_json_node *total = dbk_json_member(root, "total");
        if (done != NULL && total != NULL && done->kind == DBK_JSON_INTEGER &&
            total->kind == DBK_JSON_INTEGER && done->integer >= 0 && total->integer >= 0)
            dbk_progress_update(&rebuild->progress, (uint64_t)done->integer,
                                (uint64_t)done->integer, (uint64_t)total->integer);
    }
    dbk_buf_reset(&rebuild->last);
    dbk_buf_append(&rebuild->last, dbk_buf_slice(&rebuild->line));
    dbk_buf_reset(&rebuild->line);
}

static int take_bytes(void *context, struct dbk_slice bytes)
{
    struct rebuild *rebuild = context;
    for (size_t i = 0; i < bytes.size; i++) {
        if (bytes.data[i] != '\n')
            dbk_buf_append_char(&rebuild->line, bytes.data[i]);
        else if (rebuild->line.size > 0)
            take_line(rebuild);
    }
    return rebuild->line.rc;
}

static int show_last(const struct dbk_arguments *arguments, struct rebuild *rebuild,
                     struct dbk_error *err)
{
    const struct dbk_json_node *root = NULL;
    struct dbk_table_options options = dbk_data_options(arguments, &(struct dbk_data_show){0});
    if (rebuild->line.size > 0)
        take_line(rebuild);
    int rc = dbk_json_parse(rebuild->json, dbk_buf_slice(&rebuild->last), &root, err);
    if (rc < 0)
        return rc;
    /* The status has been sent when a rebuild fails half way: then the last line says why. */
    const struct dbk_json_node *detail = dbk_json_member(root, "detail");
    if (detail != NULL && detail->kind == DBK_JSON_STRING)
        return dbk_error_set(err, DBK_ESCRIPT, "%.*s", DBK_SLICE_ARGS(detail->text));
    return dbk_table_object(&options, root, NULL, err);
}

int dbk_run_model_rebuild(const struct dbk_arguments *arguments)
{
    struct dbk_error err = {0};
    struct dbk_link *link = NULL;
    struct dbk_call call;
    struct dbk_answer answer;
    struct rebuild rebuild = {.json = dbk_json_create(16 << 20)};
    dbk_buf_init(&rebuild.line, 16 << 20);
    dbk_buf_init(&rebuild.last, 16 << 20);
    dbk_answer_init(&answer);
    dbk_call_init(&call, "POST", "/models/");
    dbk_call_path(&call, dbk_slice_of(arguments->positional[0]));
    dbk_buf_append_text(&call.path, "/rebuild");
    dbk_call_header(&call, "Accept", "application/x-ndjson");
    dbk_progress_begin(&rebuild.progress, "rebuild", "events");
    int rc = rebuild.json == NULL ? dbk_error_set(&err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM))
                                  : dbk_link_open(arguments, DBK_ENGINE_WRITE, &link, &err);
    if (rc == DBK_OK)
        rc = dbk_link_send(link, &call, take_bytes, &rebuild, &answer, &err);
    dbk_progress_clear(&rebuild.progress);
    if (rc == DBK_OK)
        rc = show_last(arguments, &rebuild, &err);
    dbk_answer_release(&answer);
    dbk_link_free(link);
    dbk_call_release(&call);
    dbk_buf_release(&rebuild.line);
    dbk_buf_release(&rebuild.last);
    dbk_json_free(rebuild.json);
    return rc < 0 ? dbk_fail(arguments, &err) : DBK_EXIT_OK;
}
