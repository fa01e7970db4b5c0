/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vault_test -- events with personal fields through a store: sealed, opened, forgotten, repeated.
 *
 * The writer and, where there are two processes, the reader are stores of one folder on the real
 * disk, each with a vault of its own.
 */
#include "test.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/diagnostics.h"
#include "log/sealed.h"
#include "vault/vault.h"

static const char schema_text[] =
    "{\"versions\":[{\"version\":1,\"schema\":{\"type\":\"object\",\"x-subject\":\"who\","
    "\"properties\":{\"who\":{\"type\":\"string\"},\"amount\":{\"type\":\"integer\"},"
    "\"name\":{\"type\":\"string\",\"x-personal\":true},"
    "\"lines\":{\"type\":\"array\",\"items\":{\"type\":\"object\",\"properties\":"
    "{\"note\":{\"type\":\"string\",\"x-personal\":true}}}}}}}]}";
#define DATA "{\"who\":\"ann\",\"name\":\"Ann Marker\",\"amount\":5,\"lines\":[{\"note\":\"n\"}]}"
#define OPENED "{\"who\":\"ann\",\"amount\":5,\"lines\":[{\"note\":\"n\"}],\"name\":\"Ann Marker\"}"

static char folder[64];
static struct dbk_schemas *schemas;
static struct dbk_json *json;
static struct dbk_arena arena;

struct book {
    struct dbk_store *store;
    struct dbk_vault *vault;
    struct dbk_lens lens;
};

