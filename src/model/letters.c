/* SPDX-License-Identifier: Apache-2.0 */
/* The history of a model's letters: what is written of them in the book, and read again. */
#include "model/letters.h"

#include <stdio.h>

#include "base/assert.h"
#include "model/aside.h"
#include "model/state.h"

#define TEXT_SIZE_MAX ((size_t)1 << 20)
/* Events of one append, and positions that one event is about. */
#define EVENTS_MAX 100
#define POSITIONS_MAX 500
#define NAME_SIZE (DBK_STREAM_SIZE_MAX + 1)

static struct dbk_slice stream_of(const char *model, char text[NAME_SIZE])
{
    int size = snprintf(text, NAME_SIZE, DBK_LETTERS_STREAM "%s", model);
    dbk_assert(size > 0 && size < NAME_SIZE);
    return dbk_slice(text, (size_t)size);
}

/* ---- Reading ---- */

static bool read_u64(const struct dbk_json_node *root, const char *key, uint64_t *number_out)
{
    const struct dbk_json_node *node = dbk_json_member(root, key);
    if (node == NULL || node->kind != DBK_JSON_INTEGER || node->integer < 0)
        return false;
    *number_out = (uint64_t)node->integer;
    return true;
}

static int take_done(struct dbk_letters *letters, const struct dbk_json_node *root, bool dropped,
                     struct dbk_error *err)
{
    const struct dbk_json_node *list = dbk_json_member(root, "positions");
    const struct dbk_json_node *node = dbk_json_first(list);
    int rc = DBK_OK;
    for (uint32_t i = 0; rc == DBK_OK && list != NULL && i < list->count;
         i++, node = dbk_json_sibling(node)) {
        uint64_t position = node->kind == DBK_JSON_INTEGER ? (uint64_t)node->integer : 0;
        dbk_letters_take(letters, position);
        if (dropped)
            rc = dbk_letters_put(
                letters,
                &(struct dbk_letter_place){.position = position, .state = DBK_LETTER_DROPPED}, err);
    }
    return rc;
}

/* What one event of the history does to the places. */
static int take(struct dbk_letters *letters, const struct dbk_event *event,
                const struct dbk_json_node *root, struct dbk_error *err)
{
    uint64_t position = 0;
    uint64_t tries = 0;
    if (dbk_slice_equal_text(event->type, "LettersBegun")) {
        while (letters->count > 0)
            dbk_letters_take(letters, letters->places[letters->count - 1].position);
        return DBK_OK;
    }
    if (!dbk_slice_equal_text(event->type, "LetterKept"))
        return take_done(letters, root, dbk_slice_equal_text(event->type, "LetterDropped"), err);
    if (!read_u64(root, "position", &position) || !read_u64(root, "tries", &tries))
        return dbk_error_set(err, DBK_ECORRUPT,
                             "model %s: what position %ju says of a letter makes no sense",
                             letters->model, (uintmax_t)event->position);
    dbk_letters_take(letters, position);
    return dbk_letters_put(letters,
                           &(struct dbk_letter_place){.position = position,
                                                      .version = event->version,
                                                      .tries = (uint32_t)tries,
                                                      .state = DBK_LETTER_KEPT},
                           err);
}

static int walk(struct dbk_letters *letters, uint64_t generation, struct dbk_json *json,
                struct dbk_cursor *cursor, struct dbk_error *err)
{
    struct dbk_event event;
    int rc = DBK_OK;
    while (rc == DBK_OK && (rc = dbk_cursor_next(cursor, &event, err)) == 1) {
        const struct dbk_json_node *root = NULL;
        uint64_t of = 0;
        rc = dbk_json_parse(json, event.data, &root, NULL);
        if (rc < 0 || !read_u64(root, "generation", &of))
            return dbk_error_set(err, DBK_ECORRUPT,
                                 "model %s: position %ju of its letters makes no sense",
                                 letters->model, (uintmax_t)event.position);
        rc = of == generation ? take(letters, &event, root, err) : DBK_OK;
    }
    return rc;
}

