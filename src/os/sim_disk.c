/* SPDX-License-Identifier: Apache-2.0 */
#include "os/sim_disk.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

void *sim_alloc(size_t size)
{
    void *memory = calloc(1, size == 0 ? 1 : size);
    dbk_assert(memory != NULL);
    return memory;
}

static char *copy_text(const char *text, size_t size)
{
    char *copy = sim_alloc(size + 1);
    memcpy(copy, text, size);
    return copy;
}

char *sim_path(const char *path)
{
    size_t size = strlen(path);
    while (size > 0 && path[size - 1] == '/')
        size--;
    if (size == 1 && path[0] == '.')
        size = 0;
    return copy_text(path, size);
}

/* SplitMix64. */
uint64_t sim_random(uint64_t *state)
{
    uint64_t mixed = *state += UINT64_C(0x9E3779B97F4A7C15);
    mixed = (mixed ^ mixed >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    mixed = (mixed ^ mixed >> 27) * UINT64_C(0x94D049BB133111EB);
    return mixed ^ mixed >> 31;
}

struct sim_node *sim_find(const struct sim_names *names, const char *path)
{
    for (size_t i = 0; i < names->count; i++)
        if (strcmp(names->items[i].path, path) == 0)
            return names->items[i].node;
    return NULL;
}

bool sim_is_folder(const struct sim_names *names, const char *path)
{
    if (path[0] == '\0')
        return true;
    const struct sim_node *node = sim_find(names, path);
    return node != NULL && node->folder;
}

static size_t parent_size(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash == NULL ? 0 : (size_t)(slash - path);
}

bool sim_is_in(const char *path, const char *folder)
{
    size_t size = parent_size(path);
    return size == strlen(folder) && memcmp(path, folder, size) == 0;
}

char *sim_parent(const char *path)
{
    return copy_text(path, parent_size(path));
}

struct sim_node *sim_create_node(struct sim_disk *disk, bool folder)
{
    struct sim_node *node = sim_alloc(sizeof(*node));
    node->folder = folder;
    node->locked_by = -1;
    node->changes_end = &node->changes;
    node->next = disk->nodes;
    disk->nodes = node;
    return node;
}

static void resize(struct sim_bytes *bytes, uint64_t size)
{
    if (size > bytes->capacity) {
        size_t capacity = bytes->capacity < 4096 ? 4096 : bytes->capacity;
        while (capacity < size)
            capacity *= 2;
        bytes->data = realloc(bytes->data, capacity);
        dbk_assert(bytes->data != NULL);
        bytes->capacity = capacity;
    }
    if (size > bytes->size)
        memset(bytes->data + bytes->size, 0, (size_t)size - bytes->size);
    bytes->size = (size_t)size;
}

static void put(struct sim_bytes *bytes, uint64_t offset, const char *data, size_t size)
{
    if (size == 0)
        return;
    if (offset + size > bytes->size)
        resize(bytes, offset + size);
    memcpy(bytes->data + offset, data, size);
}

static void apply(struct sim_bytes *bytes, const struct sim_change *change)
{
    if (change->bytes != NULL)
        put(bytes, change->offset, change->bytes, change->size);
    else
        resize(bytes, change->offset);
}

static void record(struct sim_disk *disk, struct sim_node *node, struct sim_change *change,
                   bool now)
{
    change->sequence = disk->sequence++;
    *node->changes_end = change;
    node->changes_end = &change->next;
    if (now)
        apply(&node->seen, change);
}

void sim_write(struct sim_disk *disk, struct sim_node *node, struct dbk_slice bytes,
               uint64_t offset, bool now)
{
    if (bytes.size == 0)
        return;
    struct sim_change *change = sim_alloc(sizeof(*change));
    change->bytes = copy_text(bytes.data, bytes.size);
    change->size = bytes.size;
    change->offset = offset;
    record(disk, node, change, now);
}

void sim_truncate(struct sim_disk *disk, struct sim_node *node, uint64_t size, bool now)
{
    struct sim_change *change = sim_alloc(sizeof(*change));
    change->offset = size;
    record(disk, node, change, now);
}

static void unset_name(struct sim_names *names, const char *path)
{
    for (size_t i = 0; i < names->count; i++) {
        if (strcmp(names->items[i].path, path) != 0)
            continue;
        free(names->items[i].path);
        names->items[i] = names->items[--names->count];
        return;
    }
}

static void set_name(struct sim_names *names, const char *path, struct sim_node *node)
{
    unset_name(names, path);
    names->items = realloc(names->items, (names->count + 1) * sizeof(names->items[0]));
    dbk_assert(names->items != NULL);
    names->items[names->count++] =
        (struct sim_name){.path = copy_text(path, strlen(path)), .node = node};
}

static void apply_name(struct sim_names *names, const struct sim_name_change *change)
{
    if (change->from != NULL)
        unset_name(names, change->from);
    if (change->node == NULL)
        unset_name(names, change->to);
    else
        set_name(names, change->to, change->node);
}

void sim_name(struct sim_disk *disk, const char *from, const char *to, struct sim_node *node,
              bool now)
{
    struct sim_name_change *change = sim_alloc(sizeof(*change));
    change->sequence = disk->sequence++;
    change->from = from == NULL ? NULL : copy_text(from, strlen(from));
    change->to = copy_text(to, strlen(to));
    change->node = node;
    struct sim_name_change **at = &disk->name_changes;
    while (*at != NULL)
        at = &(*at)->next;
    *at = change;
    if (now)
        apply_name(&disk->seen, change);
}

static void free_change(struct sim_change *change)
{
    free(change->bytes);
    free(change);
}

static void free_name_change(struct sim_name_change *change)
{
    free(change->from);
    free(change->to);
    free(change);
}

void sim_sync_node(struct sim_node *node, bool success)
{
    for (struct sim_change *change = node->changes; change != NULL; change = change->next)
        if (change->state == SIM_PENDING)
            change->state = success ? SIM_SYNCED : SIM_LOST;
    /* A synced change may lie over a lost one: it can be folded in only when that is not there. */
    while (node->changes != NULL && node->changes->state == SIM_SYNCED) {
        struct sim_change *change = node->changes;
        apply(&node->durable, change);
        node->changes = change->next;
        free_change(change);
    }
    if (node->changes == NULL)
        node->changes_end = &node->changes;
}

void sim_sync_names(struct sim_disk *disk, const char *folder)
{
    /* A name change in another folder may come before one that is synced, and stays pending: what
       is durable is made up in the order of the calls only when all before is. */
    bool pending_before = false;
    struct sim_name_change **at = &disk->name_changes;
    while (*at != NULL) {
        struct sim_name_change *change = *at;
        change->synced = change->synced || sim_is_in(change->to, folder);
        pending_before = pending_before || !change->synced;
        if (pending_before) {
            at = &change->next;
            continue;
        }
        apply_name(&disk->durable, change);
        *at = change->next;
        free_name_change(change);
    }
}

/* What a crash keeps; `cut` is the first sequence number that is not kept whole. */
struct survival {
    enum dbk_sim_keep data;
    enum dbk_sim_keep names;
    uint64_t cut;
    uint64_t random;
};

static void keep_sectors(struct sim_bytes *bytes, const struct sim_change *change,
                         struct survival *survival)
{
    if (change->bytes == NULL) {
        if (sim_random(&survival->random) % 2 == 0)
            apply(bytes, change);
        return;
    }
    for (size_t at = 0; at < change->size;) {
        size_t size = DBK_SIM_SECTOR_SIZE - (size_t)((change->offset + at) % DBK_SIM_SECTOR_SIZE);
        if (size > change->size - at)
            size = change->size - at;
        if (sim_random(&survival->random) % 2 == 0)
            put(bytes, change->offset + at, change->bytes + at, size);
        at += size;
    }
}

static void keep_change(struct sim_bytes *bytes, const struct sim_change *change,
                        struct survival *survival)
{
    if (change->state == SIM_SYNCED) {
        apply(bytes, change);
        return;
    }
    switch (survival->data) {
    case DBK_SIM_NONE:
        break;
    case DBK_SIM_ALL:
        apply(bytes, change);
        break;
    case DBK_SIM_PREFIX:
        if (change->sequence < survival->cut)
            apply(bytes, change);
        break;
    case DBK_SIM_TORN:
        if (change->sequence < survival->cut)
            apply(bytes, change);
        else if (change->sequence == survival->cut)
            keep_sectors(bytes, change, survival);
        break;
    case DBK_SIM_SUBSET:
        keep_sectors(bytes, change, survival);
        break;
    }
}

static bool keeps_name(const struct sim_name_change *change, struct survival *survival)
{
    if (change->synced)
        return true;
    switch (survival->names) {
    case DBK_SIM_ALL:
        return true;
    case DBK_SIM_PREFIX:
    case DBK_SIM_TORN:
        return change->sequence < survival->cut;
    case DBK_SIM_SUBSET:
        return sim_random(&survival->random) % 2 == 0;
    case DBK_SIM_NONE:
    default:
        return false;
    }
}

static void settle_node(struct sim_node *node, struct survival *survival)
{
    while (node->changes != NULL) {
        struct sim_change *change = node->changes;
        keep_change(&node->durable, change, survival);
        node->changes = change->next;
        free_change(change);
    }
    node->changes_end = &node->changes;
    node->locked_by = -1;
    resize(&node->seen, 0);
    put(&node->seen, 0, node->durable.data, node->durable.size);
}

/* A name in a folder that is not there is gone, and so are the names in that one. */
static void drop_orphans(struct sim_names *names)
{
    for (size_t i = 0; i < names->count;) {
        char *parent = sim_parent(names->items[i].path);
        bool orphan = !sim_is_folder(names, parent);
        free(parent);
        if (!orphan) {
            i++;
            continue;
        }
        char *path = names->items[i].path;
        names->items[i] = names->items[--names->count];
        free(path);
        i = 0;
    }
}

static void release_names(struct sim_names *names)
{
    while (names->count > 0)
        free(names->items[--names->count].path);
    free(names->items);
    names->items = NULL;
}

/* A sequence number of something pending, or the one behind all. */
static uint64_t choose_cut(const struct sim_disk *disk, uint64_t *random)
{
    uint64_t first = disk->sequence;
    for (const struct sim_node *node = disk->nodes; node != NULL; node = node->next)
        for (const struct sim_change *c = node->changes; c != NULL; c = c->next)
            if (c->state != SIM_SYNCED && c->sequence < first)
                first = c->sequence;
    for (const struct sim_name_change *c = disk->name_changes; c != NULL; c = c->next)
        if (!c->synced && c->sequence < first)
            first = c->sequence;
    return first + sim_random(random) % (disk->sequence - first + 1);
}

void sim_crash(struct sim_disk *disk, enum dbk_sim_keep data, enum dbk_sim_keep names,
               uint64_t seed)
{
    struct survival survival = {.data = data, .names = names, .random = seed};
    survival.cut = choose_cut(disk, &survival.random);
    for (struct sim_node *node = disk->nodes; node != NULL; node = node->next)
        settle_node(node, &survival);
    while (disk->name_changes != NULL) {
        struct sim_name_change *change = disk->name_changes;
        if (keeps_name(change, &survival))
            apply_name(&disk->durable, change);
        disk->name_changes = change->next;
        free_name_change(change);
    }
    drop_orphans(&disk->durable);
    release_names(&disk->seen);
    for (size_t i = 0; i < disk->durable.count; i++)
        set_name(&disk->seen, disk->durable.items[i].path, disk->durable.items[i].node);
}

void sim_copy(struct sim_disk *disk, const struct sim_disk *source)
{
    for (size_t i = 0; i < source->seen.count; i++) {
        const struct sim_name *name = &source->seen.items[i];
        struct sim_node *node = sim_create_node(disk, name->node->folder);
        put(&node->seen, 0, name->node->seen.data, name->node->seen.size);
        put(&node->durable, 0, name->node->seen.data, name->node->seen.size);
        set_name(&disk->seen, name->path, node);
        set_name(&disk->durable, name->path, node);
    }
}

void sim_release(struct sim_disk *disk)
{
    while (disk->nodes != NULL) {
        struct sim_node *node = disk->nodes;
        while (node->changes != NULL) {
            struct sim_change *change = node->changes;
            node->changes = change->next;
            free_change(change);
        }
        free(node->seen.data);
        free(node->durable.data);
        disk->nodes = node->next;
        free(node);
    }
    while (disk->name_changes != NULL) {
        struct sim_name_change *change = disk->name_changes;
        disk->name_changes = change->next;
        free_name_change(change);
    }
    release_names(&disk->seen);
    release_names(&disk->durable);
}
