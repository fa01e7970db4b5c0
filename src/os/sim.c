/* SPDX-License-Identifier: Apache-2.0 */
#include "os/sim.h"

#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/hash.h"
#include "os/sim_disk.h"

#define CALL_KIND_COUNT 15
#define TIME_START_US INT64_C(1700000000000000)

/* Counts down with each call of its kinds; strikes at 0 after having been set. */
struct trigger {
    uint64_t left; /* 0: not set */
    unsigned kinds;
};

struct open_file {
    struct open_file *next;
    int fd;
    bool writable;
    struct sim_node *node;
};

struct dbk_sim {
    struct dbk_os os; /* first, so that the table leads back to its simulator */
    pthread_mutex_t lock;
    struct sim_disk disk;
    struct open_file *files;
    int next_fd; /* never given twice: what was open before a restart stays closed */
    uint64_t random;
    int64_t passed_us;
    uint64_t calls[CALL_KIND_COUNT];
    uint64_t call_count;
    struct trigger fault;
    int fault_code;
    bool fault_for_ever;
    bool failing;
    struct trigger crash;
    bool crashed;
};

enum verdict { GO_ON, FAIL, CRASH };

static struct dbk_sim *lock_of(struct dbk_os *os)
{
    struct dbk_sim *sim = (struct dbk_sim *)os;
    (void)pthread_mutex_lock(&sim->lock);
    return sim;
}

static int unlock(struct dbk_sim *sim, int rc)
{
    (void)pthread_mutex_unlock(&sim->lock);
    return rc;
}

static bool strikes(struct trigger *trigger, unsigned kind)
{
    return trigger->left > 0 && (trigger->kinds & kind) != 0 && --trigger->left == 0;
}

/* Counts the call and says what becomes of it. */
static enum verdict begin_call(struct dbk_sim *sim, unsigned kind)
{
    sim->calls[__builtin_ctz(kind)]++;
    sim->call_count++;
    if (sim->crashed)
        return FAIL;
    if (strikes(&sim->crash, kind)) {
        sim->crashed = true;
        return CRASH;
    }
    if (strikes(&sim->fault, kind)) {
        sim->failing = sim->fault_for_ever;
        return FAIL;
    }
    return sim->failing && (sim->fault.kinds & kind) != 0 ? FAIL : GO_ON;
}

static int fail(const struct dbk_sim *sim, const char *doing, const char *name,
                struct dbk_error *err)
{
    if (sim->crashed)
        return dbk_error_set(err, DBK_EIO, "%s %s: the simulated machine has crashed", doing, name);
    return dbk_error_set(err, sim->fault_code, "%s %s: simulated failure of call %" PRIu64 ": %s",
                         doing, name, sim->call_count, dbk_code_text(sim->fault_code));
}

static struct open_file *find_file(const struct dbk_sim *sim, const struct dbk_file *file)
{
    for (struct open_file *open = sim->files; open != NULL; open = open->next)
        if (open->fd == file->fd)
            return open;
    return NULL;
}

static int not_open(const char *doing, const struct dbk_file *file, struct dbk_error *err)
{
    return dbk_error_set(err, DBK_EIO, "%s %s: the file is not open so", doing, file->name);
}

/* Finds or creates the node of a path. */
static int find_node(struct dbk_sim *sim, const char *path, unsigned flags, bool now,
                     struct sim_node **node_out, struct dbk_error *err)
{
    struct sim_node *node = sim_find(&sim->disk.seen, path);
    if (node != NULL && (flags & DBK_OS_NEW) != 0)
        return dbk_error_set(err, DBK_EEXISTS, "open %s: it exists", path);
    if (node == NULL && (flags & DBK_OS_CREATE) != 0) {
        char *parent = sim_parent(path);
        bool there = sim_is_folder(&sim->disk.seen, parent);
        free(parent);
        if (there) {
            node = sim_create_node(&sim->disk, false);
            sim_name(&sim->disk, NULL, path, node, now);
        }
    }
    if (node == NULL)
        return dbk_error_set(err, DBK_ENOTFOUND, "open %s: there is no such file", path);
    if (node->folder)
        return dbk_error_set(err, DBK_EIO, "open %s: it is a folder", path);
    *node_out = node;
    return DBK_OK;
}

