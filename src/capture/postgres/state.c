/* SPDX-License-Identifier: Apache-2.0 */
/* Where a capture is, as the event Captured keeps it: docs/format/capture.md. */
#include "capture/postgres/state.h"

#include <inttypes.h>
#include <stdio.h>

static const char *const phases[] = {
    [PHASE_NEW] = "new", [PHASE_READ] = "read", [PHASE_SWEEP] = "sweep", [PHASE_DONE] = "done"};

static void put_table(const struct table *table, struct dbk_buf *out)
{
    dbk_json_write_string(out, dbk_slice_of(table->definition->name));
    dbk_buf_append_format(out, ":{\"phase\":\"%s\"", phases[table->phase]);
    if (table->phase != PHASE_DONE) {
        dbk_buf_append_format(out, ",\"until\":%" PRIu64 ",\"swept\":%" PRIu64 ",\"rows\":%" PRIu64,
                              table->until, table->swept, table->rows);
        if (table->behind > 0)
            dbk_buf_append_format(out, ",\"behind\":%" PRIu64, table->behind);
        if (table->cursor_count > 0)
            dbk_buf_append_text(out, ",\"cursor\":[");
        for (size_t i = 0; i < table->cursor_count; i++) {
            if (i > 0)
                dbk_buf_append_char(out, ',');
            dbk_json_write_string(out, table->cursor[i]);
        }
        if (table->cursor_count > 0)
            dbk_buf_append_char(out, ']');
    }
    dbk_buf_append_char(out, '}');
}

void dbk_pg_put_state(const struct source *source, bool creating, struct dbk_buf *out)
{
    char lsn[DBK_LSN_TEXT_SIZE];
    bool first = true;
    dbk_lsn_format(source->lsn, lsn);
    dbk_buf_append_format(out,
                          "{\"kind\":\"postgres\",\"system\":\"%s\",\"timeline\":%u,\"database\":",
                          source->system, source->timeline);
    dbk_json_write_string(out, dbk_slice_of(source->database));
    dbk_buf_append_format(out, ",\"slot\":\"%s\"", source->slot);
    if (creating) {
        dbk_buf_append_text(out, ",\"creating\":true}");
        return;
    }
    dbk_buf_append_format(out, ",\"lsn\":\"%s\",\"tables\":{", lsn);
    for (size_t i = 0; i < source->table_count; i++) {
        if (source->tables[i].definition->kind != DBK_CAPTURE_CDC)
            continue;
        if (!first)
            dbk_buf_append_char(out, ',');
        first = false;
        put_table(&source->tables[i], out);
    }
    dbk_buf_append_text(out, "}}");
}

/* ---- Reading ---- */

static int damaged(const struct source *source, struct dbk_error *err)
{
    return dbk_error_set(err, DBK_ECORRUPT,
                         "what the book keeps of capturing %s cannot be read: `daybook capture "
                         "resnapshot %s` begins anew",
                         source->options.service->name, source->options.service->name);
}

static uint64_t count_of(const struct dbk_json_node *object, const char *key)
{
    const struct dbk_json_node *node = dbk_json_member(object, key);
    return node != NULL && node->kind == DBK_JSON_INTEGER && node->integer > 0
               ? (uint64_t)node->integer
               : 0;
}

static struct dbk_slice text_of(const struct dbk_json_node *object, const char *key)
{
    const struct dbk_json_node *node = dbk_json_member(object, key);
    return node != NULL && node->kind == DBK_JSON_STRING ? node->text : (struct dbk_slice){0};
}

static int read_cursor(struct table *table, const struct dbk_json_node *list)
{
    if (list == NULL || list->kind != DBK_JSON_ARRAY || list->count > KEY_COLUMNS_MAX)
        return list == NULL ? DBK_OK : DBK_ECORRUPT;
    const struct dbk_json_node *item = dbk_json_first(list);
    for (uint32_t i = 0; i < list->count; i++, item = dbk_json_sibling(item)) {
        if (item->kind != DBK_JSON_STRING)
            return DBK_ECORRUPT;
        table->cursor[i] = dbk_arena_copy(&table->cursor_arena, item->text);
        if (table->cursor[i].data == NULL)
            return DBK_ENOMEM;
    }
    table->cursor_count = list->count;
    return DBK_OK;
}

