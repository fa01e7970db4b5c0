/* SPDX-License-Identifier: Apache-2.0 */
/* Long work in the server (or here): lines of progress, the last of which is the answer. */
#include <stdio.h>

#include "cli/data.h"
#include "cli/fail.h"
#include "cli/progress.h"

#define ANSWER_SIZE_MAX ((size_t)16 << 20)

struct job {
    struct dbk_progress progress;
    struct dbk_json *json;
    struct dbk_buf line; /* not ended yet, or the last */
    struct dbk_buf last;
    bool waited; /* that it waits has been said */
};

static void show_waiting(struct job *job, const struct dbk_json_node *waiting)
{
    if (job->waited)
        return;
    job->waited = true;
    dbk_progress_clear(&job->progress);
    (void)fprintf(stderr, "waiting: %.*s\n", DBK_SLICE_ARGS(waiting->text));
}

static void take_line(struct job *job)
{
    const struct dbk_json_node *root = NULL;
    if (dbk_json_parse(job->json, dbk_buf_slice(&job->line), &root, NULL) == DBK_OK) {
        const struct dbk_json_node *done = dbk_json_member(root, "done");
        const struct dbk_json_node *total = dbk_json_member(root, "total");
        const struct dbk_json_node *waiting = dbk_json_member(root, "waiting");
        if (waiting != NULL && waiting->kind == DBK_JSON_STRING)
            show_waiting(job, waiting);
        if (done != NULL && total != NULL && done->kind == DBK_JSON_INTEGER &&
            total->kind == DBK_JSON_INTEGER && done->integer >= 0 && total->integer >= 0) {
            job->waited = false;
            dbk_progress_update(&job->progress, (uint64_t)done->integer, (uint64_t)done->integer,
                                (uint64_t)total->integer);
        }
    }
    dbk_buf_reset(&job->last);
    dbk_buf_append(&job->last, dbk_buf_slice(&job->line));
    dbk_buf_reset(&job->line);
}

static int take_bytes(void *context, struct dbk_slice bytes)
{
    struct job *job = context;
    for (size_t i = 0; i < bytes.size; i++) {
        if (bytes.data[i] != '\n')
            dbk_buf_append_char(&job->line, bytes.data[i]);
        else if (job->line.size > 0)
            take_line(job);
    }
    return job->line.rc;
}

static int show_last(const struct dbk_arguments *arguments, struct job *job, struct dbk_error *err)
{
    const struct dbk_json_node *root = NULL;
    struct dbk_table_options options = dbk_data_options(arguments, &(struct dbk_data_show){0});
    if (job->line.size > 0)
        take_line(job);
    int rc = dbk_json_parse(job->json, dbk_buf_slice(&job->last), &root, err);
    if (rc < 0)
        return rc;
    /* The status has been sent when it fails half way: then the last line says why. */
    const struct dbk_json_node *detail = dbk_json_member(root, "detail");
    if (detail != NULL && detail->kind == DBK_JSON_STRING)
        return dbk_error_set(err, DBK_ESCRIPT, "%.*s", DBK_SLICE_ARGS(detail->text));
    return dbk_table_object(&options, root, NULL, err);
}

int dbk_data_job(const struct dbk_arguments *arguments, struct dbk_call *call, const char *what,
                 const char *unit)
{
    struct dbk_error err = {0};
    struct dbk_link *link = NULL;
    struct dbk_answer answer;
    struct job job = {.json = dbk_json_create(ANSWER_SIZE_MAX)};
    dbk_buf_init(&job.line, ANSWER_SIZE_MAX);
    dbk_buf_init(&job.last, ANSWER_SIZE_MAX);
    dbk_answer_init(&answer);
    dbk_call_header(call, "Accept", "application/x-ndjson");
    dbk_progress_begin(&job.progress, what, unit);
    int rc = job.json == NULL ? dbk_error_set(&err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM))
                              : dbk_link_open(arguments, DBK_ENGINE_WRITE, &link, &err);
    if (rc == DBK_OK)
        rc = dbk_link_send(link, call, take_bytes, &job, &answer, &err);
    dbk_progress_clear(&job.progress);
    if (rc == DBK_OK)
        rc = show_last(arguments, &job, &err);
    dbk_answer_release(&answer);
    dbk_link_free(link);
    dbk_call_release(call);
    dbk_buf_release(&job.line);
    dbk_buf_release(&job.last);
    dbk_json_free(job.json);
    return rc < 0 ? dbk_fail(arguments, &err) : DBK_EXIT_OK;
}
