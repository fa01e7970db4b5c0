/* SPDX-License-Identifier: Apache-2.0 */
/*
 * home -- what keeping a view takes, in the kind of database where it is kept.
 *
 * A view lies where what it reads lies. Its definition, schedule and status are the same everywhere
 * (view.c); how its rows are filled, brought up to date, told of and compared is the home's. That
 * of SQLite is built in; others come with the modules of their databases (target/driver.h).
 *
 * Threads: one refresh of a view at a time; the others from any.
 */
#ifndef DBK_VIEW_HOME_H
#define DBK_VIEW_HOME_H

#include "view/explain.h"
#include "view/kept.h"

/* What a module exports beside its driver. */
#define DBK_VIEW_HOME_SYMBOL "dbk_view_home"

struct dbk_view_build;

struct dbk_view_home {
    /* A server: asking it costs a connection, and it may be down while the book is open. */
    bool remote;
    bool records; /* views there can be followed (view/changes.h) */
    /* Makes the catalog, and removes what a refresh that a crash cut short has left behind. NULL
       where it is remote: settle does it. */
    int (*clean)(const struct dbk_view_definition *definition, struct dbk_error *err);
    /* Ends in a database what views needed that are not among these names; a remote one also what
       a crash left of those that are. While none is built to be swapped with a model. */
    int (*settle)(const char *address, const char *const *views, size_t count,
                  struct dbk_error *err);
    /* A view's row, and what is kept beside; zeros where there is none. */
    int (*row)(const struct dbk_view_definition *definition, struct dbk_view_row *row_out,
               struct dbk_kept *kept_out, struct dbk_error *err);
    /* The file that made the generation that serves, or the one that is kept, in the arena. */
    int (*file)(const struct dbk_view_definition *definition, bool kept, struct dbk_arena *arena,
                struct dbk_slice *text_out, struct dbk_error *err);
    /* Swaps what is kept with what serves: DBK_ENOTFOUND, DBK_ECORRUPT (view/kept.h). While no
       refresh of the view runs. */
    int (*roll_back)(const struct dbk_view_definition *definition, int64_t now_us,
                     struct dbk_error *err);
    /* Removes what was replaced by then. */
    int (*drop_kept)(const struct dbk_view_definition *definition, int64_t before_us,
                     struct dbk_error *err);
    /* The room that a generation takes, with its indexes and what is stored beside it; 0: nobody
       counts. */
    int (*size)(const struct dbk_view_definition *definition, uint64_t generation,
                uint64_t *size_out, struct dbk_error *err);
    /* How many rows a table or view has. */
    int (*count)(const struct dbk_view_definition *definition, const char *table,
                 uint64_t *count_out, struct dbk_error *err);
    /* As view/refresh.h and view/explain.h have them. */
    int (*refresh)(const struct dbk_view_refresh *refresh, struct dbk_error *err);
    /* NULL: views are always refreshed one after another. */
    int (*refresh_jointly)(const struct dbk_view_refresh *refreshes, size_t count, bool *done_out,
                           struct dbk_error *err);
    int (*session_open)(struct dbk_view_session **session_out, struct dbk_error *err);
    void (*session_free)(struct dbk_view_session *session);
    int (*explain)(const struct dbk_view_refresh *refresh, bool writer, struct dbk_buf *out,
                   struct dbk_error *err);
    int (*verify)(const struct dbk_view_refresh *refresh, struct dbk_view_check *check_out,
                  struct dbk_error *err);
    /* Writes it into the view's row. */
    int (*keep_check)(const struct dbk_view_definition *definition,
                      const struct dbk_view_check *check, struct dbk_error *err);
    int (*distrust)(const struct dbk_view_definition *definition, const struct dbk_error *why,
                    struct dbk_error *err);
    /* As view/build.h has them; NULL: views there are not swapped with models. */
    int (*build_open)(const struct dbk_view_refresh *refresh, struct dbk_view_build **build_out,
                      struct dbk_error *err);
    int (*build_catch_up)(struct dbk_view_build *build, struct dbk_error *err);
    /* NULL: nobody follows views there. */
    int (*build_compare)(struct dbk_view_build *build, struct dbk_error *err);
    int (*build_swap)(struct dbk_view_build *build, struct dbk_connection *connection,
                      struct dbk_error *err);
    struct dbk_view_behind (*build_behind)(struct dbk_view_build *build);
    void (*build_free)(struct dbk_view_build *build, bool swapped);
};

/*
 * Servers in which what views no longer need is still to be ended: when they are reached. All zero
 * at first.
 */
struct dbk_view_remotes {
    const char **addresses;
    size_t count;
    int64_t next_us; /* when to try, by the monotonic clock */
};
/* Fills the names of the views in a database, in room for all, and returns how many. */
typedef size_t (*dbk_view_names_fn)(void *context, const char *address, const char **names);
/* Ends in a database what views needed that are no longer there; of a server later. */
int dbk_view_settle(struct dbk_view_remotes *remotes, const char *address, size_t view_count,
                    dbk_view_names_fn names, void *context, struct dbk_arena *arena,
                    struct dbk_error *err) DBK_MUST_CHECK;
/* Does it on the servers; what cannot be reached is tried again a minute later. */
void dbk_view_remotes_settle(struct dbk_view_remotes *remotes, struct dbk_os *os, size_t view_count,
                             dbk_view_names_fn names, void *context);

/* The home of a database's address. DBK_ENOTFOUND: its module is not installed, or keeps no
   views. */
int dbk_view_home_of(const char *address, const struct dbk_view_home **home_out,
                     struct dbk_error *err) DBK_MUST_CHECK;

#endif