static int open_path(struct dbk_sim *sim, const char *path, unsigned flags,
                     struct dbk_file *file_out, struct dbk_error *err)
{
    struct sim_node *node = NULL;
    enum verdict verdict = begin_call(sim, DBK_SIM_OPEN);
    int rc = verdict == FAIL ? DBK_OK : find_node(sim, path, flags, verdict == GO_ON, &node, err);
    if (verdict != GO_ON)
        return fail(sim, "open", path, err);
    if (rc < 0)
        return rc;
    struct open_file *open = sim_alloc(sizeof(*open));
    open->fd = sim->next_fd++;
    open->writable = (flags & DBK_OS_WRITE) != 0;
    open->node = node;
    open->next = sim->files;
    sim->files = open;
    const char *slash = strrchr(path, '/');
    *file_out = (struct dbk_file){.fd = open->fd};
    (void)snprintf(file_out->name, sizeof(file_out->name), "%s", slash != NULL ? slash + 1 : path);
    return DBK_OK;
}

static int sim_os_open(struct dbk_os *os, const char *path, unsigned flags,
                       struct dbk_file *file_out, struct dbk_error *err)
{
    struct dbk_sim *sim = lock_of(os);
    char *normal = sim_path(path);
    int rc = open_path(sim, normal, flags, file_out, err);
    free(normal);
    return unlock(sim, rc);
}

static void close_fd(struct dbk_sim *sim, int fd)
{
    for (struct open_file **at = &sim->files; *at != NULL; at = &(*at)->next) {
        struct open_file *open = *at;
        if (open->fd != fd)
            continue;
        if (open->node->locked_by == fd)
            open->node->locked_by = -1;
        *at = open->next;
        free(open);
        return;
    }
}

static void sim_os_close(struct dbk_os *os, struct dbk_file *file)
{
    struct dbk_sim *sim = lock_of(os);
    if (file->fd >= 0)
        close_fd(sim, file->fd);
    *file = DBK_FILE_CLOSED;
    (void)unlock(sim, DBK_OK);
}

static int sim_os_pread(struct dbk_os *os, const struct dbk_file *file, void *buffer, size_t size,
                        uint64_t offset, size_t *size_out, struct dbk_error *err)
{
    struct dbk_sim *sim = lock_of(os);
    if (begin_call(sim, DBK_SIM_PREAD) != GO_ON)
        return unlock(sim, fail(sim, "read", file->name, err));
    const struct open_file *open = find_file(sim, file);
    if (open == NULL)
        return unlock(sim, not_open("read", file, err));
    const struct sim_bytes *bytes = &open->node->seen;
    size_t left = offset < bytes->size ? bytes->size - (size_t)offset : 0;
    *size_out = size < left ? size : left;
    if (*size_out > 0)
        memcpy(buffer, bytes->data + offset, *size_out);
    return unlock(sim, DBK_OK);
}

static int sim_os_pwrite(struct dbk_os *os, const struct dbk_file *file, struct dbk_slice bytes,
                         uint64_t offset, struct dbk_error *err)
{
    struct dbk_sim *sim = lock_of(os);
    enum verdict verdict = begin_call(sim, DBK_SIM_PWRITE);
    const struct open_file *open = find_file(sim, file);
    if (open == NULL || !open->writable)
        return unlock(sim, not_open("write", file, err));
    if (verdict == FAIL) {
        /* Of a failing write a part may be there, but never all. */
        size_t part = bytes.size == 0 ? 0 : (size_t)(sim_random(&sim->random) % bytes.size);
        if (!sim->crashed)
            sim_write(&sim->disk, open->node, dbk_slice(bytes.data, part), offset, true);
        return unlock(sim, fail(sim, "write", file->name, err));
    }
    sim_write(&sim->disk, open->node, bytes, offset, verdict == GO_ON);
    return unlock(sim, verdict == GO_ON ? DBK_OK : fail(sim, "write", file->name, err));
}

static int sim_os_sync(struct dbk_os *os, const struct dbk_file *file, struct dbk_error *err)
{
    struct dbk_sim *sim = lock_of(os);
    enum verdict verdict = begin_call(sim, DBK_SIM_SYNC);
    const struct open_file *open = find_file(sim, file);
    if (open == NULL)
        return unlock(sim, not_open("sync", file, err));
    if (!sim->crashed)
        sim_sync_node(open->node, verdict == GO_ON);
    return unlock(sim, verdict == GO_ON ? DBK_OK : fail(sim, "sync", file->name, err));
}

