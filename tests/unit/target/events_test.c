/* SPDX-License-Identifier: Apache-2.0 */
/*
 * events_test -- the log as a table, against an ordinary table that holds the same rows.
 *
 * The ordinary table is filled by a cursor, with values made here. Random conditions must then
 * choose the same rows in both, in both orders.
 */
#include "test.h"

#include "os/sim.h"
#include "target/target.h"

#define EVENTS 600
#define ROUNDS 1500
#define SQL_SIZE 1024

static struct dbk_sim *sim;
static struct dbk_store *store;
static struct dbk_connection *connection;

static uint32_t random_number(uint32_t *seed)
{
    *seed = *seed * 1664525 + 1013904223;
    return *seed >> 8;
}

static void append_some(uint32_t *seed, unsigned count)
{
    struct dbk_error err = {0};
    for (unsigned i = 0; i < count; i++) {
        char stream[24];
        char type[8];
        struct dbk_append_result result;
        uint32_t number = random_number(seed) % 12;
        (void)snprintf(stream, sizeof(stream), number == 0 ? "lone" : "c%u-%u", number % 3, number);
        (void)snprintf(type, sizeof(type), "T%u", random_number(seed) % 4);
        struct dbk_slice tag = DBK_SLICE_LITERAL("a \"tag\"");
        struct dbk_new_event event = {
            .stream = dbk_slice_of(stream),
            .type = dbk_slice_of(type),
            .data = DBK_SLICE_LITERAL("{\"n\":1}"),
            .tags = &tag,
            .tag_count = random_number(seed) % 2,
            /* From three days before the epoch to three behind it: zero means "any" below. */
            .occurred_us = random_number(seed) % 4 == 0
                               ? DBK_TIME_NONE
                               : ((int64_t)(random_number(seed) % 144) - 72) * 3600 * 1000000,
            .flags = DBK_RECORD_JSON,
        };
        assert_ok(dbk_store_append(store, &(struct dbk_batch){.events = &event, .count = 1},
                                   &result, &err),
                  &err);
        dbk_sim_pass_us(sim, (int64_t)(random_number(seed) % 7200) * 1000000);
    }
}

static struct dbk_value text_value(const char *text, size_t size)
{
    return (struct dbk_value){.kind = DBK_VALUE_TEXT, .bytes = dbk_slice(text, size)};
}

static struct dbk_value integer_value(uint64_t number)
{
    return (struct dbk_value){.kind = DBK_VALUE_INTEGER, .integer = (int64_t)number};
}

static void fill_plain(void)
{
    struct dbk_cursor *cursor = NULL;
    struct dbk_statement *insert = NULL;
    struct dbk_event event;
    struct dbk_error err = {0};
    assert_ok(dbk_connection_run(connection,
                                 "CREATE TABLE plain (position INTEGER, stream TEXT, category TEXT,"
                                 "version INTEGER, type TEXT, time TEXT, occurred TEXT)",
                                 &err),
              &err);
    assert_ok(dbk_statement_open(connection,
                                 DBK_SLICE_LITERAL("INSERT INTO plain VALUES (?1, ?2, ?3, ?4, ?5, "
                                                   "?6, ?7)"),
                                 &insert, NULL, &err),
              &err);
    assert_ok(dbk_cursor_open(store, &(struct dbk_filter){0}, &cursor, &err), &err);
    while (dbk_cursor_next(cursor, &event, &err) == 1) {
        char time[DBK_TIME_TEXT_SIZE];
        char occurred[DBK_TIME_TEXT_SIZE];
        const char *dash = memchr(event.stream.data, '-', event.stream.size);
        size_t category = dash == NULL ? event.stream.size : (size_t)(dash - event.stream.data);
        int64_t occurred_us =
            event.occurred_us == DBK_TIME_NONE ? event.time_us : event.occurred_us;
        const struct dbk_value values[] = {
            integer_value(event.position),
            text_value(event.stream.data, event.stream.size),
            text_value(event.stream.data, category),
            integer_value(event.version),
            text_value(event.type.data, event.type.size),
            text_value(time, dbk_time_format(event.time_us, time)),
            text_value(occurred, dbk_time_format(occurred_us, occurred)),
        };
        for (int i = 0; i < 7; i++)
            dbk_statement_bind(insert, i + 1, &values[i]);
        assert_ok(dbk_statement_step(insert, &err), &err);
        dbk_statement_reset(insert);
    }
    dbk_cursor_free(cursor);
    dbk_statement_free(insert);
}

