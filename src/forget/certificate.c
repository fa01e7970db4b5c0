/* SPDX-License-Identifier: Apache-2.0 */
/* What is final about a subject, as a signed note: docs/format/subjects.md. */
#include <inttypes.h>

#include "forget/state.h"

#define BATCH 200
#define CERTIFICATE_SIZE_MAX ((size_t)64 << 10)

/* What no program here can reach. */
static const char *const not_covered[] = {
    "exports and files that were made of the book, also models as of a time outside of its folder",
    "tables of read models and views that are no longer in the book",
    "backups of the book's keys from before, until they are destroyed at the horizon",
    "reasons that consumers gave for parked events, in backups of the data from before",
    "copies that other systems, or consumers of events, keep",
    "logs and caches of programs that read the book",
    "what a disk or file system keeps of files that were deleted",
};

struct certifying {
    struct dbk_forget *forget;
    struct dbk_buf checkpoint; /* the newest, a note */
    uint64_t size;             /* of its tree */
    struct dbk_buf groups;     /* JSON: who reads `$subjects`, and how far */
    struct dbk_vault_status vault;
    int64_t now_us;
};

static void put_time(struct dbk_buf *out, int64_t time_us)
{
    char text[DBK_TIME_TEXT_SIZE];
    size_t size = dbk_time_format(time_us, text);
    dbk_json_write_string(out, dbk_slice(text, size));
}

static void put_hash(struct dbk_buf *out, const struct dbk_hash *hash)
{
    dbk_buf_append_char(out, '"');
    for (size_t i = 0; i < sizeof(hash->bytes); i++)
        dbk_buf_append_format(out, "%02x", hash->bytes[i]);
    dbk_buf_append_char(out, '"');
}

static int put_group(struct dbk_slice name, const struct dbk_group_status *status, void *context)
{
    struct dbk_buf *out = context;
    static const char wanted[] = "\"" DBK_SUBJECTS_STREAM "\"";
    if (memmem(status->settings.data, status->settings.size, wanted, sizeof(wanted) - 1) == NULL)
        return DBK_OK;
    dbk_buf_append_text(out, out->size == 0 ? "{\"name\":" : ",{\"name\":");
    dbk_json_write_string(out, name);
    dbk_buf_append_format(out, ",\"position\":%ju}", (uintmax_t)status->position);
    return DBK_OK;
}

/* A subject's own events: when it was forgotten, and what was purged. */
struct story {
    int64_t forgotten_us;
    struct dbk_buf what;
};

static int read_story(struct dbk_forget *forget, const struct dbk_subject *subject,
                      struct story *story, struct dbk_error *err)
{
    struct dbk_cursor *cursor = NULL;
    struct dbk_event event;
    uint64_t positions[] = {subject->forgotten, subject->purged};
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < 2; i++) {
        rc = dbk_cursor_open(forget->options.store,
                             &(struct dbk_filter){.position_min = positions[i],
                                                  .position_max = positions[i],
                                                  .hidden = true,
                                                  .raw = true},
                             &cursor, err);
        if (rc == DBK_OK)
            rc = dbk_cursor_next(cursor, &event, err);
        if (rc == 1 && i == 0)
            story->forgotten_us = event.time_us;
        const char *what =
            rc == 1 && i == 1 ? memmem(event.data.data, event.data.size, "\"what\":", 7) : NULL;
        if (what != NULL)
            dbk_buf_append(
                &story->what,
                dbk_slice(what + 7, (size_t)(event.data.data + event.data.size - 1 - (what + 7))));
        dbk_cursor_free(cursor);
        cursor = NULL;
        rc = rc < 0 ? rc : DBK_OK;
    }
    return rc;
}

static int put_tree(struct certifying *certifying, struct dbk_buf *out, uint64_t position,
                    struct dbk_error *err)
{
    struct dbk_proof_consistency consistency;
    int rc = dbk_proof_consistency(certifying->forget->options.proof, position, certifying->size,
                                   &consistency, err);
    if (rc < 0)
        return rc;
    dbk_buf_append_format(out,
                          ",\"tree\":{\"before\":{\"size\":%ju,\"root\":", (uintmax_t)position);
    put_hash(out, &consistency.from_root);
    dbk_buf_append_format(out, "},\"after\":{\"size\":%ju,\"root\":", (uintmax_t)certifying->size);
    put_hash(out, &consistency.to_root);
    dbk_buf_append_text(out, "},\"checkpoint\":");
    dbk_json_write_string(out, dbk_buf_slice(&certifying->checkpoint));
    dbk_buf_append_char(out, '}');
    return DBK_OK;
}

static void put_epoch(struct certifying *certifying, struct dbk_buf *out)
{
    struct dbk_forget *forget = certifying->forget;
    dbk_buf_append_format(out, ",\"epoch\":{\"begun\":%ju,\"destroyed\":%ju,\"position\":%ju}",
                          (uintmax_t)certifying->vault.epoch,
                          (uintmax_t)certifying->vault.epoch - 1, (uintmax_t)forget->rotated);
    dbk_buf_append_text(out, ",\"backups\":{\"horizon\":");
    put_time(out, certifying->now_us + forget->options.horizon_us);
    dbk_buf_append_char(out, '}');
}

