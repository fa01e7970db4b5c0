/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "cli/commands.h"
#include "cli/data.h"
#include "cli/fail.h"

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
    dbk_buf_append_char(&call.path, '/');
    dbk_call_path(&call, dbk_slice_of(arguments->positional[0]));
    for (size_t i = 1; i < arguments->positional_count; i++) {
        char name[256];
        const char *word = arguments->positional[i];
        size_t size = strcspn(word, "=");
        if (word[size] == '\0' || size == 0 || size >= sizeof(name)) {
            dbk_call_release(&call);
            return dbk_fail_usage(arguments, "\"%s\" is not NAME=VALUE", word);
        }
        (void)snprintf(name, sizeof(name), "%.*s", (int)size, word);
        dbk_call_query(&call, name, dbk_slice_of(word + size + 1));
    }
    dbk_data_after(&call, arguments);
    return dbk_data_answer(
        arguments, &call,
        &(struct dbk_data_show){.mode = DBK_ENGINE_WRITE_OR_READ, .rows = "rows"});
}
