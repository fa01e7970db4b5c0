/* SPDX-License-Identifier: Apache-2.0 */
/* Which rows a round reads: see poll_sql.h. */
#include "capture/poll_sql.h"

#define SQL_SIZE_MAX ((size_t)1 << 20)
#define TYPE_TIMESTAMPTZ 1184
#define TYPE_XID8 5069

static const struct dbk_capture_polling *settings(const struct dbk_poll_sql_table *table)
{
    return &table->reader.table->polling;
}

/* ---- The cursor's column ---- */

/* What a column of PostgreSQL's promises about rows that are committed later. */
static int take_type(struct dbk_poll_sql_table *table, const struct dbk_reader_column *column,
                     struct dbk_error *err)
{
    if (column->type == TYPE_XID8)
        table->mode = DBK_POLL_XID;
    else if (column->type == TYPE_TIMESTAMPTZ)
        table->mode = DBK_POLL_STAMP;
    else
        return dbk_error_set(
            err, DBK_EINVAL,
            "%s:%u:%u: the cursor `%.*s` is of type %s: transactions commit in another order than "
            "they take its values, and rows would be missed. Add a column `xid8 NOT NULL DEFAULT "
            "pg_current_xact_id()` that a trigger sets with each update, or use a `timestamptz`",
            table->reader.service->file, table->reader.table->line, table->reader.table->column,
            DBK_SLICE_ARGS(column->name), column->type_name);
    return DBK_OK;
}

int dbk_poll_sql_look(struct dbk_poll *poll, struct dbk_poll_table *base, struct dbk_error *err)
{
    struct dbk_poll_sql_table *table = dbk_poll_sql_table_of(base);
    struct dbk_poll_sql *own = dbk_poll_sql_of(poll);
    const struct dbk_capture_polling *polling = settings(table);
    struct dbk_reader *reader = &table->reader;
    int rc = dbk_reader_look(reader, ++own->shape_number, err);
    table->mode = DBK_POLL_WHOLE;
    base->key_count = reader->key_count;
    if (rc < 0)
        return rc;
    if (reader->key_count == DBK_READER_KEYS_MAX)
        return dbk_reader_fault(reader, DBK_EINVAL, "has too many columns in its primary key",
                                "leave it out", err);
    if (polling->deleted != NULL &&
        dbk_reader_column(reader, dbk_slice_of(polling->deleted)) == NULL)
        return dbk_reader_fault(reader, DBK_ENOTFOUND, "has no column that `deleted` names",
                                "name one that says whether a row is deleted", err);
    if (polling->cursor == NULL)
        return DBK_OK;
    const struct dbk_reader_column *column =
        dbk_reader_column(reader, dbk_slice_of(polling->cursor));
    if (column == NULL)
        return dbk_reader_fault(reader, DBK_ENOTFOUND, "has no column that `cursor` names",
                                "name one, or leave `cursor` out: the whole table is compared then",
                                err);
    if (column->nullable)
        return dbk_reader_fault(reader, DBK_EINVAL, "has a cursor that may be NULL",
                                "such rows would be missed: make the column NOT NULL", err);
    table->mode = DBK_POLL_STAMP;
    return own->postgres ? take_type(table, column, err) : DBK_OK;
}

/* ---- Bounds ---- */

static int keep(struct dbk_poll *poll, struct dbk_reader_place *place,
                const struct dbk_value *value, struct dbk_error *err)
{
    dbk_reader_place_reset(place);
    return dbk_reader_place_add(place, value) < 0 ? dbk_poll_no_memory(poll, err) : DBK_OK;
}

/* Before it nothing is stamped any more. No answer: a transaction is prepared, and nobody knows
   when it began. */
#define BOUND                                                                                      \
    "SELECT pg_has_role(current_user, 'pg_read_all_stats', 'USAGE'), CASE WHEN NOT EXISTS "        \
    "(SELECT "                                                                                     \
    "1 FROM pg_prepared_xacts WHERE database = current_database()) THEN format('%%s', "            \
    "least(statement_timestamp(), (SELECT min(xact_start) FROM pg_stat_activity WHERE datname = "  \
    "current_database() AND pid <> pg_backend_pid() AND backend_type NOT IN ('autovacuum "         \
    "worker', "                                                                                    \
    "'walsender'))) - interval '%lld us') END"

