/* SPDX-License-Identifier: Apache-2.0 */
/*
 * forget_test -- what is forgotten is in no byte of a model's database afterwards, and what is not
 * still is: with a rebuild, with statements, with sealed fields; twice, cut short, and with a
 * generation that was begun before.
 *
 * The store's lens stands for the keys: an event of person N says "secret-of-N", and nothing of the
 * kind once N is forgotten.
 */
#include "test.h"

#include <ftw.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "log/sealed.h"
#include "model/forget.h"
#include "model/state.h"
#include "os/sim.h"

#define WAIT_US (INT64_C(10) * 1000000)
#define PERSONS 20
#define EVENTS 60

static struct dbk_sim *sim;
static struct dbk_store *store;
static struct dbk_models *models;
static char folder[64];
static char path[96];
static bool forgotten[PERSONS];
static bool hidden[PERSONS];

static const struct dbk_slice person_category = {.data = "person", .size = 6};
static const struct dbk_slice other_category = {.data = "other", .size = 5};
static struct dbk_slice category; /* that the files name */
static const char schema[] = "CREATE TABLE people (position INTEGER PRIMARY KEY, person TEXT, "
                             "name TEXT, data TEXT); CREATE INDEX people_name ON people (name);";
static const char insert[] = "INSERT INTO people VALUES (:_position, :person, :name, :_data)";

/* ---- The keys ---- */

struct lens_state {
    char data[200];
};

static int open_event(void *context, void **state, struct dbk_event *event, struct dbk_error *err)
{
    (void)context;
    if (*state == NULL)
        *state = dbk_alloc_zero(1, sizeof(struct lens_state));
    if (*state == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory");
    struct lens_state *text = *state;
    unsigned person = (unsigned)strtoul(event->stream.data + strlen("person-"), NULL, 10);
    if (!dbk_slice_starts_with(event->stream, DBK_SLICE_LITERAL("person-")))
        return 1;
    if (hidden[person])
        return 0;
    int size = snprintf(text->data, sizeof(text->data),
                        forgotten[person] ? "{\"person\":\"p%u\",\"name\":{\"$forgotten\":\"0\"}}"
                                          : "{\"person\":\"p%u\",\"name\":\"secret-of-%03u\"}",
                        person, person);
    event->data = dbk_slice(text->data, (size_t)size);
    return 1;
}

static int upcast_event(void *context, void **state, struct dbk_event *event, struct dbk_error *err)
{
    (void)context;
    (void)state;
    (void)event;
    (void)err;
    return 1;
}

static void end_state(void *context, void *state)
{
    (void)context;
    dbk_free(state);
}

static const struct dbk_lens lens = {.open = open_event, .upcast = upcast_event, .end = end_state};

/* ---- The fixture ---- */

static void open_store(void)
{
    struct dbk_error err = {0};
    assert_ok(
        dbk_store_open(
            &(struct dbk_store_options){.os = dbk_sim_os(sim), .folder = "data", .writer = true},
            &store, &err),
        &err);
    dbk_store_set_lens(store, &lens);
    assert_ok(dbk_models_open(store, &models, &err), &err);
}

static void close_store(void)
{
    dbk_models_free(models);
    dbk_store_free(store);
}

static int set_up(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof(folder), "/tmp/daybook-forget-XXXXXX");
    assert_non_null(mkdtemp(folder));
    (void)snprintf(path, sizeof(path), "%s/reading.db", folder);
    memset(forgotten, 0, sizeof(forgotten));
    memset(hidden, 0, sizeof(hidden));
    category = person_category;
    sim = dbk_sim_create(1);
    open_store();
    return 0;
}

static int remove_one(const char *name, const struct stat *about, int kind, struct FTW *place)
{
    (void)about;
    (void)kind;
    (void)place;
    return remove(name);
}

