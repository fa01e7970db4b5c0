/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/service_log.h"

#include <stdio.h>

#include "cli/link.h"
#include "json/json.h"

#define LIST_SIZE_MAX ((size_t)64 << 20)
#define KEY_FILE_SIZE_MAX 256

static int no_memory(struct dbk_error *err)
{
    return dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM));
}

bool dbk_service_log_is_wanted(const struct dbk_arguments *arguments, const struct dbk_book *book)
{
    for (size_t i = 0; i < book->service_count; i++) {
        if (book->service_definitions[i].key != NULL &&
            dbk_service_is_named(arguments, book->services[i].name))
            return true;
    }
    return false;
}

int dbk_service_log_read_key(const struct dbk_service_definition *service, struct dbk_buf *key,
                             struct dbk_error *err)
{
    struct dbk_slice id;
    struct dbk_slice secret;
    int rc = dbk_os_read_file(dbk_os_real(), service->key, KEY_FILE_SIZE_MAX, key, err);
    while (rc == DBK_OK && key->size > 0 && key->data[key->size - 1] <= ' ')
        key->size--;
    if (rc == DBK_OK && !dbk_key_text_parse(dbk_buf_slice(key), &id, &secret))
        rc = dbk_error_set(err, DBK_EBOOK,
                           "%s: the file of its `key`, %s, holds no API key: remove it, and "
                           "`daybook service apply` makes one",
                           service->own->file, service->key);
    return rc;
}

/* ---- Looking ---- */

struct looking {
    const struct dbk_arguments *arguments;
    const struct dbk_book *book;
    struct dbk_link *link;
    struct dbk_placement *placement;
    const struct dbk_json_node *keys; /* as the book lists them */
};

static struct dbk_slice text_of(const struct dbk_json_node *node, const char *name)
{
    const struct dbk_json_node *member = dbk_json_member(node, name);
    return member != NULL && member->kind == DBK_JSON_STRING ? member->text : (struct dbk_slice){0};
}

static const struct dbk_json_node *find_key(const struct looking *looking, struct dbk_slice id)
{
    const struct dbk_json_node *key = dbk_json_first(looking->keys);
    for (uint32_t i = 0; i < looking->keys->count; i++, key = dbk_json_sibling(key)) {
        if (dbk_slice_equal(text_of(key, "key"), id))
            return key;
    }
    return NULL;
}

static int add(const struct looking *looking, const struct dbk_service_definition *service,
               unsigned step, const char *what, const char *sql, struct dbk_error *err)
{
    const struct dbk_difference difference = {
        .service = service->own->name, .what = what, .sql = sql, .step = step};
    return what == NULL || sql == NULL ? no_memory(err)
                                       : dbk_placement_add(looking->placement, &difference, err);
}

/* Whether the key in the file opens the book, as only the book can say. */
static int is_good(const struct looking *looking, struct dbk_slice key, bool *good_out,
                   struct dbk_error *err)
{
    struct dbk_call call;
    struct dbk_answer answer;
    int rc = dbk_link_as(looking->link, key, err);
    dbk_answer_init(&answer);
    dbk_call_init(&call, "GET", "/");
    if (rc == DBK_OK)
        rc = dbk_link_send(looking->link, &call, NULL, NULL, &answer, err);
    *good_out = rc == DBK_OK;
    dbk_call_release(&call);
    dbk_answer_release(&answer);
    return rc == DBK_EKEY ? DBK_OK : rc;
}

