/* SPDX-License-Identifier: Apache-2.0 */
/* Neo4j behind struct dbk_poll_kind. */
#include "capture/neo4j/poll.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/time.h"
#include "target/target.h"

#define TEXT_SIZE_MAX ((size_t)1 << 20)
#define PAGE_SIZE_MAX DBK_NEO4J_ANSWER_SIZE_MAX
#define RAISE_PAGES 8 /* that are short enough, before more nodes are tried */

extern const struct dbk_driver dbk_driver;

static const struct dbk_capture_polling *settings(const struct dbk_neo4j_table *table)
{
    return &table->nodes.table->polling;
}

/* ---- Life ---- */

/* Who it is: the database's own name, and whether all its transactions can be seen. */
static int ask_server(struct dbk_poll *poll, bool stamped, struct dbk_error *err)
{
    struct dbk_neo4j_poll *own = dbk_neo4j_poll_of(poll);
    struct dbk_neo4j_reply reply = {0};
    struct dbk_buf text;
    dbk_buf_init(&text, TEXT_SIZE_MAX);
    dbk_buf_append_text(&text, "CALL dbms.components() YIELD edition CALL db.info() YIELD name "
                               "RETURN edition, name LIMIT 1");
    int rc = dbk_neo4j_ask(poll, &text, DBK_SLICE_LITERAL("[]"), own->page, &reply, err);
    dbk_buf_release(&text);
    if (rc < 0)
        return rc;
    const struct dbk_json_node *row =
        dbk_json_first(dbk_json_member(dbk_neo4j_reply_result(&reply, 0), "data"));
    const struct dbk_json_node *edition =
        row == NULL ? NULL : dbk_json_first(dbk_json_member(row, "row"));
    const struct dbk_json_node *name = edition == NULL ? NULL : dbk_json_sibling(edition);
    if (name == NULL || name->kind != DBK_JSON_STRING || edition->kind != DBK_JSON_STRING)
        return dbk_error_set(err, DBK_ECONNECT, "Neo4j: it does not say which database it is");
    if (stamped && !dbk_slice_equal_text(edition->text, "community"))
        return dbk_error_set(err, DBK_EINVAL,
                             "the database `%s` of %s is no Community edition: others may keep "
                             "transactions where they are not seen, whose nodes a `cursor` would "
                             "miss: leave `cursor` out, the whole label is compared then",
                             poll->options.service->database, poll->options.service->name);
    own->database = dbk_arena_copy(&poll->arena, name->text).data == NULL
                        ? NULL
                        : dbk_arena_format(&poll->arena, "%.*s", DBK_SLICE_ARGS(name->text));
    return own->database == NULL ? dbk_poll_no_memory(poll, err) : DBK_OK;
}

static int open_neo4j(struct dbk_poll *poll, struct dbk_error *err)
{
    const struct dbk_capture_service *service = poll->options.service;
    struct dbk_neo4j_poll *own = dbk_arena_alloc_zero(&poll->arena, 1, sizeof(*own));
    struct dbk_neo4j_table *tables =
        dbk_arena_alloc_zero(&poll->arena, poll->table_count + 1, sizeof(*tables));
    bool stamped = false;
    if (own == NULL || tables == NULL)
        return dbk_poll_no_memory(poll, err);
    poll->own = own;
    for (size_t i = 0; i < poll->table_count; i++) {
        poll->tables[i].own = &tables[i];
        poll->tables[i].key_count = 1;
        dbk_nodes_init(&tables[i].nodes, service, i);
        tables[i].stamped = service->tables[i].polling.cursor != NULL;
        stamped = stamped || (tables[i].stamped && poll->tables[i].captured);
    }
    own->page_limit = SIZE_MAX;
    own->page = dbk_json_create(PAGE_SIZE_MAX);
    if (own->page == NULL)
        return dbk_poll_no_memory(poll, err);
    int rc =
        dbk_driver.open(strchr(service->address, ':') + 1, DBK_CONNECT_READ, &own->connection, err);
    return rc < 0 ? rc : ask_server(poll, stamped, err);
}

static void close_page(struct dbk_poll *poll)
{
    dbk_neo4j_poll_of(poll)->left = 0;
    dbk_neo4j_poll_of(poll)->row = NULL;
}

