/* SPDX-License-Identifier: Apache-2.0 */
/*
 * forget -- personal fields of forgotten subjects are taken out of read models.
 *
 * A generation knows up to which position of the log everything that was forgotten is not in it:
 * from its making, since what is read from there on is forgotten already, or from the transaction
 * that purged it. So a purge that was cut short begins again, one that is done is not repeated, and
 * an unfinished generation that was begun before is never gone on with.
 *
 * Threads: all functions from any thread; one forgetting at a time.
 */
#ifndef DBK_MODEL_FORGET_H
#define DBK_MODEL_FORGET_H

#include "model/model.h"

struct dbk_forgotten {
    struct dbk_slice subject; /* as its events name it */
    const struct dbk_slice *streams;
    size_t stream_count;
    uint64_t position; /* since which it is forgotten */
    bool whole;        /* its events are left out altogether, not only their personal fields */
};

struct dbk_model_forgetting {
    const struct dbk_forgotten *subjects; /* in order of their positions */
    size_t count;
    int64_t timeout_us;       /* how long the model may take to post what came before */
    dbk_progress_fn progress; /* of a rebuild; may be NULL */
    void *context;
};

enum dbk_model_forgot {
    DBK_FORGOT_NOTHING, /* there was nothing in it, or not any more */
    DBK_FORGOT_REBUILT,
    DBK_FORGOT_PURGED,
};

/* No generation is begun between the two: what is forgotten there is in none that is begun at a
   position behind it. Holding waits for no database. */
void dbk_models_hold(struct dbk_models *models);
void dbk_models_let_go(struct dbk_models *models);
/* Unfinished generations begun before this position are not gone on with; it never goes back. */
void dbk_models_set_forgotten(struct dbk_models *models, uint64_t position);

/*
 * Takes forgotten subjects out of a model, by its index; its old generation is dropped, and the
 * database's write-ahead log is emptied. May be repeated. Only in the writing process.
 *
 * DBK_EBUSY      it is being rebuilt, or someone reads an older state of the database: try again
 * DBK_ETIMEOUT   it has not got to the position; DBK_ESTOPPED: progress ended a rebuild
 * DBK_ESCRIPT    a statement failed; as dbk_models_rebuild
 */
int dbk_models_forget(struct dbk_models *models, size_t index,
                      const struct dbk_model_forgetting *forgetting,
                      enum dbk_model_forgot *forgot_out, struct dbk_error *err) DBK_MUST_CHECK;

#endif
