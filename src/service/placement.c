/* SPDX-License-Identifier: Apache-2.0 */
#include "service/placement.h"

#include <stdio.h>

#include "base/assert.h"
#include "json/json.h"
#include "service/placement_logins.h"
#include "service/placement_mongodb.h"
#include "service/placement_sql.h"

#define TEXT_SIZE_MAX ((size_t)1 << 20)
#define COLUMNS_MAX 8
/* Compiling such queries takes longer than running them. */
#define SESSION_SQL                                                                                \
    "SET jit = off; "                                                                              \
    "SELECT pg_catalog.set_config('daybook.search_path', "                                         \
    "pg_catalog.array_to_json(pg_catalog.current_schemas(false))::pg_catalog.text, "               \
    "false); " DBK_PLACEMENT_PIN
/* Two applies of one database come one behind the other. */
#define LOCK_SQL "SELECT pg_advisory_xact_lock(hashtext('daybook placement'))"

static int no_memory(struct dbk_error *err)
{
    return dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM));
}

bool dbk_placement_is_here(const struct dbk_placement_scope *scope,
                           const struct dbk_service_definition *service)
{
    return service->own->database != NULL && strcmp(service->own->database, scope->database) == 0;
}

/* ---- What the files say ---- */

static void put(struct dbk_buf *out, bool *first, const char *key, const char *text)
{
    dbk_json_write_key(out, first, key);
    dbk_json_write_string(out, dbk_slice_of(text));
}

static void put_place(struct dbk_buf *out, bool *first, const char *table, unsigned line,
                      unsigned column)
{
    put(out, first, "table", table);
    dbk_json_write_key(out, first, "line");
    dbk_json_write_u64(out, line);
    dbk_json_write_key(out, first, "column");
    dbk_json_write_u64(out, column);
}

static void put_table(struct dbk_buf *out, bool *none, const char *table, unsigned line,
                      unsigned column)
{
    bool first = true;
    dbk_buf_append_text(out, *none ? "{" : ",{");
    *none = false;
    put_place(out, &first, table, line, column);
    dbk_buf_append_char(out, '}');
}

static void put_contract(struct dbk_buf *out, bool *none,
                         const struct dbk_service_contract *contract)
{
    bool first = true;
    dbk_buf_append_text(out, *none ? "{" : ",{");
    *none = false;
    put(out, &first, "service", contract->service);
    put_place(out, &first, contract->table, contract->line, contract->column);
    dbk_json_write_key(out, &first, "columns");
    dbk_buf_append_char(out, '[');
    for (size_t i = 0; i < contract->column_count; i++) {
        dbk_buf_append_text(out, i > 0 ? "," : "");
        dbk_json_write_string(out, dbk_slice_of(contract->columns[i]));
    }
    dbk_buf_append_text(out, "]}");
}

static void put_name(struct dbk_buf *out, bool *none, const char *name)
{
    dbk_buf_append_text(out, *none ? "" : ",");
    *none = false;
    dbk_json_write_string(out, dbk_slice_of(name));
}

static void put_service(const struct dbk_placement_scope *scope, struct dbk_buf *out,
                        const struct dbk_service_definition *service)
{
    const struct dbk_capture_service *own = service->own;
    bool first = true;
    bool none = true;
    dbk_buf_append_char(out, '{');
    put(out, &first, "service", own->name);
    put(out, &first, "file", own->file);
    put(out, &first, "role", service->role);
    dbk_json_write_key(out, &first, "alone");
    dbk_buf_append_text(out, dbk_service_share(scope->services, scope->count, own->database) < 2
                                 ? "true"
                                 : "false");
    dbk_json_write_key(out, &first, "tables");
    dbk_buf_append_char(out, '[');
    for (size_t i = 0; i < own->table_count; i++)
        put_table(out, &none, own->tables[i].name, own->tables[i].line, own->tables[i].column);
    if (own->outbox.table != NULL)
        put_table(out, &none, own->outbox.table, own->outbox.line, own->outbox.column);
    dbk_buf_append_char(out, ']');
    dbk_json_write_key(out, &first, "reads");
    dbk_buf_append_char(out, '[');
    none = true;
    for (size_t i = 0; i < service->contract_count; i++)
        put_contract(out, &none, &service->contracts[i]);
    dbk_buf_append_text(out, "]}");
}