static void close_neo4j(struct dbk_poll *poll)
{
    struct dbk_neo4j_poll *own = dbk_neo4j_poll_of(poll);
    if (own == NULL)
        return;
    for (size_t i = 0; i < poll->table_count; i++) {
        struct dbk_neo4j_table *table = dbk_neo4j_table_of(&poll->tables[i]);
        dbk_nodes_release(&table->nodes);
        dbk_neo4j_value_release(&table->cursor);
        dbk_neo4j_value_release(&table->key);
        dbk_neo4j_value_release(&table->from);
        dbk_neo4j_value_release(&table->bound);
        while (table->reading_count > 0)
            dbk_neo4j_value_release(&table->readings[--table->reading_count].newest);
    }
    dbk_json_free(own->page);
    if (own->connection != NULL)
        dbk_driver.close(own->connection);
}

/* ---- Rounds ---- */

static int begin_round(struct dbk_poll *poll, struct dbk_poll_table *base, struct dbk_error *err)
{
    struct dbk_neo4j_table *table = dbk_neo4j_table_of(base);
    int rc = dbk_neo4j_look(poll, base, err);
    /* A round that was left goes on behind its last page, with the bound it began with. */
    if (rc < 0 || base->at == DBK_POLL_PAGE)
        return rc;
    if (table->stamped && dbk_neo4j_value_copy(&table->from, &table->bound) < 0)
        return dbk_poll_no_memory(poll, err);
    if (table->stamped)
        rc = dbk_neo4j_take_bound(poll, table, err);
    if (rc < 0)
        return rc;
    dbk_neo4j_value_release(&table->cursor);
    dbk_neo4j_value_release(&table->key);
    return DBK_OK;
}

/* ---- Pages ---- */

static void add_parameter(const struct dbk_neo4j_value *value, struct dbk_buf *parameters)
{
    if (parameters->size > 1)
        dbk_buf_append_char(parameters, ',');
    dbk_buf_append_text(parameters, value->json);
}

/* ` WHERE …`: behind the last node that was told, or from the bound on. */
static void put_where(const struct dbk_neo4j_table *table, struct dbk_buf *text,
                      struct dbk_buf *parameters)
{
    const struct dbk_neo4j_value *stamp = table->key.json == NULL ? &table->from : &table->cursor;
    if (!table->stamped && table->key.json == NULL)
        return;
    dbk_buf_append_text(text, " WHERE ");
    if (table->stamped) {
        dbk_neo4j_put_property(text, settings(table)->cursor);
        dbk_buf_append_text(text, stamp->json == NULL ? " IS NOT NULL" : " >= ");
    }
    if (table->stamped && stamp->json != NULL) {
        dbk_neo4j_value_put(stamp, 0, text);
        add_parameter(stamp, parameters);
    }
    if (table->key.json == NULL)
        return;
    if (table->stamped) {
        dbk_buf_append_text(text, " AND (");
        dbk_neo4j_put_property(text, settings(table)->cursor);
        dbk_buf_append_text(text, " > ");
        dbk_neo4j_value_put(stamp, 0, text);
        dbk_buf_append_text(text, " OR ");
    }
    dbk_neo4j_put_property(text, settings(table)->key);
    dbk_buf_append_text(text, " > ");
    dbk_neo4j_value_put(&table->key, table->stamped ? 1 : 0, text);
    add_parameter(&table->key, parameters);
    if (table->stamped)
        dbk_buf_append_char(text, ')');
}

/* The properties that are captured. */
static void put_properties(const struct dbk_neo4j_table *table, struct dbk_buf *text)
{
    const struct dbk_capture_table *definition = table->nodes.table;
    if (definition->column_count == 0) {
        dbk_buf_append_text(text, "properties(n)");
        return;
    }
    dbk_buf_append_text(text, "n {");
    for (size_t i = 0; i < definition->column_count; i++) {
        dbk_buf_append_text(text, i == 0 ? "." : ",.");
        dbk_neo4j_put_name(text, definition->columns[i]);
    }
    dbk_buf_append_char(text, '}');
}

