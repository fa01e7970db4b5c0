/* SPDX-License-Identifier: Apache-2.0 */
/* SELECTs of several: WITH, UNION ALL, UNION, EXCEPT, INTERSECT, and names in FROM. */
#include "view/select.h"

/* ---- WITH ---- */

/* The names that a WITH gives to the columns. */
static int set_labels(struct dbk_reading *reading, const struct dbk_json_node *names,
                      struct dbk_relation *relation, size_t place)
{
    if (names == NULL)
        return DBK_OK;
    if (names->count != relation->column_count)
        return dbk_read_obstacle(reading, place, "", "WITH names %zu columns of %zu",
                                 (size_t)names->count, relation->column_count);
    const char **labels =
        dbk_arena_alloc_zero(reading->tree->arena, names->count + 1, sizeof(*labels));
    if (labels == NULL)
        return dbk_read_no_memory(reading);
    const struct dbk_json_node *name = dbk_json_first(names);
    for (size_t i = 0; i < names->count; i++, name = dbk_json_sibling(name)) {
        labels[i] = dbk_arena_copy(reading->tree->arena, dbk_read_string(name)).data;
        if (labels[i] == NULL)
            return dbk_read_no_memory(reading);
    }
    relation->labels = labels;
    return DBK_OK;
}

/* What is named, for the names behind it and for the text written back. */
static int enter_with(struct dbk_reading *reading, struct dbk_slice name,
                      struct dbk_relation *relation)
{
    struct dbk_algebra *tree = reading->tree;
    struct dbk_with *with = dbk_arena_alloc_zero(tree->arena, 1, sizeof(*with));
    struct dbk_relation **grown =
        dbk_arena_alloc(tree->arena, (tree->with_count + 1) * sizeof(struct dbk_relation *));
    struct dbk_slice copy = dbk_arena_copy(tree->arena, name);
    if (with == NULL || grown == NULL || copy.data == NULL)
        return dbk_read_no_memory(reading);
    for (size_t i = 0; i < tree->with_count; i++)
        grown[i] = tree->withs[i];
    grown[tree->with_count++] = relation;
    tree->withs = grown;
    relation->with = true;
    *with = (struct dbk_with){.name = copy, .relation = relation, .next = reading->withs};
    reading->withs = with;
    return DBK_OK;
}

static int read_one(struct dbk_reading *reading, const struct dbk_json_node *item)
{
    const struct dbk_json_node *node = dbk_json_member(item, "CommonTableExpr");
    const struct dbk_json_node *query = node == NULL ? NULL : dbk_json_member(node, "ctequery");
    const struct dbk_json_node *select =
        query == NULL ? NULL : dbk_json_member(query, "SelectStmt");
    const struct dbk_scope *around = reading->around;
    size_t depth = reading->depth;
    struct dbk_relation *relation = NULL;
    if (select == NULL)
        return dbk_read_obstacle(reading, 0, "", "WITH of another kind");
    size_t place = dbk_read_place(node);
    if (!dbk_slice_equal_text(dbk_read_text(node, "ctematerialized"), "CTEMaterializeDefault"))
        return dbk_read_obstacle(reading, place, "leave it out", "MATERIALIZED in WITH");
    reading->around = NULL;
    reading->depth = 0;
    int rc = dbk_read_select(reading, select, &relation);
    reading->around = around;
    reading->depth = depth;
    if (rc == DBK_OK)
        rc = dbk_read_alike(reading, relation, place);
    if (rc == DBK_OK)
        rc = set_labels(reading, dbk_json_member(node, "aliascolnames"), relation, place);
    return rc < 0 ? rc : enter_with(reading, dbk_read_text(node, "ctename"), relation);
}

int dbk_read_with(struct dbk_reading *reading, const struct dbk_json_node *clause)
{
    const struct dbk_json_node *list = dbk_json_member(clause, "ctes");
    const struct dbk_json_node *item = list == NULL ? NULL : dbk_json_first(list);
    int rc = DBK_OK;
    if (dbk_read_is_true(clause, "recursive"))
        return dbk_read_obstacle(reading, dbk_read_clause_place(reading, "WITH"), "",
                                 "WITH RECURSIVE");
    for (size_t i = 0; rc == DBK_OK && item != NULL && i < list->count; i++) {
        rc = read_one(reading, item);
        item = dbk_json_sibling(item);
    }
    return rc;
}

int dbk_read_named(struct dbk_reading *reading, const struct dbk_json_node *node,
                   struct dbk_relation **relation_out)
{
    struct dbk_slice name = dbk_read_text(node, "relname");
    for (const struct dbk_with *with = reading->withs; with != NULL; with = with->next) {
        if (dbk_json_member(node, "schemaname") != NULL || with->name.size != name.size ||
            !dbk_sql_name_is(with->name, name))
            continue;
        *relation_out = with->relation;
        return DBK_OK;
    }
    return dbk_read_table(reading, node, relation_out);
}

/* ---- Several SELECTs ---- */