static int tear_down(void **state)
{
    (void)state;
    close_store();
    dbk_sim_free(sim);
    return nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void append(unsigned person)
{
    struct dbk_append_result result;
    struct dbk_error err = {0};
    char stream[32];
    char tag_text[DBK_KEY_TAG_SIZE + 1];
    struct dbk_uuid key = {.bytes = {(uint8_t)person}};
    dbk_key_tag(&key, tag_text);
    struct dbk_slice tag = dbk_slice_of(tag_text);
    (void)snprintf(stream, sizeof(stream), "person-%u", person);
    struct dbk_new_event event = {.stream = dbk_slice_of(stream),
                                  .type = DBK_SLICE_LITERAL("Named"),
                                  .data = DBK_SLICE_LITERAL("{}"),
                                  .tags = &tag,
                                  .tag_count = 1,
                                  .occurred_us = DBK_TIME_NONE,
                                  .flags = DBK_RECORD_JSON,
                                  .sealed = dbk_slice("\0\0", 2)};
    assert_ok(
        dbk_store_append(store, &(struct dbk_batch){.events = &event, .count = 1}, &result, &err),
        &err);
}

static void add_model(enum dbk_model_personal personal, const char *purge)
{
    struct dbk_error err = {0};
    struct dbk_handler handler = {.file = "models/people/Named.sql",
                                  .line = 1,
                                  .type = DBK_SLICE_LITERAL("Named"),
                                  .sql = dbk_slice_of(insert)};
    struct dbk_personal_field field = {DBK_SLICE_LITERAL("Named"), DBK_SLICE_LITERAL("name")};
    struct dbk_model_definition definition = {.name = "people",
                                              .database = "reading",
                                              .database_path = path,
                                              .sync = DBK_SYNC_EVENTS,
                                              .categories = &category,
                                              .category_count = 1,
                                              .schema_file = "models/people/schema.sql",
                                              .schema = dbk_slice_of(schema),
                                              .handlers = &handler,
                                              .handler_count = 1,
                                              .personal = personal,
                                              .purge_file = "models/people/purge.sql",
                                              .purge = dbk_slice_of(purge),
                                              .personal_fields = &field,
                                              .personal_field_count = 1};
    assert_ok(dbk_models_add(models, &definition, true, &err), &err);
    assert_ok(dbk_models_start(models, &err), &err);
}

static void fill(void)
{
    struct dbk_error err = {0};
    for (unsigned i = 0; i < EVENTS; i++)
        append(i % PERSONS);
    assert_ok(dbk_models_wait(models, "people", dbk_store_last_position(store), WAIT_US, &err),
              &err);
}

static bool is_in_file(const char *suffix, const char *text)
{
    char name[128];
    bool found = false;
    size_t size = strlen(text);
    (void)snprintf(name, sizeof(name), "%s%s", path, suffix);
    FILE *file = fopen(name, "rb");
    if (file == NULL)
        return false;
    (void)fseek(file, 0, SEEK_END);
    long length = ftell(file);
    char *bytes = dbk_alloc((size_t)length + 1);
    rewind(file);
    assert_int_equal(fread(bytes, 1, (size_t)length, file), length);
    (void)fclose(file);
    for (long i = 0; i + (long)size <= length && !found; i++)
        found = memcmp(bytes + i, text, size) == 0;
    dbk_free(bytes);
    return found;
}

static bool is_on_disk(unsigned person)
{
    char text[32];
    (void)snprintf(text, sizeof(text), "secret-of-%03u", person);
    return is_in_file("", text) || is_in_file("-wal", text) || is_in_file("-journal", text);
}

/* Forgets persons 3 and 7 from the log's end on. */
static int forget(bool whole, dbk_progress_fn progress, enum dbk_model_forgot *forgot,
                  struct dbk_error *err)
{
    const struct dbk_slice streams[] = {DBK_SLICE_LITERAL("person-3"),
                                        DBK_SLICE_LITERAL("person-7")};
    static uint64_t position;
    if (!forgotten[3] && !hidden[3]) {
        bool *which = whole ? hidden : forgotten;
        which[3] = which[7] = true;
        append(1); /* stands for SubjectForgotten */
        position = dbk_store_last_position(store);
    }
    struct dbk_forgotten subjects[] = {{.subject = DBK_SLICE_LITERAL("p3"),
                                        .streams = &streams[0],
                                        .stream_count = 1,
                                        .position = position - 1,
                                        .whole = whole},
                                       {.subject = DBK_SLICE_LITERAL("p7"),
                                        .streams = &streams[1],
                                        .stream_count = 1,
                                        .position = position,
                                        .whole = whole}};
    return dbk_models_forget(
        models, 0,
        &(struct dbk_model_forgetting){
            .subjects = subjects, .count = 2, .timeout_us = WAIT_US, .progress = progress},
        forgot, err);
}

static int64_t ask(const char *sql)
{
    struct dbk_connection *connection = NULL;
    struct dbk_statement *statement = NULL;
    struct dbk_error err = {0};
    assert_ok(dbk_connection_open(path, DBK_CONNECT_READ, &connection, &err), &err);
    assert_ok(dbk_target_attach_events(connection, store, &err), &err);
    assert_ok(dbk_statement_open(connection, dbk_slice_of(sql), &statement, NULL, &err), &err);
    assert_int_equal(dbk_statement_step(statement, &err), 1);
    int64_t answer = dbk_statement_column(statement, 0).integer;
    dbk_statement_free(statement);
    dbk_connection_free(connection);
    return answer;
}

static void check_disk(bool forgotten_there, bool others_there)
{
    for (unsigned person = 0; person < PERSONS; person++)
        assert_int_equal(is_on_disk(person),
                         person == 3 || person == 7 ? forgotten_there : others_there);
}

/* ---- The tests ---- */

static void test_model_forget__a_rebuild_leaves_nothing_behind(void **state)
{
    struct dbk_error err = {0};
    enum dbk_model_forgot forgot;
    (void)state;
    add_model(DBK_PERSONAL_REBUILD, "");
    fill();
    check_disk(true, true);
    assert_ok(forget(false, NULL, &forgot, &err), &err);
    assert_int_equal(forgot, DBK_FORGOT_REBUILT);
    check_disk(false, true);
    assert_int_equal(ask("SELECT count(*) FROM people"), EVENTS + 1);
    assert_int_equal(ask("SELECT count(*) FROM people WHERE name = '{\"$forgotten\":\"0\"}'"), 6);
    assert_int_equal(ask("SELECT count(*) FROM _daybook_models"), 1);
    assert_ok(forget(false, NULL, &forgot, &err), &err);
    assert_int_equal(forgot, DBK_FORGOT_NOTHING); /* it is known to be clean */
}

static bool stop_late(void *context, uint64_t done, uint64_t total)
{
    (void)context;
    return done < total;
}

static void test_model_forget__what_was_begun_before_is_not_gone_on_with(void **state)
{
    struct dbk_error err = {0};
    enum dbk_model_forgot forgot;
    (void)state;
    add_model(DBK_PERSONAL_REBUILD, "");
    fill();
    assert_int_equal(dbk_models_rebuild(models, "people", stop_late, NULL, &err), DBK_ESTOPPED);
    assert_int_equal(ask("SELECT count(*) FROM people__g2"), EVENTS);
    assert_int_equal(forget(false, stop_late, &forgot, &err), DBK_ESTOPPED);
    assert_true(is_on_disk(3)); /* generation 1 still serves */
    assert_int_equal(ask("SELECT count(*) FROM people__g2 WHERE name = 'secret-of-003'"), 0);
    /* A restart, and then the one that was begun after it is gone on with. */
    close_store();
    open_store();
    add_model(DBK_PERSONAL_REBUILD, "");
    assert_ok(forget(false, NULL, &forgot, &err), &err);
    assert_int_equal(forgot, DBK_FORGOT_REBUILT);
    assert_int_equal(ask("SELECT generation FROM _daybook_models WHERE serving"), 2);
    check_disk(false, true);
}

struct rebuilding {
    pthread_t thread;
    _Atomic bool done;
    int rc;
    struct dbk_error err;
};

static void *rebuild_people(void *context)
{
    struct rebuilding *rebuilding = context;
    rebuilding->rc = dbk_models_rebuild(models, "people", NULL, NULL, &rebuilding->err);
    atomic_store(&rebuilding->done, true);
    return NULL;
}

static bool is_rebuilding(void)
{
    (void)pthread_mutex_lock(&models->lock);
    bool is = models->items[0]->rebuilding;
    (void)pthread_mutex_unlock(&models->lock);
    return is;
}

/* The rebuild is held at its first write for as long as the database is; who forgets is not. */
static void test_model_forget__does_not_wait_for_a_rebuild(void **state)
{
    static struct rebuilding rebuilding;
    struct dbk_connection *busy = NULL;
    struct dbk_error err = {0};
    (void)state;
    add_model(DBK_PERSONAL_REBUILD, "");
    fill();
    assert_ok(dbk_connection_open(path, DBK_CONNECT_HANDLERS, &busy, &err), &err);
    assert_ok(dbk_connection_begin(busy, DBK_BEGIN_WRITE, &err), &err);
    assert_int_equal(pthread_create(&rebuilding.thread, NULL, rebuild_people, &rebuilding), 0);
    while (!is_rebuilding() && !atomic_load(&rebuilding.done))
        (void)usleep(1000);
    (void)usleep(100000); /* by now it waits for the database */
    dbk_models_hold(models);
    assert_false(atomic_load(&rebuilding.done));
    forgotten[3] = true;
    append(1); /* stands for SubjectForgotten */
    dbk_models_let_go(models);
    assert_ok(dbk_connection_run(busy, "ROLLBACK", &err), &err);
    dbk_connection_free(busy);
    assert_int_equal(pthread_join(rebuilding.thread, NULL), 0);
    assert_ok(rebuilding.rc, &rebuilding.err);
    assert_int_equal(ask("SELECT generation FROM _daybook_models WHERE serving"), 2);
}

static void test_model_forget__statements_take_out_what_they_say(void **state)
{
    struct dbk_error err = {0};
    enum dbk_model_forgot forgot;
    (void)state;
    add_model(DBK_PERSONAL_PURGE,
              "UPDATE people SET name = NULL, data = NULL WHERE person = :_subject;\n"
              "DELETE FROM people WHERE 'person-' || substr(person, 2) = :_stream AND "
              "position < 10");
    fill();
    assert_ok(forget(false, NULL, &forgot, &err), &err);
    assert_int_equal(forgot, DBK_FORGOT_PURGED);
    check_disk(false, true);
    assert_int_equal(ask("SELECT count(*) FROM people"), EVENTS + 1 - 2);
    assert_ok(forget(false, NULL, &forgot, &err), &err);
    assert_int_equal(forgot, DBK_FORGOT_NOTHING);
}

/* The files' next definition no longer names where the subjects' events are. */
static void forget_with_changed_files(enum dbk_model_personal personal, const char *purge,
                                      enum dbk_model_forgot expected)
{
    struct dbk_error err = {0};
    enum dbk_model_forgot forgot;
    add_model(personal, purge);
    fill();
    close_store();
    open_store();
    category = other_category;
    add_model(personal, purge);
    check_disk(true, true);
    assert_ok(forget(false, NULL, &forgot, &err), &err);
    assert_int_equal(forgot, expected);
}

static void test_model_forget__files_that_changed_hide_no_subject_from_a_rebuild(void **state)
{
    (void)state;
    forget_with_changed_files(DBK_PERSONAL_REBUILD, "", DBK_FORGOT_REBUILT);
    check_disk(false, false);
}

static void test_model_forget__files_that_changed_hide_no_subject_from_statements(void **state)
{
    (void)state;
    forget_with_changed_files(DBK_PERSONAL_PURGE,
                              "UPDATE people SET name = NULL, data = NULL WHERE person = :_subject",
                              DBK_FORGOT_PURGED);
    check_disk(false, true);
}

static void test_model_forget__statements_that_fail_leave_all_as_it_was(void **state)
{
    struct dbk_error err = {0};
    enum dbk_model_forgot forgot;
    (void)state;
    add_model(DBK_PERSONAL_PURGE, "DELETE FROM people WHERE person = :_subject;\n"
                                  "INSERT INTO people (position) VALUES (1)");
    fill();
    assert_int_equal(forget(false, NULL, &forgot, &err), DBK_EREFUSED);
    assert_non_null(strstr(err.message, "models/people/purge.sql:2"));
    assert_int_equal(ask("SELECT count(*) FROM people WHERE person = 'p3'"), EVENTS / PERSONS);
}

static void test_model_forget__sealed_fields_never_are_in_it(void **state)
{
    struct dbk_error err = {0};
    enum dbk_model_forgot forgot;
    (void)state;
    add_model(DBK_PERSONAL_SEALED, "");
    fill();
    check_disk(false, false);
    assert_int_equal(ask("SELECT count(*) FROM people WHERE unseal(name) = 'secret-of-003'"),
                     EVENTS / PERSONS);
    assert_int_equal(ask("SELECT count(*) FROM people WHERE "
                         "json_extract(unseal(data), '$.name') = 'secret-of-004'"),
                     EVENTS / PERSONS);
    assert_int_equal(ask("SELECT count(*) FROM people WHERE unseal(person) = 'p3'"),
                     EVENTS / PERSONS);
    assert_ok(forget(false, NULL, &forgot, &err), &err);
    assert_int_equal(forgot, DBK_FORGOT_NOTHING);
    assert_int_equal(ask("SELECT count(*) FROM people WHERE unseal(name) = 'secret-of-003'"), 0);
    assert_int_equal(
        ask("SELECT count(*) FROM people WHERE unseal(name) = '{\"$forgotten\":\"0\"}'"),
        2 * EVENTS / PERSONS);
    assert_int_equal(ask("SELECT unseal('sealed:999999:name') IS NULL AND unseal('sealed:1:none') "
                         "IS NULL AND unseal('sealed:x') = 'sealed:x' AND unseal(5) = 5 AND "
                         "unseal(NULL) IS NULL"),
                     1);
}

static void test_model_forget__whole_subjects_leave_models_of_all_kinds(void **state)
{
    struct dbk_error err = {0};
    enum dbk_model_forgot forgot;
    (void)state;
    add_model(DBK_PERSONAL_NONE, "");
    fill();
    assert_ok(forget(true, NULL, &forgot, &err), &err);
    assert_int_equal(forgot, DBK_FORGOT_REBUILT);
    assert_int_equal(ask("SELECT count(*) FROM people WHERE person IN ('p3', 'p7')"), 0);
    assert_int_equal(ask("SELECT count(*) FROM people"), EVENTS + 1 - 2 * EVENTS / PERSONS);
    check_disk(false, true);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(test_model_forget__##name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_rebuild_leaves_nothing_behind),
        TEST(what_was_begun_before_is_not_gone_on_with),
        TEST(does_not_wait_for_a_rebuild),
        TEST(statements_take_out_what_they_say),
        TEST(files_that_changed_hide_no_subject_from_a_rebuild),
        TEST(files_that_changed_hide_no_subject_from_statements),
        TEST(statements_that_fail_leave_all_as_it_was),
        TEST(sealed_fields_never_are_in_it),
        TEST(whole_subjects_leave_models_of_all_kinds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