static int open_history(struct dbk_letters *letters, uint64_t version, struct dbk_cursor **cursor,
                        struct dbk_error *err)
{
    char name[NAME_SIZE];
    return dbk_cursor_open(letters->store,
                           &(struct dbk_filter){.stream = stream_of(letters->model, name),
                                                .version_min = version,
                                                .version_max = version,
                                                .hidden = true},
                           cursor, err);
}

static int read_history(struct dbk_letters *letters, uint64_t generation, struct dbk_error *err)
{
    struct dbk_cursor *cursor = NULL;
    struct dbk_json *json = dbk_json_create(TEXT_SIZE_MAX);
    int rc = json == NULL ? dbk_error_set(err, DBK_ENOMEM, "out of memory reading letters")
                          : open_history(letters, 0, &cursor, err);
    while (letters->count > 0)
        dbk_letters_take(letters, letters->places[letters->count - 1].position);
    if (rc == DBK_OK)
        rc = walk(letters, generation, json, cursor, err);
    dbk_cursor_free(cursor);
    dbk_json_free(json);
    return rc;
}

int dbk_letters_load(struct dbk_letters *letters, uint64_t generation, uint64_t position,
                     struct dbk_error *err)
{
    (void)pthread_mutex_lock(&letters->lock);
    int rc = letters->in_target && letters->append == NULL
                 ? DBK_OK /* they are in the target alone */
                 : read_history(letters, generation, err);
    for (size_t i = letters->count; rc == DBK_OK && i-- > 0;) {
        if (letters->places[i].state == DBK_LETTER_DROPPED &&
            letters->places[i].position <= position)
            dbk_letters_take(letters, letters->places[i].position);
    }
    letters->generation = generation;
    letters->region = 0;
    letters->stop = 0;
    (void)pthread_mutex_unlock(&letters->lock);
    return rc;
}

/* ---- Writing ---- */

int dbk_letters_event(struct dbk_store *store, uint64_t position, struct dbk_cursor **cursor_out,
                      struct dbk_event *event_out, struct dbk_error *err)
{
    int rc = dbk_cursor_open(
        store,
        &(struct dbk_filter){
            .position_min = position, .position_max = position, .as_written = true, .hidden = true},
        cursor_out, err);
    return rc < 0 ? rc : dbk_cursor_next(*cursor_out, event_out, err);
}

struct writing {
    struct dbk_letters *letters;
    struct dbk_arena arena;
    struct dbk_new_event *events; /* EVENTS_MAX */
    size_t count;
    struct dbk_slice stream;
};

