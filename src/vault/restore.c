/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A backup of keys put back.
 *
 *     the backup is read and authenticated, the newest list found   nothing is changed
 *     the list                                                      more is erased than before
 *     the new epoch's key                                           nothing refers to it
 *     the new table, and its name                                   from here on the keys are there
 *     a writer opens them                                           what was there before goes
 */
#include <inttypes.h>
#include <sodium.h>
#include <string.h>

#include "base/memory.h"
#include "vault/backup.h"
#include "vault/state.h"
#include "vault/subjects.h"

#define BLOCK_SIZE ((size_t)DBK_SLOTS_AT_ONCE * DBK_SLOT_SIZE)
#define NONCES_SIZE ((size_t)DBK_SLOTS_AT_ONCE * DBK_NONCE_SIZE)
#define FRONT_SIZE (DBK_KEYS_BACKUP_HEADER_SIZE + DBK_EPOCH_SIZE)
#define LIST_SIZE_MAX ((size_t)8 << 30)
/* Epochs past this are no epochs. */
#define EPOCH_MAX ((uint64_t)1 << 62)

struct list {
    const char *path;
    struct dbk_buf bytes;
    struct dbk_erased ids;
    bool found;
};

enum { IN_BACKUP, IN_FOLDER, GIVEN, LISTS };

struct restoring {
    const struct dbk_keys_restore *restore;
    struct dbk_os *os;
    struct dbk_keys *keys; /* what is being made */
    struct dbk_ring *ring; /* holds the backup's key */
    struct dbk_file file;
    struct dbk_keys_backup_header header;
    struct dbk_epoch_file epoch;
    char *block;
    uint8_t *nonces;
    size_t waiting; /* slots in the block that are not written */
    struct list lists[LISTS];
    const struct list *newest;
    struct dbk_ids forgotten; /* by the log */
    uint64_t left_out;
};

/* ---- Reading ---- */

static int read_bytes(struct restoring *restoring, void *to, size_t size, uint64_t at,
                      struct dbk_error *err)
{
    struct dbk_os *os = restoring->os;
    size_t found = 0;
    int rc = os->pread(os, &restoring->file, to, size, at, &found, err);
    if (rc == DBK_OK && found < size)
        rc = dbk_error_set(err, DBK_ECORRUPT, "%s was cut off at byte %ju",
                           restoring->restore->backup, (uintmax_t)(at + found));
    return rc;
}

static uint64_t list_at(const struct restoring *restoring)
{
    return FRONT_SIZE + restoring->header.slots * DBK_SLOT_SIZE;
}

static uint64_t mac_at(const struct restoring *restoring)
{
    return list_at(restoring) + DBK_ERASED_HEADER_SIZE +
           restoring->header.erased * DBK_ERASED_ENTRY_SIZE;
}

static int check_size(struct restoring *restoring, struct dbk_error *err)
{
    struct dbk_os *os = restoring->os;
    uint64_t size = 0;
    uint64_t expected = mac_at(restoring) + DBK_KEYS_BACKUP_MAC_SIZE;
    int rc = os->size(os, &restoring->file, &size, err);
    if (rc == DBK_OK && size != expected)
        rc = dbk_error_set(
            err, DBK_ECORRUPT, "%s %s: it has %ju of %ju bytes", restoring->restore->backup,
            size < expected ? "was cut off" : "is damaged", (uintmax_t)size, (uintmax_t)expected);
    return rc;
}

/* Header and key: whose it is, and whether it is all there. */
static int read_front(struct restoring *restoring, struct dbk_error *err)
{
    char bytes[FRONT_SIZE];
    const char *path = restoring->restore->backup;
    struct dbk_os *os = restoring->os;
    const struct dbk_uuid *book_id = &restoring->keys->book_id;
    uint32_t version = 0;
    size_t size = 0;
    int rc = os->open(os, path, DBK_OS_READ, &restoring->file, err);
    if (rc == DBK_OK)
        rc = os->pread(os, &restoring->file, bytes, sizeof(bytes), 0, &size, err);
    if (rc < 0)
        return rc;
    rc = dbk_keys_backup_decode(dbk_slice(bytes, size), &restoring->header, &version);
    if (rc == DBK_EFORMAT)
        return dbk_error_set(err, rc,
                             "%s has format version %" PRIu32 ", this Daybook reads up to %d", path,
                             version, DBK_KEYS_FORMAT);
    if (rc < 0)
        return dbk_error_set(err, rc, "%s is damaged, or no backup of keys", path);
    if (!dbk_uuid_equal(&restoring->header.book_id, book_id))
        return dbk_error_set(err, DBK_ECONFLICT, "%s holds another book's keys", path);
    rc = check_size(restoring, err);
    if (rc < 0)
        return rc;
    rc = dbk_epoch_decode(dbk_slice(bytes + DBK_KEYS_BACKUP_HEADER_SIZE, DBK_EPOCH_SIZE),
                          &restoring->epoch, &version);
    if (rc < 0)
        return dbk_error_set(err, DBK_ECORRUPT, "%s is damaged: its key is not whole", path);
    return DBK_OK;
}

