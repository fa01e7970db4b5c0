/* SPDX-License-Identifier: Apache-2.0 */
#include "access/access.h"

#include <sodium.h>

#include "access/state.h"

/* ---- Keys as texts ---- */

static bool is_id_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '2' && c <= '7');
}

static bool is_secret_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_';
}

bool dbk_key_text_parse(struct dbk_slice text, struct dbk_slice *id_out,
                        struct dbk_slice *secret_out)
{
    if (text.size != DBK_KEY_TEXT_SIZE - 1 || memcmp(text.data, "dbk_", 4) != 0 ||
        text.data[4 + DBK_KEY_ID_SIZE] != '_')
        return false;
    *id_out = dbk_slice(text.data + 4, DBK_KEY_ID_SIZE);
    *secret_out = dbk_slice(text.data + 4 + DBK_KEY_ID_SIZE + 1, DBK_KEY_SECRET_SIZE);
    for (size_t i = 0; i < DBK_KEY_ID_SIZE; i++)
        if (!is_id_byte(id_out->data[i]))
            return false;
    for (size_t i = 0; i < DBK_KEY_SECRET_SIZE; i++)
        if (!is_secret_byte(secret_out->data[i]))
            return false;
    return true;
}

void dbk_key_hash(struct dbk_slice secret, uint8_t hash_out[DBK_KEY_HASH_SIZE])
{
    static const unsigned char what[] = "daybook API key 1";
    (void)crypto_generichash(hash_out, DBK_KEY_HASH_SIZE, (const unsigned char *)secret.data,
                             secret.size, what, sizeof(what) - 1);
}

bool dbk_secret_is_live(const struct dbk_key_secret *secret, int64_t now_us)
{
    return secret->set && (secret->until_us == 0 || now_us < secret->until_us);
}

bool dbk_key_is_live(const struct dbk_access_key *key, int64_t now_us)
{
    return !key->revoked && (key->expires_us == 0 || now_us < key->expires_us) &&
           (key->service_name == NULL || key->service != NULL);
}

/* ---- The list ---- */

