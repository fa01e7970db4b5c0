/* SPDX-License-Identifier: Apache-2.0 */
#include "migrate/relate.h"

#include "migrate/map.h"

int dbk_migrate_version_at(struct dbk_store *store, struct dbk_slice stream, uint64_t position,
                           uint64_t *version_out, struct dbk_error *err)
{
    struct dbk_cursor *cursor = NULL;
    struct dbk_event event;
    *version_out = 0;
    if (position == 0)
        return DBK_OK;
    int rc = dbk_cursor_open(store,
                             &(struct dbk_filter){.stream = stream,
                                                  .position_max = position,
                                                  .raw = true,
                                                  .hidden = true,
                                                  .removed = true,
                                                  .backwards = true},
                             &cursor, err);
    if (rc == DBK_OK)
        rc = dbk_cursor_next(cursor, &event, err);
    if (rc == 1)
        *version_out = event.version;
    dbk_cursor_free(cursor);
    return rc < 0 ? rc : DBK_OK;
}

struct relating {
    struct dbk_store *target;
    uint64_t new_position;
    uint64_t version;
    uint64_t made;
    struct dbk_relation *relation;
};

/* The event of the new book with an id. 1: it is there, and noted; 0: there is none. */
static int note(struct relating *relating, const struct dbk_uuid *id, uint64_t old_version,
                struct dbk_error *err)
{
    struct dbk_relation *relation = relating->relation;
    struct dbk_cursor *cursor = NULL;
    struct dbk_event event;
    uint64_t position = 0;
    int rc = dbk_store_find_id(relating->target, id, &position, err);
    if (rc < 0 || position == 0 || position > relating->new_position)
        return rc;
    rc = dbk_cursor_open(
        relating->target,
        &(struct dbk_filter){
            .position_min = position, .position_max = position, .raw = true, .removed = true},
        &cursor, err);
    if (rc == DBK_OK)
        rc = dbk_cursor_next(cursor, &event, err);
    if (rc == 1 && relating->made++ == 0) {
        memcpy(relation->name, event.stream.data, event.stream.size);
        relation->name_size = event.stream.size;
        relation->kind = DBK_RELATION_ONE;
    } else if (rc == 1 &&
               !dbk_slice_equal(event.stream, dbk_slice(relation->name, relation->name_size))) {
        relation->kind = DBK_RELATION_SPLIT;
    }
    if (rc == 1)
        relation->below += old_version < relating->version;
    dbk_cursor_free(cursor);
    return rc;
}

/* All that an event became. */
static int note_all(struct relating *relating, const struct dbk_event *event, struct dbk_error *err)
{
    int rc = 1;
    for (size_t ordinal = 0; rc == 1; ordinal++) {
        struct dbk_uuid id = dbk_migrate_made_id(&event->id, ordinal);
        rc = note(relating, &id, event->version, err);
    }
    return rc;
}

int dbk_migrate_relate(struct dbk_store *source, uint64_t position, struct dbk_store *target,
                       uint64_t new_position, struct dbk_slice stream, uint64_t version,
                       struct dbk_relation *relation_out, struct dbk_error *err)
{
    struct dbk_cursor *cursor = NULL;
    struct dbk_event event;
    struct relating relating = {.target = target,
                                .new_position = new_position,
                                .version = version,
                                .relation = relation_out};
    *relation_out = (struct dbk_relation){.kind = DBK_RELATION_NONE};
    int rc = dbk_cursor_open(
        source,
        &(struct dbk_filter){
            .stream = stream, .position_max = position, .raw = true, .removed = true},
        &cursor, err);
    while (rc == DBK_OK && (rc = dbk_cursor_next(cursor, &event, err)) == 1) {
        relation_out->old_version = event.version;
        rc = (event.flags & DBK_RECORD_REMOVED) != 0 ? DBK_OK : note_all(&relating, &event, err);
    }
    dbk_cursor_free(cursor);
    if (rc < 0 || relation_out->kind != DBK_RELATION_ONE)
        return rc;
    rc = dbk_migrate_version_at(target, dbk_slice(relation_out->name, relation_out->name_size),
                                new_position, &relation_out->new_version, err);
    if (relation_out->new_version != relating.made)
        relation_out->kind = DBK_RELATION_MERGED;
    return rc;
}
