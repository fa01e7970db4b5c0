/* SPDX-License-Identifier: Apache-2.0 */
/*
 * view -- materialized views: a SELECT whose result is stored and refreshed.
 *
 * `views/<name>.sql` is a comment head and one SELECT:
 *
 *     -- refresh: every day at 02:00 | every 5 minutes | on demand | continuous | lag 10 s |
 *                 downstream
 *     -- mode: auto | full | incremental
 *     -- database: reading
 *     -- key: region                              what a row is known by to who follows the view
 *     -- changes: keep 100000 rows, 64 MiB        also when nobody follows it (view/record.h)
 *     -- alert: low_stock                         tells of rows that begin to fulfil something
 *     -- when: qty < 5                            (view/alert.h)
 *     -- to: https://hooks.example/stock
 *     -- verify: every day at 04:00 and refresh    compares its rows with the SELECT
 *     -- keep: 7 days                             what a change of the SELECT took the place of
 *     SELECT …
 *
 * An incremental refresh applies the rows of the read models that changed since the last one to the
 * stored rows, in one transaction (view/delta.h). Where that cannot be done, or costs more, the
 * refresh is a full one, and the view's status says why.
 *
 * A full refresh runs the SELECT on a read snapshot of the database, with `events` pinned to one
 * position, into a new generation `<name>__g<n>` in short write transactions (none longer than
 * 20 ms), makes indexes asked for in the head (`-- index: date, region`), and swaps the plain view
 * `<name>` in one. Readers see the old result or the new one, never a part. A refresh that fails
 * keeps the old one and says why. `_daybook_views` holds generation, position, times, duration,
 * rows and the last error.
 *
 * A refresh brings the views that it stands on no further, but for those that go with it
 * (dbk_views_refresh).
 *
 * Threads: all functions from any thread.
 */
#ifndef DBK_VIEW_VIEW_H
#define DBK_VIEW_VIEW_H

#include "base/diagnostics.h"
#include "model/model.h"
#include "view/schedule.h"

/* `mode:` in the head, and how a refresh was done. */
enum dbk_view_mode {
    DBK_VIEW_AUTO, /* incrementally where it can be and costs less */
    DBK_VIEW_FULL,
    DBK_VIEW_INCREMENTAL, /* or else `check` refuses the view */
};
/* "auto", … */
const char *dbk_view_mode_text(enum dbk_view_mode mode);

/* A row that begins to fulfil `when` is told of. */
struct dbk_alert_definition {
    const char *name;
    struct dbk_slice when;      /* an SQL expression, in the file's text */
    const char *url;            /* or "file:PATH", "env:NAME": where it stands; NULL: a command */
    const char *const *words;   /* the command, NULL behind it */
    const char *const *headers; /* names of a request's, and where their values stand, by turns */
    size_t header_count;
};

struct dbk_view_definition {
    const char *name;
    const char *file; /* for messages */
    const char *database;
    const char *database_path;
    struct dbk_schedule schedule; /* its zone is whoever's that has parsed the file */
    enum dbk_view_mode mode;
    size_t refresh_place;       /* of the schedule in the file */
    size_t mode_place;          /* of its value in the file */
    struct dbk_slice sql;       /* the whole file: the head is comments */
    const char *const *indexes; /* column lists */
    size_t index_count;
    bool keeps_changes;        /* also when nobody follows it (view/record.h) */
    uint64_t changes_max;      /* at most so many; 0: DBK_VIEW_CHANGES_MAX */
    uint64_t change_bytes_max; /* and so large; 0: DBK_VIEW_CHANGE_BYTES_MAX */
    const char *const *key;    /* columns by which a row stays the same one when it changes */
    size_t key_count;
    size_t key_place; /* in the file */
    const struct dbk_alert_definition *alerts;
    size_t alert_count;
    const char *folder;         /* the book's; where commands run and files are named from */
    struct dbk_schedule verify; /* ON_DEMAND: by nobody's clock */
    bool verify_mends;          /* what differs is refreshed fully at once */
    size_t verify_place;        /* in the file */
    int64_t keep_us;            /* how long what a changed SELECT replaced is kept; 0: not at all */
};
/* Without a word in the head. */
#define DBK_VIEW_KEEP_US (INT64_C(7) * 86400 * 1000000)

