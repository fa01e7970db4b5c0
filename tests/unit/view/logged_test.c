/* SPDX-License-Identifier: Apache-2.0 */
/*
 * logged_test -- a view over `events` takes what came behind its position and nothing else, and is
 * filled anew when what it has read would be read otherwise by now: each way in which that can be.
 *
 * What the rows are compared with is the SELECT run over a log that is read from its beginning.
 */
#include "test.h"

#include <stdlib.h>
#include <unistd.h>

#include "os/sim.h"
#include "view/explain.h"
#include "view/logged.h"

static struct dbk_sim *sim;
static struct dbk_store *store;
static char folder[64];
static char path[96];
static struct dbk_view_session *session; /* of the refreshes; NULL: nothing is kept */
static struct dbk_view_source source;
static struct dbk_history told; /* by the lens */
static bool forgets;            /* a subject, when an event has been read */
static int64_t forgot_us;

static int look(void *context, void **state, struct dbk_event *event, struct dbk_error *err)
{
    (void)context;
    (void)state;
    (void)event;
    (void)err;
    if (forgets) {
        told.forgotten++;
        forgot_us = dbk_sim_os(sim)->now_us(dbk_sim_os(sim));
    }
    forgets = false;
    return 1;
}

static void end_look(void *context, void *state)
{
    (void)context;
    (void)state;
}

static void tell(void *context, struct dbk_history *history_out)
{
    (void)context;
    *history_out = told;
}

static const struct dbk_lens lens = {
    .open = look, .upcast = look, .end = end_look, .history = tell};

static void open_log(const char *where)
{
    struct dbk_error err = {0};
    assert_ok(dbk_store_open(
                  &(struct dbk_store_options){
                      .os = dbk_sim_os(sim), .folder = where, .writer = true, .segment_size = 4096},
                  &store, &err),
              &err);
    dbk_store_set_lens(store, &lens);
}

static int set_up(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof(folder), "/tmp/daybook-view-XXXXXX");
    assert_non_null(mkdtemp(folder));
    (void)snprintf(path, sizeof(path), "%s/reading.db", folder);
    sim = dbk_sim_create(1);
    source = (struct dbk_view_source){.log = true};
    told = (struct dbk_history){0};
    open_log("data");
    return 0;
}

static int tear_down(void **state)
{
    static const char *const ends[] = {"", "-wal", "-shm"};
    (void)state;
    dbk_view_session_free(session);
    session = NULL;
    dbk_store_free(store);
    dbk_sim_free(sim);
    for (size_t i = 0; i < 3; i++) {
        char file[128];
        (void)snprintf(file, sizeof(file), "%s%s", path, ends[i]);
        (void)unlink(file);
    }
    assert_int_equal(rmdir(folder), 0);
    return 0;
}

static struct dbk_append_result append(const char *stream, const char *type, const char *data)
{
    struct dbk_error err = {0};
    struct dbk_append_result result;
    const struct dbk_new_event event = {.stream = dbk_slice_of(stream),
                                        .type = dbk_slice_of(type),
                                        .data = dbk_slice_of(data),
                                        .occurred_us = DBK_TIME_NONE,
                                        .flags = DBK_RECORD_JSON};
    assert_ok(
        dbk_store_append(store, &(struct dbk_batch){.events = &event, .count = 1}, &result, &err),
        &err);
    return result;
}

static void run(const char *sql)
{
    struct dbk_connection *connection = NULL;
    struct dbk_error err = {0};
    assert_ok(dbk_connection_open(path, 0, &connection, &err), &err);
    assert_ok(dbk_connection_run(connection, sql, &err), &err);
    dbk_connection_free(connection);
}

static int64_t ask(const char *sql)
{
    struct dbk_connection *connection = NULL;
    struct dbk_error err = {0};
    int64_t answer = -1;
    assert_ok(dbk_connection_open(path, DBK_CONNECT_READ, &connection, &err), &err);
    assert_ok(dbk_view_integer(connection, sql, NULL, &answer, &err), &err);
    dbk_connection_free(connection);
    return answer;
}

static struct dbk_view_refresh refresh_of(const struct dbk_view_definition *definition)
{
    return (struct dbk_view_refresh){.definition = definition,
                                     .source = &source,
                                     .fingerprint = "f",
                                     .store = store,
                                     .os = dbk_sim_os(sim),
                                     .session = session};
}