/* Where an id stands, or belongs. */
static size_t place_of(const struct dbk_access *access, struct dbk_slice id)
{
    size_t low = 0;
    size_t high = access->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (memcmp(access->keys[middle]->id, id.data, DBK_KEY_ID_SIZE) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct dbk_access_key *dbk_access_find(const struct dbk_access *access, struct dbk_slice id)
{
    if (id.size != DBK_KEY_ID_SIZE)
        return NULL;
    size_t at = place_of(access, id);
    return at < access->count && memcmp(access->keys[at]->id, id.data, DBK_KEY_ID_SIZE) == 0
               ? access->keys[at]
               : NULL;
}

int dbk_access_insert(struct dbk_access *access, struct dbk_access_key *key)
{
    size_t at = place_of(access, dbk_slice(key->id, DBK_KEY_ID_SIZE));
    if (access->count == access->capacity) {
        size_t capacity = access->capacity == 0 ? 16 : access->capacity * 2;
        struct dbk_access_key **keys = dbk_realloc(access->keys, capacity * sizeof(*keys));
        if (keys == NULL) {
            dbk_access_key_free(key);
            return DBK_ENOMEM;
        }
        access->keys = keys;
        access->capacity = capacity;
    }
    memmove(access->keys + at + 1, access->keys + at, (access->count - at) * sizeof(*access->keys));
    access->keys[at] = key;
    access->count++;
    return DBK_OK;
}

void dbk_access_key_free(struct dbk_access_key *key)
{
    if (key == NULL)
        return;
    sodium_memzero(key->secrets, sizeof(key->secrets));
    dbk_free(key->name);
    dbk_free(key->service_name);
    dbk_key_scopes_free(key->scopes);
    dbk_free(key);
}

/* ---- Life ---- */

int dbk_access_open(struct dbk_engine *engine, const struct dbk_access_options *options,
                    struct dbk_access **access_out, struct dbk_error *err)
{
    if (sodium_init() < 0)
        return dbk_error_set(err, DBK_EIO, "libsodium cannot be used: it has no randomness");
    struct dbk_access *access = dbk_alloc_zero(1, sizeof(*access));
    if (access == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory reading the API keys");
    access->engine = engine;
    access->book = dbk_engine_book(engine);
    access->asks = access->book->service_count > 0;
    (void)pthread_rwlock_init(&access->lock, NULL);
    (void)pthread_mutex_init(&access->changing, NULL);
    int rc = dbk_access_load(access, err);
    if (rc == DBK_OK && options->local)
        rc = dbk_access_make_local(access, err);
    if (rc == DBK_OK && options->local)
        rc = dbk_refusals_open(engine, &access->refusals, err);
    if (rc < 0) {
        dbk_access_free(access);
        return rc;
    }
    *access_out = access;
    return DBK_OK;
}

void dbk_access_free(struct dbk_access *access)
{
    if (access == NULL)
        return;
    struct dbk_os *os = dbk_engine_os(access->engine);
    dbk_refusals_free(access->refusals);
    if (access->local_path != NULL)
        dbk_ignore(os->remove(os, access->local_path, NULL));
    for (size_t i = 0; i < access->count; i++)
        dbk_access_key_free(access->keys[i]);
    dbk_access_key_free(access->local);
    dbk_free(access->keys);
    dbk_free(access->local_path);
    (void)pthread_rwlock_destroy(&access->lock);
    (void)pthread_mutex_destroy(&access->changing);
    dbk_free(access);
}

bool dbk_access_asks(const struct dbk_access *access)
{
    return access->asks;
}

/* ---- Who asks ---- */

/* Both secrets are compared in any case, and in a time that does not depend on their bytes; an id
   that is not there costs as much. */
static bool is_good(const struct dbk_access_key *key, const uint8_t hash[DBK_KEY_HASH_SIZE],
                    int64_t now_us)
{
    static const struct dbk_key_secret none;
    bool good = false;
    for (size_t i = 0; i < 2; i++) {
        const struct dbk_key_secret *own = key == NULL ? &none : &key->secrets[i];
        bool same = sodium_memcmp(own->hash, hash, DBK_KEY_HASH_SIZE) == 0;
        good = (same && dbk_secret_is_live(own, now_us)) || good;
    }
    return good && key != NULL && dbk_key_is_live(key, now_us);
}

/* "Bearer <key>", the word in any case, and any blanks between. */
static bool take_bearer(struct dbk_slice header, struct dbk_slice *id_out,
                        struct dbk_slice *secret_out)
{
    static const char word[] = "bearer";
    size_t at = sizeof(word) - 1;
    if (header.size <= at)
        return false;
    for (size_t i = 0; i < at; i++)
        if ((header.data[i] | 0x20) != word[i])
            return false;
    if (header.data[at] != ' ')
        return false;
    while (at < header.size && header.data[at] == ' ')
        at++;
    size_t end = header.size;
    while (end > at && header.data[end - 1] == ' ')
        end--;
    return dbk_key_text_parse(dbk_slice(header.data + at, end - at), id_out, secret_out);
}

static void note(const struct dbk_access *access, const struct dbk_refusal *refusal)
{
    if (access->refusals != NULL)
        dbk_refusals_note(access->refusals, refusal);
}

/* key: whose secret it may have been; NULL: nobody's. */
static int not_good(struct dbk_access *access, struct dbk_slice header,
                    const struct dbk_access_key *key, struct dbk_error *err)
{
    note(access, &(struct dbk_refusal){.reason = DBK_REFUSAL_UNAUTHORIZED,
                                       .key = key == NULL ? NULL : key->id,
                                       .kind = DBK_SCOPE_COUNT});
    if (header.size == 0)
        return dbk_error_set(err, DBK_EKEY,
                             "book %s is asked with an API key: send Authorization: Bearer <key>; "
                             "`daybook access add` makes one",
                             dbk_engine_book(access->engine)->name);
    return dbk_error_set(err, DBK_EKEY,
                         "the API key is not good: it may be mistyped, revoked or past its time; "
                         "`daybook access ls` shows which there are");
}

int dbk_access_identify(struct dbk_access *access, struct dbk_slice authorization,
                        struct dbk_caller *caller_out, struct dbk_error *err)
{
    struct dbk_os *os = dbk_engine_os(access->engine);
    struct dbk_slice id = {0};
    struct dbk_slice secret = {0};
    if (!take_bearer(authorization, &id, &secret))
        return not_good(access, authorization, NULL, err);
    int64_t now_us = os->now_us(os);
    uint8_t hash[DBK_KEY_HASH_SIZE];
    dbk_key_hash(secret, hash);
    (void)pthread_rwlock_rdlock(&access->lock);
    struct dbk_access_key *key = dbk_access_find(access, id);
    if (key == NULL && access->local != NULL && dbk_slice_equal_text(id, access->local->id))
        key = access->local;
    bool good = is_good(key, hash, now_us);
    (void)pthread_rwlock_unlock(&access->lock);
    if (!good)
        return not_good(access, authorization, key, err);
    *caller_out = (struct dbk_caller){.access = access, .key = key, .scopes = key->scopes};
    memcpy(caller_out->hash, hash, sizeof(hash));
    key->used_us = now_us;
    key->requests++;
    return DBK_OK;
}

bool dbk_caller_is_live(const struct dbk_caller *caller)
{
    struct dbk_os *os = dbk_engine_os(caller->access->engine);
    (void)pthread_rwlock_rdlock(&caller->access->lock);
    bool live =
        caller->scopes == caller->key->scopes && is_good(caller->key, caller->hash, os->now_us(os));
    (void)pthread_rwlock_unlock(&caller->access->lock);
    return live;
}

const char *dbk_caller_id(const struct dbk_caller *caller)
{
    return caller->key->id;
}

int64_t dbk_caller_take(const struct dbk_caller *caller)
{
    struct dbk_access_key *key = caller->key;
    struct dbk_os *os = dbk_engine_os(caller->access->engine);
    (void)pthread_rwlock_rdlock(&caller->access->lock);
    struct dbk_key_limit limit = key->limit;
    (void)pthread_rwlock_unlock(&caller->access->lock);
    if (limit.rate == 0)
        return 0;
    int64_t late_ns =
        dbk_bucket_take(&key->full_ns, limit.rate, limit.burst, os->monotonic_us(os) * 1000);
    if (late_ns == 0)
        return 0;
    key->throttled++;
    note(caller->access, &(struct dbk_refusal){.reason = DBK_REFUSAL_THROTTLED,
                                               .key = key->id,
                                               .kind = DBK_SCOPE_COUNT});
    return (late_ns + 999) / 1000;
}

/* ---- What is written down of refusals ---- */

static bool is_of_service(const struct dbk_service_definition *service, struct dbk_slice category)
{
    for (size_t i = 0; i < service->append_count; i++)
        if (dbk_slice_equal_text(category, service->appends[i]))
            return true;
    for (size_t i = 0; i < service->read_count; i++)
        if (dbk_slice_equal_text(category, service->reads[i]))
            return true;
    return false;
}

static bool is_category_of(const struct dbk_book *book, struct dbk_slice category)
{
    for (size_t i = 0; i < book->fold_count; i++)
        if (dbk_slice_equal_text(category, book->folds[i].name))
            return true;
    for (size_t i = 0; i < book->service_count; i++)
        if (is_of_service(&book->service_definitions[i], category))
            return true;
    return false;
}

/* Names that the book's files have; what else was sent may be anything, a secret too. */
static bool is_of_book(const struct dbk_book *book, enum dbk_scope_kind kind, struct dbk_slice name)
{
    if (kind == DBK_SCOPE_APPEND || kind == DBK_SCOPE_READ)
        return is_category_of(book, name);
    for (size_t i = 0; kind == DBK_SCOPE_COMMAND && i < book->command_count; i++)
        if (dbk_slice_equal_text(name, book->commands[i].name))
            return true;
    for (size_t i = 0; kind == DBK_SCOPE_COMMAND && i < book->service_command_count; i++)
        if (dbk_slice_equal_text(name, book->service_commands[i].name))
            return true;
    for (size_t i = 0; kind == DBK_SCOPE_QUERY && i < book->query_count; i++)
        if (dbk_slice_equal_text(name, book->queries[i].name))
            return true;
    bool is_view = kind == DBK_SCOPE_VIEW || kind == DBK_SCOPE_OPERATE;
    for (size_t i = 0; is_view && i < book->view_count; i++)
        if (dbk_slice_equal_text(name, book->views[i].name))
            return true;
    bool is_model = kind == DBK_SCOPE_MODEL || kind == DBK_SCOPE_OPERATE;
    for (size_t i = 0; is_model && i < book->model_count; i++)
        if (dbk_slice_equal_text(name, book->models[i].name))
            return true;
    return false;
}

void dbk_caller_denied(const struct dbk_caller *caller, const char *method, const char *path,
                       enum dbk_scope_kind kind, struct dbk_slice name)
{
    bool streams = kind == DBK_SCOPE_APPEND || kind == DBK_SCOPE_READ;
    struct dbk_slice text = streams ? dbk_stream_category(name) : name;
    bool known = is_of_book(caller->access->book, kind, text);
    note(caller->access, &(struct dbk_refusal){.reason = DBK_REFUSAL_DENIED,
                                               .key = caller->key->id,
                                               .method = method,
                                               .path = path,
                                               .kind = kind,
                                               .name = known ? text : (struct dbk_slice){0}});
}

uint64_t dbk_access_refused(const struct dbk_access *access, enum dbk_refusal_reason reason)
{
    return access->refusals == NULL ? 0 : dbk_refusals_count(access->refusals, reason);
}

void dbk_access_each_used(struct dbk_access *access,
                          void (*each)(void *context, const char *id, uint64_t requests,
                                       uint64_t throttled),
                          void *context)
{
    (void)pthread_rwlock_rdlock(&access->lock);
    for (size_t i = 0; i < access->count; i++)
        if (access->keys[i]->requests > 0)
            each(context, access->keys[i]->id, access->keys[i]->requests,
                 access->keys[i]->throttled);
    (void)pthread_rwlock_unlock(&access->lock);
}
