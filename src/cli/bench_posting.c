/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/bench_posting.h"

#include <stdio.h>

#include "cli/bench_hand.h"
#include "model/model.h"

#define PARTS 5 /* the first of which is not counted */
#define WAIT_US INT64_C(600000000)
#define MODEL "posted"

struct texts {
    const char *schema;
    const char *handler;
};

static const struct texts texts[DBK_BENCH_KINDS][DBK_BENCH_TASKS] = {
    [DBK_BENCH_POSTGRES] =
        {{"CREATE TABLE lines (position BIGINT PRIMARY KEY, id TEXT NOT NULL, amount BIGINT NOT "
          "NULL, text TEXT NOT NULL);\n",
          "INSERT INTO lines (position, id, amount, text) VALUES (:_position, :id, :amount, "
          ":text);\n"},
         {"CREATE TABLE counts (id TEXT PRIMARY KEY, n BIGINT NOT NULL, total BIGINT NOT NULL);\n",
          "INSERT INTO counts AS c (id, n, total) VALUES (:id, 1, :amount)\n"
          "ON CONFLICT (id) DO UPDATE SET n = c.n + 1, total = c.total + :amount;\n"}},
    [DBK_BENCH_MONGODB] =
        {{"{\"create\": \"{gen}Line\"}\n",
          "{\"insert\": \"{gen}Line\", \"documents\": [{\"_id\": \":_position\", \"id\": \":id\",\n"
          "  \"amount\": \":amount\", \"text\": \":text\"}]}\n"},
         {"{\"create\": \"{gen}Count\"}\n",
          "{\"update\": \"{gen}Count\", \"updates\": [{\"q\": {\"_id\": \":id\"},\n"
          "  \"u\": {\"$inc\": {\"n\": 1, \"total\": \":amount\"}}, \"upsert\": true}]}\n"}},
    [DBK_BENCH_NEO4J] =
        {{"CREATE CONSTRAINT {gen}line IF NOT EXISTS FOR (l:{gen}Line) REQUIRE l.position IS "
          "UNIQUE;\n",
          "CREATE (:{gen}Line {position: $_position, id: $id, amount: $amount, text: $text})\n"},
         {"CREATE CONSTRAINT {gen}count IF NOT EXISTS FOR (c:{gen}Count) REQUIRE c.id IS UNIQUE;\n",
          "MERGE (c:{gen}Count {id: $id})\n"
          "SET c.n = coalesce(c.n, 0) + 1, c.total = coalesce(c.total, 0) + $amount\n"}},
};

const char *dbk_bench_task_text(enum dbk_bench_task task)
{
    return task == DBK_BENCH_INSERTS ? "inserts" : "updates";
}

/* One case, in a folder of its own. */
struct scene {
    struct dbk_bench bench;
    struct dbk_bench_database database;
    struct dbk_store *store;
    struct dbk_models *models;
    const char *model;
    struct dbk_bench_hand hand;
};

static int define(struct scene *scene, const struct texts *own, struct dbk_error *err)
{
    const struct dbk_slice categories[] = {DBK_SLICE_LITERAL("bench")};
    const struct dbk_handler handlers[] = {{.file = "Measured",
                                            .line = 1,
                                            .type = DBK_SLICE_LITERAL("Measured"),
                                            .sql = dbk_slice_of(own->handler)}};
    /* Neo4j's names are a database's for all who use it. */
    scene->model = scene->database.kind == DBK_BENCH_NEO4J ? scene->database.name : MODEL;
    return dbk_models_add(scene->models,
                          &(struct dbk_model_definition){.name = scene->model,
                                                         .database = "bench",
                                                         .database_path = scene->database.address,
                                                         .sync = DBK_SYNC_EVENTS,
                                                         .categories = categories,
                                                         .category_count = 1,
                                                         .schema_file = "schema",
                                                         .schema = dbk_slice_of(own->schema),
                                                         .handlers = handlers,
                                                         .handler_count = 1},
                          true, err);
}

