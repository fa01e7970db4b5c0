/* SPDX-License-Identifier: Apache-2.0 */
/*
 * entry -- a source's changes become events of the book.
 *
 * Whether a row was inserted or updated, and what it was before, is told by its last image in the
 * book, not by the source: so that events are the same whichever way a table is captured. A row
 * that is as it was makes no event.
 *
 * Changes are gathered and stored in batches. Behind each stands an event `Captured` in the stream
 * `$capture-<service>`, of which only the last is kept: it holds the source's state as of the last
 * whole transaction, and of one that is stored in part how many of its changes are. It is appended
 * at an expected version, so that of two captures of a service only one gets on.
 *
 * Threads: one at a time.
 * Source:  docs/format/capture.md
 */
#ifndef DBK_CAPTURE_ENTRY_H
#define DBK_CAPTURE_ENTRY_H

#include "capture/source.h"
#include "store/store.h"

struct dbk_entry;

struct dbk_entry_options {
    struct dbk_store *store;
    const struct dbk_capture_service *service;
    enum dbk_capture_kind kind;
    dbk_append_fn append; /* of JSON that is written here */
    void *context;
    size_t batch_count_max; /* as the book's */
    size_t event_size_max;
};

/* Reads how far the service is captured. DBK_ECORRUPT: the book does not say. */
int dbk_entry_open(const struct dbk_entry_options *options, struct dbk_entry **entry_out,
                   struct dbk_error *err) DBK_MUST_CHECK;
/* NULL is fine; what was not stored is dropped. */
void dbk_entry_free(struct dbk_entry *entry);

/* The source's state as it is stored; empty: nothing was captured. Valid until the next store. */
struct dbk_slice dbk_entry_state(const struct dbk_entry *entry);
/* Everything is to be read again. */
bool dbk_entry_resnapshot(const struct dbk_entry *entry);
/* Stores a state, or that wish. DBK_ECONFLICT: somebody else captures the service. */
int dbk_entry_note(struct dbk_entry *entry, struct dbk_slice state, bool resnapshot,
                   struct dbk_error *err) DBK_MUST_CHECK;

/* From here on changes come from this source, which is kept. */
void dbk_entry_follow(struct dbk_entry *entry, const struct dbk_source *source);

/*
 * Takes a change. Stores what was gathered when a transaction is past a batch's limit.
 *
 * DBK_EINVAL     a value is no UTF-8, or unchanged where the book has no image; the message names
 *                the row and what to do
 * DBK_ELIMIT     the row makes an event past the book's limit
 * others as the append
 */
int dbk_entry_take(struct dbk_entry *entry, const struct dbk_change *change,
                   struct dbk_error *err) DBK_MUST_CHECK;
/* A transaction has begun and not ended. */
bool dbk_entry_is_open(const struct dbk_entry *entry);
/* How many events were gathered and not stored. */
size_t dbk_entry_gathered(const struct dbk_entry *entry);
/* True when what was gathered is enough for a batch. */
bool dbk_entry_is_full(const struct dbk_entry *entry);
/* Between transactions: stores what was gathered, and where the source is. Nothing is stored when
   nothing was gathered, unless asked to. */
int dbk_entry_store(struct dbk_entry *entry, bool always, struct dbk_error *err) DBK_MUST_CHECK;

struct dbk_entry_counts {
    uint64_t changes; /* taken */
    uint64_t events;  /* stored */
    uint64_t batches;
    int64_t time_us; /* of the last stored transaction in the source; DBK_TIME_NONE: none */
};
void dbk_entry_counts(const struct dbk_entry *entry, struct dbk_entry_counts *counts_out);

/* dbk_source_options.live and last_position; the context is the entry. */
int dbk_entry_live(void *context, size_t table, uint64_t after, uint64_t until, size_t max,
                   struct dbk_live_keys *keys_out, struct dbk_error *err) DBK_MUST_CHECK;
uint64_t dbk_entry_last_position(void *context);

/* The stream's name, in the arena: "$capture-<service>", behind which may stand ".polling" or
   ".outbox". */
struct dbk_slice dbk_capture_progress_stream(const char *service, enum dbk_capture_kind kind,
                                             struct dbk_arena *arena);

#endif
