/* SPDX-License-Identifier: Apache-2.0 */
/* schema ls, schema diff. */
#include <inttypes.h>

#include "audit/audit.h"
#include "cli/commands.h"
#include "cli/fail.h"
#include "cli/progress.h"
#include "cli/schema_rows.h"

#define COUNT_STEP 65536

/* ---- ls ---- */

/* Events of a type by version; 0: stored before the type was declared. */
static int count_versions(struct dbk_engine *engine, struct dbk_slice type, uint64_t *counts,
                          size_t versions, struct dbk_progress *progress, struct dbk_error *err)
{
    struct dbk_cursor *cursor = NULL;
    struct dbk_event event;
    uint64_t last = dbk_store_last_position(dbk_engine_store(engine));
    const struct dbk_filter filter = {.types = &type, .type_count = 1, .raw = true};
    int rc = dbk_cursor_open(dbk_engine_store(engine), &filter, &cursor, err);
    for (uint64_t count = 1; rc >= 0 && (rc = dbk_cursor_next(cursor, &event, err)) == 1; count++) {
        if (event.schema_version <= versions)
            counts[event.schema_version]++;
        if (count % COUNT_STEP == 0)
            dbk_progress_update(progress, count, event.position, last);
    }
    dbk_cursor_free(cursor);
    return rc;
}

static void put_personal(struct dbk_buf *row, const struct dbk_schema *schema)
{
    size_t count = 0;
    const struct dbk_schema_path *paths = dbk_schema_personal(schema, &count);
    dbk_buf_append_char(row, '[');
    for (size_t i = 0; i < count; i++) {
        dbk_buf_append_text(row, i > 0 ? "," : "");
        dbk_json_write_string(row, paths[i].text);
    }
    dbk_buf_append_char(row, ']');
}

/* Versions without events are left out, but for the newest. */
static void put_counts(struct dbk_buf *row, const uint64_t *counts, size_t versions)
{
    bool first = true;
    dbk_buf_append_char(row, '{');
    for (size_t i = 0; i <= versions; i++) {
        char key[32];
        if (counts[i] == 0 && i < versions)
            continue;
        (void)snprintf(key, sizeof(key), "%zu", i);
        dbk_json_write_key(row, &first, key);
        dbk_json_write_u64(row, counts[i]);
    }
    dbk_buf_append_char(row, '}');
}

static int list_type(struct dbk_engine *engine, const struct dbk_schema *schema,
                     struct dbk_schema_rows *rows, struct dbk_progress *progress,
                     struct dbk_error *err)
{
    size_t versions = dbk_schema_version(schema);
    const struct dbk_schema_path *subject = dbk_schema_subject(schema);
    struct dbk_buf *row = &rows->row;
    bool first = true;
    uint64_t *counts = dbk_alloc_zero(versions + 1, sizeof(*counts));
    int rc = counts == NULL
                 ? dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM))
                 : count_versions(engine, dbk_schema_type(schema), counts, versions, progress, err);
    if (rc == DBK_OK) {
        dbk_buf_append_char(row, '{');
        dbk_json_write_key(row, &first, "type");
        dbk_json_write_string(row, dbk_schema_type(schema));
        dbk_json_write_key(row, &first, "versions");
        dbk_json_write_u64(row, versions);
        dbk_json_write_key(row, &first, "personal");
        put_personal(row, schema);
        dbk_json_write_key(row, &first, "subject");
        if (subject == NULL)
            dbk_buf_append_text(row, "null");
        else
            dbk_json_write_string(row, subject->text);
        dbk_json_write_key(row, &first, "events");
        put_counts(row, counts, versions);
        dbk_buf_append_char(row, '}');
        dbk_progress_clear(progress);
        rc = dbk_schema_rows_put(rows, err);
    }
    dbk_free(counts);
    return rc;
}

int dbk_run_schema_ls(const struct dbk_arguments *arguments)
{
    static const char *const columns[] = {"type",    "versions", "personal",
                                          "subject", "events",   NULL};
    struct dbk_error err = {0};
    struct dbk_link *link = NULL;
    struct dbk_schema_rows rows;
    struct dbk_progress progress;
    int rc = dbk_schema_rows_open(arguments, columns, &rows, &err);
    dbk_progress_begin(&progress, "counting", "events");
    if (rc == DBK_OK)
        rc = dbk_link_open_beside(arguments, DBK_ENGINE_READ, &link, &err);
    struct dbk_engine *engine = rc == DBK_OK ? dbk_link_engine(link) : NULL;
    const struct dbk_schemas *schemas = rc == DBK_OK ? dbk_engine_book(engine)->schemas : NULL;
    for (size_t i = 0; rc == DBK_OK && i < dbk_schemas_count(schemas); i++)
        rc = list_type(engine, dbk_schemas_at(schemas, i), &rows, &progress, &err);
    dbk_progress_clear(&progress);
    if (rc == DBK_OK)
        rc = dbk_schema_rows_end(&rows, &err);
    dbk_schema_rows_close(&rows);
    dbk_link_free(link);
    return rc < 0 ? dbk_fail(arguments, &err) : DBK_EXIT_OK;
}

