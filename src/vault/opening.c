/* SPDX-License-Identifier: Apache-2.0 */
/* What an event becomes when it is read. */
#include <inttypes.h>
#include <stdio.h>

#include "base/memory.h"
#include "log/sealed.h"
#include "vault/fields.h"
#include "vault/seal.h"
#include "vault/subjects.h"

#define OPENED_SIZE_MAX ((size_t)512 << 20)
/* {"$forgotten":"<32 digits>"} */
#define FORGOTTEN_SIZE 49

/* A reader's buffers. */
struct reader {
    struct dbk_buf values;
    struct dbk_buf data;
    struct dbk_buf tags;
    struct dbk_field *fields;
    size_t capacity;
};

static struct reader *reader_of(void **state)
{
    struct reader *reader = *state;
    if (reader != NULL)
        return reader;
    reader = dbk_alloc_zero(1, sizeof(*reader));
    if (reader == NULL)
        return NULL;
    dbk_buf_init(&reader->values, OPENED_SIZE_MAX);
    dbk_buf_init(&reader->data, OPENED_SIZE_MAX);
    dbk_buf_init(&reader->tags, UINT16_MAX);
    *state = reader;
    return reader;
}

void dbk_vault_end(void *state)
{
    struct reader *reader = state;
    if (reader == NULL)
        return;
    /* What was opened does not stay in freed memory. */
    if (reader->values.data != NULL)
        dbk_wipe(reader->values.data, reader->values.capacity);
    if (reader->data.data != NULL)
        dbk_wipe(reader->data.data, reader->data.capacity);
    dbk_buf_release(&reader->values);
    dbk_buf_release(&reader->data);
    dbk_buf_release(&reader->tags);
    dbk_free(reader->fields);
    dbk_free(reader);
}

/* ---- Tags ---- */

static bool is_key_tag(struct dbk_slice tag)
{
    return tag.size == DBK_KEY_TAG_SIZE && memcmp(tag.data, "$key:", 5) == 0;
}

static bool has_key_tag(struct dbk_slice tags)
{
    struct dbk_slice tag;
    while (dbk_event_next_tag(&tags, &tag))
        if (is_key_tag(tag))
            return true;
    return false;
}

static bool is_tombstoned(struct dbk_vault *vault, struct dbk_slice tags)
{
    struct dbk_slice tag;
    struct dbk_uuid key;
    bool found = false;
    (void)pthread_mutex_lock(&vault->lock);
    while (!found && dbk_event_next_tag(&tags, &tag))
        found = is_key_tag(tag) && dbk_key_id_parse(dbk_slice(tag.data + 5, tag.size - 5), &key) &&
                dbk_ids_has(&vault->tombstoned, &key);
    (void)pthread_mutex_unlock(&vault->lock);
    return found;
}

/* The book's own tag is nothing that readers asked for, and none that they may append. */
static void hide_key_tags(struct reader *reader, struct dbk_event *event)
{
    struct dbk_slice tags = event->tags;
    struct dbk_slice tag;
    dbk_buf_reset(&reader->tags);
    while (dbk_event_next_tag(&tags, &tag)) {
        if (is_key_tag(tag))
            continue;
        dbk_buf_append_char(&reader->tags, (char)tag.size);
        dbk_buf_append(&reader->tags, tag);
    }
    if (reader->tags.rc == DBK_OK)
        event->tags = dbk_buf_slice(&reader->tags);
}

/* ---- Fields ---- */

static void append_forgotten(struct dbk_buf *out, const struct dbk_uuid *id)
{
    char tag[DBK_KEY_TAG_SIZE + 1];
    dbk_key_tag(id, tag);
    dbk_buf_append_format(out, "{\"$forgotten\":\"%s\"}", tag + 5);
}

static int missing(struct dbk_vault *vault, const struct dbk_event *event,
                   const struct dbk_sealed_field *field, struct dbk_error *err)
{
    char tag[DBK_KEY_TAG_SIZE + 1];
    dbk_key_tag(&field->key_id, tag);
    return dbk_error_set(err, DBK_ECORRUPT,
                         "position %" PRIu64 ": the key %s of its field %.*s is not in %s, and was "
                         "never forgotten; put the newest backup of the keys back",
                         event->position, tag + 5, DBK_SLICE_ARGS(field->path), vault->folder);
}

