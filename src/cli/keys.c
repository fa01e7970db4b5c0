/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/call.h"
#include "cli/commands.h"
#include "cli/data.h"

int dbk_run_keys_ls(const struct dbk_arguments *arguments)
{
    struct dbk_call call;
    dbk_call_init(&call, "GET", "/keys");
    return dbk_data_answer(arguments, &call, &(struct dbk_data_show){.mode = DBK_ENGINE_READ});
}

int dbk_run_keys_rotate(const struct dbk_arguments *arguments)
{
    struct dbk_call call;
    dbk_call_init(&call, "POST", "/keys/rotate");
    if (dbk_arguments_has(arguments, "now"))
        dbk_call_query(&call, "now", DBK_SLICE_LITERAL("true"));
    return dbk_data_answer(arguments, &call, &(struct dbk_data_show){.mode = DBK_ENGINE_WRITE});
}
