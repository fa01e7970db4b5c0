/* SPDX-License-Identifier: Apache-2.0 */
/*
 * unseal -- the SQL function unseal(text).
 *
 * A model with `personal: sealed` holds "sealed:<position>:<path>" where a personal field would be:
 * the function reads the event at the position as every reader does, and gives the member at the
 * path, as a handler would have bound it ("_data": all of the data). What is no such text is given
 * back as it is; an event that is left out, or a member that is missing, is NULL.
 *
 * Threads: that of its session.
 */
#include "target/sqlite.h"

#include <stdlib.h>

#include "json/json.h"

#define PREFIX "sealed:"
#define DATA_SIZE_MAX ((size_t)64 << 20)

struct unsealing {
    const struct dbk_sqlite *session;
    struct dbk_json *json; /* made with the first use */
};

static void end(void *context)
{
    struct unsealing *unsealing = context;
    dbk_json_free(unsealing->json);
    dbk_free(unsealing);
}

/* False: the text is no reference. */
static bool parse(struct dbk_slice text, uint64_t *position_out, struct dbk_slice *path_out)
{
    const char *end = NULL;
    size_t at = strlen(PREFIX);
    uint64_t position = 0;
    if (text.size <= at || memcmp(text.data, PREFIX, at) != 0)
        return false;
    for (; at < text.size && text.data[at] >= '0' && text.data[at] <= '9'; at++) {
        if (position > UINT64_MAX / 10 - 1)
            return false;
        position = position * 10 + (uint64_t)(text.data[at] - '0');
    }
    end = text.data + at;
    if (position == 0 || at == text.size || *end != ':')
        return false;
    *position_out = position;
    *path_out = dbk_slice(end + 1, text.size - at - 1);
    return true;
}

static const struct dbk_json_node *find(const struct dbk_json_node *node, struct dbk_slice path)
{
    while (node != NULL && path.size > 0) {
        const char *dot = memchr(path.data, '.', path.size);
        size_t size = dot == NULL ? path.size : (size_t)(dot - path.data);
        node = dbk_json_member_slice(node, dbk_slice(path.data, size));
        path = dot == NULL ? (struct dbk_slice){0}
                           : dbk_slice(path.data + size + 1, path.size - size - 1);
    }
    return node;
}

static void answer_text(sqlite3_context *call, struct dbk_slice text)
{
    sqlite3_result_text64(call, text.data == NULL ? "" : text.data, text.size, SQLITE_TRANSIENT,
                          SQLITE_UTF8);
}

static void answer(sqlite3_context *call, const struct dbk_json_node *node)
{
    if (node == NULL || node->kind == DBK_JSON_NULL)
        return;
    switch (node->kind) {
    case DBK_JSON_NULL:
        break;
    case DBK_JSON_FALSE:
    case DBK_JSON_TRUE:
        sqlite3_result_int(call, node->kind == DBK_JSON_TRUE);
        break;
    case DBK_JSON_INTEGER:
        sqlite3_result_int64(call, node->integer);
        break;
    case DBK_JSON_DECIMAL:
        sqlite3_result_double(call, dbk_decimal_to_double(node->decimal));
        break;
    case DBK_JSON_STRING:
        answer_text(call, node->text);
        break;
    case DBK_JSON_ARRAY:
    case DBK_JSON_OBJECT:
        answer_text(call, node->raw);
        break;
    }
}

static void answer_event(sqlite3_context *call, struct unsealing *unsealing,
                         const struct dbk_event *event, struct dbk_slice path)
{
    const struct dbk_json_node *root = NULL;
    struct dbk_error failure = {0};
    if (dbk_slice_equal_text(path, "_data")) {
        answer_text(call, event->data);
        return;
    }
    if (unsealing->json == NULL)
        unsealing->json = dbk_json_create(DATA_SIZE_MAX);
    if (unsealing->json == NULL) {
        sqlite3_result_error_nomem(call);
        return;
    }
    if (dbk_json_parse(unsealing->json, event->data, &root, &failure) < 0)
        sqlite3_result_error(call, failure.message, -1);
    else
        answer(call, find(root, path));
}

static void unseal(sqlite3_context *call, int count, sqlite3_value **values)
{
    struct unsealing *unsealing = sqlite3_user_data(call);
    struct dbk_cursor *cursor = NULL;
    struct dbk_event event;
    struct dbk_error failure = {0};
    struct dbk_slice path;
    uint64_t position = 0;
    (void)count;
    const void *bytes = sqlite3_value_type(values[0]) == SQLITE_TEXT
                            ? (const void *)sqlite3_value_text(values[0])
                            : NULL;
    struct dbk_slice text =
        dbk_slice(bytes, bytes == NULL ? 0 : (size_t)sqlite3_value_bytes(values[0]));
    if (unsealing->session->store == NULL || !parse(text, &position, &path)) {
        sqlite3_result_value(call, values[0]);
        return;
    }
    int rc = dbk_cursor_open(
        unsealing->session->store,
        &(struct dbk_filter){.position_min = position, .position_max = position, .hidden = true},
        &cursor, &failure);
    if (rc == DBK_OK)
        rc = dbk_cursor_next(cursor, &event, &failure);
    if (rc == 1)
        answer_event(call, unsealing, &event, path);
    else if (rc < 0)
        sqlite3_result_error(call, failure.message, -1);
    dbk_cursor_free(cursor);
}

int dbk_target_attach_unseal(struct dbk_connection *connection, struct dbk_error *err)
{
    struct dbk_sqlite *session = dbk_sqlite_of(connection);
    struct unsealing *unsealing = dbk_alloc_zero(1, sizeof(*unsealing));
    if (unsealing == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory opening a session");
    unsealing->session = session;
    /* Also when it fails the context is ended. */
    int result =
        sqlite3_create_function_v2(session->sqlite, "unseal", 1, SQLITE_UTF8 | SQLITE_DIRECTONLY,
                                   unsealing, unseal, NULL, NULL, end);
    return result == SQLITE_OK
               ? DBK_OK
               : dbk_error_set(err, DBK_ENOMEM, "%s", sqlite3_errmsg(session->sqlite));
}
