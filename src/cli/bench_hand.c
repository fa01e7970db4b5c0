/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/bench_hand.h"

#include <stdio.h>
#include <string.h>

#define TEXTS_SIZE_MAX ((size_t)1 << 30)
#define COMMAND_MAX 1000 /* inserts of a command to MongoDB, as its drivers send them */

/* What is made first, and what is done; %s: a name of the benchmark's own. */
static const char *const schemas[DBK_BENCH_KINDS][DBK_BENCH_TASKS] = {
    [DBK_BENCH_POSTGRES] = {"CREATE TABLE hand (position BIGINT PRIMARY KEY, id TEXT NOT NULL, "
                            "amount BIGINT NOT NULL, text TEXT NOT NULL)",
                            "CREATE TABLE hand (id TEXT PRIMARY KEY, n BIGINT NOT NULL, total "
                            "BIGINT NOT NULL)"},
    [DBK_BENCH_NEO4J] = {"CREATE CONSTRAINT %s_hand FOR (l:%s_Hand) REQUIRE l.position IS UNIQUE",
                         "CREATE CONSTRAINT %s_hand FOR (c:%s_Hand) REQUIRE c.id IS UNIQUE"},
};
static const char *const statements[DBK_BENCH_KINDS][DBK_BENCH_TASKS] = {
    [DBK_BENCH_POSTGRES] = {"INSERT INTO hand (position, id, amount, text) VALUES (?1, ?2, ?3, ?4)",
                            "INSERT INTO hand AS h (id, n, total) VALUES (?1, 1, ?2) ON CONFLICT "
                            "(id) DO UPDATE SET n = h.n + 1, total = h.total + ?2"},
    [DBK_BENCH_NEO4J] = {"UNWIND $_[0] AS row CREATE (:%s_Hand {position: row.position, id: "
                         "row.id, amount: row.amount, text: row.text})",
                         "UNWIND $_[0] AS row MERGE (c:%s_Hand {id: row.id}) SET c.n = "
                         "coalesce(c.n, 0) + 1, c.total = coalesce(c.total, 0) + row.amount"},
};

/* An event, as the store was filled with it. */
struct row {
    uint64_t position;
    uint64_t id;
    uint64_t amount;
};

static struct row row_of(const struct dbk_bench_fill *part, uint64_t i)
{
    uint64_t number = part->first + i;
    return (struct row){.position = number + 1,
                        .id = number * UINT64_C(2654435761) % part->streams,
                        .amount = i % 1000 % 100};
}

static void format(const struct dbk_bench_hand *hand, const char *text, char out[512])
{
    size_t size = 0;
    out[0] = '\0';
    for (const char *at = text; *at != '\0' && size + 64 < 512; at++) {
        if (at[0] == '%' && at[1] == 's') {
            size += (size_t)snprintf(out + size, 512 - size, "%s", hand->database->name);
            at++;
        } else {
            out[size++] = *at;
        }
        out[size] = '\0';
    }
}

int dbk_bench_hand_open(struct dbk_bench_hand *hand, const struct dbk_bench_database *database,
                        const struct dbk_bench_posting *posting, struct dbk_error *err)
{
    char text[512];
    const char *schema = schemas[posting->kind][posting->task];
    hand->posting = posting;
    hand->database = database;
    dbk_buf_init(&hand->texts, TEXTS_SIZE_MAX);
    int rc = dbk_connection_open(database->address, DBK_CONNECT_FOREIGN, &hand->connection, err);
    if (rc == DBK_OK && schema != NULL) {
        format(hand, schema, text);
        rc = dbk_connection_run(hand->connection, text, err);
    }
    /* Commands are run at once, as a purge's are, and nothing is added to them. */
    if (rc == DBK_OK && posting->kind == DBK_BENCH_MONGODB)
        dbk_connection_guard(hand->connection, DBK_GUARD_PURGE);
    if (rc == DBK_OK && posting->kind == DBK_BENCH_POSTGRES)
        rc = dbk_statement_open(hand->connection,
                                dbk_slice_of(statements[posting->kind][posting->task]),
                                &hand->statement, NULL, err);
    return rc;
}

static void free_ready(struct dbk_bench_hand *hand)
{
    for (size_t i = 0; i < hand->ready_count; i++)
        dbk_statement_free(hand->ready[i]);
    dbk_free((void *)hand->ready);
    hand->ready = NULL;
    hand->ready_count = 0;
    dbk_buf_reset(&hand->texts);
}

