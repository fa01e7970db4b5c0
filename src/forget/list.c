/* SPDX-License-Identifier: Apache-2.0 */
/* What `$subjects` tells of one subject, or of all. */
#include "forget/state.h"

struct showing {
    struct dbk_forget *forget;
    struct dbk_json *json;
    struct dbk_buf what;
    struct dbk_buf certificate;
};

static struct dbk_slice text_of(const struct dbk_json_node *root, const char *name)
{
    const struct dbk_json_node *node = dbk_json_member(root, name);
    return node == NULL || node->kind != DBK_JSON_STRING ? (struct dbk_slice){0} : node->text;
}

static int take(struct showing *showing, const struct dbk_event *event,
                struct dbk_forget_status *status)
{
    const struct dbk_json_node *root = NULL;
    if (dbk_json_parse(showing->json, event->data, &root, NULL) < 0)
        return DBK_OK;
    if (dbk_slice_equal_text(event->type, "SubjectForgotten")) {
        bool erase =
            dbk_slice_equal_text(text_of(root, "mode"), dbk_forget_mode_text(DBK_FORGET_ERASE));
        *status =
            (struct dbk_forget_status){.key = status->key,
                                       .mode = erase ? DBK_FORGET_ERASE : DBK_FORGET_TOMBSTONE,
                                       .at_us = event->time_us,
                                       .position = event->position};
        dbk_buf_reset(&showing->what);
        dbk_buf_reset(&showing->certificate);
    } else if (dbk_slice_equal_text(event->type, "SubjectPurged")) {
        const struct dbk_json_node *what = dbk_json_member(root, "what");
        status->purged = event->position;
        dbk_buf_reset(&showing->what);
        if (what != NULL)
            dbk_buf_append(&showing->what, what->raw);
    } else if (dbk_slice_equal_text(event->type, "SubjectErased")) {
        status->erased = event->position;
        dbk_buf_reset(&showing->certificate);
        dbk_buf_append(&showing->certificate, text_of(root, "certificate"));
    }
    return showing->what.rc < 0 ? showing->what.rc : showing->certificate.rc;
}

/* One subject's events, by its tag. */
static int read_one(struct showing *showing, const struct dbk_uuid *key,
                    struct dbk_forget_status *status, struct dbk_error *err)
{
    struct dbk_forget *forget = showing->forget;
    char text[DBK_SUBJECT_TAG_SIZE + 1];
    struct dbk_cursor *cursor = NULL;
    struct dbk_event event;
    dbk_subject_tag(key, text);
    struct dbk_slice tag = dbk_slice(text, DBK_SUBJECT_TAG_SIZE);
    struct dbk_query_item item = {.tags = &tag, .tag_count = 1};
    *status = (struct dbk_forget_status){.key = *key};
    int rc = dbk_cursor_open(forget->options.store,
                             &(struct dbk_filter){.query = {&item, 1}, .hidden = true, .raw = true},
                             &cursor, err);
    while (rc == DBK_OK && (rc = dbk_cursor_next(cursor, &event, err)) == 1)
        rc = take(showing, &event, status);
    dbk_cursor_free(cursor);
    if (rc == DBK_ENOMEM)
        return dbk_error_set(err, rc, "out of memory reading of a subject");
    (void)pthread_mutex_lock(&forget->lock);
    if (rc == DBK_OK)
        rc = dbk_forget_follow(forget, err);
    status->rotated = status->purged != 0 && forget->rotated > status->purged;
    status->ciphertext_removed =
        status->mode == DBK_FORGET_ERASE && status->position <= forget->removed;
    (void)pthread_mutex_unlock(&forget->lock);
    status->what = dbk_buf_slice(&showing->what);
    return rc;
}