static int open_backup(struct restoring *restoring, struct dbk_error *err)
{
    const struct dbk_root *root = &restoring->restore->root;
    const char *path = restoring->restore->backup;
    if (restoring->epoch.root == DBK_ROOT_PASSPHRASE && root->passphrase.size == 0)
        return dbk_error_set(err, DBK_EDENIED,
                             "%s is under a passphrase, and none is given: name its file with "
                             "--passphrase",
                             path);
    if (restoring->epoch.root == DBK_ROOT_NONE && restoring->restore->given)
        return dbk_error_set(err, DBK_EINVAL,
                             "%s is under no passphrase, and one is given: it is another file, or "
                             "--passphrase is to be left out",
                             path);
    int rc = dbk_ring_create(&restoring->ring, err);
    if (rc == DBK_OK)
        rc = dbk_secrets_open(root, &restoring->epoch, path, &restoring->ring->secrets, err);
    return rc;
}

/* Reads all of it: nothing was altered since it was written under its key. */
static int authenticate(struct restoring *restoring, struct dbk_error *err)
{
    unsigned char mac[DBK_KEYS_BACKUP_MAC_SIZE];
    unsigned char found[DBK_KEYS_BACKUP_MAC_SIZE];
    uint8_t key[DBK_KEY_SIZE];
    crypto_generichash_state state;
    uint64_t end = mac_at(restoring);
    int rc = DBK_OK;
    dbk_secrets_backup_key(&restoring->ring->secrets, key);
    (void)crypto_generichash_init(&state, key, sizeof(key), sizeof(mac));
    dbk_wipe(key, sizeof(key));
    for (uint64_t at = 0; rc == DBK_OK && at < end;) {
        size_t size = end - at < BLOCK_SIZE ? (size_t)(end - at) : BLOCK_SIZE;
        rc = read_bytes(restoring, restoring->block, size, at, err);
        (void)crypto_generichash_update(&state, (unsigned char *)restoring->block, size);
        at += size;
    }
    if (rc == DBK_OK)
        rc = read_bytes(restoring, found, sizeof(found), end, err);
    (void)crypto_generichash_final(&state, mac, sizeof(mac));
    if (rc == DBK_OK && sodium_memcmp(mac, found, sizeof(mac)) != 0)
        rc = dbk_error_set(err, DBK_ECORRUPT, "%s is damaged or was altered",
                           restoring->restore->backup);
    return rc;
}

/* ---- What was erased ---- */

/* The list at a path; that there is none is told by `found`. */
static int read_list(struct restoring *restoring, struct list *list, struct dbk_error *err)
{
    struct dbk_error failure = {0};
    int rc = dbk_os_read_file(restoring->os, list->path, LIST_SIZE_MAX, &list->bytes, &failure);
    list->found = rc == DBK_OK;
    if (rc < 0 && err != NULL)
        *err = failure;
    return rc;
}

static int read_own_list(struct restoring *restoring, struct list *list, struct dbk_error *err)
{
    uint64_t end = mac_at(restoring);
    int rc = DBK_OK;
    for (uint64_t at = list_at(restoring); rc == DBK_OK && at < end;) {
        size_t size = end - at < BLOCK_SIZE ? (size_t)(end - at) : BLOCK_SIZE;
        rc = read_bytes(restoring, restoring->block, size, at, err);
        dbk_buf_append(&list->bytes, dbk_slice(restoring->block, size));
        at += size;
    }
    if (rc == DBK_OK && list->bytes.rc < 0)
        rc = dbk_error_set(err, list->bytes.rc, "out of memory reading %s", list->path);
    list->found = rc == DBK_OK;
    return rc;
}

