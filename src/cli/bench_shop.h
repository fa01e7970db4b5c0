/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_shop -- one shop, arranged by each of the five patterns.
 *
 * The work is the same for all: an order of three lines of one of 1,000 users is written, durable;
 * a page shows the last ten orders of a user; a summary adds up all orders by day; and one day
 * orders get a new field. What is written where, and what is read, is the pattern's.
 *
 * Threads: a shop's writer in one thread, each reader in one.
 */
#ifndef DBK_CLI_BENCH_SHOP_H
#define DBK_CLI_BENCH_SHOP_H

#include "cli/bench.h"
#include "engine/engine.h"
#include "target/target.h"

#define DBK_BENCH_SHOP_USERS 1000
#define DBK_BENCH_SHOP_LINES 3

struct dbk_bench_file {
    const char *name; /* in the book; NULL ends a list */
    const char *text;
};

struct dbk_bench_pattern {
    const char *name; /* of its part in the report */
    const char *title;
    const char *distribution; /* of data */
    const char *consistency;
    const char *failures; /* what can go wrong between the writer and a reader */
    const char *made_for;
    unsigned processes; /* that have to run, with the program */
    const struct dbk_bench_file *files;
    const struct dbk_bench_file *changed; /* of them, when there is the new field */
    const char *source;                   /* SQL of the service's database; NULL: the book */
    const char *catalogue;                /* SQL of the products' own one; NULL: none */
    const char *alter;                    /* SQL there for the new field */
    const char *category;                 /* of streams: an order's, or a user's */
    const char *target;                   /* the file that is read; NULL: states are folded */
    const char *page;                     /* SQL: a user's (?1) last orders */
    const char *summary;                  /* SQL: by day; NULL: it has nothing to answer by */
    const char *look;                     /* SQL: the last order (user's ?1) that a reader finds */
    const char *model;                    /* what is rebuilt when its files have changed */
    const char *view;                     /* and then refreshed */
};

#define DBK_BENCH_PATTERNS 5
extern const struct dbk_bench_pattern dbk_bench_patterns[DBK_BENCH_PATTERNS];

struct dbk_bench_shop {
    struct dbk_bench *bench;
    const struct dbk_bench_pattern *pattern;
    char folder[DBK_BENCH_PATH_SIZE];
    struct dbk_engine *engine; /* NULL: the pattern needs none */
    struct dbk_connection *writer;
    struct dbk_statement *insert_order;
    struct dbk_statement *insert_line;
    struct dbk_buf data;
    uint64_t last; /* order that was written */
};

/*
 * Makes the shop's files in a folder of the benchmark's, and opens it. To be closed in any case.
 *
 * DBK_EBOOK  the book has faults, which are said on standard error
 */
int dbk_bench_shop_open(struct dbk_bench_shop *shop, struct dbk_bench *bench,
                        const struct dbk_bench_pattern *pattern,
                        struct dbk_error *err) DBK_MUST_CHECK;
void dbk_bench_shop_close(struct dbk_bench_shop *shop);

/* Writes the next order: durable when it returns. */
int dbk_bench_shop_write(struct dbk_bench_shop *shop, struct dbk_error *err) DBK_MUST_CHECK;
/* Whose an order is. */
uint64_t dbk_bench_shop_user(uint64_t order);

/* Gives the orders their new field, until readers have it: edits files, alters tables, and does
   what follows. */
int dbk_bench_shop_change(struct dbk_bench_shop *shop, struct dbk_error *err) DBK_MUST_CHECK;
/* Lines of all files and tables, and of those that the new field takes. */
unsigned dbk_bench_shop_lines(const struct dbk_bench_pattern *pattern);
unsigned dbk_bench_shop_changed_lines(const struct dbk_bench_pattern *pattern);
/* Bytes of the log and of the databases. */
int dbk_bench_shop_bytes(struct dbk_bench_shop *shop, uint64_t *bytes_out,
                         struct dbk_error *err) DBK_MUST_CHECK;

/* Somebody who reads, on a connection of their own. */
struct dbk_bench_reader {
    struct dbk_bench_shop *shop;
    struct dbk_connection *connection;
    struct dbk_statement *page;
    struct dbk_statement *summary;
    struct dbk_statement *look;
    struct dbk_buf state;
};
int dbk_bench_reader_open(struct dbk_bench_reader *reader, struct dbk_bench_shop *shop,
                          struct dbk_error *err) DBK_MUST_CHECK;
void dbk_bench_reader_close(struct dbk_bench_reader *reader);
/* Reads a user's page, every row of it. */
int dbk_bench_read_page(struct dbk_bench_reader *reader, uint64_t user,
                        struct dbk_error *err) DBK_MUST_CHECK;
int dbk_bench_read_summary(struct dbk_bench_reader *reader, struct dbk_error *err) DBK_MUST_CHECK;
/* Whether a reader finds an order that was written. */
int dbk_bench_find_order(struct dbk_bench_reader *reader, uint64_t order, bool *found_out,
                         struct dbk_error *err) DBK_MUST_CHECK;
/* Whether what a reader finds adds up to the orders that were written, of which it finds all.
   DBK_ECORRUPT: it does not. */
int dbk_bench_check_orders(struct dbk_bench_reader *reader, struct dbk_error *err) DBK_MUST_CHECK;

/* The report for people: a column a pattern, and a plot. */
int dbk_bench_show_patterns(const struct dbk_arguments *arguments,
                            const struct dbk_json_node *report,
                            struct dbk_error *err) DBK_MUST_CHECK;

#endif
