/* SPDX-License-Identifier: Apache-2.0 */
#include "migrate/forgotten.h"

#include "json/json.h"
#include "log/sealed.h"
#include "migrate/migrate.h"
#include "vault/vault.h"

#define EVENT_SIZE_MAX ((size_t)1 << 20)

bool dbk_migrate_is_forgetting(const struct dbk_event *event)
{
    return dbk_slice_equal_text(event->stream, DBK_SUBJECTS_STREAM) &&
           dbk_slice_equal_text(event->type, "SubjectForgotten");
}

static int read_event(const struct dbk_event *event, struct dbk_uuid *key_out, bool *tombstone_out,
                      struct dbk_error *err)
{
    const struct dbk_json_node *data = NULL;
    struct dbk_json *json = dbk_json_create(EVENT_SIZE_MAX);
    if (json == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory copying a book");
    int rc = dbk_json_parse(json, event->data, &data, err);
    const struct dbk_json_node *key = rc < 0 ? NULL : dbk_json_member(data, "key");
    const struct dbk_json_node *mode = rc < 0 ? NULL : dbk_json_member(data, "mode");
    if (rc == DBK_OK &&
        (key == NULL || key->kind != DBK_JSON_STRING || !dbk_key_id_parse(key->text, key_out)))
        rc = dbk_error_set(err, DBK_ECORRUPT,
                           "position %ju: a SubjectForgotten that cannot be taken in",
                           (uintmax_t)event->position);
    *tombstone_out = rc == DBK_OK && mode != NULL && mode->kind == DBK_JSON_STRING &&
                     dbk_slice_equal_text(mode->text, "tombstone");
    dbk_json_free(json);
    return rc;
}

/* Whether a section holds anything under the key; *sealed_out: anything that can be opened. */
static int look_into(struct dbk_slice sealed, const struct dbk_uuid *key, bool *under_out,
                     bool *sealed_out, struct dbk_error *err)
{
    struct dbk_sealed_field field;
    struct dbk_slice left;
    uint16_t count = 0;
    *under_out = false;
    *sealed_out = false;
    int rc = dbk_sealed_open(sealed, &count, &left);
    while (rc >= 0 && (rc = dbk_sealed_next(&left, &field)) == 1) {
        *under_out = *under_out || dbk_uuid_equal(&field.key_id, key);
        *sealed_out = *sealed_out || field.kind == DBK_SEALED_CIPHERTEXT;
    }
    return rc < 0 ? dbk_error_set(err, rc, "an event's sealed fields make no sense") : DBK_OK;
}

/* Whether what an old event became is sealed, and not as forgotten. */
static int was_copied(struct dbk_store *target, const struct dbk_uuid *key, uint64_t position,
                      bool tombstone, bool *copied_out, struct dbk_error *err)
{
    struct dbk_migrate_place place;
    struct dbk_cursor *cursor = NULL;
    struct dbk_event event;
    bool under = false;
    bool sealed = false;
    int rc = dbk_migrate_place(target, position, &place, err);
    *copied_out = rc == DBK_OK && tombstone && place.count > 0;
    if (rc < 0 || place.count == 0 || tombstone)
        return rc;
    rc = dbk_cursor_open(target,
                         &(struct dbk_filter){.position_min = place.first,
                                              .position_max = place.first + place.count - 1,
                                              .raw = true,
                                              .removed = true},
                         &cursor, err);
    while (rc == DBK_OK && !*copied_out && (rc = dbk_cursor_next(cursor, &event, err)) == 1) {
        rc = look_into(event.sealed, key, &under, &sealed, err);
        *copied_out = sealed && !under;
    }
    dbk_cursor_free(cursor);
    return rc < 0 ? rc : DBK_OK;
}

/* ---- What was removed ---- */

/* Clocks and batches differ: what was forgotten so shortly before counts as after. */
#define SHORTLY_US (INT64_C(3600) * 1000000)

/* Whether somebody was forgotten when the migration had begun. */
static int is_late(struct dbk_store *target, const struct dbk_event *forgetting, bool *late_out,
                   struct dbk_error *err)
{
    struct dbk_cursor *cursor = NULL;
    struct dbk_event first;
    *late_out = false;
    int rc = dbk_cursor_open(target,
                             &(struct dbk_filter){.stream = DBK_SLICE_LITERAL(DBK_MIGRATION_STREAM),
                                                  .version_max = 1,
                                                  .raw = true,
                                                  .hidden = true},
                             &cursor, err);
    if (rc == DBK_OK)
        rc = dbk_cursor_next(cursor, &first, err);
    if (rc == 1)
        *late_out = forgetting->time_us >= first.occurred_us - SHORTLY_US;
    dbk_cursor_free(cursor);
    return rc < 0 ? rc : DBK_OK;
}

/* Whether something of what an old event became is still some subject's, and can be opened. */
static int is_somebodys(struct dbk_store *target, uint64_t position, bool *somebodys_out,
                        struct dbk_error *err)
{
    static const struct dbk_uuid nobody = {{0}};
    struct dbk_migrate_place place;
    struct dbk_cursor *cursor = NULL;
    struct dbk_event event;
    bool under = false;
    *somebodys_out = false;
    int rc = dbk_migrate_place(target, position, &place, err);
    if (rc < 0 || place.count == 0)
        return rc;
    rc = dbk_cursor_open(target,
                         &(struct dbk_filter){.position_min = place.first,
                                              .position_max = place.first + place.count - 1,
                                              .raw = true,
                                              .removed = true},
                         &cursor, err);
    while (rc == DBK_OK && !*somebodys_out && (rc = dbk_cursor_next(cursor, &event, err)) == 1)
        rc = event.sealed.size == 0 ? DBK_OK
                                    : look_into(event.sealed, &nobody, &under, somebodys_out, err);
    dbk_cursor_free(cursor);
    return rc < 0 ? rc : DBK_OK;
}

/* A removed event does not say any more whose it was, and its copy is known by another key. */
static int check_removed(struct dbk_store *source, struct dbk_store *target, uint64_t position,
                         const struct dbk_event *forgetting, struct dbk_error *err)
{
    struct dbk_cursor *cursor = NULL;
    struct dbk_event old;
    int rc = dbk_cursor_open(
        source, &(struct dbk_filter){.position_max = position, .raw = true, .removed = true},
        &cursor, err);
    while (rc == DBK_OK && (rc = dbk_cursor_next(cursor, &old, err)) == 1) {
        bool somebodys = false;
        rc = DBK_OK;
        if ((old.flags & DBK_RECORD_REMOVED) != 0)
            rc = is_somebodys(target, old.position, &somebodys, err);
        if (somebodys)
            rc = dbk_error_set(err, DBK_EDENIED,
                               "the old book has forgotten somebody at position %ju, and position "
                               "%ju, which was copied before, was removed from it since, so that "
                               "nobody knows whose it was: delete the new book's data, with its "
                               "keys, and begin again",
                               (uintmax_t)forgetting->position, (uintmax_t)old.position);
    }
    dbk_cursor_free(cursor);
    return rc < 0 ? rc : DBK_OK;
}

static int refuse(const struct dbk_event *forgetting, const struct dbk_uuid *key, uint64_t position,
                  struct dbk_error *err)
{
    char tag[DBK_KEY_TAG_SIZE + 1];
    dbk_key_tag(key, tag);
    return dbk_error_set(err, DBK_EDENIED,
                         "the old book has forgotten the key %s at position %ju, and what stands "
                         "under it at position %ju was copied before: delete the new book's data, "
                         "with its keys, and begin again",
                         tag + 5, (uintmax_t)forgetting->position, (uintmax_t)position);
}

int dbk_migrate_check_forgotten(struct dbk_store *source, struct dbk_store *target,
                                const struct dbk_event *event, uint64_t position,
                                struct dbk_error *err)
{
    struct dbk_uuid key;
    struct dbk_cursor *cursor = NULL;
    struct dbk_event old;
    char text[DBK_KEY_TAG_SIZE + 1];
    bool tombstone = false;
    if (position == 0)
        return DBK_OK;
    int rc = read_event(event, &key, &tombstone, err);
    if (rc < 0)
        return rc;
    dbk_key_tag(&key, text);
    const struct dbk_slice tag = dbk_slice(text, DBK_KEY_TAG_SIZE);
    const struct dbk_query_item item = {.tags = &tag, .tag_count = 1};
    rc = dbk_cursor_open(
        source,
        &(struct dbk_filter){
            .query = {&item, 1}, .position_max = position, .raw = true, .removed = true},
        &cursor, err);
    while (rc == DBK_OK && (rc = dbk_cursor_next(cursor, &old, err)) == 1) {
        bool under = false;
        bool sealed = false;
        bool copied = false;
        rc = look_into(old.sealed, &key, &under, &sealed, err);
        if (rc == DBK_OK && (under || tombstone))
            rc = was_copied(target, &key, old.position, tombstone, &copied, err);
        if (copied)
            rc = refuse(event, &key, old.position, err);
    }
    dbk_cursor_free(cursor);
    bool late = false;
    if (rc == DBK_OK)
        rc = is_late(target, event, &late, err);
    return rc == DBK_OK && late ? check_removed(source, target, position, event, err) : rc;
}