static int set_up(void **state)
{
    (void)state;
    struct dbk_error err = {0};
    uint32_t seed = 7;
    sim = dbk_sim_create(1);
    assert_ok(dbk_store_open(&(struct dbk_store_options){.os = dbk_sim_os(sim),
                                                         .folder = "data",
                                                         .writer = true,
                                                         .segment_size = 30000},
                             &store, &err),
              &err);
    append_some(&seed, EVENTS);
    assert_ok(dbk_connection_open(NULL, DBK_CONNECT_MEMORY, &connection, &err), &err);
    assert_ok(dbk_target_attach_events(connection, store, &err), &err);
    fill_plain();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    dbk_connection_free(connection);
    dbk_store_free(store);
    dbk_sim_free(sim);
    return 0;
}

/* A number of the rows chosen, their order included. */
static uint64_t answer(const char *sql, uint64_t *count_out)
{
    struct dbk_statement *statement = NULL;
    struct dbk_error err = {0};
    uint64_t sum = 1;
    uint64_t count = 0;
    int rc = dbk_statement_open(connection, dbk_slice_of(sql), &statement, NULL, &err);
    if (rc < 0)
        fail_msg("%s: %s", sql, err.message);
    while ((rc = dbk_statement_step(statement, &err)) == 1) {
        for (int i = 0; i < dbk_statement_column_count(statement); i++) {
            struct dbk_value value = dbk_statement_column(statement, i);
            if (value.kind == DBK_VALUE_INTEGER) {
                sum = sum * 1099511628211U + (uint64_t)value.integer;
            } else if (value.kind == DBK_VALUE_TEXT) {
                for (size_t at = 0; at < value.bytes.size; at++)
                    sum = sum * 1099511628211U + (uint8_t)value.bytes.data[at];
            }
        }
        count++;
    }
    assert_ok(rc, &err);
    dbk_statement_free(statement);
    *count_out = count;
    return sum;
}

static size_t add_time(char *text, size_t size, const char *column, uint32_t *seed)
{
    static const char *const ops[] = {"<", "<=", "=", ">=", ">"};
    const char *op = ops[random_number(seed) % 5];
    bool recorded = strcmp(column, "time") == 0;
    int64_t hours = recorded ? -(int64_t)(random_number(seed) % EVENTS)
                             : (int64_t)(random_number(seed) % 200) - 100;
    int64_t base_us = recorded ? dbk_store_last_time_us(store) : 0;
    char time[DBK_TIME_TEXT_SIZE];
    (void)dbk_time_format(base_us + hours * 3600 * 1000000, time);
    switch (random_number(seed) % 5) {
    case 0: /* a part of an instant, as people write it */
        return (size_t)snprintf(text, size, "%s %s '%.10s'", column, op, time);
    case 1:
        return (size_t)snprintf(text, size, "%s %s '%.13s'", column, op, time);
    case 2: /* an offset that is not UTC: compared as text all the same */
        return (size_t)snprintf(text, size, "%s %s '%.19s+14:00'", column, op, time);
    case 3:
        return (size_t)snprintf(text, size, "%s LIKE '%.10s%%'", column, time);
    default:
        return (size_t)snprintf(text, size, "%s %s '%s'", column, op, time);
    }
}

static size_t add_condition(char *text, size_t size, uint32_t *seed)
{
    static const char *const ops[] = {"<", "<=", "=", ">=", ">", "<>"};
    const char *op = ops[random_number(seed) % 6];
    uint32_t number = random_number(seed) % 13;
    switch (random_number(seed) % 9) {
    case 0:
        return (size_t)snprintf(text, size, "position %s %d", op,
                                (int)(random_number(seed) % (EVENTS + 40)) - 20);
    case 1:
        return (size_t)snprintf(text, size, "position %s %u.5", op, random_number(seed) % EVENTS);
    case 2:
        return (size_t)snprintf(text, size, "stream = 'c%u-%u'", number % 3, number);
    case 3:
        return (size_t)snprintf(text, size, "category = 'c%u'", number % 4);
    case 4:
        return (size_t)snprintf(text, size, "type %s 'T%u'", number % 2 == 0 ? "=" : op,
                                number % 5);
    case 5:
        return (size_t)snprintf(text, size, "version %s %d", op,
                                (int)(random_number(seed) % 60) - 2);
    case 6:
        return (size_t)snprintf(text, size, "stream IN ('lone', 'c1-%u', '', 'C1-1')", number);
    case 7:
        return add_time(text, size, "time", seed);
    default:
        return add_time(text, size, "occurred", seed);
    }
}

