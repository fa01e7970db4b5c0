/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys that are made, rotated, limited and revoked, and how they are shown.
 *
 * Changes come one behind the other, and stand in the log before they count; requests go on
 * meanwhile, and wait only while memory is changed.
 */
#include <sodium.h>
#include <stdio.h>

#include "access/state.h"
#include "json/json.h"

/* ---- Changing ---- */

static void put(struct dbk_buf *out, bool *first, const char *key, struct dbk_slice text)
{
    dbk_json_write_key(out, first, key);
    dbk_json_write_string(out, text);
}

static void put_time(struct dbk_buf *out, bool *first, const char *key, int64_t time_us)
{
    char text[DBK_TIME_TEXT_SIZE];
    size_t size = dbk_time_format(time_us, text);
    put(out, first, key, dbk_slice(text, size));
}

static void put_hash(struct dbk_buf *out, bool *first, const uint8_t hash[DBK_KEY_HASH_SIZE])
{
    char hex[2 * DBK_KEY_HASH_SIZE + 1];
    (void)sodium_bin2hex(hex, sizeof(hex), hash, DBK_KEY_HASH_SIZE);
    put(out, first, "hash", dbk_slice_of(hex));
}

static void put_limit(struct dbk_buf *out, bool *first, struct dbk_key_limit limit)
{
    if (limit.rate == 0)
        return;
    dbk_json_write_key(out, first, "rate");
    dbk_json_write_u64(out, limit.rate);
    dbk_json_write_key(out, first, "burst");
    dbk_json_write_u64(out, limit.burst);
}

static int append(struct dbk_access *access, const char *type, struct dbk_buf *data,
                  struct dbk_error *err)
{
    struct dbk_append_result result;
    dbk_buf_append_char(data, '}');
    struct dbk_new_event event = {.stream = DBK_SLICE_LITERAL(DBK_ACCESS_KEYS_STREAM),
                                  .type = dbk_slice_of(type),
                                  .data = dbk_buf_slice(data),
                                  .occurred_us = DBK_TIME_NONE,
                                  .flags = DBK_RECORD_JSON};
    return data->rc < 0
               ? dbk_error_set(err, data->rc, "out of memory keeping an API key")
               : dbk_engine_append_own_json(
                     access->engine,
                     &(struct dbk_batch){.events = &event, .count = 1, .flags = DBK_APPEND_OWN},
                     &result, err);
}

static void begin_data(struct dbk_buf *data, bool *first, const char *id)
{
    dbk_buf_init(data, DBK_ACCESS_EVENT_SIZE_MAX);
    dbk_buf_append_char(data, '{');
    put(data, first, "key", dbk_slice_of(id));
}

static int check_limit(struct dbk_key_limit limit, struct dbk_error *err)
{
    bool none = limit.rate == 0 && limit.burst == 0;
    return none || (limit.rate >= 1 && limit.rate <= DBK_KEY_RATE_MAX && limit.burst >= 1 &&
                    limit.burst <= DBK_KEY_RATE_MAX)
               ? DBK_OK
               : dbk_error_set(err, DBK_EINVAL,
                               "a key's rate is 1 to %d requests a second, and its burst 1 to %d "
                               "requests",
                               DBK_KEY_RATE_MAX, DBK_KEY_RATE_MAX);
}

static int check_scope_count(size_t count, struct dbk_error *err)
{
    return count <= DBK_KEY_SCOPES_MAX
               ? DBK_OK
               : dbk_error_set(err, DBK_ELIMIT, "a key has at most %d scopes", DBK_KEY_SCOPES_MAX);
}

static int check_request(const struct dbk_access *access, const struct dbk_key_request *request,
                         struct dbk_error *err)
{
    if (request->service.size > 0 && dbk_access_find_service(access, request->service) == NULL)
        return dbk_error_set(err, DBK_ENOTFOUND,
                             "there is no service %.*s: `daybook service ls` lists them",
                             DBK_SLICE_ARGS(request->service));
    if (request->name.size > DBK_KEY_NAME_MAX || !dbk_slice_is_utf8(request->name))
        return dbk_error_set(err, DBK_EINVAL, "a key's name has at most %d bytes of UTF-8",
                             DBK_KEY_NAME_MAX);
    for (size_t i = 0; i < request->name.size; i++)
        if ((unsigned char)request->name.data[i] < ' ')
            return dbk_error_set(err, DBK_EINVAL, "a key's name has no control characters");
    if (request->service.size == 0 && request->name.size == 0)
        return dbk_error_set(err, DBK_EINVAL, "say whose key it is: a name, or a service");
    if (request->service.size == 0 && request->scope_count == 0)
        return dbk_error_set(err, DBK_EINVAL,
                             "say what the key may do: with a scope such as read:order, read-only "
                             "or admin");
    int rc = check_scope_count(request->scope_count, err);
    return rc < 0 ? rc : check_limit(request->limit, err);
}

