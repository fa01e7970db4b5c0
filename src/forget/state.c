/* SPDX-License-Identifier: Apache-2.0 */
#include "forget/state.h"

#include <stdio.h>

static const struct dbk_slice stream = {.data = DBK_SUBJECTS_STREAM,
                                        .size = sizeof(DBK_SUBJECTS_STREAM) - 1};

void dbk_subject_hex(const struct dbk_uuid *key, char hex_out[33])
{
    for (size_t i = 0; i < DBK_UUID_SIZE; i++)
        (void)snprintf(hex_out + 2 * i, 3, "%02x", key->bytes[i]);
}

void dbk_subject_tag(const struct dbk_uuid *key, char tag_out[DBK_SUBJECT_TAG_SIZE + 1])
{
    static const char prefix[] = "$subject:";
    memcpy(tag_out, prefix, sizeof(prefix) - 1);
    dbk_subject_hex(key, tag_out + sizeof(prefix) - 1);
}

/* Key ids are random: their first bytes are as good as a hash. */
static size_t place_of(const struct dbk_forget *forget, const struct dbk_uuid *key)
{
    uint64_t hash = 0;
    memcpy(&hash, key->bytes, sizeof(hash));
    return (size_t)hash & (forget->place_count - 1);
}

static struct dbk_subject *find(struct dbk_forget *forget, const struct dbk_uuid *key)
{
    if (forget->place_count == 0)
        return NULL;
    for (size_t at = place_of(forget, key); forget->places[at] != 0;
         at = (at + 1) & (forget->place_count - 1)) {
        struct dbk_subject *subject = &forget->subjects[forget->places[at] - 1];
        if (dbk_uuid_equal(&subject->key, key))
            return subject;
    }
    return NULL;
}

/* The newest of a key is the one that is found. */
static void enter(struct dbk_forget *forget, size_t index)
{
    const struct dbk_uuid *key = &forget->subjects[index].key;
    size_t at = place_of(forget, key);
    while (forget->places[at] != 0 &&
           !dbk_uuid_equal(&forget->subjects[forget->places[at] - 1].key, key))
        at = (at + 1) & (forget->place_count - 1);
    forget->places[at] = (uint32_t)index + 1;
}

static void enter_all(struct dbk_forget *forget)
{
    memset(forget->places, 0, forget->place_count * sizeof(*forget->places));
    for (size_t i = 0; i < forget->count; i++)
        enter(forget, i);
}

/* What nothing is left to do of is not kept. */
static void drop_done(struct dbk_forget *forget)
{
    size_t kept = 0;
    for (size_t i = 0; i < forget->count; i++) {
        const struct dbk_subject *subject = &forget->subjects[i];
        bool has_ciphertext =
            subject->mode == DBK_FORGET_ERASE && subject->forgotten > forget->removed;
        if (subject->erased == 0 || has_ciphertext)
            forget->subjects[kept++] = *subject;
    }
    forget->count = kept;
    if (forget->place_count > 0)
        enter_all(forget);
}

