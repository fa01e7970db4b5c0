/* SPDX-License-Identifier: Apache-2.0 */
#include "service/observed.h"

#include <pg_query.h>
#include <stdlib.h>
#include <string.h>

#include "base/diagnostics.h"
#include "base/time.h"
#include "service/ask.h"
#include "service/sql.h"

static int no_memory(struct dbk_error *err)
{
    return dbk_error_set(err, DBK_ENOMEM, "out of memory reading what a database has seen");
}

const char *dbk_observed_path(struct dbk_arena *arena, const char *data, const char *database)
{
    return dbk_arena_format(arena, "%s/observed-%s.jsonl", data, database);
}

/* ---- Statements ---- */

/* Adds one; texts are copied. NULL when out of memory. */
static struct dbk_observed_statement *add(struct dbk_observed *observed,
                                          const struct dbk_observed_statement *statement)
{
    if (observed->count == observed->capacity) {
        size_t capacity = observed->capacity == 0 ? 256 : observed->capacity * 2;
        struct dbk_observed_statement *items =
            dbk_arena_alloc_zero(observed->arena, capacity, sizeof(*items));
        if (items == NULL)
            return NULL;
        if (observed->count > 0)
            memcpy(items, observed->items, observed->count * sizeof(*items));
        observed->items = items;
        observed->capacity = capacity;
    }
    struct dbk_observed_statement *added = &observed->items[observed->count];
    *added = *statement;
    added->role = dbk_arena_copy(observed->arena, dbk_slice_of(statement->role)).data;
    added->id = dbk_arena_copy(observed->arena, dbk_slice_of(statement->id)).data;
    added->sql = dbk_arena_copy(observed->arena, statement->sql);
    if (added->role == NULL || added->id == NULL || added->sql.data == NULL)
        return NULL;
    observed->count++;
    return added;
}

static int compare_names(const void *one, const void *other)
{
    const struct dbk_observed_statement *a = one;
    const struct dbk_observed_statement *b = other;
    int order = strcmp(a->role, b->role);
    return order != 0 ? order : strcmp(a->id, b->id);
}

/* Newest first; what the server has before what it has forgotten. */
static int compare_times(const void *one, const void *other)
{
    const struct dbk_observed_statement *a = one;
    const struct dbk_observed_statement *b = other;
    if (a->here != b->here)
        return a->here ? -1 : 1;
    return a->by_us != b->by_us ? (a->by_us > b->by_us ? -1 : 1) : compare_names(one, other);
}

/* ---- Looking ---- */

bool dbk_observed_is_use(struct dbk_slice sql)
{
    static const char *const words[] = {"select", "insert", "update", "delete", "merge", "with"};
    for (size_t at = 0; at < sql.size;) {
        struct dbk_sql_token token = dbk_sql_next(sql, at);
        if (token.text.size == 0)
            return false;
        at += token.text.size;
        if (token.kind == DBK_SQL_SPACE || dbk_slice_equal_text(token.text, "("))
            continue;
        for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
            if (dbk_sql_name_is(token.text, dbk_slice_of(words[i])))
                return true;
        }
        return false;
    }
    return false;
}

struct look {
    struct dbk_observed *observed;
    size_t known; /* statements of before, in order of their names */
    int64_t now_us;
    struct dbk_error *err;
};

static int take(void *context, const char *const *columns, struct dbk_error *err)
{
    struct look *look = context;
    struct dbk_observed_statement found = {
        .role = columns[0], .id = columns[1], .by_us = look->now_us, .here = true};
    if (columns[0] == NULL || columns[2] == NULL || columns[3] == NULL)
        return DBK_OK;
    if (columns[1] == NULL || strcmp(columns[3], "<insufficient privilege>") == 0)
        return dbk_error_set(err, DBK_EDENIED,
                             "it does not show the statements of %.63s: grant its user "
                             "pg_read_all_stats",
                             columns[0]);
    if (!dbk_slice_to_i64(dbk_slice_of(columns[2]), &found.calls))
        return dbk_error_set(err, DBK_ECORRUPT, "the database answered %.40s, which is no number",
                             columns[2]);
    found.sql = dbk_slice_of(columns[3]);
    if (!dbk_observed_is_use(found.sql))
        return DBK_OK;
    struct dbk_observed_statement *before =
        look->known == 0
            ? NULL
            : bsearch(&found, look->observed->items, look->known, sizeof(found), compare_names);
    if (before == NULL) {
        found.after_us = look->observed->looked_us;
        return add(look->observed, &found) == NULL ? no_memory(err) : DBK_OK;
    }
    if (before->calls != found.calls) {
        before->calls = found.calls;
        before->after_us = look->observed->looked_us;
        before->by_us = look->now_us;
    }
    before->here = true;
    return DBK_OK;
}

