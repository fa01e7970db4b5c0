/* SPDX-License-Identifier: Apache-2.0 */
/*
 * alert -- somebody is told of rows of a view that begin to fulfil an expression.
 *
 *     -- alert: low_stock
 *     -- when: qty < 5
 *     -- to: https://hooks.example/stock
 *     -- header: Authorization: env:STOCK_TOKEN
 *
 * It is judged by what refreshes change (view/record.h): a row that came, or changed, and fulfils
 * `when`, is told of, unless the row that it was fulfilled it, too. What is told has an id that
 * stays the same however often it is told, made of view, alert, and the change's own.
 *
 *     _daybook_differences --(judge: cursor and what is due, in one transaction)-->
 *         _daybook_alerts_due --(send; then it goes, and is counted, in one)--> webhook, command
 *                  |
 *                  +--(refused for good, or for a day)--> aside, until retried or dropped
 *
 * An alert's are sent one at a time, in the order of the changes; alerts do not wait for each
 * other. A crash between sending and noting it sends once more. What waits is bounded: past
 * DBK_ALERT_DUE_MAX nothing is judged until some of it has gone, and what is no longer kept of the
 * changes by then counts as missed, and the alert says so.
 *
 *     _daybook_alerts                               _daybook_alerts_due
 *     view, alert  PRIMARY KEY                      view, alert, number  PRIMARY KEY
 *     epoch, seq   judged up to here; '': to        id           of the change: epoch.seq
 *                  where its record begins          position     that the view was fresh to
 *     made         the last number                  old, new     the rows, JSON
 *     delivered, last, last_us                      attempts, tried, next
 *     failures, missed, dropped                     aside        1: given up
 *     paused, error                                 reason       why the last one failed
 *
 * Threads: one an alert, in the process that holds the book (alerting.c); status from any.
 * Source:  docs/format/view.md.
 */
#ifndef DBK_VIEW_ALERT_H
#define DBK_VIEW_ALERT_H

#include <pthread.h>

#include "view/view.h"

struct dbk_view;

#define DBK_ALERT_DUE_MAX 10000  /* that wait, of an alert */
#define DBK_ALERT_ASIDE_MAX 1000 /* that are set aside; of more the oldest go */
#define DBK_ALERT_ID_SIZE 48     /* of a change, with its NUL */
/* So often in a row one has failed when its alert is stuck. */
#define DBK_ALERT_STUCK 4

int dbk_alerts_copy(struct dbk_arena *arena, const struct dbk_view_definition *from,
                    struct dbk_view_definition *to) DBK_MUST_CHECK;

struct dbk_alert_status {
    const struct dbk_alert_definition *definition;
    uint64_t delivered;
    char last[DBK_ALERT_ID_SIZE]; /* of the last one delivered; empty: none was */
    int64_t last_us;
    uint64_t waiting;
    uint64_t aside;
    uint64_t failures; /* tries that failed, ever */
    uint64_t attempts; /* of those, for the one that is tried now */
    uint64_t missed;   /* how often changes were no longer there to be judged, or told of */
    uint64_t dropped;  /* set aside, and gone since there were too many */
    int64_t next_us;   /* when it is tried again; DBK_TIME_NONE: nothing waits for that */
    bool paused;
    bool stuck;
    char error[DBK_ERROR_MESSAGE_SIZE]; /* of the last try; empty: it was delivered */
};
/* Those of a view are numbered as they stand in its head. */
int dbk_views_alert_status(struct dbk_views *views, size_t view, size_t alert,
                           struct dbk_alert_status *status_out,
                           struct dbk_error *err) DBK_MUST_CHECK;
size_t dbk_views_alert_count(const struct dbk_views *views, size_t view);

/* One that waits, or was set aside; valid for the call. */
struct dbk_alert_due {
    const char *id;
    uint64_t position;
    uint64_t attempts;
    int64_t next_us; /* DBK_TIME_NONE: at once */
    bool aside;
    struct dbk_slice old_row; /* JSON; empty: there was none */
    struct dbk_slice new_row;
    struct dbk_slice reason; /* empty: it was not tried yet */
};
typedef int (*dbk_alert_due_fn)(const struct dbk_alert_due *due, void *context);
/* Those of an alert, those set aside first, then in their order; `limit` at most. DBK_ENOTFOUND. */
int dbk_views_alert_list(struct dbk_views *views, size_t view, const char *name, uint64_t limit,
                         dbk_alert_due_fn each, void *context,
                         struct dbk_error *err) DBK_MUST_CHECK;