/* Room for twice as many, or for those that are left. */
static int make_room(struct dbk_forget *forget, struct dbk_error *err)
{
    drop_done(forget);
    if (forget->count < forget->capacity / 2)
        return DBK_OK;
    size_t capacity = forget->capacity == 0 ? 64 : forget->capacity * 2;
    struct dbk_subject *subjects =
        dbk_realloc(forget->subjects, capacity * sizeof(*forget->subjects));
    if (subjects != NULL)
        forget->subjects = subjects;
    uint32_t *places = dbk_realloc(forget->places, 2 * capacity * sizeof(*forget->places));
    if (places != NULL)
        forget->places = places;
    if (subjects == NULL || places == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory reading %s", DBK_SUBJECTS_STREAM);
    forget->capacity = capacity;
    forget->place_count = 2 * capacity;
    enter_all(forget);
    return DBK_OK;
}

static int add(struct dbk_forget *forget, const struct dbk_subject *subject, struct dbk_error *err)
{
    int rc = forget->count == forget->capacity ? make_room(forget, err) : DBK_OK;
    if (rc < 0)
        return rc;
    forget->subjects[forget->count] = *subject;
    enter(forget, forget->count++);
    return DBK_OK;
}

static struct dbk_slice text_of(const struct dbk_json_node *root, const char *name)
{
    const struct dbk_json_node *node = dbk_json_member(root, name);
    return node == NULL || node->kind != DBK_JSON_STRING ? (struct dbk_slice){0} : node->text;
}

static int take(struct dbk_forget *forget, const struct dbk_event *event,
                const struct dbk_json_node *root, struct dbk_error *err)
{
    struct dbk_uuid key = {0};
    if (dbk_slice_equal_text(event->type, "EpochRotated")) {
        forget->rotated = event->position;
        return DBK_OK;
    }
    if (dbk_slice_equal_text(event->type, "CiphertextRemoved")) {
        const struct dbk_json_node *position = dbk_json_member(root, "position");
        if (position != NULL && position->kind == DBK_JSON_INTEGER && position->integer > 0)
            forget->removed = (uint64_t)position->integer;
        return DBK_OK;
    }
    if (!dbk_key_id_parse(text_of(root, "key"), &key))
        return DBK_OK;
    struct dbk_subject *subject = find(forget, &key);
    bool tombstone =
        dbk_slice_equal_text(text_of(root, "mode"), dbk_forget_mode_text(DBK_FORGET_TOMBSTONE));
    if (dbk_slice_equal_text(event->type, "SubjectForgotten")) {
        struct dbk_subject one = {.key = key,
                                  .mode = tombstone ? DBK_FORGET_TOMBSTONE : DBK_FORGET_ERASE,
                                  .forgotten = event->position};
        /* One that had been left out is erased. */
        if (subject == NULL)
            return add(forget, &one, err);
        subject->erased = UINT64_MAX;
        return add(forget, &one, err);
    }
    if (subject != NULL && dbk_slice_equal_text(event->type, "SubjectPurged"))
        subject->purged = event->position;
    if (subject != NULL && dbk_slice_equal_text(event->type, "SubjectErased"))
        subject->erased = event->position;
    return DBK_OK;
}

int dbk_forget_follow(struct dbk_forget *forget, struct dbk_error *err)
{
    struct dbk_cursor *cursor = NULL;
    struct dbk_event event;
    struct dbk_json *json = dbk_json_create(DBK_FORGET_TEXT_MAX);
    int rc = json == NULL
                 ? dbk_error_set(err, DBK_ENOMEM, "out of memory reading %s", DBK_SUBJECTS_STREAM)
                 : dbk_cursor_open(forget->options.store,
                                   &(struct dbk_filter){.stream = stream,
                                                        .position_min = forget->position + 1,
                                                        .hidden = true,
                                                        .raw = true},
                                   &cursor, err);
    while (rc == DBK_OK && (rc = dbk_cursor_next(cursor, &event, err)) == 1) {
        const struct dbk_json_node *root = NULL;
        rc = dbk_json_parse(json, event.data, &root, NULL) == DBK_OK
                 ? take(forget, &event, root, err)
                 : DBK_OK;
        forget->position = event.position;
    }
    dbk_cursor_free(cursor);
    dbk_json_free(json);
    drop_done(forget);
    return rc;
}

int dbk_subject_append(struct dbk_forget *forget, const struct dbk_subject_event *events,
                       size_t count, struct dbk_append_result *result_out, struct dbk_error *err)
{
    struct dbk_new_event *made = dbk_alloc_zero(count, sizeof(*made));
    struct dbk_slice *tags = dbk_alloc_zero(count, sizeof(*tags));
    char(*texts)[DBK_SUBJECT_TAG_SIZE + 1] = dbk_alloc_zero(count, sizeof(*texts));
    int rc = made == NULL || tags == NULL || texts == NULL
                 ? dbk_error_set(err, DBK_ENOMEM, "out of memory telling of subjects")
                 : DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < count; i++) {
        made[i] = (struct dbk_new_event){.stream = stream,
                                         .type = dbk_slice_of(events[i].type),
                                         .data = events[i].data,
                                         .occurred_us = DBK_TIME_NONE,
                                         .flags = DBK_RECORD_JSON};
        if (events[i].key == NULL)
            continue;
        dbk_subject_tag(events[i].key, texts[i]);
        tags[i] = dbk_slice(texts[i], DBK_SUBJECT_TAG_SIZE);
        made[i].tags = &tags[i];
        made[i].tag_count = 1;
    }
    if (rc == DBK_OK)
        rc = dbk_store_append(
            forget->options.store,
            &(struct dbk_batch){.events = made, .count = count, .flags = DBK_APPEND_OWN},
            result_out, err);
    dbk_free(made);
    dbk_free(tags);
    dbk_free(texts);
    return rc;
}
