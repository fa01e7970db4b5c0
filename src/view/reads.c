/* SPDX-License-Identifier: Apache-2.0 */
#include "view/reads.h"

#include <pg_query.h>

#include "view/read.h"

#define TREE_SIZE_MAX ((size_t)32 << 20)

struct walk {
    struct dbk_arena *arena;
    const char **names;
    size_t count;
};

static int add(struct walk *walk, struct dbk_slice name)
{
    for (size_t i = 0; i < walk->count; i++) {
        if (dbk_slice_equal_text(name, walk->names[i]))
            return DBK_OK;
    }
    const char **grown = dbk_arena_alloc_zero(walk->arena, walk->count + 1, sizeof(*grown));
    const char *copy = dbk_arena_copy(walk->arena, name).data;
    if (grown == NULL || copy == NULL)
        return DBK_ENOMEM;
    for (size_t i = 0; i < walk->count; i++)
        grown[i] = walk->names[i];
    grown[walk->count++] = copy;
    walk->names = grown;
    return DBK_OK;
}

/* Nodes lie one behind the other; `next` is how many there are to a node's end. */
static bool is_with(const struct dbk_json_node *root, struct dbk_slice name)
{
    bool found = false;
    for (uint32_t i = 0; i < root->next && !found; i++)
        found = dbk_slice_equal_text(root[i].key, "ctename") && root[i].kind == DBK_JSON_STRING &&
                dbk_slice_equal(root[i].text, name);
    return found;
}

static int find(struct walk *walk, const struct dbk_json_node *root)
{
    int rc = DBK_OK;
    for (uint32_t i = 0; rc == DBK_OK && i < root->next; i++) {
        if (dbk_slice_equal_text(root[i].key, "relname") && root[i].kind == DBK_JSON_STRING &&
            !is_with(root, root[i].text))
            rc = add(walk, root[i].text);
    }
    return rc;
}

static bool is_bounded(struct dbk_slice select)
{
    size_t tokens = 0;
    for (size_t at = 0; select.size <= DBK_ALGEBRA_SIZE_MAX; tokens++) {
        struct dbk_sql_token token = dbk_sql_next(select, at);
        if (token.kind == DBK_SQL_END || token.kind == DBK_SQL_BROKEN)
            return tokens <= DBK_ALGEBRA_TOKENS_MAX;
        at += token.text.size;
    }
    return false;
}

int dbk_view_reads(struct dbk_slice select, struct dbk_arena *arena, const char ***names_out,
                   size_t *count_out)
{
    struct walk walk = {.arena = arena};
    const struct dbk_json_node *root = NULL;
    *count_out = 0;
    if (!is_bounded(select))
        return DBK_OK;
    char *text = dbk_copy_text(select);
    struct dbk_json *json = dbk_json_create(TREE_SIZE_MAX);
    int rc = text == NULL || json == NULL ? DBK_ENOMEM : DBK_OK;
    if (rc == DBK_OK) {
        PgQueryParseResult result = pg_query_parse(text);
        if (result.error == NULL &&
            dbk_json_parse(json, dbk_slice_of(result.parse_tree), &root, NULL) == DBK_OK)
            rc = find(&walk, root);
        pg_query_free_parse_result(result);
    }
    dbk_json_free(json);
    dbk_free(text);
    *names_out = walk.names;
    *count_out = walk.count;
    return rc;
}
