/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "cli/commands.h"
#include "cli/data.h"
#include "cli/fail.h"

/* NAME=VALUE words become query parameters. */
static int put_parameters(const struct dbk_arguments *arguments, struct dbk_call *call)
{
    dbk_buf_append_char(&call->path, '/');
    dbk_call_path(call, dbk_slice_of(arguments->positional[0]));
    for (size_t i = 1; i < arguments->positional_count; i++) {
        char name[256];
        const char *word = arguments->positional[i];
        size_t size = strcspn(word, "=");
        if (word[size] == '\0' || size == 0 || size >= sizeof(name)) {
            dbk_call_release(call);
            return dbk_fail_usage(arguments, "\"%s\" is not NAME=VALUE", word);
        }
        (void)snprintf(name, sizeof(name), "%.*s", (int)size, word);
        dbk_call_query(call, name, dbk_slice_of(word + size + 1));
    }
    dbk_data_after(call, arguments);
    return DBK_EXIT_OK;
}

int dbk_run_get(const struct dbk_arguments *arguments)
{
    struct dbk_call call;
    dbk_call_init(&call, "GET", "/queries");
    if (arguments->positional_count == 0 && dbk_arguments_has(arguments, "position")) {
        dbk_call_release(&call);
        return dbk_fail_usage(arguments, "--position goes with a query");
    }
    if (arguments->positional_count == 0)
        return dbk_data_answer(arguments, &call,
                               &(struct dbk_data_show){.mode = DBK_ENGINE_READ, .rows = "queries"});
    int status = put_parameters(arguments, &call);
    return status != DBK_EXIT_OK
               ? status
               : dbk_data_answer(
                     arguments, &call,
                     &(struct dbk_data_show){.mode = DBK_ENGINE_WRITE_OR_READ, .rows = "rows"});
}

static void say_text(const struct dbk_json_node *source, const char *key, const char *before)
{
    const struct dbk_json_node *text = dbk_json_member(source, key);
    if (text != NULL && text->kind == DBK_JSON_STRING)
        (void)fprintf(stderr, "%s%.*s", before, DBK_SLICE_ARGS(text->text));
}

/* The cut stands behind the rows: a line for it, and one a source. */
static void say_cut(const struct dbk_json_node *answer)
{
    const struct dbk_json_node *cut = dbk_json_member(answer, "cut");
    const struct dbk_json_node *position = cut == NULL ? NULL : dbk_json_member(cut, "position");
    const struct dbk_json_node *sources = cut == NULL ? NULL : dbk_json_member(cut, "sources");
    if (position == NULL || sources == NULL)
        return;
    (void)fprintf(stderr, "as of position %.*s", DBK_SLICE_ARGS(position->raw));
    say_text(cut, "time", ", ");
    const struct dbk_json_node *source = dbk_json_first(sources);
    for (uint32_t i = 0; i < sources->count; i++, source = dbk_json_sibling(source)) {
        say_text(source, "source", "\n  ");
        say_text(source, "by", " by ");
        say_text(source, "source_position", ", its database up to ");
        say_text(source, "committed", ", last of ");
    }
    (void)fprintf(stderr, "\n");
}

int dbk_run_report(const struct dbk_arguments *arguments)
{
    struct dbk_call call;
    dbk_call_init(&call, "GET", "/reports");
    int status = put_parameters(arguments, &call);
    return status != DBK_EXIT_OK
               ? status
               : dbk_data_answer(arguments, &call,
                                 &(struct dbk_data_show){.mode = DBK_ENGINE_WRITE_OR_READ,
                                                         .rows = "rows",
                                                         .whole = true,
                                                         .say = say_cut});
}