void dbk_bench_hand_close(struct dbk_bench_hand *hand)
{
    if (hand->posting == NULL)
        return;
    free_ready(hand);
    dbk_statement_free(hand->statement);
    dbk_connection_free(hand->connection);
    dbk_buf_release(&hand->texts);
    *hand = (struct dbk_bench_hand){0};
}

/* ---- SQL: a transaction a batch ---- */

static int run_row(struct dbk_bench_hand *hand, struct row row, struct dbk_error *err)
{
    char id[24];
    int size = snprintf(id, sizeof(id), "%ju", (uintmax_t)row.id);
    const struct dbk_value values[] = {
        {.kind = DBK_VALUE_INTEGER, .integer = (int64_t)row.position},
        {.kind = DBK_VALUE_TEXT, .bytes = dbk_slice(id, (size_t)size)},
        {.kind = DBK_VALUE_INTEGER, .integer = (int64_t)row.amount},
        {.kind = DBK_VALUE_TEXT, .bytes = dbk_buf_slice(&hand->texts)}};
    bool updates = hand->posting->task == DBK_BENCH_UPDATES;
    for (int i = 0; i < (updates ? 2 : 4); i++)
        dbk_statement_bind(hand->statement, i + 1, &values[updates ? i + 1 : i]);
    int rc = dbk_statement_step(hand->statement, err);
    dbk_statement_reset(hand->statement);
    return rc;
}

static int run_transaction(struct dbk_bench_hand *hand, const struct dbk_bench_fill *part,
                           uint64_t begin, uint64_t end, struct dbk_error *err)
{
    int rc = dbk_connection_begin(hand->connection, DBK_BEGIN_WRITE, err);
    for (uint64_t i = begin; rc == DBK_OK && i < end; i++)
        rc = run_row(hand, row_of(part, i), err);
    if (rc == DBK_OK)
        rc = dbk_connection_settle(hand->connection, true, err);
    return rc == DBK_OK ? dbk_connection_run(hand->connection, "COMMIT", err) : rc;
}

static int run_sql(struct dbk_bench_hand *hand, const struct dbk_bench_fill *part, uint64_t batch,
                   double *seconds_out, struct dbk_error *err)
{
    int rc = DBK_OK;
    dbk_bench_event(&hand->texts, 0, 0, part->size);
    int64_t begun_ns = dbk_bench_now_ns();
    for (uint64_t i = 0; rc == DBK_OK && i < part->events; i += batch) {
        uint64_t end = i + batch < part->events ? i + batch : part->events;
        rc = run_transaction(hand, part, i, end, err);
        if (rc == DBK_OK)
            rc = dbk_bench_stopped(err);
    }
    *seconds_out = (double)(dbk_bench_now_ns() - begun_ns) / 1e9;
    return rc;
}

/* ---- Commands and requests, ready before the clock starts ---- */

/* The event's data, with its position in front: {"_id": 7, "id": "3", "amount": 5, "text": "…"}. */
static void put_row(struct dbk_buf *out, const char *key, struct row row, uint64_t size)
{
    dbk_buf_append_format(out, "{\"%s\":%ju,", key, (uintmax_t)row.position);
    size_t brace = out->size;
    dbk_bench_event(out, row.id, row.amount, size);
    if (out->rc == DBK_OK && out->size > brace)
        out->data[brace] = ' '; /* the brace that the event begins with */
}

static void put_update(struct dbk_buf *out, struct row row)
{
    dbk_buf_append_format(out,
                          "{\"q\":{\"_id\":\"%ju\"},\"u\":{\"$inc\":{\"n\":1,\"total\":%ju}},"
                          "\"upsert\":true}",
                          (uintmax_t)row.id, (uintmax_t)row.amount);
}

static void put_command(struct dbk_bench_hand *hand, const struct dbk_bench_fill *part,
                        uint64_t begin, uint64_t end)
{
    bool updates = hand->posting->task == DBK_BENCH_UPDATES;
    struct dbk_buf *out = &hand->texts;
    dbk_buf_append_text(out, updates ? "{\"update\":\"hand\",\"ordered\":true,\"updates\":["
                                     : "{\"insert\":\"hand\",\"ordered\":true,\"documents\":[");
    for (uint64_t i = begin; i < end; i++) {
        if (i > begin)
            dbk_buf_append_char(out, ',');
        if (updates)
            put_update(out, row_of(part, i));
        else
            put_row(out, "_id", row_of(part, i), part->size);
    }
    dbk_buf_append_text(out, "]}");
}

