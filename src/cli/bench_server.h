/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_server -- databases of a benchmark's own on the servers that it was given.
 *
 * Threads: the main thread.
 */
#ifndef DBK_CLI_BENCH_SERVER_H
#define DBK_CLI_BENCH_SERVER_H

#include "cli/bench.h"

/* Kinds of databases; of all but the first a server is named by an option. */
enum dbk_bench_kind {
    DBK_BENCH_SQLITE, /* a file in the book's data, or where a source is meant the book itself */
    DBK_BENCH_POSTGRES,
    DBK_BENCH_MONGODB,
    DBK_BENCH_NEO4J,
    DBK_BENCH_KINDS
};
/* "PostgreSQL", for people. */
const char *dbk_bench_kind_text(enum dbk_bench_kind kind);
/* "postgres", of its option; NULL: it has no server. */
const char *dbk_bench_kind_option(enum dbk_bench_kind kind);

/* The servers that a run was given. */
struct dbk_bench_servers {
    struct dbk_bench *bench;
    const char *where[DBK_BENCH_KINDS]; /* --postgres and so on; NULL: none */
};
/* Takes the options of all kinds up to one, which the command has. */
void dbk_bench_servers_take(struct dbk_bench_servers *servers, enum dbk_bench_kind last,
                            const struct dbk_arguments *arguments);
/*
 * Whether all of them can be reached, before anything is measured.
 *
 * DBK_EINVAL    an option is neither file:PATH nor env:NAME
 * DBK_ECONNECT  a server cannot be reached
 */
int dbk_bench_servers_check(struct dbk_bench_servers *servers,
                            struct dbk_error *err) DBK_MUST_CHECK;

/*
 * A database of the benchmark's own, empty: each case has its own. It is a database with a name of
 * its own in PostgreSQL and MongoDB. Neo4j's Community has one for all, where a model with such a
 * name is what is the benchmark's own.
 */
struct dbk_bench_database {
    struct dbk_bench_servers *servers;
    enum dbk_bench_kind kind;
    char name[40];                     /* also of the file with its secret; "": not made */
    char address[DBK_BENCH_PATH_SIZE]; /* of a SQLite file: its path */
};
/* part: "source" or "target". Not for SQLite. As dbk_bench_servers_check. */
int dbk_bench_database_open(struct dbk_bench_database *database, const char *part,
                            struct dbk_error *err) DBK_MUST_CHECK;
/* Drops it, with what the server keeps for who followed it. */
void dbk_bench_database_close(struct dbk_bench_database *database);

#endif