static int open_lens(void *context, void **state, struct dbk_event *event, struct dbk_error *err)
{
    struct book *book = context;
    return dbk_vault_open_event(book->vault, state, event, err);
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

static int try_open(struct book *book, bool writer, struct dbk_error *err)
{
    struct dbk_os *os = dbk_os_real();
    memset(book, 0, sizeof(*book));
    int rc = dbk_store_open(
        &(struct dbk_store_options){.os = os, .folder = folder, .writer = writer, .holder = "test"},
        &book->store, err);
    if (rc == DBK_OK)
        rc = dbk_vault_open(
            &(struct dbk_vault_options){
                .os = os, .store = book->store, .data = folder, .writer = writer},
            &book->vault, err);
    book->lens = (struct dbk_lens){book, open_lens, upcast_lens, end_lens};
    if (rc == DBK_OK)
        dbk_store_set_lens(book->store, &book->lens);
    return rc;
}

static void close_book(struct book *book)
{
    dbk_vault_free(book->vault);
    dbk_store_free(book->store);
}

static void open_book(struct book *book, bool writer)
{
    struct dbk_error err = {0};
    assert_ok(try_open(book, writer, &err), &err);
}

static int append_as(struct book *book, bool carried, const char *id, const char *data,
                     struct dbk_append_result *result, struct dbk_error *err)
{
    const struct dbk_json_node *nodes = NULL;
    const struct dbk_slice tags[] = {DBK_SLICE_LITERAL("!vip")};
    struct dbk_new_event event = {.stream = DBK_SLICE_LITERAL("order-1"),
                                  .type = DBK_SLICE_LITERAL("Placed"),
                                  .data = dbk_slice_of(data),
                                  .tags = tags,
                                  .tag_count = 1,
                                  .occurred_us = DBK_TIME_NONE,
                                  .flags = DBK_RECORD_JSON};
    dbk_arena_reset(&arena);
    if (id != NULL)
        memcpy(event.id.bytes, id, DBK_UUID_SIZE);
    assert_ok(dbk_json_parse(json, event.data, &nodes, err), err);
    int rc = dbk_vault_seal(book->vault, dbk_schemas_newest(schemas, event.type), nodes, carried, 0,
                            &event, &arena, err);
    if (rc == DBK_OK)
        rc = dbk_vault_sync(book->vault, err);
    struct dbk_batch batch = {.events = &event, .count = 1};
    return rc < 0 ? rc : dbk_store_append(book->store, &batch, result, err);
}

static int append(struct book *book, const char *id, const char *data,
                  struct dbk_append_result *result, struct dbk_error *err)
{
    return append_as(book, false, id, data, result, err);
}

static void append_data(struct book *book, const char *data)
{
    struct dbk_error err = {0};
    struct dbk_append_result result;
    assert_ok(append(book, NULL, data, &result, &err), &err);
}

/* The data of all events that a reader sees, one after the other, and their tags. */
static char *read_all(struct book *book, bool raw)
{
    static char text[4096];
    struct dbk_cursor *cursor = NULL;
    struct dbk_event event;
    struct dbk_error err = {0};
    size_t size = 0;
    int rc = dbk_cursor_open(book->store, &(struct dbk_filter){.raw = raw}, &cursor, &err);
    assert_ok(rc, &err);
    text[0] = '\0';
    while ((rc = dbk_cursor_next(cursor, &event, &err)) == 1)
        size +=
            (size_t)snprintf(text + size, sizeof(text) - size, "%.*s", DBK_SLICE_ARGS(event.data));
    assert_ok(rc, &err);
    dbk_cursor_free(cursor);
    return text;
}

static void forget(struct book *book, const char *subject, enum dbk_forget_mode mode)
{
    struct dbk_error err = {0};
    struct dbk_uuid key;
    struct dbk_append_result result;
    char tag[DBK_KEY_TAG_SIZE + 1];
    char data[128];
    assert_ok(dbk_vault_find_subject(book->vault, dbk_slice_of(subject), &key, &err), &err);
    dbk_key_tag(&key, tag);
    (void)snprintf(data, sizeof(data), "{\"key\":\"%s\",\"mode\":\"%s\"}", tag + 5,
                   dbk_forget_mode_text(mode));
    struct dbk_new_event event = {.stream = DBK_SLICE_LITERAL(DBK_SUBJECTS_STREAM),
                                  .type = DBK_SLICE_LITERAL("SubjectForgotten"),
                                  .data = dbk_slice_of(data),
                                  .occurred_us = DBK_TIME_NONE,
                                  .flags = DBK_RECORD_JSON};
    struct dbk_batch batch = {.events = &event, .count = 1, .flags = DBK_APPEND_OWN};
    assert_ok(dbk_store_append(book->store, &batch, &result, &err), &err);
    assert_ok(dbk_vault_forget(book->vault, &key, 1, mode, &err), &err);
}

static int remove_all(const char *path)
{
    char command[256];
    (void)snprintf(command, sizeof(command), "rm -rf '%s'", path);
    return system(command);
}

static int set_up(void **state)
{
    (void)state;
    struct dbk_diagnostics faults;
    struct dbk_error err = {0};
    (void)snprintf(folder, sizeof(folder), "/tmp/dbk-vault-XXXXXX");
    dbk_diagnostics_init(&faults);
    schemas = dbk_schemas_create();
    json = dbk_json_create(1 << 20);
    dbk_arena_init(&arena, 64 << 20);
    bool ok = mkdtemp(folder) != NULL && schemas != NULL && json != NULL &&
              dbk_schemas_add(schemas, "Placed", "events/Placed.schema.json",
                              DBK_SLICE_LITERAL(schema_text), &faults, &err) == DBK_OK &&
              dbk_schemas_finish(schemas, &faults, &err) == DBK_OK && faults.error_count == 0;
    dbk_diagnostics_release(&faults);
    return ok ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    dbk_schemas_free(schemas);
    dbk_json_free(json);
    dbk_arena_release(&arena);
    return remove_all(folder);
}

/* ---- Tests ---- */

static void test_vault_vault__fields_are_sealed_and_opened(void **state)
{
    (void)state;
    struct book book;
    struct stat status;
    char path[128];
    open_book(&book, true);
    (void)snprintf(path, sizeof(path), "%s/keys", folder);
    assert_int_equal(stat(path, &status), -1); /* not before there is a subject */
    append_data(&book, DATA);
    assert_string_equal(read_all(&book, true), "{\"who\":\"ann\",\"amount\":5,\"lines\":[{}]}");
    assert_string_equal(read_all(&book, false), OPENED);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0700);
    close_book(&book);
    open_book(&book, true);
    assert_string_equal(read_all(&book, false), OPENED);
    close_book(&book);
    (void)snprintf(path, sizeof(path), "! grep -rq 'Ann Marker' '%s'", folder);
    assert_int_equal(system(path), 0);
}

