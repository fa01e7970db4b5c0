/* SPDX-License-Identifier: Apache-2.0 */
/* The files of a place's book. */
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "cli/bench_place.h"

#define TEXT_SIZE_MAX 4096

/* ---- The book's files ---- */

/* What the read model's files hold, by the kind of its database. */
struct texts {
    const char *ending;
    const char *schema;
    const char *handler;  /* @ stands where a row's columns have `new.` */
    const char *question; /* of one order by its stream, or the greatest; with the model's name */
};

#define IN_SQL                                                                                     \
    {                                                                                              \
        .ending = "sql",                                                                           \
        .schema =                                                                                  \
            "CREATE TABLE orders_read (id BIGINT PRIMARY KEY, account BIGINT NOT NULL, amount "    \
            "BIGINT NOT NULL, note TEXT NOT NULL);\n",                                             \
        .handler = "INSERT INTO orders_read (id, account, amount, note)\n"                         \
                   "VALUES (:@id, :@account, :@amount, :@note);\n",                                \
        .question = "SELECT max(id) FROM orders_read"                                              \
    }

static const struct texts texts[DBK_BENCH_KINDS] = {
    [DBK_BENCH_SQLITE] = IN_SQL,
    [DBK_BENCH_POSTGRES] = IN_SQL,
    [DBK_BENCH_MONGODB] = {.ending = "json",
                           .schema = "{\"create\": \"{gen}Order\"}\n",
                           .handler = "{\"insert\": \"{gen}Order\", \"documents\": [{\n"
                                      "  \"_id\": \":_stream\", \"account\": \":@account\",\n"
                                      "  \"amount\": \":@amount\", \"note\": \":@note\"}]}\n",
                           .question = "{\"find\": \"{%s}Order\", \"filter\": {\"_id\": {\"$_\": "
                                       "0}}, \"projection\": {\"_id\": 1}, \"limit\": 1}"},
    [DBK_BENCH_NEO4J] = {.ending = "cypher",
                         .schema = "CREATE CONSTRAINT {gen}order IF NOT EXISTS\n"
                                   "FOR (o:{gen}Order) REQUIRE o.id IS UNIQUE;\n",
                         .handler = "CREATE (:{gen}Order {id: $_stream, account: $@account,\n"
                                    "  amount: $@amount, note: $@note})\n",
                         .question = "MATCH (o:{%s}Order {id: $_[0]}) RETURN o.id"},
};

static const struct texts *texts_of(const struct dbk_bench_place *place)
{
    return &texts[place->target.kind];
}

void dbk_bench_place_question(const struct dbk_bench_place *place, char room_out[256])
{
    const char *question = texts_of(place)->question;
    const char *name = strstr(question, "%s");
    if (name == NULL)
        (void)snprintf(room_out, 256, "%s", question);
    else
        (void)snprintf(room_out, 256, "%.*s%s%s", (int)(name - question), question, place->model,
                       name + 2);
}

static int write_file(const struct dbk_bench_place *place, const char *name, const char *text,
                      struct dbk_error *err)
{
    char path[DBK_BENCH_PATH_SIZE];
    (void)snprintf(path, sizeof(path), "%.*s/%s", DBK_BENCH_PATH_SIZE - 64, place->folder, name);
    return dbk_os_replace_file(place->bench->os, path, dbk_slice_of(text), err);
}

static int make_folder(const struct dbk_bench_place *place, const char *name, struct dbk_error *err)
{
    char path[DBK_BENCH_PATH_SIZE];
    (void)snprintf(path, sizeof(path), "%.*s/%s", DBK_BENCH_PATH_SIZE - 64, place->folder, name);
    return place->bench->os->make_folder(place->bench->os, path, err);
}

/* In the book a server is named by its secret beside the folder, and a file by its name in the
   data. */
static void put_database(struct dbk_buf *out, const char *part,
                         const struct dbk_bench_database *database)
{
    if (database->kind == DBK_BENCH_SQLITE)
        dbk_buf_append_format(out, "  %s: sqlite:%s.db\n", part, part);
    else
        dbk_buf_append_format(out, "  %s: %s:file:../%s\n", part,
                              dbk_bench_kind_option(database->kind), database->name);
}