/* 1: the file's key is the service's, and good. 0: it is gone; why_out says so. */
static int judge_key(const struct looking *looking, const struct dbk_service_definition *service,
                     struct dbk_slice key, const char **why_out, struct dbk_error *err)
{
    struct dbk_slice id = dbk_slice(key.data + 4, DBK_KEY_ID_SIZE);
    const struct dbk_json_node *known = find_key(looking, id);
    bool good = false;
    struct dbk_slice owner = known == NULL ? (struct dbk_slice){0} : text_of(known, "service");
    if (known != NULL && !dbk_slice_equal_text(owner, service->own->name))
        return dbk_error_set(err, DBK_EBOOK,
                             "%s: the file of its `key`, %s, holds the key %.*s, which is %s%.*s: "
                             "name another file",
                             service->own->file, service->key, DBK_SLICE_ARGS(id),
                             owner.size == 0 ? "an operator's" : "of the service ",
                             DBK_SLICE_ARGS(owner));
    int rc = is_good(looking, key, &good, err);
    if (rc < 0 || good)
        return rc < 0 ? rc : 1;
    struct dbk_slice state = known == NULL ? (struct dbk_slice){0} : text_of(known, "state");
    bool dead = dbk_slice_equal_text(state, "revoked") || dbk_slice_equal_text(state, "expired");
    *why_out = dbk_arena_format(looking->placement->arena, "the key in %s is %.*s", service->key,
                                dead ? (int)state.size : (int)sizeof("not good") - 1,
                                dead ? state.data : "not good");
    return *why_out == NULL ? no_memory(err) : 0;
}

static int look_at_file(const struct looking *looking, const struct dbk_service_definition *service,
                        struct dbk_error *err)
{
    struct dbk_arena *arena = looking->placement->arena;
    struct dbk_buf key;
    const char *why = NULL;
    struct dbk_error failure = {0};
    dbk_buf_init(&key, KEY_FILE_SIZE_MAX);
    int rc = dbk_service_log_read_key(service, &key, &failure);
    if (rc == DBK_ENOTFOUND) {
        rc = add(looking, service, DBK_SERVICE_LOG_KEY,
                 dbk_arena_format(arena, "there is no %s", service->key),
                 dbk_arena_format(arena, "-- %s is made: daybook access add --service %s",
                                  service->key, service->own->name),
                 err);
    } else if (rc < 0) {
        *err = failure;
    } else {
        rc = judge_key(looking, service, dbk_buf_slice(&key), &why, err);
        if (rc == 0)
            rc = add(looking, service, DBK_SERVICE_LOG_KEY, why,
                     dbk_arena_format(arena, "-- %s is replaced: daybook access add --service %s",
                                      service->key, service->own->name),
                     err);
    }
    explicit_bzero(key.data, key.size);
    dbk_buf_release(&key);
    return rc < 0 ? rc : DBK_OK;
}

static bool is_named(const struct dbk_service_definition *service, struct dbk_slice scope)
{
    for (size_t i = 0; i < service->scope_count; i++) {
        if (dbk_slice_equal(service->scopes[i].text, scope))
            return true;
    }
    return false;
}

/* What a key has beside what the file names is taken from it, and nothing else. */
static int look_at_scopes(const struct looking *looking,
                          const struct dbk_service_definition *service,
                          const struct dbk_json_node *key, struct dbk_error *err)
{
    const struct dbk_json_node *scopes = dbk_json_member(key, "scopes");
    struct dbk_slice id = text_of(key, "key");
    if (scopes == NULL || scopes->kind != DBK_JSON_ARRAY || id.size != DBK_KEY_ID_SIZE)
        return dbk_error_set(err, DBK_EIO, "the server's answer has a key without an id or scopes");
    struct dbk_buf kept;
    struct dbk_buf extra;
    int rc = DBK_OK;
    dbk_buf_init(&kept, LIST_SIZE_MAX);
    dbk_buf_init(&extra, LIST_SIZE_MAX);
    const struct dbk_json_node *scope = dbk_json_first(scopes);
    for (uint32_t i = 0; i < scopes->count; i++, scope = dbk_json_sibling(scope)) {
        struct dbk_buf *list = is_named(service, scope->text) ? &kept : &extra;
        dbk_buf_append_text(list, list->size > 0 ? "," : "");
        dbk_buf_append(list, scope->text);
    }
    if (kept.rc < 0 || extra.rc < 0)
        rc = no_memory(err);
    else if (extra.size > 0)
        rc = add(looking, service, DBK_SERVICE_LOG_SCOPES,
                 dbk_arena_format(looking->placement->arena, "its key %.*s has %.*s",
                                  DBK_SLICE_ARGS(id), DBK_SLICE_ARGS(dbk_buf_slice(&extra))),
                 dbk_arena_format(looking->placement->arena, "daybook access scope %.*s %s%.*s",
                                  DBK_SLICE_ARGS(id), kept.size > 0 ? "--scope " : "--none",
                                  DBK_SLICE_ARGS(dbk_buf_slice(&kept))),
                 err);
    dbk_buf_release(&kept);
    dbk_buf_release(&extra);
    return rc;
}