static void test_vault_vault__an_event_without_a_subject_is_refused(void **state)
{
    (void)state;
    struct book book;
    struct dbk_error err = {0};
    struct dbk_append_result result;
    open_book(&book, true);
    assert_int_equal(append(&book, NULL, "{\"name\":\"x\"}", &result, &err), DBK_EINVAL);
    assert_string_equal(err.message,
                        "event 0: Placed belongs to a subject, and its who, which names it, is "
                        "missing");
    assert_int_equal(append(&book, NULL, "{\"who\":true}", &result, &err), DBK_EINVAL);
    assert_non_null(strstr(err.message, "is neither a text nor a whole number"));
    assert_int_equal(append(&book, NULL, "7", &result, &err), DBK_EINVAL);
    close_book(&book);
}

static void test_vault_vault__a_repeated_append_is_known(void **state)
{
    (void)state;
    static const char id[] = "0123456789abcdef";
    struct book book;
    struct dbk_error err = {0};
    struct dbk_append_result result;
    open_book(&book, true);
    assert_ok(append(&book, id, DATA, &result, &err), &err);
    uint64_t position = result.first_position;
    assert_ok(append(&book, id, DATA, &result, &err), &err);
    assert_true(result.known);
    assert_int_equal(result.first_position, position);
    assert_int_equal(append(&book, id,
                            "{\"who\":\"ann\",\"name\":\"Other\",\"amount\":5,"
                            "\"lines\":[{\"note\":\"n\"}]}",
                            &result, &err),
                     DBK_ECONFLICT);
    /* Forgotten: by the id alone, and no key is made for the subject again. */
    forget(&book, "ann", DBK_FORGET_ERASE);
    assert_ok(append(&book, id, DATA, &result, &err), &err);
    assert_true(result.known);
    struct dbk_uuid key;
    assert_int_equal(dbk_vault_find_subject(book.vault, DBK_SLICE_LITERAL("ann"), &key, &err),
                     DBK_ENOTFOUND);
    /* A subject that comes back has a key of its own; what was sealed before stays as it is. */
    append_data(&book, DATA);
    assert_ok(append(&book, id, DATA, &result, &err), &err);
    assert_true(result.known);
    assert_non_null(strstr(read_all(&book, false), "{\"who\":\"ann\",\"amount\":5,\"lines\":"
                                                   "[{\"note\":\"n\"}],\"name\":\"Ann Marker\"}"));
    close_book(&book);
}

