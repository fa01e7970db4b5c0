/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_place -- a book whose one read model follows its source in one of the four syncs.
 *
 *     writer --commit--> source ( --capture--> book ) --model--> target --> reader
 *
 * The work is the same for all: orders with an account, an amount and a note, a commit of one or
 * many. Where the source is the book an order is an event; where it is a service's database it is
 * a row of a table there. The target has a row an order, which a reader finds on a connection of
 * its own, as anyone would.
 *
 * Threads: a place's writer and its reader may be used from one thread each.
 */
#ifndef DBK_CLI_BENCH_PLACE_H
#define DBK_CLI_BENCH_PLACE_H

#include "cli/bench_server.h"
#include "engine/engine.h"

/* What follows what. */
struct dbk_bench_route {
    const char *name; /* of its part in the report */
    enum dbk_model_sync sync;
    enum dbk_bench_kind source; /* SQLITE: the book, where no table is followed */
    enum dbk_bench_kind target;
};

struct dbk_bench_place {
    struct dbk_bench *bench;
    const struct dbk_bench_route *route;
    struct dbk_bench_servers *servers;
    size_t size;      /* of an order, bytes */
    int64_t every_us; /* of polling */
    bool alone;       /* nothing follows: only the writer */
    bool book;        /* no model follows: a table's rows are found in the book itself */
    char folder[DBK_BENCH_PATH_SIZE];
    struct dbk_bench_database source;
    struct dbk_bench_database target;
    char model[48];            /* its name */
    struct dbk_engine *engine; /* NULL: a table's writer alone */
    struct dbk_connection *writer;
    struct dbk_statement *insert;
    struct dbk_connection *reader;
    struct dbk_statement *look;
    struct dbk_cursor *cursor; /* of `book` */
    uint64_t found;            /* the last order that the reader has found */
    struct dbk_buf note;
    struct dbk_buf data;
    struct dbk_bench_batch *batch;
    uint64_t last; /* order that was written */
};

/* True where the source is a table of a service. */
bool dbk_bench_is_table(const struct dbk_bench_route *route);

/*
 * Makes the book and its source in a folder of its own, and opens all; with something that follows
 * it waits until a first order has got through. It is to be closed in any case.
 *
 * DBK_ETIMEOUT  it does not get through; the message says why
 */
int dbk_bench_place_open(struct dbk_bench_place *place, const char *name,
                         struct dbk_error *err) DBK_MUST_CHECK;
void dbk_bench_place_close(struct dbk_bench_place *place);

/* Writes the book's files. */
int dbk_bench_place_write(struct dbk_bench_place *place, struct dbk_error *err) DBK_MUST_CHECK;
/* What asks the target for orders, as dbk_statement_open takes it. */
void dbk_bench_place_question(const struct dbk_bench_place *place, char room_out[256]);

/* Commits so many orders at once: durable when it returns. */
int dbk_bench_commit(struct dbk_bench_place *place, uint64_t count,
                     struct dbk_error *err) DBK_MUST_CHECK;
/* The last order that a reader finds now; orders before it are there, too. */
int dbk_bench_find_last(struct dbk_bench_place *place, uint64_t *last_out,
                        struct dbk_error *err) DBK_MUST_CHECK;
/* Waits until a reader finds an order. DBK_ETIMEOUT says why it does not. */
int dbk_bench_await(struct dbk_bench_place *place, uint64_t order,
                    struct dbk_error *err) DBK_MUST_CHECK;

/* The report for people: a line a sync, and the circumstances. */
int dbk_bench_show_syncs(const struct dbk_arguments *arguments, const struct dbk_json_node *report,
                         struct dbk_error *err) DBK_MUST_CHECK;

#endif