static bool is_live(const struct dbk_json_node *key)
{
    struct dbk_slice state = text_of(key, "state");
    return dbk_slice_equal_text(state, "good") || dbk_slice_equal_text(state, "rotating");
}

/* Keys first, while requests are still the operator's: a service's own follow. */
static int look_at_services(const struct looking *looking, struct dbk_error *err)
{
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < looking->book->service_count; i++) {
        const struct dbk_service_definition *service = &looking->book->service_definitions[i];
        if (service->key == NULL || !dbk_service_is_named(looking->arguments, service->own->name))
            continue;
        rc = look_at_file(looking, service, err);
        const struct dbk_json_node *key = dbk_json_first(looking->keys);
        for (uint32_t j = 0; rc == DBK_OK && j < looking->keys->count;
             j++, key = dbk_json_sibling(key)) {
            if (is_live(key) && dbk_slice_equal_text(text_of(key, "service"), service->own->name))
                rc = look_at_scopes(looking, service, key, err);
        }
    }
    return rc;
}

static int send(struct dbk_link *link, struct dbk_call *call, struct dbk_answer *answer,
                struct dbk_error *err)
{
    dbk_answer_init(answer);
    int rc = dbk_link_send(link, call, NULL, NULL, answer, err);
    dbk_call_release(call);
    return rc;
}

int dbk_service_log_look(const struct dbk_arguments *arguments, const struct dbk_book *book,
                         struct dbk_placement *placement, struct dbk_error *err)
{
    struct looking looking = {.arguments = arguments, .book = book, .placement = placement};
    const struct dbk_json_node *root = NULL;
    struct dbk_answer answer = {0};
    struct dbk_call call;
    struct dbk_json *json = dbk_json_create(LIST_SIZE_MAX);
    placement->count = 0;
    if (json == NULL)
        return no_memory(err);
    int rc = dbk_link_open(arguments, DBK_ENGINE_READ, &looking.link, err);
    if (rc == DBK_OK) {
        dbk_call_init(&call, "GET", "/access/keys");
        rc = send(looking.link, &call, &answer, err);
        if (rc == DBK_OK)
            rc = dbk_json_parse(json, dbk_buf_slice(&answer.body), &root, err);
        looking.keys = rc < 0 ? NULL : dbk_json_member(root, "keys");
        if (rc == DBK_OK && looking.keys == NULL)
            rc = dbk_error_set(err, DBK_EIO, "the server's answer has no keys");
        if (rc == DBK_OK)
            rc = look_at_services(&looking, err);
        dbk_answer_release(&answer);
    }
    dbk_json_free(json);
    dbk_link_free(looking.link);
    return rc;
}

/* ---- Applying ---- */

static void revoke(struct dbk_link *link, struct dbk_slice id)
{
    struct dbk_call call;
    struct dbk_answer answer;
    dbk_call_init(&call, "DELETE", "/access/keys/");
    dbk_call_path(&call, id);
    dbk_ignore(send(link, &call, &answer, NULL));
    dbk_answer_release(&answer);
}