/* ---- diff ---- */

static int read_version(const char *text, const struct dbk_schema *newest, uint16_t *version_out,
                        struct dbk_error *err)
{
    uint64_t version = 0;
    if (!dbk_slice_to_u64(dbk_slice_of(text), &version) || version == 0 ||
        version > dbk_schema_version(newest))
        return dbk_error_set(err, DBK_ENOTFOUND, "%.*s has the versions 1 to %u, not %s",
                             DBK_SLICE_ARGS(dbk_schema_type(newest)),
                             (unsigned)dbk_schema_version(newest), text);
    *version_out = (uint16_t)version;
    return DBK_OK;
}

static int show_changes(const struct dbk_schema *from, const struct dbk_schema *to,
                        struct dbk_schema_rows *rows, struct dbk_error *err)
{
    struct dbk_buf changes;
    const struct dbk_json_node *list = NULL;
    uint64_t left_out = 0;
    struct dbk_json *json = dbk_json_create((size_t)64 << 20);
    dbk_buf_init(&changes, (size_t)64 << 20);
    int rc =
        json == NULL
            ? dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM))
            : dbk_diff_write(dbk_schema_source(from), dbk_schema_source(to),
                             &(struct dbk_diff_limits){.changes = 100000, .size = (size_t)32 << 20},
                             &changes, &left_out, err);
    if (rc == DBK_OK)
        rc = dbk_json_parse(json, dbk_buf_slice(&changes), &list, err);
    const struct dbk_json_node *change = rc == DBK_OK ? dbk_json_first(list) : NULL;
    for (uint32_t i = 0; rc == DBK_OK && i < list->count; i++) {
        dbk_buf_append(&rows->row, change->raw);
        rc = dbk_schema_rows_put(rows, err);
        change = dbk_json_sibling(change);
    }
    dbk_buf_release(&changes);
    dbk_json_free(json);
    return rc;
}

int dbk_run_schema_diff(const struct dbk_arguments *arguments)
{
    static const char *const columns[] = {"op", "path", "old", "value", NULL};
    struct dbk_error err = {0};
    struct dbk_place place;
    struct dbk_book *book = NULL;
    struct dbk_schema_rows rows;
    const struct dbk_schema *newest = NULL;
    const char *type = arguments->positional[0];
    uint16_t from = 0;
    uint16_t to = 0;
    if (arguments->positional_count == 2)
        return dbk_fail_usage(arguments, "schema diff takes TYPE, or TYPE and two versions");
    int rc = dbk_schema_rows_open(arguments, columns, &rows, &err);
    if (rc == DBK_OK)
        rc = dbk_place_find(arguments, &place, &err);
    if (rc == DBK_OK)
        rc = dbk_place_load(&place, &book, &err);
    if (rc == DBK_OK)
        rc = dbk_schema_rows_find(book, type, &newest, &err);
    if (rc == DBK_OK && arguments->positional_count == 3) {
        rc = read_version(arguments->positional[1], newest, &from, &err);
        if (rc == DBK_OK)
            rc = read_version(arguments->positional[2], newest, &to, &err);
    } else if (rc == DBK_OK) {
        to = dbk_schema_version(newest);
        from = (uint16_t)(to - 1);
        if (from == 0)
            rc = dbk_error_set(&err, DBK_ENOTFOUND, "%s has one version, and nothing to compare",
                               type);
    }
    if (rc == DBK_OK)
        rc = show_changes(dbk_schemas_find(book->schemas, dbk_slice_of(type), from),
                          dbk_schemas_find(book->schemas, dbk_slice_of(type), to), &rows, &err);
    if (rc == DBK_OK)
        rc = dbk_schema_rows_end(&rows, &err);
    dbk_schema_rows_close(&rows);
    dbk_book_free(book);
    return rc < 0 ? dbk_fail(arguments, &err) : DBK_EXIT_OK;
}
