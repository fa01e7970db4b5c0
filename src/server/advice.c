/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The five questions, answered of each query and each service from what the book, its captured
 * tables and this process have seen.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "server/handlers.h"
#include "server/request.h"

/* Fewer reads a write are no reason for a second model. */
#define RATIO_MIN 10
/* Fewer calls say nothing. */
#define CALLS_MIN 20
#define EXPENSIVE_US 10000
/* So many events are counted, and so many of the last are searched for transactions. */
#define COUNT_MAX 1000000
#define SEARCHED 200000
#define LIMIT_US (INT64_C(10) * 1000000)

struct advisor {
    struct dbk_api_call *call;
    struct dbk_engine *engine;
    const struct dbk_book *book;
    struct dbk_buf *out;
    const char *comma;
    uint64_t opened; /* the book's last position then */
    char since[32];
    struct dbk_error *err;
};

struct advice {
    const char *question;
    const char *pattern;
    const char *evidence;
    const char *book;
};

static const char *format(const struct advisor *advisor, const char *pattern, ...)
    __attribute__((format(printf, 2, 3)));
static const char *format(const struct advisor *advisor, const char *pattern, ...)
{
    va_list list;
    char text[1024];
    va_start(list, pattern);
    int size = vsnprintf(text, sizeof(text), pattern, list);
    va_end(list);
    struct dbk_slice kept =
        dbk_arena_copy(&advisor->call->scratch->arena,
                       dbk_slice(text, size < (int)sizeof(text) ? (size_t)size + 1 : sizeof(text)));
    return kept.data == NULL ? "" : kept.data;
}

static void put(struct advisor *advisor, const char *kind, const char *name,
                const struct advice *advice)
{
    bool first = true;
    struct dbk_buf *out = advisor->out;
    dbk_buf_append_text(out, advisor->comma);
    advisor->comma = ",";
    dbk_buf_append_char(out, '{');
    dbk_put_text(out, &first, "of", dbk_slice_of(format(advisor, "%s %s", kind, name)));
    dbk_put_text(out, &first, "question", dbk_slice_of(advice->question));
    dbk_put_text(out, &first, "pattern", dbk_slice_of(advice->pattern));
    dbk_put_text(out, &first, "evidence", dbk_slice_of(advice->evidence));
    dbk_put_text(out, &first, "in_the_book", dbk_slice_of(advice->book));
    dbk_buf_append_char(out, '}');
}

/* ---- Queries ---- */

/* Events of the categories that a query's models follow, since the book was opened. */
static int count_writes(const struct advisor *advisor, size_t query, uint64_t *count_out)
{
    const struct dbk_book *book = advisor->book;
    struct dbk_cursor *cursor = NULL;
    struct dbk_event event;
    struct dbk_slice *categories = NULL;
    size_t count = 0;
    *count_out = 0;
    for (size_t i = 0; i < book->model_count; i++)
        count += book->models[i].category_count;
    categories = dbk_arena_alloc(&advisor->call->scratch->arena, (count + 1) * sizeof(*categories));
    if (categories == NULL)
        return dbk_error_set(advisor->err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM));
    count = 0;
    for (size_t i = 0; i < book->model_count; i++) {
        for (size_t j = 0; j < book->models[i].category_count; j++)
            if (dbk_engine_query_uses_model(advisor->engine, query, i))
                categories[count++] = book->models[i].categories[j];
    }
    if (count == 0)
        return DBK_OK;
    int rc = dbk_cursor_open(dbk_engine_store(advisor->engine),
                             &(struct dbk_filter){.categories = categories,
                                                  .category_count = count,
                                                  .position_min = advisor->opened + 1,
                                                  .raw = true},
                             &cursor, advisor->err);
    while (rc >= 0 && *count_out < COUNT_MAX &&
           (rc = dbk_cursor_next(cursor, &event, advisor->err)) == 1)
        ++*count_out;
    dbk_cursor_free(cursor);
    return rc < 0 ? rc : DBK_OK;
}

