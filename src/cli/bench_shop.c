/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/bench_shop.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/fail.h"

#define TEXT_SIZE_MAX ((size_t)1 << 20)
#define PRODUCTS 1000
#define DAYS 90

/* ---- Orders ---- */

uint64_t dbk_bench_shop_user(uint64_t order)
{
    return order % DBK_BENCH_SHOP_USERS;
}

struct line {
    uint64_t product;
    uint64_t quantity;
    uint64_t price;
};

static struct line line_of(uint64_t order, uint64_t line)
{
    return (struct line){.product = (order * 7 + line * 131) % PRODUCTS,
                         .quantity = 1 + (order + line) % 3,
                         .price = 199 + (order * 31 + line * 17) % 5000};
}

static uint64_t total_of(uint64_t order)
{
    uint64_t total = 0;
    for (uint64_t i = 0; i < DBK_BENCH_SHOP_LINES; i++)
        total += line_of(order, i).quantity * line_of(order, i).price;
    return total;
}

/* One of the days of a quarter. */
static void day_of(uint64_t order, char day_out[16])
{
    uint64_t day = order / 10 % DAYS;
    (void)snprintf(day_out, 16, "2026-%02u-%02u", (unsigned)(day / 30 + 1),
                   (unsigned)(day % 30 + 1));
}

/* ---- Files ---- */

static void path_of(const struct dbk_bench_shop *shop, const char *name,
                    char path_out[DBK_BENCH_PATH_SIZE])
{
    (void)snprintf(path_out, DBK_BENCH_PATH_SIZE, "%.*s/%s", DBK_BENCH_PATH_SIZE - 128,
                   shop->folder, name);
}

static int make_folders(const struct dbk_bench_shop *shop, const char *name, struct dbk_error *err)
{
    struct dbk_os *os = shop->bench->os;
    char path[DBK_BENCH_PATH_SIZE];
    path_of(shop, name, path);
    int rc = DBK_OK;
    size_t folder = strlen(shop->folder);
    for (char *at = path + folder + 1; rc == DBK_OK && (at = strchr(at, '/')) != NULL; at++) {
        *at = '\0';
        rc = os->make_folder(os, path, err);
        *at = '/';
    }
    return rc;
}

static int write_files(const struct dbk_bench_shop *shop, const struct dbk_bench_file *files,
                       struct dbk_error *err)
{
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && files[i].name != NULL; i++) {
        char path[DBK_BENCH_PATH_SIZE];
        path_of(shop, files[i].name, path);
        rc = make_folders(shop, files[i].name, err);
        if (rc == DBK_OK)
            rc = dbk_os_replace_file(shop->bench->os, path, dbk_slice_of(files[i].text), err);
    }
    return rc;
}

static unsigned count_lines(const char *text)
{
    unsigned lines = 0;
    for (; text != NULL && (text = strchr(text, '\n')) != NULL; text++)
        lines++;
    return lines;
}

/* Lines of a text that the one before did not have. */
static unsigned count_new_lines(const char *text, const char *before)
{
    unsigned lines = 0;
    for (const char *end = NULL; (end = strchr(text, '\n')) != NULL; text = end + 1) {
        char line[512];
        (void)snprintf(line, sizeof(line), "\n%.*s\n", (int)(end - text), text);
        bool first = strncmp(before, line + 1, strlen(line + 1)) == 0;
        lines += !first && strstr(before, line) == NULL;
    }
    return lines;
}

unsigned dbk_bench_shop_lines(const struct dbk_bench_pattern *pattern)
{
    unsigned lines = count_lines(pattern->source) + count_lines(pattern->catalogue);
    for (size_t i = 0; pattern->files[i].name != NULL; i++)
        lines += count_lines(pattern->files[i].text);
    return lines;
}

unsigned dbk_bench_shop_changed_lines(const struct dbk_bench_pattern *pattern)
{
    unsigned lines = count_lines(pattern->alter);
    for (size_t i = 0; pattern->changed[i].name != NULL; i++) {
        for (size_t j = 0; pattern->files[j].name != NULL; j++)
            if (strcmp(pattern->files[j].name, pattern->changed[i].name) == 0)
                lines += count_new_lines(pattern->changed[i].text, pattern->files[j].text);
    }
    return lines;
}

/* ---- Databases of services ---- */

static const char pragmas[] = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL";

