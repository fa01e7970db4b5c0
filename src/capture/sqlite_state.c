/* SPDX-License-Identifier: Apache-2.0 */
/* Where a capture of SQLite is, as the event Captured keeps it: docs/format/capture.md. */
#include "capture/sqlite.h"

#include <inttypes.h>
#include <stdio.h>

static const char *const phases[] = {[DBK_JOURNAL_NEW] = "new",
                                     [DBK_JOURNAL_READ] = "read",
                                     [DBK_JOURNAL_SWEEP] = "sweep",
                                     [DBK_JOURNAL_DONE] = "done"};

static void put_table(const struct dbk_journal_table *table, struct dbk_buf *out)
{
    dbk_json_write_string(out, dbk_slice_of(table->reader.table->name));
    dbk_buf_append_format(out, ":{\"phase\":\"%s\"", phases[table->phase]);
    if (table->phase != DBK_JOURNAL_DONE) {
        dbk_buf_append_format(out, ",\"until\":%" PRIu64 ",\"swept\":%" PRIu64 ",\"rows\":%" PRIu64,
                              table->until, table->swept, table->rows);
        dbk_buf_append_text(out, ",\"cursor\":");
        dbk_reader_place_write(&table->cursor, out);
    }
    dbk_buf_append_char(out, '}');
}

void dbk_journal_put_state(const struct dbk_journal *journal, struct dbk_buf *out)
{
    bool first = true;
    dbk_buf_append_format(out,
                          "{\"kind\":\"sqlite\",\"incarnation\":\"%s\",\"position\":\"%" PRId64
                          "\",\"removed\":%" PRId64 ",\"tables\":{",
                          journal->incarnation, journal->position, journal->removed);
    for (size_t i = 0; i < journal->table_count; i++) {
        if (!journal->tables[i].captured)
            continue;
        if (!first)
            dbk_buf_append_char(out, ',');
        first = false;
        put_table(&journal->tables[i], out);
    }
    dbk_buf_append_text(out, "}}");
}

/* ---- Reading ---- */

static int damaged(const struct dbk_journal *journal, struct dbk_error *err)
{
    return dbk_error_set(err, DBK_ECORRUPT,
                         "what the book keeps of capturing %s cannot be read: `daybook capture "
                         "resnapshot %s` begins anew",
                         journal->options.service->name, journal->options.service->name);
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

static int read_table(struct dbk_journal_table *table, const struct dbk_json_node *node)
{
    struct dbk_slice phase = text_of(node, "phase");
    for (size_t i = 0; i < sizeof(phases) / sizeof(phases[0]); i++) {
        if (dbk_slice_equal_text(phase, phases[i]))
            table->phase = (enum dbk_journal_phase)i;
    }
    table->until = count_of(node, "until");
    table->swept = count_of(node, "swept");
    table->rows = count_of(node, "rows");
    return dbk_reader_place_read(&table->cursor, dbk_json_member(node, "cursor"));
}

static int parse(struct dbk_journal *journal, const struct dbk_json_node *root)
{
    const struct dbk_json_node *tables = dbk_json_member(root, "tables");
    struct dbk_slice incarnation = text_of(root, "incarnation");
    if (!dbk_slice_equal_text(text_of(root, "kind"), "sqlite") || tables == NULL ||
        incarnation.size >= sizeof(journal->incarnation) || incarnation.size == 0 ||
        !dbk_slice_to_i64(text_of(root, "position"), &journal->position) || journal->position < 0)
        return DBK_ECORRUPT;
    (void)snprintf(journal->incarnation, sizeof(journal->incarnation), "%.*s",
                   DBK_SLICE_ARGS(incarnation));
    journal->removed = (int64_t)count_of(root, "removed");
    int rc = DBK_OK;
    for (size_t i = 0; i < journal->table_count && rc == DBK_OK; i++) {
        struct dbk_journal_table *table = &journal->tables[i];
        const struct dbk_json_node *node = dbk_json_member(tables, table->reader.table->name);
        if (node != NULL && table->captured)
            rc = read_table(table, node);
    }
    return rc;
}

/* ---- The file ---- */

static int refuse(const struct dbk_journal *journal, const char *what, struct dbk_error *err)
{
    const struct dbk_capture_service *service = journal->options.service;
    return dbk_error_set(err, DBK_EDENIED,
                         "the file of %s (%s) %s: put the captured file back, or read this one's "
                         "tables with `daybook capture resnapshot %s`",
                         service->database, service->address, what, service->name);
}

/* Is it the file that was captured, and not from before what the book has? */
static int compare(struct dbk_journal *journal, struct dbk_error *err)
{
    struct dbk_slice incarnation;
    int64_t captured = 0;
    int64_t last = 0;
    int64_t exists = 0;
    int rc = dbk_journal_number(journal->connection, DBK_JOURNAL_EXISTS, &exists, err);
    if (rc < 0)
        return rc;
    if (exists == 0)
        return refuse(journal, "is not the one that was captured: it has no journal", err);
    rc = dbk_journal_text(journal->connection, DBK_JOURNAL_INCARNATION, &journal->arena,
                          &incarnation, err);
    if (rc == DBK_OK)
        rc = dbk_journal_number(journal->connection, DBK_JOURNAL_CAPTURED, &captured, err);
    if (rc == DBK_OK)
        rc = dbk_journal_number(journal->connection, DBK_JOURNAL_LAST, &last, err);
    if (rc < 0)
        return rc;
    if (!dbk_slice_equal_text(incarnation, journal->incarnation))
        return refuse(journal, "is not the one that was captured: its journal is another", err);
    if (captured < journal->removed || captured > journal->position || last < journal->position)
        return refuse(journal,
                      "is from before what the book has of it: it was restored, or lost changes",
                      err);
    journal->removed = captured;
    return DBK_OK;
}

/* A journal that is there may be somebody else's. */
static int check_owner(struct dbk_journal *journal, struct dbk_error *err)
{
    struct dbk_slice owner;
    int64_t exists = 0;
    int rc = dbk_journal_number(journal->connection, DBK_JOURNAL_EXISTS, &exists, err);
    if (rc < 0 || exists == 0)
        return rc;
    rc = dbk_journal_text(journal->connection, DBK_JOURNAL_OWNER, &journal->arena, &owner, err);
    if (rc < 0 || dbk_slice_equal_text(owner, journal->owner))
        return rc;
    return dbk_error_set(
        err, DBK_EDENIED,
        "%s is captured by another book or service (%.*s), and its journal can "
        "have one reader: end that one, then `daybook capture resnapshot %s` takes "
        "over",
        journal->options.service->database, DBK_SLICE_ARGS(owner), journal->options.service->name);
}

int dbk_journal_read_state(struct dbk_journal *journal, bool *begin_out, struct dbk_error *err)
{
    const struct dbk_json_node *root = NULL;
    struct dbk_slice state = journal->options.state;
    *begin_out = true;
    if (journal->options.resnapshot)
        return DBK_OK;
    int rc = check_owner(journal, err);
    if (rc < 0 || state.size == 0)
        return rc;
    if (dbk_json_parse(journal->json, state, &root, NULL) < 0 || parse(journal, root) < 0)
        return damaged(journal, err);
    *begin_out = false;
    return compare(journal, err);
}
