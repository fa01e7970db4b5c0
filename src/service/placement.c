/* SPDX-License-Identifier: Apache-2.0 */
#include "service/placement.h"

#include <stdio.h>

#include "base/assert.h"
#include "json/json.h"
#include "service/placement_sql.h"
#include "target/login.h"
#include "target/target.h"

#define TEXT_SIZE_MAX ((size_t)1 << 20)
#define COLUMNS_MAX 8
#define PASSWORD_SIZE 24 /* random bytes */
#define STEP_SECRET 5
#define STEP_PASSWORD 13
/* Two applies of one database come one behind the other. */
#define LOCK_SQL "SELECT pg_advisory_xact_lock(hashtext('daybook placement'))"

static int no_memory(struct dbk_error *err)
{
    return dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM));
}

static bool is_here(const struct dbk_placement_scope *scope,
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

void dbk_placement_put_input(const struct dbk_placement_scope *scope, struct dbk_buf *out)
{
    bool first = true;
    bool none = true;
    dbk_buf_append_char(out, '{');
    put(out, &first, "book", scope->book);
    dbk_json_write_key(out, &first, "services");
    dbk_buf_append_char(out, '[');
    for (size_t i = 0; i < scope->count; i++) {
        if (!is_here(scope, &scope->services[i]))
            continue;
        dbk_buf_append_text(out, none ? "" : ",");
        none = false;
        put_service(scope, out, &scope->services[i]);
    }
    dbk_buf_append_text(out, "]}");
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
    dbk_placement_put_input(scope, &input);
    int rc = sql.rc < 0 ? sql.rc : input.rc;
    if (rc < 0)
        rc = dbk_error_set(err, rc, "the services: %s", dbk_code_text(rc));
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

static int find_faults(const struct dbk_placement_scope *scope, struct dbk_connection *connection,
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

static int add(struct dbk_placement *placement, const struct dbk_difference *difference,
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
    return add(placement, &difference, err);
}

static int take_number(void *context, const struct dbk_slice *columns, size_t count,
                       struct dbk_error *err)
{
    (void)count;
    return dbk_slice_to_u64(columns[0], context)
               ? DBK_OK
               : dbk_error_set(err, DBK_ECORRUPT, "the database does not say its version");
}

/* Within a transaction. */
static int read_differences(const struct dbk_placement_scope *scope,
                            struct dbk_connection *connection, struct dbk_placement *placement,
                            struct dbk_error *err)
{
    static const char *const none[] = {NULL};
    static const char *const version_sql[] = {
        "SELECT current_setting('server_version_num')::integer WHERE ?1::jsonb IS NOT NULL", NULL};
    const char *const *const version_texts[] = {version_sql, NULL};
    uint64_t version = 0;
    int rc = dbk_placement_ask(scope, connection, version_texts, take_number, &version, err);
    const char *const *const texts[] = {
        dbk_placement_sql_base,
        dbk_placement_sql_objects,
        version < 150000 ? none : dbk_placement_sql_settings,
        dbk_placement_sql_rights,
        dbk_placement_sql_differences,
        NULL,
    };
    if (rc == DBK_OK)
        rc = find_faults(scope, connection, err);
    placement->count = 0;
    return rc < 0 ? rc
                  : dbk_placement_ask(scope, connection, texts, take_difference, placement, err);
}

/* ---- Logins ---- */

struct login {
    const struct dbk_service_definition *service;
    bool made;                          /* there is no file yet */
    char password[DBK_LOGIN_TEXT_SIZE]; /* "": none is known */
};

static const char *file_of(const char *login)
{
    const char *rest = strchr(login, ':') + 1;
    return strncmp(rest, "file:", 5) == 0 ? rest + 5 : NULL;
}

static bool is_there(struct dbk_os *os, const char *path)
{
    struct dbk_file file = DBK_FILE_CLOSED;
    int rc = os->open(os, path, DBK_OS_READ, &file, NULL);
    os->close(os, &file);
    return rc != DBK_ENOTFOUND;
}

static int login_driver(const struct dbk_placement_scope *scope,
                        const struct dbk_login_driver **driver_out, struct dbk_error *err)
{
    const void *symbol = NULL;
    int rc = dbk_target_symbol(scope->address, DBK_LOGIN_SYMBOL, &symbol, err);
    *driver_out = symbol;
    return rc == DBK_OK && symbol == NULL
               ? dbk_error_set(err, DBK_EFORMAT, "the database's module knows no logins")
               : rc;
}

static int read_login(const struct dbk_placement_scope *scope, struct login *login,
                      struct dbk_error *err)
{
    const struct dbk_service_definition *service = login->service;
    const struct dbk_login_driver *driver = NULL;
    struct dbk_error failure = {0};
    char user[DBK_LOGIN_TEXT_SIZE];
    if (service->login == NULL)
        return dbk_error_set(err, DBK_EBOOK,
                             "%s: `login` is missing: name a file for the service's connection "
                             "string, which is made: `login: file:secrets/%s`",
                             service->own->file, service->own->name);
    int rc = login_driver(scope, &driver, err);
    const char *path = file_of(service->login);
    if (rc == DBK_OK && path != NULL && !is_there(scope->os, path)) {
        uint8_t bytes[PASSWORD_SIZE];
        login->made = true;
        rc = scope->os->random(scope->os, bytes, sizeof(bytes), err);
        for (size_t i = 0; rc == DBK_OK && i < sizeof(bytes); i++)
            (void)snprintf(login->password + 2 * i, 3, "%02x", bytes[i]);
        return rc;
    }
    if (rc < 0)
        return rc;
    rc = driver->read(service->login, user, login->password, &failure);
    if (rc < 0)
        return dbk_error_set(err, rc, "%s: the `login`: %s", service->own->file, failure.message);
    if (strcmp(user, service->role) != 0)
        return dbk_error_set(err, DBK_EBOOK,
                             "%s: the `login` is for the user `%s`, and the service's role is `%s`",
                             service->own->file, user, service->role);
    return DBK_OK;
}

/* Whether it lets the service in; the reason why not is kept. */
static bool lets_in(const struct login *login, struct dbk_error *failure)
{
    struct dbk_connection *connection = NULL;
    if (login->made)
        return false;
    int rc = dbk_connection_open(login->service->login, DBK_CONNECT_READ, &connection, failure);
    dbk_connection_free(connection);
    return rc == DBK_OK;
}

static int add_secret(struct dbk_placement *placement, const struct login *login,
                      struct dbk_error *err)
{
    const struct dbk_service_definition *service = login->service;
    const char *path = file_of(service->login);
    struct dbk_difference difference = {
        .service = service->own->name,
        .what = dbk_arena_format(placement->arena, "there is no %s", path),
        .sql = dbk_arena_format(placement->arena, "-- %s is made, with a password", path),
        .step = STEP_SECRET};
    return difference.what == NULL || difference.sql == NULL ? no_memory(err)
                                                             : add(placement, &difference, err);
}

/* Adds what is to be done so that each service can log in. */
static int add_logins(const struct dbk_placement_scope *scope, struct dbk_placement *placement,
                      struct login *logins, struct dbk_error *err)
{
    int rc = DBK_OK;
    size_t count = 0;
    for (size_t i = 0; rc == DBK_OK && i < scope->count; i++) {
        struct dbk_error failure = {0};
        struct dbk_difference difference = {.step = STEP_PASSWORD};
        struct login *login = &logins[count];
        if (!is_here(scope, &scope->services[i]))
            continue;
        count++;
        login->service = &scope->services[i];
        rc = read_login(scope, login, err);
        if (rc < 0 || lets_in(login, &failure))
            continue;
        if (login->password[0] == '\0')
            return dbk_error_set(err, DBK_EBOOK,
                                 "%s: the `login` has no password, and does not let the service in",
                                 login->service->own->file);
        difference.service = login->service->own->name;
        difference.what = login->made ? "it has no password"
                                      : dbk_arena_format(placement->arena, "it cannot log in: %s",
                                                         failure.message);
        difference.sql = dbk_arena_format(placement->arena, "ALTER ROLE %s PASSWORD '***'",
                                          login->service->role);
        if (difference.what == NULL || difference.sql == NULL)
            return no_memory(err);
        if (login->made)
            rc = add_secret(placement, login, err);
        if (rc == DBK_OK)
            rc = add(placement, &difference, err);
    }
    return rc;
}

static void free_logins(struct login *logins, size_t count)
{
    if (logins != NULL)
        explicit_bzero(logins, (count + 1) * sizeof(*logins));
    dbk_free(logins);
}

/* ---- Looking and applying ---- */

static int begin(const struct dbk_placement_scope *scope, enum dbk_begin how,
                 struct dbk_connection **connection_out, struct dbk_error *err)
{
    int rc = dbk_connection_open(scope->address, how == DBK_BEGIN_READ ? DBK_CONNECT_READ : 0,
                                 connection_out, err);
    if (rc == DBK_OK) /* Compiling such a query takes longer than running it. */
        rc = dbk_connection_run(*connection_out, "SET jit = off", err);
    return rc < 0 ? rc : dbk_connection_begin(*connection_out, how, err);
}

int dbk_placement_look(const struct dbk_placement_scope *scope, struct dbk_placement *placement,
                       struct dbk_error *err)
{
    struct dbk_connection *connection = NULL;
    struct login *logins = dbk_alloc_zero(scope->count + 1, sizeof(*logins));
    if (logins == NULL)
        return no_memory(err);
    int rc = begin(scope, DBK_BEGIN_READ, &connection, err);
    if (rc == DBK_OK)
        rc = read_differences(scope, connection, placement, err);
    dbk_connection_free(connection);
    if (rc == DBK_OK)
        rc = add_logins(scope, placement, logins, err);
    free_logins(logins, scope->count);
    return rc;
}

static bool is_same(const struct dbk_placement *one, const struct dbk_placement *other)
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
                        const struct dbk_difference *difference, const struct login *logins,
                        struct dbk_error *err)
{
    const struct login *login = logins;
    const struct dbk_login_driver *driver = NULL;
    char hidden[DBK_LOGIN_TEXT_SIZE];
    char sql[DBK_LOGIN_TEXT_SIZE + 256];
    while (strcmp(login->service->own->name, difference->service) != 0)
        login++;
    int rc = login_driver(scope, &driver, err);
    if (rc == DBK_OK)
        rc = driver->hide(connection, login->service->role, login->password, hidden, err);
    if (rc < 0)
        return rc;
    (void)snprintf(sql, sizeof(sql), "ALTER ROLE \"%s\" PASSWORD '%s'", login->service->role,
                   hidden);
    return run(scope, connection, difference->sql, sql, err);
}

static int write_secret(const struct dbk_placement_scope *scope, const struct login *login,
                        struct dbk_error *err)
{
    char text[DBK_LOGIN_TEXT_SIZE];
    struct dbk_os *os = scope->os;
    struct dbk_file file = DBK_FILE_CLOSED;
    const struct dbk_login_driver *driver = NULL;
    const char *path = file_of(login->service->login);
    const char *slash = strrchr(path, '/');
    char *folder = dbk_copy_text(dbk_slice(path, slash == NULL ? 0 : (size_t)(slash - path)));
    int rc = folder == NULL ? no_memory(err) : login_driver(scope, &driver, err);
    if (rc == DBK_OK && driver != NULL)
        rc = driver->make(scope->address, login->service->role, login->password, text, err);
    if (rc == DBK_OK && *folder != '\0')
        rc = dbk_os_make_folder(os, folder, err);
    if (rc == DBK_OK)
        rc = os->open(os, path, DBK_OS_WRITE | DBK_OS_CREATE | DBK_OS_NEW | DBK_OS_PRIVATE, &file,
                      err);
    if (rc == DBK_OK)
        rc = os->pwrite(os, &file, dbk_slice_of(text), 0, err);
    if (rc == DBK_OK)
        rc = os->sync(os, &file, err);
    os->close(os, &file);
    if (rc == DBK_OK && *folder != '\0')
        rc = os->sync_folder(os, folder, err);
    explicit_bzero(text, sizeof(text));
    dbk_free(folder);
    return rc;
}

/* Files come before the commit: one that is left without its role is used by the next run. */
static int write_secrets(const struct dbk_placement_scope *scope, const struct login *logins,
                         struct dbk_error *err)
{
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && logins[i].service != NULL; i++) {
        if (logins[i].made)
            rc = write_secret(scope, &logins[i], err);
    }
    return rc;
}

static void remove_secrets(const struct dbk_placement_scope *scope, const struct login *logins)
{
    for (size_t i = 0; logins[i].service != NULL; i++) {
        if (logins[i].made)
            dbk_ignore(scope->os->remove(scope->os, file_of(logins[i].service->login), NULL));
    }
}

static int run_all(const struct dbk_placement_scope *scope, struct dbk_connection *connection,
                   const struct dbk_placement *placement, const struct login *logins,
                   struct dbk_error *err)
{
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < placement->count; i++) {
        const struct dbk_difference *difference = &placement->items[i];
        if (difference->step == STEP_PASSWORD)
            rc = set_password(scope, connection, difference, logins, err);
        else if (difference->step != STEP_SECRET)
            rc = run(scope, connection, difference->sql, difference->sql, err);
    }
    return rc;
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
    struct login *logins = dbk_alloc_zero(scope->count + 1, sizeof(*logins));
    if (logins == NULL)
        return no_memory(err);
    int rc = begin(scope, DBK_BEGIN_WRITE, &connection, err);
    if (rc == DBK_OK)
        rc = dbk_connection_run(connection, LOCK_SQL, err);
    if (rc == DBK_OK)
        rc = read_differences(scope, connection, &now, err);
    if (rc == DBK_OK)
        rc = add_logins(scope, &now, logins, err);
    if (rc == DBK_OK && !is_same(&now, shown))
        rc = dbk_error_set(err, DBK_EBUSY, "the database %s was changed meanwhile: look again",
                           scope->database);
    if (rc == DBK_OK)
        rc = run_all(scope, connection, &now, logins, err);
    if (rc == DBK_OK)
        rc = check_nothing_left(scope, connection, shown->arena, err);
    if (rc == DBK_OK) {
        written = true;
        rc = write_secrets(scope, logins, err);
    }
    if (rc == DBK_OK)
        rc = dbk_connection_run(connection, "COMMIT", err);
    if (rc < 0 && rc != DBK_ECONNECT && written) /* A commit that is not known may have been. */
        remove_secrets(scope, logins);
    dbk_connection_free(connection);
    free_logins(logins, scope->count);
    return rc;
}
