/* SPDX-License-Identifier: Apache-2.0 */
/*
 * forget_test -- a person is forgotten, and the process dies before any step of the job: whoever
 * opens the book next goes on, and in the end no byte of the folder tells the name, all of the
 * others do, and each subject has one certificate.
 *
 * A process of its own runs the job, and ends without a word where it is told to.
 */
#include "test.h"

#include <ftw.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "forget/forget.h"
#include "log/sealed.h"

#define PERSONS 6
#define EVENTS 18
#define DIED 77
#define TEXT_SIZE_MAX ((size_t)1 << 20)

static const char schema_text[] =
    "{\"versions\":[{\"version\":1,\"schema\":{\"type\":\"object\",\"x-subject\":\"who\","
    "\"properties\":{\"who\":{\"type\":\"string\"},"
    "\"name\":{\"type\":\"string\",\"x-personal\":true}}}}]}";
static const char fold_text[] =
    "return { initial = { name = null }, snapshot = { every = 2 }, on = "
    "{ Named = function(state, data) state.name = data.name end } }";
static const char view_text[] = "-- refresh: on demand\n-- database: reading\n"
                                "SELECT who, name FROM people";

static char folder[64];
static char data[80];
static char path[96];
static char as_of[96];
static char snapshots[96];
static struct dbk_schemas *schemas;
static struct dbk_diagnostics faults;

struct book {
    struct dbk_store *store;
    struct dbk_vault *vault;
    struct dbk_lens lens;
    struct dbk_proof *proof;
    struct dbk_folds *folds;
    struct dbk_groups *groups;
    struct dbk_models *models;
    struct dbk_views *views;
    struct dbk_forget *forget;
    pthread_rwlock_t appending;
};

static int open_lens(void *context, void **state, struct dbk_event *event, struct dbk_error *err)
{
    return dbk_vault_open_event(((struct book *)context)->vault, state, event, err);
}

static int upcast_lens(void *context, void **state, struct dbk_event *event, struct dbk_error *err)
{
    (void)context;
    (void)state;
    (void)event;
    (void)err;
    return 1;
}

static void end_lens(void *context, void *state)
{
    (void)context;
    dbk_vault_end(state);
}

static int append_to(void *context, const struct dbk_batch *batch,
                     struct dbk_append_result *result_out, struct dbk_error *err)
{
    return dbk_store_append(((struct book *)context)->store, batch, result_out, err);
}

static void add_models(struct book *book)
{
    struct dbk_error err = {0};
    struct dbk_slice category = DBK_SLICE_LITERAL("person");
    const struct dbk_handler handler = {
        .file = "models/people/Named.sql",
        .line = 1,
        .type = DBK_SLICE_LITERAL("Named"),
        .sql = DBK_SLICE_LITERAL("INSERT INTO people VALUES (:_position, :who, :name)")};
    struct dbk_model_definition model = {
        .name = "people",
        .database = "reading",
        .database_path = path,
        .sync = DBK_SYNC_EVENTS,
        .categories = &category,
        .category_count = 1,
        .schema_file = "models/people/schema.sql",
        .schema =
            DBK_SLICE_LITERAL("CREATE TABLE people (position INTEGER PRIMARY KEY, who, name);"),
        .handlers = &handler,
        .handler_count = 1,
        .personal = DBK_PERSONAL_REBUILD};
    const struct dbk_view_definition view = {.name = "names",
                                             .file = "views/names.sql",
                                             .database = "reading",
                                             .database_path = path,
                                             .sql = dbk_slice_of(view_text)};
    assert_ok(dbk_models_add(book->models, &model, true, &err), &err);
    assert_ok(dbk_views_add(book->views, &view, &model, 1, true, &err), &err);
    assert_ok(dbk_models_start(book->models, &err), &err);
}