/* RETURN key, cursor, its type, deleted, properties */
static void put_page(const struct dbk_neo4j_table *table, size_t limit, struct dbk_buf *text,
                     struct dbk_buf *parameters)
{
    const struct dbk_capture_polling *polling = settings(table);
    dbk_buf_append_text(text, "MATCH (n:");
    dbk_neo4j_put_name(text, table->nodes.table->name);
    dbk_buf_append_char(text, ')');
    put_where(table, text, parameters);
    dbk_buf_append_text(text, " WITH n ORDER BY ");
    if (table->stamped) {
        dbk_neo4j_put_property(text, polling->cursor);
        dbk_buf_append_char(text, ',');
    }
    dbk_neo4j_put_property(text, polling->key);
    dbk_buf_append_format(text, " LIMIT %zu RETURN ", limit);
    dbk_neo4j_put_property(text, polling->key);
    const char *more[] = {polling->cursor, polling->cursor, polling->deleted};
    static const char *const before[] = {",", ",valueType(", ","};
    static const char *const behind[] = {" AS c", ") AS t", " AS d"};
    for (size_t i = 0; i < 3; i++) {
        dbk_buf_append_text(text, before[i]);
        if (more[i] == NULL)
            dbk_buf_append_text(text, "null");
        else
            dbk_neo4j_put_property(text, more[i]);
        dbk_buf_append_text(text, behind[i]);
    }
    dbk_buf_append_char(text, ',');
    put_properties(table, text);
    dbk_buf_append_text(text, " AS p");
}

static int ask_page(struct dbk_poll *poll, struct dbk_error *err)
{
    struct dbk_neo4j_poll *own = dbk_neo4j_poll_of(poll);
    struct dbk_neo4j_reply reply = {0};
    struct dbk_buf text;
    struct dbk_buf parameters;
    dbk_buf_init(&text, TEXT_SIZE_MAX);
    dbk_buf_init(&parameters, TEXT_SIZE_MAX);
    dbk_buf_append_char(&parameters, '[');
    put_page(dbk_neo4j_table_of(poll->table), poll->page_limit, &text, &parameters);
    dbk_buf_append_char(&parameters, ']');
    int rc = dbk_neo4j_ask(poll, &text, dbk_buf_slice(&parameters), own->page, &reply, err);
    dbk_buf_release(&parameters);
    dbk_buf_release(&text);
    if (rc < 0)
        return rc;
    const struct dbk_json_node *data = dbk_json_member(dbk_neo4j_reply_result(&reply, 0), "data");
    own->left = data == NULL ? 0 : data->count;
    own->next = own->left == 0 ? NULL : dbk_json_first(data);
    return DBK_OK;
}

/* Nodes that follow long ones may be short: more of them are tried now and then. */
static void raise_limit(struct dbk_neo4j_poll *own, size_t wanted)
{
    if (own->page_limit == SIZE_MAX || ++own->pages < RAISE_PAGES)
        return;
    own->pages = 0;
    own->page_limit = own->page_limit < wanted / 2 ? own->page_limit * 2 : SIZE_MAX;
}

/* An answer that would be too long is asked for by fewer nodes. */
static int open_page(struct dbk_poll *poll, struct dbk_error *err)
{
    struct dbk_neo4j_poll *own = dbk_neo4j_poll_of(poll);
    size_t wanted = poll->page_limit;
    if (own->page_limit < poll->page_limit)
        poll->page_limit = own->page_limit;
    int rc = ask_page(poll, err);
    while (rc == DBK_ELIMIT && poll->page_limit > 1) {
        poll->page_limit /= 2;
        own->page_limit = poll->page_limit;
        own->pages = 0;
        rc = ask_page(poll, err);
    }
    if (rc == DBK_OK)
        raise_limit(own, wanted);
    return rc;
}

/* ---- Rows ---- */

struct columns {
    const struct dbk_json_node *key, *stamp, *type, *deleted, *properties;
};

static struct columns columns_of(const struct dbk_json_node *row)
{
    struct columns columns = {.key = dbk_json_first(dbk_json_member(row, "row"))};
    columns.stamp = dbk_json_sibling(columns.key);
    columns.type = dbk_json_sibling(columns.stamp);
    columns.deleted = dbk_json_sibling(columns.type);
    columns.properties = dbk_json_sibling(columns.deleted);
    return columns;
}

/* A node that says it is deleted is one that is gone. */
static bool is_deleted(const struct dbk_json_node *value)
{
    switch (value->kind) {
    case DBK_JSON_NULL:
    case DBK_JSON_FALSE:
        return false;
    case DBK_JSON_STRING:
        return value->text.size > 0;
    case DBK_JSON_INTEGER:
        return value->integer != 0;
    case DBK_JSON_DECIMAL:
        return value->decimal.coefficient != 0;
    case DBK_JSON_TRUE:
    case DBK_JSON_ARRAY:
    case DBK_JSON_OBJECT:
        break;
    }
    return true;
}