static int write_book(const struct dbk_bench_place *place, struct dbk_error *err)
{
    struct dbk_buf text;
    dbk_buf_init(&text, TEXT_SIZE_MAX);
    dbk_buf_append_text(&text, "book: bench\ndata: data\n");
    if (!place->alone)
        dbk_buf_append_text(&text, "databases:\n");
    if (!place->alone && dbk_bench_is_table(place->route))
        put_database(&text, "source", &place->source);
    if (!place->alone && !place->book)
        put_database(&text, "target", &place->target);
    dbk_buf_append_char(&text, '\0');
    int rc = text.rc < 0 ? dbk_error_set(err, text.rc, "%s", dbk_code_text(text.rc))
                         : write_file(place, "book.yaml", text.data, err);
    dbk_buf_release(&text);
    return rc;
}

static int write_service(const struct dbk_bench_place *place, struct dbk_error *err)
{
    char text[256];
    int rc = make_folder(place, "services", err);
    if (rc < 0)
        return rc;
    if (place->route->sync == DBK_SYNC_CDC)
        (void)snprintf(text, sizeof(text),
                       "database: source\ntables:\n  orders:\n    capture: cdc\n");
    else
        /* An id of SQLite is given by its one writer, in the order of commits. */
        (void)snprintf(text, sizeof(text),
                       "database: source\ntables:\n  orders:\n    capture: polling\n    every: %jd "
                       "ms\n    cursor: %s\n"
                       "    deletes: none\n%s",
                       (intmax_t)(place->every_us / 1000),
                       place->source.kind == DBK_BENCH_POSTGRES ? "changed" : "id",
                       place->source.kind == DBK_BENCH_POSTGRES ? "" : "    overlap: 100 ms\n");
    return write_file(place, "services/shop.yaml", text, err);
}

static int write_handler(const struct dbk_bench_place *place, const char *name, bool table,
                         struct dbk_error *err)
{
    char text[512];
    size_t size = 0;
    for (const char *at = texts_of(place)->handler; *at != '\0'; at++) {
        if (*at != '@')
            text[size++] = *at;
        else if (table)
            size += (size_t)snprintf(text + size, sizeof(text) - size, "new.");
        dbk_assert(size < sizeof(text) - 8);
    }
    text[size] = '\0';
    return write_file(place, name, text, err);
}

static int write_model(const struct dbk_bench_place *place, struct dbk_error *err)
{
    const struct texts *own = texts_of(place);
    bool table = dbk_bench_is_table(place->route);
    const char *handler = table ? "orders.insert" : "Placed";
    char text[128];
    char path[128];
    int rc = make_folder(place, "models", err);
    (void)snprintf(path, sizeof(path), "models/%s", place->model);
    if (rc == DBK_OK)
        rc = make_folder(place, path, err);
    (void)snprintf(text, sizeof(text), "database: target\nsync: %s\nsource: [%s]\n",
                   dbk_model_sync_text(place->route->sync), table ? "shop.orders" : "order");
    (void)snprintf(path, sizeof(path), "models/%s/model.yaml", place->model);
    if (rc == DBK_OK)
        rc = write_file(place, path, text, err);
    (void)snprintf(path, sizeof(path), "models/%s/schema.%s", place->model, own->ending);
    if (rc == DBK_OK)
        rc = write_file(place, path, own->schema, err);
    (void)snprintf(path, sizeof(path), "models/%s/%s.%s", place->model, handler, own->ending);
    return rc == DBK_OK ? write_handler(place, path, table, err) : rc;
}

int dbk_bench_place_write(struct dbk_bench_place *place, struct dbk_error *err)
{
    int rc = place->bench->os->make_folder(place->bench->os, place->folder, err);
    if (rc == DBK_OK)
        rc = make_folder(place, "data", err);
    if (rc == DBK_OK)
        rc = write_book(place, err);
    if (rc == DBK_OK && !place->alone && dbk_bench_is_table(place->route))
        rc = write_service(place, err);
    if (rc == DBK_OK && !place->alone && !place->book)
        rc = write_model(place, err);
    return rc;
}
