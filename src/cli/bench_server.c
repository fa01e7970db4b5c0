/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/bench_server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "target/target.h"

#define SECRET_SIZE_MAX 4096
/* A follower that has just ended may hold its slot for a moment. */
#define DROP_TRIES 50
#define DROP_WAIT_NS 100000000

static const struct {
    const char *text;
    const char *option; /* also what its addresses begin with; NULL: it has no server */
} kinds[DBK_BENCH_KINDS] = {[DBK_BENCH_SQLITE] = {"SQLite", NULL},
                            [DBK_BENCH_POSTGRES] = {"PostgreSQL", "postgres"},
                            [DBK_BENCH_MONGODB] = {"MongoDB", "mongodb"},
                            [DBK_BENCH_NEO4J] = {"Neo4j", "neo4j"}};

const char *dbk_bench_kind_text(enum dbk_bench_kind kind)
{
    return kinds[kind].text;
}

const char *dbk_bench_kind_option(enum dbk_bench_kind kind)
{
    return kinds[kind].option;
}

void dbk_bench_servers_take(struct dbk_bench_servers *servers, enum dbk_bench_kind last,
                            const struct dbk_arguments *arguments)
{
    for (int kind = DBK_BENCH_POSTGRES; kind <= (int)last; kind++)
        servers->where[kind] = dbk_arguments_text(arguments, kinds[kind].option);
}

static int run_on(const char *address, const char *text, struct dbk_error *err)
{
    struct dbk_connection *connection = NULL;
    int rc = dbk_connection_open(address, DBK_CONNECT_FOREIGN, &connection, err);
    if (rc == DBK_OK && text != NULL)
        rc = dbk_connection_run(connection, text, err);
    dbk_connection_free(connection);
    return rc;
}

/* ---- Where the servers are ---- */

static int take_where(const struct dbk_bench_servers *servers, enum dbk_bench_kind kind,
                      char address_out[DBK_BENCH_PATH_SIZE], struct dbk_error *err)
{
    const char *where = servers->where[kind];
    if (strncmp(where, "env:", 4) != 0 && strncmp(where, "file:", 5) != 0)
        return dbk_error_set(err, DBK_EINVAL,
                             "--%s says where the connection string stands: file:PATH or env:NAME",
                             kinds[kind].option);
    (void)snprintf(address_out, DBK_BENCH_PATH_SIZE, "%s:%s", kinds[kind].option, where);
    return DBK_OK;
}

/* The connection string that was named, without the line's end. */
static int read_secret(const struct dbk_bench_servers *servers, enum dbk_bench_kind kind,
                       struct dbk_buf *out, struct dbk_error *err)
{
    const char *where = servers->where[kind];
    if (strncmp(where, "env:", 4) == 0) {
        const char *value = getenv(where + 4);
        if (value == NULL)
            return dbk_error_set(err, DBK_EINVAL, "--%s %s: there is no such variable",
                                 kinds[kind].option, where);
        dbk_buf_append_text(out, value);
    } else {
        int rc = dbk_os_read_file(servers->bench->os, where + strlen("file:"), SECRET_SIZE_MAX, out,
                                  err);
        if (rc < 0)
            return rc;
    }
    while (out->size > 0 && strchr(" \t\r\n", out->data[out->size - 1]) != NULL)
        out->size--;
    return out->rc < 0 ? dbk_error_set(err, out->rc, "%s", dbk_code_text(out->rc)) : DBK_OK;
}

static int check_server(const struct dbk_bench_servers *servers, enum dbk_bench_kind kind,
                        struct dbk_error *err)
{
    char address[DBK_BENCH_PATH_SIZE];
    struct dbk_buf secret;
    dbk_buf_init(&secret, SECRET_SIZE_MAX);
    int rc = take_where(servers, kind, address, err);
    if (rc == DBK_OK)
        rc = read_secret(servers, kind, &secret, err);
    dbk_buf_release(&secret);
    return rc == DBK_OK ? run_on(address, kind == DBK_BENCH_POSTGRES ? "SELECT 1" : NULL, err) : rc;
}

