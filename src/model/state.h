/* SPDX-License-Identifier: Apache-2.0 */
/*
 * state -- the models of an open book, shared by this room's sources.
 *
 * A model's `work` lock is held while its tables change: by its runner for a batch, by the
 * participant from the first batch of a group to its commit, by a rebuild for the swap. What is
 * told to others (position, state, errors) is under the models' one lock.
 */
#ifndef DBK_MODEL_STATE_H
#define DBK_MODEL_STATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/trail.h"
#include "model/aside.h"
#include "model/generation.h"
#include "model/pace.h"
#include "model/poster.h"

/* One transaction of a runner: so many events, or so long. */
#define DBK_POST_EVENTS 2000
#define DBK_POST_US 15000
/* A handler's statement that runs longer is ended. */
#define DBK_POST_LIMIT_US (INT64_C(2) * 1000000)

/* What posts into a database; `transaction` models of one database share it. */
struct dbk_session {
    struct dbk_session *next;
    char *path;
    struct dbk_connection *connection;
    bool open; /* in a group's transaction */
    bool lost; /* SQLite took the group's transaction back by itself */
};

struct dbk_model {
    struct dbk_models *models;
    struct dbk_arena arena;                 /* the definition of the files, and its names */
    struct dbk_model_definition definition; /* of the files */
    char fingerprint[DBK_FINGERPRINT_SIZE];
    bool writer;
    pthread_mutex_t work;
    struct dbk_generation serving; /* changed under work and the models' lock, read under either */
    enum dbk_model_sync sync;      /* of all generations since open: EVENTS or TRANSACTION */
    enum dbk_model_sync said;      /* the file's word */
    struct dbk_session *session;   /* of its own, or shared */
    struct dbk_poster *poster;
    struct dbk_statement *set_position;
    struct dbk_statement *fence;
    /* Of the serving generation; changed as it is. NULL: this process only reads. */
    struct dbk_letters *letters;
    pthread_mutex_t retrying; /* held while letters are retried, told or replaced; before work */
    const char *mode;         /* dbk_connection_mode; NULL: not known yet. Under the models' lock */
    bool opened; /* what follows is set; a server that cannot be reached is tried again */
    bool behind; /* a `transaction` model that missed a commit */
    bool begun;  /* it was opened once */
    struct dbk_pace_batch made; /* what is posted and not committed; under work */
    size_t made_before;         /* noted before the batch that a participant is asked about */
    pthread_t thread;
    bool thread_runs;
    /* under models->lock */
    uint64_t position;
    uint64_t posted;
    uint64_t batches;
    struct dbk_pace pace;
    uint64_t position_begun;  /* where it was when it was opened first */
    struct dbk_trail applied; /* batches: begun, committed */
    struct dbk_trail seen;    /* reads that saw further than those before */
    uint64_t failures;        /* at events that a handler could not digest */
    uint64_t retries;
    bool stopped;
    struct dbk_error error;
    bool rebuilding;
    uint64_t rebuild_generation;
    uint64_t rebuild_position;
};

struct dbk_models {
    struct dbk_store *store;
    struct dbk_models_along along; /* all zero: nothing stands on models */
    struct dbk_folds *folds;       /* whose states handlers may take; NULL: none */
    dbk_append_fn append;          /* how letters are stored */
    void *append_context;
    pthread_mutex_t lock;
    /* Letters that were only in a target, ever, and how many of them the book has been told of: it
       is behind while they differ. */
    _Atomic uint64_t owed;
    _Atomic uint64_t told;
    pthread_mutex_t telling;    /* before any model's `retrying` */
    pthread_mutex_t forgetting; /* held from the event that says it until the key is gone */
    pthread_cond_t moved;
    void (*on_moved)(void *context); /* NULL: nobody is told */
    void *on_moved_context;
    bool stop;
    bool started;
    struct dbk_model **items;
    size_t count;
    struct dbk_session *sessions; /* shared ones */
    uint64_t forgotten;           /* what was begun before this position is not gone on with */
    bool group_open;
    struct dbk_unstored ahead; /* of the group, where a handler takes states */
    int64_t since_us;          /* when they were opened */
    void *lens;                /* the participant's state of the store's lens */
};

/* Finds the serving generation in its database, or makes the first, and opens it. Under `work`,
   or before there are others. */
int dbk_model_open(struct dbk_model *model, struct dbk_error *err) DBK_MUST_CHECK;
void dbk_model_close(struct dbk_model *model);
/* Opens the serving generation: poster and statements on the model's session. */
int dbk_model_open_serving(struct dbk_model *model, struct dbk_error *err) DBK_MUST_CHECK;
void dbk_model_close_serving(struct dbk_model *model);
/* Creates the session when there is none. */
int dbk_model_open_session(struct dbk_model *model, struct dbk_error *err) DBK_MUST_CHECK;