static int open_scene(struct scene *scene, const struct dbk_bench_posting *posting,
                      struct dbk_error *err)
{
    struct dbk_bench *bench = posting->servers->bench;
    char name[64];
    scene->bench = *bench;
    scene->database =
        (struct dbk_bench_database){.servers = posting->servers, .kind = posting->kind};
    (void)snprintf(name, sizeof(name), "%d-%s", (int)posting->kind,
                   dbk_bench_task_text(posting->task));
    dbk_bench_path(bench, name, scene->bench.folder);
    int rc = bench->os->make_folder(bench->os, scene->bench.folder, err);
    if (rc == DBK_OK)
        rc = dbk_bench_database_open(&scene->database, "target", err);
    if (rc == DBK_OK)
        rc = dbk_bench_open_store(&scene->bench, &scene->store, err);
    if (rc == DBK_OK)
        rc = dbk_models_open(scene->store, &scene->models, err);
    if (rc == DBK_OK)
        rc = define(scene, &texts[posting->kind][posting->task], err);
    if (rc == DBK_OK)
        rc = dbk_models_start(scene->models, err);
    if (rc == DBK_OK)
        rc = dbk_bench_hand_open(&scene->hand, &scene->database, posting, err);
    return rc;
}

static void close_scene(struct scene *scene)
{
    dbk_bench_hand_close(&scene->hand);
    dbk_models_free(scene->models);
    dbk_store_free(scene->store);
    dbk_bench_database_close(&scene->database);
}

/* Batches that the model made of a part. */
static int post_part(struct scene *scene, const struct dbk_bench_fill *part, double *seconds,
                     uint64_t *batches_out, struct dbk_error *err)
{
    struct dbk_model_status before = {0};
    struct dbk_model_status after = {0};
    int rc = dbk_models_status(scene->models, 0, &before, err);
    int64_t begun_ns = dbk_bench_now_ns();
    if (rc == DBK_OK)
        rc = dbk_bench_fill_store(&scene->bench, scene->store, part, err);
    if (rc == DBK_OK)
        rc = dbk_models_wait(scene->models, scene->model, dbk_store_last_position(scene->store),
                             WAIT_US, err);
    *seconds = (double)(dbk_bench_now_ns() - begun_ns) / 1e9;
    if (rc == DBK_OK)
        rc = dbk_models_status(scene->models, 0, &after, err);
    *batches_out = after.batches > before.batches ? after.batches - before.batches : 1;
    return rc;
}

static int post_parts(struct scene *scene, struct dbk_bench_posting *posting, struct dbk_error *err)
{
    uint64_t streams = posting->events / 10 > 0 ? posting->events / 10 : 1;
    int rc = DBK_OK;
    for (uint64_t part = 0; rc == DBK_OK && part < PARTS; part++) {
        uint64_t first = posting->events * part / PARTS;
        struct dbk_bench_fill one = {.events = posting->events * (part + 1) / PARTS - first,
                                     .streams = streams,
                                     .size = posting->size,
                                     .first = first};
        double seconds = 0;
        double hand_seconds = 0;
        uint64_t batches = 1;
        rc = post_part(scene, &one, &seconds, &batches, err);
        if (rc == DBK_OK)
            rc = dbk_bench_hand_run(&scene->hand, &one, (one.events + batches - 1) / batches,
                                    &hand_seconds, err);
        if (rc < 0 || part == 0)
            continue;
        posting->counted += one.events;
        posting->batches += batches;
        posting->seconds += seconds;
        posting->hand_seconds += hand_seconds;
    }
    return rc;
}

int dbk_bench_post(struct dbk_bench_posting *posting, struct dbk_error *err)
{
    static struct scene scene;
    scene = (struct scene){0};
    int rc = open_scene(&scene, posting, err);
    if (rc == DBK_OK)
        rc = post_parts(&scene, posting, err);
    close_scene(&scene);
    return rc;
}