static void put_scopes(struct dbk_buf *data, bool *first, const struct dbk_slice *scopes,
                       size_t count)
{
    dbk_json_write_key(data, first, "scopes");
    dbk_buf_append_char(data, '[');
    for (size_t i = 0; i < count; i++) {
        dbk_buf_append_text(data, i == 0 ? "" : ",");
        dbk_json_write_string(data, scopes[i]);
    }
    dbk_buf_append_char(data, ']');
}

static void put_added(struct dbk_buf *data, bool *first, const struct dbk_key_request *request,
                      const uint8_t hash[DBK_KEY_HASH_SIZE])
{
    put(data, first, "name", request->name);
    if (request->service.size > 0)
        put(data, first, "service", request->service);
    put_scopes(data, first, request->scopes, request->scope_count);
    put_hash(data, first, hash);
    if (request->expires_us != 0)
        put_time(data, first, "expires", request->expires_us);
    put_limit(data, first, request->limit);
}

int dbk_access_add(struct dbk_access *access, const struct dbk_key_request *request,
                   char text_out[DBK_KEY_TEXT_SIZE], struct dbk_error *err)
{
    struct dbk_key_request whole = *request;
    struct dbk_access_key *key = NULL;
    struct dbk_buf data;
    struct dbk_os *os = dbk_engine_os(access->engine);
    uint8_t hash[DBK_KEY_HASH_SIZE];
    bool first = true;
    if (whole.name.size == 0)
        whole.name = whole.service;
    int rc = check_request(access, &whole, err);
    if (rc == DBK_OK)
        rc = dbk_access_make_text(access, (struct dbk_slice){0}, text_out, hash, err);
    if (rc == DBK_OK)
        rc = dbk_access_make_key(access, dbk_slice(text_out + 4, DBK_KEY_ID_SIZE), &whole, &key,
                                 err);
    if (rc < 0)
        return rc;
    key->created_us = os->now_us(os);
    key->secrets[0].set = true;
    memcpy(key->secrets[0].hash, hash, sizeof(hash));
    begin_data(&data, &first, key->id);
    put_added(&data, &first, &whole, hash);
    (void)pthread_mutex_lock(&access->changing);
    if (access->count >= DBK_ACCESS_KEYS_MAX)
        rc = dbk_error_set(err, DBK_ELIMIT, "there are %d keys already", DBK_ACCESS_KEYS_MAX);
    if (rc == DBK_OK)
        rc = append(access, "KeyAdded", &data, err);
    if (rc == DBK_OK) {
        access->asks = true;
        (void)pthread_rwlock_wrlock(&access->lock);
        rc = dbk_access_insert(access, key);
        (void)pthread_rwlock_unlock(&access->lock);
    } else {
        dbk_access_key_free(key);
    }
    (void)pthread_mutex_unlock(&access->changing);
    /* With the first one, live answers that were asked for without end. */
    dbk_store_wake(dbk_engine_store(access->engine));
    dbk_buf_release(&data);
    return rc;
}

static int find(const struct dbk_access *access, struct dbk_slice id,
                struct dbk_access_key **key_out, struct dbk_error *err)
{
    *key_out = dbk_access_find(access, id);
    if (*key_out != NULL && !(*key_out)->revoked)
        return DBK_OK;
    return dbk_error_set(err, DBK_ENOTFOUND,
                         *key_out == NULL ? "there is no API key %.*s: `daybook access ls` lists "
                                            "them"
                                          : "API key %.*s was revoked",
                         (int)(id.size < 40 ? id.size : 40), id.data);
}