static void test_vault_vault__what_was_forgotten_reads_as_such_in_all_processes(void **state)
{
    (void)state;
    struct book book;
    struct book beside;
    struct dbk_error err = {0};
    struct dbk_uuid key;
    char expected[256];
    char tag[DBK_KEY_TAG_SIZE + 1];
    open_book(&book, true);
    open_book(&beside, false); /* before there are keys */
    append_data(&book, DATA);
    assert_string_equal(read_all(&beside, false), OPENED);
    append_data(&book, "{\"who\":\"bob\",\"name\":\"Bob\"}");
    assert_string_equal(read_all(&beside, false), OPENED "{\"who\":\"bob\",\"name\":\"Bob\"}");
    assert_ok(dbk_vault_find_subject(book.vault, DBK_SLICE_LITERAL("ann"), &key, &err), &err);
    dbk_key_tag(&key, tag);
    forget(&book, "ann", DBK_FORGET_ERASE);
    (void)snprintf(expected, sizeof(expected),
                   "{\"who\":\"ann\",\"amount\":5,\"lines\":[{\"note\":{\"$forgotten\":\"%s\"}}],"
                   "\"name\":{\"$forgotten\":\"%s\"}}{\"who\":\"bob\",\"name\":\"Bob\"}",
                   tag + 5, tag + 5);
    assert_string_equal(read_all(&beside, false), expected);
    assert_string_equal(read_all(&book, false), expected);
    uint64_t epoch = 0;
    assert_ok(dbk_vault_rotate(book.vault, &epoch, &err), &err);
    assert_int_equal(epoch, 2);
    assert_string_equal(read_all(&beside, false), expected);
    append_data(&book, "{\"who\":\"cem\",\"name\":\"Cem\"}");
    assert_non_null(strstr(read_all(&beside, false), "Cem"));
    assert_int_equal(dbk_vault_key_state(beside.vault, &key), DBK_KEY_ERASED);
    close_book(&beside);
    close_book(&book);
    open_book(&book, true);
    assert_non_null(strstr(read_all(&book, false), expected));
    close_book(&book);
}

static void test_vault_vault__a_tombstone_leaves_events_out(void **state)
{
    (void)state;
    struct book book;
    struct book beside;
    open_book(&book, true);
    append_data(&book, DATA);
    append_data(&book, "{\"who\":\"bob\",\"name\":\"Bob\"}");
    append_data(&book, "{\"who\":\"ann\"}"); /* nothing to seal, and hers all the same */
    open_book(&beside, false);
    forget(&book, "ann", DBK_FORGET_TOMBSTONE);
    assert_string_equal(read_all(&book, false), "{\"who\":\"bob\",\"name\":\"Bob\"}");
    assert_string_equal(read_all(&beside, false), "{\"who\":\"bob\",\"name\":\"Bob\"}");
    close_book(&beside);
    close_book(&book);
    open_book(&book, false);
    assert_string_equal(read_all(&book, false), "{\"who\":\"bob\",\"name\":\"Bob\"}");
    close_book(&book);
}

/* What was forgotten in another book is forgotten in this one, which never had its key. */
static void test_vault_vault__what_was_forgotten_elsewhere_stays_so(void **state)
{
    (void)state;
#define MARK "{\"$forgotten\":\"00112233445566778899aabbccddeeff\"}"
    static const char all[] = "{\"who\":\"ann\",\"lines\":[{\"note\":" MARK "}],\"name\":" MARK "}";
    static const char some[] = "{\"who\":\"bob\",\"lines\":[{\"note\":" MARK "}],\"name\":\"Bob\"}";
    struct book book;
    struct dbk_error err = {0};
    struct dbk_append_result result;
    struct dbk_uuid key;
    char text[512];
    open_book(&book, true);
    assert_ok(append_as(&book, true, "0123456789abcdef", all, &result, &err), &err);
    assert_string_equal(read_all(&book, true), "{\"who\":\"ann\",\"lines\":[{}]}");
    assert_string_equal(read_all(&book, false), all);
    /* The same again is the same, and nobody got a key. */
    assert_ok(append_as(&book, true, "0123456789abcdef", all, &result, &err), &err);
    assert_int_equal(result.appended, 0);
    assert_int_equal(dbk_vault_find_subject(book.vault, DBK_SLICE_LITERAL("ann"), &key, &err),
                     DBK_ENOTFOUND);
    assert_ok(append_as(&book, true, NULL, some, &result, &err), &err);
    (void)snprintf(text, sizeof(text), "%s%s", all, some);
    assert_string_equal(read_all(&book, false), text);
    forget(&book, "bob", DBK_FORGET_ERASE);
    close_book(&book);
    open_book(&book, true);
    assert_int_equal(dbk_vault_find_subject(book.vault, DBK_SLICE_LITERAL("bob"), &key, &err),
                     DBK_ENOTFOUND);
    assert_non_null(strstr(read_all(&book, false), MARK "}],\"name\":{\"$forgotten\":"));
    /* Given by a caller, it is a value as any other. */
    assert_ok(append(&book, NULL, "{\"who\":\"cy\",\"name\":" MARK "}", &result, &err), &err);
    assert_ok(dbk_vault_find_subject(book.vault, DBK_SLICE_LITERAL("cy"), &key, &err), &err);
    close_book(&book);
#undef MARK
}

