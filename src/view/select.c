/* SPDX-License-Identifier: Apache-2.0 */
/* SELECTs of libpg_query's parse tree into relations of algebra.h. */
#include "view/select.h"

#include <strings.h>

int dbk_read_make_relation(struct dbk_reading *reading, enum dbk_relation_kind kind,
                           size_t column_count, size_t input_count, struct dbk_relation **made_out)
{
    struct dbk_arena *arena = reading->tree->arena;
    struct dbk_relation *made = dbk_arena_alloc_zero(arena, 1, sizeof(*made));
    if (made == NULL)
        return dbk_read_no_memory(reading);
    made->kind = kind;
    made->typed = dbk_read_is_server(reading);
    made->depth = reading->depth;
    made->column_count = column_count;
    made->input_count = input_count;
    made->columns = dbk_arena_alloc_zero(arena, column_count + 1, sizeof(*made->columns));
    made->labels = dbk_arena_alloc_zero(arena, column_count + 1, sizeof(*made->labels));
    made->outputs = dbk_arena_alloc_zero(arena, column_count + 1, sizeof(struct dbk_expression *));
    made->inputs = dbk_arena_alloc_zero(arena, input_count + 1, sizeof(struct dbk_relation *));
    made->aliases = dbk_arena_alloc_zero(arena, input_count + 1, sizeof(*made->aliases));
    made->joins = dbk_arena_alloc_zero(arena, input_count + 1, sizeof(*made->joins));
    made->merged = dbk_arena_alloc_zero(arena, input_count + 1, sizeof(*made->merged));
    if (made->columns == NULL || made->labels == NULL || made->outputs == NULL ||
        made->inputs == NULL || made->aliases == NULL || made->joins == NULL ||
        made->merged == NULL)
        return dbk_read_no_memory(reading);
    for (size_t i = 0; kind != DBK_RELATION_TABLE && i < column_count; i++) {
        made->columns[i] = dbk_arena_format(arena, "c%zu", i);
        if (made->columns[i] == NULL)
            return dbk_read_no_memory(reading);
    }
    *made_out = made;
    return DBK_OK;
}

/* Enters a relation whose inputs have been entered. */
int dbk_read_enter(struct dbk_reading *reading, struct dbk_relation *relation)
{
    struct dbk_algebra *tree = reading->tree;
    struct dbk_relation **grown =
        dbk_arena_alloc(tree->arena, (tree->relation_count + 1) * sizeof(struct dbk_relation *));
    if (grown == NULL)
        return dbk_read_no_memory(reading);
    for (size_t i = 0; i < tree->relation_count; i++)
        grown[i] = tree->relations[i];
    relation->number = tree->relation_count;
    grown[tree->relation_count++] = relation;
    tree->relations = grown;
    return DBK_OK;
}

/* ---- FROM ---- */

/* The block's inputs as they are met, and the conditions of their joins. */
struct from {
    struct dbk_relation *inputs[DBK_ALGEBRA_INPUTS_MAX];
    const char *aliases[DBK_ALGEBRA_INPUTS_MAX];
    const struct dbk_json_node *tests[DBK_ALGEBRA_INPUTS_MAX]; /* ON of this input; NULL: none */
    enum dbk_join_kind joins[DBK_ALGEBRA_INPUTS_MAX];
    const struct dbk_json_node *usings[DBK_ALGEBRA_INPUTS_MAX]; /* names; NULL: none */
    bool natural[DBK_ALGEBRA_INPUTS_MAX];
    size_t count;
};

static int add_input(struct dbk_reading *reading, struct from *from, struct dbk_relation *relation,
                     const struct dbk_json_node *node, struct dbk_slice name)
{
    const struct dbk_json_node *alias = dbk_json_member(node, "alias");
    struct dbk_slice shown = alias == NULL ? name : dbk_read_text(alias, "aliasname");
    if (alias != NULL && dbk_json_member(alias, "colnames") != NULL)
        return dbk_read_obstacle(reading, dbk_read_place(node), "", "an alias with column names");
    if (from->count == DBK_ALGEBRA_INPUTS_MAX)
        return dbk_read_obstacle(reading, dbk_read_place(node), "join some of them in another view",
                                 "more than %d tables in one FROM", DBK_ALGEBRA_INPUTS_MAX);
    const char *copy = dbk_arena_copy(reading->tree->arena, shown).data;
    if (copy == NULL)
        return dbk_read_no_memory(reading);
    from->inputs[from->count] = relation;
    from->aliases[from->count++] = copy;
    return DBK_OK;
}