static int add_event(struct writing *writing, const char *type, const struct dbk_buf *data,
                     struct dbk_error *err)
{
    struct dbk_slice text = dbk_arena_copy(&writing->arena, dbk_buf_slice(data));
    if (data->rc < 0 || text.data == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory writing letters");
    writing->events[writing->count++] = (struct dbk_new_event){.stream = writing->stream,
                                                               .type = dbk_slice_of(type),
                                                               .data = text,
                                                               .occurred_us = DBK_TIME_NONE,
                                                               .flags = DBK_RECORD_JSON};
    return DBK_OK;
}

static int add_kept(struct writing *writing, const struct dbk_letter_note *note,
                    struct dbk_error *err)
{
    struct dbk_cursor *cursor = NULL;
    struct dbk_event event = {0};
    struct dbk_buf text;
    int rc = dbk_letters_event(writing->letters->store, note->position, &cursor, &event, err);
    if (rc >= 0) {
        dbk_buf_init(&text, TEXT_SIZE_MAX);
        dbk_buf_append_format(&text, "{\"generation\":%ju,\"position\":%ju,\"stream\":",
                              (uintmax_t)writing->letters->generation, (uintmax_t)note->position);
        dbk_json_write_string(&text, event.stream);
        dbk_buf_append_format(&text, ",\"version\":%ju,\"type\":", (uintmax_t)event.version);
        dbk_json_write_string(&text, event.type);
        dbk_buf_append_format(&text, ",\"tries\":%u,\"reason\":", (unsigned)note->tries);
        dbk_json_write_string(&text, dbk_slice_of(note->reason));
        dbk_buf_append_char(&text, '}');
        rc = add_event(writing, "LetterKept", &text, err);
        dbk_buf_release(&text);
    }
    dbk_cursor_free(cursor);
    return rc;
}

static int add_done(struct writing *writing, enum dbk_letter_word word, const uint64_t *positions,
                    size_t count, struct dbk_error *err)
{
    struct dbk_buf text;
    dbk_buf_init(&text, TEXT_SIZE_MAX);
    dbk_buf_append_format(&text, "{\"generation\":%ju,\"positions\":[",
                          (uintmax_t)writing->letters->generation);
    for (size_t i = 0; i < count; i++)
        dbk_buf_append_format(&text, "%s%ju", i == 0 ? "" : ",", (uintmax_t)positions[i]);
    dbk_buf_append_text(&text, "]}");
    int rc = add_event(writing, word == DBK_LETTER_WORD_RETRIED ? "LetterRetried" : "LetterDropped",
                       &text, err);
    dbk_buf_release(&text);
    return rc;
}

static int store_events(const struct dbk_letters *letters, const struct dbk_new_event *events,
                        size_t count, struct dbk_error *err)
{
    struct dbk_append_result result;
    return letters->append(
        letters->context,
        &(struct dbk_batch){.events = events, .count = count, .flags = DBK_APPEND_OWN}, &result,
        err);
}

/* A book may take fewer events at once; each of these stands for itself. */
static int flush(struct writing *writing, struct dbk_error *err)
{
    struct dbk_error failure = {0};
    size_t left = writing->count;
    int rc = left == 0 ? DBK_OK : store_events(writing->letters, writing->events, left, &failure);
    bool singly = rc == DBK_ELIMIT && left > 1;
    if (singly)
        rc = DBK_OK;
    for (size_t i = 0; singly && rc == DBK_OK && i < left; i++)
        rc = store_events(writing->letters, &writing->events[i], 1, &failure);
    if (rc < 0 && err != NULL)
        *err = failure;
    writing->count = 0;
    dbk_arena_reset(&writing->arena);
    return rc;
}

static int write_all(struct writing *writing, const struct dbk_letter_note *kept, size_t kept_count,
                     enum dbk_letter_word word, const uint64_t *done, size_t done_count,
                     struct dbk_error *err)
{
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < kept_count; i++) {
        rc = add_kept(writing, &kept[i], err);
        if (rc == DBK_OK && writing->count == EVENTS_MAX)
            rc = flush(writing, err);
    }
    for (size_t i = 0; rc == DBK_OK && i < done_count; i += POSITIONS_MAX) {
        size_t left = done_count - i;
        rc = add_done(writing, word, done + i, left < POSITIONS_MAX ? left : POSITIONS_MAX, err);
        if (rc == DBK_OK && writing->count == EVENTS_MAX)
            rc = flush(writing, err);
    }
    return rc < 0 ? rc : flush(writing, err);
}