static int sim_os_size(struct dbk_os *os, const struct dbk_file *file, uint64_t *size_out,
                       struct dbk_error *err)
{
    struct dbk_sim *sim = lock_of(os);
    if (begin_call(sim, DBK_SIM_SIZE) != GO_ON)
        return unlock(sim, fail(sim, "look at", file->name, err));
    const struct open_file *open = find_file(sim, file);
    if (open == NULL)
        return unlock(sim, not_open("look at", file, err));
    *size_out = open->node->seen.size;
    return unlock(sim, DBK_OK);
}

static int sim_os_truncate(struct dbk_os *os, const struct dbk_file *file, uint64_t size,
                           struct dbk_error *err)
{
    struct dbk_sim *sim = lock_of(os);
    enum verdict verdict = begin_call(sim, DBK_SIM_TRUNCATE);
    const struct open_file *open = find_file(sim, file);
    if (open == NULL || !open->writable)
        return unlock(sim, not_open("truncate", file, err));
    if (verdict != FAIL)
        sim_truncate(&sim->disk, open->node, size, verdict == GO_ON);
    return unlock(sim, verdict == GO_ON ? DBK_OK : fail(sim, "truncate", file->name, err));
}

static int sim_os_map(struct dbk_os *os, const struct dbk_file *file, uint64_t size,
                      struct dbk_slice *bytes_out, struct dbk_error *err)
{
    struct dbk_sim *sim = lock_of(os);
    if (begin_call(sim, DBK_SIM_MAP) != GO_ON)
        return unlock(sim, fail(sim, "map", file->name, err));
    const struct open_file *open = find_file(sim, file);
    if (open == NULL)
        return unlock(sim, not_open("map", file, err));
    *bytes_out = (struct dbk_slice){0};
    if (size > 0) {
        const struct sim_bytes *bytes = &open->node->seen;
        char *copy = sim_alloc((size_t)size);
        size_t there = size < bytes->size ? (size_t)size : bytes->size;
        if (there > 0)
            memcpy(copy, bytes->data, there);
        *bytes_out = dbk_slice(copy, (size_t)size);
    }
    return unlock(sim, DBK_OK);
}

static void sim_os_unmap(struct dbk_os *os, struct dbk_slice bytes)
{
    (void)os;
    char *copy = NULL;
    memcpy(&copy, &bytes.data, sizeof(copy)); /* free takes no const */
    free(copy);
}

static void sim_os_unload(struct dbk_os *os, struct dbk_slice bytes)
{
    (void)os;
    (void)bytes; /* a copy has no file to be fetched from again */
}

static int rename_path(struct dbk_sim *sim, const char *from, const char *to, struct dbk_error *err)
{
    enum verdict verdict = begin_call(sim, DBK_SIM_RENAME);
    struct sim_node *node = sim_find(&sim->disk.seen, from);
    char *parent = sim_parent(to);
    bool possible = node != NULL && sim_is_folder(&sim->disk.seen, parent);
    free(parent);
    if (verdict != FAIL && possible)
        sim_name(&sim->disk, from, to, node, verdict == GO_ON);
    if (verdict != GO_ON)
        return fail(sim, "rename", from, err);
    return possible ? DBK_OK
                    : dbk_error_set(err, DBK_ENOTFOUND,
                                    "rename %s: it or its new folder is missing", from);
}

static int sim_os_rename(struct dbk_os *os, const char *from, const char *to, struct dbk_error *err)
{
    struct dbk_sim *sim = lock_of(os);
    char *normal_from = sim_path(from);
    char *normal_to = sim_path(to);
    int rc = rename_path(sim, normal_from, normal_to, err);
    free(normal_from);
    free(normal_to);
    return unlock(sim, rc);
}

static bool is_empty_folder(const struct sim_names *names, const char *path)
{
    for (size_t i = 0; i < names->count; i++)
        if (sim_is_in(names->items[i].path, path))
            return false;
    return true;
}

static int remove_path(struct dbk_sim *sim, const char *path, struct dbk_error *err)
{
    enum verdict verdict = begin_call(sim, DBK_SIM_REMOVE);
    const struct sim_node *node = sim_find(&sim->disk.seen, path);
    bool possible = node != NULL && (!node->folder || is_empty_folder(&sim->disk.seen, path));
    if (verdict != FAIL && possible)
        sim_name(&sim->disk, NULL, path, NULL, verdict == GO_ON);
    if (verdict != GO_ON)
        return fail(sim, "remove", path, err);
    if (node == NULL)
        return dbk_error_set(err, DBK_ENOTFOUND, "remove %s: there is no such file", path);
    return possible ? DBK_OK
                    : dbk_error_set(err, DBK_EIO, "remove %s: the folder is not empty", path);
}