/* When a node was stamped is the nearest to its commit that is known. */
static int64_t time_of(const struct columns *columns)
{
    int64_t time_us = DBK_TIME_NONE;
    struct dbk_slice text = columns->stamp->text;
    if (columns->stamp->kind != DBK_JSON_STRING ||
        dbk_neo4j_kind_of(columns->type->text) != DBK_NEO4J_TIME)
        return DBK_TIME_NONE;
    const char *zone = memchr(text.data, '[', text.size);
    if (zone != NULL)
        text.size = (size_t)(zone - text.data);
    return dbk_time_parse(text, &time_us) ? time_us : DBK_TIME_NONE;
}

static int next_row(struct dbk_poll *poll, struct dbk_error *err)
{
    struct dbk_neo4j_poll *own = dbk_neo4j_poll_of(poll);
    if (own->left == 0)
        return 0;
    own->row = own->next;
    own->next = --own->left == 0 ? NULL : dbk_json_sibling(own->next);
    struct columns columns = columns_of(own->row);
    int rc = dbk_nodes_take(&dbk_neo4j_table_of(poll->table)->nodes, columns.key,
                            columns.properties, &poll->row, &poll->change, err);
    if (rc < 0)
        return rc;
    enum dbk_neo4j_kind kind = dbk_neo4j_kind_of(columns.type->text);
    if (dbk_neo4j_table_of(poll->table)->stamped &&
        (kind == DBK_NEO4J_NONE || kind == DBK_NEO4J_OTHER))
        return dbk_neo4j_refuse_cursor(dbk_neo4j_table_of(poll->table), columns.key, kind, err);
    poll->time_us = time_of(&columns);
    if (is_deleted(columns.deleted))
        poll->change.kind = DBK_CHANGE_DELETE;
    return 1;
}

static int move(struct dbk_poll *poll, struct dbk_error *err)
{
    struct dbk_neo4j_table *table = dbk_neo4j_table_of(poll->table);
    struct columns columns = columns_of(dbk_neo4j_poll_of(poll)->row);
    enum dbk_neo4j_kind kind = dbk_neo4j_kind_of(columns.type->text);
    int rc = dbk_neo4j_value_set(
        &table->key, columns.key->kind == DBK_JSON_INTEGER ? DBK_NEO4J_NUMBER : DBK_NEO4J_TEXT,
        columns.key->raw);
    if (rc == DBK_OK && table->stamped)
        rc = dbk_neo4j_value_set(&table->cursor, kind, columns.stamp->raw);
    return rc < 0 ? dbk_poll_no_memory(poll, err) : DBK_OK;
}

/* ---- Keys that are gone ---- */

/* A key's text is of a text, or of the number that is written so. */
static void put_candidates(struct dbk_slice key, struct dbk_buf *out)
{
    char text[24];
    int64_t number = 0;
    dbk_json_write_string(out, key);
    dbk_buf_append_char(out, ',');
    if (dbk_slice_to_i64(key, &number) && snprintf(text, sizeof(text), "%" PRId64, number) > 0 &&
        dbk_slice_equal_text(key, text))
        dbk_buf_append_text(out, text);
    else
        dbk_buf_append_text(out, "null");
}

static void put_found(const struct dbk_neo4j_table *table, struct dbk_buf *text)
{
    dbk_buf_append_text(text, "UNWIND range(0, size($_) - 1) AS i WITH i, $_[i] AS k MATCH (n:");
    dbk_neo4j_put_name(text, table->nodes.table->name);
    dbk_buf_append_text(text, ") WHERE ");
    dbk_neo4j_put_property(text, settings(table)->key);
    dbk_buf_append_text(text, " = k RETURN i");
}

static void take_found(const struct dbk_neo4j_reply *reply, size_t count, bool *gone)
{
    const struct dbk_json_node *data = dbk_json_member(dbk_neo4j_reply_result(reply, 0), "data");
    const struct dbk_json_node *row = dbk_json_first(data);
    for (size_t i = 0; i < count; i++)
        gone[i] = true;
    for (uint32_t i = 0; data != NULL && i < data->count; i++, row = dbk_json_sibling(row)) {
        const struct dbk_json_node *index = dbk_json_first(dbk_json_member(row, "row"));
        if (index->kind == DBK_JSON_INTEGER && index->integer >= 0 &&
            (size_t)index->integer / 2 < count)
            gone[index->integer / 2] = false;
    }
}

