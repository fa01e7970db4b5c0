/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "cli/commands.h"
#include "cli/data.h"
#include "cli/fail.h"

int dbk_run_model_ls(const struct dbk_arguments *arguments)
{
    static const char *const columns[] = {"name",       "database",       "sync",
                                          "mode",       "generation",     "position",
                                          "lag_events", "visible_p99_ms", "events_per_second",
                                          "failures",   "retries",        "letters",
                                          "state",      "changed",        "error",
                                          NULL};
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

int dbk_run_model_rebuild(const struct dbk_arguments *arguments)
{
    struct dbk_call call;
    dbk_call_init(&call, "POST", "/models/");
    dbk_call_path(&call, dbk_slice_of(arguments->positional[0]));
    dbk_buf_append_text(&call.path, "/rebuild");
    return dbk_data_job(arguments, &call, "rebuild", "events");
}
