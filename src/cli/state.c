/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/commands.h"
#include "cli/data.h"
#include "cli/fail.h"

static uint64_t number_of(const struct dbk_json_node *object, const char *key)
{
    const struct dbk_json_node *member = dbk_json_member(object, key);
    return member != NULL && member->kind == DBK_JSON_INTEGER && member->integer > 0
               ? (uint64_t)member->integer
               : 0;
}

static void print_explanation(const struct dbk_json_node *explain)
{
    uint64_t snapshot = number_of(explain, "snapshot_version");
    uint64_t replayed = number_of(explain, "replayed");
    if (snapshot > 0)
        (void)printf("\nsnapshot %ju, ", (uintmax_t)snapshot);
    else
        (void)printf("\nno snapshot, ");
    (void)printf("%ju %s replayed\n", (uintmax_t)replayed, replayed == 1 ? "event" : "events");
}

/* A person is shown the state alone; a program gets the whole answer. */
static int show(const struct dbk_arguments *arguments, const struct dbk_answer *answer,
                struct dbk_error *err)
{
    const struct dbk_json_node *root = NULL;
    struct dbk_table_options options = dbk_data_options(arguments, &(struct dbk_data_show){0});
    bool table = options.output == DBK_OUTPUT_TABLE;
    struct dbk_json *json = dbk_json_create((size_t)1 << 30);
    int rc = json == NULL ? dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM))
                          : dbk_json_parse(json, dbk_buf_slice(&answer->body), &root, err);
    if (rc == DBK_OK) {
        const struct dbk_json_node *state = dbk_json_member(root, "state");
        const struct dbk_json_node *explain = dbk_json_member(root, "explain");
        bool alone = state != NULL && state->kind == DBK_JSON_OBJECT &&
                     (table || options.output == DBK_OUTPUT_CSV);
        rc = dbk_table_object(&options, alone ? state : root, NULL, err);
        if (rc == DBK_OK && table && explain != NULL && explain->kind == DBK_JSON_OBJECT)
            print_explanation(explain);
    }
    dbk_json_free(json);
    return rc;
}

int dbk_run_state(const struct dbk_arguments *arguments)
{
    struct dbk_error err = {0};
    struct dbk_call call;
    struct dbk_link *link = NULL;
    struct dbk_answer answer;
    if (dbk_arguments_has(arguments, "version") + dbk_arguments_has(arguments, "at") +
            dbk_arguments_has(arguments, "occurred-at") >
        1)
        return dbk_fail_usage(arguments, "state takes one of --version, --at and --occurred-at");
    dbk_call_init(&call, "GET", "/streams/");
    dbk_call_path(&call, dbk_slice_of(arguments->positional[0]));
    dbk_buf_append_text(&call.path, "/state");
    dbk_call_option(&call, arguments, "version", "version");
    dbk_call_option(&call, arguments, "at", "at");
    dbk_call_option(&call, arguments, "occurred-at", "occurred_at");
    dbk_call_option(&call, arguments, "explain", "explain");
    dbk_answer_init(&answer);
    int rc = dbk_link_open(arguments, DBK_ENGINE_READ, &link, &err);
    if (rc == DBK_OK)
        rc = dbk_link_send(link, &call, NULL, NULL, &answer, &err);
    if (rc == DBK_OK)
        rc = show(arguments, &answer, &err);
    dbk_answer_release(&answer);
    dbk_link_free(link);
    dbk_call_release(&call);
    return rc < 0 ? dbk_fail(arguments, &err) : DBK_EXIT_OK;
}