static int begin(struct dbk_forget *forget, struct showing *showing, struct dbk_error *err)
{
    *showing = (struct showing){.forget = forget, .json = dbk_json_create(DBK_FORGET_TEXT_MAX)};
    dbk_buf_init(&showing->what, DBK_FORGET_TEXT_MAX);
    dbk_buf_init(&showing->certificate, DBK_FORGET_TEXT_MAX);
    return showing->json == NULL
               ? dbk_error_set(err, DBK_ENOMEM, "out of memory reading of a subject")
               : DBK_OK;
}

static void end(struct showing *showing)
{
    dbk_json_free(showing->json);
    dbk_buf_release(&showing->what);
    dbk_buf_release(&showing->certificate);
}

static int unknown(const struct dbk_uuid *key, struct dbk_error *err)
{
    char hex[33];
    dbk_subject_hex(key, hex);
    return dbk_error_set(err, DBK_ENOTFOUND, "no subject with the key %s was forgotten", hex);
}

int dbk_forget_show(struct dbk_forget *forget, const struct dbk_uuid *key, dbk_forget_each_fn each,
                    void *context, struct dbk_error *err)
{
    struct showing showing;
    struct dbk_forget_status status;
    int rc = begin(forget, &showing, err);
    if (rc == DBK_OK)
        rc = read_one(&showing, key, &status, err);
    if (rc == DBK_OK)
        rc = status.position == 0 ? unknown(key, err) : each(&status, context);
    end(&showing);
    return rc;
}

int dbk_forget_list(struct dbk_forget *forget, dbk_forget_each_fn each, void *context,
                    struct dbk_error *err)
{
    static const struct dbk_slice type = {.data = "SubjectForgotten", .size = 16};
    struct showing showing;
    struct dbk_cursor *cursor = NULL;
    struct dbk_event event;
    int rc = begin(forget, &showing, err);
    if (rc == DBK_OK)
        rc = dbk_cursor_open(
            forget->options.store,
            &(struct dbk_filter){.types = &type, .type_count = 1, .hidden = true, .raw = true},
            &cursor, err);
    while (rc == DBK_OK && (rc = dbk_cursor_next(cursor, &event, err)) == 1) {
        const struct dbk_json_node *root = NULL;
        struct dbk_forget_status status;
        struct dbk_uuid key;
        rc = DBK_OK;
        if (!dbk_slice_equal_text(event.stream, DBK_SUBJECTS_STREAM) ||
            dbk_json_parse(showing.json, event.data, &root, NULL) < 0 ||
            !dbk_key_id_parse(text_of(root, "key"), &key))
            continue;
        uint64_t position = event.position;
        rc = read_one(&showing, &key, &status, err);
        /* One that was left out first, and erased later, is told of once. */
        if (rc == DBK_OK && status.position == position)
            rc = each(&status, context);
    }
    dbk_cursor_free(cursor);
    end(&showing);
    return rc;
}

int dbk_forget_certificate(struct dbk_forget *forget, const struct dbk_uuid *key,
                           struct dbk_buf *note_out, struct dbk_error *err)
{
    struct showing showing;
    struct dbk_forget_status status;
    char hex[33];
    int rc = begin(forget, &showing, err);
    dbk_subject_hex(key, hex);
    if (rc == DBK_OK)
        rc = read_one(&showing, key, &status, err);
    if (rc == DBK_OK && status.position == 0)
        rc = unknown(key, err);
    else if (rc == DBK_OK && status.erased == 0)
        rc =
            dbk_error_set(err, DBK_ENOTFOUND,
                          status.purged == 0
                              ? "the subject of key %s is being purged: there is no certificate yet"
                              : "the certificate of key %s is final with the next epoch: wait for "
                                "it, or `daybook forget --now`",
                          hex);
    if (rc == DBK_OK) {
        dbk_buf_append(note_out, dbk_buf_slice(&showing.certificate));
        rc = note_out->rc < 0 ? dbk_error_set(err, note_out->rc, "out of memory") : DBK_OK;
    }
    end(&showing);
    return rc;
}
