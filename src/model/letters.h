/* SPDX-License-Identifier: Apache-2.0 */
/*
 * letters -- the dead letters of read models: events set aside with `on_error: set-aside`.
 *
 * An event whose handler fails for its own sake (a constraint, a type, a script; never a connection
 * or a disk) becomes a letter of the generation that it failed in, and the model goes on behind it.
 * Letters are events of the book's own, in the stream `$letters-<model>` (docs/format/letters.md).
 *
 *     handler fails   the batch is taken back            nothing of it is in the tables
 *     LetterKept      durable in the book                what is left: the event is passed over
 *     position        passes it, with the next batch     in the target's transaction
 *
 * A letter that is found when the model is opened, and lies behind its position, is passed over
 * when the model gets there: so no event is passed over without a letter, none has two, and none is
 * posted beside one.
 *
 *     retry           mark and rows in one transaction of the target
 *     LetterRetried   durable in the book; then the mark is taken away
 *
 * A mark without its LetterRetried says that the event is in the tables: it is told when the model
 * is opened, and by the next retry, which then posts nothing.
 *
 * With `sync: transaction` the letter is first a row of the target, in the transaction that passes
 * over the event: the log is just being written then. It becomes an event when the append that it
 * came with is stored, or when the model is opened.
 *
 * Threads: all functions from any thread.
 * Source:  DESIGN sections 3 and 9.
 */
#ifndef DBK_MODEL_LETTERS_H
#define DBK_MODEL_LETTERS_H

#include "model/model.h"

#define DBK_LETTERS_STREAM "$letters-"
/* Waiting letters of a generation; with one more the model stops. */
#define DBK_LETTERS_MAX 10000
#define DBK_LETTERS_REASON_SIZE 400

/* How letters are stored; before the first model is added. context is kept until free. */
void dbk_models_set_append(struct dbk_models *models, dbk_append_fn append, void *context);

struct dbk_letter {
    uint64_t position;
    uint64_t generation;
    uint64_t version; /* of the event in its stream */
    uint64_t tries;
    int64_t time_us; /* of the last one */
    struct dbk_slice stream;
    struct dbk_slice type;
    struct dbk_slice reason; /* the database's words, but for models that take personal fields */
};
/* Valid for the call. Negative ends the list. */
typedef int (*dbk_letter_fn)(const struct dbk_letter *letter, void *context);
/*
 * The waiting letters of the serving generation, in the order of positions; position 0: all, else
 * that one, DBK_ENOTFOUND when it is none. Or what each answered.
 */
int dbk_letters_list(struct dbk_models *models, size_t index, uint64_t position, dbk_letter_fn each,
                     void *context, struct dbk_error *err) DBK_MUST_CHECK;

struct dbk_letters_retried {
    uint64_t retried;
    uint64_t failed;
    struct dbk_error error; /* of the first that failed, with the database's words */
};
/*
 * Posts letters (count 0: all) in the order of positions, each exactly once, on the tables as they
 * are now. One that fails again stays, with a try more. Only in the writing process.
 *
 * DBK_ENOTFOUND  a position is no letter, or its event is not in the book any more
 * DBK_EBUSY      the model has not passed it yet, or letters are just being retried
 * and what no letter is to blame for: DBK_ECONNECT, DBK_EFULL, …; as the append
 */
int dbk_letters_retry(struct dbk_models *models, size_t index, const uint64_t *positions,
                      size_t count, struct dbk_letters_retried *retried_out,
                      struct dbk_error *err) DBK_MUST_CHECK;
/* Drops letters (count 0: all) for good: the model stays without these events. As above. */
int dbk_letters_drop(struct dbk_models *models, size_t index, const uint64_t *positions,
                     size_t count, size_t *count_out, struct dbk_error *err) DBK_MUST_CHECK;

/* Stores the letters that are only in a target yet. Called when an append has been stored; costs
   nothing when there are none. What fails is tried again with the next one. NULL is fine. */
void dbk_letters_tell(struct dbk_models *models);

#endif
