/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Three versions of one event type, read in three ways:
 *
 *     upcasters    old events become the newest when they are read: by steps, by Lua, by C
 *     versioned    the fold has a function for each version
 *     migrated     a copy of the book in the newest version, made once
 *
 * Times are the processor's. The copy is also what the others are measured against: the same
 * events, read without any of it. All must come to the same states, or the benchmark fails.
 */
#include <stdio.h>
#include <time.h>

#include "cli/bench_ways.h"
#include "cli/commands.h"
#include "cli/fail.h"
#include "migrate/migrate.h"
#include "server/api.h"

#define CHAIN_MAX 10
#define ROUNDS 7

/* ---- Stores ---- */

#define BATCH 1000

/* Events in turns of all versions, or all in one. */
static int fill(struct dbk_bench *bench, struct dbk_store *store, const struct dbk_bench_fill *fill,
                uint16_t only, struct dbk_error *err)
{
    struct dbk_new_event *events = dbk_alloc_zero(BATCH, sizeof(*events));
    char(*streams)[32] = dbk_alloc_zero(BATCH, sizeof(*streams));
    struct dbk_buf data;
    dbk_buf_init(&data, (size_t)1 << 30);
    int rc = events == NULL || streams == NULL ? DBK_ENOMEM
                                               : dbk_buf_reserve(&data, BATCH * (fill->size + 100));
    if (rc < 0)
        (void)dbk_error_set(err, rc, "%s", dbk_code_text(rc));
    dbk_bench_begin_part(bench, "fill", "events");
    for (uint64_t first = 0; rc == DBK_OK && first < fill->events; first += BATCH) {
        struct dbk_append_result result = {0};
        uint64_t left = fill->events - first;
        size_t count = left < BATCH ? (size_t)left : BATCH;
        dbk_buf_reset(&data);
        for (size_t i = 0; i < count; i++) {
            size_t start = data.size;
            uint16_t version = only != 0 ? only : (uint16_t)(1 + (first + i) % DBK_BENCH_VERSIONS);
            size_t size = dbk_bench_stream_name(first + i, fill->streams, streams[i]);
            dbk_bench_put_data(&data, first + i, version, (size_t)fill->size);
            events[i] =
                (struct dbk_new_event){.stream = dbk_slice(streams[i], size),
                                       .type = DBK_SLICE_LITERAL("Measured"),
                                       .data = dbk_slice(data.data + start, data.size - start),
                                       .occurred_us = DBK_TIME_NONE,
                                       .flags = DBK_RECORD_JSON,
                                       .schema_version = version};
        }
        rc = dbk_store_append(store,
                              &(struct dbk_batch){.events = events,
                                                  .count = count,
                                                  .flags = count < left ? DBK_APPEND_NO_SYNC : 0},
                              &result, err);
        if (rc == DBK_OK)
            rc = dbk_bench_step(bench, first + count, fill->events, err);
    }
    dbk_progress_clear(&bench->progress);
    dbk_buf_release(&data);
    dbk_free(events);
    dbk_free(streams);
    return rc == DBK_OK ? dbk_store_settle(store, err) : rc;
}

static int open_store(struct dbk_bench *bench, const char *name, struct dbk_store **store_out,
                      struct dbk_error *err)
{
    char folder[DBK_BENCH_PATH_SIZE];
    dbk_bench_path(bench, name, folder);
    return dbk_store_open(
        &(struct dbk_store_options){
            .os = bench->os, .folder = folder, .writer = true, .holder = "daybook bench"},
        store_out, err);
}

/* A book's own append gives events the newest version of their type. */
static int append(void *context, const struct dbk_batch *batch,
                  struct dbk_append_result *result_out, struct dbk_error *err)
{
    struct dbk_new_event *events = dbk_alloc_zero(batch->count, sizeof(*events));
    struct dbk_batch newest = *batch;
    if (events == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM));
    for (size_t i = 0; i < batch->count; i++) {
        events[i] = batch->events[i];
        if (dbk_slice_equal_text(events[i].type, "Measured"))
            events[i].schema_version = DBK_BENCH_VERSIONS;
    }
    newest.events = events;
    int rc = dbk_store_append(context, &newest, result_out, err);
    dbk_free(events);
    return rc;
}

