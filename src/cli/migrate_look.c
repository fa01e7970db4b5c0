/* SPDX-License-Identifier: Apache-2.0 */
/* What a migration has done: migrate verify, status, report, position. */
#include <stdio.h>

#include "base/time.h"
#include "cli/commands.h"
#include "cli/data.h"
#include "cli/fail.h"
#include "cli/migrate.h"
#include "migrate/verify.h"

#define TEXT_SIZE_MAX ((size_t)16 << 20)

static int need_to(const struct dbk_arguments *arguments)
{
    return dbk_arguments_has(arguments, "to")
               ? DBK_EXIT_OK
               : dbk_fail_usage(arguments, "--to DIR is missing: the new book's folder");
}

/* ---- verify ---- */

/* Why a type has other counts in the new book: what its events became, and what became it. */
static void put_why(struct dbk_buf *out, const struct dbk_report *report, struct dbk_slice type)
{
    struct dbk_buf why;
    dbk_buf_init(&why, TEXT_SIZE_MAX);
    for (size_t i = 0; i < report->types.count; i++) {
        const struct dbk_report_row *row = &report->types.rows[i];
        const char *comma = why.size == 0 ? "" : ", ";
        bool from = dbk_slice_equal(row->from, type);
        bool to = dbk_slice_equal(row->to, type);
        if (from && row->to.size == 0)
            dbk_buf_append_format(&why, "%s%ju dropped", comma, (uintmax_t)row->sources);
        else if (from && to && row->events == row->sources)
            continue;
        else if (from && row->sources == 0)
            dbk_buf_append_format(&why, "%s%ju %.*s beside them", comma, (uintmax_t)row->events,
                                  DBK_SLICE_ARGS(row->to));
        else if (from)
            dbk_buf_append_format(&why, "%s%ju became %ju %.*s", comma, (uintmax_t)row->sources,
                                  (uintmax_t)row->events, DBK_SLICE_ARGS(row->to));
        else if (to)
            dbk_buf_append_format(&why, "%s%ju of %.*s", comma, (uintmax_t)row->events,
                                  DBK_SLICE_ARGS(row->from));
    }
    dbk_json_write_string(out, dbk_buf_slice(&why));
    dbk_buf_release(&why);
}

static bool was_named(const struct dbk_report *report, size_t index, struct dbk_slice name)
{
    for (size_t i = 0; i < index; i++)
        if (dbk_slice_equal(report->types.rows[i].from, name) ||
            dbk_slice_equal(report->types.rows[i].to, name))
            return true;
    return name.size == 0;
}

static void put_type(struct dbk_buf *out, const struct dbk_report *report, struct dbk_slice name,
                     const char *comma)
{
    uint64_t old = 0;
    uint64_t new = 0;
    for (size_t i = 0; i < report->types.count; i++) {
        old +=
            dbk_slice_equal(report->types.rows[i].from, name) ? report->types.rows[i].sources : 0;
        new += dbk_slice_equal(report->types.rows[i].to, name) ? report->types.rows[i].events : 0;
    }
    dbk_buf_append_format(out, "%s{\"type\":", comma);
    dbk_json_write_string(out, name);
    dbk_buf_append_format(out, ",\"old\":%ju,\"new\":%ju,\"why\":", (uintmax_t)old,
                          (uintmax_t) new);
    put_why(out, report, name);
    dbk_buf_append_char(out, '}');
}

static void put_types(struct dbk_buf *out, const struct dbk_report *report)
{
    const char *comma = "";
    for (size_t i = 0; i < report->types.count; i++) {
        const struct dbk_report_row *row = &report->types.rows[i];
        if (!was_named(report, i, row->from)) {
            put_type(out, report, row->from, comma);
            comma = ",";
        }
        if (!dbk_slice_equal(row->from, row->to) && !was_named(report, i, row->to)) {
            put_type(out, report, row->to, comma);
            comma = ",";
        }
    }
}

