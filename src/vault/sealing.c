/* SPDX-License-Identifier: Apache-2.0 */
/* What an event becomes before it is stored. */
#include <inttypes.h>

#include "base/hash.h"
#include "base/memory.h"
#include "log/sealed.h"
#include "vault/fields.h"
#include "vault/seal.h"
#include "vault/subjects.h"

#define SEALED_SIZE_MAX ((size_t)256 << 20)

static int out_of_memory(struct dbk_error *err)
{
    return dbk_error_set(err, DBK_ENOMEM, "out of memory sealing personal fields");
}

/* The subject as text: a name, or a number as it is written. */
static int subject_of(const struct dbk_schema *schema, const struct dbk_json_node *nodes,
                      size_t index, struct dbk_slice *subject_out, struct dbk_error *err)
{
    const struct dbk_schema_path *path = dbk_schema_subject(schema);
    const struct dbk_json_node *node = dbk_schema_value(path, nodes);
    const char *why = NULL;
    if (node == NULL || node->kind == DBK_JSON_NULL)
        why = "is missing";
    else if (node->kind == DBK_JSON_STRING && node->text.size > 0)
        *subject_out = node->text;
    else if (node->kind == DBK_JSON_INTEGER)
        *subject_out = node->raw;
    else
        why = "is neither a text nor a whole number";
    if (why == NULL)
        return DBK_OK;
    return dbk_error_set(
        err, DBK_EINVAL, "event %zu: %.*s belongs to a subject, and its %.*s, which names it, %s",
        index, DBK_SLICE_ARGS(dbk_schema_type(schema)), DBK_SLICE_ARGS(path->text), why);
}

static int make_id(struct dbk_vault *vault, struct dbk_uuid *id_out, struct dbk_error *err)
{
    uint8_t random[10];
    int rc = vault->os->random(vault->os, random, sizeof(random), err);
    if (rc == DBK_OK)
        *id_out = dbk_uuid_v7(vault->os->now_us(vault->os), random);
    return rc;
}

/* ---- Repeated appends ---- */

/* Whether a key of a stored event was erased. Of a removed one nothing but its id is left to say
   what it was. */
static bool lost_key(struct dbk_vault *vault, const struct dbk_event *event)
{
    struct dbk_slice tags = event->tags;
    struct dbk_slice tag;
    struct dbk_uuid key;
    static const char prefix[] = "$key:";
    bool lost = (event->flags & DBK_RECORD_REMOVED) != 0;
    while (!lost && dbk_event_next_tag(&tags, &tag)) {
        if (tag.size > sizeof(prefix) - 1 && memcmp(tag.data, prefix, sizeof(prefix) - 1) == 0 &&
            dbk_key_id_parse(
                dbk_slice(tag.data + sizeof(prefix) - 1, tag.size - sizeof(prefix) + 1), &key))
            lost = dbk_vault_is_erased(vault, &key);
    }
    return lost;
}

static int is_forgotten(struct dbk_vault *vault, const struct dbk_uuid *id, bool *forgotten_out,
                        struct dbk_error *err)
{
    struct dbk_cursor *cursor = NULL;
    struct dbk_event event;
    uint64_t position = 0;
    uint64_t before = 0;
    uint64_t erased = 0;
    struct dbk_keys *keys = vault->keys;
    *forgotten_out = false;
    if (keys != NULL)
        dbk_keys_erased_counts(keys, &before, &erased);
    if (erased == 0)
        return DBK_OK;
    int rc = dbk_store_find_id(vault->store, id, &position, err);
    if (rc < 0 || position == 0)
        return rc;
    rc = dbk_cursor_open(vault->store,
                         &(struct dbk_filter){.position_min = position,
                                              .position_max = position,
                                              .raw = true,
                                              .hidden = true,
                                              .removed = true},
                         &cursor, err);
    if (rc == DBK_OK)
        rc = dbk_cursor_next(cursor, &event, err);
    if (rc == 1)
        *forgotten_out = lost_key(vault, &event);
    dbk_cursor_free(cursor);
    return rc < 0 ? rc : DBK_OK;
}

/* ---- Sealing ---- */

static int add_tag(const struct dbk_uuid *key, struct dbk_new_event *event, struct dbk_arena *arena,
                   struct dbk_error *err)
{
    char *tag = dbk_arena_alloc(arena, DBK_KEY_TAG_SIZE + 1);
    struct dbk_slice *tags = dbk_arena_alloc(arena, (event->tag_count + 1) * sizeof(*tags));
    if (tag == NULL || tags == NULL)
        return out_of_memory(err);
    dbk_key_tag(key, tag);
    for (size_t i = 0; i < event->tag_count; i++)
        tags[i] = event->tags[i];
    tags[event->tag_count++] = dbk_slice(tag, DBK_KEY_TAG_SIZE);
    event->tags = tags;
    return DBK_OK;
}

/* {"$forgotten":"<key id>"} */
static bool read_forgotten(struct dbk_slice value, struct dbk_uuid *key_out)
{
    static const char begin[] = "{\"$forgotten\":\"";
    const size_t size = sizeof(begin) - 1;
    return value.size == size + 2 * (size_t)DBK_UUID_SIZE + 2 &&
           memcmp(value.data, begin, size) == 0 &&
           memcmp(value.data + value.size - 2, "\"}", 2) == 0 &&
           dbk_key_id_parse(dbk_slice(value.data + size, value.size - size - 2), key_out);
}

/* An event being sealed. */
struct sealing {
    struct dbk_vault *vault;
    struct dbk_cut cut;
    struct dbk_key key;   /* of the subject */
    const bool *carried;  /* of each field: it was forgotten in another book; NULL: none was */
    size_t carried_count; /* of the fields */
    struct dbk_arena *arena;
};