/* Of the backup's, the folder's and the one given the newest; it must know what the log knows. */
static int find_newest(struct restoring *restoring, struct dbk_error *err)
{
    const struct dbk_keys_restore *restore = restoring->restore;
    struct list *lists = restoring->lists;
    lists[IN_BACKUP].path = restore->backup;
    lists[IN_FOLDER].path = restoring->keys->erased_path;
    lists[GIVEN].path = restore->erased_list;
    int rc = read_own_list(restoring, &lists[IN_BACKUP], err);
    if (rc == DBK_OK) {
        rc = read_list(restoring, &lists[IN_FOLDER], err);
        rc = rc == DBK_ENOTFOUND ? DBK_OK : rc;
    }
    if (rc == DBK_OK && restore->erased_list != NULL)
        rc = read_list(restoring, &lists[GIVEN], err);
    restoring->newest = &lists[IN_BACKUP];
    for (size_t i = 0; rc == DBK_OK && i < LISTS; i++) {
        if (!lists[i].found)
            continue;
        rc = dbk_erased_parse(dbk_buf_slice(&lists[i].bytes), lists[i].path,
                              &restoring->ring->secrets, &restoring->keys->book_id, &lists[i].ids,
                              err);
        if (rc == DBK_OK)
            rc = dbk_erased_compare(&restoring->newest->ids, &lists[i].ids, err);
        if (lists[i].ids.ids.count >= restoring->newest->ids.ids.count)
            restoring->newest = &lists[i];
    }
    for (size_t i = 0; rc == DBK_OK && i < restore->keys.forgotten_count; i++)
        if (dbk_ids_add(&restoring->forgotten, &restore->keys.forgotten[i]) < 0)
            rc = dbk_error_set(err, DBK_ENOMEM, "out of memory restoring keys");
    return rc < 0 ? rc
                  : dbk_erased_check_covers(&restoring->newest->ids, restoring->newest->path,
                                            restore->keys.forgotten, restore->keys.forgotten_count,
                                            err);
}

/* ---- Writing ---- */

static int flush(struct restoring *restoring, struct dbk_error *err)
{
    struct dbk_os *os = restoring->os;
    struct dbk_table *table = &restoring->keys->table;
    size_t size = restoring->waiting * DBK_SLOT_SIZE;
    uint64_t first = table->slots - restoring->waiting;
    restoring->waiting = 0;
    return size == 0 ? DBK_OK
                     : os->pwrite(os, &table->file, dbk_slice(restoring->block, size),
                                  DBK_TABLE_BEGIN + first * DBK_SLOT_SIZE, err);
}

/* A slot of the block goes to the place of the next that is kept, at or before its own. */
static int keep_slot(struct restoring *restoring, uint64_t index, size_t place,
                     struct dbk_error *err)
{
    struct dbk_table *table = &restoring->keys->table;
    struct dbk_table_header bound = {.book_id = restoring->header.book_id,
                                     .epoch = restoring->header.epoch};
    struct dbk_slot slot;
    int rc = dbk_slot_decode(dbk_slice(restoring->block + place * DBK_SLOT_SIZE, DBK_SLOT_SIZE),
                             index, &slot);
    if (rc == DBK_OK && slot.state != DBK_SLOT_LIVE)
        return DBK_OK;
    if (rc == DBK_OK && (dbk_erased_has(&restoring->newest->ids, &slot.id) ||
                         dbk_ids_has(&restoring->forgotten, &slot.id))) {
        restoring->left_out++;
        return DBK_OK;
    }
    if (rc == DBK_OK)
        rc = dbk_slot_wrap_anew(restoring->ring->secrets.epoch, &bound,
                                restoring->keys->ring->secrets.epoch, &table->header,
                                restoring->nonces + place * DBK_NONCE_SIZE, &slot);
    if (rc < 0)
        return dbk_error_set(err, DBK_ECORRUPT, "%s is damaged: its slot %" PRIu64 " is not whole",
                             restoring->restore->backup, index);
    dbk_slot_encode(&slot, table->slots, restoring->block + restoring->waiting * DBK_SLOT_SIZE);
    table->slots++;
    restoring->waiting++;
    return DBK_OK;
}

static int write_slots(struct restoring *restoring, struct dbk_error *err)
{
    struct dbk_os *os = restoring->os;
    int rc = DBK_OK;
    for (uint64_t index = 0; rc == DBK_OK && index < restoring->header.slots;) {
        uint64_t left = restoring->header.slots - index;
        size_t count = left < DBK_SLOTS_AT_ONCE ? (size_t)left : DBK_SLOTS_AT_ONCE;
        rc = read_bytes(restoring, restoring->block, count * DBK_SLOT_SIZE,
                        FRONT_SIZE + index * DBK_SLOT_SIZE, err);
        if (rc == DBK_OK)
            rc = os->random(os, restoring->nonces, NONCES_SIZE, err);
        for (size_t i = 0; rc == DBK_OK && i < count; i++)
            rc = keep_slot(restoring, index + i, i, err);
        if (rc == DBK_OK)
            rc = flush(restoring, err);
        index += count;
    }
    return rc;
}

