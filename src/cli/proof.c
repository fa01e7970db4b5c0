/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "cli/commands.h"
#include "cli/data.h"
#include "cli/fail.h"

static int print(void *context, struct dbk_slice bytes)
{
    return fwrite(bytes.data, 1, bytes.size, context) == bytes.size ? DBK_OK : DBK_EIO;
}

/* Answers that others' tools read are printed as the text they are, unless JSON is asked for. */
static int answer(const struct dbk_arguments *arguments, struct dbk_call *call, bool text)
{
    struct dbk_error err = {0};
    struct dbk_link *link = NULL;
    struct dbk_answer answer;
    text = text && dbk_output_of(arguments) == DBK_OUTPUT_TABLE;
    if (!text)
        return dbk_data_answer(arguments, call,
                               &(struct dbk_data_show){.mode = DBK_ENGINE_WRITE_OR_READ});
    dbk_call_header(call, "Accept", "text/plain");
    dbk_answer_init(&answer);
    int rc = dbk_link_open(arguments, DBK_ENGINE_WRITE_OR_READ, &link, &err);
    if (rc == DBK_OK)
        rc = dbk_link_send(link, call, print, stdout, &answer, &err);
    if (rc == DBK_OK && fflush(stdout) != 0)
        rc = dbk_error_set(&err, DBK_EIO, "writing the answer failed");
    dbk_answer_release(&answer);
    dbk_link_free(link);
    dbk_call_release(call);
    return rc < 0 ? dbk_fail(arguments, &err) : DBK_EXIT_OK;
}

int dbk_run_proof_checkpoint(const struct dbk_arguments *arguments)
{
    struct dbk_call call;
    dbk_call_init(&call, "GET", "/proof/checkpoint");
    return answer(arguments, &call, true);
}

int dbk_run_proof_key(const struct dbk_arguments *arguments)
{
    struct dbk_call call;
    dbk_call_init(&call, "GET", "/proof/key");
    return answer(arguments, &call, true);
}

/* A number on the command line, as a query parameter. */
static bool add_number(struct dbk_call *call, const char *name, const char *text)
{
    uint64_t number = 0;
    dbk_call_query(call, name, dbk_slice_of(text));
    return dbk_slice_to_u64(dbk_slice_of(text), &number);
}

int dbk_run_proof_inclusion(const struct dbk_arguments *arguments)
{
    struct dbk_call call;
    dbk_call_init(&call, "GET", "/proof/inclusion");
    dbk_call_option(&call, arguments, "size", "size");
    if (add_number(&call, "position", arguments->positional[0]))
        return answer(arguments, &call, true);
    dbk_call_release(&call);
    return dbk_fail_usage(arguments, "\"%s\" is no position: a number from 1 on",
                          arguments->positional[0]);
}

int dbk_run_proof_consistency(const struct dbk_arguments *arguments)
{
    static const char *const names[] = {"from", "to"};
    struct dbk_call call;
    dbk_call_init(&call, "GET", "/proof/consistency");
    for (size_t i = 0; i < arguments->positional_count; i++) {
        if (add_number(&call, names[i], arguments->positional[i]))
            continue;
        dbk_call_release(&call);
        return dbk_fail_usage(arguments, "\"%s\" is no size: a number of events",
                              arguments->positional[i]);
    }
    return answer(arguments, &call, false);
}
