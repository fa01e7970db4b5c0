/* SPDX-License-Identifier: Apache-2.0 */
/*
 * state -- what this room's sources share: the keys in memory.
 *
 * Keys are never taken away while the access is open, so a pointer to one stays good; what may
 * change of it is behind the lock, or atomic.
 */
#ifndef DBK_ACCESS_STATE_H
#define DBK_ACCESS_STATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "access/bucket.h"
#include "access/refusals.h"

struct dbk_key_secret {
    uint8_t hash[DBK_KEY_HASH_SIZE];
    bool set;
    int64_t until_us; /* 0: as long as the key */
};

/* Requests look at a key's without a lock: one that was replaced stays as long as the key. */
struct dbk_key_scopes {
    struct dbk_key_scopes *older;
    char *text; /* what the patterns point into */
    size_t count;
    struct dbk_scope items[];
};

struct dbk_access_key {
    char id[DBK_KEY_ID_SIZE + 1];
    char *name;
    char *service_name; /* NULL: an operator's */
    const struct dbk_service_definition *service;
    _Atomic(struct dbk_key_scopes *) scopes;
    int64_t created_us;
    int64_t expires_us;               /* 0: never */
    struct dbk_key_secret secrets[2]; /* the newer one first */
    bool revoked;
    struct dbk_key_limit limit; /* rate 0: none */
    _Atomic int64_t full_ns;    /* of its bucket */
    _Atomic uint64_t throttled;
    _Atomic int64_t used_us; /* 0: not since start */
    _Atomic uint64_t requests;
};

struct dbk_access {
    struct dbk_engine *engine;
    const struct dbk_book *book;
    pthread_mutex_t changing;     /* around a change, with its append */
    pthread_rwlock_t lock;        /* over the list, and what may change of a key */
    struct dbk_access_key **keys; /* in byte order of their ids */
    size_t count;
    size_t capacity;
    _Atomic bool asks;             /* there was ever a key, or the book declares services */
    struct dbk_refusals *refusals; /* NULL: no server's */
    struct dbk_access_key *local;
    char *local_path;
};

/* A key by its id, or NULL; under the lock. */
struct dbk_access_key *dbk_access_find(const struct dbk_access *access, struct dbk_slice id);
/* Puts a key into its place; it is taken, also on failure. Under the lock. */
int dbk_access_insert(struct dbk_access *access, struct dbk_access_key *key) DBK_MUST_CHECK;
void dbk_access_key_free(struct dbk_access_key *key);
/* What an event of `$access-keys` says. DBK_ECORRUPT: nothing that was written so; DBK_ENOMEM. */
int dbk_access_take(struct dbk_access *access, const struct dbk_event *event, struct dbk_json *json,
                    struct dbk_error *err) DBK_MUST_CHECK;
/* Reads `$access-keys`. */
int dbk_access_load(struct dbk_access *access, struct dbk_error *err) DBK_MUST_CHECK;
/* Makes this machine's operator's key, and the file it lies in. */
int dbk_access_make_local(struct dbk_access *access, struct dbk_error *err) DBK_MUST_CHECK;

#define DBK_ACCESS_EVENT_SIZE_MAX ((size_t)256 << 10)

/* A service of the book, or NULL. */
const struct dbk_service_definition *dbk_access_find_service(const struct dbk_access *access,
                                                             struct dbk_slice name);
/* A key without its secret. */
int dbk_access_make_key(const struct dbk_access *access, struct dbk_slice id,
                        const struct dbk_key_request *request, struct dbk_access_key **key_out,
                        struct dbk_error *err) DBK_MUST_CHECK;
/* DBK_EINVAL, DBK_ELIMIT: one of them is none; DBK_ENOMEM. */
int dbk_key_scopes_make(const struct dbk_slice *scopes, size_t count,
                        struct dbk_key_scopes **scopes_out, struct dbk_error *err) DBK_MUST_CHECK;
/* Gives a key other scopes, which are taken. One at a time. */
void dbk_key_scopes_set(struct dbk_access_key *key, struct dbk_key_scopes *scopes);
/* Frees them, and older ones; NULL is fine. */
void dbk_key_scopes_free(struct dbk_key_scopes *scopes);
/* Text of a key: with a new id where it has none, and with a new secret. */
int dbk_access_make_text(struct dbk_access *access, struct dbk_slice id,
                         char text[DBK_KEY_TEXT_SIZE], uint8_t hash_out[DBK_KEY_HASH_SIZE],
                         struct dbk_error *err) DBK_MUST_CHECK;
/* Under the lock. */
void dbk_access_take_revoked(struct dbk_access_key *key, bool old);

void dbk_key_hash(struct dbk_slice secret, uint8_t hash_out[DBK_KEY_HASH_SIZE]);
/* Under the lock. */
bool dbk_key_is_live(const struct dbk_access_key *key, int64_t now_us);
bool dbk_secret_is_live(const struct dbk_key_secret *secret, int64_t now_us);

#endif