/* How many differences of a view are kept for who follows it, and how large they are together. */
#define DBK_VIEW_CHANGES_MAX UINT64_C(100000)
#define DBK_VIEW_CHANGE_BYTES_MAX (UINT64_C(64) << 20)

/* Reads the head of a view file. Faults go to the list. */
int dbk_view_parse(const char *name, const char *file, struct dbk_slice text,
                   const char *database_default, struct dbk_arena *arena,
                   struct dbk_view_definition *definition_out, struct dbk_diagnostics *diagnostics,
                   struct dbk_error *err) DBK_MUST_CHECK;

/* SHA-256 of the file, in hexadecimal: whose rows are stored. */
#define DBK_VIEW_FINGERPRINT_SIZE 65 /* with its NUL */

/* Copies a definition into an arena. DBK_ENOMEM */
int dbk_view_definition_copy(struct dbk_arena *arena, const struct dbk_view_definition *from,
                             struct dbk_view_definition *to) DBK_MUST_CHECK;

/*
 * Checks views against the models' schemas in memory databases: one SELECT, read-only, columns
 * named and unique, tables in scope (with a did-you-mean), no cycles. Of a server's views only
 * cycles are looked for: what they read the server alone knows. Faults go to the list.
 */
int dbk_views_check(const struct dbk_view_definition *views, size_t view_count,
                    const struct dbk_model_definition *models, size_t model_count,
                    struct dbk_diagnostics *diagnostics, struct dbk_error *err) DBK_MUST_CHECK;

/* What a query may read: views that have been checked, and the models' tables. */
struct dbk_view_scope {
    const struct dbk_view_definition *views;
    size_t view_count;
    const struct dbk_model_definition *models;
    size_t model_count;
};

/*
 * Checks queries in that scope as views are checked: one SELECT, read-only, columns named once,
 * tables in scope. Of a definition only file, database and sql count, and the name is NULL; there
 * may be parameters. Faults go to the list.
 */
int dbk_views_check_queries(const struct dbk_view_definition *queries, size_t query_count,
                            const struct dbk_view_scope *scope, struct dbk_diagnostics *diagnostics,
                            struct dbk_error *err) DBK_MUST_CHECK;

struct dbk_views;
/* store, models and os are kept until free. */
int dbk_views_open(struct dbk_store *store, struct dbk_models *models, struct dbk_os *os,
                   struct dbk_views **views_out, struct dbk_error *err) DBK_MUST_CHECK;
/* Stops the scheduler after the refreshes it is in. */
void dbk_views_free(struct dbk_views *views);
/*
 * Adds a view; the definition is copied. models are the book's definitions: those of the same
 * database whose tables the SELECT names are waited for before a refresh. In a writing process
 * what an interrupted refresh left behind is removed.
 */
int dbk_views_add(struct dbk_views *views, const struct dbk_view_definition *definition,
                  const struct dbk_model_definition *models, size_t model_count, bool writer,
                  struct dbk_error *err) DBK_MUST_CHECK;
/* Ends in a database what views needed that are no longer in the book; of a server once the
   scheduler runs and reaches it. In a writing process, when all views have been added. */
int dbk_views_settle(struct dbk_views *views, const char *database_path,
                     struct dbk_error *err) DBK_MUST_CHECK;
/* Starts the scheduler: one refresh of a view at a time, of different ones some at a time; a run
   missed while nothing ran is made up for once. */
int dbk_views_start(struct dbk_views *views, struct dbk_error *err) DBK_MUST_CHECK;

/* As `after`: with what there is. */
#define DBK_VIEW_AS_IT_IS UINT64_MAX