static int bind_and_run(struct dbk_statement *statement, const struct dbk_value *values, int count,
                        struct dbk_error *err)
{
    for (int i = 0; i < count; i++)
        dbk_statement_bind(statement, i + 1, &values[i]);
    int rc = dbk_statement_step(statement, err);
    dbk_statement_reset(statement);
    return rc;
}

static struct dbk_value integer(uint64_t value)
{
    return (struct dbk_value){.kind = DBK_VALUE_INTEGER, .integer = (int64_t)value};
}

static int fill_products(struct dbk_connection *connection, struct dbk_error *err)
{
    static const char text[] = "WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n "
                               "WHERE i < 999) INSERT INTO products (product_id, name) SELECT i, "
                               "'Product ' || i FROM n";
    return dbk_connection_run(connection, text, err);
}

/* The products' own database, closed again. */
static int make_catalogue(const struct dbk_bench_shop *shop, struct dbk_error *err)
{
    struct dbk_connection *connection = NULL;
    char path[DBK_BENCH_PATH_SIZE];
    path_of(shop, "data/catalogue.db", path);
    int rc = dbk_connection_open(path, 0, &connection, err);
    if (rc == DBK_OK)
        rc = dbk_connection_run(connection, pragmas, err);
    if (rc == DBK_OK)
        rc = dbk_connection_run(connection, shop->pattern->catalogue, err);
    if (rc == DBK_OK)
        rc = fill_products(connection, err);
    dbk_connection_free(connection);
    return rc;
}

static int make_source(struct dbk_bench_shop *shop, struct dbk_error *err)
{
    char path[DBK_BENCH_PATH_SIZE];
    path_of(shop, "data/source.db", path);
    int rc = dbk_connection_open(path, 0, &shop->writer, err);
    if (rc == DBK_OK)
        rc = dbk_connection_run(shop->writer, pragmas, err);
    if (rc == DBK_OK)
        rc = dbk_connection_run(shop->writer, shop->pattern->source, err);
    if (rc == DBK_OK && shop->pattern->catalogue == NULL)
        rc = fill_products(shop->writer, err);
    if (rc == DBK_OK && shop->pattern->catalogue != NULL)
        rc = make_catalogue(shop, err);
    if (rc == DBK_OK)
        rc = dbk_statement_open(shop->writer,
                                DBK_SLICE_LITERAL("INSERT INTO orders (order_id, user_id, day, "
                                                  "total) VALUES (?1, ?2, ?3, ?4)"),
                                &shop->insert_order, NULL, err);
    if (rc == DBK_OK)
        rc = dbk_statement_open(shop->writer,
                                DBK_SLICE_LITERAL("INSERT INTO order_items (order_id, product_id, "
                                                  "quantity, price) VALUES (?1, ?2, ?3, ?4)"),
                                &shop->insert_line, NULL, err);
    return rc;
}

/* ---- Open and close ---- */

static int open_engine(struct dbk_bench_shop *shop, struct dbk_error *err)
{
    struct dbk_diagnostics faults;
    dbk_diagnostics_init(&faults);
    int rc = dbk_engine_open(&(struct dbk_engine_options){.os = shop->bench->os,
                                                          .folder = shop->folder,
                                                          .holder = "daybook bench",
                                                          .mode = DBK_ENGINE_WRITE,
                                                          .schedule = true},
                             &faults, &shop->engine, err);
    if (rc == DBK_EBOOK)
        dbk_fail_diagnostics(stderr, &faults);
    dbk_diagnostics_release(&faults);
    return rc;
}

static int refresh(struct dbk_bench_shop *shop, struct dbk_error *err)
{
    return dbk_views_refresh(dbk_engine_views(shop->engine), shop->pattern->view, 0, NULL, NULL,
                             err);
}

int dbk_bench_shop_open(struct dbk_bench_shop *shop, struct dbk_bench *bench,
                        const struct dbk_bench_pattern *pattern, struct dbk_error *err)
{
    struct dbk_os *os = bench->os;
    *shop = (struct dbk_bench_shop){.bench = bench, .pattern = pattern};
    dbk_bench_path(bench, pattern->name, shop->folder);
    dbk_buf_init(&shop->data, TEXT_SIZE_MAX);
    char path[DBK_BENCH_PATH_SIZE];
    path_of(shop, "data", path);
    int rc = os->make_folder(os, shop->folder, err);
    if (rc == DBK_OK)
        rc = os->make_folder(os, path, err);
    if (rc == DBK_OK)
        rc = write_files(shop, pattern->files, err);
    if (rc == DBK_OK && pattern->source != NULL)
        rc = make_source(shop, err);
    if (rc == DBK_OK && pattern->files[0].name != NULL)
        rc = open_engine(shop, err);
    return rc == DBK_OK && pattern->view != NULL ? refresh(shop, err) : rc;
}

