/* SPDX-License-Identifier: Apache-2.0 */
/* What a label's nodes are like, and which transactions are open. */
#include <stdio.h>

#include "capture/neo4j/poll.h"

#define TEXT_SIZE_MAX ((size_t)256 << 10)
#define LOOK_US (INT64_C(60) * 1000000)
/* Of the time no more than one part in so many goes into looking. */
#define LOOK_SHARE 20

static const struct dbk_capture_polling *settings(const struct dbk_neo4j_table *table)
{
    return &table->nodes.table->polling;
}

int dbk_neo4j_ask(struct dbk_poll *poll, const struct dbk_buf *text, struct dbk_slice parameters,
                  struct dbk_json *json, struct dbk_neo4j_reply *reply_out, struct dbk_error *err)
{
    struct dbk_neo4j_session *session =
        (struct dbk_neo4j_session *)dbk_neo4j_poll_of(poll)->connection;
    struct dbk_buf statement;
    struct dbk_buf list;
    dbk_buf_init(&statement, DBK_NEO4J_REQUEST_SIZE_MAX);
    dbk_buf_init(&list, DBK_NEO4J_REQUEST_SIZE_MAX);
    dbk_buf_append_text(&list, "{\"_\":");
    dbk_buf_append(&list, parameters);
    dbk_buf_append_char(&list, '}');
    dbk_neo4j_add(&statement, dbk_buf_slice(text), dbk_buf_slice(&list));
    int rc = text->rc < 0 || list.rc < 0
                 ? dbk_poll_no_memory(poll, err)
                 : dbk_neo4j_exchange(session, &statement, json, reply_out, err);
    dbk_buf_release(&list);
    dbk_buf_release(&statement);
    return rc;
}

/* The rows of the only statement. */
static const struct dbk_json_node *rows_of(const struct dbk_neo4j_reply *reply, uint32_t *count_out)
{
    const struct dbk_json_node *data = dbk_json_member(dbk_neo4j_reply_result(reply, 0), "data");
    *count_out = data == NULL ? 0 : data->count;
    return *count_out == 0 ? NULL : dbk_json_first(data);
}

static struct dbk_json *json_of(const struct dbk_poll *poll)
{
    return ((struct dbk_neo4j_session *)dbk_neo4j_poll_of(poll)->connection)->json;
}

/* ---- Keys and cursors of all nodes ---- */

/* Two nodes of one key would be one row. */
static int check_constraint(struct dbk_poll *poll, const struct dbk_neo4j_table *table,
                            struct dbk_error *err)
{
    static const char text[] =
        "SHOW CONSTRAINTS YIELD type, entityType, labelsOrTypes, properties WHERE entityType = "
        "'NODE' AND labelsOrTypes = [$_[0]] AND properties = [$_[1]] AND (type ENDS WITH "
        "'UNIQUENESS' OR type ENDS WITH 'KEY') RETURN count(*)";
    struct dbk_buf statement;
    struct dbk_buf parameters;
    struct dbk_neo4j_reply reply = {0};
    uint32_t count = 0;
    char fix[600];
    dbk_buf_init(&statement, TEXT_SIZE_MAX);
    dbk_buf_init(&parameters, TEXT_SIZE_MAX);
    dbk_buf_append_text(&statement, text);
    dbk_buf_append_char(&parameters, '[');
    dbk_json_write_string(&parameters, dbk_slice_of(table->nodes.table->name));
    dbk_buf_append_char(&parameters, ',');
    dbk_json_write_string(&parameters, dbk_slice_of(settings(table)->key));
    dbk_buf_append_char(&parameters, ']');
    int rc =
        dbk_neo4j_ask(poll, &statement, dbk_buf_slice(&parameters), json_of(poll), &reply, err);
    dbk_buf_release(&parameters);
    dbk_buf_release(&statement);
    const struct dbk_json_node *row = rc == DBK_OK ? rows_of(&reply, &count) : NULL;
    const struct dbk_json_node *found =
        row == NULL ? NULL : dbk_json_first(dbk_json_member(row, "row"));
    if (rc < 0 || (found != NULL && found->kind == DBK_JSON_INTEGER && found->integer > 0))
        return rc;
    (void)snprintf(fix, sizeof(fix), "CREATE CONSTRAINT FOR (n:%.200s) REQUIRE n.%.200s IS UNIQUE",
                   table->nodes.table->name, settings(table)->key);
    return dbk_nodes_fault(&table->nodes, DBK_EINVAL,
                           "has no constraint that its `key` is each node's own", fix, err);
}

static int refuse(const struct dbk_neo4j_table *table, const struct dbk_json_node *key,
                  const char *what, const char *fix, struct dbk_error *err)
{
    struct dbk_slice name = key->kind == DBK_JSON_STRING ? key->text : DBK_SLICE_LITERAL("?");
    char text[400];
    (void)snprintf(text, sizeof(text), "has nodes (one with the key %.*s) whose %.200s",
                   (int)(name.size < 100 ? name.size : 100), name.data, what);
    return dbk_nodes_fault(&table->nodes, DBK_EINVAL, text, fix, err);
}

