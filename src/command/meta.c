/* SPDX-License-Identifier: Apache-2.0 */
#include "command/meta.h"

#include "json/json.h"

#define META_SIZE_MAX ((size_t)64 << 20)
#define COMMAND "command"
#define HASH "commandhash"

static void write_own(const struct dbk_command_meta *meta, struct dbk_buf *out, bool *first)
{
    if (meta->command.size == 0)
        return;
    dbk_json_write_key(out, first, COMMAND);
    dbk_json_write_string(out, meta->command);
    dbk_json_write_key(out, first, HASH);
    dbk_json_write_string(out, meta->hash);
}

static bool is_own(const struct dbk_command_meta *meta, struct dbk_slice key)
{
    return meta->command.size > 0 &&
           (dbk_slice_equal_text(key, COMMAND) || dbk_slice_equal_text(key, HASH));
}

/* Members of an object but those that stand already; `before` may be NULL. */
static void write_members(const struct dbk_command_meta *meta, const struct dbk_json_node *object,
                          const struct dbk_json_node *before, struct dbk_buf *out, bool *first)
{
    const struct dbk_json_node *member = dbk_json_first(object);
    for (uint32_t i = 0; i < object->count; i++, member = dbk_json_sibling(member)) {
        if (is_own(meta, member->key) ||
            (before != NULL && dbk_json_member_slice(before, member->key) != NULL))
            continue;
        if (!*first)
            dbk_buf_append_char(out, ',');
        *first = false;
        dbk_json_write_string(out, member->key);
        dbk_buf_append_char(out, ':');
        dbk_json_write_node(out, member);
    }
}

/* NULL nodes for an empty text. */
static int parse(struct dbk_slice text, const char *what, struct dbk_json **json_out,
                 const struct dbk_json_node **root_out, struct dbk_error *err)
{
    struct dbk_error failure = {0};
    if (text.size == 0)
        return DBK_OK;
    *json_out = dbk_json_create(META_SIZE_MAX);
    if (*json_out == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory deciding");
    int rc = dbk_json_parse(*json_out, text, root_out, &failure);
    if (rc == DBK_OK && (*root_out)->kind != DBK_JSON_OBJECT)
        rc = dbk_error_set(&failure, DBK_EINVAL, "it is no JSON object");
    return rc < 0 ? dbk_error_set(err, rc, "%s meta: %s", what, failure.message) : DBK_OK;
}

int dbk_command_meta_write(const struct dbk_command_meta *meta, struct dbk_buf *out,
                           struct dbk_error *err)
{
    struct dbk_json *parsers[2] = {NULL, NULL};
    const struct dbk_json_node *request = NULL;
    const struct dbk_json_node *event = NULL;
    bool first = true;
    dbk_buf_reset(out);
    int rc = parse(meta->request, "the command's", &parsers[0], &request, err);
    if (rc == DBK_OK)
        rc = parse(meta->event, "the event's", &parsers[1], &event, err);
    if (rc < 0)
        goto out;
    dbk_buf_append_char(out, '{');
    write_own(meta, out, &first);
    if (request != NULL)
        write_members(meta, request, NULL, out, &first);
    if (event != NULL)
        write_members(meta, event, request, out, &first);
    dbk_buf_append_char(out, '}');
    rc = out->rc;
    if (rc < 0)
        rc = dbk_error_set(err, rc, "the events' meta: %s", dbk_code_text(rc));
    else if (first)
        dbk_buf_reset(out);
out:
    dbk_json_free(parsers[0]);
    dbk_json_free(parsers[1]);
    return rc;
}

bool dbk_command_meta_has_hash(struct dbk_slice meta, struct dbk_slice hash)
{
    struct dbk_json *json = NULL;
    const struct dbk_json_node *root = NULL;
    bool same = false;
    if (parse(meta, "the event's", &json, &root, NULL) == DBK_OK && root != NULL) {
        const struct dbk_json_node *member = dbk_json_member(root, HASH);
        same = member != NULL && member->kind == DBK_JSON_STRING &&
               dbk_slice_equal(member->text, hash);
    }
    dbk_json_free(json);
    return same;
}