void dbk_bench_shop_close(struct dbk_bench_shop *shop)
{
    dbk_engine_free(shop->engine);
    dbk_statement_free(shop->insert_order);
    dbk_statement_free(shop->insert_line);
    dbk_connection_free(shop->writer);
    dbk_buf_release(&shop->data);
    *shop = (struct dbk_bench_shop){0};
}

/* ---- Writing ---- */

static int insert_order(struct dbk_bench_shop *shop, uint64_t order, struct dbk_error *err)
{
    char day[16];
    day_of(order, day);
    const struct dbk_value values[] = {integer(order),
                                       integer(dbk_bench_shop_user(order)),
                                       {.kind = DBK_VALUE_TEXT, .bytes = dbk_slice_of(day)},
                                       integer(total_of(order))};
    int rc = bind_and_run(shop->insert_order, values, 4, err);
    for (uint64_t i = 0; rc >= 0 && i < DBK_BENCH_SHOP_LINES; i++) {
        struct line line = line_of(order, i);
        const struct dbk_value columns[] = {integer(order), integer(line.product),
                                            integer(line.quantity), integer(line.price)};
        rc = bind_and_run(shop->insert_line, columns, 4, err);
    }
    return rc;
}

static int write_rows(struct dbk_bench_shop *shop, uint64_t order, struct dbk_error *err)
{
    int rc = dbk_connection_begin(shop->writer, DBK_BEGIN_WRITE, err);
    if (rc == DBK_OK)
        rc = insert_order(shop, order, err);
    return rc < 0 ? rc : dbk_connection_run(shop->writer, "COMMIT", err);
}

static void put_order(struct dbk_buf *out, uint64_t order)
{
    char day[16];
    day_of(order, day);
    dbk_buf_append_format(out,
                          "{\"order_id\":%ju,\"user_id\":%ju,\"day\":\"%s\",\"total\":%ju,"
                          "\"items\":[",
                          (uintmax_t)order, (uintmax_t)dbk_bench_shop_user(order), day,
                          (uintmax_t)total_of(order));
    for (uint64_t i = 0; i < DBK_BENCH_SHOP_LINES; i++) {
        struct line line = line_of(order, i);
        dbk_buf_append_format(out, "%s{\"name\":\"Product %ju\",\"quantity\":%ju,\"price\":%ju}",
                              i > 0 ? "," : "", (uintmax_t)line.product, (uintmax_t)line.quantity,
                              (uintmax_t)line.price);
    }
    dbk_buf_append_text(out, "]}");
}

static int write_event(struct dbk_bench_shop *shop, uint64_t order, struct dbk_error *err)
{
    bool by_user = shop->pattern->target == NULL;
    struct dbk_append_result result;
    char stream[64];
    (void)snprintf(stream, sizeof(stream), "%s-%ju", shop->pattern->category,
                   (uintmax_t)(by_user ? dbk_bench_shop_user(order) : order));
    dbk_buf_reset(&shop->data);
    put_order(&shop->data, order);
    if (shop->data.rc < 0)
        return dbk_error_set(err, shop->data.rc, "%s", dbk_code_text(shop->data.rc));
    const struct dbk_new_event event = {.stream = dbk_slice_of(stream),
                                        .type = DBK_SLICE_LITERAL("OrderPlaced"),
                                        .data = dbk_buf_slice(&shop->data),
                                        .occurred_us = DBK_TIME_NONE,
                                        .flags = DBK_RECORD_JSON};
    return dbk_engine_append(shop->engine, &(struct dbk_batch){.events = &event, .count = 1},
                             &result, err);
}

int dbk_bench_shop_write(struct dbk_bench_shop *shop, struct dbk_error *err)
{
    uint64_t order = shop->last + 1;
    int rc = shop->writer != NULL ? write_rows(shop, order, err) : write_event(shop, order, err);
    if (rc == DBK_OK)
        shop->last = order;
    return rc;
}

/* ---- A new field ---- */

static int refold(struct dbk_bench_shop *shop, struct dbk_error *err)
{
    struct dbk_fold_result result;
    int rc = DBK_OK;
    for (uint64_t user = 0; rc == DBK_OK && user < DBK_BENCH_SHOP_USERS; user++) {
        char stream[32];
        (void)snprintf(stream, sizeof(stream), "%s-%ju", shop->pattern->category, (uintmax_t)user);
        dbk_buf_reset(&shop->data);
        rc = dbk_fold_state(dbk_engine_folds(shop->engine), dbk_slice_of(stream),
                            &(struct dbk_fold_at){0}, &shop->data, &result, err);
    }
    return rc;
}