static int write_table(struct restoring *restoring, struct dbk_error *err)
{
    char header[DBK_TABLE_BEGIN] = {0};
    struct dbk_keys *keys = restoring->keys;
    struct dbk_os *os = restoring->os;
    struct dbk_table *table = &keys->table;
    size_t erased = restoring->newest->ids.ids.count;
    int rc = os->open(os, keys->new_path, DBK_OS_WRITE | DBK_OS_CREATE, &table->file, err);
    if (rc == DBK_OK)
        rc = os->protect(os, keys->new_path, err);
    if (rc == DBK_OK)
        rc = os->truncate(os, &table->file, 0, err);
    dbk_table_encode(&table->header, header);
    if (rc == DBK_OK)
        rc = os->pwrite(os, &table->file, dbk_slice(header, sizeof(header)), 0, err);
    if (rc == DBK_OK)
        rc = write_slots(restoring, err);
    if (rc == DBK_OK)
        rc = dbk_table_count(os, table, erased, table->slots, err);
    if (rc == DBK_OK)
        rc = os->sync(os, &table->file, err);
    return rc;
}

/* Past every epoch that anybody may know: the log's, the backup's, those of files. */
static int choose_epoch(struct restoring *restoring, struct dbk_error *err)
{
    struct dbk_keys *keys = restoring->keys;
    uint64_t known[] = {restoring->restore->keys.log_epoch, restoring->header.epoch, 0};
    uint64_t highest = 0;
    int rc = dbk_epoch_newest(keys, &known[2], err);
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (known[i] > highest && known[i] < EPOCH_MAX)
            highest = known[i];
    keys->table.header =
        (struct dbk_table_header){.book_id = keys->book_id,
                                  .epoch = highest + 1,
                                  .created_us = restoring->os->now_us(restoring->os),
                                  .erased = restoring->newest->ids.ids.count};
    return rc;
}

static int write_all(struct restoring *restoring, struct dbk_error *err)
{
    struct dbk_keys *keys = restoring->keys;
    struct dbk_os *os = restoring->os;
    int rc = dbk_os_make_folder(os, keys->folder, err);
    if (rc == DBK_OK)
        rc = os->protect(os, keys->folder, err);
    if (rc == DBK_OK && restoring->newest != &restoring->lists[IN_FOLDER])
        rc = dbk_os_replace_file(os, keys->erased_path, dbk_buf_slice(&restoring->newest->bytes),
                                 err);
    if (rc == DBK_OK)
        rc = choose_epoch(restoring, err);
    keys->ring->secrets = restoring->ring->secrets;
    if (rc == DBK_OK)
        rc = os->random(os, keys->ring->secrets.epoch, DBK_KEY_SIZE, err);
    if (rc == DBK_OK)
        rc = dbk_epoch_write(keys, keys->table.header.epoch, &keys->ring->secrets, err);
    if (rc == DBK_OK)
        rc = write_table(restoring, err);
    if (rc == DBK_OK)
        rc = os->rename(os, keys->new_path, keys->table_path, err);
    return rc == DBK_OK ? os->sync_folder(os, keys->folder, err) : rc;
}

static int check_free(struct restoring *restoring, struct dbk_error *err)
{
    struct dbk_os *os = restoring->os;
    struct dbk_file file = DBK_FILE_CLOSED;
    struct dbk_error failure = {0};
    int rc = os->open(os, restoring->keys->table_path, DBK_OS_READ, &file, &failure);
    os->close(os, &file);
    if (rc == DBK_ENOTFOUND || restoring->restore->replace)
        return DBK_OK;
    if (rc == DBK_OK)
        return dbk_error_set(err, DBK_EEXISTS,
                             "%s is there: the book has keys; --replace puts the backup's in their "
                             "place, and keys that were made since are lost",
                             restoring->keys->table_path);
    if (err != NULL)
        *err = failure;
    return rc;
}