static int read_from(struct dbk_reading *reading, const struct dbk_json_node *item,
                     struct from *from);

/* A subquery in FROM sees nothing of what is around it. */
static int read_inner(struct dbk_reading *reading, const struct dbk_json_node *node,
                      struct from *from)
{
    const struct dbk_json_node *query = dbk_json_member(node, "subquery");
    const struct dbk_json_node *select =
        query == NULL ? NULL : dbk_json_member(query, "SelectStmt");
    const struct dbk_scope *around = reading->around;
    struct dbk_relation *relation = NULL;
    if (select == NULL)
        return dbk_read_obstacle(reading, 0, "", "this in FROM");
    reading->around = NULL;
    int rc = dbk_read_select(reading, select, &relation);
    reading->around = around;
    if (rc == DBK_OK)
        rc = dbk_read_alike(reading, relation, dbk_read_select_place(node));
    return rc < 0 ? rc : add_input(reading, from, relation, node, DBK_SLICE_LITERAL(""));
}

/* A chain of joins to the left, each with a table on its right. */
static int read_join(struct dbk_reading *reading, const struct dbk_json_node *node,
                     struct from *from)
{
    const struct dbk_json_node *left = dbk_json_member(node, "larg");
    const struct dbk_json_node *right = dbk_json_member(node, "rarg");
    struct dbk_slice kind = dbk_read_text(node, "jointype");
    const struct dbk_json_node *held = right == NULL ? NULL : dbk_json_first(right);
    size_t place = held == NULL ? 0 : dbk_read_place(held);
    if (left == NULL || held == NULL)
        return dbk_read_obstacle(reading, place, "", "a join of another kind");
    static const char *const kinds[] = {"JOIN_INNER", "JOIN_LEFT", "JOIN_RIGHT", "JOIN_FULL"};
    enum dbk_join_kind join = DBK_JOIN_INNER;
    while (join < DBK_JOIN_FULL && !dbk_slice_equal_text(kind, kinds[join]))
        join++;
    if (dbk_json_member(node, "alias") != NULL || dbk_slice_equal_text(held->key, "JoinExpr"))
        return dbk_read_obstacle(reading, place, "write the joins one behind the other",
                                 "a join in brackets");
    int rc = read_from(reading, left, from);
    if (rc == DBK_OK)
        rc = read_from(reading, right, from);
    if (rc < 0)
        return rc;
    from->tests[from->count - 1] = dbk_json_member(node, "quals");
    from->joins[from->count - 1] = join;
    from->usings[from->count - 1] = dbk_json_member(node, "usingClause");
    from->natural[from->count - 1] = dbk_read_is_true(node, "isNatural");
    return DBK_OK;
}

static int read_from(struct dbk_reading *reading, const struct dbk_json_node *item,
                     struct from *from)
{
    const struct dbk_json_node *node = dbk_json_first(item);
    struct dbk_relation *relation = NULL;
    if (node != NULL && dbk_slice_equal_text(node->key, "RangeVar")) {
        int rc = dbk_read_named(reading, node, &relation);
        return rc < 0 ? rc
                      : add_input(reading, from, relation, node, dbk_read_text(node, "relname"));
    }
    if (node != NULL && dbk_slice_equal_text(node->key, "JoinExpr"))
        return read_join(reading, node, from);
    if (node != NULL && dbk_slice_equal_text(node->key, "RangeSubselect"))
        return read_inner(reading, node, from);
    return dbk_read_obstacle(reading, 0, "", "this in FROM");
}

/* ---- A SELECT's clauses ---- */

/* The parts of an AND are conditions of their own. */
static int add_condition(struct dbk_reading *reading, struct dbk_relation *block,
                         struct dbk_expression *test, size_t input)
{
    if (test->kind == DBK_EXPRESSION_OPERATOR && strcmp(test->text, "AND") == 0) {
        for (size_t i = 0; i < test->argument_count; i++) {
            int rc = add_condition(reading, block, test->arguments[i], input);
            if (rc < 0)
                return rc;
        }
        return DBK_OK;
    }
    struct dbk_algebra_test *grown = dbk_arena_alloc(
        reading->tree->arena, (block->condition_count + 1) * sizeof(*block->conditions));
    if (grown == NULL)
        return dbk_read_no_memory(reading);
    for (size_t i = 0; i < block->condition_count; i++)
        grown[i] = block->conditions[i];
    grown[block->condition_count++] = (struct dbk_algebra_test){test, input};
    block->conditions = grown;
    return DBK_OK;
}

