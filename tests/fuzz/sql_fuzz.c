/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sql_fuzz -- tokens of any text cover it without a gap, statements follow each other to its end,
 * and a text with its parameters rewritten means to SQLite what it meant before.
 */
#include "fuzz.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "target/target.h"

#define TEXT_SIZE_MAX ((size_t)4096)

/* True when the text has no token that SQLite and we are known to read differently. */
static bool check_tokens(struct dbk_slice sql)
{
    size_t offset = 0;
    bool plain = true;
    for (;;) {
        struct dbk_sql_token token = dbk_sql_next(sql, offset);
        if (token.kind == DBK_SQL_END)
            break;
        if (token.text.size == 0 || token.text.data != sql.data + offset ||
            token.text.size > sql.size - offset)
            abort();
        offset += token.text.size;
        if (token.kind == DBK_SQL_BROKEN)
            return false;
        /* A path (:a.b) is ours alone; other signs of parameters are left as they are. */
        if (token.kind == DBK_SQL_PARAMETER && memchr(token.text.data, '.', token.text.size))
            plain = false;
        if (token.kind == DBK_SQL_OTHER && strchr("@$?#:", token.text.data[0]) != NULL)
            plain = false;
    }
    if (offset != sql.size)
        abort();
    return plain;
}

static void check_statements(struct dbk_slice sql)
{
    size_t offset = 0;
    for (;;) {
        size_t next = offset;
        struct dbk_slice statement = dbk_sql_statement(sql, offset, &next);
        if (next < offset || next > sql.size)
            abort();
        if (statement.size == 0)
            break;
        if (statement.data < sql.data + offset || statement.data + statement.size > sql.data + next)
            abort();
        offset = next;
    }
}

/* How many parameters the first statement has to SQLite, -1 when it is none. */
static int parameters_of(sqlite3 *database, struct dbk_slice sql)
{
    sqlite3_stmt *statement = NULL;
    int rc = sqlite3_prepare_v2(database, sql.data, (int)sql.size, &statement, NULL);
    int count = rc == SQLITE_OK ? sqlite3_bind_parameter_count(statement) : -1;
    (void)sqlite3_finalize(statement);
    return count;
}

static sqlite3 *open_database(void)
{
    static sqlite3 *database;
    if (database == NULL &&
        (sqlite3_open(":memory:", &database) != SQLITE_OK ||
         sqlite3_exec(database, "CREATE TABLE t (a, b, [c d])", NULL, NULL, NULL) != SQLITE_OK))
        abort();
    return database;
}

static void check_rewrite(struct dbk_slice sql, bool plain)
{
    struct dbk_buf out;
    struct dbk_arena arena;
    struct dbk_error err = {0};
    struct dbk_slice *names = NULL;
    size_t count = 0;
    dbk_buf_init(&out, 16 * TEXT_SIZE_MAX);
    dbk_arena_init(&arena, 1 << 20);
    int rc = dbk_sql_rewrite(sql, NULL, 0, &out, &arena, &names, &count, &err);
    if (rc < 0 && err.message[0] == '\0')
        abort();
    size_t next = 0;
    struct dbk_slice first = dbk_sql_statement(sql, 0, &next);
    if (rc == DBK_OK && plain && next == sql.size && first.size > 0) {
        int before = parameters_of(open_database(), sql);
        int after = parameters_of(open_database(), dbk_buf_slice(&out));
        if (before != after || (before >= 0 && (size_t)before != count))
            abort();
    }
    dbk_buf_release(&out);
    dbk_arena_release(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dbk_slice sql = dbk_slice(data, size);
    bool plain = check_tokens(sql);
    check_statements(sql);
    /* SQLite's text ends at a NUL. */
    if (size > 0 && size <= TEXT_SIZE_MAX && memchr(data, 0, size) == NULL)
        check_rewrite(sql, plain);
    return 0;
}