/* The copy in the newest version; the old store is read by a way. */
static int migrate(struct dbk_bench *bench, struct dbk_store *source, struct dbk_store *target,
                   double *seconds_out, struct dbk_error *err)
{
    struct dbk_migration *migration = NULL;
    int64_t begun = dbk_bench_now_ns();
    int rc = dbk_migration_open(
        &(struct dbk_migration_options){.source = source,
                                        .source_folder = "data",
                                        .target = target,
                                        .os = bench->os,
                                        .script_name = "migration.lua",
                                        .script = DBK_SLICE_LITERAL("return { version = 1 }"),
                                        .batch_count_max = 10000,
                                        .append = append,
                                        .context = target},
        &migration, err);
    if (rc == DBK_OK)
        rc = dbk_migration_copy(migration, err);
    dbk_migration_free(migration);
    if (rc == DBK_OK)
        rc = dbk_store_settle(target, err);
    *seconds_out = (double)(dbk_bench_now_ns() - begun) / 1e9;
    return rc;
}

/* ---- Measuring ---- */

enum reading { READ_CURSOR, READ_JSON, READ_C, READ_LUA, READINGS };
static const char *const reading_names[READINGS] = {"cursor", "json", "fold_in_c", "fold_in_lua"};

struct contender {
    const char *name;
    struct dbk_store *store;
    struct dbk_bench_way *way; /* NULL: as stored */
    const char *fold;
    bool only_lua; /* what it does, it does in a fold in Lua */
    double best_ns[READINGS];
    uint8_t digest[DBK_SHA256_SIZE]; /* of all states */
};

static int open_folds(const struct contender *contender, enum reading reading,
                      struct dbk_bench *bench, struct dbk_folds **folds_out, struct dbk_error *err)
{
    int rc = dbk_folds_open(contender->store, bench->os, NULL, false, folds_out, err);
    if (rc < 0)
        return rc;
    if (contender->way != NULL)
        dbk_folds_set_upcasts(*folds_out, contender->way->upcasts);
    return reading == READ_C
               ? dbk_folds_add_functions(*folds_out, DBK_SLICE_LITERAL("bench"),
                                         DBK_SLICE_LITERAL("1"), 0, &dbk_bench_fold_in_c, err)
               : dbk_folds_add(*folds_out, DBK_SLICE_LITERAL("bench"), "bench.lua",
                               dbk_slice_of(contender->fold), err);
}

static int fold_all(struct contender *contender, struct dbk_folds *folds, uint64_t streams,
                    struct dbk_error *err)
{
    struct dbk_buf state;
    struct dbk_sha256 sum;
    int rc = DBK_OK;
    dbk_buf_init(&state, (size_t)1 << 20);
    dbk_sha256_init(&sum);
    for (uint64_t i = 0; rc == DBK_OK && i < streams; i++) {
        struct dbk_fold_result result = {0};
        char name[32];
        size_t size = dbk_bench_stream_name(i, streams, name);
        dbk_buf_reset(&state);
        rc = dbk_fold_state(folds, dbk_slice(name, size), &(struct dbk_fold_at){0}, &state, &result,
                            err);
        dbk_sha256_update(&sum, dbk_buf_slice(&state));
    }
    dbk_sha256_final(&sum, contender->digest);
    dbk_buf_release(&state);
    return rc;
}

static const struct dbk_slice category = {.data = "bench", .size = 5};

/* As `read` answers them. */
static int write_all(struct dbk_store *store, struct dbk_error *err)
{
    struct dbk_cursor *cursor = NULL;
    struct dbk_event event;
    struct dbk_buf line;
    dbk_buf_init(&line, (size_t)1 << 20);
    int rc = dbk_cursor_open(
        store, &(struct dbk_filter){.categories = &category, .category_count = 1}, &cursor, err);
    while (rc >= 0 && (rc = dbk_cursor_next(cursor, &event, err)) == 1) {
        dbk_buf_reset(&line);
        dbk_put_event(&line, &event, (struct dbk_slice){0});
    }
    dbk_cursor_free(cursor);
    dbk_buf_release(&line);
    return rc;
}

