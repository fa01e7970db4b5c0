/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `$access-keys`, of which the keys in memory are the fold:
 *
 *     KeyAdded   {"key","name","service","scopes":[…],"hash","expires","rate","burst"}
 *     KeyLimited {"key","rate","burst"}  without them: no limit
 *     KeyRotated {"key","hash","old_until"}
 *     KeyScoped  {"key","scopes":[…]}
 *     KeyRevoked {"key","old":true}     without `old`: all of it
 */
#include <sodium.h>
#include <stdio.h>

#include "access/state.h"
#include "json/json.h"

#define EVENT_SIZE_MAX DBK_ACCESS_EVENT_SIZE_MAX
#define LOCAL_ID "local2222222"

/* ---- Reading ---- */

static bool text_of(const struct dbk_json_node *root, const char *key, struct dbk_slice *text_out)
{
    const struct dbk_json_node *node = dbk_json_member(root, key);
    bool is_text = node != NULL && node->kind == DBK_JSON_STRING;
    *text_out = is_text ? node->text : (struct dbk_slice){0};
    return is_text;
}

/* A member that may be missing; false: it is no instant. */
static bool time_of(const struct dbk_json_node *root, const char *key, int64_t *time_out)
{
    struct dbk_slice text;
    *time_out = 0;
    if (dbk_json_member(root, key) == NULL)
        return true;
    return text_of(root, key, &text) && dbk_time_parse(text, time_out);
}

/* Both, or neither. */
static bool limit_of(const struct dbk_json_node *root, struct dbk_key_limit *limit_out)
{
    const struct dbk_json_node *rate = dbk_json_member(root, "rate");
    const struct dbk_json_node *burst = dbk_json_member(root, "burst");
    *limit_out = (struct dbk_key_limit){0};
    if (rate == NULL || burst == NULL)
        return rate == burst;
    if (rate->kind != DBK_JSON_INTEGER || burst->kind != DBK_JSON_INTEGER || rate->integer < 1 ||
        rate->integer > DBK_KEY_RATE_MAX || burst->integer < 1 || burst->integer > DBK_KEY_RATE_MAX)
        return false;
    *limit_out = (struct dbk_key_limit){(uint32_t)rate->integer, (uint32_t)burst->integer};
    return true;
}

