/* SPDX-License-Identifier: Apache-2.0 */
/*
 * instances -- the open instances of a saga, by id and by when they are due; and its locks.
 *
 * Threads: under the saga's lock.
 */
#ifndef DBK_SAGA_INSTANCES_H
#define DBK_SAGA_INSTANCES_H

#include "saga/record.h"

struct dbk_saga_instance {
    struct dbk_saga_instance *next; /* in its bucket */
    char *id;
    size_t id_size;
    uint64_t version; /* of its stream */
    char *text;       /* of its record */
    size_t text_size;
    int64_t due_us;
    size_t place; /* in the heap */
    bool parked;
    bool waits; /* a step of it, for a lock */
    bool ended; /* to be removed when that is stored */
};

struct dbk_saga_lock {
    struct dbk_saga_lock *next;
    struct dbk_saga_instance *holder; /* NULL: free */
    struct dbk_saga_instance *heir;   /* who waited longest, and is to take it; NULL: anyone may */
    char *key;
    size_t key_size;
};

struct dbk_saga_instances {
    struct dbk_saga_instance **buckets;
    size_t bucket_count; /* a power of two, or 0 */
    size_t count;
    size_t parked;
    struct dbk_saga_instance **heap; /* by due_us, earliest first */
    size_t heap_capacity;
    struct dbk_saga_lock **locks;
    size_t lock_bucket_count;
    size_t lock_count;
};

void dbk_saga_instances_release(struct dbk_saga_instances *instances);
/* NULL: there is none. */
struct dbk_saga_instance *dbk_saga_instance_find(const struct dbk_saga_instances *instances,
                                                 struct dbk_slice id);
/* Adds one that is not there. NULL: out of memory. */
struct dbk_saga_instance *dbk_saga_instance_add(struct dbk_saga_instances *instances,
                                                struct dbk_slice id);
void dbk_saga_instance_remove(struct dbk_saga_instances *instances,
                              struct dbk_saga_instance *instance);
/* What its record says now; the text is copied. DBK_ENOMEM */
int dbk_saga_instance_set(struct dbk_saga_instances *instances, struct dbk_saga_instance *instance,
                          uint64_t version, const struct dbk_saga_record *record,
                          struct dbk_slice text) DBK_MUST_CHECK;
/* The one that is due first; NULL: there is none. */
struct dbk_saga_instance *dbk_saga_instance_first(const struct dbk_saga_instances *instances);

/* NULL: out of memory. */
struct dbk_saga_lock *dbk_saga_lock_of(struct dbk_saga_instances *instances, struct dbk_slice key);
/* Takes a lock for an instance when it may. */
bool dbk_saga_lock_take(struct dbk_saga_instances *instances, struct dbk_saga_instance *instance,
                        struct dbk_slice key);

#endif