int dbk_bench_servers_check(struct dbk_bench_servers *servers, struct dbk_error *err)
{
    int rc = DBK_OK;
    for (int kind = DBK_BENCH_POSTGRES; rc == DBK_OK && kind < DBK_BENCH_KINDS; kind++)
        if (servers->where[kind] != NULL)
            rc = check_server(servers, (enum dbk_bench_kind)kind, err);
    return rc;
}

/* ---- Connection strings with another database ---- */

/* Of a word that comes twice the last one counts. */
static void put_postgres(struct dbk_buf *out, struct dbk_slice secret, const char *database)
{
    bool uri = dbk_slice_starts_with(secret, DBK_SLICE_LITERAL("postgres://")) ||
               dbk_slice_starts_with(secret, DBK_SLICE_LITERAL("postgresql://"));
    const char *joint = !uri ? " " : memchr(secret.data, '?', secret.size) != NULL ? "&" : "?";
    dbk_buf_append(out, secret);
    dbk_buf_append_format(out, "%sdbname=%s\n", joint, database);
}

static size_t find(struct dbk_slice text, size_t from, char c)
{
    const char *at = from >= text.size ? NULL : memchr(text.data + from, c, text.size - from);
    return at == NULL ? text.size : (size_t)(at - text.data);
}

/* mongodb://user:password@host/database?options: who logs in is known to the database that stood
   there, where the options do not name another. */
static void put_mongodb(struct dbk_buf *out, struct dbk_slice secret, const char *database)
{
    static const char source[] = "authSource=";
    const char *colon = memmem(secret.data, secret.size, "://", 3);
    size_t hosts = colon == NULL ? 0 : (size_t)(colon + 3 - secret.data);
    size_t slash = find(secret, hosts, '/');
    size_t options = find(secret, slash, '?');
    bool named = memmem(secret.data, secret.size, source, strlen(source)) != NULL;
    bool login = find(dbk_slice(secret.data, slash), hosts, '@') < slash;
    dbk_buf_append(out, dbk_slice(secret.data, slash));
    dbk_buf_append_format(out, "/%s", database);
    dbk_buf_append(out, dbk_slice(secret.data + options, secret.size - options));
    if (login && !named && slash + 1 < options) {
        dbk_buf_append_format(out, "%s%s", options < secret.size ? "&" : "?", source);
        dbk_buf_append(out, dbk_slice(secret.data + slash + 1, options - slash - 1));
    }
    dbk_buf_append_char(out, '\n');
}

/* The file with the database's own string, and its address. */
static int write_secret(struct dbk_bench_database *database, struct dbk_error *err)
{
    struct dbk_bench *bench = database->servers->bench;
    char path[DBK_BENCH_PATH_SIZE];
    struct dbk_buf secret;
    struct dbk_buf own;
    dbk_buf_init(&secret, SECRET_SIZE_MAX);
    dbk_buf_init(&own, SECRET_SIZE_MAX * 2);
    dbk_bench_path(bench, database->name, path);
    int rc = read_secret(database->servers, database->kind, &secret, err);
    if (rc == DBK_OK && database->kind == DBK_BENCH_POSTGRES)
        put_postgres(&own, dbk_buf_slice(&secret), database->name);
    else if (rc == DBK_OK && database->kind == DBK_BENCH_MONGODB)
        put_mongodb(&own, dbk_buf_slice(&secret), database->name);
    else if (rc == DBK_OK)
        dbk_buf_append(&own, dbk_buf_slice(&secret));
    if (rc == DBK_OK)
        rc = own.rc < 0 ? dbk_error_set(err, own.rc, "%s", dbk_code_text(own.rc))
                        : dbk_os_replace_file(bench->os, path, dbk_buf_slice(&own), err);
    if (rc == DBK_OK)
        rc = bench->os->protect(bench->os, path, err);
    (void)snprintf(database->address, sizeof(database->address), "%s:file:%.*s",
                   kinds[database->kind].option, DBK_BENCH_PATH_SIZE - 64, path);
    dbk_buf_release(&secret);
    dbk_buf_release(&own);
    return rc;
}

/* ---- Making and dropping ---- */

