/* SPDX-License-Identifier: Apache-2.0 */
/* Databases of a benchmark's own on a PostgreSQL server: made, and dropped with all that follows
   them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/bench_place.h"
#include "target/target.h"

#define SECRET_SIZE_MAX 4096
/* A follower that has just ended may hold its slot for a moment. */
#define DROP_TRIES 50
#define DROP_WAIT_NS 100000000

static int run_on(const char *address, const char *sql, struct dbk_error *err)
{
    struct dbk_connection *connection = NULL;
    int rc = dbk_connection_open(address, DBK_CONNECT_FOREIGN, &connection, err);
    if (rc == DBK_OK)
        rc = dbk_connection_run(connection, sql, err);
    dbk_connection_free(connection);
    return rc;
}

/* The connection string that was named, without the line's end. */
static int read_secret(struct dbk_bench_server *server, struct dbk_buf *out, struct dbk_error *err)
{
    const char *where = server->where;
    if (strncmp(where, "env:", 4) == 0) {
        const char *value = getenv(where + 4);
        if (value == NULL)
            return dbk_error_set(err, DBK_EINVAL, "--postgres %s: there is no such variable",
                                 where);
        dbk_buf_append_text(out, value);
    } else {
        int rc =
            dbk_os_read_file(server->bench->os, where + strlen("file:"), SECRET_SIZE_MAX, out, err);
        if (rc < 0)
            return rc;
    }
    while (out->size > 0 && strchr(" \t\r\n", out->data[out->size - 1]) != NULL)
        out->size--;
    return out->rc < 0 ? dbk_error_set(err, out->rc, "%s", dbk_code_text(out->rc)) : DBK_OK;
}

/* The same string with another database: of a word that comes twice the last one counts. */
static void put_database(struct dbk_buf *secret, const char *database)
{
    struct dbk_slice text = dbk_buf_slice(secret);
    bool uri = dbk_slice_starts_with(text, DBK_SLICE_LITERAL("postgres://")) ||
               dbk_slice_starts_with(text, DBK_SLICE_LITERAL("postgresql://"));
    const char *joint = !uri ? " " : memchr(text.data, '?', text.size) != NULL ? "&" : "?";
    dbk_buf_append_format(secret, "%sdbname=%s\n", joint, database);
}

static int make(struct dbk_bench_server *server, size_t which, struct dbk_slice secret,
                struct dbk_error *err)
{
    static const char *const parts[] = {"source", "target"};
    char *address = which == 0 ? server->source : server->target;
    char path[DBK_BENCH_PATH_SIZE];
    char name[40];
    char sql[128];
    uint32_t random = 0;
    struct dbk_buf own;
    int rc = server->bench->os->random(server->bench->os, &random, sizeof(random), err);
    if (rc < 0)
        return rc;
    (void)snprintf(name, sizeof(name), "daybook_bench_%08x_%s", random, parts[which]);
    (void)snprintf(sql, sizeof(sql), "CREATE DATABASE %s", name);
    rc = run_on(server->admin, sql, err);
    if (rc < 0)
        return rc;
    (void)snprintf(server->names[which], sizeof(server->names[which]), "%s", name);
    dbk_bench_path(server->bench, name, path);
    dbk_buf_init(&own, SECRET_SIZE_MAX * 2);
    dbk_buf_append(&own, secret);
    put_database(&own, name);
    rc = own.rc < 0 ? dbk_error_set(err, own.rc, "%s", dbk_code_text(own.rc))
                    : dbk_os_replace_file(server->bench->os, path, dbk_buf_slice(&own), err);
    dbk_buf_release(&own);
    if (rc == DBK_OK)
        rc = server->bench->os->protect(server->bench->os, path, err);
    (void)snprintf(address, DBK_BENCH_PATH_SIZE, "postgres:file:%.*s", DBK_BENCH_PATH_SIZE - 64,
                   path);
    return rc;
}

static int take_where(struct dbk_bench_server *server, struct dbk_error *err)
{
    if (strncmp(server->where, "env:", 4) != 0 && strncmp(server->where, "file:", 5) != 0)
        return dbk_error_set(err, DBK_EINVAL,
                             "--postgres says where the connection string stands: file:PATH or "
                             "env:NAME");
    (void)snprintf(server->admin, sizeof(server->admin), "postgres:%s", server->where);
    return DBK_OK;
}

int dbk_bench_server_check(struct dbk_bench_server *server, struct dbk_error *err)
{
    struct dbk_buf secret;
    dbk_buf_init(&secret, SECRET_SIZE_MAX);
    int rc = take_where(server, err);
    if (rc == DBK_OK)
        rc = read_secret(server, &secret, err);
    dbk_buf_release(&secret);
    return rc == DBK_OK ? run_on(server->admin, "SELECT 1", err) : rc;
}

int dbk_bench_server_open(struct dbk_bench_server *server, struct dbk_error *err)
{
    struct dbk_buf secret;
    server->names[0][0] = server->names[1][0] = '\0';
    dbk_buf_init(&secret, SECRET_SIZE_MAX);
    int rc = take_where(server, err);
    if (rc == DBK_OK)
        rc = read_secret(server, &secret, err);
    for (size_t i = 0; rc == DBK_OK && i < 2; i++)
        rc = make(server, i, dbk_buf_slice(&secret), err);
    dbk_buf_release(&secret);
    if (rc < 0)
        dbk_bench_server_close(server);
    return rc;
}

static void drop(struct dbk_bench_server *server, size_t which, struct dbk_error *err)
{
    char sql[128];
    int rc = DBK_EBUSY;
    if (server->names[which][0] == '\0')
        return;
    (void)snprintf(sql, sizeof(sql), "DROP DATABASE IF EXISTS %s WITH (FORCE)",
                   server->names[which]);
    for (int i = 0; rc < 0 && i < DROP_TRIES; i++) {
        if (i > 0)
            (void)nanosleep(&(struct timespec){.tv_nsec = DROP_WAIT_NS}, NULL);
        /* A slot is dropped in its own database, and would keep that. */
        rc = run_on(which == 0 ? server->source : server->target,
                    "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE "
                    "database = current_database()",
                    err);
        if (rc == DBK_OK)
            rc = run_on(server->admin, sql, err);
    }
    if (rc < 0)
        (void)fprintf(stderr, "daybook: the database %s of --postgres is left behind: %s\n",
                      server->names[which], err->message);
    server->names[which][0] = '\0';
}

void dbk_bench_server_close(struct dbk_bench_server *server)
{
    for (size_t i = 0; i < 2; i++) {
        struct dbk_error err = {0};
        drop(server, i, &err);
    }
}