/* Refreshes `v`, whose rows then are those of its SELECT. full: how it was done; reason: why. */
static void refresh(const char *sql, const char *reason)
{
    struct dbk_error err = {0};
    struct dbk_view_row row;
    struct dbk_connection *connection = NULL;
    struct dbk_view_check check = {0};
    const struct dbk_view_definition definition = {.name = "v",
                                                   .file = "views/v.sql",
                                                   .database = "reading",
                                                   .database_path = path,
                                                   .sql = dbk_slice_of(sql)};
    const struct dbk_view_refresh all = refresh_of(&definition);
    assert_ok(dbk_view_refresh_run(&all, &err), &err);
    assert_ok(dbk_view_verify(&all, &check, &err), &err);
    assert_ok(dbk_connection_open(path, DBK_CONNECT_READ, &connection, &err), &err);
    assert_ok(dbk_view_catalog_read(connection, "v", &row, &err), &err);
    dbk_connection_free(connection);
    assert_int_equal(row.refreshed, reason == NULL ? DBK_VIEW_INCREMENTAL : DBK_VIEW_FULL);
    if (reason != NULL && strstr(row.reason, reason) == NULL)
        fail_msg("it was full because %s", row.reason);
}

#define FIRST "it is the first refresh"
#define BY_KEY                                                                                     \
    "SELECT json_extract(data, '$.k') AS k, count(*) AS n, sum(data ->> '$.n') AS s FROM events "  \
    "WHERE type = 'Added' GROUP BY 1"

static void test_view_logged__takes_what_is_behind_its_position(void **state)
{
    (void)state;
    append("s-1", "Added", "{\"k\":\"a\",\"n\":1}");
    refresh(BY_KEY, FIRST);
    for (int i = 0; i < 20; i++) {
        append("s-1", i % 3 == 0 ? "Other" : "Added", "{\"k\":\"a\",\"n\":2.5}");
        append("t-1", "Added", "{\"k\":\"b\",\"n\":3}");
        refresh(BY_KEY, NULL);
        /* Events of other types are none of its changes. */
        assert_int_equal(ask("SELECT changes FROM _daybook_views"), i % 3 == 0 ? 1 : 2);
        assert_int_equal(ask("SELECT v.position = c.position AND c.event <> '' FROM _daybook_views "
                             "v, _daybook_log_cursors c"),
                         1);
    }
    assert_int_equal(ask("SELECT n FROM v WHERE k = 'b'"), 20);
    refresh(BY_KEY, NULL);
    assert_int_equal(ask("SELECT changes FROM _daybook_views"), 0);
}

static void test_view_logged__goes_no_further_than_the_models_beside_it(void **state)
{
    (void)state;
    static const char *const models[] = {"m"};
    static const char select[] = "SELECT e.position, t.n FROM events e JOIN t ON t.k = "
                                 "json_extract(e.data, '$.k')";
    source.models = models;
    source.model_count = 1;
    run("CREATE TABLE _daybook_models (model, generation, serving, position);"
        "INSERT INTO _daybook_models VALUES ('m', 1, 1, 2);"
        "CREATE TABLE t (k, n); INSERT INTO t VALUES ('a', 1), ('b', 2)");
    for (int i = 0; i < 4; i++)
        append("s-1", "Added", i % 2 == 0 ? "{\"k\":\"a\"}" : "{\"k\":\"b\"}");
    refresh(select, FIRST);
    assert_int_equal(ask("SELECT count(*) FROM v"), 2);
    run("UPDATE t SET n = 7 WHERE k = 'a'; UPDATE _daybook_models SET position = 3");
    refresh(select, NULL);
    assert_int_equal(ask("SELECT count(*) = 3 AND sum(n) = 16 FROM v"), 1);
    /* What was rebuilt may stand further back. */
    run("UPDATE _daybook_models SET position = 1");
    refresh(select, "it had read the log up to position 3, past 1");
    assert_int_equal(ask("SELECT count(*) FROM v"), 1);
}

