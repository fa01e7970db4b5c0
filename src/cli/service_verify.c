/* SPDX-License-Identifier: Apache-2.0 */
/* service verify: what services can do, by trying. */
#include <stdio.h>

#include "cli/commands.h"
#include "cli/fail.h"
#include "cli/schema_rows.h"
#include "cli/service_files.h"
#include "cli/service_log.h"

#define MEMORY_MAX ((size_t)1 << 30)

static void put(struct dbk_buf *row, bool *first, const char *key, const char *text)
{
    dbk_json_write_key(row, first, key);
    if (text == NULL)
        dbk_buf_append_text(row, "null");
    else
        dbk_json_write_string(row, dbk_slice_of(text));
}

static bool is_surprise(const struct dbk_attempt *attempt)
{
    return !attempt->untested && attempt->got != attempt->expected;
}

static void put_row(struct dbk_buf *row, const char *database, const struct dbk_attempt *attempt)
{
    bool first = true;
    dbk_buf_append_char(row, '{');
    put(row, &first, "database", database);
    put(row, &first, "service", attempt->service);
    put(row, &first, "thing", attempt->thing);
    put(row, &first, "action", attempt->action);
    put(row, &first, "expected", attempt->expected ? "yes" : "no");
    put(row, &first, "got", attempt->untested ? "unknown" : attempt->got ? "yes" : "no");
    put(row, &first, "how", attempt->untested ? "untested" : attempt->asked ? "asked" : "tried");
    dbk_json_write_key(row, &first, "surprise");
    dbk_buf_append_text(row, is_surprise(attempt) ? "true" : "false");
    put(row, &first, "why", attempt->why);
    put(row, &first, "statement", attempt->sql);
    dbk_buf_append_char(row, '}');
}

struct verifying {
    const struct dbk_arguments *arguments;
    const struct dbk_book *book;
    struct dbk_schema_rows rows;
    size_t surprises;
    size_t untested;
};

/* What is tried in one place. */
typedef int (*verify_fn)(const struct verifying *verifying,
                         const struct dbk_book_database *database, struct dbk_attempts *attempts,
                         struct dbk_error *err);

static int try_database(const struct verifying *verifying, const struct dbk_book_database *database,
                        struct dbk_attempts *attempts, struct dbk_error *err)
{
    struct dbk_placement_scope scope = dbk_service_scope(verifying->book, database);
    return dbk_placement_verify(&scope, attempts, err);
}

static int try_files(const struct verifying *verifying, const struct dbk_book_database *database,
                     struct dbk_attempts *attempts, struct dbk_error *err)
{
    struct dbk_files_scope scope;
    (void)database;
    int rc = dbk_service_files_scope(verifying->arguments, verifying->book, attempts->arena, &scope,
                                     err);
    if (rc == DBK_OK)
        rc = dbk_files_verify(&scope, attempts, err);
    return rc < 0 ? rc
                  : dbk_service_fences_verify(verifying->arguments, verifying->book, attempts, err);
}

static int try_log(const struct verifying *verifying, const struct dbk_book_database *database,
                   struct dbk_attempts *attempts, struct dbk_error *err)
{
    (void)database;
    return dbk_service_log_is_wanted(verifying->arguments, verifying->book)
               ? dbk_service_log_verify(verifying->arguments, verifying->book, attempts, err)
               : DBK_OK;
}

static int verify(struct verifying *verifying, const char *name, verify_fn try,
                  const struct dbk_book_database *database, struct dbk_error *err)
{
    struct dbk_arena arena;
    struct dbk_attempts attempts = {.arena = &arena};
    dbk_arena_init(&arena, MEMORY_MAX);
    int rc = try(verifying, database, &attempts, err);
    for (size_t i = 0; rc == DBK_OK && i < attempts.count; i++) {
        const struct dbk_attempt *attempt = &attempts.items[i];
        if (dbk_arguments_has(verifying->arguments, "surprises") && !is_surprise(attempt))
            continue;
        put_row(&verifying->rows.row, name, attempt);
        rc = dbk_schema_rows_put(&verifying->rows, err);
    }
    verifying->surprises += attempts.surprises;
    verifying->untested += attempts.untested;
    dbk_arena_release(&arena);
    return rc;
}

static int verify_all(struct verifying *verifying, struct dbk_error *err)
{
    static const char *const columns[] = {"service", "thing", "action", "expected",
                                          "got",     "how",   "why",    NULL};
    const struct dbk_book *book = verifying->book;
    const struct dbk_arguments *arguments = verifying->arguments;
    int rc = dbk_schema_rows_open(arguments, columns, &verifying->rows, err);
    if (rc == DBK_OK)
        rc = dbk_service_check_names(arguments, book, err);
    for (size_t i = 0; rc >= 0 && i < book->database_count; i++) {
        const struct dbk_book_database *database = &book->databases[i];
        if (!dbk_service_is_wanted(arguments, book, database->name))
            continue;
        rc = dbk_service_has_grants(book, database, err);
        if (rc == 1)
            rc = verify(verifying, database->name, try_database, database, err);
    }
    if (rc >= 0)
        rc = verify(verifying, DBK_SERVICE_FILES, try_files, NULL, err);
    if (rc >= 0)
        rc = verify(verifying, DBK_SERVICE_LOG, try_log, NULL, err);
    if (rc >= 0)
        rc = dbk_schema_rows_end(&verifying->rows, err);
    dbk_schema_rows_close(&verifying->rows);
    return rc;
}

int dbk_run_service_verify(const struct dbk_arguments *arguments)
{
    struct dbk_error err = {0};
    struct dbk_place place;
    struct dbk_book *book = NULL;
    struct verifying verifying = {.arguments = arguments};
    int rc = dbk_place_find(arguments, &place, &err);
    if (rc == DBK_OK)
        rc = dbk_place_load(&place, &book, &err);
    verifying.book = book;
    if (rc == DBK_OK)
        rc = verify_all(&verifying, &err);
    if (rc == DBK_OK && verifying.surprises > 0)
        rc = dbk_error_set(&err, DBK_EREFUSED, "%zu of it went otherwise than expected",
                           verifying.surprises);
    else if (rc == DBK_OK && verifying.untested > 0)
        rc = dbk_error_set(&err, DBK_EREFUSED,
                           "%zu of it could not be tried, and nothing is known of it",
                           verifying.untested);
    dbk_book_free(book);
    return rc < 0 ? dbk_fail(arguments, &err) : DBK_EXIT_OK;
}