static int open_field(struct dbk_vault *vault, const struct dbk_event *event,
                      const struct dbk_sealed_field *field, struct dbk_key *key,
                      struct dbk_buf *values, struct dbk_error *err)
{
    struct dbk_keys *keys = NULL;
    /* Without its ciphertext is only what was forgotten, here or where it was copied from. */
    if (field->kind == DBK_SEALED_DIGEST) {
        append_forgotten(values, &field->key_id);
        return DBK_OK;
    }
    int rc = dbk_vault_keys(vault, false, &keys, err);
    if (rc < 0)
        return rc;
    if (!dbk_uuid_equal(&key->id, &field->key_id))
        rc = keys == NULL ? DBK_ENOTFOUND : dbk_keys_find(keys, &field->key_id, key, err);
    if (rc == DBK_ENOTFOUND) {
        dbk_key_wipe(key);
        if (!dbk_vault_was_forgotten(vault, &field->key_id))
            return missing(vault, event, field, err);
        append_forgotten(values, &field->key_id);
        return DBK_OK;
    }
    if (rc < 0)
        return rc;
    struct dbk_seal_place place = {.book_id = *dbk_store_book_id(vault->store),
                                   .event_id = event->id,
                                   .stream = event->stream,
                                   .path = field->path};
    rc = dbk_unseal(key, &place, field->value, values);
    if (rc == DBK_ECORRUPT)
        return dbk_error_set(err, rc,
                             "position %" PRIu64 ": its field %.*s was not sealed there, or was "
                             "altered",
                             event->position, DBK_SLICE_ARGS(field->path));
    return rc < 0 ? dbk_error_set(err, rc, "out of memory opening an event") : DBK_OK;
}

/* Room for the fields, and for all their values, so that these stay where they are. */
static int reserve(struct reader *reader, size_t count, size_t size)
{
    if (count > reader->capacity) {
        struct dbk_field *fields = dbk_realloc(reader->fields, count * sizeof(*fields));
        if (fields == NULL)
            return DBK_ENOMEM;
        reader->fields = fields;
        reader->capacity = count;
    }
    dbk_buf_reset(&reader->values);
    return dbk_buf_reserve(&reader->values, size + count * (FORGOTTEN_SIZE + 1) + 1);
}

static int open_fields(struct dbk_vault *vault, struct reader *reader, struct dbk_event *event,
                       struct dbk_error *err)
{
    struct dbk_sealed_field field;
    struct dbk_slice left;
    struct dbk_key key = {0};
    uint16_t count = 0;
    size_t opened = 0;
    int rc = dbk_sealed_open(event->sealed, &count, &left);
    if (rc == DBK_OK)
        rc = reserve(reader, count, event->sealed.size);
    if (rc < 0)
        return dbk_error_set(err, rc, "position %" PRIu64 ": its sealed fields: %s",
                             event->position, dbk_code_text(rc));
    while (opened < count && (rc = dbk_sealed_next(&left, &field)) == 1) {
        size_t begin = reader->values.size;
        rc = open_field(vault, event, &field, &key, &reader->values, err);
        if (rc < 0)
            break;
        reader->fields[opened++] = (struct dbk_field){
            field.path, dbk_slice(reader->values.data + begin, reader->values.size - begin)};
    }
    dbk_key_wipe(&key);
    if (rc < 0)
        return rc;
    dbk_buf_reset(&reader->data);
    rc = opened < count ? DBK_ECORRUPT
                        : dbk_fields_splice(event->data, reader->fields, opened, &reader->data);
    if (rc < 0)
        return dbk_error_set(err, rc, "position %" PRIu64 ": its sealed fields: %s",
                             event->position, dbk_code_text(rc));
    event->data = dbk_buf_slice(&reader->data);
    return DBK_OK;
}

bool dbk_vault_touches(struct dbk_vault *vault, const struct dbk_event *event)
{
    (void)vault;
    return event->sealed.size > 0 || has_key_tag(event->tags);
}

int dbk_vault_open_event(struct dbk_vault *vault, void **state, struct dbk_event *event,
                         struct dbk_error *err)
{
    struct dbk_keys *keys = NULL;
    if (!dbk_vault_touches(vault, event))
        return 1;
    int rc = dbk_vault_keys(vault, false, &keys, err);
    if (rc == DBK_OK)
        rc = dbk_vault_refresh(vault, err);
    if (rc < 0)
        return rc;
    if (vault->tombstoned_count > 0 && is_tombstoned(vault, event->tags))
        return 0;
    struct reader *reader = reader_of(state);
    if (reader == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory opening an event");
    if (event->sealed.size > 0)
        rc = open_fields(vault, reader, event, err);
    if (rc < 0)
        return rc;
    hide_key_tags(reader, event);
    return 1;
}