void dbk_migrating_put_verified(struct dbk_buf *out, const struct dbk_migrating *migrating,
                                const struct dbk_migrate_verified *verified,
                                const struct dbk_buf *differences)
{
    dbk_buf_append_format(
        out,
        "{\"position\":%ju,\"old_events\":%ju,\"new_events\":%ju,\"removed_since\":%ju,"
        "\"old_streams\":%ju,"
        "\"new_streams\":%ju,\"states_compared\":%ju,\"states_equal\":%ju,"
        "\"states_not_compared\":{\"without_fold\":%ju,\"split\":%ju,\"merged\":%ju,"
        "\"dropped\":%ju,\"skipped\":%ju,\"kept_less\":%ju},\"types\":[",
        (uintmax_t)verified->position, (uintmax_t)verified->old_events,
        (uintmax_t)verified->new_events, (uintmax_t)verified->removed_since,
        (uintmax_t)verified->old_streams, (uintmax_t)verified->new_streams,
        (uintmax_t)verified->states_compared, (uintmax_t)verified->states_equal,
        (uintmax_t)verified->states_without_fold, (uintmax_t)verified->states_split,
        (uintmax_t)verified->states_merged, (uintmax_t)verified->states_dropped,
        (uintmax_t)verified->states_skipped, (uintmax_t)verified->states_kept_less);
    put_types(out, dbk_migration_report(migrating->migration));
    dbk_buf_append_format(out, "],\"differences\":%ju,\"different\":[",
                          (uintmax_t)verified->differences);
    dbk_buf_append(out, dbk_buf_slice(differences));
    dbk_buf_append_text(out, "]}");
}

int dbk_migrating_verify(struct dbk_migrating *migrating, uint64_t after, uint64_t sample,
                         struct dbk_migrate_verified *verified_out, struct dbk_buf *differences,
                         struct dbk_error *err)
{
    const struct dbk_migrate_verification options = {
        .source_folds = dbk_engine_folds(migrating->source),
        .target_folds = dbk_engine_folds(migrating->target),
        .sample = sample,
        .after = after};
    dbk_progress_begin(&migrating->progress, "verify", "positions");
    int rc = dbk_migration_verify(migrating->migration, &options, verified_out, differences, err);
    dbk_progress_clear(&migrating->progress);
    if (rc == DBK_ESTOPPED)
        return dbk_error_set(err, rc, "interrupted");
    return rc;
}

int dbk_run_migrate_verify(const struct dbk_arguments *arguments)
{
    struct dbk_error err = {0};
    struct dbk_migrating migrating;
    struct dbk_migrate_verified verified = {0};
    struct dbk_buf differences;
    struct dbk_buf text;
    if (need_to(arguments) != DBK_EXIT_OK)
        return DBK_EXIT_USAGE;
    dbk_link_stop_on_signals();
    dbk_buf_init(&differences, TEXT_SIZE_MAX);
    dbk_buf_init(&text, TEXT_SIZE_MAX);
    int rc = dbk_migrating_open(arguments, true, NULL, false, &migrating, &err);
    if (rc == DBK_OK)
        rc = dbk_migrating_verify(&migrating, 0, dbk_arguments_number(arguments, "sample", 0),
                                  &verified, &differences, &err);
    if (rc == DBK_OK) {
        dbk_migrating_put_verified(&text, &migrating, &verified, &differences);
        rc = dbk_data_object(arguments, &text, &err);
    }
    dbk_migrating_release(&migrating);
    dbk_buf_release(&differences);
    dbk_buf_release(&text);
    if (rc < 0)
        return dbk_fail(arguments, &err);
    return verified.differences > 0 ? DBK_EXIT_FAILED : DBK_EXIT_OK;
}

/* ---- status, report, position ---- */

static void put_status(struct dbk_buf *out, const struct dbk_migrating *migrating,
                       const struct dbk_standing *standing)
{
    struct dbk_store *source = dbk_engine_store(migrating->source);
    uint64_t position = dbk_migration_position(migrating->migration);
    uint64_t last = dbk_store_last_position(source);
    const struct dbk_report *report = dbk_migration_report(migrating->migration);
    char time[DBK_TIME_TEXT_SIZE];
    bool filled = standing->state == DBK_STANDING_FILLED;
    (void)dbk_time_format(standing->time_us, time);
    dbk_buf_append_format(out, "{\"state\":\"%s\",\"from\":", filled ? "copying" : "switched");
    dbk_json_write_string(out, dbk_slice_of(dbk_engine_book(migrating->source)->folder));
    dbk_buf_append_format(out,
                          ",\"position\":%ju,\"behind\":%ju,\"up_to\":\"%s\",\"read\":%ju,"
                          "\"made\":%ju}",
                          (uintmax_t)position,
                          (uintmax_t)(filled && last > position ? last - position : 0), time,
                          (uintmax_t)report->read, (uintmax_t)report->made);
}

int dbk_run_migrate_status(const struct dbk_arguments *arguments)
{
    struct dbk_error err = {0};
    struct dbk_migrating migrating;
    struct dbk_standing standing = {0};
    struct dbk_buf text;
    if (need_to(arguments) != DBK_EXIT_OK)
        return DBK_EXIT_USAGE;
    dbk_buf_init(&text, TEXT_SIZE_MAX);
    int rc = dbk_migrating_open(arguments, true, NULL, false, &migrating, &err);
    if (rc == DBK_OK)
        rc = dbk_store_standing(dbk_engine_store(migrating.target), &standing, &err);
    if (rc == DBK_OK) {
        put_status(&text, &migrating, &standing);
        rc = dbk_data_object(arguments, &text, &err);
    }
    dbk_migrating_release(&migrating);
    dbk_buf_release(&text);
    return rc < 0 ? dbk_fail(arguments, &err) : DBK_EXIT_OK;
}

