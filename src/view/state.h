/* SPDX-License-Identifier: Apache-2.0 */
/*
 * state -- the views of an open book, between view.c and their scheduler.
 *
 * A view is idle or refreshing; `refreshing` is set and cleared under the mutex by
 * dbk_views_refresh, and whoever asks for a refresh meanwhile joins the one under way and gets its
 * outcome.
 */
#ifndef DBK_VIEW_STATE_H
#define DBK_VIEW_STATE_H

#include <pthread.h>

#include "view/home.h"
#include "view/view.h"

struct dbk_view {
    struct dbk_view_definition definition;
    struct dbk_view_source source;
    char fingerprint[DBK_VIEW_FINGERPRINT_SIZE];
    const struct dbk_view_home *home;
    struct dbk_view_session *session; /* of whoever refreshes; NULL: none is kept */
    bool refreshing;
    uint64_t runs;            /* refreshes ended */
    uint64_t seen;            /* of the scheduler: how far the sources were at its last refresh */
    int64_t not_before_us;    /* of the scheduler: it failed, and is tried again then */
    struct dbk_error outcome; /* of the last one */
    /* Of a remote home: what it said last, or why it did not. */
    struct dbk_view_row row;
    struct dbk_error row_failure;
    int64_t row_us; /* when; 0: ask it */
};

struct dbk_views {
    struct dbk_store *store;
    struct dbk_models *models;
    struct dbk_os *os;
    struct dbk_arena arena;
    struct dbk_view *views;
    size_t count;
    struct dbk_view_remotes remotes; /* of the scheduler, once it runs */
    pthread_mutex_t mutex;           /* guards refreshing, runs, outcome, rows, stopping */
    pthread_cond_t changed;
    pthread_t scheduler;
    bool scheduled;
    bool stopping;
};

/* The names of the views that lie in a database; `context` is a struct dbk_views. */
size_t dbk_views_names_in(void *context, const char *address, const char **names);
/* A view's row; of a server what it said lately, where that is not long ago. */
int dbk_views_row(struct dbk_views *views, struct dbk_view *view, struct dbk_view_row *row_out,
                  struct dbk_error *err) DBK_MUST_CHECK;

#endif