static int read_condition(struct dbk_reading *reading, const struct dbk_scope *scope,
                          const struct dbk_json_node *node, size_t input)
{
    struct dbk_expression *test = NULL;
    int rc = dbk_read_expression(reading, scope, node, &test);
    return rc < 0 ? rc : add_condition(reading, scope->block, test, input);
}

bool dbk_read_is_merged(const struct dbk_relation *block, size_t input, size_t column)
{
    return column < 64 && (block->merged[input] >> column & 1) != 0;
}

static bool find_label(const struct dbk_relation *block, size_t input, struct dbk_slice name,
                       size_t *column_out)
{
    const struct dbk_relation *relation = block->inputs[input];
    for (size_t i = 0; i < relation->column_count && i < 64; i++) {
        *column_out = i;
        if (dbk_read_is_name(name, relation->labels[i]) && !dbk_read_is_merged(block, input, i))
            return true;
    }
    return false;
}

/* The column of this name is that of an input before, which is found by the name from now on. */
static int merge(struct dbk_reading *reading, struct dbk_relation *block, size_t input,
                 struct dbk_slice name)
{
    struct dbk_expression *equal = dbk_read_make(reading, DBK_EXPRESSION_OPERATOR, 2);
    size_t column = 0;
    size_t right = 0;
    size_t found = 0;
    size_t left = 0;
    for (size_t i = 0; i < input; i++) {
        if (find_label(block, i, name, &column)) {
            left = i;
            found++;
        }
    }
    if (equal == NULL)
        return dbk_read_no_memory(reading);
    if (found != 1 || !find_label(block, input, name, &right))
        return dbk_read_obstacle(reading, 0, "write ON",
                                 "which column \"%.*s\" of USING is cannot be told",
                                 DBK_SLICE_ARGS(name));
    (void)find_label(block, left, name, &column);
    block->merged[input] |= UINT64_C(1) << right;
    equal->text = "=";
    int rc = dbk_read_input_column(reading, left, column, &equal->arguments[0]);
    if (rc == DBK_OK)
        rc = dbk_read_input_column(reading, input, right, &equal->arguments[1]);
    return rc < 0 ? rc : add_condition(reading, block, equal, input);
}

/* USING and NATURAL: the names that both sides have. */
static int read_using(struct dbk_reading *reading, const struct from *from,
                      struct dbk_relation *block, size_t input)
{
    const struct dbk_relation *right = block->inputs[input];
    size_t column = 0;
    int rc = DBK_OK;
    for (size_t i = 0; i <= input; i++) {
        if (from->joins[i] == DBK_JOIN_RIGHT || from->joins[i] == DBK_JOIN_FULL)
            return dbk_read_obstacle(reading, dbk_read_clause_place(reading, "FROM"), "write ON",
                                     "USING or NATURAL beside a RIGHT or FULL JOIN");
    }
    if (from->usings[input] != NULL) {
        const struct dbk_json_node *name = dbk_json_first(from->usings[input]);
        for (size_t i = 0; rc == DBK_OK && i < from->usings[input]->count; i++) {
            rc = merge(reading, block, input, dbk_read_string(name));
            name = dbk_json_sibling(name);
        }
        return rc;
    }
    for (size_t j = 0; rc == DBK_OK && j < right->column_count && right->labels[j] != NULL; j++) {
        bool both = false;
        for (size_t i = 0; i < input; i++)
            both = both || find_label(block, i, dbk_slice_of(right->labels[j]), &column);
        if (both)
            rc = merge(reading, block, input, dbk_slice_of(right->labels[j]));
    }
    return rc;
}

/* The targets, * spelled out. */
struct targets {
    struct dbk_expression **outputs;
    const char **labels;
    size_t count;
    size_t capacity;
};