/* Rows of a table of the report, with what they are about. */
static int show_rows(struct dbk_table *table, const struct dbk_json_node *root, const char *name,
                     struct dbk_error *err)
{
    const struct dbk_json_node *list = dbk_json_member(root, name);
    const struct dbk_json_node *row = list == NULL ? NULL : dbk_json_first(list);
    int rc = DBK_OK;
    for (uint32_t i = 0; rc == DBK_OK && row != NULL && i < list->count; i++) {
        rc = dbk_table_row(table, row, err);
        row = dbk_json_sibling(row);
    }
    return rc;
}

/* For people and spreadsheets the rows, of types and then of categories; else all of it. */
static int show_report(const struct dbk_arguments *arguments, struct dbk_buf *text,
                       struct dbk_error *err)
{
    static const char *const columns[] = {
        "from",         "to",         "sources",    "events",     "other_type",
        "other_stream", "other_data", "other_tags", "other_meta", "other_occurred",
        "first",        "became",     NULL};
    const struct dbk_json_node *root = NULL;
    struct dbk_table_options options = dbk_data_options(
        arguments, &(struct dbk_data_show){.table_columns = columns, .csv_columns = columns});
    if (options.output == DBK_OUTPUT_JSON || options.output == DBK_OUTPUT_JSONL)
        return dbk_data_object(arguments, text, err);
    struct dbk_json *json = dbk_json_create(TEXT_SIZE_MAX);
    struct dbk_table *table = json == NULL ? NULL : dbk_table_create(&options);
    int rc = table == NULL ? dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM))
                           : dbk_json_parse(json, dbk_buf_slice(text), &root, err);
    if (rc == DBK_OK)
        rc = show_rows(table, root, "types", err);
    if (rc == DBK_OK)
        rc = show_rows(table, root, "categories", err);
    if (rc == DBK_OK)
        rc = dbk_table_end(table, err);
    dbk_table_free(table);
    dbk_json_free(json);
    return rc;
}

int dbk_run_migrate_report(const struct dbk_arguments *arguments)
{
    struct dbk_error err = {0};
    struct dbk_migrating migrating;
    struct dbk_buf text;
    if (need_to(arguments) != DBK_EXIT_OK)
        return DBK_EXIT_USAGE;
    dbk_buf_init(&text, TEXT_SIZE_MAX);
    int rc = dbk_migrating_open(arguments, true, NULL, false, &migrating, &err);
    if (rc == DBK_OK) {
        dbk_report_write(dbk_migration_report(migrating.migration), &text);
        rc = show_report(arguments, &text, &err);
    }
    dbk_migrating_release(&migrating);
    dbk_buf_release(&text);
    return rc < 0 ? dbk_fail(arguments, &err) : DBK_EXIT_OK;
}

int dbk_run_migrate_position(const struct dbk_arguments *arguments)
{
    struct dbk_error err = {0};
    struct dbk_migrating migrating = {.arguments = arguments};
    struct dbk_migrate_place place = {0};
    struct dbk_buf text;
    uint64_t position = 0;
    if (need_to(arguments) != DBK_EXIT_OK)
        return DBK_EXIT_USAGE;
    if (!dbk_slice_to_u64(dbk_slice_of(arguments->positional[0]), &position))
        return dbk_fail_usage(arguments, "%s is no position", arguments->positional[0]);
    dbk_buf_init(&text, TEXT_SIZE_MAX);
    int rc = dbk_migrating_open_target(arguments, DBK_ENGINE_READ, &migrating, &err);
    if (rc == DBK_OK)
        rc = dbk_migrate_place(dbk_engine_store(migrating.target), position, &place, &err);
    if (rc == DBK_OK) {
        dbk_buf_append_format(&text, "{\"position\":%ju,\"up_to\":%ju,\"first\":%ju,\"count\":%ju}",
                              (uintmax_t)position, (uintmax_t)place.up_to, (uintmax_t)place.first,
                              (uintmax_t)place.count);
        rc = dbk_data_object(arguments, &text, &err);
    }
    dbk_migrating_release(&migrating);
    dbk_buf_release(&text);
    return rc < 0 ? dbk_fail(arguments, &err) : DBK_EXIT_OK;
}