/* Of models and views in the database. */
static int put_own(const struct dbk_placement_scope *scope, struct dbk_buf *out,
                   struct dbk_error *err)
{
    struct dbk_arena arena;
    bool none = true;
    int rc = DBK_OK;
    dbk_arena_init(&arena, TEXT_SIZE_MAX);
    for (size_t i = 0; rc == DBK_OK && i < scope->model_count; i++) {
        const char **tables = NULL;
        size_t count = 0;
        if (strcmp(scope->models[i].database, scope->database) != 0)
            continue;
        rc = dbk_model_tables(&scope->models[i], &arena, &tables, &count, err);
        for (size_t j = 0; rc == DBK_OK && j < count; j++)
            put_name(out, &none, tables[j]);
    }
    for (size_t i = 0; i < scope->view_count; i++) {
        if (strcmp(scope->views[i].database, scope->database) == 0)
            put_name(out, &none, scope->views[i].name);
    }
    dbk_arena_release(&arena);
    return rc;
}

/* What the texts take. */
static int put_input(const struct dbk_placement_scope *scope, struct dbk_buf *out,
                     struct dbk_error *err)
{
    bool first = true;
    bool none = true;
    dbk_buf_append_char(out, '{');
    put(out, &first, "book", scope->book);
    dbk_json_write_key(out, &first, "services");
    dbk_buf_append_char(out, '[');
    for (size_t i = 0; i < scope->count; i++) {
        if (!dbk_placement_is_here(scope, &scope->services[i]))
            continue;
        dbk_buf_append_text(out, none ? "" : ",");
        none = false;
        put_service(scope, out, &scope->services[i]);
    }
    dbk_buf_append_char(out, ']');
    dbk_json_write_key(out, &first, "own");
    dbk_buf_append_char(out, '[');
    int rc = put_own(scope, out, err);
    dbk_buf_append_text(out, "]}");
    return rc;
}

/* ---- Asking ---- */

static int run_rows(struct dbk_statement *statement, dbk_placement_row_fn each, void *context,
                    struct dbk_error *err)
{
    struct dbk_slice columns[COLUMNS_MAX];
    int count = dbk_statement_column_count(statement);
    int rc = DBK_OK;
    dbk_assert(count <= COLUMNS_MAX);
    while (rc >= 0 && (rc = dbk_statement_step(statement, err)) == 1) {
        char numbers[COLUMNS_MAX][DBK_INTEGER_TEXT_SIZE];
        for (int i = 0; i < count; i++) {
            struct dbk_value value = dbk_statement_column(statement, i);
            columns[i] = (struct dbk_slice){0};
            if (value.kind == DBK_VALUE_TEXT)
                columns[i] = value.bytes;
            else if (value.kind == DBK_VALUE_INTEGER)
                columns[i] =
                    dbk_slice(numbers[i], dbk_u64_format((uint64_t)value.integer, numbers[i]));
        }
        rc = each(context, columns, (size_t)count, err);
    }
    return rc < 0 ? rc : DBK_OK;
}