int dbk_access_rotate(struct dbk_access *access, struct dbk_slice id, int64_t old_until_us,
                      char text_out[DBK_KEY_TEXT_SIZE], struct dbk_error *err)
{
    struct dbk_access_key *key = NULL;
    struct dbk_os *os = dbk_engine_os(access->engine);
    struct dbk_buf data;
    uint8_t hash[DBK_KEY_HASH_SIZE];
    bool first = true;
    (void)pthread_mutex_lock(&access->changing);
    int rc = find(access, id, &key, err);
    if (rc == DBK_OK && dbk_secret_is_live(&key->secrets[1], os->now_us(os)))
        rc = dbk_error_set(err, DBK_ECONFLICT,
                           "key %s was rotated, and its old secret is still good: end that first "
                           "with `daybook access revoke %s --old`",
                           key->id, key->id);
    if (rc == DBK_OK)
        rc = dbk_access_make_text(access, dbk_slice(key->id, DBK_KEY_ID_SIZE), text_out, hash, err);
    if (rc == DBK_OK) {
        begin_data(&data, &first, key->id);
        put_hash(&data, &first, hash);
        if (old_until_us != 0)
            put_time(&data, &first, "old_until", old_until_us);
        rc = append(access, "KeyRotated", &data, err);
        dbk_buf_release(&data);
    }
    if (rc == DBK_OK) {
        (void)pthread_rwlock_wrlock(&access->lock);
        key->secrets[1] = key->secrets[0];
        key->secrets[1].until_us = old_until_us;
        key->secrets[0] = (struct dbk_key_secret){.set = true};
        memcpy(key->secrets[0].hash, hash, sizeof(hash));
        (void)pthread_rwlock_unlock(&access->lock);
    }
    (void)pthread_mutex_unlock(&access->changing);
    return rc;
}

int dbk_access_revoke(struct dbk_access *access, struct dbk_slice id, bool old,
                      struct dbk_error *err)
{
    struct dbk_access_key *key = NULL;
    struct dbk_buf data;
    bool first = true;
    (void)pthread_mutex_lock(&access->changing);
    int rc = find(access, id, &key, err);
    if (rc == DBK_OK && old && !key->secrets[1].set)
        rc = dbk_error_set(err, DBK_ENOTFOUND, "key %s has no old secret", key->id);
    if (rc == DBK_OK) {
        begin_data(&data, &first, key->id);
        if (old)
            dbk_buf_append_text(&data, ",\"old\":true");
        rc = append(access, "KeyRevoked", &data, err);
        dbk_buf_release(&data);
    }
    if (rc == DBK_OK) {
        (void)pthread_rwlock_wrlock(&access->lock);
        dbk_access_take_revoked(key, old);
        (void)pthread_rwlock_unlock(&access->lock);
    }
    (void)pthread_mutex_unlock(&access->changing);
    /* Live answers look whether their key is still good. */
    dbk_store_wake(dbk_engine_store(access->engine));
    return rc;
}

int dbk_access_scope(struct dbk_access *access, struct dbk_slice id, const struct dbk_slice *scopes,
                     size_t count, struct dbk_error *err)
{
    struct dbk_access_key *key = NULL;
    struct dbk_key_scopes *made = NULL;
    struct dbk_buf data;
    bool first = true;
    int rc = check_scope_count(count, err);
    if (rc == DBK_OK)
        rc = dbk_key_scopes_make(scopes, count, &made, err);
    if (rc < 0)
        return rc;
    (void)pthread_mutex_lock(&access->changing);
    rc = find(access, id, &key, err);
    if (rc == DBK_OK && key->service_name == NULL && count == 0)
        rc = dbk_error_set(err, DBK_EINVAL,
                           "the key %s is no service's, and would have no scope: revoke it",
                           key->id);
    if (rc == DBK_OK) {
        begin_data(&data, &first, key->id);
        put_scopes(&data, &first, scopes, count);
        rc = append(access, "KeyScoped", &data, err);
        dbk_buf_release(&data);
    }
    if (rc == DBK_OK) {
        (void)pthread_rwlock_wrlock(&access->lock);
        dbk_key_scopes_set(key, made);
        (void)pthread_rwlock_unlock(&access->lock);
        made = NULL;
    }
    (void)pthread_mutex_unlock(&access->changing);
    dbk_key_scopes_free(made);
    /* Live answers end that were asked for with the others. */
    dbk_store_wake(dbk_engine_store(access->engine));
    return rc;
}

