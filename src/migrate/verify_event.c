/* SPDX-License-Identifier: Apache-2.0 */
/* Differences in words, and events of both books side by side. */
#include <stdio.h>

#include "migrate/verifying.h"

/* Of a value in a description. */
#define VALUE_SIZE_MAX 400

/* ---- Differences ---- */

/* Begins the description of a difference; false: there are too many already. */
bool dbk_verify_begin(struct dbk_verifying *verifying, const char *what)
{
    struct dbk_buf *out = verifying->differences;
    if (verifying->verified->differences++ >= DBK_MIGRATE_DIFFERENCES_MAX)
        return false;
    if (verifying->verified->differences > 1)
        dbk_buf_append_char(out, ',');
    dbk_buf_append_format(out, "{\"what\":\"%s\"", what);
    return true;
}

void dbk_verify_put_text(struct dbk_buf *out, const char *name, struct dbk_slice text)
{
    bool first = false;
    bool cut = text.size > VALUE_SIZE_MAX;
    while (cut && !dbk_slice_is_utf8(dbk_slice(
                      text.data, text.size < VALUE_SIZE_MAX ? text.size : VALUE_SIZE_MAX)))
        text.size = text.size > VALUE_SIZE_MAX ? VALUE_SIZE_MAX - 1 : text.size - 1;
    dbk_json_write_key(out, &first, name);
    dbk_json_write_string(
        out, cut && text.size > VALUE_SIZE_MAX ? dbk_slice(text.data, VALUE_SIZE_MAX) : text);
}

void dbk_verify_put_number(struct dbk_buf *out, const char *name, uint64_t number)
{
    bool first = false;
    dbk_json_write_key(out, &first, name);
    dbk_json_write_u64(out, number);
}

void dbk_verify_differ_event(struct dbk_verifying *verifying, const char *field, uint64_t old,
                             uint64_t new, struct dbk_slice expected, struct dbk_slice found)
{
    struct dbk_buf *out = verifying->differences;
    if (!dbk_verify_begin(verifying, "event"))
        return;
    dbk_verify_put_text(out, "field", dbk_slice_of(field));
    dbk_verify_put_number(out, "old_position", old);
    dbk_verify_put_number(out, "new_position", new);
    dbk_verify_put_text(out, "expected", expected);
    dbk_verify_put_text(out, "found", found);
    dbk_buf_append_char(out, '}');
}

/* ---- Events ---- */

static bool same_json(struct dbk_verifying *verifying, struct dbk_slice a, struct dbk_slice b)
{
    const struct dbk_json_node *first = NULL;
    const struct dbk_json_node *second = NULL;
    if (dbk_slice_equal(a, b))
        return true;
    return dbk_json_parse(verifying->json, a, &first, NULL) == DBK_OK &&
           dbk_json_parse(verifying->other, b, &second, NULL) == DBK_OK &&
           dbk_json_same(first, second);
}

static bool has_tag(const struct dbk_event *event, struct dbk_slice wanted)
{
    struct dbk_slice tags = event->tags;
    struct dbk_slice tag;
    while (dbk_event_next_tag(&tags, &tag))
        if (dbk_slice_equal(tag, wanted))
            return true;
    return false;
}

/* A schema may derive more tags than the script gives. */
static const struct dbk_slice *missing_tag(const struct dbk_made *made,
                                           const struct dbk_event *event)
{
    for (size_t i = 0; i < made->event.tag_count; i++)
        if (!has_tag(event, made->event.tags[i]))
            return &made->event.tags[i];
    return NULL;
}

static struct dbk_slice time_text(int64_t time_us, char text[DBK_TIME_TEXT_SIZE])
{
    return time_us == DBK_TIME_NONE ? DBK_SLICE_LITERAL("none")
                                    : dbk_slice(text, dbk_time_format(time_us, text));
}

