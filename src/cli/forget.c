/* SPDX-License-Identifier: Apache-2.0 */
/* forget, and forgotten: ls, show, certificate, run. */
#include <stdio.h>
#include <unistd.h>

#include "cli/commands.h"
#include "cli/data.h"
#include "cli/fail.h"
#include "forget/forget.h"

static const char *const columns[] = {"key", "mode", "at", "state", "ciphertext_removed", NULL};

static bool tell(void *context, const struct dbk_forget_progress *progress)
{
    if (*(const bool *)context)
        (void)fprintf(stderr, "forget: %s\n", progress->step);
    return !dbk_link_stopped();
}

/* What a server does behind its answer, this process does before it ends. */
static int run_here(const struct dbk_arguments *arguments, struct dbk_link *link,
                    struct dbk_error *err)
{
    struct dbk_engine *engine = dbk_link_engine(link);
    bool seen = isatty(STDERR_FILENO) != 0;
    if (engine == NULL)
        return DBK_OK;
    dbk_link_stop_on_signals();
    return dbk_forget_run(dbk_engine_forget(engine),
                          &(struct dbk_forget_run){.now = dbk_arguments_has(arguments, "now"),
                                                   .progress = tell,
                                                   .context = &seen},
                          err);
}

int dbk_run_forget(const struct dbk_arguments *arguments)
{
    struct dbk_error err = {0};
    struct dbk_link *link = NULL;
    struct dbk_call call;
    dbk_call_init(&call, "POST", "/subjects/");
    dbk_call_path(&call, dbk_slice_of(arguments->positional[0]));
    dbk_buf_append_text(&call.path, "/forget");
    dbk_call_option(&call, arguments, "tombstone", "tombstone");
    dbk_call_option(&call, arguments, "now", "now");
    dbk_call_option(&call, arguments, "wait", "wait");
    int rc = dbk_link_open(arguments, DBK_ENGINE_WRITE, &link, &err);
    if (rc == DBK_OK)
        rc = dbk_data_answer_over(arguments, link, &call,
                                  &(struct dbk_data_show){.mode = DBK_ENGINE_WRITE, .open = "what"},
                                  &err);
    (void)fflush(stdout);
    if (rc == DBK_OK)
        rc = run_here(arguments, link, &err);
    dbk_link_free(link);
    dbk_call_release(&call);
    return rc < 0 ? dbk_fail(arguments, &err) : DBK_EXIT_OK;
}

int dbk_run_forgotten_ls(const struct dbk_arguments *arguments)
{
    struct dbk_call call;
    dbk_call_init(&call, "GET", "/forgotten");
    return dbk_data_answer(arguments, &call,
                           &(struct dbk_data_show){.mode = DBK_ENGINE_READ,
                                                   .rows = "forgotten",
                                                   .table_columns = columns,
                                                   .csv_columns = columns});
}

static void of_key(struct dbk_call *call, const struct dbk_arguments *arguments, const char *behind)
{
    dbk_call_init(call, "GET", "/forgotten/");
    dbk_call_path(call, dbk_slice_of(arguments->positional[0]));
    dbk_buf_append_text(&call->path, behind);
}

int dbk_run_forgotten_show(const struct dbk_arguments *arguments)
{
    struct dbk_call call;
    of_key(&call, arguments, "");
    return dbk_data_answer(arguments, &call,
                           &(struct dbk_data_show){.mode = DBK_ENGINE_READ, .open = "what"});
}

/* As it was signed, byte for byte. */
int dbk_run_forgotten_certificate(const struct dbk_arguments *arguments)
{
    struct dbk_error err = {0};
    struct dbk_link *link = NULL;
    struct dbk_answer answer;
    struct dbk_call call;
    of_key(&call, arguments, "/certificate");
    dbk_answer_init(&answer);
    int rc = dbk_link_open(arguments, DBK_ENGINE_READ, &link, &err);
    if (rc == DBK_OK)
        rc = dbk_link_send(link, &call, NULL, NULL, &answer, &err);
    if (rc == DBK_OK)
        (void)fwrite(answer.body.data, 1, answer.body.size, stdout);
    dbk_answer_release(&answer);
    dbk_link_free(link);
    dbk_call_release(&call);
    return rc < 0 ? dbk_fail(arguments, &err) : DBK_EXIT_OK;
}

int dbk_run_forgotten_run(const struct dbk_arguments *arguments)
{
    struct dbk_call call;
    dbk_call_init(&call, "POST", "/forgotten/run");
    dbk_call_option(&call, arguments, "now", "now");
    return dbk_data_job(arguments, &call, "forget", "subjects");
}