static int sim_os_remove(struct dbk_os *os, const char *path, struct dbk_error *err)
{
    struct dbk_sim *sim = lock_of(os);
    char *normal = sim_path(path);
    int rc = remove_path(sim, normal, err);
    free(normal);
    return unlock(sim, rc);
}

static int make_folder_path(struct dbk_sim *sim, const char *path, struct dbk_error *err)
{
    enum verdict verdict = begin_call(sim, DBK_SIM_MAKE_FOLDER);
    const struct sim_node *node = sim_find(&sim->disk.seen, path);
    char *parent = sim_parent(path);
    bool possible = node == NULL && path[0] != '\0' && sim_is_folder(&sim->disk.seen, parent);
    free(parent);
    if (verdict != FAIL && possible)
        sim_name(&sim->disk, NULL, path, sim_create_node(&sim->disk, true), verdict == GO_ON);
    if (verdict != GO_ON)
        return fail(sim, "make folder", path, err);
    if (possible || sim_is_folder(&sim->disk.seen, path))
        return DBK_OK;
    return dbk_error_set(err, node != NULL ? DBK_EEXISTS : DBK_ENOTFOUND,
                         "make folder %s: the name is taken or its folder is missing", path);
}

static int sim_os_make_folder(struct dbk_os *os, const char *path, struct dbk_error *err)
{
    struct dbk_sim *sim = lock_of(os);
    char *normal = sim_path(path);
    int rc = make_folder_path(sim, normal, err);
    free(normal);
    return unlock(sim, rc);
}

/* Who may read a file is nothing that the disk in memory knows. */
static int protect_path(struct dbk_sim *sim, const char *path, struct dbk_error *err)
{
    if (begin_call(sim, DBK_SIM_PROTECT) != GO_ON)
        return fail(sim, "protect", path, err);
    if (path[0] != '\0' && sim_find(&sim->disk.seen, path) == NULL)
        return dbk_error_set(err, DBK_ENOTFOUND, "protect %s: there is no such file", path);
    return DBK_OK;
}

static int sim_os_protect(struct dbk_os *os, const char *path, struct dbk_error *err)
{
    struct dbk_sim *sim = lock_of(os);
    char *normal = sim_path(path);
    int rc = protect_path(sim, normal, err);
    free(normal);
    return unlock(sim, rc);
}

static int sync_folder_path(struct dbk_sim *sim, const char *path, struct dbk_error *err)
{
    enum verdict verdict = begin_call(sim, DBK_SIM_SYNC_FOLDER);
    if (verdict == GO_ON)
        sim_sync_names(&sim->disk, path);
    else
        return fail(sim, "sync folder", path, err);
    if (!sim_is_folder(&sim->disk.seen, path))
        return dbk_error_set(err, DBK_ENOTFOUND, "sync folder %s: there is no such folder", path);
    return DBK_OK;
}

static int sim_os_sync_folder(struct dbk_os *os, const char *path, struct dbk_error *err)
{
    struct dbk_sim *sim = lock_of(os);
    char *normal = sim_path(path);
    int rc = sync_folder_path(sim, normal, err);
    free(normal);
    return unlock(sim, rc);
}

/* The names in a folder as texts one after the other, so that each may call the table itself. */
static char *names_in(const struct dbk_sim *sim, const char *folder, size_t *count_out)
{
    const struct sim_names *names = &sim->disk.seen;
    size_t size = 0;
    for (size_t i = 0; i < names->count; i++)
        size += strlen(names->items[i].path) + 1;
    char *texts = sim_alloc(size);
    char *at = texts;
    *count_out = 0;
    for (size_t i = 0; i < names->count; i++) {
        if (!sim_is_in(names->items[i].path, folder))
            continue;
        const char *slash = strrchr(names->items[i].path, '/');
        at = stpcpy(at, slash == NULL ? names->items[i].path : slash + 1) + 1;
        ++*count_out;
    }
    return texts;
}