static void put_request(struct dbk_bench_hand *hand, const struct dbk_bench_fill *part,
                        uint64_t begin, uint64_t end)
{
    struct dbk_buf *out = &hand->texts;
    dbk_buf_append_char(out, '[');
    for (uint64_t i = begin; i < end; i++) {
        struct row row = row_of(part, i);
        if (i > begin)
            dbk_buf_append_char(out, ',');
        if (hand->posting->task == DBK_BENCH_INSERTS)
            put_row(out, "position", row, part->size);
        else
            dbk_buf_append_format(out, "{\"id\":\"%ju\",\"amount\":%ju}", (uintmax_t)row.id,
                                  (uintmax_t)row.amount);
    }
    dbk_buf_append_char(out, ']');
}

/* Adds what sends the events from begin to end; texts has room, so that slices of it stay. */
static int add_ready(struct dbk_bench_hand *hand, const struct dbk_bench_fill *part, uint64_t begin,
                     uint64_t end, struct dbk_error *err)
{
    bool documents = hand->posting->kind == DBK_BENCH_MONGODB;
    size_t start = hand->texts.size;
    char cypher[512] = "";
    struct dbk_statement *statement = NULL;
    if (documents)
        put_command(hand, part, begin, end);
    else
        put_request(hand, part, begin, end);
    if (hand->texts.rc < 0)
        return dbk_error_set(err, hand->texts.rc, "%s", dbk_code_text(hand->texts.rc));
    struct dbk_slice text = dbk_slice(hand->texts.data + start, hand->texts.size - start);
    if (!documents)
        format(hand, statements[hand->posting->kind][hand->posting->task], cypher);
    int rc = dbk_statement_open(hand->connection, documents ? text : dbk_slice_of(cypher),
                                &statement, NULL, err);
    if (rc == DBK_OK && !documents)
        dbk_statement_bind(
            statement, 1, &(struct dbk_value){.kind = DBK_VALUE_TEXT, .json = true, .bytes = text});
    if (rc == DBK_OK)
        hand->ready[hand->ready_count++] = statement;
    return rc;
}

static int make_ready(struct dbk_bench_hand *hand, const struct dbk_bench_fill *part,
                      uint64_t batch, struct dbk_error *err)
{
    const struct dbk_bench_posting *posting = hand->posting;
    uint64_t most = posting->kind != DBK_BENCH_MONGODB   ? batch
                    : posting->task == DBK_BENCH_UPDATES ? posting->hand_updates
                                                         : COMMAND_MAX;
    free_ready(hand);
    hand->ready = dbk_alloc_zero((size_t)part->events, sizeof(*hand->ready));
    int rc = hand->ready == NULL
                 ? DBK_ENOMEM
                 : dbk_buf_reserve(&hand->texts, (size_t)part->events * ((size_t)part->size + 256));
    if (rc < 0)
        return dbk_error_set(err, rc, "%s", dbk_code_text(rc));
    for (uint64_t begin = 0; rc == DBK_OK && begin < part->events; begin += batch) {
        uint64_t end = begin + batch < part->events ? begin + batch : part->events;
        for (uint64_t at = begin; rc == DBK_OK && at < end; at += most)
            rc = add_ready(hand, part, at, at + most < end ? at + most : end, err);
    }
    return rc;
}

static int send_ready(struct dbk_bench_hand *hand, const struct dbk_bench_fill *part,
                      uint64_t batch, double *seconds_out, struct dbk_error *err)
{
    int rc = make_ready(hand, part, batch, err);
    int64_t begun_ns = dbk_bench_now_ns();
    for (size_t i = 0; rc >= 0 && i < hand->ready_count; i++) {
        rc = dbk_statement_step(hand->ready[i], err);
        if (rc >= 0)
            rc = dbk_bench_stopped(err);
    }
    *seconds_out = (double)(dbk_bench_now_ns() - begun_ns) / 1e9;
    free_ready(hand);
    return rc < 0 ? rc : DBK_OK;
}

int dbk_bench_hand_run(struct dbk_bench_hand *hand, const struct dbk_bench_fill *part,
                       uint64_t batch, double *seconds_out, struct dbk_error *err)
{
    dbk_buf_reset(&hand->texts);
    return hand->posting->kind == DBK_BENCH_POSTGRES
               ? run_sql(hand, part, batch, seconds_out, err)
               : send_ready(hand, part, batch, seconds_out, err);
}
