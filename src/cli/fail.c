/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/fail.h"

#include <string.h>

#include "base/diagnostics.h"
#include "cli/table.h"
#include "json/json.h"
#include "server/api.h"

enum dbk_exit dbk_exit_of(int code)
{
    if (code == DBK_OK)
        return DBK_EXIT_OK;
    if (code == DBK_ECONNECT)
        return DBK_EXIT_CONNECT;
    if (code == DBK_ECONFLICT)
        return DBK_EXIT_CONFLICT;
    if (code == DBK_EDENIED || code == DBK_EKEY)
        return DBK_EXIT_DENIED;
    return DBK_EXIT_FAILED;
}

static void print_problem(const char *detail, int code)
{
    struct dbk_buf line;
    bool first = true;
    dbk_buf_init(&line, 64 << 10);
    dbk_buf_append_char(&line, '{');
    dbk_json_write_key(&line, &first, "type");
    dbk_buf_append_text(&line, "\"about:blank\"");
    dbk_json_write_key(&line, &first, "title");
    dbk_json_write_string(&line, dbk_slice_of(dbk_code_text(code)));
    dbk_json_write_key(&line, &first, "status");
    dbk_json_write_integer(&line, dbk_api_status(code));
    dbk_json_write_key(&line, &first, "detail");
    dbk_json_write_string(&line, dbk_slice_of(detail));
    dbk_json_write_key(&line, &first, "code");
    dbk_json_write_string(&line, dbk_slice_of(dbk_code_name(code)));
    dbk_buf_append_text(&line, "}\n");
    if (line.rc == DBK_OK)
        (void)fwrite(line.data, 1, line.size, stderr);
    dbk_buf_release(&line);
}

static void print(const struct dbk_arguments *arguments, const char *message, int code)
{
    enum dbk_output output = arguments == NULL ? DBK_OUTPUT_TABLE : dbk_output_of(arguments);
    if (output != DBK_OUTPUT_TABLE && output != DBK_OUTPUT_DOT)
        print_problem(message, code);
    else
        (void)fprintf(stderr, "daybook: %s\n", message);
}

int dbk_fail(const struct dbk_arguments *arguments, const struct dbk_error *err)
{
    const char *message = err->message[0] != '\0' ? err->message : dbk_code_text(err->code);
    print(arguments, message, err->code);
    return (int)dbk_exit_of(err->code);
}

int dbk_fail_usage(const struct dbk_arguments *arguments, const char *format, ...)
{
    struct dbk_error err = {0};
    va_list list;
    va_start(list, format);
    (void)dbk_error_set_va(&err, DBK_EINVAL, format, list);
    va_end(list);
    print(arguments, err.message, DBK_EINVAL);
    return DBK_EXIT_USAGE;
}

void dbk_fail_diagnostics(FILE *out, const struct dbk_diagnostics *diagnostics)
{
    for (size_t i = 0; i < diagnostics->count; i++) {
        const struct dbk_diagnostic *item = &diagnostics->items[i];
        (void)fputs(item->file, out);
        if (item->line > 0)
            (void)fprintf(out, ":%u:%u", item->line, item->column);
        (void)fprintf(out, ": %s%s", item->warning ? "warning: " : "", item->what);
        if (item->why != NULL && item->why[0] != '\0')
            (void)fprintf(out, ", %s", item->why);
        if (item->fix != NULL && item->fix[0] != '\0')
            (void)fprintf(out, ", %s", item->fix);
        (void)fputc('\n', out);
    }
}