int dbk_access_limit(struct dbk_access *access, struct dbk_slice id, struct dbk_key_limit limit,
                     struct dbk_error *err)
{
    struct dbk_access_key *key = NULL;
    struct dbk_buf data;
    bool first = true;
    int rc = check_limit(limit, err);
    if (rc < 0)
        return rc;
    (void)pthread_mutex_lock(&access->changing);
    rc = find(access, id, &key, err);
    if (rc == DBK_OK) {
        begin_data(&data, &first, key->id);
        put_limit(&data, &first, limit);
        rc = append(access, "KeyLimited", &data, err);
        dbk_buf_release(&data);
    }
    if (rc == DBK_OK) {
        (void)pthread_rwlock_wrlock(&access->lock);
        key->limit = limit;
        (void)pthread_rwlock_unlock(&access->lock);
    }
    (void)pthread_mutex_unlock(&access->changing);
    return rc;
}

/* ---- Showing ---- */

static const char *state_of(const struct dbk_access_key *key, int64_t now_us)
{
    if (key->revoked)
        return "revoked";
    if (key->expires_us != 0 && now_us >= key->expires_us)
        return "expired";
    if (key->service_name != NULL && key->service == NULL)
        return "no such service";
    return dbk_secret_is_live(&key->secrets[1], now_us) ? "rotating" : "good";
}

static void put_or_null(struct dbk_buf *out, bool *first, const char *name, int64_t time_us)
{
    if (time_us != 0) {
        put_time(out, first, name, time_us);
        return;
    }
    dbk_json_write_key(out, first, name);
    dbk_buf_append_text(out, "null");
}

static void put_key(struct dbk_buf *out, const struct dbk_access_key *key, int64_t now_us)
{
    bool first = true;
    dbk_buf_append_char(out, '{');
    put(out, &first, "key", dbk_slice_of(key->id));
    put(out, &first, "name", dbk_slice_of(key->name));
    dbk_json_write_key(out, &first, "service");
    if (key->service_name == NULL)
        dbk_buf_append_text(out, "null");
    else
        dbk_json_write_string(out, dbk_slice_of(key->service_name));
    put(out, &first, "state", dbk_slice_of(state_of(key, now_us)));
    dbk_json_write_key(out, &first, "scopes");
    dbk_buf_append_char(out, '[');
    const struct dbk_key_scopes *scopes = key->scopes;
    for (size_t i = 0; i < scopes->count; i++) {
        dbk_buf_append_text(out, i == 0 ? "" : ",");
        dbk_json_write_string(out, scopes->items[i].text);
    }
    dbk_buf_append_char(out, ']');
    put_time(out, &first, "created", key->created_us);
    put_or_null(out, &first, "expires", key->expires_us);
    if (dbk_secret_is_live(&key->secrets[1], now_us))
        put_or_null(out, &first, "old_until", key->secrets[1].until_us);
    put_limit(out, &first, key->limit);
    put_or_null(out, &first, "used", key->used_us);
    dbk_json_write_key(out, &first, "requests");
    dbk_json_write_u64(out, key->requests);
    dbk_json_write_key(out, &first, "throttled");
    dbk_json_write_u64(out, key->throttled);
    dbk_buf_append_char(out, '}');
}

int dbk_access_put(struct dbk_access *access, struct dbk_slice id, struct dbk_buf *out,
                   struct dbk_error *err)
{
    struct dbk_os *os = dbk_engine_os(access->engine);
    int64_t now_us = os->now_us(os);
    (void)pthread_rwlock_rdlock(&access->lock);
    const struct dbk_access_key *key = dbk_access_find(access, id);
    if (key != NULL)
        put_key(out, key, now_us);
    (void)pthread_rwlock_unlock(&access->lock);
    return key != NULL ? DBK_OK
                       : dbk_error_set(err, DBK_ENOTFOUND, "there is no API key %.*s",
                                       (int)(id.size < 40 ? id.size : 40), id.data);
}

void dbk_access_list(struct dbk_access *access, struct dbk_buf *out)
{
    struct dbk_os *os = dbk_engine_os(access->engine);
    int64_t now_us = os->now_us(os);
    (void)pthread_rwlock_rdlock(&access->lock);
    for (size_t i = 0; i < access->count; i++) {
        dbk_buf_append_text(out, i == 0 ? "" : ",");
        put_key(out, access->keys[i], now_us);
    }
    (void)pthread_rwlock_unlock(&access->lock);
}