static int find_gone(struct dbk_poll *poll, struct dbk_poll_table *base,
                     const struct dbk_live_keys *keys, bool *gone, struct dbk_error *err)
{
    struct dbk_neo4j_reply reply = {0};
    struct dbk_buf text;
    struct dbk_buf list;
    if (keys->count == 0)
        return DBK_OK;
    dbk_buf_init(&text, TEXT_SIZE_MAX);
    dbk_buf_init(&list, DBK_NEO4J_REQUEST_SIZE_MAX);
    put_found(dbk_neo4j_table_of(base), &text);
    for (size_t i = 0; i < keys->count; i++) {
        dbk_buf_append_char(&list, i == 0 ? '[' : ',');
        put_candidates(keys->keys[i], &list);
    }
    dbk_buf_append_char(&list, ']');
    int rc = list.rc < 0 ? dbk_poll_no_memory(poll, err)
                         : dbk_neo4j_ask(poll, &text, dbk_buf_slice(&list),
                                         dbk_neo4j_poll_of(poll)->page, &reply, err);
    dbk_buf_release(&list);
    dbk_buf_release(&text);
    if (rc == DBK_OK)
        take_found(&reply, keys->count, gone);
    return rc;
}

/* ---- State ---- */

static void put_state(const struct dbk_poll_table *base, struct dbk_buf *out)
{
    const struct dbk_neo4j_table *table = dbk_neo4j_table_of(base);
    const struct dbk_neo4j_value *const values[] = {&table->key, &table->cursor, &table->from,
                                                    &table->bound};
    static const char *const names[] = {"at", "cursor", "from", "next"};
    dbk_buf_append_text(out, ",\"by\":");
    dbk_json_write_string(out, dbk_slice_of(table->stamped ? settings(table)->cursor : ""));
    dbk_buf_append_text(out, ",\"key\":");
    dbk_json_write_string(out, dbk_slice_of(settings(table)->key));
    for (size_t i = 0; i < 4; i++) {
        dbk_buf_append_format(out, ",\"%s\":", names[i]);
        dbk_neo4j_value_write(values[i], out);
    }
}

static bool is_text(const struct dbk_json_node *node, const char *text)
{
    return node != NULL && node->kind == DBK_JSON_STRING && dbk_slice_equal_text(node->text, text);
}

static int read_state(struct dbk_poll *poll, struct dbk_poll_table *base,
                      const struct dbk_json_node *node)
{
    struct dbk_neo4j_table *table = dbk_neo4j_table_of(base);
    (void)poll;
    if (!is_text(dbk_json_member(node, "by"), table->stamped ? settings(table)->cursor : "") ||
        !is_text(dbk_json_member(node, "key"), settings(table)->key))
        return 0;
    int rc = dbk_neo4j_value_read(&table->key, dbk_json_member(node, "at"));
    if (rc == DBK_OK)
        rc = dbk_neo4j_value_read(&table->cursor, dbk_json_member(node, "cursor"));
    if (rc == DBK_OK)
        rc = dbk_neo4j_value_read(&table->from, dbk_json_member(node, "from"));
    if (rc == DBK_OK)
        rc = dbk_neo4j_value_read(&table->bound, dbk_json_member(node, "next"));
    if (rc < 0)
        return rc;
    table->look_us = 0; /* whether nodes still are as it says */
    /* Behind a node there is its cursor, too. */
    bool whole = table->key.json == NULL || !table->stamped || table->cursor.json != NULL;
    return whole ? 1 : DBK_ECORRUPT;
}

__attribute__((visibility("default"))) const struct dbk_poll_kind dbk_poll_kind = {
    .version = DBK_POLL_VERSION,
    .open = open_neo4j,
    .close = close_neo4j,
    .look = dbk_neo4j_look,
    .begin_round = begin_round,
    .open_page = open_page,
    .next_row = next_row,
    .close_page = close_page,
    .move = move,
    .find_gone = find_gone,
    .put_state = put_state,
    .read_state = read_state,
};