/* While a migration fills the book the log does not tell of the epoch; afterwards it does. */
static void test_vault_vault__an_epoch_is_told_when_the_log_takes_it(void **state)
{
    (void)state;
    static const char *const types[] = {"MigrationCopied", "MigrationSwitched"};
    struct book book;
    struct dbk_error err = {0};
    struct dbk_append_result result;
    uint64_t version = 0;
    for (int i = 0; i < 2; i++) {
        struct dbk_new_event event = {.stream = DBK_SLICE_LITERAL("$migration"),
                                      .type = dbk_slice_of(types[i]),
                                      .data = DBK_SLICE_LITERAL("{}"),
                                      .time_us = 1000 + i,
                                      .occurred_us = DBK_TIME_NONE,
                                      .flags = DBK_RECORD_JSON};
        struct dbk_batch batch = {.events = &event, .count = 1, .flags = DBK_APPEND_MIGRATED};
        struct dbk_new_event sealed = {.type = DBK_SLICE_LITERAL("Placed"),
                                       .stream = DBK_SLICE_LITERAL("order-1"),
                                       .data = DBK_SLICE_LITERAL(DATA)};
        const struct dbk_json_node *nodes = NULL;
        open_book(&book, true);
        dbk_vault_hold_epochs(book.vault);
        /* Killed with a key and no event: the book is empty, and stays so when it is opened. */
        assert_ok(dbk_json_parse(json, sealed.data, &nodes, &err), &err);
        assert_ok(dbk_vault_seal(book.vault, dbk_schemas_newest(schemas, sealed.type), nodes, true,
                                 0, &sealed, &arena, &err),
                  &err);
        assert_ok(dbk_vault_sync(book.vault, &err), &err);
        close_book(&book);
        open_book(&book, true);
        assert_int_equal(dbk_store_last_position(book.store), i);
        dbk_vault_hold_epochs(book.vault);
        assert_ok(dbk_store_append(book.store, &batch, &result, &err), &err);
        close_book(&book);
        open_book(&book, true);
        assert_ok(dbk_store_stream_version(book.store, DBK_SLICE_LITERAL(DBK_SUBJECTS_STREAM),
                                           &version, &err),
                  &err);
        assert_int_equal(version, i);
        close_book(&book);
    }
}

static void test_vault_vault__missing_keys_are_refused_at_open(void **state)
{
    (void)state;
    struct book book;
    struct dbk_error err = {0};
    char path[128];
    open_book(&book, true);
    append_data(&book, DATA);
    close_book(&book);
    (void)snprintf(path, sizeof(path), "%s/keys", folder);
    assert_int_equal(remove_all(path), 0);
    for (int writer = 0; writer < 2; writer++) {
        assert_int_equal(try_open(&book, writer == 1, &err), DBK_ENOTFOUND);
        assert_non_null(
            strstr(err.message, "subjects.keys is missing, and the log tells of epoch 1"));
        close_book(&book);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_vault_vault__fields_are_sealed_and_opened, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_vault_vault__an_event_without_a_subject_is_refused,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_vault_vault__a_repeated_append_is_known, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(
            test_vault_vault__what_was_forgotten_reads_as_such_in_all_processes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_vault_vault__a_tombstone_leaves_events_out, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_vault_vault__what_was_forgotten_elsewhere_stays_so,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_vault_vault__an_epoch_is_told_when_the_log_takes_it,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_vault_vault__missing_keys_are_refused_at_open, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