static int read_table(struct table *table, const struct dbk_json_node *node)
{
    struct dbk_slice phase = text_of(node, "phase");
    for (size_t i = 0; i < sizeof(phases) / sizeof(phases[0]); i++) {
        if (dbk_slice_equal_text(phase, phases[i]))
            table->phase = (enum table_phase)i;
    }
    table->until = count_of(node, "until");
    table->swept = count_of(node, "swept");
    table->rows = count_of(node, "rows");
    table->behind = count_of(node, "behind");
    return read_cursor(table, dbk_json_member(node, "cursor"));
}

static int read_tables(struct source *source, const struct dbk_json_node *tables)
{
    int rc = tables == NULL ? DBK_ECORRUPT : DBK_OK;
    for (size_t i = 0; i < source->table_count && rc == DBK_OK; i++) {
        struct table *table = &source->tables[i];
        const struct dbk_json_node *node = dbk_json_member(tables, table->definition->name);
        if (node != NULL && table->definition->kind == DBK_CAPTURE_CDC)
            rc = read_table(table, node);
    }
    return rc;
}

/* The source that was captured must be the one that is connected. */
static int check_identity(struct source *source, const struct dbk_json_node *root,
                          struct dbk_error *err)
{
    const char *name = source->options.service->name;
    const char *database = source->options.service->database;
    struct dbk_slice system = text_of(root, "system");
    if (!dbk_slice_equal_text(system, source->system))
        return dbk_error_set(err, DBK_EDENIED,
                             "the server of %s is another one (system %s) than the one that was "
                             "captured (%.*s): connect to that, or read this one's tables with "
                             "`daybook capture resnapshot %s`",
                             database, source->system, DBK_SLICE_ARGS(system), name);
    if (!dbk_slice_equal_text(text_of(root, "database"), source->database))
        return dbk_error_set(err, DBK_EDENIED,
                             "%s is the database \"%s\" now, and \"%.*s\" was captured: connect to "
                             "that, or read this one's tables with `daybook capture resnapshot %s`",
                             database, source->database, DBK_SLICE_ARGS(text_of(root, "database")),
                             name);
    if (count_of(root, "timeline") != source->timeline)
        return dbk_error_set(err, DBK_EDENIED,
                             "the server of %s is on timeline %u, and timeline %" PRIu64
                             " was captured: it failed over or was restored, and changes may be "
                             "missing; `daybook capture resnapshot %s` makes them good",
                             database, source->timeline, count_of(root, "timeline"), name);
    return DBK_OK;
}

int dbk_pg_read_state(struct source *source, struct dbk_error *err)
{
    const struct dbk_json_node *root = NULL;
    struct dbk_slice state = source->options.state;
    if (state.size == 0)
        return DBK_OK;
    if (dbk_json_parse(source->json, state, &root, NULL) < 0 ||
        !dbk_slice_equal_text(text_of(root, "kind"), "postgres"))
        return source->options.resnapshot ? DBK_OK : damaged(source, err);
    struct dbk_error why = {0};
    int rc = check_identity(source, root, &why);
    if (rc < 0 && source->options.resnapshot)
        return DBK_OK;
    if (rc < 0) {
        if (err != NULL)
            *err = why;
        return rc;
    }
    const struct dbk_json_node *creating = dbk_json_member(root, "creating");
    if (creating != NULL)
        return DBK_OK;
    if (!dbk_lsn_parse(text_of(root, "lsn"), &source->lsn))
        return damaged(source, err);
    rc = read_tables(source, dbk_json_member(root, "tables"));
    return rc < 0 ? damaged(source, err) : DBK_OK;
}