static int add_target(struct dbk_reading *reading, struct targets *targets,
                      struct dbk_expression *output, const char *label)
{
    if (targets->count == targets->capacity) {
        size_t capacity = targets->capacity * 2 + 16;
        struct dbk_expression **outputs =
            dbk_arena_alloc(reading->tree->arena, capacity * sizeof(struct dbk_expression *));
        const char **labels = dbk_arena_alloc(reading->tree->arena, capacity * sizeof(*labels));
        if (outputs == NULL || labels == NULL)
            return dbk_read_no_memory(reading);
        for (size_t i = 0; i < targets->count; i++) {
            outputs[i] = targets->outputs[i];
            labels[i] = targets->labels[i];
        }
        targets->outputs = outputs;
        targets->labels = labels;
        targets->capacity = capacity;
    }
    targets->outputs[targets->count] = output;
    targets->labels[targets->count++] = label;
    return DBK_OK;
}

static int add_star(struct dbk_reading *reading, const struct dbk_relation *block,
                    struct dbk_slice table, struct targets *targets)
{
    for (size_t i = 0; i < block->input_count; i++) {
        if (table.size != 0 && (strlen(block->aliases[i]) != table.size ||
                                strncasecmp(block->aliases[i], table.data, table.size) != 0))
            continue;
        for (size_t j = 0; j < block->inputs[i]->column_count; j++) {
            if (table.size == 0 && dbk_read_is_merged(block, i, j))
                continue;
            struct dbk_expression *column = dbk_read_make(reading, DBK_EXPRESSION_COLUMN, 0);
            if (column == NULL)
                return dbk_read_no_memory(reading);
            column->input = i;
            column->column = j;
            int rc = add_target(reading, targets, column, block->inputs[i]->labels[j]);
            if (rc < 0)
                return rc;
        }
    }
    return DBK_OK;
}

/* "*" or "t.*": 1, with the table's name in table_out; else 0. */
static bool is_star(const struct dbk_json_node *value, struct dbk_slice *table_out)
{
    const struct dbk_json_node *column = dbk_json_member(value, "ColumnRef");
    const struct dbk_json_node *fields = column == NULL ? NULL : dbk_json_member(column, "fields");
    if (fields == NULL || fields->count == 0)
        return false;
    const struct dbk_json_node *last = dbk_json_first(fields);
    if (fields->count == 2) {
        *table_out = dbk_read_string(last);
        last = dbk_json_sibling(last);
    }
    return dbk_json_member(last, "A_Star") != NULL;
}

static int read_target(struct dbk_reading *reading, const struct dbk_scope *scope,
                       const struct dbk_json_node *item, struct targets *targets)
{
    const struct dbk_json_node *target = dbk_json_member(item, "ResTarget");
    const struct dbk_json_node *value = target == NULL ? NULL : dbk_json_member(target, "val");
    struct dbk_slice label = {0};
    struct dbk_expression *output = NULL;
    if (value == NULL)
        return dbk_read_obstacle(reading, 0, "", "a SELECT without columns");
    if (is_star(value, &label))
        return add_star(reading, scope->block, label, targets);
    int rc = dbk_read_expression(reading, scope, value, &output);
    if (rc < 0)
        return rc;
    label = dbk_read_text(target, "name");
    const char *copy = NULL;
    if (label.size != 0)
        copy = dbk_arena_copy(reading->tree->arena, label).data;
    else if (output->kind == DBK_EXPRESSION_COLUMN)
        copy = scope->block->inputs[output->input]->labels[output->column];
    if (label.size != 0 && copy == NULL)
        return dbk_read_no_memory(reading);
    return add_target(reading, targets, output, copy);
}

static int make_block(struct dbk_reading *reading, const struct dbk_json_node *node,
                      struct dbk_relation **block_out)
{
    const struct dbk_json_node *list = dbk_json_member(node, "fromClause");
    const struct dbk_json_node *where = dbk_json_member(node, "whereClause");
    struct from from = {.count = 0};
    int rc = DBK_OK;
    const struct dbk_json_node *item = list == NULL ? NULL : dbk_json_first(list);
    for (size_t i = 0; rc == DBK_OK && item != NULL && i < list->count; i++) {
        rc = read_from(reading, item, &from);
        item = dbk_json_sibling(item);
    }
    if (rc == DBK_OK && from.count == 0)
        rc = dbk_read_obstacle(reading, 0, "", "a SELECT without FROM");
    struct dbk_relation *block = NULL;
    if (rc == DBK_OK)
        rc = dbk_read_make_relation(reading, DBK_RELATION_BLOCK, 0, from.count, &block);
    for (size_t i = 0; rc == DBK_OK && i < from.count; i++) {
        block->inputs[i] = from.inputs[i];
        block->aliases[i] = from.aliases[i];
        block->joins[i] = from.joins[i];
        if (from.joins[i] == DBK_JOIN_LEFT)
            block->outer |= 1U << i;
    }
    const struct dbk_scope scope = {.block = block, .around = reading->around};
    for (size_t i = 0; rc == DBK_OK && i < from.count; i++) {
        if (from.usings[i] != NULL || from.natural[i])
            rc = read_using(reading, &from, block, i);
        else if (from.tests[i] != NULL)
            rc = read_condition(reading, &scope, from.tests[i], i);
    }
    if (rc == DBK_OK && where != NULL)
        rc = read_condition(reading, &scope, where, SIZE_MAX);
    if (rc == DBK_OK)
        *block_out = block;
    return rc;
}