static int digit_of(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool hash_of(const struct dbk_json_node *root, uint8_t hash_out[DBK_KEY_HASH_SIZE])
{
    struct dbk_slice text;
    if (!text_of(root, "hash", &text) || text.size != (size_t)2 * DBK_KEY_HASH_SIZE)
        return false;
    for (size_t i = 0; i < DBK_KEY_HASH_SIZE; i++) {
        int high = digit_of(text.data[2 * i]);
        int low = digit_of(text.data[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        hash_out[i] = (uint8_t)(high * 16 + low);
    }
    return true;
}

const struct dbk_service_definition *dbk_access_find_service(const struct dbk_access *access,
                                                             struct dbk_slice name)
{
    const struct dbk_book *book = access->book;
    for (size_t i = 0; i < book->service_count; i++)
        if (dbk_slice_equal_text(name, book->services[i].name))
            return &book->service_definitions[i];
    return NULL;
}

void dbk_key_scopes_free(struct dbk_key_scopes *scopes)
{
    while (scopes != NULL) {
        struct dbk_key_scopes *older = scopes->older;
        dbk_free(scopes->text);
        dbk_free(scopes);
        scopes = older;
    }
}

int dbk_key_scopes_make(const struct dbk_slice *scopes, size_t count,
                        struct dbk_key_scopes **scopes_out, struct dbk_error *err)
{
    size_t size = 0;
    for (size_t i = 0; i < count; i++)
        size += scopes[i].size;
    struct dbk_key_scopes *made = dbk_alloc_zero(1, sizeof(*made) + count * sizeof(made->items[0]));
    if (made != NULL)
        made->text = dbk_alloc(size + 1);
    int rc = made == NULL || made->text == NULL
                 ? dbk_error_set(err, DBK_ENOMEM, "out of memory keeping an API key")
                 : DBK_OK;
    for (char *at = rc < 0 ? NULL : made->text; rc == DBK_OK && made->count < count;) {
        struct dbk_slice text = dbk_slice(at, scopes[made->count].size);
        if (text.size > 0)
            memcpy(at, scopes[made->count].data, text.size);
        rc = dbk_scope_parse(text, &made->items[made->count++], err);
        at += text.size;
    }
    if (rc < 0) {
        dbk_key_scopes_free(made);
        return rc;
    }
    *scopes_out = made;
    return DBK_OK;
}

void dbk_key_scopes_set(struct dbk_access_key *key, struct dbk_key_scopes *scopes)
{
    scopes->older = key->scopes;
    key->scopes = scopes;
}

int dbk_access_make_key(const struct dbk_access *access, struct dbk_slice id,
                        const struct dbk_key_request *request, struct dbk_access_key **key_out,
                        struct dbk_error *err)
{
    struct dbk_access_key *key = dbk_alloc_zero(1, sizeof(*key));
    if (key == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory keeping an API key");
    memcpy(key->id, id.data, DBK_KEY_ID_SIZE);
    key->expires_us = request->expires_us;
    key->limit = request->limit;
    key->name = dbk_copy_text(request->name);
    if (request->service.size > 0) {
        key->service_name = dbk_copy_text(request->service);
        key->service = dbk_access_find_service(access, request->service);
    }
    struct dbk_key_scopes *scopes = NULL;
    int rc = key->name == NULL || (request->service.size > 0 && key->service_name == NULL)
                 ? dbk_error_set(err, DBK_ENOMEM, "out of memory keeping an API key")
                 : dbk_key_scopes_make(request->scopes, request->scope_count, &scopes, err);
    if (rc == DBK_OK) {
        dbk_key_scopes_set(key, scopes);
    } else {
        dbk_access_key_free(key);
        return rc;
    }
    *key_out = key;
    return DBK_OK;
}

static bool scopes_of(const struct dbk_json_node *root, struct dbk_slice *scopes, size_t *count_out)
{
    const struct dbk_json_node *list = dbk_json_member(root, "scopes");
    if (list == NULL || list->kind != DBK_JSON_ARRAY || list->count > DBK_KEY_SCOPES_MAX)
        return false;
    const struct dbk_json_node *item = dbk_json_first(list);
    for (uint32_t i = 0; i < list->count; i++, item = dbk_json_sibling(item)) {
        if (item->kind != DBK_JSON_STRING)
            return false;
        scopes[i] = item->text;
    }
    *count_out = list->count;
    return true;
}

static int take_added(struct dbk_access *access, const struct dbk_json_node *root,
                      struct dbk_slice id, int64_t time_us, struct dbk_error *err)
{
    struct dbk_slice scopes[DBK_KEY_SCOPES_MAX];
    struct dbk_key_request request = {.scopes = scopes};
    struct dbk_access_key *key = NULL;
    uint8_t hash[DBK_KEY_HASH_SIZE];
    (void)text_of(root, "service", &request.service);
    if (!text_of(root, "name", &request.name) || !hash_of(root, hash) ||
        !scopes_of(root, scopes, &request.scope_count) ||
        !time_of(root, "expires", &request.expires_us) || !limit_of(root, &request.limit) ||
        dbk_access_find(access, id) != NULL)
        return DBK_ECORRUPT;
    int rc = dbk_access_make_key(access, id, &request, &key, err);
    if (rc < 0)
        return rc == DBK_EINVAL ? DBK_ECORRUPT : rc;
    key->created_us = time_us;
    key->secrets[0].set = true;
    memcpy(key->secrets[0].hash, hash, sizeof(hash));
    access->asks = true;
    return dbk_access_insert(access, key);
}

static int take_scoped(struct dbk_access_key *key, const struct dbk_json_node *root,
                       struct dbk_error *err)
{
    struct dbk_slice scopes[DBK_KEY_SCOPES_MAX];
    size_t count = 0;
    if (!scopes_of(root, scopes, &count))
        return DBK_ECORRUPT;
    struct dbk_key_scopes *made = NULL;
    int rc = dbk_key_scopes_make(scopes, count, &made, err);
    if (rc == DBK_OK)
        dbk_key_scopes_set(key, made);
    return rc == DBK_EINVAL || rc == DBK_ELIMIT ? DBK_ECORRUPT : rc;
}

static int take_rotated(struct dbk_access_key *key, const struct dbk_json_node *root)
{
    uint8_t hash[DBK_KEY_HASH_SIZE];
    int64_t until_us = 0;
    if (!hash_of(root, hash) || !time_of(root, "old_until", &until_us))
        return DBK_ECORRUPT;
    key->secrets[1] = key->secrets[0];
    key->secrets[1].until_us = until_us;
    key->secrets[0] = (struct dbk_key_secret){.set = true};
    memcpy(key->secrets[0].hash, hash, sizeof(hash));
    return DBK_OK;
}

void dbk_access_take_revoked(struct dbk_access_key *key, bool old)
{
    if (old)
        key->secrets[1] = (struct dbk_key_secret){0};
    else
        key->revoked = true;
}

int dbk_access_take(struct dbk_access *access, const struct dbk_event *event, struct dbk_json *json,
                    struct dbk_error *err)
{
    const struct dbk_json_node *root = NULL;
    struct dbk_slice id = {0};
    int rc = dbk_json_parse(json, event->data, &root, NULL);
    bool good = rc == DBK_OK && text_of(root, "key", &id) && id.size == DBK_KEY_ID_SIZE;
    struct dbk_access_key *key = good ? dbk_access_find(access, id) : NULL;
    if (rc == DBK_ENOMEM)
        return dbk_error_set(err, rc, "out of memory reading the API keys");
    rc = DBK_ECORRUPT;
    if (good && dbk_slice_equal_text(event->type, "KeyAdded"))
        rc = take_added(access, root, id, event->time_us, err);
    else if (key != NULL && dbk_slice_equal_text(event->type, "KeyRotated"))
        rc = take_rotated(key, root);
    else if (key != NULL && dbk_slice_equal_text(event->type, "KeyLimited"))
        rc = limit_of(root, &key->limit) ? DBK_OK : DBK_ECORRUPT;
    else if (key != NULL && dbk_slice_equal_text(event->type, "KeyScoped"))
        rc = take_scoped(key, root, err);
    else if (key != NULL && dbk_slice_equal_text(event->type, "KeyRevoked"))
        rc = (dbk_access_take_revoked(key, dbk_json_member(root, "old") != NULL), DBK_OK);
    return rc == DBK_ECORRUPT ? dbk_error_set(err, rc,
                                              "%s: the event at position %ju says nothing of an "
                                              "API key that is known",
                                              DBK_ACCESS_KEYS_STREAM, (uintmax_t)event->position)
                              : rc;
}

int dbk_access_load(struct dbk_access *access, struct dbk_error *err)
{
    struct dbk_cursor *cursor = NULL;
    struct dbk_event event;
    struct dbk_json *json = dbk_json_create(EVENT_SIZE_MAX);
    struct dbk_filter filter = {.stream = DBK_SLICE_LITERAL(DBK_ACCESS_KEYS_STREAM),
                                .hidden = true,
                                .removed = true,
                                .raw = true};
    int rc = json == NULL
                 ? dbk_error_set(err, DBK_ENOMEM, "out of memory reading the API keys")
                 : dbk_cursor_open(dbk_engine_store(access->engine), &filter, &cursor, err);
    while (rc == DBK_OK && (rc = dbk_cursor_next(cursor, &event, err)) == 1)
        rc = dbk_access_take(access, &event, json, err);
    dbk_cursor_free(cursor);
    dbk_json_free(json);
    return rc;
}

/* ---- Making ---- */

static int random_text(struct dbk_access *access, char *out, size_t size, const char *alphabet,
                       unsigned mask, struct dbk_error *err)
{
    struct dbk_os *os = dbk_engine_os(access->engine);
    uint8_t bytes[64];
    int rc = os->random(os, bytes, size, err);
    for (size_t i = 0; rc == DBK_OK && i < size; i++)
        out[i] = alphabet[bytes[i] & mask];
    sodium_memzero(bytes, sizeof(bytes));
    return rc;
}

/* 43 letters of 64 are 258 bits. */
int dbk_access_make_text(struct dbk_access *access, struct dbk_slice id,
                         char text[DBK_KEY_TEXT_SIZE], uint8_t hash_out[DBK_KEY_HASH_SIZE],
                         struct dbk_error *err)
{
    static const char ids[] = "abcdefghijklmnopqrstuvwxyz234567";
    static const char secrets[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    int rc = DBK_OK;
    memcpy(text, "dbk_", 4);
    if (id.size > 0)
        memcpy(text + 4, id.data, DBK_KEY_ID_SIZE);
    else
        rc = random_text(access, text + 4, DBK_KEY_ID_SIZE, ids, 31, err);
    text[4 + DBK_KEY_ID_SIZE] = '_';
    char *secret = text + 4 + DBK_KEY_ID_SIZE + 1;
    if (rc == DBK_OK)
        rc = random_text(access, secret, DBK_KEY_SECRET_SIZE, secrets, 63, err);
    text[DBK_KEY_TEXT_SIZE - 1] = '\0';
    if (rc == DBK_OK)
        dbk_key_hash(dbk_slice(secret, DBK_KEY_SECRET_SIZE), hash_out);
    return rc;
}

int dbk_access_make_local(struct dbk_access *access, struct dbk_error *err)
{
    struct dbk_os *os = dbk_engine_os(access->engine);
    const char *data = dbk_engine_book(access->engine)->data;
    const struct dbk_slice scope = DBK_SLICE_LITERAL("admin");
    const struct dbk_key_request request = {
        .name = DBK_SLICE_LITERAL("this machine's operator"), .scopes = &scope, .scope_count = 1};
    char text[DBK_KEY_TEXT_SIZE];
    struct dbk_buf path;
    struct dbk_file file = DBK_FILE_CLOSED;
    int rc =
        dbk_access_make_key(access, DBK_SLICE_LITERAL(LOCAL_ID), &request, &access->local, err);
    if (rc == DBK_OK)
        rc = dbk_access_make_text(access, DBK_SLICE_LITERAL(LOCAL_ID), text,
                                  access->local->secrets[0].hash, err);
    if (rc < 0)
        return rc;
    access->local->secrets[0].set = true;
    dbk_buf_init(&path, 8192);
    dbk_buf_append_format(&path, "%s/" DBK_ACCESS_FILE, data);
    access->local_path = path.rc < 0 ? NULL : dbk_copy_text(dbk_buf_slice(&path));
    dbk_buf_release(&path);
    if (access->local_path == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory making the operator's key");
    /* One that a killed server left opens nothing any more. */
    dbk_ignore(os->remove(os, access->local_path, NULL));
    rc = os->open(os, access->local_path,
                  DBK_OS_WRITE | DBK_OS_CREATE | DBK_OS_NEW | DBK_OS_PRIVATE, &file, err);
    if (rc == DBK_OK)
        rc = os->pwrite(os, &file, dbk_slice(text, DBK_KEY_TEXT_SIZE - 1), 0, err);
    os->close(os, &file);
    sodium_memzero(text, sizeof(text));
    return rc;
}