static void test_view_logged__events_that_lost_their_content(void **state)
{
    (void)state;
    struct dbk_error err = {0};
    struct dbk_append_result result;
    struct dbk_store_compacted compacted;
    for (int i = 0; i < 5; i++)
        append("s-1", "Added", "{\"k\":\"a\",\"n\":1}");
    refresh(BY_KEY, FIRST);
    assert_ok(dbk_store_set_rules(store, DBK_SLICE_LITERAL("s-1"),
                                  &(struct dbk_stream_rules){.max_count = 1}, &result, &err),
              &err);
    dbk_store_seal(store);
    append("t-1", "Added", "{\"k\":\"b\",\"n\":1}");
    /* What the rules leave out is there until it is compacted. */
    refresh(BY_KEY, NULL);
    assert_int_equal(ask("SELECT n FROM v WHERE k = 'a'"), 5);
    assert_ok(dbk_store_compact(store, &(struct dbk_store_compaction){0}, &compacted, &err), &err);
    assert_int_equal(compacted.removed, 4);
    refresh(BY_KEY, "compaction has removed the content of events since: 4 by now, 0 then");
    assert_int_equal(ask("SELECT n FROM v WHERE k = 'a'"), 1);
    refresh(BY_KEY, NULL);
    /* It is counted in the log itself. */
    dbk_store_free(store);
    open_log("data");
    refresh(BY_KEY, NULL);
}

static void test_view_logged__a_stream_by_its_name_is_read_as_the_book_is(void **state)
{
    (void)state;
    static const char select[] = "SELECT count(*) AS n FROM events WHERE stream = 's-1'";
    struct dbk_error err = {0};
    struct dbk_append_result result;
    append("s-1", "Added", "{}");
    append("s-1", "Added", "{}");
    refresh(select, FIRST);
    assert_ok(dbk_store_set_rules(store, DBK_SLICE_LITERAL("s-1"),
                                  &(struct dbk_stream_rules){.max_count = 1}, &result, &err),
              &err);
    append("s-1", "Added", "{}");
    refresh(select, NULL);
    assert_int_equal(ask("SELECT n FROM v"), 3);
}

static void test_view_logged__subjects_and_upcasters(void **state)
{
    (void)state;
    append("s-1", "Added", "{\"k\":\"a\",\"n\":1}");
    refresh(BY_KEY, FIRST);
    told.forgotten = 1;
    refresh(BY_KEY, "subjects were forgotten since: 1 by now, 0 then");
    refresh(BY_KEY, NULL);
    told.upcasts[31] = 1;
    refresh(BY_KEY, "how events of older versions are read has changed since");
    refresh(BY_KEY, NULL);
}

/* Refreshes while somebody is forgotten, and tells the time of it, by which forgetting sees whether
   the refresh is free of who that was. */
static void forget_amid(bool full)
{
    struct dbk_error err = {0};
    const struct dbk_view_definition definition = {.name = "v",
                                                   .file = "views/v.sql",
                                                   .database = "reading",
                                                   .database_path = path,
                                                   .sql = dbk_slice_of(BY_KEY)};
    const struct dbk_view_refresh amid = refresh_of(&definition);
    append("s-1", "Added", "{\"k\":\"a\",\"n\":1}");
    forgets = true;
    assert_ok(dbk_view_refresh_run(&amid, &err), &err);
    assert_false(forgets);
    assert_int_equal(ask("SELECT refreshed = 'full' FROM _daybook_views"), full);
    assert_in_range(ask("SELECT as_of FROM _daybook_views"), 1, forgot_us - 1);
    refresh(BY_KEY, "subjects were forgotten since");
}

static void test_view_logged__who_is_forgotten_while_it_reads(void **state)
{
    (void)state;
    forget_amid(true);
    forget_amid(false);
}

static void test_view_logged__another_log(void **state)
{
    (void)state;
    append("s-1", "Added", "{\"k\":\"a\",\"n\":1}");
    refresh(BY_KEY, FIRST);
    /* As after a restore: the same book, with another event at that position. */
    run("UPDATE _daybook_log_cursors SET event = '00000000-0000-0000-0000-000000000000'");
    refresh(BY_KEY, "the log is not the one that it had read up to position 1");
    dbk_store_free(store);
    open_log("other");
    append("s-1", "Added", "{\"k\":\"c\",\"n\":1}");
    refresh(BY_KEY, "the log is not the one that it had read up to position 1");
    assert_int_equal(ask("SELECT count(*) = 1 AND min(k) = 'c' FROM v"), 1);
    run("DELETE FROM _daybook_log_cursors");
    refresh(BY_KEY, "it is not known how far it had read the log");
}