/* One that could not be kept in its file is nobody's. */
static int make_key(struct dbk_link *link, const struct dbk_service_definition *service,
                    struct dbk_error *err)
{
    struct dbk_call call;
    struct dbk_answer answer;
    const struct dbk_json_node *root = NULL;
    bool first = true;
    struct dbk_json *json = dbk_json_create(LIST_SIZE_MAX);
    if (json == NULL)
        return no_memory(err);
    dbk_call_init(&call, "POST", "/access/keys");
    dbk_buf_append_char(&call.body, '{');
    dbk_json_write_key(&call.body, &first, "service");
    dbk_json_write_string(&call.body, dbk_slice_of(service->own->name));
    dbk_buf_append_char(&call.body, '}');
    int rc = send(link, &call, &answer, err);
    if (rc == DBK_OK)
        rc = dbk_json_parse(json, dbk_buf_slice(&answer.body), &root, err);
    if (rc == DBK_OK) {
        struct dbk_buf text;
        dbk_buf_init(&text, KEY_FILE_SIZE_MAX);
        dbk_buf_append_format(&text, "%.*s\n", DBK_SLICE_ARGS(text_of(root, "secret")));
        rc = text.rc < 0 ? no_memory(err)
                         : dbk_placement_write_secret(dbk_os_real(), service->key,
                                                      dbk_buf_slice(&text), true, err);
        if (rc < 0)
            revoke(link, text_of(root, "key"));
        explicit_bzero(text.data, text.size);
        dbk_buf_release(&text);
    }
    explicit_bzero(answer.body.data, answer.body.size);
    dbk_json_free(json);
    dbk_answer_release(&answer);
    return rc;
}

/* As the statement says it. */
static int set_scopes(struct dbk_link *link, const char *statement, struct dbk_error *err)
{
    static const char begin[] = "daybook access scope ";
    struct dbk_call call;
    struct dbk_answer answer;
    const char *id = statement + sizeof(begin) - 1;
    const char *scopes = strstr(id, " --scope ");
    dbk_call_init(&call, "POST", "/access/keys/");
    dbk_call_path(&call, dbk_slice(id, DBK_KEY_ID_SIZE));
    dbk_buf_append_text(&call.path, "/scopes");
    dbk_buf_append_text(&call.body, "{\"scopes\":[");
    for (const char *at = scopes == NULL ? "" : scopes + 9; *at != '\0';) {
        size_t size = strcspn(at, ",");
        dbk_json_write_string(&call.body, dbk_slice(at, size));
        at += size;
        if (*at == ',')
            dbk_buf_append_char(&call.body, *at++);
    }
    dbk_buf_append_text(&call.body, "]}");
    int rc = send(link, &call, &answer, err);
    dbk_answer_release(&answer);
    return rc;
}

int dbk_service_log_apply(const struct dbk_arguments *arguments, const struct dbk_book *book,
                          const struct dbk_placement *shown, struct dbk_error *err)
{
    struct dbk_link *link = NULL;
    struct dbk_placement now = {.arena = shown->arena};
    int rc = dbk_service_log_look(arguments, book, &now, err);
    if (rc == DBK_OK && !dbk_placement_is_same(&now, shown))
        rc = dbk_error_set(err, DBK_EBUSY, "the API keys were changed meanwhile: look again");
    if (rc == DBK_OK)
        rc = dbk_link_open(arguments, DBK_ENGINE_WRITE, &link, err);
    for (size_t i = 0; rc == DBK_OK && i < shown->count; i++) {
        const struct dbk_difference *difference = &shown->items[i];
        const struct dbk_capture_service *own =
            dbk_book_service(book, dbk_slice_of(difference->service));
        rc = difference->step == DBK_SERVICE_LOG_KEY
                 ? make_key(link, &book->service_definitions[own - book->services], err)
                 : set_scopes(link, difference->sql, err);
    }
    dbk_link_free(link);
    return rc;
}
