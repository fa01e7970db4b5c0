/* SPDX-License-Identifier: Apache-2.0 */
/*
 * state -- the views of an open book, between view.c and their scheduler.
 *
 * A view is idle or refreshing; `refreshing` is set and cleared under the mutex by
 * dbk_views_refresh (refreshing.c), for all views that are refreshed together, and whoever asks for
 * a refresh of one of them meanwhile joins the one under way and gets its outcome.
 *
 * A view whose last refresh failed blocks those that stand on it: they are not refreshed, and their
 * status names it. One that waits for a model, or is blocked itself, has not failed.
 *
 * A view is kept by its form: that of its file, or after a rollback (rollback.c) that of the file
 * that made the generation that serves. Forms and groups never change; a rollback sets others,
 * which who has read one before does not see.
 */
#ifndef DBK_VIEW_STATE_H
#define DBK_VIEW_STATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "view/alert.h"
#include "view/home.h"
#include "view/view.h"

/* How many views the scheduler refreshes at the same time, those of servers half as many. */
#define DBK_VIEW_THREADS 4

/* What the scheduler knows of a view. */
struct dbk_turn {
    bool held;             /* one of its threads looks at it, or refreshes it */
    uint64_t seen;         /* how far the sources were at its last refresh; 0: that failed */
    uint64_t before;       /* and where they are while it is refreshed */
    uint64_t wanted;       /* it is due, and waits for its models to get there; 0: it does not */
    const char *waits_for; /* the model that has not; NULL: none */
    int64_t not_before_us; /* it failed, and is tried again then */
};

/* What computes a view's rows. */
struct dbk_view_form {
    /* Name, database, schedule and what is kept of changes are always those of the file. */
    struct dbk_view_definition definition;
    struct dbk_view_source source;
    char fingerprint[DBK_VIEW_FINGERPRINT_SIZE];
};

/* A view and those that are refreshed with it, by index, each behind what it reads. */
struct dbk_view_group {
    size_t count;
    size_t members[];
};

struct dbk_view {
    struct dbk_view_definition definition; /* of its file */
    struct dbk_view_form *file;
    _Atomic(const struct dbk_view_form *) form;
    _Atomic(const struct dbk_view_group *) group;
    const struct dbk_view_home *home;
    struct dbk_view_session *session; /* of whoever refreshes; NULL: none is kept */
    bool settled;                     /* its form is the one that its home asks for */
    bool refreshing;
    bool swapped_next;        /* it is to be swapped with its model, and stands still (along.c) */
    bool failed;              /* its last refresh did, also one before this process */
    uint64_t runs;            /* refreshes ended */
    struct dbk_error result;  /* of the last one, as those who joined get it */
    struct dbk_error outcome; /* of the last one that was begun */
    struct dbk_turn turn;
    bool verify_known; /* verify_us is when it is due to be verified; else, when to look */
    int64_t verify_us;
    uint64_t mended;            /* how often it was refreshed because it differed */
    struct dbk_error unchecked; /* why its last verification by schedule came to no end */
    /* What its home said last, or why it did not. */
    struct dbk_view_row row;
    struct dbk_kept kept;
    struct dbk_error row_failure;
    int64_t row_us; /* when; 0: ask it */
    /* And of a generation's size. */
    uint64_t size;
    uint64_t size_generation;
    int64_t size_us;
};

struct dbk_views {
    struct dbk_store *store;
    struct dbk_models *models;
    struct dbk_os *os;
    const struct dbk_model_definition *definitions; /* of the book's models */
    size_t definition_count;
    struct dbk_arena arena; /* with the mutex, once the scheduler runs */
    struct dbk_view *views;
    size_t count;
    bool writer;
    struct dbk_view_remotes remotes; /* of the scheduler, once it runs */
    pthread_mutex_t mutex;           /* guards what changes of views, led, busy and stopping */
    pthread_mutex_t swapping;        /* held to build views that a model swaps, or to settle */
    pthread_cond_t changed;
    /* And for the log, what is left in servers, and verifications. */
    pthread_t threads[DBK_VIEW_THREADS + 3];
    size_t thread_count;
    bool led;       /* one of the threads looks what is due */
    bool rests;     /* it waits, and has not been told that something moved */
    uint64_t wakes; /* how often something has moved that views may stand on */
    size_t busy;    /* views of servers that threads hold */
    bool stopping;
    struct dbk_connection *verifying; /* of the verification by schedule that is under way */
    int64_t verify_rest_us;           /* none begins before, by the monotonic clock */
    struct dbk_alert *alerts;         /* that run; counted with the mutex */
    size_t alert_count;
    _Atomic bool ends; /* what they have begun outside */
};

