/* SPDX-License-Identifier: Apache-2.0 */
/* PostgreSQL and SQLite behind struct dbk_poll_kind. */
#include "capture/poll_sql.h"

#include <stdio.h>

#include "base/time.h"

const struct dbk_reader_column *dbk_poll_sql_cursor(const struct dbk_poll_sql_table *table)
{
    const char *name = table->reader.table->polling.cursor;
    return name == NULL ? NULL : dbk_reader_column(&table->reader, dbk_slice_of(name));
}

/* ---- Rows ---- */

/* A row that says it is deleted is one that is gone. */
static bool is_deleted(const struct dbk_poll_sql_table *table, const struct dbk_change *change)
{
    const char *name = table->reader.table->polling.deleted;
    for (size_t i = 0; name != NULL && i < change->shape->count; i++) {
        const struct dbk_change_value *value = &change->values[i];
        if (dbk_slice_equal_text(change->shape->names[i], name))
            return value->kind != DBK_CHANGE_NULL && value->text.size > 0 &&
                   !dbk_slice_equal_text(value->text, "false") &&
                   !dbk_slice_equal_text(value->text, "0");
    }
    return false;
}

/* When a row was stamped is the nearest to its commit that is known. */
static int64_t time_of(const struct dbk_poll_sql_table *table, bool postgres,
                       const struct dbk_change *change)
{
    int64_t time_us = DBK_TIME_NONE;
    if (!postgres || table->mode != DBK_POLL_STAMP)
        return time_us;
    const struct dbk_change_value *value =
        &change->values[dbk_poll_sql_cursor(table) - table->reader.columns];
    return value->kind == DBK_CHANGE_TEXT && dbk_time_parse(value->text, &time_us) ? time_us
                                                                                   : DBK_TIME_NONE;
}

static int next_row(struct dbk_poll *poll, struct dbk_error *err)
{
    struct dbk_poll_sql *own = dbk_poll_sql_of(poll);
    struct dbk_poll_sql_table *table = dbk_poll_sql_table_of(poll->table);
    int rc = dbk_statement_step(own->page, err);
    if (rc != 1)
        return rc;
    rc = dbk_reader_take(&table->reader, own->page, 0, &poll->row, &poll->change, err);
    if (rc < 0)
        return rc;
    poll->time_us = time_of(table, own->postgres, &poll->change);
    if (is_deleted(table, &poll->change))
        poll->change.kind = DBK_CHANGE_DELETE;
    if (table->mode == DBK_POLL_XID) {
        size_t index = (size_t)(dbk_poll_sql_cursor(table) - table->reader.columns);
        (void)snprintf(poll->transaction, sizeof(poll->transaction), "%.*s",
                       DBK_SLICE_ARGS(poll->change.values[index].text));
    }
    return 1;
}

static void close_page(struct dbk_poll *poll)
{
    struct dbk_poll_sql *own = dbk_poll_sql_of(poll);
    dbk_statement_free(own->page);
    own->page = NULL;
}

static int find_gone(struct dbk_poll *poll, struct dbk_poll_table *table,
                     const struct dbk_live_keys *keys, bool *gone, struct dbk_error *err)
{
    (void)poll;
    return dbk_reader_find_gone(&dbk_poll_sql_table_of(table)->reader, keys, gone, err);
}

/* ---- Life ---- */

static int open_sql(struct dbk_poll *poll, struct dbk_error *err)
{
    struct dbk_poll_sql *own = dbk_arena_alloc_zero(&poll->arena, 1, sizeof(*own));
    struct dbk_poll_sql_table *tables =
        dbk_arena_alloc_zero(&poll->arena, poll->table_count + 1, sizeof(*tables));
    if (own == NULL || tables == NULL)
        return dbk_poll_no_memory(poll, err);
    poll->own = own;
    int rc = dbk_connection_open(poll->options.service->address, DBK_CONNECT_READ, &own->connection,
                                 err);
    if (rc < 0)
        return rc;
    own->postgres = dbk_connection_dialect(own->connection) == DBK_DIALECT_POSTGRES;
    for (size_t i = 0; i < poll->table_count; i++) {
        struct dbk_poll_sql_table *table = &tables[i];
        poll->tables[i].own = table;
        dbk_reader_init(&table->reader, own->connection, poll->options.service, i, poll->json);
        dbk_reader_place_init(&table->cursor);
        dbk_reader_place_init(&table->from);
        dbk_reader_place_init(&table->next);
        dbk_reader_place_init(&table->newest);
    }
    return DBK_OK;
}

static void close_sql(struct dbk_poll *poll)
{
    struct dbk_poll_sql *own = dbk_poll_sql_of(poll);
    if (own == NULL)
        return;
    dbk_statement_free(own->page);
    for (size_t i = 0; i < poll->table_count; i++) {
        struct dbk_poll_sql_table *table = dbk_poll_sql_table_of(&poll->tables[i]);
        if (table == NULL)
            continue;
        dbk_reader_release(&table->reader);
        dbk_reader_place_release(&table->cursor);
        dbk_reader_place_release(&table->from);
        dbk_reader_place_release(&table->next);
        dbk_reader_place_release(&table->newest);
    }
    dbk_connection_free(own->connection);
}

/* ---- State ---- */

static void put_state(const struct dbk_poll_table *base, struct dbk_buf *out)
{
    const struct dbk_poll_sql_table *table = dbk_poll_sql_table_of(base);
    dbk_buf_append_format(out, ",\"mode\":%d,\"cursor\":", (int)table->mode);
    dbk_reader_place_write(&table->cursor, out);
    dbk_buf_append_text(out, ",\"from\":");
    dbk_reader_place_write(&table->from, out);
    dbk_buf_append_text(out, ",\"next\":");
    dbk_reader_place_write(&table->next, out);
}

static int read_state(struct dbk_poll *poll, struct dbk_poll_table *base,
                      const struct dbk_json_node *node)
{
    struct dbk_poll_sql_table *table = dbk_poll_sql_table_of(base);
    const struct dbk_json_node *mode = dbk_json_member(node, "mode");
    (void)poll;
    if (mode == NULL || mode->kind != DBK_JSON_INTEGER || mode->integer != (int64_t)table->mode)
        return 0;
    int rc = dbk_reader_place_read(&table->cursor, dbk_json_member(node, "cursor"));
    if (rc == DBK_OK)
        rc = dbk_reader_place_read(&table->from, dbk_json_member(node, "from"));
    if (rc == DBK_OK)
        rc = dbk_reader_place_read(&table->next, dbk_json_member(node, "next"));
    size_t count = table->reader.key_count + (table->mode == DBK_POLL_WHOLE ? 0 : 1);
    if (rc == DBK_OK && table->cursor.count != 0 && table->cursor.count != count)
        dbk_reader_place_reset(&table->cursor);
    if (rc == DBK_OK && (table->from.count > 1 || table->next.count > 1))
        return DBK_ECORRUPT;
    return rc < 0 ? rc : 1;
}

const struct dbk_poll_kind dbk_poll_sql_kind = {
    .version = DBK_POLL_VERSION,
    .open = open_sql,
    .close = close_sql,
    .look = dbk_poll_sql_look,
    .begin_round = dbk_poll_sql_begin_round,
    .open_page = dbk_poll_sql_open_page,
    .next_row = next_row,
    .close_page = close_page,
    .move = dbk_poll_sql_move,
    .find_gone = find_gone,
    .put_state = put_state,
    .read_state = read_state,
};