#define KEY_FIX "they would be missed: give all nodes a text, or all a whole number, there"
#define CURSOR_FIX                                                                                 \
    "they would be missed: give all nodes a ZONED DATETIME, a LOCAL DATETIME, a whole number or "  \
    "a text there, all the same"

int dbk_neo4j_refuse_cursor(const struct dbk_neo4j_table *table, const struct dbk_json_node *key,
                            enum dbk_neo4j_kind kind, struct dbk_error *err)
{
    return refuse(table, key,
                  kind == DBK_NEO4J_NONE ? "cursor is missing"
                                         : "cursor is of a kind that is not taken",
                  CURSOR_FIX, err);
}

/* One kind of key and of cursor that there is: (key's, cursor's, some key's text). */
static int check_kinds(const struct dbk_neo4j_table *table, const struct dbk_json_node *row,
                       enum dbk_neo4j_kind *key, enum dbk_neo4j_kind *stamp, struct dbk_error *err)
{
    const struct dbk_json_node *key_type = dbk_json_first(dbk_json_member(row, "row"));
    const struct dbk_json_node *stamp_type = dbk_json_sibling(key_type);
    const struct dbk_json_node *example = dbk_json_sibling(stamp_type);
    enum dbk_neo4j_kind key_kind = dbk_neo4j_kind_of(key_type->text);
    enum dbk_neo4j_kind stamp_kind = dbk_neo4j_kind_of(stamp_type->text);
    if (key_kind != DBK_NEO4J_NUMBER && key_kind != DBK_NEO4J_TEXT)
        return refuse(table, example,
                      key_kind == DBK_NEO4J_NONE ? "`key` is missing"
                                                 : "`key` is no text and no whole number",
                      KEY_FIX, err);
    if (*key != DBK_NEO4J_NONE && *key != key_kind)
        return refuse(table, example, "`key` is of another kind than that of others", KEY_FIX, err);
    *key = key_kind;
    if (!table->stamped)
        return DBK_OK;
    if (stamp_kind == DBK_NEO4J_NONE || stamp_kind == DBK_NEO4J_OTHER)
        return dbk_neo4j_refuse_cursor(table, example, stamp_kind, err);
    if (*stamp != DBK_NEO4J_NONE && *stamp != stamp_kind)
        return refuse(table, example, "cursor is of another kind than that of others", CURSOR_FIX,
                      err);
    *stamp = stamp_kind;
    return DBK_OK;
}

static void put_kinds(const struct dbk_neo4j_table *table, struct dbk_buf *out)
{
    dbk_buf_append_text(out, "MATCH (n:");
    dbk_neo4j_put_name(out, table->nodes.table->name);
    dbk_buf_append_text(out, ") WITH valueType(");
    dbk_neo4j_put_property(out, settings(table)->key);
    dbk_buf_append_text(out, ") AS k, valueType(");
    if (table->stamped)
        dbk_neo4j_put_property(out, settings(table)->cursor);
    else
        dbk_buf_append_text(out, "null");
    dbk_buf_append_text(out, ") AS c, toStringOrNull(");
    dbk_neo4j_put_property(out, settings(table)->key);
    dbk_buf_append_text(out, ") AS e WITH k, c, count(*) AS times, min(e) AS e "
                             "RETURN k, c, e ORDER BY times DESC, k, c LIMIT 3");
}

/* Values of another kind than nodes have now are of no use: the label is read anew. */
static void forget_others(struct dbk_neo4j_table *table, struct dbk_poll_table *base)
{
    struct dbk_neo4j_value *stamps[] = {&table->cursor, &table->from, &table->bound};
    bool other = table->key.json != NULL && table->key.kind != table->key_kind;
    for (size_t i = 0; i < 3; i++)
        other = other || (stamps[i]->json != NULL && stamps[i]->kind != table->stamp_kind);
    if (!other)
        return;
    for (size_t i = 0; i < 3; i++)
        dbk_neo4j_value_release(stamps[i]);
    dbk_neo4j_value_release(&table->key);
    while (table->reading_count > 0)
        dbk_neo4j_value_release(&table->readings[--table->reading_count].newest);
    base->at = DBK_POLL_IDLE;
}