int dbk_placement_ask(const struct dbk_placement_scope *scope, struct dbk_connection *connection,
                      const char *const *const *texts, dbk_placement_row_fn each, void *context,
                      struct dbk_error *err)
{
    struct dbk_buf sql;
    struct dbk_buf input;
    struct dbk_statement *statement = NULL;
    dbk_buf_init(&sql, TEXT_SIZE_MAX);
    dbk_buf_init(&input, TEXT_SIZE_MAX);
    for (; *texts != NULL; texts++) {
        for (const char *const *piece = *texts; *piece != NULL; piece++)
            dbk_buf_append_text(&sql, *piece);
    }
    int rc = put_input(scope, &input, err);
    int made = sql.rc < 0 ? sql.rc : input.rc;
    if (rc == DBK_OK && made < 0)
        rc = dbk_error_set(err, made, "the services: %s", dbk_code_text(made));
    if (rc == DBK_OK)
        rc = dbk_statement_open(connection, dbk_buf_slice(&sql), &statement, NULL, err);
    if (rc == DBK_OK) {
        struct dbk_value value = {.kind = DBK_VALUE_TEXT, .bytes = dbk_buf_slice(&input)};
        dbk_statement_bind(statement, 1, &value);
        rc = run_rows(statement, each, context, err);
        dbk_statement_free(statement);
    }
    dbk_buf_release(&input);
    dbk_buf_release(&sql);
    return rc;
}

struct faults {
    struct dbk_error *err;
    size_t count;
    char first[DBK_ERROR_MESSAGE_SIZE];
};

static int take_fault(void *context, const struct dbk_slice *columns, size_t count,
                      struct dbk_error *err)
{
    struct faults *faults = context;
    (void)count;
    (void)err;
    if (faults->count++ == 0)
        (void)snprintf(faults->first, sizeof(faults->first), "%.*s", DBK_SLICE_ARGS(columns[0]));
    return DBK_OK;
}

int dbk_placement_faults(const struct dbk_placement_scope *scope, struct dbk_connection *connection,
                         struct dbk_error *err)
{
    const char *const *const texts[] = {dbk_placement_sql_base, dbk_placement_sql_faults, NULL};
    struct faults faults = {0};
    int rc = dbk_placement_ask(scope, connection, texts, take_fault, &faults, err);
    if (rc < 0 || faults.count == 0)
        return rc;
    return faults.count == 1
               ? dbk_error_set(err, DBK_EBOOK, "%s", faults.first)
               : dbk_error_set(err, DBK_EBOOK, "%s (and %zu more)", faults.first, faults.count - 1);
}

int dbk_placement_add(struct dbk_placement *placement, const struct dbk_difference *difference,
                      struct dbk_error *err)
{
    if (placement->count == placement->capacity) {
        size_t capacity = placement->capacity == 0 ? 64 : 2 * placement->capacity;
        struct dbk_difference *items =
            dbk_arena_alloc_zero(placement->arena, capacity, sizeof(*items));
        if (items == NULL)
            return no_memory(err);
        if (placement->count > 0)
            memcpy(items, placement->items, placement->count * sizeof(*items));
        placement->items = items;
        placement->capacity = capacity;
    }
    size_t at = placement->count++;
    for (; at > 0 && placement->items[at - 1].step > difference->step; at--)
        placement->items[at] = placement->items[at - 1];
    placement->items[at] = *difference;
    return DBK_OK;
}

static int take_difference(void *context, const struct dbk_slice *columns, size_t count,
                           struct dbk_error *err)
{
    struct dbk_placement *placement = context;
    struct dbk_difference difference = {0};
    uint64_t step = 0;
    dbk_assert(count == 4);
    if (!dbk_slice_to_u64(columns[0], &step))
        return dbk_error_set(err, DBK_ECORRUPT, "the database answered with no step");
    difference.step = (unsigned)step;
    difference.service = dbk_arena_copy(placement->arena, columns[1]).data;
    difference.what = dbk_arena_copy(placement->arena, columns[2]).data;
    difference.sql = dbk_arena_copy(placement->arena, columns[3]).data;
    if (difference.service == NULL || difference.what == NULL || difference.sql == NULL)
        return no_memory(err);
    return dbk_placement_add(placement, &difference, err);
}

static int take_number(void *context, const struct dbk_slice *columns, size_t count,
                       struct dbk_error *err)
{
    (void)count;
    return dbk_slice_to_u64(columns[0], context)
               ? DBK_OK
               : dbk_error_set(err, DBK_ECORRUPT, "the database does not say its version");
}