int dbk_read_alike(struct dbk_reading *reading, const struct dbk_relation *relation, size_t place)
{
    if (relation->kind != DBK_RELATION_UNION && relation->kind != DBK_RELATION_SET)
        return DBK_OK;
    for (size_t i = 0; i < relation->input_count; i++) {
        for (size_t j = 0; j < relation->column_count; j++) {
            if (dbk_relation_affinity(relation->inputs[i], j) !=
                dbk_relation_affinity(relation->inputs[0], j))
                return dbk_read_obstacle(
                    reading, place, "write CAST(… AS type) in each of them",
                    "column %zu has other types in the SELECTs that are put together", j + 1);
        }
        int rc = dbk_read_alike(reading, relation->inputs[i], place);
        if (rc < 0)
            return rc;
    }
    return DBK_OK;
}

static bool is_several(const struct dbk_json_node *node)
{
    struct dbk_slice op = dbk_read_text(node, "op");
    return op.size != 0 && !dbk_slice_equal_text(op, "SETOP_NONE");
}

/* The word of a SELECT of two; of UNION ALL, NULL. */
static const char *word_of(const struct dbk_json_node *node)
{
    struct dbk_slice op = dbk_read_text(node, "op");
    if (dbk_slice_equal_text(op, "SETOP_INTERSECT"))
        return "INTERSECT";
    if (dbk_slice_equal_text(op, "SETOP_EXCEPT"))
        return "EXCEPT";
    return dbk_read_is_true(node, "all") ? NULL : "UNION";
}

/* The branches of UNION ALL, to the left: those of a UNION ALL on the left are its own. */
static int make_pair(struct dbk_reading *reading, const char *word, struct dbk_relation *left,
                     struct dbk_relation *right, struct dbk_relation **made_out)
{
    bool longer = word == NULL && left->kind == DBK_RELATION_UNION && !left->with;
    size_t count = longer ? left->input_count : 1;
    struct dbk_relation *made = NULL;
    if (left->column_count != right->column_count)
        return dbk_read_obstacle(reading, 0, "", "SELECTs of %zu and %zu columns put together",
                                 left->column_count, right->column_count);
    if (count == DBK_ALGEBRA_BRANCHES_MAX)
        return dbk_read_obstacle(reading, dbk_read_clause_place(reading, "UNION"), "",
                                 "more than %d branches of UNION ALL", DBK_ALGEBRA_BRANCHES_MAX);
    int rc = dbk_read_make_relation(reading, word == NULL ? DBK_RELATION_UNION : DBK_RELATION_SET,
                                    left->column_count, count + 1, &made);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < count; i++)
        made->inputs[i] = longer ? left->inputs[i] : left;
    made->inputs[count] = right;
    made->labels = left->labels;
    made->set = word;
    *made_out = made;
    return dbk_read_enter(reading, made);
}

static int read_any(struct dbk_reading *reading, const struct dbk_json_node *node,
                    struct dbk_relation **relation_out)
{
    const struct dbk_json_node *left = dbk_json_member(node, "larg");
    const struct dbk_json_node *right = dbk_json_member(node, "rarg");
    struct dbk_relation *first = NULL;
    struct dbk_relation *second = NULL;
    if (!is_several(node))
        return dbk_read_plain(reading, node, relation_out);
    if (left == NULL || right == NULL)
        return dbk_read_obstacle(reading, 0, "", "a SELECT of two that has one");
    const char *word = word_of(node);
    if (word != NULL && dbk_read_is_true(node, "all"))
        return dbk_read_obstacle(reading, dbk_read_clause_place(reading, word), "", "%s ALL", word);
    /* SQLite puts them together from the left, PostgreSQL's INTERSECT goes before others. */
    if (is_several(right))
        return dbk_read_obstacle(reading, dbk_read_clause_place(reading, "INTERSECT"),
                                 "let INTERSECT stand first, or in a subquery in FROM",
                                 "INTERSECT behind another word");
    int rc = dbk_read_refuse(reading, node);
    if (rc == DBK_OK)
        rc = read_any(reading, left, &first);
    if (rc == DBK_OK)
        rc = read_any(reading, right, &second);
    if (rc == DBK_OK)
        rc = make_pair(reading, word, first, second, relation_out);
    if (rc < 0 || node != reading->top)
        return rc;
    struct dbk_expression **hidden = NULL;
    const struct dbk_scope scope = {.labels = first->labels, .output_count = first->column_count};
    return dbk_read_order(reading, node, &scope, &hidden);
}

int dbk_read_select(struct dbk_reading *reading, const struct dbk_json_node *node,
                    struct dbk_relation **relation_out)
{
    const struct dbk_json_node *with = dbk_json_member(node, "withClause");
    const struct dbk_with *withs = reading->withs;
    int rc = with == NULL ? DBK_OK : dbk_read_with(reading, with);
    if (rc == DBK_OK)
        rc = read_any(reading, node, relation_out);
    reading->withs = withs;
    return rc;
}