static int set_outputs(struct dbk_reading *reading, struct dbk_relation *relation,
                       struct dbk_expression **outputs, const char **labels, size_t count)
{
    struct dbk_relation *shape = NULL;
    int rc = dbk_read_make_relation(reading, relation->kind, count, 0, &shape);
    if (rc < 0)
        return rc;
    relation->columns = shape->columns;
    relation->labels = labels;
    relation->outputs = outputs;
    relation->column_count = count;
    return DBK_OK;
}

/* GROUP BY: an output's number, an output's label, or an expression. */
static int read_key(struct dbk_reading *reading, const struct dbk_scope *scope,
                    const struct dbk_json_node *item, struct dbk_expression **key_out)
{
    const struct dbk_json_node *constant = dbk_json_member(item, "A_Const");
    const struct dbk_json_node *number =
        constant == NULL ? NULL : dbk_json_member(constant, "ival");
    const struct dbk_json_node *value = number == NULL ? NULL : dbk_json_member(number, "ival");
    if (constant == NULL)
        return dbk_read_expression(reading, scope, item, key_out);
    if (value == NULL || value->kind != DBK_JSON_INTEGER || value->integer < 1 ||
        (uint64_t)value->integer > scope->output_count)
        return dbk_read_obstacle(reading, dbk_read_place(constant), "", "GROUP BY a constant");
    *key_out = scope->outputs[value->integer - 1];
    return DBK_OK;
}

static int read_keys(struct dbk_reading *reading, const struct dbk_scope *scope,
                     const struct dbk_json_node *list, struct targets *keys)
{
    const struct dbk_json_node *item = list == NULL ? NULL : dbk_json_first(list);
    for (size_t i = 0; item != NULL && i < list->count; i++, item = dbk_json_sibling(item)) {
        struct dbk_expression *key = NULL;
        int rc = read_key(reading, scope, item, &key);
        if (rc == DBK_OK && dbk_expression_aggregates(key))
            rc = dbk_read_obstacle(reading, key->place, "", "GROUP BY an aggregate");
        if (rc == DBK_OK)
            rc = add_target(reading, keys, key, NULL);
        if (rc < 0)
            return rc;
    }
    return DBK_OK;
}

static int read_targets(struct dbk_reading *reading, const struct dbk_scope *scope,
                        const struct dbk_json_node *node, struct targets *targets)
{
    const struct dbk_json_node *list = dbk_json_member(node, "targetList");
    const struct dbk_json_node *item = list == NULL ? NULL : dbk_json_first(list);
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && item != NULL && i < list->count; i++) {
        rc = read_target(reading, scope, item, targets);
        item = dbk_json_sibling(item);
    }
    return rc;
}

int dbk_read_refuse(struct dbk_reading *reading, const struct dbk_json_node *node)
{
    static const struct {
        const char *key;
        const char *what;
    } clauses[] = {
        {"sortClause", "ORDER BY"}, {"limitCount", "LIMIT"},         {"limitOffset", "OFFSET"},
        {"valuesLists", "VALUES"},  {"lockingClause", "FOR UPDATE"}, {"intoClause", "INTO"},
    };
    for (size_t i = node == reading->top ? 3 : 0; i < sizeof(clauses) / sizeof(clauses[0]); i++) {
        if (dbk_json_member(node, clauses[i].key) != NULL)
            return dbk_read_obstacle(reading, dbk_read_clause_place(reading, clauses[i].what), "",
                                     "%s", clauses[i].what);
    }
    const struct dbk_json_node *distinct = dbk_json_member(node, "distinctClause");
    if (distinct != NULL && dbk_json_first(distinct) != NULL &&
        dbk_json_first(distinct)->count != 0)
        return dbk_read_obstacle(reading, 0, "", "DISTINCT ON");
    return DBK_OK;
}

