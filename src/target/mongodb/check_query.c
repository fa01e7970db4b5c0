/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a query may ask. In an expression a text that begins with a dollar names a field, so a
 * parameter stands there as {"$literal": ":name"}: what somebody gives for it is always a value.
 */
#include "target/mongodb/check.h"

#include <string.h>

enum where { VALUE, EXPRESSION };

static int check_where(struct dbk_mongodb_walk *walk, const struct dbk_json_node *node,
                       enum where where);

static int check_member(struct dbk_mongodb_walk *walk, const struct dbk_json_node *member,
                        enum where where)
{
    static const char *const values[] = {"$literal", "$match", "$limit", "$skip", NULL};
    if (dbk_slice_equal_text(member->key, "$expr"))
        where = EXPRESSION;
    else if (dbk_mongodb_is_key(member, values))
        where = VALUE;
    return check_where(walk, member, where);
}

static int check_where(struct dbk_mongodb_walk *walk, const struct dbk_json_node *node,
                       enum where where)
{
    int rc = DBK_OK;
    if (where == EXPRESSION && dbk_mongodb_is_parameter(node))
        return dbk_mongodb_fault_at(walk, node, DBK_EDENIED,
                                    "in an expression a parameter is written {\"$literal\": "
                                    "\":name\"}: a text that begins with $ would be a field");
    if (node->kind != DBK_JSON_OBJECT && node->kind != DBK_JSON_ARRAY)
        return DBK_OK;
    const struct dbk_json_node *item = dbk_json_first(node);
    for (uint32_t i = 0; rc == DBK_OK && i < node->count; i++, item = dbk_json_sibling(item))
        rc = node->kind == DBK_JSON_OBJECT ? check_member(walk, item, where)
                                           : check_where(walk, item, where);
    return rc;
}

/* ---- Collections beside the first ---- */

static bool is_other(const struct dbk_json_node *stage, const struct dbk_json_node *member)
{
    static const char *const joins[] = {"$lookup", "$graphLookup", NULL};
    static const char *const unions[] = {"$unionWith", NULL};
    if (dbk_mongodb_is_key(stage, joins))
        return dbk_slice_equal_text(member->key, "from");
    return dbk_mongodb_is_key(stage, unions) && dbk_slice_equal_text(member->key, "coll");
}

static int check_other(struct dbk_mongodb_walk *walk, const struct dbk_json_node *node)
{
    struct dbk_slice model = {0};
    struct dbk_slice name = {0};
    if (node->kind == DBK_JSON_STRING && dbk_mongodb_collection(node->text, &model, &name))
        return DBK_OK;
    return dbk_mongodb_fault_at(walk, node, DBK_EDENIED,
                                "a query's collection is written {model}Name");
}

/* Any object's members, as stages may stand in stages. */
static int check_collections(struct dbk_mongodb_walk *walk, const struct dbk_json_node *node)
{
    int rc = DBK_OK;
    if (node->kind != DBK_JSON_OBJECT && node->kind != DBK_JSON_ARRAY)
        return DBK_OK;
    const struct dbk_json_node *item = dbk_json_first(node);
    for (uint32_t i = 0; rc == DBK_OK && i < node->count; i++, item = dbk_json_sibling(item)) {
        bool named = node->kind == DBK_JSON_OBJECT;
        if (named && dbk_slice_equal_text(item->key, "$unionWith") && item->kind != DBK_JSON_OBJECT)
            rc = check_other(walk, item);
        const struct dbk_json_node *inner =
            named && item->kind == DBK_JSON_OBJECT ? dbk_json_first(item) : NULL;
        for (uint32_t j = 0; rc == DBK_OK && inner != NULL && j < item->count;
             j++, inner = dbk_json_sibling(inner)) {
            if (is_other(item, inner))
                rc = check_other(walk, inner);
        }
        if (rc == DBK_OK)
            rc = check_collections(walk, item);
    }
    return rc;
}

/* ---- Stages ---- */