/* How late the models are that it reads, and may be. */
static const char *lateness(const struct advisor *advisor, size_t query)
{
    const char *text = "";
    for (size_t i = 0; i < advisor->book->model_count; i++) {
        struct dbk_model_status status;
        char allowed[64] = "no max_lag says how late it may be";
        if (!dbk_engine_query_uses_model(advisor->engine, query, i) ||
            dbk_models_status(dbk_engine_models(advisor->engine), i, &status, NULL) < 0 ||
            status.visible_count == 0)
            continue;
        if (status.max_lag_us > 0)
            (void)snprintf(allowed, sizeof(allowed), "%.1f ms may be (max_lag)",
                           (double)status.max_lag_us / 1e3);
        text = format(advisor, "%s; %s is late by %.1f ms (p99), %s", text, status.name,
                      (double)status.visible_p99_us / 1e3, allowed);
    }
    return text;
}

static const char *first_model(const struct advisor *advisor, size_t query)
{
    for (size_t i = 0; i < advisor->book->model_count; i++)
        if (dbk_engine_query_uses_model(advisor->engine, query, i))
            return advisor->book->models[i].name;
    return NULL;
}

static const char *first_view(const struct advisor *advisor, size_t query)
{
    for (size_t i = 0; i < advisor->book->view_count; i++)
        if (dbk_engine_query_uses_view(advisor->engine, query, i))
            return advisor->book->views[i].name;
    return NULL;
}

static struct advice on_reads(const struct advisor *advisor, size_t query, uint64_t calls,
                              uint64_t writes)
{
    const char *model = first_model(advisor, query);
    bool many = writes == 0 || calls / writes >= RATIO_MIN;
    struct advice advice = {.question = "different read and write patterns?"};
    advice.pattern = model == NULL ? "none" : many ? "CQRS" : "don't";
    advice.evidence =
        format(advisor, "%ju reads and %s%ju writes since %s%s%s", (uintmax_t)calls,
               writes == COUNT_MAX ? "more than " : "", (uintmax_t)writes, advisor->since,
               writes > 0 ? format(advisor, ": %.1f to 1", (double)calls / (double)writes) : "",
               lateness(advisor, query));
    if (model == NULL)
        advice.book = "nothing: it reads no model";
    else if (many)
        advice.book = format(advisor, "it is there: models/%s", model);
    else
        advice.book = format(
            advisor,
            "models/%s costs a second model, its synchronisation and late reads, for fewer than %d "
            "reads a write: keep it only for what cannot be asked of states, or to scale apart",
            model, RATIO_MIN);
    return advice;
}

static struct advice on_cost(const struct advisor *advisor, size_t query,
                             const struct dbk_query_work *work)
{
    const char *view = first_view(advisor, query);
    uint64_t mean_us = work->sum_us / work->calls;
    bool expensive = mean_us >= EXPENSIVE_US;
    struct advice advice = {.question = "expensive queries?"};
    advice.evidence =
        format(advisor, "%.1f ms on average, %.1f ms at most, of %ju calls", (double)mean_us / 1e3,
               (double)work->max_us / 1e3, (uintmax_t)work->calls);
    advice.pattern = view != NULL || expensive ? "materialized view" : "none";
    advice.book = "nothing: computing it each time is cheap, and always of now";
    if (view != NULL && expensive)
        advice.book = format(advisor,
                             "it reads views/%s, and is slow all the same: store what it computes "
                             "of it, or give the view an index",
                             view);
    else if (view != NULL)
        advice.book = format(advisor, "it is there: views/%s", view);
    else if (expensive)
        advice.book = "views/<name>.sql of what it computes, with -- refresh: continuous where it "
                      "may not be late";
    return advice;
}

static int advise_query(struct advisor *advisor, size_t query)
{
    const char *name = advisor->book->queries[query].name;
    struct dbk_query_work work;
    uint64_t writes = 0;
    dbk_engine_query_work(advisor->engine, query, &work);
    if (work.calls < CALLS_MIN) {
        put(advisor, "query", name,
            &(struct advice){"different read and write patterns?", "unknown",
                             format(advisor, "asked %ju times since %s: %d and more would tell",
                                    (uintmax_t)work.calls, advisor->since, CALLS_MIN),
                             "nothing yet"});
        return DBK_OK;
    }
    int rc = count_writes(advisor, query, &writes);
    if (rc < 0)
        return rc;
    const struct advice reads = on_reads(advisor, query, work.calls, writes);
    const struct advice cost = on_cost(advisor, query, &work);
    put(advisor, "query", name, &reads);
    put(advisor, "query", name, &cost);
    return DBK_OK;
}

