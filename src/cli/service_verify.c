/* SPDX-License-Identifier: Apache-2.0 */
/* service verify: what services can do, by trying. */
#include <stdio.h>

#include "cli/commands.h"
#include "cli/fail.h"
#include "cli/schema_rows.h"
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

static void put_row(struct dbk_buf *row, const char *database, const struct dbk_attempt *attempt)
{
    bool first = true;
    dbk_buf_append_char(row, '{');
    put(row, &first, "database", database);
    put(row, &first, "service", attempt->service);
    put(row, &first, "thing", attempt->thing);
    put(row, &first, "action", attempt->action);
    put(row, &first, "expected", attempt->expected ? "yes" : "no");
    put(row, &first, "got", attempt->got ? "yes" : "no");
    put(row, &first, "how", attempt->asked ? "asked" : "tried");
    dbk_json_write_key(row, &first, "surprise");
    dbk_buf_append_text(row, attempt->expected == attempt->got ? "false" : "true");
    put(row, &first, "why", attempt->why);
    put(row, &first, "statement", attempt->sql);
    dbk_buf_append_char(row, '}');
}

/* database: NULL is the log. */
static int verify(const struct dbk_arguments *arguments, const struct dbk_book_database *database,
                  const struct dbk_book *book, struct dbk_schema_rows *rows, size_t *surprises,
                  struct dbk_error *err)
{
    struct dbk_arena arena;
    struct dbk_attempts attempts = {.arena = &arena};
    dbk_arena_init(&arena, MEMORY_MAX);
    int rc = DBK_OK;
    if (database == NULL) {
        rc = dbk_service_log_verify(arguments, book, &attempts, err);
    } else {
        struct dbk_placement_scope scope = dbk_service_scope(book, database);
        rc = dbk_placement_verify(&scope, &attempts, err);
    }
    for (size_t i = 0; rc == DBK_OK && i < attempts.count; i++) {
        const struct dbk_attempt *attempt = &attempts.items[i];
        if (dbk_arguments_has(arguments, "surprises") && attempt->got == attempt->expected)
            continue;
        put_row(&rows->row, database == NULL ? DBK_SERVICE_LOG : database->name, attempt);
        rc = dbk_schema_rows_put(rows, err);
    }
    *surprises += attempts.surprises;
    dbk_arena_release(&arena);
    return rc;
}

static int verify_all(const struct dbk_arguments *arguments, const struct dbk_book *book,
                      size_t *surprises, struct dbk_error *err)
{
    static const char *const columns[] = {"service", "thing", "action", "expected",
                                          "got",     "how",   "why",    NULL};
    struct dbk_schema_rows rows;
    int rc = dbk_schema_rows_open(arguments, columns, &rows, err);
    if (rc == DBK_OK)
        rc = dbk_service_check_names(arguments, book, err);
    for (size_t i = 0; rc >= 0 && i < book->database_count; i++) {
        const struct dbk_book_database *database = &book->databases[i];
        if (!dbk_service_is_wanted(arguments, book, database->name))
            continue;
        rc = dbk_service_has_grants(book, database, err);
        if (rc == 1)
            rc = verify(arguments, database, book, &rows, surprises, err);
    }
    if (rc >= 0 && dbk_service_log_is_wanted(arguments, book))
        rc = verify(arguments, NULL, book, &rows, surprises, err);
    if (rc >= 0)
        rc = dbk_schema_rows_end(&rows, err);
    dbk_schema_rows_close(&rows);
    return rc;
}

int dbk_run_service_verify(const struct dbk_arguments *arguments)
{
    struct dbk_error err = {0};
    struct dbk_place place;
    struct dbk_book *book = NULL;
    size_t surprises = 0;
    int rc = dbk_place_find(arguments, &place, &err);
    if (rc == DBK_OK)
        rc = dbk_place_load(&place, &book, &err);
    if (rc == DBK_OK)
        rc = verify_all(arguments, book, &surprises, &err);
    if (rc == DBK_OK && surprises > 0)
        rc = dbk_error_set(&err, DBK_EREFUSED, "%zu of it went otherwise than expected", surprises);
    dbk_book_free(book);
    return rc < 0 ? dbk_fail(arguments, &err) : DBK_EXIT_OK;
}