static int check_stage(struct dbk_mongodb_walk *walk, const struct dbk_json_node *stage)
{
    static const char *const known[] = {
        "$match",       "$project", "$group",           "$sort",      "$limit",  "$skip",
        "$unwind",      "$set",     "$addFields",       "$unset",     "$count",  "$replaceRoot",
        "$replaceWith", "$lookup",  "$graphLookup",     "$unionWith", "$bucket", "$bucketAuto",
        "$facet",       "$sample",  "$sortByCount",     "$geoNear",   "$redact", "$densify",
        "$fill",        "$search",  "$setWindowFields", NULL};
    if (stage->kind != DBK_JSON_OBJECT || stage->count != 1)
        return dbk_mongodb_fault_at(walk, stage, DBK_EINVAL,
                                    "a stage is an object with one member");
    if (!dbk_mongodb_is_key(dbk_json_first(stage), known))
        return dbk_mongodb_fault_key(walk, dbk_json_first(stage), DBK_EDENIED,
                                     "no stage of a query, which only reads");
    return DBK_OK;
}

/* Also those in $facet, $lookup and $unionWith: $out and $merge are refused wherever they stand. */
static int check_writes(struct dbk_mongodb_walk *walk, const struct dbk_json_node *node)
{
    static const char *const writes[] = {"$out", "$merge", NULL};
    int rc = DBK_OK;
    if (node->kind != DBK_JSON_OBJECT && node->kind != DBK_JSON_ARRAY)
        return DBK_OK;
    const struct dbk_json_node *item = dbk_json_first(node);
    for (uint32_t i = 0; rc == DBK_OK && i < node->count; i++, item = dbk_json_sibling(item)) {
        if (node->kind == DBK_JSON_OBJECT && dbk_mongodb_is_key(item, writes))
            return dbk_mongodb_fault_key(walk, item, DBK_EDENIED, "a query only reads");
        rc = check_writes(walk, item);
    }
    return rc;
}

static int check_pipeline(struct dbk_mongodb_walk *walk, const struct dbk_json_node *root)
{
    const struct dbk_json_node *pipeline = dbk_json_member(root, "pipeline");
    int rc = DBK_OK;
    if (pipeline == NULL || pipeline->kind != DBK_JSON_ARRAY)
        return dbk_error_set(walk->err, DBK_EINVAL, "an aggregate needs \"pipeline\", a list");
    const struct dbk_json_node *stage = dbk_json_first(pipeline);
    for (uint32_t i = 0; rc == DBK_OK && i < pipeline->count; i++, stage = dbk_json_sibling(stage))
        rc = check_stage(walk, stage);
    return rc == DBK_OK ? check_where(walk, pipeline, EXPRESSION) : rc;
}

static int check_find(struct dbk_mongodb_walk *walk, const struct dbk_json_node *root)
{
    const struct dbk_json_node *projection = dbk_json_member(root, "projection");
    const struct dbk_json_node *filter = dbk_json_member(root, "filter");
    int rc = projection == NULL ? DBK_OK : check_where(walk, projection, EXPRESSION);
    return rc == DBK_OK && filter != NULL ? check_where(walk, filter, VALUE) : rc;
}

int dbk_mongodb_check_query(struct dbk_mongodb_walk *walk, const struct dbk_json_node *root)
{
    static const char *const finds[] = {"find", "filter", "projection", "sort",        "limit",
                                        "skip", "hint",   "collation",  "singleBatch", NULL};
    static const char *const aggregates[] = {"aggregate", "pipeline",     "hint",
                                             "collation", "allowDiskUse", NULL};
    const struct dbk_json_node *item = dbk_json_first(root);
    bool find = dbk_slice_equal_text(item->key, "find");
    if (!find && !dbk_slice_equal_text(item->key, "aggregate"))
        return dbk_mongodb_fault_key(walk, item, DBK_EDENIED,
                                     "a query is a find or an aggregate command");
    for (uint32_t i = 0; i < root->count; i++, item = dbk_json_sibling(item)) {
        if (!dbk_mongodb_is_key(item, find ? finds : aggregates))
            return dbk_mongodb_fault_key(walk, item, DBK_EDENIED, "no member of this command here");
    }
    int rc = check_writes(walk, root);
    if (rc == DBK_OK)
        rc = check_collections(walk, root);
    if (rc == DBK_OK)
        rc = find ? check_find(walk, root) : check_pipeline(walk, root);
    return rc;
}