static void test_target_events__conditions_choose_as_in_a_plain_table(void **state)
{
    (void)state;
    uint32_t seed = 11;
    uint64_t rows = 0;
    for (int round = 0; round < ROUNDS; round++) {
        char where[SQL_SIZE / 2];
        char sql[SQL_SIZE];
        uint64_t counts[2];
        uint64_t sums[2];
        size_t size = 0;
        unsigned count = 1 + random_number(&seed) % 3;
        for (unsigned i = 0; i < count; i++) {
            if (i > 0)
                size += (size_t)snprintf(where + size, sizeof(where) - size, "%s",
                                         random_number(&seed) % 4 == 0 ? " OR " : " AND ");
            size += add_condition(where + size, sizeof(where) - size, &seed);
        }
        const char *order = random_number(&seed) % 2 == 0 ? "" : "DESC";
        for (int i = 0; i < 2; i++) {
            (void)snprintf(sql, sizeof(sql),
                           "SELECT position, stream, category, version, type, time, occurred "
                           "FROM %s WHERE %s ORDER BY position %s",
                           i == 0 ? "events" : "plain", where, order);
            sums[i] = answer(sql, &counts[i]);
        }
        if (sums[0] != sums[1] || counts[0] != counts[1])
            fail_msg("%s: %d rows, not %d", sql, (int)counts[0], (int)counts[1]);
        rows += counts[0];
    }
    assert_true(rows > 10 * ROUNDS);
}

static void test_target_events__joins_push_down_what_they_know(void **state)
{
    (void)state;
    uint64_t counts[2];
    static const char sql[] =
        "SELECT e.position, p.position FROM plain p CROSS JOIN %s e ON e.stream = p.stream "
        "AND e.version = p.version + 1 AND e.occurred >= p.occurred ORDER BY p.position";
    char text[2][SQL_SIZE];
    (void)snprintf(text[0], SQL_SIZE, sql, "events");
    (void)snprintf(text[1], SQL_SIZE, sql, "plain");
    assert_int_equal(answer(text[0], &counts[0]), answer(text[1], &counts[1]));
    assert_int_equal(counts[0], counts[1]);
    assert_true(counts[0] > 0);
}

static void test_target_events__other_orders_are_sorted(void **state)
{
    (void)state;
    static const char *const columns[] = {"stream", "type", "occurred DESC", "version"};
    for (size_t i = 0; i < sizeof(columns) / sizeof(*columns); i++) {
        uint64_t counts[2];
        char text[2][SQL_SIZE];
        for (int k = 0; k < 2; k++)
            (void)snprintf(text[k], SQL_SIZE, "SELECT %.8s FROM %s ORDER BY %s", columns[i],
                           k == 0 ? "events" : "plain", columns[i]);
        assert_int_equal(answer(text[0], &counts[0]), answer(text[1], &counts[1]));
    }
}

static void test_target_events__a_pin_hides_what_lies_behind_it(void **state)
{
    (void)state;
    uint64_t count = 0;
    uint32_t seed = 3;
    for (uint64_t pin = 1; pin <= EVENTS; pin += 37) {
        dbk_target_pin_events(connection, pin);
        (void)answer("SELECT position FROM events", &count);
        assert_int_equal(count, pin);
        assert_int_equal(dbk_target_events_position(connection), pin);
        (void)answer("SELECT position FROM events WHERE position >= 300 ORDER BY position DESC",
                     &count);
        assert_int_equal(count, pin < 300 ? 0 : pin - 299);
    }
    dbk_target_pin_events(connection, 0);
    struct dbk_statement *statement = NULL;
    struct dbk_error err = {0};
    assert_ok(dbk_statement_open(connection,
                                 DBK_SLICE_LITERAL("SELECT position FROM events UNION ALL "
                                                   "SELECT position FROM events"),
                                 &statement, NULL, &err),
              &err);
    for (int times = 0; times < 2; times++) {
        uint64_t before = dbk_store_last_position(store);
        assert_int_equal(dbk_statement_step(statement, &err), 1);
        append_some(&seed, 5); /* a statement that runs does not see them, not even half way */
        for (count = 1; dbk_statement_step(statement, &err) == 1;)
            count++;
        assert_int_equal(count, 2 * before);
        assert_int_equal(dbk_target_events_position(connection), before);
        dbk_statement_reset(statement);
    }
    dbk_statement_free(statement);
}