/* Of this thread: a turn is work in memory, and what else the machine does is not its matter. */
static int64_t processor_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* One turn: nanoseconds an event. */
static int take_turn(struct dbk_bench *bench, struct contender *contender, enum reading reading,
                     const struct dbk_bench_fill *of, double *ns_out, struct dbk_error *err)
{
    struct dbk_folds *folds = NULL;
    uint64_t count = 0;
    dbk_store_set_lens(contender->store, contender->way == NULL ? NULL : &contender->way->lens);
    int rc = reading < READ_C ? DBK_OK : open_folds(contender, reading, bench, &folds, err);
    int64_t begun = processor_ns();
    if (rc == DBK_OK && reading == READ_CURSOR)
        rc = dbk_bench_count(
            contender->store,
            &(struct dbk_filter){.categories = &category, .category_count = 1, .as_written = true},
            &count, err);
    else if (rc == DBK_OK && reading == READ_JSON)
        rc = write_all(contender->store, err);
    else if (rc == DBK_OK)
        rc = fold_all(contender, folds, of->streams, err);
    *ns_out = (double)(processor_ns() - begun) / (double)of->events;
    dbk_folds_free(folds);
    return rc;
}

static int measure_all(struct dbk_bench *bench, struct contender *contenders, size_t count,
                       const struct dbk_bench_fill *of, struct dbk_error *err)
{
    int rc = DBK_OK;
    dbk_bench_begin_part(bench, "read", "rounds");
    for (uint64_t round = 0; rc == DBK_OK && round < ROUNDS; round++) {
        for (size_t i = 0; rc == DBK_OK && i < count * READINGS; i++) {
            struct contender *contender = &contenders[i / READINGS];
            enum reading reading = (enum reading)(i % READINGS);
            double ns = 0;
            if (contender->only_lua && reading != READ_LUA)
                continue;
            rc = take_turn(bench, contender, reading, of, &ns, err);
            if (round == 0 || ns < contender->best_ns[reading])
                contender->best_ns[reading] = ns;
        }
        if (rc == DBK_OK)
            rc = dbk_bench_step(bench, round + 1, ROUNDS, err);
    }
    dbk_progress_clear(&bench->progress);
    for (size_t i = 1; rc == DBK_OK && i < count; i++) {
        if (memcmp(contenders[i].digest, contenders[0].digest, DBK_SHA256_SIZE) != 0)
            rc = dbk_error_set(err, DBK_ECORRUPT, "%s comes to other states than %s",
                               contenders[i].name, contenders[0].name);
    }
    return rc;
}

/* ---- Steps, one by one ---- */

/* Old events by each of the steps in turns, as `read` answers them. */
static int measure_cases(struct dbk_bench *bench, struct dbk_store *store,
                         const struct dbk_bench_fill *of, double best_ns[DBK_BENCH_CASES],
                         struct dbk_error *err)
{
    struct dbk_bench_way ways[DBK_BENCH_CASES] = {0};
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < DBK_BENCH_CASES; i++)
        rc = dbk_bench_open_way(&ways[i], dbk_bench_cases[i].schema, false, false, err);
    for (size_t i = 0; rc == DBK_OK && i < ROUNDS * DBK_BENCH_CASES; i++) {
        size_t which = i % DBK_BENCH_CASES;
        struct contender contender = {.store = store, .way = &ways[which]};
        double ns = 0;
        rc = take_turn(bench, &contender, READ_JSON, of, &ns, err);
        if (i == which || ns < best_ns[which])
            best_ns[which] = ns;
    }
    dbk_store_set_lens(store, NULL);
    for (size_t i = 0; i < DBK_BENCH_CASES; i++)
        dbk_bench_close_way(&ways[i]);
    return rc;
}