static int sim_os_list(struct dbk_os *os, const char *path, dbk_os_each_fn each, void *context,
                       struct dbk_error *err)
{
    struct dbk_sim *sim = lock_of(os);
    char *normal = sim_path(path);
    char *texts = NULL;
    size_t count = 0;
    int rc = DBK_OK;
    if (begin_call(sim, DBK_SIM_LIST) != GO_ON)
        rc = fail(sim, "list", normal, err);
    else if (!sim_is_folder(&sim->disk.seen, normal))
        rc = dbk_error_set(err, DBK_ENOTFOUND, "list %s: there is no such folder", normal);
    else
        texts = names_in(sim, normal, &count);
    free(normal);
    rc = unlock(sim, rc);
    const char *at = texts;
    for (size_t i = 0; i < count && rc >= 0; i++) {
        rc = each(at, context);
        at += strlen(at) + 1;
    }
    free(texts);
    return rc < 0 ? rc : DBK_OK;
}

static int sim_os_lock(struct dbk_os *os, const struct dbk_file *file, struct dbk_error *err)
{
    struct dbk_sim *sim = lock_of(os);
    if (begin_call(sim, DBK_SIM_LOCK) != GO_ON)
        return unlock(sim, fail(sim, "lock", file->name, err));
    const struct open_file *open = find_file(sim, file);
    if (open == NULL)
        return unlock(sim, not_open("lock", file, err));
    if (open->node->locked_by >= 0 && open->node->locked_by != file->fd)
        return unlock(sim,
                      dbk_error_set(err, DBK_EBUSY, "%s is locked by another process", file->name));
    open->node->locked_by = file->fd;
    return unlock(sim, DBK_OK);
}

static int64_t sim_os_monotonic_us(struct dbk_os *os)
{
    struct dbk_sim *sim = lock_of(os);
    int64_t passed_us = ++sim->passed_us;
    (void)unlock(sim, DBK_OK);
    return passed_us;
}

static int64_t sim_os_now_us(struct dbk_os *os)
{
    return TIME_START_US + sim_os_monotonic_us(os);
}

static int sim_os_random(struct dbk_os *os, void *buffer, size_t size, struct dbk_error *err)
{
    struct dbk_sim *sim = lock_of(os);
    if (begin_call(sim, DBK_SIM_RANDOM) != GO_ON)
        return unlock(sim, fail(sim, "read", "random bytes", err));
    for (size_t i = 0; i < size; i++)
        ((uint8_t *)buffer)[i] = (uint8_t)sim_random(&sim->random);
    return unlock(sim, DBK_OK);
}

struct dbk_sim *dbk_sim_create(uint64_t seed)
{
    struct dbk_sim *sim = sim_alloc(sizeof(*sim));
    int rc = pthread_mutex_init(&sim->lock, NULL);
    dbk_assert(rc == 0);
    sim->random = seed;
    sim->os = (struct dbk_os){
        .open = sim_os_open,
        .close = sim_os_close,
        .pread = sim_os_pread,
        .pwrite = sim_os_pwrite,
        .sync = sim_os_sync,
        .size = sim_os_size,
        .truncate = sim_os_truncate,
        .map = sim_os_map,
        .unmap = sim_os_unmap,
        .unload = sim_os_unload,
        .rename = sim_os_rename,
        .remove = sim_os_remove,
        .make_folder = sim_os_make_folder,
        .protect = sim_os_protect,
        .sync_folder = sim_os_sync_folder,
        .list = sim_os_list,
        .lock = sim_os_lock,
        .now_us = sim_os_now_us,
        .monotonic_us = sim_os_monotonic_us,
        .random = sim_os_random,
    };
    return sim;
}

struct dbk_sim *dbk_sim_clone(struct dbk_sim *sim, uint64_t seed)
{
    struct dbk_sim *clone = dbk_sim_create(seed);
    (void)lock_of(&sim->os);
    sim_copy(&clone->disk, &sim->disk);
    clone->passed_us = sim->passed_us;
    (void)unlock(sim, DBK_OK);
    return clone;
}

void dbk_sim_free(struct dbk_sim *sim)
{
    if (sim == NULL)
        return;
    while (sim->files != NULL)
        close_fd(sim, sim->files->fd);
    sim_release(&sim->disk);
    (void)pthread_mutex_destroy(&sim->lock);
    free(sim);
}

struct dbk_os *dbk_sim_os(struct dbk_sim *sim)
{
    return &sim->os;
}

uint64_t dbk_sim_calls(struct dbk_sim *sim, unsigned kinds)
{
    uint64_t count = 0;
    (void)lock_of(&sim->os);
    for (unsigned i = 0; i < CALL_KIND_COUNT; i++)
        if (kinds == 0 || (kinds & 1u << i) != 0)
            count += sim->calls[i];
    (void)unlock(sim, DBK_OK);
    return count;
}