enum dbk_alert_action {
    DBK_ALERT_PAUSE,  /* it is judged, and nothing is sent */
    DBK_ALERT_RESUME, /* again, and at once */
    DBK_ALERT_RETRY,  /* what was set aside waits again, before all else */
    DBK_ALERT_DROP,   /* what was set aside goes */
    DBK_ALERT_ACTION_COUNT
};
/* "pause", … */
const char *dbk_alert_action_text(enum dbk_alert_action action);
/* Only in the process that holds the book. DBK_ENOTFOUND: there is no such alert. */
int dbk_views_alert_do(struct dbk_views *views, size_t view, const char *name,
                       enum dbk_alert_action action, struct dbk_error *err) DBK_MUST_CHECK;

/* ---- For the room ---- */

/* Makes the tables, and ends what is of alerts that the view no longer has. */
int dbk_alerts_clean(struct dbk_connection *connection,
                     const struct dbk_view_definition *definition,
                     struct dbk_error *err) DBK_MUST_CHECK;
/* Of views that are not among these names. */
int dbk_alerts_keep(struct dbk_connection *connection, const char *const *views, size_t count,
                    struct dbk_error *err) DBK_MUST_CHECK;
/* What waits of a view is not sent: it may tell of who was forgotten. In a write transaction. */
int dbk_alerts_forget(struct dbk_connection *connection, const char *view,
                      struct dbk_error *err) DBK_MUST_CHECK;
/* Whether `when` can be judged of the rows of a table that has the view's name and columns. 1: it
   cannot; fault_out says why (in the arena), offset_out where in the file. */
int dbk_alert_check(struct dbk_connection *connection, const struct dbk_view_definition *definition,
                    size_t alert, struct dbk_arena *arena, struct dbk_diagnostic *fault_out,
                    size_t *offset_out) DBK_MUST_CHECK;

/* An alert's work, by one thread. */
struct dbk_alert {
    struct dbk_views *views;
    struct dbk_view *view;
    const struct dbk_alert_definition *definition;
    struct dbk_connection *connection;
    struct dbk_json *json;
    void *http; /* struct dbk_http_session; NULL: none was needed yet */
    pthread_t thread;
    struct dbk_error failure; /* not of a delivery; with the views' mutex */
};
/* Judges some changes. 1: there are more. */
int dbk_alert_judge(struct dbk_alert *alert, struct dbk_error *err) DBK_MUST_CHECK;
/* Sends the first that waits, if it is time. 1: there may be more; 0: there is nothing to do until
   next_us_out (DBK_TIME_NONE: until something is judged). DBK_ESTOPPED: the daemon ends. */
int dbk_alert_send(struct dbk_alert *alert, int64_t *next_us_out,
                   struct dbk_error *err) DBK_MUST_CHECK;
/* Begins and ends the threads of all alerts. */
int dbk_alerts_start(struct dbk_views *views, struct dbk_error *err) DBK_MUST_CHECK;
void dbk_alerts_stop(struct dbk_views *views);

/* Runs a statement with parameters to its end. */
int dbk_alert_run(struct dbk_connection *connection, const char *sql,
                  const struct dbk_value *values, size_t count,
                  struct dbk_error *err) DBK_MUST_CHECK;
/* Of those set aside the oldest go, past DBK_ALERT_ASIDE_MAX. In a write transaction. */
int dbk_alert_trim(const struct dbk_alert *alert, struct dbk_error *err) DBK_MUST_CHECK;
/* Prepares a statement for an alert: ?1 is the view, ?2 the alert. */
int dbk_alert_open(const struct dbk_alert *alert, const char *sql,
                   struct dbk_statement **statement_out, struct dbk_error *err) DBK_MUST_CHECK;

#endif