/* Where the counts were all begun anew, none is the last look's. */
static int look_for_reset(struct dbk_observed *observed, struct dbk_connection *connection,
                          const char *view, struct dbk_error *err)
{
    const char *there = NULL;
    const char *reset = NULL;
    const char *names[] = {NULL, NULL};
    names[0] = dbk_arena_format(observed->arena, "%s_info", view);
    if (names[0] == NULL)
        return no_memory(err);
    int rc = dbk_ask_text(connection, "SELECT to_regclass(?1)::text", names, observed->arena,
                          &there, err);
    const char *sql =
        dbk_arena_format(observed->arena, "SELECT stats_reset::text FROM %s", names[0]);
    if (rc == DBK_OK && there != NULL)
        rc = sql == NULL ? no_memory(err)
                         : dbk_ask_text(connection, sql, NULL, observed->arena, &reset, err);
    reset = reset == NULL ? "" : reset;
    for (size_t i = 0; i < observed->count; i++) {
        if (observed->reset != NULL && strcmp(reset, observed->reset) != 0)
            observed->items[i].calls = 0;
    }
    observed->reset = reset;
    return rc;
}

/* The extension's own view, wherever it is: what else has its name is not read. */
static int find_view(struct dbk_connection *connection, struct dbk_arena *arena,
                     const char **view_out, struct dbk_error *err)
{
    return dbk_ask_text(
        connection,
        "SELECT format('%I.pg_stat_statements', n.nspname) FROM pg_extension e JOIN pg_namespace n "
        "ON n.oid = e.extnamespace WHERE e.extname = 'pg_stat_statements' AND "
        "current_setting('shared_preload_libraries') ~ 'pg_stat_statements'",
        NULL, arena, view_out, err);
}

int dbk_observed_look(struct dbk_observed *observed, struct dbk_connection *connection,
                      int64_t now_us, struct dbk_error *err)
{
    struct look look = {.observed = observed, .known = observed->count, .now_us = now_us};
    const char *view = NULL;
    int rc = dbk_tell(connection, err, "SET search_path = pg_catalog, pg_temp");
    if (rc == DBK_OK)
        rc = find_view(connection, observed->arena, &view, err);
    if (rc < 0)
        return rc;
    if (view == NULL)
        return dbk_error_set(err, DBK_ENOTFOUND,
                             "it tells nothing of statements that it has seen: set "
                             "shared_preload_libraries = 'pg_stat_statements', restart it, and "
                             "CREATE EXTENSION pg_stat_statements");
    const char *sql = dbk_arena_format(
        observed->arena,
        "SELECT r.rolname::text, s.queryid::text, sum(s.calls)::bigint, min(s.query) FROM %s s "
        "JOIN pg_roles r ON r.oid = s.userid JOIN pg_database d ON d.oid = s.dbid WHERE d.datname "
        "= current_database() GROUP BY 1, 2 LIMIT %d",
        view, DBK_OBSERVED_MAX + 1);
    if (sql == NULL)
        return no_memory(err);
    if (observed->count > 0)
        qsort(observed->items, observed->count, sizeof(*observed->items), compare_names);
    for (size_t i = 0; i < observed->count; i++)
        observed->items[i].here = false;
    rc = look_for_reset(observed, connection, view, err);
    if (rc == DBK_OK)
        rc = dbk_ask(connection, sql, NULL, take, &look, err);
    if (rc < 0)
        return rc;
    observed->looked_us = now_us;
    for (size_t i = 0; i < look.known; i++)
        observed->items[i].calls = observed->items[i].here ? observed->items[i].calls : 0;
    if (observed->count > 0)
        qsort(observed->items, observed->count, sizeof(*observed->items), compare_times);
    if (observed->count > DBK_OBSERVED_MAX && observed->items[DBK_OBSERVED_MAX].here)
        return dbk_error_set(err, DBK_ELIMIT, "it has seen more than %d statements",
                             DBK_OBSERVED_MAX);
    if (observed->count > DBK_OBSERVED_MAX)
        observed->count = DBK_OBSERVED_MAX;
    return DBK_OK;
}

/* ---- The file ---- */

static void put_time(struct dbk_buf *out, bool *first, const char *key, int64_t time_us)
{
    char text[DBK_TIME_TEXT_SIZE];
    dbk_json_write_key(out, first, key);
    if (time_us == 0) {
        dbk_buf_append_text(out, "null");
        return;
    }
    dbk_time_format(time_us, text);
    dbk_json_write_string(out, dbk_slice_of(text));
}

void dbk_observed_format(const struct dbk_observed *observed, struct dbk_buf *out)
{
    bool first = true;
    dbk_buf_append_char(out, '{');
    put_time(out, &first, "looked", observed->looked_us);
    dbk_json_write_key(out, &first, "reset");
    dbk_json_write_string(out, dbk_slice_of(observed->reset == NULL ? "" : observed->reset));
    dbk_buf_append_text(out, "}\n");
    for (size_t i = 0; i < observed->count; i++) {
        const struct dbk_observed_statement *statement = &observed->items[i];
        first = true;
        dbk_buf_append_char(out, '{');
        dbk_json_write_key(out, &first, "role");
        dbk_json_write_string(out, dbk_slice_of(statement->role));
        dbk_json_write_key(out, &first, "id");
        dbk_json_write_string(out, dbk_slice_of(statement->id));
        dbk_json_write_key(out, &first, "calls");
        dbk_json_write_integer(out, statement->calls);
        put_time(out, &first, "after", statement->after_us);
        put_time(out, &first, "by", statement->by_us);
        dbk_json_write_key(out, &first, "sql");
        dbk_json_write_string(out, statement->sql);
        dbk_buf_append_text(out, "}\n");
    }
}

