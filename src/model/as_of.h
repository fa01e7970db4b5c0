/* SPDX-License-Identifier: Apache-2.0 */
/*
 * as_of -- a read model as it was at a time, in a file of its own.
 *
 * The definition of the files as they are now is posted from the first event into a fresh SQLite
 * file: up to the last position recorded at the time, or, by occurrence, only events that had
 * occurred then (one without counts by its time), in position order all the same. The live model is
 * not touched, and a process that only reads the book can do it.
 *
 *     <folder>/lock                                  one build at a time
 *     <folder>/<model>-at-<position>-<definition>.db
 *     <folder>/<model>-occurred-<time>-<definition>.db
 *     <folder>/<view>-view-at-<position>-<definition>.db, and by occurrence likewise
 *
 * Such a file is kept and found again: by position for a time, by instant for an occurrence, where
 * what has been appended since is added, as it may have occurred before. Position and rows change
 * in one transaction, so that a build that was cut short is gone on with. docs/format/view.md has
 * the table `_daybook_as_of` in it.
 *
 * Threads: all functions from any thread.
 * Source:  docs/time.md.
 */
#ifndef DBK_MODEL_AS_OF_H
#define DBK_MODEL_AS_OF_H

#include "model/model.h"
#include "os/os.h"

#define DBK_AS_OF_PATH_SIZE 4096

struct dbk_as_of_time {
    bool occurred;   /* else by when it was recorded */
    int64_t time_us; /* what was at this instant belongs to it */
};

struct dbk_as_of_options {
    struct dbk_os *os;
    const char *folder; /* where the files lie; made when missing */
    const char *file;   /* build this one instead of one in the folder; NULL: none */
    const char *model;
    struct dbk_as_of_time time;
    uint64_t position_max;    /* nothing past it, so that several are of one moment; 0: none */
    dbk_progress_fn progress; /* may be NULL; false ends the build, to be gone on with */
    void *context;
};

struct dbk_as_of {
    char file[DBK_AS_OF_PATH_SIZE];
    uint64_t position;        /* everything up to it is in, as far as it belongs to the time */
    int64_t position_time_us; /* when that event was recorded; DBK_TIME_NONE: there is none */
    uint64_t begun;           /* where the build began: behind what an earlier one had left */
    bool found;               /* the file was whole already */
    uint64_t letters;         /* events set aside, which are not in it (model/letters.h) */
};

/* The last position that has to be looked at for a time: by occurrence it is the log's last. */
int dbk_models_as_of_position(struct dbk_store *store, const struct dbk_as_of_time *time,
                              uint64_t *position_out, struct dbk_error *err) DBK_MUST_CHECK;

/*
 * Builds a model's file, or finds it. Waits for another build.
 *
 * DBK_ENOTFOUND  no such model
 * DBK_EEXISTS    `file` is there and is something else
 * DBK_ESTOPPED   progress ended it
 * DBK_ESCRIPT, DBK_EREFUSED  a handler failed; the message names event and statement
 * DBK_EIO, DBK_EFULL, DBK_EDENIED, DBK_ECORRUPT, DBK_ENOMEM
 */
int dbk_models_as_of(struct dbk_models *models, const struct dbk_as_of_options *options,
                     struct dbk_as_of *as_of_out, struct dbk_error *err) DBK_MUST_CHECK;

/*
 * A view's file, which lies among those of models and is made of them. Its rows come in one
 * transaction: one that was cut short is begun anew.
 */
struct dbk_as_of_view_options {
    struct dbk_os *os;
    const char *folder;
    const char *file; /* build this one instead of one in the folder; NULL: none */
    const char *view;
    const char *fingerprint; /* of its definition */
    struct dbk_as_of_time time;
    uint64_t target;          /* the position that it is of */
    dbk_progress_fn progress; /* may be NULL; false ends the wait for another build */
    void *context;
};
/* A model's definition as it is now, as SHA-256 in hexadecimal; NULL: no such model. */
const char *dbk_models_fingerprint(struct dbk_models *models, const char *name);
/* Where it lies. found_out: it is there and whole. */
int dbk_as_of_view_find(struct dbk_models *models, const struct dbk_as_of_view_options *options,
                        char path_out[DBK_AS_OF_PATH_SIZE], bool *found_out,
                        struct dbk_error *err) DBK_MUST_CHECK;
struct dbk_as_of_view;
/* Begins it, when all models have been built that it needs; waits for other builds.
   DBK_EEXISTS: `file` is there and is something else; DBK_ESTOPPED; and as dbk_models_as_of. */
int dbk_as_of_view_begin(struct dbk_models *models, const struct dbk_as_of_view_options *options,
                         struct dbk_as_of_view **view_out, struct dbk_error *err) DBK_MUST_CHECK;
/* In a transaction, for the view's table and rows. */
struct dbk_connection *dbk_as_of_view_connection(struct dbk_as_of_view *view);
/* Ends it: whole where rc is DBK_OK, else as if it had not been begun, and rc is returned. */
int dbk_as_of_view_end(struct dbk_as_of_view *view, int rc, struct dbk_error *err);

/* A file in the folder. Texts are valid during the call. */
struct dbk_as_of_file {
    const char *name;
    const char *model;       /* or the view */
    const char *fingerprint; /* of its definition */
    bool view;
    struct dbk_as_of_time time;
    uint64_t position;
    uint64_t target; /* past `position`: half built */
    uint64_t size;   /* bytes */
    bool current;    /* of the definition as it is now; of a view it is not said */
};
typedef int (*dbk_as_of_each_fn)(const struct dbk_as_of_file *file, void *context);

/* Calls each for every file, until one is negative. No folder: none. */
int dbk_models_as_of_list(struct dbk_models *models, struct dbk_os *os, const char *folder,
                          dbk_as_of_each_fn each, void *context,
                          struct dbk_error *err) DBK_MUST_CHECK;
/*
 * Removes files: all, or a model's, or that of a model's time (time NULL: any).
 *
 * DBK_EBUSY  one is being built
 */
enum dbk_as_of_kind {
    DBK_AS_OF_ANY, /* also files that cannot be read */
    DBK_AS_OF_MODELS,
    DBK_AS_OF_VIEWS,
};
struct dbk_as_of_removal {
    struct dbk_os *os;
    const char *folder;
    enum dbk_as_of_kind kind;
    const char *model;                 /* or view; NULL: of all, also of those that are no more */
    const struct dbk_as_of_time *time; /* NULL: any */
};
int dbk_models_as_of_remove(struct dbk_models *models, const struct dbk_as_of_removal *removal,
                            uint64_t *count_out, struct dbk_error *err) DBK_MUST_CHECK;

#endif