/* Nothing is looked up in the log by what its events hold: what is read of it has an index. */
static void test_view_logged__what_is_joined_is_stored_with_an_index(void **state)
{
    (void)state;
    static const char select[] =
        "SELECT a.position AS p, b.position AS q FROM events a JOIN events b ON "
        "json_extract(a.data, '$.k') = json_extract(b.data, '$.k') WHERE a.type = 'Added' AND "
        "b.type = 'Taken' AND a.version > 0";
    for (int i = 0; i < 6; i++)
        append("s-1", i % 2 == 0 ? "Added" : "Taken", i < 4 ? "{\"k\":\"a\"}" : "{\"k\":\"b\"}");
    refresh(select, FIRST);
    assert_int_equal(ask("SELECT count(*) FROM sqlite_schema WHERE type = 'index' AND sql LIKE "
                         "'%((+c1))'"),
                     2);
    append("s-2", "Taken", "{\"k\":\"b\"}");
    refresh(select, NULL);
    assert_int_equal(ask("SELECT count(*) FROM v"), 6);
    assert_int_equal(ask("SELECT changes FROM _daybook_views"), 1);
}

static void test_view_logged__an_explanation_shows_what_is_read(void **state)
{
    (void)state;
    struct dbk_error err = {0};
    struct dbk_buf out;
    const struct dbk_view_definition definition = {.name = "v",
                                                   .file = "views/v.sql",
                                                   .database = "reading",
                                                   .database_path = path,
                                                   .sql = dbk_slice_of(BY_KEY)};
    const struct dbk_view_refresh all = refresh_of(&definition);
    append("s-1", "Added", "{\"k\":\"a\",\"n\":1}");
    refresh(BY_KEY, FIRST);
    dbk_buf_init(&out, 1 << 20);
    assert_ok(dbk_view_explain(&all, true, &out, &err), &err);
    dbk_buf_append_char(&out, '\0');
    assert_non_null(strstr(out.data, "the log itself: what is behind the position"));
    assert_non_null(strstr(out.data, "f0.position > ?1 AND f0.position <= ?2 AND "
                                     "(f0.\\\"type\\\" = 'Added')"));
    dbk_buf_release(&out);
}

/* Rows and position change together: a failure of the last statement leaves both as they were. */
static void test_view_logged__rows_and_position_change_together(void **state)
{
    (void)state;
    struct dbk_error err = {0};
    const struct dbk_view_definition definition = {.name = "v",
                                                   .file = "views/v.sql",
                                                   .database = "reading",
                                                   .database_path = path,
                                                   .mode = DBK_VIEW_INCREMENTAL,
                                                   .sql = dbk_slice_of(BY_KEY)};
    const struct dbk_view_refresh all = refresh_of(&definition);
    append("s-1", "Added", "{\"k\":\"a\",\"n\":1}");
    refresh(BY_KEY, FIRST);
    run("CREATE TRIGGER no BEFORE UPDATE ON _daybook_views BEGIN SELECT raise(ABORT, 'no'); END;"
        "CREATE TRIGGER no2 BEFORE INSERT ON _daybook_views BEGIN SELECT raise(ABORT, 'no'); END");
    append("s-1", "Added", "{\"k\":\"a\",\"n\":1}");
    assert_int_not_equal(dbk_view_refresh_run(&all, &err), DBK_OK);
    assert_int_equal(ask("SELECT n FROM v"), 1);
    assert_int_equal(ask("SELECT position FROM _daybook_log_cursors"), 1);
    run("DROP TRIGGER no; DROP TRIGGER no2");
    refresh(BY_KEY, NULL);
    assert_int_equal(ask("SELECT n FROM v"), 2);
    assert_int_equal(ask("SELECT position FROM _daybook_log_cursors"), 2);
}

static void test_view_logged__the_same_with_what_is_kept(void **state)
{
    struct dbk_error err = {0};
    assert_ok(dbk_view_session_open(&session, &err), &err);
    test_view_logged__takes_what_is_behind_its_position(state);
    run("DROP VIEW v; DELETE FROM _daybook_views");
    told.forgotten = 0;
    test_view_logged__subjects_and_upcasters(state);
}

int main(void)
{
#define LOGGED(name) cmocka_unit_test_setup_teardown(test_view_logged__##name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        LOGGED(takes_what_is_behind_its_position),
        LOGGED(goes_no_further_than_the_models_beside_it),
        LOGGED(events_that_lost_their_content),
        LOGGED(a_stream_by_its_name_is_read_as_the_book_is),
        LOGGED(subjects_and_upcasters),
        LOGGED(who_is_forgotten_while_it_reads),
        LOGGED(another_log),
        LOGGED(what_is_joined_is_stored_with_an_index),
        LOGGED(an_explanation_shows_what_is_read),
        LOGGED(rows_and_position_change_together),
        LOGGED(the_same_with_what_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