/* What the whole SELECT is ordered by and does not show, behind what it does. */
static int add_order(struct dbk_reading *reading, const struct dbk_scope *scope,
                     const struct dbk_json_node *node, bool distinct, struct targets *targets)
{
    struct dbk_expression **hidden = NULL;
    int rc = dbk_read_order(reading, node, scope, &hidden);
    if (rc == DBK_OK && distinct && reading->tree->hidden_count > 0)
        rc = dbk_read_obstacle(reading, hidden[0]->place, "order by a column that it gives",
                               "ORDER BY of what SELECT DISTINCT does not give");
    for (size_t i = 0; rc == DBK_OK && i < reading->tree->hidden_count; i++)
        rc = add_target(reading, targets, hidden[i], NULL);
    return rc;
}

int dbk_read_plain(struct dbk_reading *reading, const struct dbk_json_node *node,
                   struct dbk_relation **relation_out)
{
    struct dbk_relation *block = NULL;
    struct dbk_group_parts parts = {.having_node = dbk_json_member(node, "havingClause")};
    struct targets targets = {0};
    struct targets keys = {0};
    int rc = dbk_read_refuse(reading, node);
    if (rc == DBK_OK)
        rc = make_block(reading, node, &block);
    static const struct dbk_json_node none = {0};
    const struct dbk_json_node *windows = dbk_json_member(node, "windowClause");
    struct dbk_scope scope = {.block = block,
                              .aggregates = true,
                              .windows = windows == NULL ? &none : windows,
                              .around = reading->around};
    if (rc == DBK_OK)
        rc = read_targets(reading, &scope, node, &targets);
    scope.windows = NULL;
    scope.outputs = targets.outputs;
    scope.labels = targets.labels;
    scope.output_count = targets.count;
    bool distinct = dbk_json_member(node, "distinctClause") != NULL;
    if (rc == DBK_OK && node == reading->top)
        rc = add_order(reading, &scope, node, distinct, &targets);
    const struct dbk_json_node *group = dbk_json_member(node, "groupClause");
    if (rc == DBK_OK)
        rc = read_keys(reading, &scope, group, &keys);
    if (rc == DBK_OK && parts.having_node != NULL)
        rc = dbk_read_expression(reading, &scope, parts.having_node, &parts.having);
    if (rc < 0)
        return rc;
    bool aggregates = group != NULL || parts.having != NULL;
    for (size_t i = 0; i < targets.count; i++)
        aggregates = aggregates || dbk_expression_aggregates(targets.outputs[i]);
    if (distinct && aggregates)
        return dbk_read_obstacle(reading, targets.outputs[0]->place,
                                 "group in a subquery in FROM, and let DISTINCT stand around it",
                                 "DISTINCT over groups");
    parts.block = block;
    parts.outputs = targets.outputs;
    parts.output_count = targets.count;
    parts.keys = distinct ? targets.outputs : keys.outputs;
    parts.key_count = distinct ? targets.count : keys.count;
    if (!aggregates && !distinct) {
        rc = set_outputs(reading, block, targets.outputs, targets.labels, targets.count);
        if (rc == DBK_OK)
            rc = dbk_read_enter(reading, block);
        *relation_out = block;
        return rc;
    }
    struct dbk_relation *made = NULL;
    rc = dbk_read_make_relation(reading, DBK_RELATION_GROUP, targets.count, 1, &made);
    if (rc < 0)
        return rc;
    made->labels = targets.labels;
    made->inputs[0] = block;
    made->distinct = distinct;
    made->grouped = group != NULL || distinct;
    rc = dbk_read_group(reading, &parts, made);
    if (rc == DBK_OK)
        rc = set_outputs(reading, block, parts.block_outputs, parts.block_labels,
                         parts.block_output_count);
    if (rc == DBK_OK)
        rc = dbk_read_enter(reading, block);
    if (rc == DBK_OK)
        rc = dbk_read_enter(reading, made);
    *relation_out = made;
    return rc;
}