static void compare(struct dbk_verifying *verifying, uint64_t old, const struct dbk_made *made,
                    const struct dbk_event *event)
{
    const struct dbk_new_event *want = &made->event;
    const struct dbk_slice *tag = missing_tag(made, event);
    char first[DBK_TIME_TEXT_SIZE];
    char second[DBK_TIME_TEXT_SIZE];
    bool json = (want->flags & DBK_RECORD_JSON) != 0;
    bool same_data = json == ((event->flags & DBK_RECORD_JSON) != 0) &&
                     (json ? same_json(verifying, want->data, event->data)
                           : dbk_slice_equal(want->data, event->data));
    if (!dbk_slice_equal(want->stream, event->stream))
        dbk_verify_differ_event(verifying, "stream", old, event->position, want->stream,
                                event->stream);
    if (!dbk_slice_equal(want->type, event->type))
        dbk_verify_differ_event(verifying, "type", old, event->position, want->type, event->type);
    if (!same_data)
        dbk_verify_differ_event(verifying, "data", old, event->position, want->data, event->data);
    if (!same_json(verifying, want->meta, event->meta))
        dbk_verify_differ_event(verifying, "meta", old, event->position, want->meta, event->meta);
    if (tag != NULL)
        dbk_verify_differ_event(verifying, "tags", old, event->position, *tag,
                                (struct dbk_slice){0});
    if (want->time_us != event->time_us)
        dbk_verify_differ_event(verifying, "time", old, event->position,
                                time_text(want->time_us, first), time_text(event->time_us, second));
    if (want->occurred_us != event->occurred_us)
        dbk_verify_differ_event(verifying, "occurred", old, event->position,
                                time_text(want->occurred_us, first),
                                time_text(event->occurred_us, second));
}

/* The next event of the new book, which stays the next. 1: it is there; 0: there is none. */
int dbk_verify_look(struct dbk_verifying *verifying, struct dbk_error *err)
{
    if (verifying->has_next)
        return 1;
    int rc = dbk_cursor_next(verifying->new, &verifying->next, err);
    verifying->has_next = rc == 1;
    return rc;
}

/* The next event of the new book, which must be this one. */
static int compare_next(struct dbk_verifying *verifying, uint64_t old, const struct dbk_made *made,
                        struct dbk_error *err)
{
    const struct dbk_event *event = &verifying->next;
    char wanted[DBK_UUID_TEXT_SIZE];
    char found[DBK_UUID_TEXT_SIZE] = "none";
    int rc = dbk_verify_look(verifying, err);
    if (rc < 0)
        return rc;
    if (rc == 1 && dbk_uuid_equal(&event->id, &made->event.id)) {
        compare(verifying, old, made, event);
        return 1;
    }
    dbk_uuid_format(&made->event.id, wanted);
    if (rc == 1)
        dbk_uuid_format(&event->id, found);
    dbk_verify_differ_event(verifying, "id", old, rc == 1 ? event->position : 0,
                            dbk_slice_of(wanted), dbk_slice_of(found));
    verifying->apart = true;
    return 0;
}

/* Counts the next event, which is done. Each new stream is counted at its first: versions without a
   gap add up to the events. */
static int count_next(struct dbk_verifying *verifying, struct dbk_error *err)
{
    const struct dbk_event *event = &verifying->next;
    uint64_t version = 0;
    int rc = dbk_report_count(&verifying->found, event->type, err);
    verifying->verified->new_events++;
    verifying->has_next = false;
    if (rc < 0 || event->version != 1)
        return rc;
    verifying->verified->new_streams++;
    rc = dbk_migrate_version_at(verifying->target, event->stream, verifying->new_position, &version,
                                err);
    verifying->versions += version;
    return rc;
}

int dbk_verify_compare_event(struct dbk_verifying *verifying, const struct dbk_event *event,
                             struct dbk_error *err)
{
    const struct dbk_made *made = NULL;
    size_t count = 0;
    uint64_t first = 0;
    dbk_arena_reset(&verifying->arena);
    int rc = dbk_migrate_map_event(verifying->map, event, &verifying->arena, &made, &count, err);
    for (size_t i = 0; rc == DBK_OK && i < count && !verifying->apart; i++) {
        rc = compare_next(verifying, event->position, &made[i], err);
        if (rc == 1) {
            first = first == 0 ? verifying->next.position : first;
            rc = count_next(verifying, err);
        }
    }
    if (rc == DBK_OK && !verifying->apart)
        rc = dbk_report_add(&verifying->counted, event, made, count, first, err);
    return rc;
}

/* An event that was copied, and has been removed from the old book since: what it became can only
   be told by its ids. */
int dbk_verify_pass_removed(struct dbk_verifying *verifying, const struct dbk_event *event,
                            struct dbk_error *err)
{
    int rc = dbk_verify_look(verifying, err);
    for (size_t ordinal = 0; rc == 1; ordinal++) {
        struct dbk_uuid id = dbk_migrate_made_id(&event->id, ordinal);
        if (!dbk_uuid_equal(&verifying->next.id, &id))
            break;
        verifying->verified->removed_since++;
        rc = count_next(verifying, err);
        if (rc == DBK_OK)
            rc = dbk_verify_look(verifying, err);
    }
    return rc < 0 ? rc : DBK_OK;
}