int dbk_neo4j_look(struct dbk_poll *poll, struct dbk_poll_table *base, struct dbk_error *err)
{
    struct dbk_neo4j_table *table = dbk_neo4j_table_of(base);
    int64_t began_us = dbk_poll_now_us(poll);
    struct dbk_neo4j_reply reply = {0};
    struct dbk_buf text;
    enum dbk_neo4j_kind key = DBK_NEO4J_NONE;
    enum dbk_neo4j_kind stamp = DBK_NEO4J_NONE;
    uint32_t count = 0;
    if (began_us < table->look_us)
        return DBK_OK;
    int rc = check_constraint(poll, table, err);
    if (rc < 0)
        return rc;
    dbk_buf_init(&text, TEXT_SIZE_MAX);
    put_kinds(table, &text);
    rc = dbk_neo4j_ask(poll, &text, DBK_SLICE_LITERAL("[]"), json_of(poll), &reply, err);
    dbk_buf_release(&text);
    const struct dbk_json_node *row = rc == DBK_OK ? rows_of(&reply, &count) : NULL;
    for (uint32_t i = 0; rc == DBK_OK && i < count; i++, row = dbk_json_sibling(row))
        rc = check_kinds(table, row, &key, &stamp, err);
    if (rc < 0)
        return rc;
    table->key_kind = key;
    table->stamp_kind = stamp;
    if (count > 0)
        forget_others(table, base);
    int64_t took_us = dbk_poll_now_us(poll) - began_us;
    table->look_us = began_us + (took_us * LOOK_SHARE > LOOK_US ? took_us * LOOK_SHARE : LOOK_US);
    return DBK_OK;
}

/* ---- Bounds ---- */

/* Half of them do, when there are too many: an older one is only less. */
static void thin(struct dbk_neo4j_table *table)
{
    size_t kept = 0;
    for (size_t i = 0; i < table->reading_count; i++) {
        if (i % 2 == 0)
            table->readings[kept++] = table->readings[i];
        else
            dbk_neo4j_value_release(&table->readings[i].newest);
    }
    for (size_t i = kept; i < table->reading_count; i++)
        table->readings[i] = (struct dbk_neo4j_reading){0};
    table->reading_count = kept;
}

static int add_reading(struct dbk_neo4j_table *table, int64_t now_ms)
{
    if (table->cursor.json == NULL)
        return DBK_OK;
    if (table->reading_count == DBK_NEO4J_READINGS_MAX)
        thin(table);
    struct dbk_neo4j_reading *reading = &table->readings[table->reading_count];
    *reading = (struct dbk_neo4j_reading){.at_ms = now_ms};
    int rc = dbk_neo4j_value_copy(&reading->newest, &table->cursor);
    table->reading_count += rc == DBK_OK;
    return rc;
}

/* The newest reading that was before all that is open becomes the bound, and those before it go. */
static void choose(struct dbk_neo4j_table *table, int64_t oldest_ms)
{
    size_t usable = 0;
    while (usable < table->reading_count &&
           table->readings[usable].at_ms < oldest_ms - settings(table)->overlap_us / 1000)
        usable++;
    if (usable == 0)
        return;
    dbk_neo4j_value_release(&table->bound);
    table->bound = table->readings[usable - 1].newest;
    for (size_t i = 0; i + 1 < usable; i++)
        dbk_neo4j_value_release(&table->readings[i].newest);
    table->reading_count -= usable;
    memmove(table->readings, table->readings + usable,
            table->reading_count * sizeof(*table->readings));
}

int dbk_neo4j_take_bound(struct dbk_poll *poll, struct dbk_neo4j_table *table,
                         struct dbk_error *err)
{
    static const char ask[] =
        "SHOW TRANSACTIONS YIELD database, startTime WHERE database = $_[0] RETURN "
        "min(datetime(toString(startTime)).epochMillis), datetime().epochMillis";
    struct dbk_neo4j_reply reply = {0};
    struct dbk_buf text;
    struct dbk_buf parameters;
    uint32_t count = 0;
    dbk_buf_init(&text, TEXT_SIZE_MAX);
    dbk_buf_init(&parameters, TEXT_SIZE_MAX);
    dbk_buf_append_text(&text, ask);
    dbk_buf_append_char(&parameters, '[');
    dbk_json_write_string(&parameters, dbk_slice_of(dbk_neo4j_poll_of(poll)->database));
    dbk_buf_append_char(&parameters, ']');
    int rc = dbk_neo4j_ask(poll, &text, dbk_buf_slice(&parameters), json_of(poll), &reply, err);
    dbk_buf_release(&parameters);
    dbk_buf_release(&text);
    const struct dbk_json_node *row = rc == DBK_OK ? rows_of(&reply, &count) : NULL;
    if (rc < 0)
        return rc;
    const struct dbk_json_node *oldest =
        row == NULL ? NULL : dbk_json_first(dbk_json_member(row, "row"));
    const struct dbk_json_node *now = oldest == NULL ? NULL : dbk_json_sibling(oldest);
    /* This one's own transaction is always there. */
    if (now == NULL || oldest->kind != DBK_JSON_INTEGER || now->kind != DBK_JSON_INTEGER)
        return dbk_nodes_fault(&table->nodes, DBK_EDENIED,
                               "is polled by a cursor, and the user sees no transactions",
                               "nodes would be missed: let it SHOW TRANSACTIONS, or leave "
                               "`cursor` out: the whole label is compared then",
                               err);
    if (add_reading(table, now->integer) < 0)
        return dbk_poll_no_memory(poll, err);
    choose(table, oldest->integer);
    return DBK_OK;
}