static void open_book(struct book *book)
{
    struct dbk_error err = {0};
    struct dbk_os *os = dbk_os_real();
    memset(book, 0, sizeof(*book));
    (void)pthread_rwlock_init(&book->appending, NULL);
    assert_ok(
        dbk_store_open(
            &(struct dbk_store_options){
                .os = os, .folder = data, .writer = true, .segment_size = 4000, .chunk_events = 64},
            &book->store, &err),
        &err);
    assert_ok(dbk_vault_open(
                  &(struct dbk_vault_options){
                      .os = os, .store = book->store, .data = data, .writer = true},
                  &book->vault, &err),
              &err);
    book->lens = (struct dbk_lens){book, open_lens, upcast_lens, end_lens};
    dbk_store_set_lens(book->store, &book->lens);
    assert_ok(dbk_proof_open(&(struct dbk_proof_options){.os = os,
                                                         .store = book->store,
                                                         .folder = data,
                                                         .name = "people",
                                                         .writer = true,
                                                         .interval_us = -1},
                             &book->proof, &err),
              &err);
    assert_ok(dbk_folds_open(book->store, os, snapshots, true, &book->folds, &err), &err);
    assert_ok(dbk_folds_add(book->folds, DBK_SLICE_LITERAL("person"), "folds/person.lua",
                            dbk_slice_of(fold_text), &err),
              &err);
    assert_ok(dbk_groups_open(book->store, os, true, append_to, book, &book->groups, &err), &err);
    assert_ok(dbk_models_open(book->store, &book->models, &err), &err);
    assert_ok(dbk_views_open(book->store, book->models, os, &book->views, &err), &err);
    add_models(book);
    assert_ok(dbk_forget_open(&(struct dbk_forget_options){.os = os,
                                                           .store = book->store,
                                                           .vault = book->vault,
                                                           .schemas = schemas,
                                                           .folds = book->folds,
                                                           .groups = book->groups,
                                                           .models = book->models,
                                                           .views = book->views,
                                                           .proof = book->proof,
                                                           .as_of = as_of,
                                                           .horizon_us = INT64_C(1000000),
                                                           .appending = &book->appending,
                                                           .writer = true},
                              &book->forget, &err),
              &err);
}

static void close_book(struct book *book)
{
    dbk_forget_free(book->forget);
    dbk_views_free(book->views);
    dbk_models_free(book->models);
    dbk_groups_free(book->groups);
    dbk_folds_free(book->folds);
    dbk_proof_free(book->proof);
    dbk_vault_free(book->vault);
    dbk_store_free(book->store);
    (void)pthread_rwlock_destroy(&book->appending);
}

static void append(struct book *book, unsigned person)
{
    struct dbk_error err = {0};
    struct dbk_append_result result;
    struct dbk_arena arena;
    const struct dbk_json_node *root = NULL;
    struct dbk_json *json = dbk_json_create(TEXT_SIZE_MAX);
    char stream[32];
    char text[100];
    (void)snprintf(stream, sizeof(stream), "person-%u", person);
    (void)snprintf(text, sizeof(text), "{\"who\":\"p%u\",\"name\":\"Marker <%03u>\"}", person,
                   person);
    struct dbk_new_event event = {.stream = dbk_slice_of(stream),
                                  .type = DBK_SLICE_LITERAL("Named"),
                                  .data = dbk_slice_of(text),
                                  .occurred_us = DBK_TIME_NONE,
                                  .flags = DBK_RECORD_JSON,
                                  .schema_version = 1};
    dbk_arena_init(&arena, TEXT_SIZE_MAX);
    assert_ok(dbk_json_parse(json, event.data, &root, &err), &err);
    assert_ok(dbk_vault_seal(book->vault, dbk_schemas_newest(schemas, event.type), root, false, 0,
                             &event, &arena, &err),
              &err);
    assert_ok(dbk_vault_sync(book->vault, &err), &err);
    assert_ok(dbk_store_append(book->store, &(struct dbk_batch){.events = &event, .count = 1},
                               &result, &err),
              &err);
    dbk_arena_release(&arena);
    dbk_json_free(json);
}

