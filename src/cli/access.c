/* SPDX-License-Identifier: Apache-2.0 */
/* access add, ls, rotate, limit, scope, revoke: API keys. */
#include "base/time.h"
#include "cli/commands.h"
#include "cli/data.h"
#include "cli/fail.h"
#include "json/json.h"

static void put(struct dbk_buf *out, bool *first, const char *key, const char *text)
{
    if (text == NULL)
        return;
    dbk_json_write_key(out, first, key);
    dbk_json_write_string(out, dbk_slice_of(text));
}

/* The instant that is so long from now. */
static void instant_behind(int64_t duration_us, char text_out[DBK_TIME_TEXT_SIZE])
{
    struct dbk_os *os = dbk_os_real();
    (void)dbk_time_format(os->now_us(os) + duration_us, text_out);
}

/* Words with a comma between. */
static void put_scopes(struct dbk_buf *out, bool *first, const char *text)
{
    if (text == NULL)
        return;
    dbk_json_write_key(out, first, "scopes");
    dbk_buf_append_char(out, '[');
    for (const char *at = text;;) {
        size_t size = strcspn(at, ",");
        dbk_json_write_string(out, dbk_slice(at, size));
        if (at[size] == '\0')
            break;
        dbk_buf_append_char(out, ',');
        at += size + 1;
    }
    dbk_buf_append_char(out, ']');
}

static void put_number(struct dbk_buf *out, bool *first, const struct dbk_arguments *arguments,
                       const char *name)
{
    if (!dbk_arguments_has(arguments, name))
        return;
    dbk_json_write_key(out, first, name);
    dbk_json_write_u64(out, dbk_arguments_number(arguments, name, 0));
}

int dbk_run_access_add(const struct dbk_arguments *arguments)
{
    struct dbk_call call;
    char expires[DBK_TIME_TEXT_SIZE];
    bool first = true;
    bool ends = dbk_arguments_has(arguments, "expires");
    dbk_call_init(&call, "POST", "/access/keys");
    dbk_buf_append_char(&call.body, '{');
    put(&call.body, &first, "name",
        arguments->positional_count > 0 ? arguments->positional[0] : NULL);
    put(&call.body, &first, "service", dbk_arguments_text(arguments, "service"));
    put_scopes(&call.body, &first, dbk_arguments_text(arguments, "scope"));
    if (ends)
        instant_behind(dbk_arguments_duration_us(arguments, "expires", 0), expires);
    put(&call.body, &first, "expires", ends ? expires : NULL);
    put_number(&call.body, &first, arguments, "rate");
    put_number(&call.body, &first, arguments, "burst");
    dbk_buf_append_char(&call.body, '}');
    return dbk_data_answer(arguments, &call, &(struct dbk_data_show){.mode = DBK_ENGINE_WRITE});
}

int dbk_run_access_ls(const struct dbk_arguments *arguments)
{
    static const char *const columns[] = {"key",     "name", "service", "state", "scopes",
                                          "expires", "rate", "used",    NULL};
    struct dbk_call call;
    dbk_call_init(&call, "GET", "/access/keys");
    return dbk_data_answer(
        arguments, &call,
        &(struct dbk_data_show){.mode = DBK_ENGINE_READ, .rows = "keys", .table_columns = columns});
}

int dbk_run_access_rotate(const struct dbk_arguments *arguments)
{
    struct dbk_call call;
    char until[DBK_TIME_TEXT_SIZE];
    dbk_call_init(&call, "POST", "/access/keys/");
    dbk_call_path(&call, dbk_slice_of(arguments->positional[0]));
    dbk_buf_append_text(&call.path, "/rotate");
    if (dbk_arguments_has(arguments, "keep")) {
        instant_behind(dbk_arguments_duration_us(arguments, "keep", 0), until);
        dbk_call_query(&call, "old_until", dbk_slice_of(until));
    }
    return dbk_data_answer(arguments, &call, &(struct dbk_data_show){.mode = DBK_ENGINE_WRITE});
}

int dbk_run_access_limit(const struct dbk_arguments *arguments)
{
    struct dbk_call call;
    bool first = true;
    dbk_call_init(&call, "POST", "/access/keys/");
    dbk_call_path(&call, dbk_slice_of(arguments->positional[0]));
    dbk_buf_append_text(&call.path, "/limit");
    dbk_buf_append_char(&call.body, '{');
    if (dbk_arguments_has(arguments, "none")) {
        dbk_json_write_key(&call.body, &first, "rate");
        dbk_buf_append_text(&call.body, "null");
    }
    put_number(&call.body, &first, arguments, "rate");
    put_number(&call.body, &first, arguments, "burst");
    dbk_buf_append_char(&call.body, '}');
    return dbk_data_answer(arguments, &call, &(struct dbk_data_show){.mode = DBK_ENGINE_WRITE});
}

int dbk_run_access_scope(const struct dbk_arguments *arguments)
{
    struct dbk_call call;
    struct dbk_error err = {0};
    const char *scopes = dbk_arguments_text(arguments, "scope");
    bool first = true;
    if ((scopes == NULL) != dbk_arguments_has(arguments, "none")) {
        (void)dbk_error_set(&err, DBK_EINVAL,
                            "say what the key may: --scope read:order,view:daily, or --none");
        return dbk_fail(arguments, &err);
    }
    dbk_call_init(&call, "POST", "/access/keys/");
    dbk_call_path(&call, dbk_slice_of(arguments->positional[0]));
    dbk_buf_append_text(&call.path, "/scopes");
    dbk_buf_append_char(&call.body, '{');
    put_scopes(&call.body, &first, scopes);
    dbk_buf_append_text(&call.body, scopes == NULL ? "\"scopes\":[]}" : "}");
    return dbk_data_answer(arguments, &call, &(struct dbk_data_show){.mode = DBK_ENGINE_WRITE});
}

int dbk_run_access_revoke(const struct dbk_arguments *arguments)
{
    struct dbk_call call;
    dbk_call_init(&call, "DELETE", "/access/keys/");
    dbk_call_path(&call, dbk_slice_of(arguments->positional[0]));
    dbk_call_option(&call, arguments, "old", "old");
    return dbk_data_answer(arguments, &call, &(struct dbk_data_show){.mode = DBK_ENGINE_WRITE});
}