/* ---- Chains ---- */

static int measure_chain(struct dbk_bench *bench, struct dbk_store *store, unsigned versions,
                         const struct dbk_bench_fill *of, double *ns_out, struct dbk_error *err)
{
    struct dbk_bench_way way = {0};
    struct dbk_buf schema;
    struct contender contender = {.store = store, .way = &way};
    dbk_buf_init(&schema, (size_t)1 << 20);
    dbk_bench_put_chain(&schema, versions);
    int rc = schema.rc < 0 ? dbk_error_set(err, schema.rc, "%s", dbk_code_text(schema.rc))
                           : dbk_bench_open_way(&way, schema.data, false, false, err);
    for (int round = 0; rc == DBK_OK && round < ROUNDS; round++) {
        double ns = 0;
        rc = take_turn(bench, &contender, READ_JSON, of, &ns, err);
        if (round == 0 || ns < *ns_out)
            *ns_out = ns;
    }
    dbk_store_set_lens(store, NULL);
    dbk_bench_close_way(&way);
    dbk_buf_release(&schema);
    return rc;
}

/* ---- The report ---- */

static void put_way(struct dbk_buf *report, const struct contender *contender,
                    const struct contender *plain, unsigned files, double once, bool remains)
{
    dbk_bench_open_part(report, contender->name);
    for (int i = 0; i < READINGS; i++) {
        char key[64];
        if (contender->only_lua && i != READ_LUA)
            continue;
        (void)snprintf(key, sizeof(key), "%s_ns", reading_names[i]);
        dbk_bench_number(report, key, contender->best_ns[i], 1);
        (void)snprintf(key, sizeof(key), "%s_ratio", reading_names[i]);
        dbk_bench_number(report, key, contender->best_ns[i] / plain->best_ns[i], 3);
    }
    dbk_bench_number(report, "files_to_keep", files, 0);
    dbk_bench_number(report, "once_seconds", once, 3);
    dbk_bench_text(report, "original_remains", remains ? "yes" : "in the old book");
    dbk_bench_close_part(report);
}

enum { STEPS, SCRIPT, PROGRAM, WAYS };
enum { BY_STEPS, BY_SCRIPT, BY_PROGRAM, VERSIONED, MIGRATED, CONTENDERS };

struct work {
    struct dbk_bench_fill fill;
    struct dbk_bench_way ways[WAYS];
    struct contender contenders[CONTENDERS];
    double case_ns[DBK_BENCH_CASES];
    double chain_ns[CHAIN_MAX];
    double migrate_seconds;
};

static int open_ways(struct work *work, struct dbk_error *err)
{
    int rc = dbk_bench_open_way(&work->ways[STEPS], dbk_bench_by_steps, false, false, err);
    if (rc == DBK_OK)
        rc = dbk_bench_open_way(&work->ways[SCRIPT], dbk_bench_by_script, true, false, err);
    return rc < 0
               ? rc
               : dbk_bench_open_way(&work->ways[PROGRAM], dbk_bench_by_program, false, true, err);
}

static int measure_ways(struct dbk_bench *bench, struct work *work, struct dbk_store *mixed,
                        struct dbk_store *copy, struct dbk_error *err)
{
    work->contenders[BY_STEPS] = (struct contender){
        .name = "steps", .store = mixed, .way = &work->ways[STEPS], .fold = dbk_bench_fold};
    work->contenders[BY_SCRIPT] = (struct contender){
        .name = "lua", .store = mixed, .way = &work->ways[SCRIPT], .fold = dbk_bench_fold};
    work->contenders[BY_PROGRAM] = (struct contender){
        .name = "c", .store = mixed, .way = &work->ways[PROGRAM], .fold = dbk_bench_fold};
    work->contenders[VERSIONED] = (struct contender){.name = "versioned",
                                                     .store = mixed,
                                                     .way = &work->ways[STEPS],
                                                     .fold = dbk_bench_versioned_fold,
                                                     .only_lua = true};
    work->contenders[MIGRATED] =
        (struct contender){.name = "migrated", .store = copy, .fold = dbk_bench_fold};
    dbk_store_set_lens(mixed, &work->ways[STEPS].lens);
    int rc = fill(bench, mixed, &work->fill, 0, err);
    if (rc == DBK_OK)
        rc = migrate(bench, mixed, copy, &work->migrate_seconds, err);
    return rc < 0 ? rc : measure_all(bench, work->contenders, CONTENDERS, &work->fill, err);
}

