/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/words.h"

#include <string.h>

static bool stands_as_json(struct dbk_json *json, struct dbk_slice value)
{
    const struct dbk_json_node *nodes = NULL;
    if (value.size == 0 || dbk_json_parse(json, value, &nodes, NULL) < 0)
        return false;
    return nodes[0].kind != DBK_JSON_ARRAY && nodes[0].kind != DBK_JSON_OBJECT;
}

int dbk_words_parse(const char *const *words, size_t count, struct dbk_buf *out,
                    struct dbk_error *err)
{
    struct dbk_json *json = dbk_json_create(1 << 20);
    if (json == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM));
    int rc = DBK_OK;
    dbk_buf_append_char(out, '{');
    for (size_t i = 0; rc == DBK_OK && i < count; i++) {
        size_t size = strcspn(words[i], "=");
        if (words[i][size] == '\0' || size == 0)
            rc = dbk_error_set(err, DBK_EINVAL, "\"%s\" is not NAME=VALUE", words[i]);
        for (size_t j = 0; rc == DBK_OK && j < i; j++)
            if (strncmp(words[i], words[j], size + 1) == 0)
                rc = dbk_error_set(err, DBK_EINVAL, "%.*s is given twice", (int)size, words[i]);
        if (rc < 0)
            break;
        struct dbk_slice value = dbk_slice_of(words[i] + size + 1);
        if (i > 0)
            dbk_buf_append_char(out, ',');
        dbk_json_write_string(out, dbk_slice(words[i], size));
        dbk_buf_append_char(out, ':');
        if (stands_as_json(json, value))
            dbk_buf_append(out, value);
        else
            dbk_json_write_string(out, value);
    }
    dbk_buf_append_char(out, '}');
    dbk_json_free(json);
    return rc;
}

void dbk_words_write(struct dbk_buf *out, const struct dbk_json_node *value)
{
    if (value->kind != DBK_JSON_OBJECT) {
        dbk_json_write_node(out, value);
        return;
    }
    const struct dbk_json_node *member = dbk_json_first(value);
    for (uint32_t i = 0; i < value->count; i++) {
        if (i > 0)
            dbk_buf_append_char(out, ' ');
        dbk_buf_append(out, member->key);
        dbk_buf_append_char(out, '=');
        if (member->kind == DBK_JSON_STRING)
            dbk_buf_append(out, member->text);
        else
            dbk_json_write_node(out, member);
        if (i + 1 < value->count)
            member = dbk_json_sibling(member);
    }
}