/* Finds which views are refreshed together (together.c), when all are there or one more is, or one
   has another form. DBK_ENOMEM */
int dbk_views_join(struct dbk_views *views) DBK_MUST_CHECK;
static inline const struct dbk_view_form *dbk_view_form(const struct dbk_view *view)
{
    return atomic_load(&view->form);
}
static inline const struct dbk_view_group *dbk_view_group(const struct dbk_view *view)
{
    return atomic_load(&view->group);
}
/* The hexadecimal SHA-256 of a view's file. */
void dbk_view_fingerprint(struct dbk_slice text, char text_out[DBK_VIEW_FINGERPRINT_SIZE]);
/* Adds to a form's source the models and views of the same database whose names its SELECT has. */
int dbk_view_sources(struct dbk_views *views, struct dbk_view_form *form,
                     struct dbk_error *err) DBK_MUST_CHECK;
/*
 * Sees to it that a view has the form that its home asks for: another than its file's after a
 * rollback. Before it is refreshed.
 */
int dbk_view_settle_form(struct dbk_views *views, struct dbk_view *view,
                         struct dbk_error *err) DBK_MUST_CHECK;
/* Removes what was replaced by then. */
int dbk_view_drop_kept(struct dbk_views *views, struct dbk_view *view, int64_t before_us,
                       struct dbk_error *err) DBK_MUST_CHECK;
/* What its home is told of a view. */
struct dbk_view_refresh dbk_view_describe(const struct dbk_views *views,
                                          const struct dbk_view *view);
/* Claims a view as a refresh does, behind one that is under way, and ends that. */
void dbk_view_claim(struct dbk_views *views, struct dbk_view *view);
void dbk_view_unclaim(struct dbk_views *views, struct dbk_view *view);
/* The view that failed and on which this one stands; NULL: none has. With the mutex. */
const struct dbk_view *dbk_view_blocker(struct dbk_views *views, const struct dbk_view *view);
/*
 * How old the oldest event is that the stored rows lack, or, of a view that stands on no model and
 * no view, the rows themselves. Zeros: nothing is missing. since_us_out: when that began.
 */
int dbk_view_lag(struct dbk_views *views, const struct dbk_view *view,
                 const struct dbk_view_row *row, int64_t *lag_us_out, int64_t *since_us_out,
                 struct dbk_error *err) DBK_MUST_CHECK;
/* When a view with a lag is to be refreshed, so that it keeps it: there is a tenth of it, and twice
   what the last refresh took, left. */
int64_t dbk_view_lag_due(const struct dbk_view *view, const struct dbk_view_row *row,
                         int64_t since_us);
/* A view is not refreshed any longer, and others may stand on it. With the mutex. */
void dbk_view_ended(struct dbk_views *views);
/* Something has moved that views may stand on: it is looked what is due. */
void dbk_views_wake(void *context);
/* Waits so long for something to change; with the mutex. */
void dbk_views_sleep(struct dbk_views *views, int64_t duration_us);
/* The thread that verifies by schedule; NULL: no view asks for it. */
void *(*dbk_views_verifier(const struct dbk_views *views))(void *);
/* Interrupts the verification by schedule that is under way; with the mutex, once it stops. */
void dbk_views_end_verifying(struct dbk_views *views);
/* Ends the scheduler's threads after the refreshes they are in. */
void dbk_views_stop(struct dbk_views *views);

/* The names of the views that lie in a database; `context` is a struct dbk_views. */
size_t dbk_views_names_in(void *context, const char *address, const char **names);
/* Whether what was read of a view's row lately is taken for true. With the mutex. */
bool dbk_view_row_is_known(const struct dbk_views *views, const struct dbk_view *view);
/* A view's row and what is kept of it; as was read lately, where that is not long ago. */
int dbk_views_row(struct dbk_views *views, struct dbk_view *view, struct dbk_view_row *row_out,
                  struct dbk_error *err) DBK_MUST_CHECK;
int dbk_views_kept(struct dbk_views *views, struct dbk_view *view, struct dbk_view_row *row_out,
                   struct dbk_kept *kept_out, struct dbk_error *err) DBK_MUST_CHECK;

#endif