static int measure_stores(struct dbk_bench *bench, struct work *work, struct dbk_error *err)
{
    struct dbk_store *mixed = NULL;
    struct dbk_store *copy = NULL;
    struct dbk_store *old = NULL;
    int rc = open_store(bench, "mixed", &mixed, err);
    if (rc == DBK_OK)
        rc = open_store(bench, "copy", &copy, err);
    if (rc == DBK_OK)
        rc = open_store(bench, "old", &old, err);
    if (rc == DBK_OK)
        rc = measure_ways(bench, work, mixed, copy, err);
    if (rc == DBK_OK)
        rc = fill(bench, old, &work->fill, 1, err);
    if (rc == DBK_OK)
        rc = measure_cases(bench, old, &work->fill, work->case_ns, err);
    for (unsigned versions = 1; rc == DBK_OK && versions <= CHAIN_MAX; versions++)
        rc = measure_chain(bench, old, versions, &work->fill, &work->chain_ns[versions - 1], err);
    dbk_store_free(mixed);
    dbk_store_free(copy);
    dbk_store_free(old);
    return rc;
}

static void write_report(const struct work *work, struct dbk_buf *report)
{
    const struct contender *plain = &work->contenders[MIGRATED];
    dbk_bench_settings(report, &work->fill);
    dbk_bench_number(report, "versions", DBK_BENCH_VERSIONS, 0);
    put_way(report, &work->contenders[BY_STEPS], plain, 1, 0, true);
    put_way(report, &work->contenders[BY_SCRIPT], plain, 3, 0, true);
    put_way(report, &work->contenders[BY_PROGRAM], plain, 2, 0, true);
    put_way(report, &work->contenders[VERSIONED], plain, 2, 0, true);
    put_way(report, &work->contenders[MIGRATED], plain, 1, work->migrate_seconds, false);
    dbk_bench_open_part(report, "step");
    for (size_t i = 0; i < DBK_BENCH_CASES; i++) {
        char key[32];
        (void)snprintf(key, sizeof(key), "%s_json_ns", dbk_bench_cases[i].name);
        dbk_bench_number(report, key, work->case_ns[i], 1);
        (void)snprintf(key, sizeof(key), "%s_json_ratio", dbk_bench_cases[i].name);
        dbk_bench_number(report, key, work->case_ns[i] / work->case_ns[0], 3);
    }
    dbk_bench_close_part(report);
    dbk_bench_open_part(report, "chain_ns");
    for (unsigned versions = 1; versions <= CHAIN_MAX; versions++) {
        char key[16];
        (void)snprintf(key, sizeof(key), "%u", versions);
        dbk_bench_number(report, key, work->chain_ns[versions - 1], 1);
    }
    dbk_bench_close_part(report);
}

static int measure(struct dbk_bench *bench, void *context, struct dbk_buf *report,
                   struct dbk_error *err)
{
    struct work *work = context;
    int rc = open_ways(work, err);
    if (rc == DBK_OK)
        rc = measure_stores(bench, work, err);
    for (size_t i = 0; i < WAYS; i++)
        dbk_bench_close_way(&work->ways[i]);
    if (rc == DBK_OK)
        write_report(work, report);
    return rc;
}

int dbk_run_bench_schema(const struct dbk_arguments *arguments)
{
    static struct work work = {.fill = {.events = 300000, .streams = 300, .size = 200}};
    if (!dbk_bench_take_fill(arguments, &work.fill))
        return DBK_EXIT_USAGE;
    return dbk_bench_run(arguments, &(struct dbk_bench_work){
                                        .name = "schema", .measure = measure, .context = &work});
}
