/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vault -- personal fields: sealed when events are appended, opened when they are read, forgotten.
 *
 * Whose fields an event holds its schema says (`x-subject`), and which (`x-personal`). Each subject
 * has a random key; what is sealed under it goes into the event's sealed section, and the event
 * gets the tag `$key:<id>`. Destroying the key makes all of it unreadable, wherever it was copied
 * to; reading it then gives {"$forgotten":"<key id>"} in its place.
 *
 * What was forgotten stands in the log, in the hidden stream `$subjects`:
 *
 *     SubjectForgotten {"key","mode":"erase"|"tombstone","at"}   whoever appends it calls
 *                                                                dbk_vault_forget behind it
 *     EpochRotated {"epoch"}                                     appended by the vault
 *
 * A tombstone keeps the key, but all events tagged with it are left out of reads. Where no type has
 * a subject there are no keys, no files and no cost.
 *
 * Threads: all functions from any thread.
 * Source:  docs/keys.md, docs/format/keys.md.
 */
#ifndef DBK_VAULT_VAULT_H
#define DBK_VAULT_VAULT_H

#include "schema/schema.h"
#include "store/store.h"

#define DBK_SUBJECTS_STREAM "$subjects"
/* The folder of the keys in the data directory. */
#define DBK_KEYS_FOLDER "keys"
/* In it: the ids of destroyed keys, of which each backup has a copy. */
#define DBK_ERASED_NAME "erased.list"

struct dbk_vault;

enum dbk_forget_mode {
    DBK_FORGET_ERASE,     /* the key is destroyed */
    DBK_FORGET_TOMBSTONE, /* the subject's events are left out of reads */
};
/* As events and answers name it. */
const char *dbk_forget_mode_text(enum dbk_forget_mode mode);

enum dbk_key_state {
    DBK_KEY_UNKNOWN, /* the vault never had it */
    DBK_KEY_LIVE,
    DBK_KEY_ERASED,
    DBK_KEY_TOMBSTONED,
};

struct dbk_vault_options {
    struct dbk_os *os;
    struct dbk_store *store; /* kept until free */
    const char *data;        /* the data directory; borrowed */
    const char *root;        /* file with the root's passphrase; NULL: none; borrowed */
    bool writer;
    bool rotates; /* begin a new epoch by itself, an hour after one in which keys were forgotten */
};

/*
 * Opens a book's vault. Keys are read where there are some, and made with the first that is needed.
 *
 * DBK_ENOTFOUND, DBK_ECONFLICT, DBK_ECORRUPT, DBK_EFORMAT, DBK_EDENIED  as dbk_keys_open: the
 *     message names the file and says what to put back
 * DBK_EIO, DBK_EFULL, DBK_ENOMEM
 */
int dbk_vault_open(const struct dbk_vault_options *options, struct dbk_vault **vault_out,
                   struct dbk_error *err) DBK_MUST_CHECK;
/* NULL is fine. */
void dbk_vault_free(struct dbk_vault *vault);

/* ---- Appending ---- */

/*
 * Prepares an event of a type with a subject: its personal fields become its sealed section, it
 * gets an id where it has none, and its key's tag. Its subject's key is made where there is none,
 * and is durable with dbk_vault_sync. An event that is stored already and whose key was erased is
 * marked as the same by its id. Types without a subject are left alone.
 *
 * nodes    the parse of event->data
 * carried  what reads as {"$forgotten":"<key id>"} in a personal field's place was forgotten in
 *          another book: it stays so, under that id
 * index    for messages
 * arena    what the event gets lies in it
 *
 * DBK_EINVAL  it names no subject, or all of its data would be sealed
 * DBK_ELIMIT  too many fields, or too long a way to one
 * DBK_ENOMEM, DBK_EIO, DBK_EFULL, DBK_ESTOPPED, and as dbk_vault_open
 */
int dbk_vault_seal(struct dbk_vault *vault, const struct dbk_schema *schema,
                   const struct dbk_json_node *nodes, bool carried, size_t index,
                   struct dbk_new_event *event, struct dbk_arena *arena,
                   struct dbk_error *err) DBK_MUST_CHECK;
/* A migration fills the book, whose log takes no EpochRotated: the vault says it when it is opened
   for writing afterwards. Before anything is sealed. */
void dbk_vault_hold_epochs(struct dbk_vault *vault);
/* Before the events are stored: one sync for all keys made since the last, none where there are
   none. */
int dbk_vault_sync(struct dbk_vault *vault, struct dbk_error *err) DBK_MUST_CHECK;

/* ---- Reading ---- */

/*
 * Opens an event as struct dbk_lens says: 1, its data is whole; 0, its subject is as if it had
 * never existed. state begins as NULL and ends with dbk_vault_end; what the event gets is valid
 * until the next call with it.
 *
 * DBK_ECORRUPT  a field was altered, or its key is missing though it was never forgotten
 */
int dbk_vault_open_event(struct dbk_vault *vault, void **state, struct dbk_event *event,
                         struct dbk_error *err) DBK_MUST_CHECK;
/* True where dbk_vault_open_event would do anything. */
bool dbk_vault_touches(struct dbk_vault *vault, const struct dbk_event *event);
void dbk_vault_end(void *state);

/* ---- Forgetting ---- */

/* The id of a subject's key. DBK_ENOTFOUND: it has none, or it was erased. */
int dbk_vault_find_subject(struct dbk_vault *vault, struct dbk_slice subject,
                           struct dbk_uuid *key_out, struct dbk_error *err) DBK_MUST_CHECK;
enum dbk_key_state dbk_vault_key_state(struct dbk_vault *vault, const struct dbk_uuid *id);
/*
 * Makes what SubjectForgotten says true, once that event is durable: keys are destroyed, durably,
 * in one go. In all processes it holds when this returns. Keys forgotten before are left alone.
 * DBK_ESTOPPED: it is not known whether it is durable; the next open completes it.
 */
int dbk_vault_forget(struct dbk_vault *vault, const struct dbk_uuid *ids, size_t count,
                     enum dbk_forget_mode mode, struct dbk_error *err) DBK_MUST_CHECK;
/* Ids of the keys in a state, in byte order, copied; end with dbk_free. */
int dbk_vault_forgotten(struct dbk_vault *vault, enum dbk_forget_mode mode,
                        struct dbk_uuid **keys_out, size_t *count_out,
                        struct dbk_error *err) DBK_MUST_CHECK;
/* True when the key is erased; a dbk_sealed_erased_fn with the vault as its context. */
bool dbk_vault_is_erased(void *vault, const struct dbk_uuid *key);
/* Reads key ids as events hold them: 32 hexadecimal digits. */
bool dbk_key_id_parse(struct dbk_slice text, struct dbk_uuid *key_out);

/* ---- Epochs ---- */

struct dbk_vault_status {
    bool has_keys;
    uint64_t epoch;         /* 0: there are no keys */
    int64_t epoch_begun_us; /* us since 1970 */
    uint64_t subjects;      /* with a key */
    uint64_t erased;        /* keys */
    uint64_t erased_before; /* of them, when the epoch began: the others die with it for good */
    uint64_t tombstoned;
};
void dbk_vault_status(struct dbk_vault *vault, struct dbk_vault_status *status_out);
/* Begins a new epoch, and says so in the log. As dbk_keys_rotate; DBK_ENOTFOUND: no keys. */
int dbk_vault_rotate(struct dbk_vault *vault, uint64_t *epoch_out,
                     struct dbk_error *err) DBK_MUST_CHECK;

#endif