static int ask_bound(struct dbk_poll *poll, struct dbk_poll_sql_table *table, struct dbk_error *err)
{
    struct dbk_buf sql;
    struct dbk_statement *statement = NULL;
    dbk_buf_init(&sql, SQL_SIZE_MAX);
    dbk_buf_append_format(&sql, BOUND, (long long)settings(table)->overlap_us);
    int rc = dbk_reader_prepare(&table->reader, &sql, &statement, err);
    dbk_buf_release(&sql);
    if (rc == DBK_OK)
        rc = dbk_statement_step(statement, err);
    if (rc == 1) {
        struct dbk_value may = dbk_statement_column(statement, 0);
        struct dbk_value bound = dbk_statement_column(statement, 1);
        if (may.kind != DBK_VALUE_INTEGER || may.integer == 0)
            rc = dbk_reader_fault(
                &table->reader, DBK_EDENIED,
                "is polled by a time, and the user may not see when others' transactions began",
                "rows would be missed: GRANT pg_read_all_stats to it, or use an xid8 column", err);
        else if (bound.kind == DBK_VALUE_TEXT)
            rc = keep(poll, &table->next, &bound, err);
        else if (table->from.count > 0)
            rc = keep(poll, &table->next, &table->from.values[0], err);
    }
    dbk_statement_free(statement);
    return rc < 0 ? rc : DBK_OK;
}

/* The greatest value an overlap ago bounds what a writer may still commit. */
static int remember_newest(struct dbk_poll *poll, struct dbk_poll_sql_table *table,
                           struct dbk_error *err)
{
    int64_t now = dbk_poll_now_us(poll);
    int rc = DBK_OK;
    if (table->newest.count > 0 && now - table->newest_us < settings(table)->overlap_us)
        return DBK_OK;
    if (table->newest.count > 0)
        rc = keep(poll, &table->next, &table->newest.values[0], err);
    table->newest_us = now;
    if (rc == DBK_OK && table->cursor.count > 0)
        rc = keep(poll, &table->newest, &table->cursor.values[0], err);
    return rc;
}

/* A database from before what was read would never get past it in silence. */
#define BEFORE "SELECT pg_snapshot_xmax(pg_current_snapshot()) < '%.*s'::xid8"

static int check_xid(struct dbk_poll *poll, struct dbk_poll_sql_table *table, struct dbk_error *err)
{
    struct dbk_buf sql;
    struct dbk_statement *statement = NULL;
    dbk_buf_init(&sql, SQL_SIZE_MAX);
    dbk_buf_append_format(&sql, BEFORE, DBK_SLICE_ARGS(table->cursor.values[0].bytes));
    int rc = dbk_reader_prepare(&table->reader, &sql, &statement, err);
    dbk_buf_release(&sql);
    if (rc == DBK_OK)
        rc = dbk_statement_step(statement, err);
    if (rc == 1 && dbk_statement_column(statement, 0).integer != 0)
        rc = dbk_error_set(err, DBK_EDENIED,
                           "the server of %s is from before what the book has of it: it was "
                           "restored, or is another one; `daybook capture resnapshot %s` reads its "
                           "tables",
                           poll->options.service->database, poll->options.service->name);
    dbk_statement_free(statement);
    return rc < 0 ? rc : DBK_OK;
}

int dbk_poll_sql_begin_round(struct dbk_poll *poll, struct dbk_poll_table *base,
                             struct dbk_error *err)
{
    struct dbk_poll_sql_table *table = dbk_poll_sql_table_of(base);
    bool postgres = dbk_poll_sql_of(poll)->postgres;
    int rc = dbk_poll_sql_look(poll, base, err);
    if (rc < 0)
        return rc;
    if (table->mode == DBK_POLL_XID)
        return table->cursor.count > 0 ? check_xid(poll, table, err) : DBK_OK;
    /* A round that was left goes on behind its last page, with the bounds it began with. */
    if (base->at == DBK_POLL_PAGE)
        return DBK_OK;
    if (table->mode == DBK_POLL_STAMP && !postgres)
        rc = remember_newest(poll, table, err);
    if (rc == DBK_OK && table->mode == DBK_POLL_STAMP && table->next.count > 0)
        rc = keep(poll, &table->from, &table->next.values[0], err);
    if (rc == DBK_OK && table->mode == DBK_POLL_STAMP && postgres)
        rc = ask_bound(poll, table, err);
    dbk_reader_place_reset(&table->cursor);
    return rc;
}