int dbk_bench_shop_change(struct dbk_bench_shop *shop, struct dbk_error *err)
{
    const struct dbk_bench_pattern *pattern = shop->pattern;
    bool engine = shop->engine != NULL;
    dbk_engine_free(shop->engine);
    shop->engine = NULL;
    int rc = write_files(shop, pattern->changed, err);
    if (rc == DBK_OK && pattern->alter != NULL)
        rc = dbk_connection_run(shop->writer, pattern->alter, err);
    if (rc == DBK_OK && engine)
        rc = open_engine(shop, err);
    if (rc == DBK_OK && pattern->model != NULL)
        rc = dbk_models_rebuild(dbk_engine_models(shop->engine), pattern->model, NULL, NULL, err);
    return rc == DBK_OK && engine && pattern->target == NULL ? refold(shop, err) : rc;
}

/* Of a database's pages; 0 where there is none. */
static int count_bytes(const char *path, uint64_t *bytes_out, struct dbk_error *err)
{
    static const char sql[] = "SELECT page_count * page_size FROM pragma_page_count, "
                              "pragma_page_size";
    struct dbk_connection *connection = NULL;
    struct dbk_statement *statement = NULL;
    *bytes_out = 0;
    int rc = dbk_connection_open(path, DBK_CONNECT_READ, &connection, err);
    if (rc == DBK_ENOTFOUND)
        return DBK_OK;
    if (rc == DBK_OK)
        rc = dbk_statement_open(connection, dbk_slice_of(sql), &statement, NULL, err);
    if (rc == DBK_OK && (rc = dbk_statement_step(statement, err)) == 1)
        *bytes_out = (uint64_t)dbk_statement_column(statement, 0).integer;
    dbk_statement_free(statement);
    dbk_connection_free(connection);
    return rc < 0 ? rc : DBK_OK;
}

int dbk_bench_shop_bytes(struct dbk_bench_shop *shop, uint64_t *bytes_out, struct dbk_error *err)
{
    static const char *const files[] = {"data/source.db", "data/catalogue.db", "data/reading.db"};
    struct dbk_store_stats stats = {0};
    int rc = shop->engine == NULL ? DBK_OK
                                  : dbk_store_stats(dbk_engine_store(shop->engine), &stats, err);
    *bytes_out = stats.log_size;
    for (size_t i = 0; rc == DBK_OK && i < sizeof(files) / sizeof(files[0]); i++) {
        uint64_t bytes = 0;
        char path[DBK_BENCH_PATH_SIZE];
        path_of(shop, files[i], path);
        rc = count_bytes(path, &bytes, err);
        *bytes_out += bytes;
    }
    return rc;
}

/* ---- Reading ---- */

static int prepare(struct dbk_bench_reader *reader, const char *sql,
                   struct dbk_statement **statement_out, struct dbk_error *err)
{
    return sql == NULL ? DBK_OK
                       : dbk_statement_open(reader->connection, dbk_slice_of(sql), statement_out,
                                            NULL, err);
}

int dbk_bench_reader_open(struct dbk_bench_reader *reader, struct dbk_bench_shop *shop,
                          struct dbk_error *err)
{
    const struct dbk_bench_pattern *pattern = shop->pattern;
    char name[64];
    char path[DBK_BENCH_PATH_SIZE];
    *reader = (struct dbk_bench_reader){.shop = shop};
    dbk_buf_init(&reader->state, TEXT_SIZE_MAX);
    if (pattern->target == NULL)
        return DBK_OK;
    (void)snprintf(name, sizeof(name), "data/%s", pattern->target);
    path_of(shop, name, path);
    int rc = dbk_connection_open(path, DBK_CONNECT_READ, &reader->connection, err);
    if (rc == DBK_OK)
        rc = prepare(reader, pattern->page, &reader->page, err);
    if (rc == DBK_OK)
        rc = prepare(reader, pattern->summary, &reader->summary, err);
    return rc == DBK_OK ? prepare(reader, pattern->look, &reader->look, err) : rc;
}

void dbk_bench_reader_close(struct dbk_bench_reader *reader)
{
    dbk_statement_free(reader->page);
    dbk_statement_free(reader->summary);
    dbk_statement_free(reader->look);
    dbk_connection_free(reader->connection);
    dbk_buf_release(&reader->state);
    *reader = (struct dbk_bench_reader){0};
}

