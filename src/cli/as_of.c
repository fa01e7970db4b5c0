/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/as_of.h"

struct dbk_as_of_time dbk_as_of_option(const struct dbk_arguments *arguments)
{
    bool occurred = dbk_arguments_has(arguments, "occurred-at");
    return (struct dbk_as_of_time){
        .occurred = occurred,
        .time_us = dbk_arguments_time_us(arguments, occurred ? "occurred-at" : "at", 0)};
}

int dbk_as_of_open(const struct dbk_arguments *arguments, struct dbk_progress *progress,
                   struct dbk_link **link_out, struct dbk_error *err)
{
    dbk_link_stop_on_signals();
    dbk_progress_begin(progress, "as of then", "events");
    int rc = dbk_link_open_beside(arguments, DBK_ENGINE_READ, link_out, err);
    if (rc == DBK_OK)
        dbk_link_show(*link_out, progress);
    return rc;
}

int dbk_as_of_ask(const struct dbk_arguments *arguments, struct dbk_link *link, const char *sql,
                  const struct dbk_as_of_time *time, struct dbk_error *err)
{
    struct dbk_call call;
    char text[DBK_TIME_TEXT_SIZE];
    bool first = true;
    (void)dbk_time_format(time->time_us, text);
    dbk_call_init(&call, "POST", "/sql");
    dbk_buf_append_char(&call.body, '{');
    dbk_json_write_key(&call.body, &first, "sql");
    dbk_json_write_string(&call.body, dbk_slice_of(sql));
    dbk_json_write_key(&call.body, &first, time->occurred ? "occurred_at" : "at");
    dbk_json_write_string(&call.body, dbk_slice_of(text));
    dbk_buf_append_char(&call.body, '}');
    int rc =
        dbk_data_answer_over(arguments, link, &call, &(struct dbk_data_show){.rows = "rows"}, err);
    dbk_call_release(&call);
    return rc;
}