/*
 * Refreshes now: first waits until the models it reads have posted up to `after` (0: what the log
 * holds now). With it are refreshed those that it stands on by `refresh: downstream`, and those
 * with its schedule that read the same source as it does by another way. Joins a refresh of the
 * same view that is under way.
 * DBK_EREFUSED  a view on which it stands failed when it was last refreshed
 * DBK_ENOTFOUND; DBK_ETIMEOUT; DBK_ESCRIPT and others: the SELECT failed, the old result stays
 */
int dbk_views_refresh(struct dbk_views *views, const char *name, uint64_t after,
                      dbk_progress_fn progress, void *context,
                      struct dbk_error *err) DBK_MUST_CHECK;

/* Appends a JSON object that tells how a view is maintained (view/explain.h). DBK_ENOTFOUND */
int dbk_views_explain(struct dbk_views *views, const char *name, bool writer, struct dbk_buf *out,
                      struct dbk_error *err) DBK_MUST_CHECK;
/* What a verification has found. */
struct dbk_view_check {
    int64_t at_us;     /* when it ended; DBK_TIME_NONE: there was none */
    uint64_t position; /* of the rows */
    uint64_t rows;     /* how many there were */
    uint64_t more;     /* of them, those that the SELECT does not give */
    uint64_t less;     /* and those that were missing */
};
/*
 * Compares a view's rows with its SELECT, after a refresh where one is needed, and keeps what it
 * found. Only in a writing process.
 * DBK_ECORRUPT  they differ: the message says how, and the next refresh is a full one
 * DBK_EBUSY     its sources changed each time before they could be compared
 */
int dbk_views_verify(struct dbk_views *views, const char *name, struct dbk_view_check *check_out,
                     struct dbk_error *err) DBK_MUST_CHECK;

/*
 * Swaps the generation that is kept with the one that serves, once a refresh that is under way has
 * ended. From here on the view is kept by the file that made what serves now, until its file is
 * changed, or it is rolled back once more. The next refresh is a full one. Only in a writing
 * process.
 * DBK_ENOTFOUND  none is kept
 * DBK_ECORRUPT   it cannot be read: what serves stays
 * DBK_EREFUSED   it reads a view that reads it by now
 */
int dbk_views_roll_back(struct dbk_views *views, const char *name,
                        struct dbk_error *err) DBK_MUST_CHECK;
/* Removes the generation that is kept of a view, however short a time it has been. */
int dbk_views_forget_kept(struct dbk_views *views, const char *name,
                          struct dbk_error *err) DBK_MUST_CHECK;

/* What a view's file asks for that is not stored. */
enum dbk_view_action {
    DBK_VIEW_NOTHING,
    DBK_VIEW_BUILD,   /* it was never refreshed */
    DBK_VIEW_REBUILD, /* its file is another than that of what serves */
    DBK_VIEW_REFRESH, /* what it reads is built anew, so that its next refresh is a full one */
};
const char *dbk_view_action_text(enum dbk_view_action action);
struct dbk_view_planned {
    const char *name;
    enum dbk_view_action action;
    char because[160];   /* also of nothing, after a rollback; else empty */
    int64_t duration_us; /* an estimate */
    uint64_t size;       /* an estimate; 0: it is not known */
    char basis[128];     /* of the estimates */
    int64_t keep_us;     /* how long what it replaces is kept; 0: it is not */
};
/* Of the view with that index. */
int dbk_views_planned(struct dbk_views *views, size_t index, struct dbk_view_planned *planned_out,
                      struct dbk_error *err) DBK_MUST_CHECK;