static int park(const struct dbk_event *event, uint32_t attempt, void *context)
{
    uint64_t *positions = context;
    (void)attempt;
    positions[++positions[0]] = event->position;
    return DBK_OK;
}

/* Everything that can hold a name: states, a view, and parked events. */
static void use(struct book *book)
{
    struct dbk_error err = {0};
    struct dbk_buf state;
    struct dbk_fold_result result;
    uint64_t positions[EVENTS + 2] = {0};
    size_t count = 0;
    bool created = false;
    const struct dbk_json_node *root = NULL;
    struct dbk_json *json = dbk_json_create(1000);
    dbk_buf_init(&state, TEXT_SIZE_MAX);
    for (unsigned person = 0; person < PERSONS; person++) {
        char stream[32];
        (void)snprintf(stream, sizeof(stream), "person-%u", person);
        dbk_buf_reset(&state);
        assert_ok(dbk_fold_state(book->folds, dbk_slice_of(stream), NULL, &state, &result, &err),
                  &err);
    }
    dbk_buf_release(&state);
    assert_ok(dbk_views_refresh(book->views, "names", 0, NULL, NULL, &err), &err);
    assert_ok(dbk_json_parse(json, DBK_SLICE_LITERAL("{\"categories\":[\"person\"]}"), &root, &err),
              &err);
    assert_ok(dbk_group_set(book->groups, DBK_SLICE_LITERAL("g"), root, &created, &err), &err);
    dbk_json_free(json);
    assert_ok(dbk_group_read(book->groups,
                             &(struct dbk_group_read){.name = DBK_SLICE_LITERAL("g"),
                                                      .limit = EVENTS,
                                                      .each = park,
                                                      .context = positions},
                             &count, &err),
              &err);
    for (uint64_t i = 1; i <= positions[0]; i++) {
        char reason[40];
        (void)snprintf(reason, sizeof(reason), "no Marker <%03u>",
                       (unsigned)((positions[i] - 2) % PERSONS));
        assert_ok(dbk_group_answer(book->groups,
                                   &(struct dbk_group_answer){.name = DBK_SLICE_LITERAL("g"),
                                                              .action = DBK_GROUP_PARK,
                                                              .positions = &positions[i],
                                                              .count = 1,
                                                              .reason = dbk_slice_of(reason),
                                                              .delay_us = -1},
                                   &count, &err),
                  &err);
    }
}

static bool found[PERSONS];

/* Notes of whom a file tells. */
static int look(const char *name, const struct stat *about, int kind, struct FTW *place)
{
    (void)place;
    if (kind != FTW_F)
        return 0;
    FILE *file = fopen(name, "rb");
    if (file == NULL)
        return 0;
    size_t size = (size_t)about->st_size;
    char *bytes = malloc(size + 1);
    size = fread(bytes, 1, size, file);
    (void)fclose(file);
    for (unsigned person = 0; person < PERSONS; person++) {
        char text[20];
        (void)snprintf(text, sizeof(text), "Marker <%03u>", person);
        found[person] = found[person] || memmem(bytes, size, text, strlen(text)) != NULL;
    }
    free(bytes);
    return 0;
}

static void look_at_all(void)
{
    memset(found, 0, sizeof(found));
    assert_int_equal(nftw(folder, look, 8, FTW_PHYS), 0);
}

static int remove_one(const char *name, const struct stat *about, int kind, struct FTW *place)
{
    (void)about;
    (void)kind;
    (void)place;
    return remove(name);
}

static void make_folder(void)
{
    (void)snprintf(folder, sizeof(folder), "/tmp/daybook-forget-XXXXXX");
    assert_non_null(mkdtemp(folder));
    (void)snprintf(data, sizeof(data), "%s/data", folder);
    (void)snprintf(path, sizeof(path), "%s/reading.db", data);
    (void)snprintf(as_of, sizeof(as_of), "%s/as-of", data);
    (void)snprintf(snapshots, sizeof(snapshots), "%s/snapshots", data);
}

