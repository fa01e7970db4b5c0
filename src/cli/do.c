/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "cli/commands.h"
#include "cli/data.h"
#include "cli/fail.h"
#include "cli/words.h"

static int body_of(const struct dbk_arguments *arguments, struct dbk_buf *body,
                   struct dbk_error *err)
{
    const char *const *words = arguments->positional + 1;
    size_t count = arguments->positional_count - 1;
    if (count == 1 && strcspn(words[0], "{") < strcspn(words[0], "=")) {
        dbk_buf_append_text(body, words[0]);
        return DBK_OK;
    }
    return dbk_words_parse(words, count, body, err);
}

int dbk_run_do(const struct dbk_arguments *arguments)
{
    struct dbk_error err = {0};
    struct dbk_call call;
    dbk_call_init(&call, "POST", "/commands/");
    dbk_call_path(&call, dbk_slice_of(arguments->positional[0]));
    dbk_call_option(&call, arguments, "dry-run", "dry_run");
    if (dbk_arguments_has(arguments, "key"))
        dbk_call_header(&call, "Idempotency-Key", dbk_arguments_text(arguments, "key"));
    if (dbk_arguments_has(arguments, "correlation"))
        dbk_call_header(&call, "correlation-id", dbk_arguments_text(arguments, "correlation"));
    if (dbk_arguments_has(arguments, "causation"))
        dbk_call_header(&call, "causation-id", dbk_arguments_text(arguments, "causation"));
    if (dbk_arguments_has(arguments, "actor"))
        dbk_call_header(&call, "actor", dbk_arguments_text(arguments, "actor"));
    if (body_of(arguments, &call.body, &err) < 0) {
        dbk_call_release(&call);
        return dbk_fail_usage(arguments, "%s", err.message);
    }
    return dbk_data_answer(arguments, &call, &(struct dbk_data_show){.mode = DBK_ENGINE_WRITE});
}