/* The others make a database with what is first written to it. */
static int make(struct dbk_bench_database *database, struct dbk_error *err)
{
    char admin[DBK_BENCH_PATH_SIZE];
    char sql[128];
    int rc = take_where(database->servers, database->kind, admin, err);
    if (rc < 0 || database->kind != DBK_BENCH_POSTGRES)
        return rc;
    (void)snprintf(sql, sizeof(sql), "CREATE DATABASE %s", database->name);
    return run_on(admin, sql, err);
}

int dbk_bench_database_open(struct dbk_bench_database *database, const char *part,
                            struct dbk_error *err)
{
    struct dbk_os *os = database->servers->bench->os;
    uint32_t random = 0;
    int rc = os->random(os, &random, sizeof(random), err);
    if (rc < 0)
        return rc;
    (void)snprintf(database->name, sizeof(database->name), "daybook_bench_%08x_%s", random, part);
    rc = make(database, err);
    if (rc < 0) {
        database->name[0] = '\0';
        return rc;
    }
    return write_secret(database, err);
}

/* A slot is dropped in its own database, and would keep that. */
static int drop_postgres(const struct dbk_bench_database *database, const char *admin,
                         struct dbk_error *err)
{
    char sql[128];
    int rc = run_on(database->address,
                    "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE "
                    "database = current_database()",
                    err);
    (void)snprintf(sql, sizeof(sql), "DROP DATABASE IF EXISTS %s WITH (FORCE)", database->name);
    return rc == DBK_OK ? run_on(admin, sql, err) : rc;
}

/* As a purge runs: at once. */
static int drop_mongodb(const struct dbk_bench_database *database, struct dbk_error *err)
{
    struct dbk_connection *connection = NULL;
    struct dbk_statement *statement = NULL;
    int rc = dbk_connection_open(database->address, DBK_CONNECT_FOREIGN, &connection, err);
    if (rc == DBK_OK) {
        dbk_connection_guard(connection, DBK_GUARD_PURGE);
        rc = dbk_statement_open(connection, DBK_SLICE_LITERAL("{\"dropDatabase\": 1}"), &statement,
                                NULL, err);
    }
    if (rc == DBK_OK)
        rc = dbk_statement_step(statement, err);
    dbk_statement_free(statement);
    dbk_connection_free(connection);
    return rc;
}

static int drop_neo4j(const struct dbk_bench_database *database, struct dbk_error *err)
{
    struct dbk_connection *connection = NULL;
    char cypher[128];
    (void)snprintf(cypher, sizeof(cypher), "MATCH (m:_DaybookModel {model: '%s'}) DELETE m",
                   database->name);
    int rc = dbk_connection_open(database->address, DBK_CONNECT_FOREIGN, &connection, err);
    if (rc == DBK_OK)
        rc = dbk_connection_drop(connection, dbk_slice_of(database->name), err);
    if (rc == DBK_OK)
        rc = dbk_connection_run(connection, cypher, err);
    dbk_connection_free(connection);
    return rc;
}

static int drop(const struct dbk_bench_database *database, struct dbk_error *err)
{
    char admin[DBK_BENCH_PATH_SIZE];
    int rc = take_where(database->servers, database->kind, admin, err);
    if (rc < 0)
        return rc;
    return database->kind == DBK_BENCH_POSTGRES  ? drop_postgres(database, admin, err)
           : database->kind == DBK_BENCH_MONGODB ? drop_mongodb(database, err)
                                                 : drop_neo4j(database, err);
}

void dbk_bench_database_close(struct dbk_bench_database *database)
{
    struct dbk_error err = {0};
    int rc = DBK_EBUSY;
    if (database->name[0] == '\0')
        return;
    for (int i = 0; rc < 0 && i < DROP_TRIES; i++) {
        if (i > 0)
            (void)nanosleep(&(struct timespec){.tv_nsec = DROP_WAIT_NS}, NULL);
        rc = drop(database, &err);
    }
    if (rc < 0)
        (void)fprintf(stderr, "daybook: %s of --%s is left behind: %s\n", database->name,
                      kinds[database->kind].option, err.message);
    database->name[0] = '\0';
}