struct dbk_view_status {
    const char *name;
    const char *database;
    char refresh[DBK_SCHEDULE_TEXT_SIZE]; /* the schedule in words */
    uint64_t generation;                  /* 0: never refreshed */
    uint64_t position;   /* the result is as of this position: 'as of' with every answer */
    int64_t as_of_us;    /* no later than what it read was looked at */
    int64_t duration_us; /* of the last refresh */
    uint64_t rows;
    uint64_t size;          /* bytes, with indexes, as counted a minute ago at most; 0: not known */
    int64_t next_us;        /* next run; DBK_TIME_NONE: no clock says when */
    int64_t lag_us;         /* how old the oldest event is that it lacks; 0: none */
    int64_t target_us;      /* what `refresh: lag` allows; 0: it says nothing */
    bool late;              /* lag_us is past it */
    const char *state;      /* "ready", "empty", "refreshing", "failed", "blocked" or "waiting" */
    const char *blocked_by; /* the view on which it stands and that failed; NULL: none */
    const char *waits_for;  /* the model for which a refresh that is due waits; NULL: none */
    bool refreshing;
    enum dbk_view_mode mode;      /* of the head */
    enum dbk_view_mode refreshed; /* how the last refresh was done: FULL or INCREMENTAL */
    uint64_t changes;             /* rows of its sources that it applied; 0 of a full one */
    char reason[512];             /* why it was a full one; empty: it was not */
    int64_t full_us;              /* what the last full one took; 0: there was none */
    int64_t incremental_us;       /* of the last one of 100 changes and more (view/catalog.h) */
    uint64_t incremental_changes; /* and the rows it applied */
    bool changed;                 /* the file differs from what made the stored result */
    bool rolled_back;             /* so that not the file but what serves says what it shows */
    uint64_t kept_generation;     /* that a rollback swaps in; 0: none is */
    uint64_t kept_position;       /* it is not kept up to date: its rows are as of this position */
    int64_t kept_as_of_us;        /* and this time */
    uint64_t kept_rows;
    int64_t kept_until_us;
    char verify[DBK_SCHEDULE_TEXT_SIZE]; /* the schedule in words; empty: there is none */
    bool verify_mends;
    int64_t verify_next_us;        /* DBK_TIME_NONE: it is not known */
    struct dbk_view_check checked; /* by the last verification */
    uint64_t mended;               /* how often it was refreshed for what one found, since start */
    struct dbk_error unchecked;    /* why the last scheduled one came to no end; DBK_OK: it did */
    struct dbk_error error;        /* of the last refresh; code DBK_OK: it succeeded */
};
size_t dbk_views_count(const struct dbk_views *views);
/* The indexes of all views, each behind those that it reads; there is room for as many. */
void dbk_views_order(const struct dbk_views *views, size_t *order_out);
/* Empties the write-ahead log of each database that has views: what refreshes removed is then in no
   file of it. DBK_EBUSY: someone reads an older state. */
int dbk_views_checkpoint(struct dbk_views *views, struct dbk_error *err) DBK_MUST_CHECK;
int dbk_views_status(struct dbk_views *views, size_t index, struct dbk_view_status *status_out,
                     struct dbk_error *err) DBK_MUST_CHECK;
int dbk_views_find(struct dbk_views *views, const char *name, size_t *index_out,
                   struct dbk_error *err) DBK_MUST_CHECK;

/* What a view gives, into a plain table of its name. */
struct dbk_view_copy {
    const char *name;
    const char *fingerprint;
    uint64_t position; /* that the rows are as of */
    int64_t as_of_us;  /* when they are read */
    int column_count;
    const char *(*column)(void *context, int column);
    int (*next)(void *context, struct dbk_error *err); /* 1: a row; 0: the end; or an error */
    struct dbk_value (*value)(void *context, int column);
    void *context;
    dbk_progress_fn progress; /* may be NULL; false ends it: DBK_ESTOPPED */
    void *progress_context;
};
/* Makes the table, and the catalog with the view's row, inside of a transaction. */
int dbk_view_copy_rows(struct dbk_connection *connection, const struct dbk_view_copy *copy,
                       uint64_t *rows_out, struct dbk_error *err) DBK_MUST_CHECK;
/* How many rows such a file's view has. */
int dbk_view_copied(const char *file, const char *name, uint64_t *rows_out,
                    struct dbk_error *err) DBK_MUST_CHECK;

#endif