int dbk_letters_store(struct dbk_letters *letters, const struct dbk_letter_note *kept,
                      size_t kept_count, enum dbk_letter_word word, const uint64_t *done,
                      size_t done_count, struct dbk_error *err)
{
    char name[NAME_SIZE];
    struct writing writing = {.letters = letters, .stream = stream_of(letters->model, name)};
    writing.events = dbk_alloc_zero(EVENTS_MAX, sizeof(*writing.events));
    if (writing.events == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory writing letters");
    dbk_arena_init(&writing.arena, TEXT_SIZE_MAX * EVENTS_MAX);
    int rc = write_all(&writing, kept, kept_count, word, done, done_count, err);
    dbk_arena_release(&writing.arena);
    dbk_free(writing.events);
    (void)pthread_mutex_lock(&letters->lock);
    for (size_t i = 0; rc == DBK_OK && i < kept_count; i++) {
        struct dbk_letter_place place = {
            .position = kept[i].position, .tries = kept[i].tries, .state = DBK_LETTER_KEPT};
        dbk_letters_take(letters, place.position);
        rc = dbk_letters_put(letters, &place, err);
    }
    for (size_t i = 0; rc == DBK_OK && i < done_count; i++)
        dbk_letters_take(letters, done[i]);
    (void)pthread_mutex_unlock(&letters->lock);
    return rc;
}

int dbk_letters_begin(struct dbk_letters *letters, uint64_t generation, struct dbk_error *err)
{
    struct dbk_append_result result;
    char name[NAME_SIZE];
    char text[64];
    int rc = letters->append == NULL ? DBK_OK : dbk_letters_load(letters, generation, 0, err);
    if (rc < 0 || letters->count == 0)
        return rc;
    int size = snprintf(text, sizeof(text), "{\"generation\":%ju}", (uintmax_t)generation);
    struct dbk_new_event event = {.stream = stream_of(letters->model, name),
                                  .type = DBK_SLICE_LITERAL("LettersBegun"),
                                  .data = dbk_slice(text, (size_t)size),
                                  .occurred_us = DBK_TIME_NONE,
                                  .flags = DBK_RECORD_JSON};
    return letters->append(
        letters->context,
        &(struct dbk_batch){.events = &event, .count = 1, .flags = DBK_APPEND_OWN}, &result, err);
}

/* ---- Listing ---- */

static struct dbk_slice text_of(const struct dbk_json_node *root, const char *key)
{
    const struct dbk_json_node *node = dbk_json_member(root, key);
    return node == NULL || node->kind != DBK_JSON_STRING ? (struct dbk_slice){0} : node->text;
}

static int show(struct dbk_letters *letters, const struct dbk_letter_place *place,
                struct dbk_json *json, dbk_letter_fn each, void *context, struct dbk_error *err)
{
    struct dbk_cursor *cursor = NULL;
    const struct dbk_json_node *root = NULL;
    struct dbk_event event;
    struct dbk_letter letter = {
        .position = place->position, .generation = letters->generation, .tries = place->tries};
    int rc = open_history(letters, place->version, &cursor, err);
    if (rc == DBK_OK)
        rc = dbk_cursor_next(cursor, &event, err);
    if (rc == 1)
        rc = dbk_json_parse(json, event.data, &root, err);
    if (rc == DBK_OK && root != NULL) {
        letter.time_us = event.time_us;
        letter.stream = text_of(root, "stream");
        letter.type = text_of(root, "type");
        letter.reason = text_of(root, "reason");
        (void)read_u64(root, "version", &letter.version);
        rc = each(&letter, context);
    }
    dbk_cursor_free(cursor);
    return rc;
}

static int show_all(struct dbk_letters *letters, uint64_t position, dbk_letter_fn each,
                    void *context, struct dbk_error *err)
{
    struct dbk_json *json = dbk_json_create(TEXT_SIZE_MAX);
    int rc =
        json == NULL ? dbk_error_set(err, DBK_ENOMEM, "out of memory listing letters") : DBK_OK;
    bool found = position == 0;
    for (size_t i = 0; rc >= 0 && i < letters->count; i++) {
        const struct dbk_letter_place *place = &letters->places[i];
        if (place->state != DBK_LETTER_KEPT || (position != 0 && place->position != position))
            continue;
        found = true;
        rc = show(letters, place, json, each, context, err);
    }
    dbk_json_free(json);
    if (rc >= 0 && !found)
        return dbk_error_set(err, DBK_ENOTFOUND, "position %ju is no letter of model %s",
                             (uintmax_t)position, letters->model);
    return rc < 0 ? rc : DBK_OK;
}

int dbk_letters_list(struct dbk_models *models, size_t index, uint64_t position, dbk_letter_fn each,
                     void *context, struct dbk_error *err)
{
    struct dbk_letters letters;
    struct dbk_model_status status;
    dbk_letters_tell(models);
    int rc = dbk_models_status(models, index, &status, err);
    if (rc < 0)
        return rc;
    dbk_letters_init(&letters, models->store, status.name);
    rc = dbk_letters_load(&letters, status.generation, UINT64_MAX, err);
    if (rc == DBK_OK)
        rc = show_all(&letters, position, each, context, err);
    dbk_letters_release(&letters);
    return rc;
}

int dbk_letters_count(struct dbk_models *models, struct dbk_model_status *status,
                      struct dbk_error *err)
{
    struct dbk_letters letters;
    dbk_letters_init(&letters, models->store, status->name);
    int rc = dbk_letters_load(&letters, status->generation, UINT64_MAX, err);
    status->letters = dbk_letters_waiting(&letters);
    dbk_letters_release(&letters);
    return rc;
}