static int put_body(struct certifying *certifying, const struct dbk_subject *subject,
                    struct dbk_buf *out, struct dbk_error *err)
{
    struct dbk_forget *forget = certifying->forget;
    struct story story = {0};
    char book[DBK_UUID_TEXT_SIZE];
    char hex[33];
    dbk_buf_init(&story.what, CERTIFICATE_SIZE_MAX);
    dbk_uuid_format(dbk_store_book_id(forget->options.store), book);
    dbk_subject_hex(&subject->key, hex);
    int rc = read_story(forget, subject, &story, err);
    dbk_buf_append_format(out,
                          "{\"certificate\":\"daybook forgetting 1\",\"book\":\"%s\","
                          "\"key\":\"%s\",\"mode\":\"%s\",\"forgotten\":{\"position\":%ju,"
                          "\"at\":",
                          book, hex, dbk_forget_mode_text(subject->mode),
                          (uintmax_t)subject->forgotten);
    put_time(out, story.forgotten_us);
    dbk_buf_append_format(out,
                          "},\"purged\":{\"position\":%ju,\"what\":", (uintmax_t)subject->purged);
    dbk_buf_append(out, dbk_buf_slice(&story.what));
    dbk_buf_append_char(out, '}');
    if (subject->mode == DBK_FORGET_ERASE) {
        put_epoch(certifying, out);
        dbk_buf_append_format(out, ",\"ciphertext\":\"%s\"",
                              subject->forgotten <= forget->removed
                                  ? "removed"
                                  : "in the log until its next compaction");
    }
    if (rc == DBK_OK)
        rc = put_tree(certifying, out, subject->forgotten, err);
    dbk_buf_append_text(out, ",\"groups\":[");
    dbk_buf_append(out, dbk_buf_slice(&certifying->groups));
    dbk_buf_append_text(out, "],\"not_covered\":[");
    for (size_t i = 0; i < sizeof(not_covered) / sizeof(not_covered[0]); i++) {
        dbk_buf_append_text(out, i == 0 ? "" : ",");
        dbk_json_write_string(out, dbk_slice_of(not_covered[i]));
    }
    dbk_buf_append_text(out, "],\"issued\":");
    put_time(out, certifying->now_us);
    dbk_buf_append_text(out, "}\n");
    dbk_buf_release(&story.what);
    if (rc == DBK_OK && out->rc < 0)
        rc = dbk_error_set(err, out->rc, "a certificate: %s", dbk_code_text(out->rc));
    return rc;
}

/* The event's data: the certificate is a text in it, byte for byte as it was signed. */
static int put_event(struct certifying *certifying, const struct dbk_subject *subject,
                     struct dbk_buf *out, struct dbk_error *err)
{
    struct dbk_buf body;
    struct dbk_buf note;
    char hex[33];
    dbk_buf_init(&body, CERTIFICATE_SIZE_MAX);
    dbk_buf_init(&note, CERTIFICATE_SIZE_MAX);
    int rc = put_body(certifying, subject, &body, err);
    if (rc == DBK_OK)
        rc = dbk_proof_sign_text(certifying->forget->options.proof, dbk_buf_slice(&body), &note,
                                 err);
    dbk_subject_hex(&subject->key, hex);
    dbk_buf_reset(out);
    dbk_buf_append_format(out, "{\"key\":\"%s\",\"certificate\":", hex);
    dbk_json_write_string(out, dbk_buf_slice(&note));
    dbk_buf_append_char(out, '}');
    dbk_buf_release(&body);
    dbk_buf_release(&note);
    if (rc == DBK_OK && out->rc < 0)
        rc = dbk_error_set(err, out->rc, "a certificate: %s", dbk_code_text(out->rc));
    return rc;
}

static int certify_batch(struct certifying *certifying, const struct dbk_subject *keys,
                         size_t count, struct dbk_error *err)
{
    struct dbk_subject_event events[BATCH];
    struct dbk_append_result result;
    struct dbk_arena arena;
    struct dbk_buf text;
    int rc = DBK_OK;
    dbk_arena_init(&arena, CERTIFICATE_SIZE_MAX * BATCH);
    dbk_buf_init(&text, CERTIFICATE_SIZE_MAX);
    for (size_t i = 0; rc == DBK_OK && i < count; i++) {
        rc = put_event(certifying, &keys[i], &text, err);
        events[i] = (struct dbk_subject_event){"SubjectErased", &keys[i].key,
                                               dbk_arena_copy(&arena, dbk_buf_slice(&text))};
        if (rc == DBK_OK && events[i].data.data == NULL)
            rc = dbk_error_set(err, DBK_ENOMEM, "out of memory writing certificates");
    }
    if (rc == DBK_OK)
        rc = dbk_subject_append(certifying->forget, events, count, &result, err);
    dbk_buf_release(&text);
    dbk_arena_release(&arena);
    return rc;
}

int dbk_forget_certify(struct dbk_forget *forget, const struct dbk_subject *keys, size_t count,
                       struct dbk_error *err)
{
    struct certifying certifying = {.forget = forget,
                                    .now_us = forget->options.os->now_us(forget->options.os)};
    dbk_buf_init(&certifying.checkpoint, CERTIFICATE_SIZE_MAX);
    dbk_buf_init(&certifying.groups, CERTIFICATE_SIZE_MAX / 2);
    dbk_vault_status(forget->options.vault, &certifying.vault);
    int rc =
        dbk_proof_checkpoint(forget->options.proof, &certifying.checkpoint, &certifying.size, err);
    if (rc == DBK_OK)
        rc = dbk_group_list(forget->options.groups, put_group, &certifying.groups, err);
    for (size_t at = 0; rc == DBK_OK && at < count; at += BATCH)
        rc = certify_batch(&certifying, keys + at, count - at < BATCH ? count - at : BATCH, err);
    dbk_buf_release(&certifying.checkpoint);
    dbk_buf_release(&certifying.groups);
    return rc;
}