/* ---- Services ---- */

/* One row of numbers. */
static int ask_numbers(const struct advisor *advisor, struct dbk_slice sql, const char *service,
                       uint64_t *numbers_out, int count)
{
    uint64_t last = dbk_store_last_position(dbk_engine_store(advisor->engine));
    const struct dbk_value values[] = {
        {.kind = DBK_VALUE_TEXT, .bytes = dbk_slice_of(service)},
        {.kind = DBK_VALUE_INTEGER, .integer = last > SEARCHED ? (int64_t)(last - SEARCHED) : 0}};
    struct dbk_rows *rows = NULL;
    int rc =
        dbk_engine_rows(advisor->engine,
                        &(struct dbk_rows_options){
                            .sql = sql, .values = values, .value_count = 2, .limit_us = LIMIT_US},
                        &rows, advisor->err);
    if (rc == DBK_OK)
        rc = dbk_rows_next(rows, advisor->err);
    for (int i = 0; rc == 1 && i < count; i++) {
        struct dbk_value value = dbk_rows_value(rows, i);
        numbers_out[i] = value.kind == DBK_VALUE_INTEGER ? (uint64_t)value.integer : 0;
    }
    dbk_rows_free(rows);
    return rc < 0 ? rc : DBK_OK;
}

/* A captured table's category is its service's name, a dot, and its own. */
#define OWNER "substr(category, 1, instr(category, '.') - 1)"

/* Transactions of a service, and those of them that changed tables of others. */
static int count_crossing(const struct advisor *advisor, const struct dbk_capture_service *service,
                          uint64_t numbers[2])
{
    const struct dbk_book *book = advisor->book;
    struct dbk_buf sql;
    if (service->database == NULL)
        return DBK_OK;
    dbk_buf_init(&sql, (size_t)1 << 20);
    dbk_buf_append_text(
        &sql, "SELECT count(*), coalesce(sum(owners > 1), 0) FROM (SELECT count(DISTINCT " OWNER
              ") AS owners, max(" OWNER " = ?1) AS mine FROM events WHERE position > ?2 AND "
              "json_extract(meta, '$.source.transaction') IS NOT NULL AND " OWNER " IN (");
    for (size_t i = 0, listed = 0; i < book->service_count; i++) {
        const char *database = book->services[i].database; /* NULL: its data are events only */
        if (database != NULL && strcmp(database, service->database) == 0)
            dbk_buf_append_format(&sql, "%s'%s'", listed++ > 0 ? ", " : "", book->services[i].name);
    }
    dbk_buf_append_text(&sql, ") GROUP BY json_extract(meta, '$.source.transaction')) WHERE mine");
    int rc = sql.rc < 0 ? dbk_error_set(advisor->err, sql.rc, "%s", dbk_code_text(sql.rc))
                        : ask_numbers(advisor, dbk_buf_slice(&sql), service->name, numbers, 2);
    dbk_buf_release(&sql);
    return rc;
}

/* Of contracts that others have for its tables. */
static uint64_t count_readers(const struct advisor *advisor, const char *service)
{
    uint64_t count = 0;
    for (size_t i = 0; i < advisor->book->service_count; i++) {
        const struct dbk_service_definition *other = &advisor->book->service_definitions[i];
        for (size_t j = 0; j < other->contract_count; j++)
            count += strcmp(other->contracts[j].service, service) == 0;
    }
    return count;
}

