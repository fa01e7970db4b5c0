/* SPDX-License-Identifier: Apache-2.0 */
/*
 * data -- what the commands share that make one request and show its answer.
 *
 * Each returns the exit status, having said on standard error what failed.
 *
 * Threads: the main thread.
 */
#ifndef DBK_CLI_DATA_H
#define DBK_CLI_DATA_H

#include "cli/link.h"
#include "cli/table.h"

/* How an answer is shown. */
struct dbk_data_show {
    enum dbk_engine_mode mode;        /* when the book is opened here */
    const char *rows;                 /* the member that holds the rows; NULL: the answer is one */
    const char *open;                 /* for a single object: see dbk_table_object */
    const char *const *table_columns; /* ends with NULL; NULL: all */
    const char *const *csv_columns;
    /*
     * Rewrites a row for a table, or for CSV: the JSON of an object goes into the buffer, or of an
     * array of them, each a row. NULL: it stays as it is.
     */
    int (*summary)(struct dbk_buf *out, const struct dbk_json_node *row);
    int (*csv_summary)(struct dbk_buf *out, const struct dbk_json_node *row);
    /* The same for each row of a table, in an answer that comes whole. */
    int (*draw)(struct dbk_buf *out, const struct dbk_json_node *row);
    uint64_t limit; /* lines: ends after so many; 0: all */
    bool whole;     /* with rows: -o json shows all of the answer */
    /* With rows: says on standard error what else the answer has. NULL: nothing. */
    void (*say)(const struct dbk_json_node *answer);
    bool live; /* lines: as server-sent events, each shown at once */
};

/* Options of a table for these arguments. */
struct dbk_table_options dbk_data_options(const struct dbk_arguments *arguments,
                                          const struct dbk_data_show *show);

/* Shows an answer that was made here, the JSON of an object. */
int dbk_data_object(const struct dbk_arguments *arguments, const struct dbk_buf *text,
                    struct dbk_error *err) DBK_MUST_CHECK;
/* Sends a call over a link and shows an answer that comes whole. */
int dbk_data_answer_over(const struct dbk_arguments *arguments, struct dbk_link *link,
                         struct dbk_call *call, const struct dbk_data_show *show,
                         struct dbk_error *err) DBK_MUST_CHECK;
/* Opens a link, sends a call, takes it over, and shows an answer that comes whole. */
int dbk_data_answer(const struct dbk_arguments *arguments, struct dbk_call *call,
                    const struct dbk_data_show *show);
/* The same for answers that come line by line (application/x-ndjson or server-sent events). */
int dbk_data_lines(const struct dbk_arguments *arguments, struct dbk_call *call,
                   const struct dbk_data_show *show);

/* The same for long work, which says how far it is: "rebuild", "events". */
int dbk_data_job(const struct dbk_arguments *arguments, struct dbk_call *call, const char *what,
                 const char *unit);

/* Adds the query parameters of --after and --timeout. */
void dbk_data_after(struct dbk_call *call, const struct dbk_arguments *arguments);

/* Columns of events. */
extern const char *const dbk_data_event_columns[];
extern const char *const dbk_data_event_csv_columns[];
/* A row of events with its data as name=value words. */
int dbk_data_event_summary(struct dbk_buf *out, const struct dbk_json_node *row);

#endif