/* All rows, and of each what it holds. */
static int read_rows(struct dbk_statement *statement, struct dbk_error *err)
{
    int columns = dbk_statement_column_count(statement);
    int rc = DBK_OK;
    while ((rc = dbk_statement_step(statement, err)) == 1)
        for (int i = 0; i < columns; i++)
            (void)dbk_statement_column(statement, i);
    dbk_statement_reset(statement);
    return rc;
}

static int read_state(struct dbk_bench_reader *reader, uint64_t user, struct dbk_error *err)
{
    struct dbk_fold_result result;
    char stream[32];
    (void)snprintf(stream, sizeof(stream), "%s-%ju", reader->shop->pattern->category,
                   (uintmax_t)user);
    dbk_buf_reset(&reader->state);
    return dbk_fold_state(dbk_engine_folds(reader->shop->engine), dbk_slice_of(stream),
                          &(struct dbk_fold_at){0}, &reader->state, &result, err);
}

int dbk_bench_read_page(struct dbk_bench_reader *reader, uint64_t user, struct dbk_error *err)
{
    if (reader->page == NULL)
        return read_state(reader, user, err);
    dbk_statement_bind(reader->page, 1,
                       &(struct dbk_value){.kind = DBK_VALUE_INTEGER, .integer = (int64_t)user});
    return read_rows(reader->page, err);
}

int dbk_bench_read_summary(struct dbk_bench_reader *reader, struct dbk_error *err)
{
    return read_rows(reader->summary, err);
}

int dbk_bench_find_order(struct dbk_bench_reader *reader, uint64_t order, bool *found_out,
                         struct dbk_error *err)
{
    uint64_t user = dbk_bench_shop_user(order);
    if (reader->look == NULL) {
        char key[64];
        int rc = read_state(reader, user, err);
        int size = snprintf(key, sizeof(key), "\"order_id\":%ju,", (uintmax_t)order);
        *found_out = rc == DBK_OK &&
                     memmem(reader->state.data, reader->state.size, key, (size_t)size) != NULL;
        return rc;
    }
    dbk_statement_bind(reader->look, 1,
                       &(struct dbk_value){.kind = DBK_VALUE_INTEGER, .integer = (int64_t)user});
    int rc = dbk_statement_step(reader->look, err);
    if (rc == 1) {
        struct dbk_value value = dbk_statement_column(reader->look, 0);
        *found_out = value.kind == DBK_VALUE_INTEGER && (uint64_t)value.integer >= order;
    }
    dbk_statement_reset(reader->look);
    return rc < 0 ? rc : DBK_OK;
}

/* ---- What was written ---- */

/* What a user's state says was spent; the first user's. */
static int sum_state(struct dbk_bench_reader *reader, uint64_t *sum_out, struct dbk_error *err)
{
    static const char key[] = "\"spent\":";
    int rc = read_state(reader, 1, err);
    dbk_buf_append_char(&reader->state, '\0');
    const char *at =
        rc == DBK_OK && reader->state.rc == DBK_OK ? strstr(reader->state.data, key) : NULL;
    *sum_out = at == NULL ? 0 : strtoull(at + sizeof(key) - 1, NULL, 10);
    return rc;
}

static int sum_summary(struct dbk_bench_reader *reader, uint64_t *sum_out, struct dbk_error *err)
{
    int rc = DBK_OK;
    *sum_out = 0;
    while ((rc = dbk_statement_step(reader->summary, err)) == 1)
        *sum_out += (uint64_t)dbk_statement_column(reader->summary, 2).integer;
    dbk_statement_reset(reader->summary);
    return rc;
}

int dbk_bench_check_orders(struct dbk_bench_reader *reader, struct dbk_error *err)
{
    bool folded = reader->summary == NULL;
    uint64_t wanted = 0;
    uint64_t sum = 0;
    for (uint64_t order = 1; order <= reader->shop->last; order++)
        wanted += !folded || dbk_bench_shop_user(order) == 1 ? total_of(order) : 0;
    int rc = folded ? sum_state(reader, &sum, err) : sum_summary(reader, &sum, err);
    return rc < 0 || sum == wanted
               ? rc
               : dbk_error_set(err, DBK_ECORRUPT,
                               "%s: the orders add up to %ju, and a reader finds %ju",
                               reader->shop->pattern->name, (uintmax_t)wanted, (uintmax_t)sum);
}