static int set_up(void **state)
{
    struct dbk_error err = {0};
    (void)state;
    dbk_diagnostics_init(&faults);
    schemas = dbk_schemas_create();
    assert_ok(dbk_schemas_add(schemas, "Named", "events/Named.schema.json",
                              dbk_slice_of(schema_text), &faults, &err),
              &err);
    assert_ok(dbk_schemas_finish(schemas, &faults, &err), &err);
    assert_int_equal(faults.count, 0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    dbk_schemas_free(schemas);
    dbk_diagnostics_release(&faults);
    return 0;
}

/* ---- The job, and where it dies ---- */

struct limit {
    unsigned steps; /* it dies before the step after so many */
    unsigned seen;
};

static bool die(void *context, const struct dbk_forget_progress *progress)
{
    struct limit *limit = context;
    (void)progress;
    if (limit->seen++ == limit->steps)
        _exit(DIED);
    return true;
}

static struct dbk_uuid keys[PERSONS];

static int forget(struct book *book, unsigned person, enum dbk_forget_mode mode,
                  struct dbk_error *err)
{
    char subject[8];
    (void)snprintf(subject, sizeof(subject), "p%u", person);
    return dbk_forget_subject(
        book->forget, &(struct dbk_forget_request){.subject = dbk_slice_of(subject), .mode = mode},
        &keys[person], err);
}

/* In a process of its own: true when it came through. */
static bool run_and_die(unsigned steps, bool begins)
{
    pid_t child = fork();
    if (child == 0) {
        struct book book;
        struct dbk_error err = {0};
        struct limit limit = {.steps = steps};
        open_book(&book);
        if (begins && (forget(&book, 1, DBK_FORGET_ERASE, &err) < 0 ||
                       forget(&book, 4, DBK_FORGET_ERASE, &err) < 0))
            _exit(1);
        int rc = dbk_forget_run(
            book.forget, &(struct dbk_forget_run){.now = true, .progress = die, .context = &limit},
            &err);
        if (rc < 0)
            (void)fprintf(stderr, "%s\n", err.message);
        _exit(rc < 0 ? 1 : 0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_true(WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == DIED);
    return WEXITSTATUS(status) == 0;
}

struct seen {
    unsigned final;
    unsigned others;
};

static int count_one(const struct dbk_forget_status *status, void *context)
{
    struct seen *seen = context;
    if (status->erased != 0 && status->purged != 0 && status->rotated && status->ciphertext_removed)
        seen->final++;
    else
        seen->others++;
    return DBK_OK;
}

static uint64_t count_events(struct book *book, const char *name)
{
    struct dbk_error err = {0};
    struct dbk_cursor *cursor = NULL;
    struct dbk_event event;
    struct dbk_slice type = dbk_slice_of(name);
    uint64_t count = 0;
    assert_ok(dbk_cursor_open(book->store,
                              &(struct dbk_filter){
                                  .types = &type, .type_count = 1, .hidden = true, .raw = true},
                              &cursor, &err),
              &err);
    while (dbk_cursor_next(cursor, &event, &err) == 1)
        count++;
    dbk_cursor_free(cursor);
    return count;
}

static void check_whole(void)
{
    struct book book;
    struct dbk_error err = {0};
    struct seen seen = {0};
    struct dbk_forget_counts counts;
    struct dbk_uuid *left = NULL;
    size_t count = 0;
    open_book(&book);
    assert_ok(
        dbk_models_wait(book.models, "people", dbk_store_last_position(book.store), 10000000, &err),
        &err);
    assert_ok(dbk_forget_list(book.forget, count_one, &seen, &err), &err);
    assert_int_equal(seen.final, 2);
    assert_int_equal(seen.others, 0);
    dbk_forget_counts(book.forget, &counts);
    assert_int_equal(counts.waiting, 0);
    assert_ok(dbk_forget_ciphertexts(book.forget, &left, &count, &err), &err);
    assert_int_equal(count, 0);
    assert_int_equal(count_events(&book, "SubjectForgotten"), 2);
    assert_int_equal(count_events(&book, "SubjectErased"), 2);
    assert_int_equal(count_events(&book, "Named"), EVENTS);
    close_book(&book);
    look_at_all();
    for (unsigned person = 0; person < PERSONS; person++)
        assert_int_equal(found[person], person != 1 && person != 4);
}

static void test_forget_forget__goes_on_wherever_it_died(void **state)
{
    (void)state;
    bool through = false;
    for (unsigned steps = 0; !through; steps++) {
        struct book book;
        make_folder();
        open_book(&book);
        for (unsigned i = 0; i < EVENTS; i++)
            append(&book, i % PERSONS);
        use(&book);
        close_book(&book);
        look_at_all();
        for (unsigned person = 0; person < PERSONS; person++)
            assert_true(found[person]);
        through = run_and_die(steps, true);
        /* And once more, one step later. */
        if (!through && !run_and_die(steps + 1, false))
            assert_true(run_and_die(1000, false));
        check_whole();
        assert_int_equal(nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
        assert_true(steps > 8 || !through);
    }
}

/* ---- What is answered ---- */

static void test_forget_forget__names_what_cannot_be(void **state)
{
    struct book book;
    struct dbk_error err = {0};
    struct dbk_buf note;
    (void)state;
    make_folder();
    open_book(&book);
    for (unsigned i = 0; i < EVENTS; i++)
        append(&book, i % PERSONS);
    dbk_buf_init(&note, TEXT_SIZE_MAX);
    assert_int_equal(
        dbk_forget_subject(book.forget,
                           &(struct dbk_forget_request){.subject = DBK_SLICE_LITERAL("nobody")},
                           &keys[0], &err),
        DBK_ENOTFOUND);
    assert_int_equal(dbk_forget_certificate(book.forget, &keys[0], &note, &err), DBK_ENOTFOUND);
    assert_ok(forget(&book, 0, DBK_FORGET_TOMBSTONE, &err), &err);
    assert_int_equal(forget(&book, 0, DBK_FORGET_TOMBSTONE, &err), DBK_ENOTFOUND);
    assert_ok(forget(&book, 1, DBK_FORGET_ERASE, &err), &err);
    assert_int_equal(forget(&book, 1, DBK_FORGET_ERASE, &err), DBK_ENOTFOUND);
    assert_int_equal(dbk_forget_certificate(book.forget, &keys[1], &note, &err), DBK_ENOTFOUND);
    assert_ok(dbk_forget_run(book.forget, &(struct dbk_forget_run){0}, &err), &err);
    /* A tombstone waits for no epoch. */
    assert_ok(dbk_forget_certificate(book.forget, &keys[0], &note, &err), &err);
    assert_int_equal(dbk_forget_certificate(book.forget, &keys[1], &note, &err), DBK_ENOTFOUND);
    assert_non_null(strstr(err.message, "epoch"));
    /* It may become an erasure. */
    assert_ok(forget(&book, 0, DBK_FORGET_ERASE, &err), &err);
    assert_int_equal(dbk_forget_certificate(book.forget, &keys[0], &note, &err), DBK_ENOTFOUND);
    assert_ok(dbk_forget_run(book.forget, &(struct dbk_forget_run){.now = true}, &err), &err);
    struct seen seen = {0};
    assert_ok(dbk_forget_list(book.forget, count_one, &seen, &err), &err);
    assert_int_equal(seen.final, 2);
    assert_int_equal(seen.others, 0);
    /* Who appends again begins with another key. */
    struct dbk_uuid before = keys[1];
    append(&book, 1);
    assert_ok(forget(&book, 1, DBK_FORGET_ERASE, &err), &err);
    assert_false(dbk_uuid_equal(&before, &keys[1]));
    dbk_buf_release(&note);
    close_book(&book);
    assert_int_equal(nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_forget_forget__goes_on_wherever_it_died, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_forget_forget__names_what_cannot_be, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