int dbk_placement_texts(const struct dbk_placement_scope *scope, struct dbk_connection *connection,
                        const char *const *asked, struct dbk_placement_texts *texts_out,
                        struct dbk_error *err)
{
    static const char *const none[] = {NULL};
    static const char *const version_sql[] = {
        "SELECT current_setting('server_version_num')::integer WHERE ?1::jsonb IS NOT NULL", NULL};
    const char *const *const version_texts[] = {version_sql, NULL};
    uint64_t version = 0;
    int rc = dbk_placement_ask(scope, connection, version_texts, take_number, &version, err);
    *texts_out = (struct dbk_placement_texts){{dbk_placement_sql_base, dbk_placement_sql_objects,
                                               version < 150000 ? none : dbk_placement_sql_settings,
                                               dbk_placement_sql_rights, asked}};
    return rc;
}

/* Within a transaction. */
static int read_differences(const struct dbk_placement_scope *scope,
                            struct dbk_connection *connection, struct dbk_placement *placement,
                            struct dbk_error *err)
{
    struct dbk_placement_texts texts;
    int rc = dbk_placement_texts(scope, connection, dbk_placement_sql_differences, &texts, err);
    if (rc == DBK_OK)
        rc = dbk_placement_faults(scope, connection, err);
    placement->count = 0;
    return rc < 0
               ? rc
               : dbk_placement_ask(scope, connection, texts.texts, take_difference, placement, err);
}

/* ---- Looking and applying ---- */

int dbk_placement_begin(const struct dbk_placement_scope *scope, enum dbk_begin how,
                        struct dbk_connection **connection_out, struct dbk_error *err)
{
    int rc = dbk_connection_open(scope->address, how == DBK_BEGIN_READ ? DBK_CONNECT_READ : 0,
                                 connection_out, err);
    if (rc == DBK_OK)
        rc = dbk_connection_run(*connection_out, SESSION_SQL, err);
    return rc < 0 ? rc : dbk_connection_begin(*connection_out, how, err);
}

int dbk_placement_look(const struct dbk_placement_scope *scope, struct dbk_placement *placement,
                       struct dbk_error *err)
{
    struct dbk_connection *connection = NULL;
    if (dbk_target_dialect(scope->address) == DBK_DIALECT_MONGODB)
        return dbk_mongodb_placement_look(scope, placement, err);
    struct dbk_login *logins = dbk_logins_create(scope);
    if (logins == NULL)
        return no_memory(err);
    int rc = dbk_placement_begin(scope, DBK_BEGIN_READ, &connection, err);
    if (rc == DBK_OK)
        rc = read_differences(scope, connection, placement, err);
    dbk_connection_free(connection);
    if (rc == DBK_OK)
        rc = dbk_logins_look(scope, placement, logins, err);
    dbk_logins_free(logins, scope->count);
    return rc;
}

bool dbk_placement_is_same(const struct dbk_placement *one, const struct dbk_placement *other)
{
    bool same = one->count == other->count;
    for (size_t i = 0; same && i < one->count; i++)
        same = strcmp(one->items[i].sql, other->items[i].sql) == 0;
    return same;
}

static int run(const struct dbk_placement_scope *scope, struct dbk_connection *connection,
               const char *shown, const char *sql, struct dbk_error *err)
{
    struct dbk_error failure = {0};
    int rc = dbk_connection_run(connection, sql, &failure);
    if (rc == DBK_EDENIED)
        return dbk_error_set(err, rc,
                             "the user of the database %s may not do it (`%.100s`: %.80s): let it "
                             "be one who can",
                             scope->database, shown, failure.message);
    return rc < 0 ? dbk_error_set(err, rc, "`%.120s`: %s", shown, failure.message) : DBK_OK;
}