static void advise_apart(struct advisor *advisor, const char *name, uint64_t shared,
                         uint64_t readers, const uint64_t transactions[2])
{
    struct advice advice = {.question = "independent services?"};
    const char *read =
        format(advisor, "%ju contracts of others read its tables", (uintmax_t)readers);
    if (shared < 2) {
        advice.pattern = "database per service";
        advice.evidence = format(advisor, "no other service has its database; %s", read);
        advice.book = "it is so";
    } else if (transactions[0] < CALLS_MIN) {
        advice.pattern = "unknown";
        advice.evidence = format(advisor,
                                 "%ju services share its database, %s; %ju transactions of it were "
                                 "captured: %d and more would tell",
                                 (uintmax_t)shared, read, (uintmax_t)transactions[0], CALLS_MIN);
        advice.book = "a model that follows its tables, so that they are captured";
    } else if (transactions[1] == 0) {
        advice.pattern = "database per service";
        advice.evidence =
            format(advisor, "of %ju captured transactions none changed tables of others; %s",
                   (uintmax_t)transactions[0], read);
        advice.book = readers > 0 ? "a database of its own; who reads its tables follows its events"
                                  : "a database of its own";
    } else {
        advice.pattern = "don't";
        advice.evidence = "its transactions cross owners: see below";
        advice.book = "nothing";
    }
    put(advisor, "service", name, &advice);
    if (shared < 2 || transactions[0] < CALLS_MIN)
        return;
    bool acid = transactions[1] > 0;
    put(advisor, "service", name,
        &(struct advice){
            "ACID across services?", acid ? "one program; else shared database" : "none",
            format(advisor, "%ju of %ju captured transactions changed tables of others, too",
                   (uintmax_t)transactions[1], (uintmax_t)transactions[0]),
            acid ? "first of all one program; else it stays as it is, or a saga in place of each"
                 : "nothing: no transaction holds over several"});
}

static int advise_past(struct advisor *advisor, const char *name)
{
    static const char sql[] = "SELECT count(*), coalesce(sum(type LIKE '%.update' OR type LIKE "
                              "'%.delete'), 0) FROM events WHERE position > ?2 AND " OWNER " = ?1";
    uint64_t changes[2] = {0};
    int rc = ask_numbers(advisor, DBK_SLICE_LITERAL(sql), name, changes, 2);
    if (rc < 0 || changes[0] == 0)
        return rc;
    put(advisor, "service", name,
        &(struct advice){
            "full audit trail?",
            changes[1] == 0 ? "none" : "event sourcing, if anybody asks for the past",
            format(advisor,
                   "%ju of %ju captured changes replaced or removed what was there; who asks for "
                   "it cannot be measured",
                   (uintmax_t)changes[1], (uintmax_t)changes[0]),
            changes[1] == 0 ? "nothing: its rows are its history"
                            : "what was is kept in the book since the capture began; why it "
                              "changed only events of its own would say"});
    return DBK_OK;
}

static int advise_service(struct advisor *advisor, size_t index)
{
    const struct dbk_book *book = advisor->book;
    const struct dbk_capture_service *service = &book->services[index];
    uint64_t transactions[2] = {0};
    size_t shared =
        dbk_service_share(book->service_definitions, book->service_count, service->database);
    int rc = shared < 2 ? DBK_OK : count_crossing(advisor, service, transactions);
    if (rc < 0)
        return rc;
    advise_apart(advisor, service->name, shared, count_readers(advisor, service->name),
                 transactions);
    return advise_past(advisor, service->name);
}

int dbk_api_advice(struct dbk_api_call *call, struct dbk_error *err)
{
    struct advisor advisor = {.call = call,
                              .engine = call->engine,
                              .book = dbk_engine_book(call->engine),
                              .out = &call->scratch->out,
                              .comma = "",
                              .err = err};
    int64_t opened_us = 0;
    int rc = DBK_OK;
    advisor.opened = dbk_engine_opened_at(call->engine, &opened_us);
    dbk_time_format(opened_us, advisor.since);
    dbk_buf_append_text(advisor.out, "{\"advice\":[");
    for (size_t i = 0; rc == DBK_OK && i < advisor.book->service_count; i++)
        rc = advise_service(&advisor, i);
    for (size_t i = 0; rc == DBK_OK && i < advisor.book->query_count; i++)
        rc = advise_query(&advisor, i);
    if (rc < 0)
        return rc;
    dbk_buf_append_text(advisor.out, "]}");
    return dbk_call_send_json(call, 200);
}