/* ---- Pages ---- */

/* `("xid","id") > ('5'::xid8,'7'::int4)` */
static void put_behind(const struct dbk_poll_sql_table *table, struct dbk_buf *sql)
{
    const struct dbk_reader *reader = &table->reader;
    const struct dbk_reader_column *column = dbk_poll_sql_cursor(table);
    dbk_buf_append_char(sql, '(');
    dbk_reader_put_name(sql, column->name);
    dbk_buf_append_char(sql, ',');
    dbk_reader_put_key(reader, sql);
    dbk_buf_append_text(sql, ") > (");
    dbk_reader_put_literal(reader, &table->cursor.values[0], column->type_name, sql);
    for (size_t i = 0; i < reader->key_count; i++) {
        dbk_buf_append_char(sql, ',');
        dbk_reader_put_literal(reader, &table->cursor.values[i + 1],
                               reader->columns[reader->keys[i]].type_name, sql);
    }
    dbk_buf_append_char(sql, ')');
}

static void put_where(const struct dbk_poll_sql_table *table, struct dbk_buf *sql)
{
    const char *word = " WHERE ";
    bool begun = table->cursor.count > 0;
    if (table->mode == DBK_POLL_WHOLE && begun) {
        dbk_buf_append_text(sql, word);
        dbk_reader_put_behind(&table->reader, &table->cursor, sql);
    } else if (table->mode != DBK_POLL_WHOLE && begun) {
        dbk_buf_append_text(sql, word);
        put_behind(table, sql);
        word = " AND ";
    } else if (table->mode == DBK_POLL_STAMP && table->from.count > 0) {
        dbk_buf_append_text(sql, word);
        dbk_reader_put_name(sql, dbk_poll_sql_cursor(table)->name);
        dbk_buf_append_text(sql, " >= ");
        dbk_reader_put_literal(&table->reader, &table->from.values[0],
                               dbk_poll_sql_cursor(table)->type_name, sql);
    }
    if (table->mode != DBK_POLL_XID)
        return;
    dbk_buf_append_text(sql, word);
    dbk_reader_put_name(sql, dbk_poll_sql_cursor(table)->name);
    dbk_buf_append_text(sql, " < pg_snapshot_xmin(pg_current_snapshot())");
}

static void put_page(const struct dbk_poll *poll, const struct dbk_poll_sql_table *table,
                     struct dbk_buf *sql)
{
    dbk_buf_append_text(sql, "SELECT ");
    dbk_reader_put_columns(&table->reader, sql);
    dbk_buf_append_text(sql, " FROM ");
    dbk_reader_put_table(&table->reader, sql);
    put_where(table, sql);
    dbk_buf_append_text(sql, " ORDER BY ");
    if (table->mode != DBK_POLL_WHOLE) {
        dbk_reader_put_name(sql, dbk_poll_sql_cursor(table)->name);
        dbk_buf_append_char(sql, ',');
    }
    dbk_reader_put_key(&table->reader, sql);
    dbk_buf_append_format(sql, " LIMIT %zu", poll->page_limit);
}

int dbk_poll_sql_open_page(struct dbk_poll *poll, struct dbk_error *err)
{
    struct dbk_poll_sql_table *table = dbk_poll_sql_table_of(poll->table);
    struct dbk_buf sql;
    dbk_buf_init(&sql, SQL_SIZE_MAX);
    put_page(poll, table, &sql);
    int rc = dbk_reader_prepare(&table->reader, &sql, &dbk_poll_sql_of(poll)->page, err);
    dbk_buf_release(&sql);
    return rc;
}

int dbk_poll_sql_move(struct dbk_poll *poll, struct dbk_error *err)
{
    struct dbk_poll_sql_table *table = dbk_poll_sql_table_of(poll->table);
    struct dbk_statement *page = dbk_poll_sql_of(poll)->page;
    int rc = DBK_OK;
    dbk_reader_place_reset(&table->cursor);
    if (table->mode != DBK_POLL_WHOLE) {
        struct dbk_value value =
            dbk_statement_column(page, (int)(dbk_poll_sql_cursor(table) - table->reader.columns));
        rc = dbk_reader_place_add(&table->cursor, &value);
    }
    if (rc == DBK_OK)
        rc = dbk_reader_place_add_key(&table->reader, &table->cursor, page, 0);
    return rc < 0 ? dbk_poll_no_memory(poll, err) : DBK_OK;
}