static int set_password(const struct dbk_placement_scope *scope, struct dbk_connection *connection,
                        const struct dbk_difference *difference, const struct dbk_login *logins,
                        struct dbk_error *err)
{
    const struct dbk_login *login = logins;
    const struct dbk_login_driver *driver = NULL;
    char hidden[DBK_LOGIN_TEXT_SIZE];
    char sql[DBK_LOGIN_TEXT_SIZE + 256];
    while (strcmp(login->service->own->name, difference->service) != 0)
        login++;
    int rc = dbk_login_driver_of(scope, &driver, err);
    if (rc == DBK_OK)
        rc = driver->hide(connection, login->service->role, login->password, hidden, err);
    if (rc < 0)
        return rc;
    (void)snprintf(sql, sizeof(sql), "ALTER ROLE \"%s\" PASSWORD '%s'", login->service->role,
                   hidden);
    return run(scope, connection, difference->sql, sql, err);
}

static int run_all(const struct dbk_placement_scope *scope, struct dbk_connection *connection,
                   const struct dbk_placement *placement, const struct dbk_login *logins,
                   struct dbk_error *err)
{
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < placement->count; i++) {
        const struct dbk_difference *difference = &placement->items[i];
        if (difference->step == DBK_STEP_PASSWORD)
            rc = set_password(scope, connection, difference, logins, err);
        else if (difference->step != DBK_STEP_SECRET)
            rc = run(scope, connection, difference->sql, difference->sql, err);
    }
    return rc;
}

static int bound_waits(const struct dbk_placement_scope *scope, struct dbk_connection *connection,
                       struct dbk_error *err)
{
    char sql[64];
    (void)snprintf(sql, sizeof(sql), "SET LOCAL lock_timeout = %u", scope->lock_wait_ms);
    return scope->lock_wait_ms == 0 ? DBK_OK : dbk_connection_run(connection, sql, err);
}

/* A REVOKE of what somebody else has granted is no error to the server, and does nothing. */
static int check_nothing_left(const struct dbk_placement_scope *scope,
                              struct dbk_connection *connection, struct dbk_arena *arena,
                              struct dbk_error *err)
{
    struct dbk_placement left = {.arena = arena};
    int rc = read_differences(scope, connection, &left, err);
    if (rc < 0 || left.count == 0)
        return rc;
    return dbk_error_set(err, DBK_EREFUSED,
                         "it would not help: still %.100s (`%.80s`): let the user of the database "
                         "%s be one who can",
                         left.items[0].what, left.items[0].sql, scope->database);
}

int dbk_placement_apply(const struct dbk_placement_scope *scope, const struct dbk_placement *shown,
                        struct dbk_error *err)
{
    struct dbk_connection *connection = NULL;
    struct dbk_placement now = {.arena = shown->arena};
    bool written = false;
    if (dbk_target_dialect(scope->address) == DBK_DIALECT_MONGODB)
        return dbk_mongodb_placement_apply(scope, shown, err);
    struct dbk_login *logins = dbk_logins_create(scope);
    if (logins == NULL)
        return no_memory(err);
    int rc = dbk_placement_begin(scope, DBK_BEGIN_WRITE, &connection, err);
    if (rc == DBK_OK)
        rc = bound_waits(scope, connection, err);
    if (rc == DBK_OK)
        rc = dbk_connection_run(connection, LOCK_SQL, err);
    if (rc == DBK_OK)
        rc = read_differences(scope, connection, &now, err);
    if (rc == DBK_OK)
        rc = dbk_logins_look(scope, &now, logins, err);
    if (rc == DBK_OK && !dbk_placement_is_same(&now, shown))
        rc = dbk_error_set(err, DBK_EBUSY, "the database %s was changed meanwhile: look again",
                           scope->database);
    if (rc == DBK_OK)
        rc = run_all(scope, connection, &now, logins, err);
    if (rc == DBK_OK)
        rc = check_nothing_left(scope, connection, shown->arena, err);
    if (rc == DBK_OK) {
        written = true;
        rc = dbk_logins_write(scope, logins, err);
    }
    if (rc == DBK_OK)
        rc = dbk_connection_run(connection, "COMMIT", err);
    if (rc < 0 && rc != DBK_ECONNECT && written) /* A commit that is not known may have been. */
        dbk_logins_remove(scope, logins);
    dbk_connection_free(connection);
    dbk_logins_free(logins, scope->count);
    return rc;
}
