/* SPDX-License-Identifier: Apache-2.0 */
/* ORDER BY and LIMIT of the whole SELECT: terms are outputs, or become hidden ones. */
#include "view/select.h"

/* A label, as SQLite looks names of ORDER BY up first. */
static bool find_label(const struct dbk_scope *scope, const struct dbk_json_node *item,
                       size_t *output_out)
{
    const struct dbk_json_node *column = dbk_json_member(item, "ColumnRef");
    const struct dbk_json_node *fields = column == NULL ? NULL : dbk_json_member(column, "fields");
    if (fields == NULL || fields->count != 1)
        return false;
    struct dbk_slice name = dbk_read_string(dbk_json_first(fields));
    for (size_t i = 0; i < scope->output_count; i++) {
        *output_out = i;
        if (scope->labels[i] != NULL && dbk_read_is_name(name, scope->labels[i]))
            return true;
    }
    return false;
}

/* The number of an output. */
static bool find_number(const struct dbk_scope *scope, const struct dbk_json_node *item,
                        size_t *output_out)
{
    const struct dbk_json_node *constant = dbk_json_member(item, "A_Const");
    const struct dbk_json_node *number =
        constant == NULL ? NULL : dbk_json_member(constant, "ival");
    const struct dbk_json_node *value = number == NULL ? NULL : dbk_json_member(number, "ival");
    if (value == NULL || value->kind != DBK_JSON_INTEGER || value->integer < 1 ||
        (uint64_t)value->integer > scope->output_count)
        return false;
    *output_out = (size_t)value->integer - 1;
    return true;
}

/* `e COLLATE name`: the name, and e in *item. */
static int take_collation(struct dbk_reading *reading, const struct dbk_json_node **item,
                          const char **collation_out)
{
    const struct dbk_json_node *clause = dbk_json_member(*item, "CollateClause");
    const struct dbk_json_node *names = clause == NULL ? NULL : dbk_json_member(clause, "collname");
    const struct dbk_json_node *argument = clause == NULL ? NULL : dbk_json_member(clause, "arg");
    if (clause == NULL)
        return DBK_OK;
    if (names == NULL || names->count != 1 || argument == NULL)
        return dbk_read_obstacle(reading, dbk_read_place(clause), "", "a COLLATE of another kind");
    *collation_out =
        dbk_arena_copy(reading->tree->arena, dbk_read_string(dbk_json_first(names))).data;
    *item = argument;
    return *collation_out == NULL ? dbk_read_no_memory(reading) : DBK_OK;
}

struct terms {
    const struct dbk_scope *scope;
    struct dbk_expression **hidden; /* behind the outputs */
    size_t hidden_count;
};

static int find_output(struct dbk_reading *reading, struct terms *terms,
                       const struct dbk_json_node *item, size_t *output_out)
{
    const struct dbk_scope *scope = terms->scope;
    struct dbk_expression *made = NULL;
    if (find_number(scope, item, output_out) || find_label(scope, item, output_out))
        return DBK_OK;
    if (scope->block == NULL)
        return dbk_read_obstacle(reading, 0, "order by a column that it gives",
                                 "ORDER BY of what several SELECTs do not give");
    int rc = dbk_read_expression(reading, scope, item, &made);
    if (rc < 0)
        return rc;
    for (*output_out = 0; *output_out < scope->output_count; (*output_out)++) {
        if (dbk_expression_equal(scope->outputs[*output_out], made))
            return DBK_OK;
    }
    *output_out = scope->output_count + terms->hidden_count;
    terms->hidden[terms->hidden_count++] = made;
    return rc;
}

int dbk_read_sort(struct dbk_reading *reading, const struct dbk_json_node **item,
                  struct dbk_order *order)
{
    const struct dbk_json_node *sort = dbk_json_member(*item, "SortBy");
    *item = sort == NULL ? NULL : dbk_json_member(sort, "node");
    if (*item == NULL || dbk_json_member(sort, "useOp") != NULL)
        return dbk_read_obstacle(reading, 0, "", "ORDER BY of another kind");
    struct dbk_slice nulls = dbk_read_text(sort, "sortby_nulls");
    order->down = dbk_slice_equal_text(dbk_read_text(sort, "sortby_dir"), "SORTBY_DESC");
    if (dbk_slice_equal_text(nulls, "SORTBY_NULLS_FIRST"))
        order->nulls = " NULLS FIRST";
    else if (dbk_slice_equal_text(nulls, "SORTBY_NULLS_LAST"))
        order->nulls = " NULLS LAST";
    return take_collation(reading, item, &order->collation);
}

static int read_term(struct dbk_reading *reading, struct terms *terms,
                     const struct dbk_json_node *item, struct dbk_order *order)
{
    int rc = dbk_read_sort(reading, &item, order);
    return rc < 0 ? rc : find_output(reading, terms, item, &order->output);
}

/* A number as it stands in the text. */
static int read_bound(struct dbk_reading *reading, const struct dbk_json_node *node,
                      const char *word, const char **bound_out)
{
    const struct dbk_scope nothing = {0};
    struct dbk_expression *made = NULL;
    if (node == NULL)
        return DBK_OK;
    if (dbk_json_member(node, "A_Const") == NULL)
        return dbk_read_obstacle(reading, dbk_read_clause_place(reading, word), "write a number",
                                 "%s of what is no number", word);
    int rc = dbk_read_expression(reading, &nothing, node, &made);
    if (rc == DBK_OK)
        *bound_out = made->text;
    return rc;
}

int dbk_read_order(struct dbk_reading *reading, const struct dbk_json_node *node,
                   const struct dbk_scope *scope, struct dbk_expression ***hidden_out)
{
    struct dbk_algebra *tree = reading->tree;
    const struct dbk_json_node *list = dbk_json_member(node, "sortClause");
    size_t count = list == NULL ? 0 : list->count;
    struct terms terms = {.scope = scope};
    const struct dbk_json_node *item = list == NULL ? NULL : dbk_json_first(list);
    tree->order = dbk_arena_alloc_zero(tree->arena, count + 1, sizeof(*tree->order));
    terms.hidden = dbk_arena_alloc_zero(tree->arena, count + 1, sizeof(*terms.hidden));
    if (tree->order == NULL || terms.hidden == NULL)
        return dbk_read_no_memory(reading);
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < count; i++, item = dbk_json_sibling(item))
        rc = read_term(reading, &terms, item, &tree->order[i]);
    if (rc == DBK_OK)
        rc = read_bound(reading, dbk_json_member(node, "limitCount"), "LIMIT", &tree->limit);
    if (rc == DBK_OK)
        rc = read_bound(reading, dbk_json_member(node, "limitOffset"), "OFFSET", &tree->offset);
    tree->order_count = count;
    tree->hidden_count = terms.hidden_count;
    *hidden_out = terms.hidden;
    return rc;
}

void dbk_emit_direction(struct dbk_buf *out, const struct dbk_order *order)
{
    if (order->collation != NULL) {
        dbk_buf_append_text(out, " COLLATE ");
        dbk_emit_name(out, order->collation);
    }
    dbk_buf_append_text(out, order->down ? " DESC" : "");
    dbk_buf_append_text(out, order->nulls == NULL ? "" : order->nulls);
}

void dbk_emit_bounds(struct dbk_buf *out, const struct dbk_algebra *tree)
{
    if (tree->limit == NULL)
        return;
    dbk_buf_append_format(out, " LIMIT %s", tree->limit);
    if (tree->offset != NULL)
        dbk_buf_append_format(out, " OFFSET %s", tree->offset);
}