int dbk_keys_restore(const struct dbk_keys_restore *restore,
                     struct dbk_keys_backup_result *result_out, struct dbk_error *err)
{
    struct restoring restoring = {
        .restore = restore, .os = restore->keys.os, .file = DBK_FILE_CLOSED};
    int rc = dbk_keys_begin(&restore->keys, &restoring.keys, err);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < LISTS; i++)
        dbk_buf_init(&restoring.lists[i].bytes, LIST_SIZE_MAX);
    restoring.block = dbk_alloc(BLOCK_SIZE);
    restoring.nonces = dbk_alloc(NONCES_SIZE);
    if (restoring.block == NULL || restoring.nonces == NULL)
        rc = dbk_error_set(err, DBK_ENOMEM, "out of memory restoring keys");
    if (rc == DBK_OK)
        rc = check_free(&restoring, err);
    if (rc == DBK_OK)
        rc = read_front(&restoring, err);
    if (rc == DBK_OK)
        rc = open_backup(&restoring, err);
    if (rc == DBK_OK)
        rc = authenticate(&restoring, err);
    if (rc == DBK_OK)
        rc = find_newest(&restoring, err);
    if (rc == DBK_OK)
        rc = write_all(&restoring, err);
    if (rc == DBK_OK)
        *result_out = (struct dbk_keys_backup_result){.epoch = restoring.keys->table.header.epoch,
                                                      .taken_us = restoring.header.taken_us,
                                                      .subjects = restoring.keys->table.slots,
                                                      .left_out = restoring.left_out,
                                                      .erased = restoring.newest->ids.ids.count};
    restoring.os->close(restoring.os, &restoring.file);
    for (size_t i = 0; i < LISTS; i++) {
        dbk_buf_release(&restoring.lists[i].bytes);
        dbk_erased_release(&restoring.lists[i].ids);
    }
    dbk_wipe(&restoring.epoch, sizeof(restoring.epoch));
    dbk_ids_release(&restoring.forgotten);
    dbk_ring_free(restoring.ring);
    dbk_free(restoring.block);
    dbk_free(restoring.nonces);
    /* It is whole: nothing is to be settled. */
    restoring.keys->failed = true;
    dbk_keys_free(restoring.keys);
    return rc;
}

/* ---- Of a book ---- */

static int restore_keys(const struct dbk_vault_copy *copy, const struct dbk_vault *log,
                        struct dbk_slice root, struct dbk_slice own,
                        struct dbk_keys_backup_result *result_out, struct dbk_error *err)
{
    char *folder = dbk_keys_path(copy->data, DBK_KEYS_FOLDER);
    struct dbk_keys_restore restore = {
        .keys = {.os = copy->os,
                 .folder = folder,
                 .book_id = *dbk_store_book_id(copy->store),
                 .writer = true,
                 .root = {.passphrase = root, .file = copy->root},
                 .log_epoch = log->log_epoch,
                 .forgotten = log->erased.items,
                 .forgotten_count = log->erased.count},
        .backup = copy->file,
        .root = {.passphrase = copy->passphrase != NULL ? own : root,
                 .file = copy->passphrase != NULL ? copy->passphrase : copy->root},
        .given = copy->passphrase != NULL,
        .erased_list = copy->erased_list,
        .replace = copy->replace};
    int rc = folder == NULL ? dbk_error_set(err, DBK_ENOMEM, "out of memory restoring keys")
                            : dbk_keys_restore(&restore, result_out, err);
    dbk_free(folder);
    return rc;
}

int dbk_vault_restore(const struct dbk_vault_copy *copy, struct dbk_keys_backup_result *result_out,
                      struct dbk_error *err)
{
    struct dbk_vault log = {.store = copy->store};
    struct dbk_vault *vault = NULL;
    struct dbk_buf root;
    struct dbk_buf own;
    dbk_buf_init(&root, DBK_PASSPHRASE_SIZE_MAX + 1);
    dbk_buf_init(&own, DBK_PASSPHRASE_SIZE_MAX + 1);
    int rc = dbk_passphrase_read(copy->os, copy->root, &root, err);
    if (rc == DBK_OK)
        rc = dbk_passphrase_read(copy->os, copy->passphrase, &own, err);
    if (rc == DBK_OK)
        rc = dbk_vault_read_log(&log, err);
    if (rc == DBK_OK)
        rc = restore_keys(copy, &log, dbk_buf_slice(&root), dbk_buf_slice(&own), result_out, err);
    /* A writer that opens them destroys what they replaced, and tells the log of the epoch. */
    if (rc == DBK_OK)
        rc = dbk_vault_open(&(struct dbk_vault_options){.os = copy->os,
                                                        .store = copy->store,
                                                        .data = copy->data,
                                                        .root = copy->root,
                                                        .writer = true},
                            &vault, err);
    dbk_vault_free(vault);
    dbk_ids_release(&log.erased);
    dbk_ids_release(&log.tombstoned);
    dbk_passphrase_release(&root);
    dbk_passphrase_release(&own);
    return rc;
}