/* False: it is no instant, nor null. */
static bool take_time(const struct dbk_json_node *line, const char *key, int64_t *time_us_out)
{
    const struct dbk_json_node *node = dbk_json_member(line, key);
    *time_us_out = 0;
    return node != NULL &&
           (node->kind == DBK_JSON_NULL ||
            (node->kind == DBK_JSON_STRING && dbk_time_parse(node->text, time_us_out)));
}

static int take_line(struct dbk_observed *observed, const struct dbk_json_node *line, bool head)
{
    if (head) {
        struct dbk_slice reset = dbk_service_text(line, "reset");
        if (!take_time(line, "looked", &observed->looked_us) ||
            (reset.size > 0 && memchr(reset.data, '\0', reset.size) != NULL))
            return DBK_ECORRUPT;
        observed->reset = dbk_arena_copy(observed->arena, reset).data;
        return observed->reset == NULL ? DBK_ENOMEM : DBK_OK;
    }
    const struct dbk_json_node *calls = dbk_json_member(line, "calls");
    struct dbk_slice role = dbk_service_text(line, "role");
    struct dbk_slice id = dbk_service_text(line, "id");
    struct dbk_observed_statement statement = {.sql = dbk_service_text(line, "sql")};
    if (role.size == 0 || id.size == 0 || statement.sql.data == NULL || calls == NULL ||
        calls->kind != DBK_JSON_INTEGER || memchr(role.data, '\0', role.size) != NULL ||
        memchr(id.data, '\0', id.size) != NULL || !take_time(line, "after", &statement.after_us) ||
        !take_time(line, "by", &statement.by_us))
        return DBK_ECORRUPT;
    statement.calls = calls->integer;
    statement.role = dbk_arena_copy(observed->arena, role).data;
    statement.id = dbk_arena_copy(observed->arena, id).data;
    return statement.role == NULL || statement.id == NULL || add(observed, &statement) == NULL
               ? DBK_ENOMEM
               : DBK_OK;
}

int dbk_observed_parse(struct dbk_observed *observed, struct dbk_slice text, const char *file,
                       struct dbk_error *err)
{
    struct dbk_json *json = dbk_json_create(DBK_OBSERVED_SIZE_MAX);
    int rc = json == NULL ? DBK_ENOMEM : DBK_OK;
    unsigned number = 0;
    for (size_t at = 0; rc == DBK_OK && at < text.size;) {
        const char *end = memchr(text.data + at, '\n', text.size - at);
        size_t size = end == NULL ? text.size - at : (size_t)(end - text.data) - at;
        const struct dbk_json_node *line = NULL;
        number++;
        rc = dbk_json_parse(json, dbk_slice(text.data + at, size), &line, err);
        if (rc == DBK_OK)
            rc = take_line(observed, line, number == 1);
        at += size + 1;
    }
    dbk_json_free(json);
    if (rc == DBK_ENOMEM)
        return no_memory(err);
    return rc < 0 ? dbk_error_set(err, DBK_ECORRUPT,
                                  "%s:%u: this is no statement that was seen: remove the file, and "
                                  "only when they were last seen is lost",
                                  file, number)
                  : DBK_OK;
}

int dbk_observed_read(struct dbk_observed *observed, struct dbk_os *os, const char *path,
                      struct dbk_error *err)
{
    struct dbk_buf text;
    dbk_buf_init(&text, DBK_OBSERVED_SIZE_MAX);
    int rc = dbk_os_read_file(os, path, DBK_OBSERVED_SIZE_MAX, &text, err);
    if (rc == DBK_OK)
        rc = dbk_observed_parse(observed, dbk_buf_slice(&text), path, err);
    dbk_buf_release(&text);
    return rc == DBK_ENOTFOUND ? DBK_OK : rc;
}

int dbk_observed_write(const struct dbk_observed *observed, struct dbk_os *os, const char *path,
                       struct dbk_error *err)
{
    struct dbk_buf text;
    dbk_buf_init(&text, DBK_OBSERVED_SIZE_MAX);
    dbk_observed_format(observed, &text);
    int rc = text.rc < 0 ? dbk_error_set(err, text.rc, "%s: %s", path, dbk_code_text(text.rc))
                         : dbk_os_replace_file(os, path, dbk_buf_slice(&text), err);
    dbk_buf_release(&text);
    return rc;
}

uint64_t dbk_observed_fingerprint(struct dbk_slice sql)
{
    uint64_t fingerprint = 0;
    char *copy = dbk_service_copy(sql);
    if (copy == NULL || dbk_service_bound(sql, NULL) < 0) {
        dbk_free(copy);
        return 0;
    }
    PgQueryFingerprintResult result = pg_query_fingerprint(copy);
    if (result.error == NULL)
        fingerprint = result.fingerprint;
    pg_query_free_fingerprint_result(result);
    dbk_free(copy);
    return fingerprint;
}