void dbk_sim_fail_at(struct dbk_sim *sim, uint64_t at, unsigned kinds, int code, bool for_ever)
{
    (void)lock_of(&sim->os);
    sim->fault = (struct trigger){.left = at, .kinds = kinds == 0 ? UINT_MAX : kinds};
    sim->fault_code = code;
    sim->fault_for_ever = for_ever;
    sim->failing = false;
    (void)unlock(sim, DBK_OK);
}

void dbk_sim_crash_at(struct dbk_sim *sim, uint64_t at, unsigned kinds)
{
    (void)lock_of(&sim->os);
    sim->crash = (struct trigger){.left = at, .kinds = kinds == 0 ? UINT_MAX : kinds};
    (void)unlock(sim, DBK_OK);
}

bool dbk_sim_crashed(struct dbk_sim *sim)
{
    (void)lock_of(&sim->os);
    bool crashed = sim->crashed;
    (void)unlock(sim, DBK_OK);
    return crashed;
}

void dbk_sim_restart(struct dbk_sim *sim, enum dbk_sim_keep data, enum dbk_sim_keep names,
                     uint64_t seed)
{
    (void)lock_of(&sim->os);
    while (sim->files != NULL)
        close_fd(sim, sim->files->fd);
    sim_crash(&sim->disk, data, names, seed);
    memset(sim->calls, 0, sizeof(sim->calls));
    sim->call_count = 0;
    sim->fault = (struct trigger){0};
    sim->failing = false;
    sim->crash = (struct trigger){0};
    sim->crashed = false;
    (void)unlock(sim, DBK_OK);
}

struct dbk_slice dbk_sim_file(struct dbk_sim *sim, const char *path)
{
    char *normal = sim_path(path);
    (void)lock_of(&sim->os);
    const struct sim_node *node = sim_find(&sim->disk.seen, normal);
    struct dbk_slice bytes = {0};
    if (node != NULL)
        bytes = node->seen.size > 0 ? dbk_slice(node->seen.data, node->seen.size)
                                    : DBK_SLICE_LITERAL("");
    (void)unlock(sim, DBK_OK);
    free(normal);
    return bytes;
}

void dbk_sim_set_file(struct dbk_sim *sim, const char *path, struct dbk_slice bytes)
{
    char *normal = sim_path(path);
    char *parent = sim_parent(normal);
    (void)lock_of(&sim->os);
    struct sim_node *node = sim_find(&sim->disk.seen, normal);
    if (node == NULL) {
        node = sim_create_node(&sim->disk, false);
        sim_name(&sim->disk, NULL, normal, node, true);
        sim_sync_names(&sim->disk, parent);
    }
    sim_truncate(&sim->disk, node, 0, true);
    sim_write(&sim->disk, node, bytes, 0, true);
    sim_sync_node(node, true);
    (void)unlock(sim, DBK_OK);
    free(parent);
    free(normal);
}

void dbk_sim_flip(struct dbk_sim *sim, const char *path, uint64_t offset, uint8_t mask)
{
    char *normal = sim_path(path);
    (void)lock_of(&sim->os);
    struct sim_node *node = sim_find(&sim->disk.seen, normal);
    dbk_assert(node != NULL && offset < node->seen.size);
    char flipped = (char)(node->seen.data[offset] ^ mask);
    sim_write(&sim->disk, node, dbk_slice(&flipped, 1), offset, true);
    sim_sync_node(node, true);
    (void)unlock(sim, DBK_OK);
    free(normal);
}

uint64_t dbk_sim_fingerprint(struct dbk_sim *sim)
{
    static const uint8_t key[16] = "fingerprint";
    uint64_t sum = 0;
    (void)lock_of(&sim->os);
    for (size_t i = 0; i < sim->disk.seen.count; i++) {
        const struct sim_name *name = &sim->disk.seen.items[i];
        struct dbk_hash128 path = dbk_siphash128(key, dbk_slice_of(name->path));
        struct dbk_hash128 bytes =
            dbk_siphash128(key, dbk_slice(name->node->seen.data, name->node->seen.size));
        /* A sum, since names stand in no order. */
        sum += (path.low ^ bytes.low) * (path.high | 1);
    }
    (void)unlock(sim, DBK_OK);
    return sum;
}

void dbk_sim_pass_us(struct dbk_sim *sim, int64_t duration_us)
{
    (void)lock_of(&sim->os);
    sim->passed_us += duration_us;
    (void)unlock(sim, DBK_OK);
}
