/* SPDX-License-Identifier: Apache-2.0 */
#include "vault/vault.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/memory.h"
#include "vault/copies.h"
#include "vault/subjects.h"

#define EVENT_SIZE_MAX ((size_t)1 << 20)
#define EPOCH_MIN_US (INT64_C(3600) * 1000000)
/* The keeper looks so often whether an epoch is due. */
#define KEEPER_S 60

const char *dbk_forget_mode_text(enum dbk_forget_mode mode)
{
    return mode == DBK_FORGET_ERASE ? "erase" : "tombstone";
}

static int hex_of(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool dbk_key_id_parse(struct dbk_slice text, struct dbk_uuid *key_out)
{
    struct dbk_uuid key;
    if (text.size != 2 * (size_t)DBK_UUID_SIZE)
        return false;
    for (size_t i = 0; i < DBK_UUID_SIZE; i++) {
        int high = hex_of(text.data[2 * i]);
        int low = hex_of(text.data[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        key.bytes[i] = (uint8_t)(high << 4 | low);
    }
    *key_out = key;
    return true;
}

/* ---- The log's account ---- */

/* Text of a member; empty when there is none. */
static struct dbk_slice text_of(const struct dbk_json_node *object, const char *name)
{
    const struct dbk_json_node *member = dbk_json_member(object, name);
    return member != NULL && member->kind == DBK_JSON_STRING ? member->text : (struct dbk_slice){0};
}

static int take_event(struct dbk_vault *vault, const struct dbk_event *event, struct dbk_json *json,
                      struct dbk_error *err)
{
    const struct dbk_json_node *data = NULL;
    struct dbk_uuid key;
    int rc = DBK_OK;
    bool forgotten = dbk_slice_equal_text(event->type, "SubjectForgotten");
    bool rotated = dbk_slice_equal_text(event->type, "EpochRotated");
    if (!forgotten && !rotated)
        return DBK_OK;
    rc = dbk_json_parse(json, event->data, &data, err);
    if (rc < 0)
        return rc;
    if (rotated) {
        const struct dbk_json_node *epoch = dbk_json_member(data, "epoch");
        bool valid = epoch != NULL && epoch->kind == DBK_JSON_INTEGER && epoch->integer > 0;
        if (valid && (uint64_t)epoch->integer > vault->log_epoch)
            vault->log_epoch = (uint64_t)epoch->integer;
        rc = valid ? DBK_OK : DBK_ECORRUPT;
    } else if (!dbk_key_id_parse(text_of(data, "key"), &key)) {
        rc = DBK_ECORRUPT;
    } else {
        bool erase = dbk_slice_equal_text(text_of(data, "mode"), "erase");
        rc = dbk_ids_add(erase ? &vault->erased : &vault->tombstoned, &key);
        vault->tombstoned_count = vault->tombstoned.count;
    }
    return rc < 0 ? dbk_error_set(err, rc, "position %" PRIu64 ": a %.*s that cannot be taken in",
                                  event->position, DBK_SLICE_ARGS(event->type))
                  : DBK_OK;
}

int dbk_vault_read_log(struct dbk_vault *vault, struct dbk_error *err)
{
    struct dbk_cursor *cursor = NULL;
    struct dbk_event event;
    struct dbk_json *json = dbk_json_create(EVENT_SIZE_MAX);
    struct dbk_filter filter = {.stream = DBK_SLICE_LITERAL(DBK_SUBJECTS_STREAM),
                                .position_min = vault->seen + 1,
                                .hidden = true,
                                .raw = true};
    int rc = json == NULL ? dbk_error_set(err, DBK_ENOMEM, "out of memory opening the vault")
                          : dbk_cursor_open(vault->store, &filter, &cursor, err);
    while (rc == DBK_OK && (rc = dbk_cursor_next(cursor, &event, err)) == 1) {
        rc = take_event(vault, &event, json, err);
        if (rc == DBK_OK)
            vault->seen = event.position;
    }
    dbk_cursor_free(cursor);
    dbk_json_free(json);
    return rc;
}

static int append_epoch(struct dbk_vault *vault, uint64_t epoch, struct dbk_error *err)
{
    struct dbk_standing standing;
    vault->unsaid = true;
    int rc = dbk_store_standing(vault->store, &standing, err);
    if (rc < 0 || vault->holds_epochs || standing.state == DBK_STANDING_FILLED)
        return rc;
    char data[64];
    struct dbk_append_result result;
    (void)snprintf(data, sizeof(data), "{\"epoch\":%" PRIu64 "}", epoch);
    struct dbk_new_event event = {.stream = DBK_SLICE_LITERAL(DBK_SUBJECTS_STREAM),
                                  .type = DBK_SLICE_LITERAL("EpochRotated"),
                                  .data = dbk_slice_of(data),
                                  .occurred_us = DBK_TIME_NONE,
                                  .flags = DBK_RECORD_JSON};
    struct dbk_batch batch = {.events = &event, .count = 1, .flags = DBK_APPEND_OWN};
    rc = dbk_store_append(vault->store, &batch, &result, err);
    if (rc == DBK_OK) {
        vault->log_epoch = epoch;
        vault->unsaid = false;
    }
    return rc;
}

/* ---- Keys ---- */

int dbk_passphrase_read(struct dbk_os *os, const char *path, struct dbk_buf *out,
                        struct dbk_error *err)
{
    if (path == NULL)
        return DBK_OK;
    int rc = dbk_os_read_file(os, path, DBK_PASSPHRASE_SIZE_MAX, out, err);
    while (rc == DBK_OK && out->size > 0 &&
           (out->data[out->size - 1] == '\n' || out->data[out->size - 1] == '\r'))
        out->size--;
    if (rc == DBK_OK && out->size == 0)
        rc = dbk_error_set(err, DBK_EINVAL, "%s holds no passphrase", path);
    return rc;
}

void dbk_passphrase_release(struct dbk_buf *text)
{
    if (text->data != NULL)
        dbk_wipe(text->data, text->size);
    dbk_buf_release(text);
}

static int open_keys(struct dbk_vault *vault, bool make, struct dbk_keys **keys_out,
                     struct dbk_error *err)
{
    struct dbk_buf passphrase;
    struct dbk_error failure = {0};
    dbk_buf_init(&passphrase, DBK_PASSPHRASE_SIZE_MAX + 1);
    *keys_out = NULL;
    int rc = dbk_passphrase_read(vault->os, vault->root, &passphrase, err);
    if (rc == DBK_OK) {
        rc = dbk_keys_open(
            &(struct dbk_keys_options){
                .os = vault->os,
                .folder = vault->folder,
                .book_id = *dbk_store_book_id(vault->store),
                .writer = vault->writer,
                .create = make && vault->writer,
                .root = {.passphrase = dbk_buf_slice(&passphrase), .file = vault->root},
                .log_epoch = vault->log_epoch,
                .forgotten = vault->erased.items,
                .forgotten_count = vault->erased.count},
            keys_out, &failure);
        if (rc == DBK_ENOTFOUND && !make && vault->log_epoch == 0)
            rc = DBK_OK;
        else if (rc < 0 && err != NULL)
            *err = failure;
    }
    dbk_passphrase_release(&passphrase);
    return rc;
}

/* Tells the log of the keys' epoch, where it does not know of it. An empty book is told with the
   first event that needs a key, because a migration may be about to fill it. */
static int say_epoch(struct dbk_vault *vault, bool make, struct dbk_keys *keys,
                     struct dbk_error *err)
{
    uint64_t epoch = dbk_keys_epoch(keys);
    if (!vault->writer || epoch <= vault->log_epoch)
        return DBK_OK;
    vault->unsaid = true;
    return make || dbk_store_last_position(vault->store) > 0 ? append_epoch(vault, epoch, err)
                                                             : DBK_OK;
}

int dbk_vault_keys(struct dbk_vault *vault, bool make, struct dbk_keys **keys_out,
                   struct dbk_error *err)
{
    struct dbk_keys *keys = vault->keys;
    *keys_out = keys;
    if (keys != NULL && !(make && vault->unsaid && !vault->holds_epochs))
        return DBK_OK;
    (void)pthread_mutex_lock(&vault->making);
    keys = vault->keys;
    int rc = keys != NULL ? DBK_OK : open_keys(vault, make, &keys, err);
    if (rc == DBK_OK && keys != NULL)
        rc = say_epoch(vault, make, keys, err);
    if (rc < 0 && vault->keys == NULL)
        dbk_keys_free(keys);
    else
        vault->keys = keys;
    *keys_out = vault->keys;
    (void)pthread_mutex_unlock(&vault->making);
    return rc;
}

int dbk_vault_refresh(struct dbk_vault *vault, struct dbk_error *err)
{
    struct dbk_keys *keys = vault->keys;
    if (vault->writer || keys == NULL)
        return DBK_OK;
    uint64_t changes = dbk_keys_changes(keys);
    (void)pthread_mutex_lock(&vault->lock);
    int rc = changes == vault->changes ? DBK_OK : dbk_vault_read_log(vault, err);
    if (rc == DBK_OK)
        vault->changes = changes;
    (void)pthread_mutex_unlock(&vault->lock);
    return rc;
}

void dbk_vault_hold_epochs(struct dbk_vault *vault)
{
    vault->holds_epochs = true;
}

/* ---- The keeper ---- */

static bool is_due(struct dbk_vault *vault, struct dbk_keys *keys)
{
    uint64_t before = 0;
    uint64_t now = 0;
    dbk_keys_erased_counts(keys, &before, &now);
    return now > before && vault->os->now_us(vault->os) - dbk_keys_created_us(keys) >= EPOCH_MIN_US;
}

static void *keep(void *context)
{
    struct dbk_vault *vault = context;
    (void)pthread_mutex_lock(&vault->lock);
    while (!vault->ends || vault->copies_due) {
        struct timespec until;
        if (vault->copies_due) {
            vault->copies_due = false;
            (void)pthread_mutex_unlock(&vault->lock);
            dbk_ignore(dbk_erased_copy_all(vault->os, vault->data, NULL, NULL));
            (void)pthread_mutex_lock(&vault->lock);
            continue;
        }
        (void)clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += KEEPER_S;
        (void)pthread_cond_timedwait(&vault->woken, &vault->lock, &until);
        struct dbk_keys *keys = vault->keys;
        if (vault->ends || keys == NULL || !is_due(vault, keys))
            continue;
        (void)pthread_mutex_unlock(&vault->lock);
        /* What fails now is tried again; `keys ls` says how old the epoch is. */
        uint64_t epoch = 0;
        dbk_ignore(dbk_vault_rotate(vault, &epoch, NULL));
        (void)pthread_mutex_lock(&vault->lock);
    }
    (void)pthread_mutex_unlock(&vault->lock);
    return NULL;
}

static int start_keeper(struct dbk_vault *vault, struct dbk_error *err)
{
    if (!vault->writer || !vault->rotates)
        return DBK_OK;
    int os_errno = pthread_create(&vault->keeper, NULL, keep, vault);
    if (os_errno != 0)
        return dbk_error_set_errno(err, os_errno, "start the keeper of keys");
    vault->keeps = true;
    return DBK_OK;
}

static void stop_keeper(struct dbk_vault *vault)
{
    if (!vault->keeps)
        return;
    (void)pthread_mutex_lock(&vault->lock);
    vault->ends = true;
    (void)pthread_cond_signal(&vault->woken);
    (void)pthread_mutex_unlock(&vault->lock);
    (void)pthread_join(vault->keeper, NULL);
    vault->keeps = false;
}

/* ---- Life ---- */

int dbk_vault_open(const struct dbk_vault_options *options, struct dbk_vault **vault_out,
                   struct dbk_error *err)
{
    struct dbk_keys *keys = NULL;
    struct dbk_buf folder;
    struct dbk_vault *vault = dbk_alloc_zero(1, sizeof(*vault));
    if (vault == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory opening the vault");
    dbk_buf_init(&folder, SIZE_MAX);
    vault->os = options->os;
    vault->store = options->store;
    vault->writer = options->writer;
    vault->rotates = options->rotates;
    (void)pthread_mutex_init(&vault->lock, NULL);
    (void)pthread_mutex_init(&vault->making, NULL);
    (void)pthread_cond_init(&vault->woken, NULL);
    dbk_buf_append_format(&folder, "%s/" DBK_KEYS_FOLDER, options->data);
    vault->folder = folder.rc < 0 ? NULL : dbk_copy_text(dbk_buf_slice(&folder));
    vault->data = dbk_copy_text(dbk_slice_of(options->data));
    vault->root = options->root == NULL ? NULL : dbk_copy_text(dbk_slice_of(options->root));
    dbk_buf_release(&folder);
    int rc = DBK_OK;
    if (vault->folder == NULL || vault->data == NULL ||
        (options->root != NULL && vault->root == NULL))
        rc = dbk_error_set(err, DBK_ENOMEM, "out of memory opening the vault");
    if (rc == DBK_OK)
        rc = dbk_vault_read_log(vault, err);
    if (rc == DBK_OK)
        rc = dbk_vault_keys(vault, false, &keys, err);
    if (rc == DBK_OK)
        rc = start_keeper(vault, err);
    if (rc < 0) {
        dbk_vault_free(vault);
        return rc;
    }
    *vault_out = vault;
    return DBK_OK;
}

void dbk_vault_free(struct dbk_vault *vault)
{
    if (vault == NULL)
        return;
    stop_keeper(vault);
    dbk_keys_free(vault->keys);
    dbk_ids_release(&vault->erased);
    dbk_ids_release(&vault->tombstoned);
    dbk_free(vault->folder);
    dbk_free(vault->data);
    dbk_free(vault->root);
    (void)pthread_mutex_destroy(&vault->lock);
    (void)pthread_mutex_destroy(&vault->making);
    (void)pthread_cond_destroy(&vault->woken);
    dbk_free(vault);
}

/* ---- Forgetting ---- */

int dbk_vault_find_subject(struct dbk_vault *vault, struct dbk_slice subject,
                           struct dbk_uuid *key_out, struct dbk_error *err)
{
    struct dbk_keys *keys = NULL;
    struct dbk_key key;
    int rc = dbk_vault_keys(vault, false, &keys, err);
    if (rc == DBK_OK)
        rc = keys == NULL ? DBK_ENOTFOUND : dbk_keys_of_subject(keys, subject, &key, err);
    if (rc == DBK_OK) {
        *key_out = key.id;
        dbk_key_wipe(&key);
    }
    return rc;
}

bool dbk_vault_is_erased(void *context, const struct dbk_uuid *key)
{
    struct dbk_vault *vault = context;
    struct dbk_keys *keys = vault->keys;
    dbk_ignore(dbk_vault_refresh(vault, NULL));
    (void)pthread_mutex_lock(&vault->lock);
    bool erased = dbk_ids_has(&vault->erased, key);
    (void)pthread_mutex_unlock(&vault->lock);
    return erased || (keys != NULL && dbk_keys_is_erased(keys, key));
}

/* A writer destroys a key before it tells that it did, and may be killed in between: only the log,
   which knew before, can say that a key is missing for another reason. */
bool dbk_vault_was_forgotten(struct dbk_vault *vault, const struct dbk_uuid *key)
{
    if (dbk_vault_is_erased(vault, key))
        return true;
    if (vault->writer)
        return false;
    (void)pthread_mutex_lock(&vault->lock);
    dbk_ignore(dbk_vault_read_log(vault, NULL));
    bool erased = dbk_ids_has(&vault->erased, key);
    (void)pthread_mutex_unlock(&vault->lock);
    return erased;
}

enum dbk_key_state dbk_vault_key_state(struct dbk_vault *vault, const struct dbk_uuid *id)
{
    struct dbk_key key;
    struct dbk_keys *keys = vault->keys;
    if (dbk_vault_is_erased(vault, id))
        return DBK_KEY_ERASED;
    (void)pthread_mutex_lock(&vault->lock);
    bool tombstoned = dbk_ids_has(&vault->tombstoned, id);
    (void)pthread_mutex_unlock(&vault->lock);
    if (tombstoned)
        return DBK_KEY_TOMBSTONED;
    if (keys == NULL || dbk_keys_find(keys, id, &key, NULL) < 0)
        return DBK_KEY_UNKNOWN;
    dbk_key_wipe(&key);
    return DBK_KEY_LIVE;
}

int dbk_vault_forget(struct dbk_vault *vault, const struct dbk_uuid *ids, size_t count,
                     enum dbk_forget_mode mode, struct dbk_error *err)
{
    struct dbk_keys *keys = NULL;
    int rc = dbk_vault_keys(vault, false, &keys, err);
    if (rc == DBK_OK && keys == NULL)
        rc = dbk_error_set(err, DBK_ENOTFOUND, "no subject has a key, so none can be forgotten");
    if (rc < 0)
        return rc;
    (void)pthread_mutex_lock(&vault->lock);
    struct dbk_ids *set = mode == DBK_FORGET_ERASE ? &vault->erased : &vault->tombstoned;
    for (size_t i = 0; rc == DBK_OK && i < count; i++)
        rc = dbk_ids_add(set, &ids[i]);
    vault->tombstoned_count = vault->tombstoned.count;
    (void)pthread_mutex_unlock(&vault->lock);
    if (rc < 0)
        return dbk_error_set(err, rc, "out of memory forgetting keys");
    if (mode == DBK_FORGET_TOMBSTONE)
        return dbk_keys_tell(keys, err);
    rc = dbk_keys_forget(keys, ids, count, err);
    if (rc < 0)
        return rc;
    /* The keeper copies the list to the backups, which may be far; without one it is done here. */
    (void)pthread_mutex_lock(&vault->lock);
    vault->copies_due = true;
    (void)pthread_cond_signal(&vault->woken);
    (void)pthread_mutex_unlock(&vault->lock);
    if (!vault->keeps)
        dbk_ignore(dbk_erased_copy_all(vault->os, vault->data, NULL, NULL));
    return DBK_OK;
}

static int compare_ids(const void *a, const void *b)
{
    return memcmp(a, b, DBK_UUID_SIZE);
}

int dbk_vault_forgotten(struct dbk_vault *vault, enum dbk_forget_mode mode,
                        struct dbk_uuid **keys_out, size_t *count_out, struct dbk_error *err)
{
    struct dbk_keys *keys = vault->keys;
    struct dbk_ids all = {0};
    int rc = dbk_vault_refresh(vault, err);
    if (rc < 0)
        return rc;
    (void)pthread_mutex_lock(&vault->lock);
    const struct dbk_ids *set = mode == DBK_FORGET_ERASE ? &vault->erased : &vault->tombstoned;
    for (size_t i = 0; rc == DBK_OK && i < set->count; i++)
        rc = dbk_ids_add(&all, &set->items[i]);
    (void)pthread_mutex_unlock(&vault->lock);
    if (rc == DBK_OK && keys != NULL && mode == DBK_FORGET_ERASE)
        rc = dbk_keys_add_erased(keys, &all);
    if (rc < 0) {
        dbk_ids_release(&all);
        return dbk_error_set(err, rc, "out of memory listing forgotten keys");
    }
    if (all.count > 1)
        qsort(all.items, all.count, sizeof(*all.items), compare_ids);
    *keys_out = all.items;
    *count_out = all.count;
    dbk_places_release(&all.places);
    return DBK_OK;
}

/* ---- Epochs ---- */

void dbk_vault_status(struct dbk_vault *vault, struct dbk_vault_status *status_out)
{
    struct dbk_keys *keys = vault->keys;
    *status_out =
        (struct dbk_vault_status){.has_keys = keys != NULL, .tombstoned = vault->tombstoned_count};
    if (keys == NULL)
        return;
    status_out->epoch = dbk_keys_epoch(keys);
    status_out->subjects = dbk_keys_count(keys);
    status_out->epoch_begun_us = dbk_keys_created_us(keys);
    dbk_keys_erased_counts(keys, &status_out->erased_before, &status_out->erased);
}

int dbk_vault_rotate(struct dbk_vault *vault, uint64_t *epoch_out, struct dbk_error *err)
{
    struct dbk_keys *keys = NULL;
    int rc = dbk_vault_keys(vault, false, &keys, err);
    if (rc == DBK_OK && keys == NULL)
        rc = dbk_error_set(err, DBK_ENOTFOUND, "there are no keys, so there is no epoch to end");
    if (rc == DBK_OK)
        rc = dbk_keys_rotate(keys, epoch_out, err);
    return rc == DBK_OK ? append_epoch(vault, *epoch_out, err) : rc;
}
