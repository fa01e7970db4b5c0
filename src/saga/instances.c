/* SPDX-License-Identifier: Apache-2.0 */
#include "saga/instances.h"

#include <string.h>

#define BUCKETS_MIN 64

static size_t hash_of(struct dbk_slice text)
{
    uint64_t hash = UINT64_C(14695981039346656037); /* FNV-1a */
    for (size_t i = 0; i < text.size; i++)
        hash = (hash ^ (unsigned char)text.data[i]) * UINT64_C(1099511628211);
    return (size_t)(hash ^ (hash >> 32));
}

static struct dbk_slice id_of(const struct dbk_saga_instance *instance)
{
    return dbk_slice(instance->id, instance->id_size);
}

static void free_instance(struct dbk_saga_instance *instance)
{
    dbk_free(instance->id);
    dbk_free(instance->text);
    dbk_free(instance);
}

void dbk_saga_instances_release(struct dbk_saga_instances *instances)
{
    for (size_t i = 0; i < instances->bucket_count; i++) {
        for (struct dbk_saga_instance *at = instances->buckets[i], *next; at != NULL; at = next) {
            next = at->next;
            free_instance(at);
        }
    }
    for (size_t i = 0; i < instances->lock_bucket_count; i++) {
        for (struct dbk_saga_lock *at = instances->locks[i], *next; at != NULL; at = next) {
            next = at->next;
            dbk_free(at->key);
            dbk_free(at);
        }
    }
    dbk_free((void *)instances->buckets);
    dbk_free((void *)instances->heap);
    dbk_free((void *)instances->locks);
    *instances = (struct dbk_saga_instances){0};
}

struct dbk_saga_instance *dbk_saga_instance_find(const struct dbk_saga_instances *instances,
                                                 struct dbk_slice id)
{
    if (instances->bucket_count == 0)
        return NULL;
    struct dbk_saga_instance *at = instances->buckets[hash_of(id) & (instances->bucket_count - 1)];
    while (at != NULL && !dbk_slice_equal(id_of(at), id))
        at = at->next;
    return at;
}

/* ---- The heap ---- */

static void put(struct dbk_saga_instances *instances, size_t place,
                struct dbk_saga_instance *instance)
{
    instances->heap[place] = instance;
    instance->place = place;
}

static void sift(struct dbk_saga_instances *instances, struct dbk_saga_instance *instance)
{
    size_t place = instance->place;
    while (place > 0 && instances->heap[(place - 1) / 2]->due_us > instance->due_us) {
        put(instances, place, instances->heap[(place - 1) / 2]);
        place = (place - 1) / 2;
    }
    for (;;) {
        size_t child = 2 * place + 1;
        if (child + 1 < instances->count &&
            instances->heap[child + 1]->due_us < instances->heap[child]->due_us)
            child++;
        if (child >= instances->count || instances->heap[child]->due_us >= instance->due_us)
            break;
        put(instances, place, instances->heap[child]);
        place = child;
    }
    put(instances, place, instance);
}

struct dbk_saga_instance *dbk_saga_instance_first(const struct dbk_saga_instances *instances)
{
    return instances->count == 0 ? NULL : instances->heap[0];
}

/* ---- Adding and removing ---- */

static bool make_room(struct dbk_saga_instances *instances)
{
    if (instances->count < instances->heap_capacity && instances->count < instances->bucket_count)
        return true;
    size_t count = instances->bucket_count == 0 ? BUCKETS_MIN : instances->bucket_count * 2;
    struct dbk_saga_instance **heap =
        dbk_realloc((void *)instances->heap, count * sizeof(struct dbk_saga_instance *));
    if (heap == NULL)
        return false;
    instances->heap = heap;
    struct dbk_saga_instance **buckets = dbk_alloc_zero(count, sizeof(struct dbk_saga_instance *));
    if (buckets == NULL)
        return false;
    for (size_t i = 0; i < instances->bucket_count; i++) {
        for (struct dbk_saga_instance *at = instances->buckets[i], *next; at != NULL; at = next) {
            struct dbk_saga_instance **bucket = &buckets[hash_of(id_of(at)) & (count - 1)];
            next = at->next;
            at->next = *bucket;
            *bucket = at;
        }
    }
    dbk_free((void *)instances->buckets);
    instances->buckets = buckets;
    instances->bucket_count = instances->heap_capacity = count;
    return true;
}

struct dbk_saga_instance *dbk_saga_instance_add(struct dbk_saga_instances *instances,
                                                struct dbk_slice id)
{
    struct dbk_saga_instance *instance = dbk_alloc_zero(1, sizeof(*instance));
    char *copy = dbk_copy_text(id);
    if (instance == NULL || copy == NULL || !make_room(instances)) {
        dbk_free(instance);
        dbk_free(copy);
        return NULL;
    }
    instance->id = copy;
    instance->id_size = id.size;
    instance->due_us = INT64_MAX;
    struct dbk_saga_instance **bucket =
        &instances->buckets[hash_of(id) & (instances->bucket_count - 1)];
    instance->next = *bucket;
    *bucket = instance;
    instance->place = instances->count;
    instances->heap[instances->count++] = instance;
    sift(instances, instance);
    return instance;
}