/* Marks the fields that were forgotten elsewhere; the event has the tag of each such key. */
static int find_carried(struct sealing *sealing, struct dbk_new_event *event, struct dbk_error *err)
{
    const struct dbk_cut *cut = &sealing->cut;
    struct dbk_uuid last = {0};
    struct dbk_uuid key;
    bool *carried = dbk_arena_alloc_zero(sealing->arena, cut->count + 1, sizeof(*carried));
    if (carried == NULL)
        return out_of_memory(err);
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < cut->count; i++) {
        carried[i] = read_forgotten(cut->fields[i].value, &key);
        if (!carried[i])
            continue;
        if (sealing->carried_count++ == 0 || !dbk_uuid_equal(&key, &last))
            rc = add_tag(&key, event, sealing->arena, err);
        last = key;
    }
    sealing->carried = carried;
    return rc;
}

static void seal_field(const struct sealing *sealing, size_t index, struct dbk_seal_place *place,
                       struct dbk_buf *value, struct dbk_buf *section)
{
    const struct dbk_field *field = &sealing->cut.fields[index];
    struct dbk_sealed_field sealed = {
        .path = field->path, .kind = DBK_SEALED_CIPHERTEXT, .key_id = sealing->key.id};
    uint8_t digest[DBK_SHA256_SIZE];
    if (sealing->carried != NULL && sealing->carried[index]) {
        dbk_sha256_of(field->value, digest);
        sealed.kind = DBK_SEALED_DIGEST;
        sealed.value = dbk_slice(digest, sizeof(digest));
        dbk_ignore(read_forgotten(field->value, &sealed.key_id));
    } else {
        place->path = field->path;
        dbk_buf_reset(value);
        dbk_seal(&sealing->key, place, field->value, value);
        if (value->rc < 0)
            section->rc = value->rc;
        sealed.value = dbk_buf_slice(value);
    }
    dbk_sealed_append(section, &sealed);
}

static int seal_fields(const struct sealing *sealing, struct dbk_new_event *event,
                       struct dbk_error *err)
{
    struct dbk_buf value;
    struct dbk_buf section;
    struct dbk_seal_place place = {.book_id = *dbk_store_book_id(sealing->vault->store),
                                   .event_id = event->id,
                                   .stream = event->stream};
    dbk_buf_init(&value, SEALED_SIZE_MAX);
    dbk_buf_init(&section, SEALED_SIZE_MAX);
    dbk_sealed_begin(&section, (uint16_t)sealing->cut.count);
    for (size_t i = 0; i < sealing->cut.count; i++)
        seal_field(sealing, i, &place, &value, &section);
    struct dbk_slice sealed = {0};
    if (section.rc == DBK_OK)
        sealed = dbk_arena_copy(sealing->arena, dbk_buf_slice(&section));
    dbk_buf_release(&value);
    dbk_buf_release(&section);
    if (sealed.data == NULL)
        return out_of_memory(err);
    event->sealed = sealed;
    return DBK_OK;
}

static int take_key(struct sealing *sealing, struct dbk_slice subject, struct dbk_new_event *event,
                    struct dbk_error *err)
{
    struct dbk_keys *keys = NULL;
    int rc = dbk_vault_keys(sealing->vault, true, &keys, err);
    if (rc == DBK_OK)
        rc = dbk_keys_make(keys, subject, &sealing->key, err);
    return rc < 0 ? rc : add_tag(&sealing->key.id, event, sealing->arena, err);
}

static int seal_under(struct sealing *sealing, struct dbk_slice subject, bool carried,
                      struct dbk_new_event *event, struct dbk_error *err)
{
    int rc = carried ? find_carried(sealing, event, err) : DBK_OK;
    /* Of whom nothing but what was forgotten is left needs no key. */
    if (rc == DBK_OK &&
        (sealing->carried_count == 0 || sealing->carried_count < sealing->cut.count))
        rc = take_key(sealing, subject, event, err);
    if (rc == DBK_OK && sealing->cut.count > 0)
        rc = seal_fields(sealing, event, err);
    dbk_key_wipe(&sealing->key);
    return rc;
}

int dbk_vault_seal(struct dbk_vault *vault, const struct dbk_schema *schema,
                   const struct dbk_json_node *nodes, bool carried, size_t index,
                   struct dbk_new_event *event, struct dbk_arena *arena, struct dbk_error *err)
{
    struct dbk_slice subject = {0};
    struct sealing sealing = {.vault = vault, .arena = arena};
    struct dbk_error failure = {0};
    size_t count = 0;
    if (dbk_schema_subject(schema) == NULL)
        return DBK_OK;
    int rc = subject_of(schema, nodes, index, &subject, err);
    if (rc < 0)
        return rc;
    if (event->stream.size > DBK_STREAM_SIZE_MAX)
        return DBK_OK; /* the store refuses it by name */
    const struct dbk_schema_path *paths = dbk_schema_personal(schema, &count);
    rc = dbk_fields_cut(nodes, paths, count, arena, &sealing.cut, &failure);
    if (rc < 0)
        return dbk_error_set(err, rc, "event %zu: %s", index, failure.message);
    if (sealing.cut.count > 0)
        event->data = sealing.cut.data;
    if (dbk_uuid_is_none(&event->id))
        rc = make_id(vault, &event->id, err);
    else
        rc = is_forgotten(vault, &event->id, &event->same_by_id, err);
    return rc < 0 || event->same_by_id ? rc : seal_under(&sealing, subject, carried, event, err);
}

int dbk_vault_sync(struct dbk_vault *vault, struct dbk_error *err)
{
    struct dbk_keys *keys = vault->keys;
    return keys == NULL ? DBK_OK : dbk_keys_sync(keys, err);
}