/* The clock that events' times are of. */
int64_t dbk_model_now_us(void);
/* What the model posts is committed up to a position. */
void dbk_model_moved(struct dbk_model *model, uint64_t position, uint64_t posted);
void dbk_model_stopped(struct dbk_model *model, const struct dbk_error *err);
void dbk_model_troubled(struct dbk_model *model, const struct dbk_error *err);

/*
 * Posts one batch from a cursor, in one transaction with the position. Under `work`, or a rebuild's
 * own. 1: there may be more; 0: nothing is left; negative: why not. failed_out: an event that its
 * handler cannot digest; everything before it was posted.
 */
struct dbk_batch_post {
    struct dbk_models *models;
    const struct dbk_model_definition *definition;
    struct dbk_letters *letters; /* NULL: it stops at what fails */
    const char *model;           /* its name, for messages */
    struct dbk_connection *connection;
    struct dbk_poster *poster;
    struct dbk_statement *set_position;
    struct dbk_statement *fence; /* see dbk_post_fence */
    struct dbk_cursor *cursor;
    uint64_t position_max;       /* the cursor's end; 0: none */
    uint64_t position;           /* posted so far */
    uint64_t posted;             /* events in this batch */
    struct dbk_pace_batch *made; /* notes when they became; NULL: nobody asks */
    /* Events that occurred later are passed over; NULL: none. */
    const int64_t *occurred_max_us;
    uint64_t seen;  /* events that the last transaction has looked at */
    uint64_t first; /* the first of them that has a handler; 0: none */
    bool nameless;  /* a batch failed, and which of its events did is not known */
};
/*
 * With letters that keep, an event that its handler cannot digest is set aside, and 1 answered: the
 * next call goes on with the search for it, or behind it. The cursor is NULL then, and is opened
 * again with it.
 */
int dbk_post_batch(struct dbk_batch_post *post, bool *failed_out,
                   struct dbk_error *err) DBK_MUST_CHECK;
/* Behind a batch that failed: everything before the event that failed is posted all the same. why:
   which event leaves a foreign key without its row is only found here. */
void dbk_post_before(struct dbk_model *model, struct dbk_batch_post *post, struct dbk_error *why);
/* What the model reads, behind a position; position_max 0: without end. */
int dbk_post_cursor(struct dbk_store *store, const struct dbk_model_definition *definition,
                    uint64_t position, uint64_t position_max, struct dbk_cursor **cursor_out,
                    struct dbk_error *err) DBK_MUST_CHECK;
int dbk_post_set_position(struct dbk_connection *connection, const char *model, uint64_t generation,
                          struct dbk_statement **statement_out,
                          struct dbk_error *err) DBK_MUST_CHECK;
/*
 * A server may go on with a transaction whose client is gone: another of the same model first
 * waits for it by a lock on the generation's row, and looks whether the position is still what it
 * believes. A MongoDB without transactions is freed of what a batch has left that is not done.
 * NULL for SQLite, whose transactions end with their process, and for a graph.
 */
int dbk_post_fence(struct dbk_connection *connection, const char *model, uint64_t generation,
                   struct dbk_statement **statement_out, struct dbk_error *err) DBK_MUST_CHECK;
/* Posts one event in a transaction of its own, which leaves the position as it is and marks the
   event's letter as retried. Under `work`. 1: there is a handler; 0: none, or it was marked. */
int dbk_post_letter(struct dbk_batch_post *post, const struct dbk_event *event,
                    struct dbk_error *err) DBK_MUST_CHECK;
/* Letters for a model's generation; of none yet. */
int dbk_letters_create(struct dbk_model *model, struct dbk_letters **letters_out,
                       struct dbk_error *err) DBK_MUST_CHECK;
/* NULL is fine. */
void dbk_letters_free(struct dbk_letters *letters);
/* As they are of a generation, in the book and in its database. */
int dbk_letters_open(struct dbk_letters *letters, const struct dbk_generation *generation,
                     struct dbk_connection *connection, struct dbk_error *err) DBK_MUST_CHECK;
/* Counts the letters of the serving generation in the book, for who only reads. */
int dbk_letters_count(struct dbk_models *models, struct dbk_model_status *status,
                      struct dbk_error *err) DBK_MUST_CHECK;
/* Brings a model up to the log's end. Under `work`. */
int dbk_model_catch_up(struct dbk_model *model, struct dbk_error *err) DBK_MUST_CHECK;

int dbk_runner_start(struct dbk_model *model, struct dbk_error *err) DBK_MUST_CHECK;
void dbk_runner_stop(struct dbk_model *model);

/* The store's participant: `transaction` models. */
int dbk_participant_apply(void *context, const struct dbk_event *events, size_t count,
                          struct dbk_error *err);
void dbk_participant_commit(void *context, bool stored, uint64_t last_position);

#endif