void dbk_saga_instance_remove(struct dbk_saga_instances *instances,
                              struct dbk_saga_instance *instance)
{
    struct dbk_saga_instance **at =
        &instances->buckets[hash_of(id_of(instance)) & (instances->bucket_count - 1)];
    while (*at != instance)
        at = &(*at)->next;
    *at = instance->next;
    instances->parked -= instance->parked ? 1 : 0;
    size_t place = instance->place;
    struct dbk_saga_instance *last = instances->heap[--instances->count];
    if (last != instance) {
        put(instances, place, last);
        sift(instances, last);
    }
    free_instance(instance);
}

int dbk_saga_instance_set(struct dbk_saga_instances *instances, struct dbk_saga_instance *instance,
                          uint64_t version, const struct dbk_saga_record *record,
                          struct dbk_slice text)
{
    char *copy = dbk_copy_text(text);
    if (copy == NULL)
        return DBK_ENOMEM;
    dbk_free(instance->text);
    instance->text = copy;
    instance->text_size = text.size;
    instance->version = version;
    instances->parked -= instance->parked ? 1 : 0;
    instance->parked = dbk_saga_is_open(record) && dbk_saga_is_parked(record);
    instances->parked += instance->parked ? 1 : 0;
    instance->ended = !dbk_saga_is_open(record);
    instance->waits = false;
    for (size_t i = 0; i < record->step_count; i++)
        instance->waits = instance->waits || record->steps[i].phase == DBK_SAGA_WAITS;
    instance->due_us = dbk_saga_due_us(record);
    sift(instances, instance);
    return DBK_OK;
}

/* ---- Locks ---- */

static bool make_lock_room(struct dbk_saga_instances *instances)
{
    if (instances->lock_count < instances->lock_bucket_count)
        return true;
    size_t used = 0;
    for (size_t i = 0; i < instances->lock_bucket_count; i++) {
        for (const struct dbk_saga_lock *at = instances->locks[i]; at != NULL; at = at->next)
            used += at->holder != NULL || at->heir != NULL ? 1 : 0;
    }
    size_t count = BUCKETS_MIN;
    while (count < used * 2)
        count *= 2;
    struct dbk_saga_lock **buckets = dbk_alloc_zero(count, sizeof(struct dbk_saga_lock *));
    if (buckets == NULL)
        return false;
    for (size_t i = 0; i < instances->lock_bucket_count; i++) {
        for (struct dbk_saga_lock *at = instances->locks[i], *next; at != NULL; at = next) {
            struct dbk_saga_lock **bucket =
                &buckets[hash_of(dbk_slice(at->key, at->key_size)) & (count - 1)];
            next = at->next;
            /* Those that nobody holds or waits for have no more use. */
            if (at->holder == NULL && at->heir == NULL) {
                instances->lock_count--;
                dbk_free(at->key);
                dbk_free(at);
                continue;
            }
            at->next = *bucket;
            *bucket = at;
        }
    }
    dbk_free((void *)instances->locks);
    instances->locks = buckets;
    instances->lock_bucket_count = count;
    return true;
}

struct dbk_saga_lock *dbk_saga_lock_of(struct dbk_saga_instances *instances, struct dbk_slice key)
{
    if (instances->lock_bucket_count > 0) {
        struct dbk_saga_lock *at =
            instances->locks[hash_of(key) & (instances->lock_bucket_count - 1)];
        while (at != NULL && !dbk_slice_equal(dbk_slice(at->key, at->key_size), key))
            at = at->next;
        if (at != NULL)
            return at;
    }
    struct dbk_saga_lock *lock = dbk_alloc_zero(1, sizeof(*lock));
    char *copy = dbk_copy_text(key);
    if (lock == NULL || copy == NULL || !make_lock_room(instances)) {
        dbk_free(lock);
        dbk_free(copy);
        return NULL;
    }
    lock->key = copy;
    lock->key_size = key.size;
    struct dbk_saga_lock **bucket =
        &instances->locks[hash_of(key) & (instances->lock_bucket_count - 1)];
    lock->next = *bucket;
    *bucket = lock;
    instances->lock_count++;
    return lock;
}

bool dbk_saga_lock_take(struct dbk_saga_instances *instances, struct dbk_saga_instance *instance,
                        struct dbk_slice key)
{
    struct dbk_saga_lock *lock = dbk_saga_lock_of(instances, key);
    if (lock == NULL)
        return false; /* it waits, as if another held it */
    if (lock->holder != NULL)
        return lock->holder == instance;
    if (lock->heir != NULL && lock->heir != instance)
        return false;
    lock->holder = instance;
    lock->heir = NULL;
    return true;
}