/* How many events a book has up to a position that had occurred at an instant. */
static uint64_t count_until(uint64_t position, int64_t occurred_max_us)
{
    struct dbk_cursor *cursor = NULL;
    struct dbk_event event;
    struct dbk_error err = {0};
    uint64_t count = 0;
    assert_ok(dbk_cursor_open(store, &(struct dbk_filter){0}, &cursor, &err), &err);
    while (dbk_cursor_next(cursor, &event, &err) == 1) {
        int64_t occurred = event.occurred_us == DBK_TIME_NONE ? event.time_us : event.occurred_us;
        count += event.position <= position && occurred <= occurred_max_us;
    }
    dbk_cursor_free(cursor);
    return count;
}

static void test_target_events__it_ends_at_a_position_and_an_occurrence(void **state)
{
    (void)state;
    const int64_t hour_us = INT64_C(3600) * 1000000;
    const uint64_t ends[] = {0, 1, 77, EVENTS};
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        uint64_t count = 0;
        dbk_target_end_events(connection, ends[i], NULL);
        (void)answer("SELECT position FROM events", &count);
        assert_int_equal(count, ends[i]);
        /* Around zero, which elsewhere means "any". */
        for (int64_t hours = -80; hours <= 80; hours += hours > -4 && hours < 4 ? 1 : 8) {
            for (int64_t beside = -1; beside <= 1; beside++) {
                int64_t occurred_us = hours * hour_us + beside;
                dbk_target_end_events(connection, ends[i], &occurred_us);
                (void)answer("SELECT position FROM events", &count);
                assert_int_equal(count, count_until(ends[i], occurred_us));
            }
        }
    }
    dbk_target_end_events(connection, EVENTS, NULL);
    dbk_target_pin_events(connection, 0);
}

static void test_target_events__the_rest_of_a_row_is_the_events(void **state)
{
    (void)state;
    uint64_t count = 0;
    (void)answer("SELECT 1 FROM events WHERE tags IS NULL OR (json_valid(tags) AND "
                 "json_extract(tags, '$[0]') = 'a \"tag\"')",
                 &count);
    assert_int_equal(count, EVENTS);
    (void)answer("SELECT 1 FROM events WHERE data ->> 'n' = 1 AND meta IS NULL AND "
                 "length(id) = 36 AND schema_version >= 0",
                 &count);
    assert_int_equal(count, EVENTS);
    (void)answer("SELECT DISTINCT id FROM events", &count);
    assert_int_equal(count, EVENTS);
}

static void test_target_events__it_is_there_to_read_only(void **state)
{
    (void)state;
    struct dbk_error err = {0};
    static const char *const sqls[] = {"DELETE FROM events", "UPDATE events SET type = 'x'",
                                       "INSERT INTO events (type) VALUES ('x')",
                                       "CREATE VIRTUAL TABLE other USING events"};
    for (size_t i = 0; i < sizeof(sqls) / sizeof(*sqls); i++)
        assert_true(dbk_connection_run(connection, sqls[i], &err) < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_target_events__conditions_choose_as_in_a_plain_table),
        cmocka_unit_test(test_target_events__joins_push_down_what_they_know),
        cmocka_unit_test(test_target_events__other_orders_are_sorted),
        cmocka_unit_test(test_target_events__it_ends_at_a_position_and_an_occurrence),
        cmocka_unit_test(test_target_events__the_rest_of_a_row_is_the_events),
        cmocka_unit_test(test_target_events__it_is_there_to_read_only),
        cmocka_unit_test(test_target_events__a_pin_hides_what_lies_behind_it),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
