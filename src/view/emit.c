/* SPDX-License-Identifier: Apache-2.0 */
/* Algebra as SQL: every operation in brackets, every column with its table. */
#include "view/algebra.h"

void dbk_emit_name(struct dbk_buf *out, const char *name)
{
    dbk_buf_append_char(out, '"');
    for (; *name != '\0'; name++) {
        if (*name == '"')
            dbk_buf_append_char(out, '"');
        dbk_buf_append_char(out, *name);
    }
    dbk_buf_append_char(out, '"');
}

void dbk_emit_table(struct dbk_buf *out, const struct dbk_relation *relation)
{
    if (relation->schema != NULL) {
        dbk_emit_name(out, relation->schema);
        dbk_buf_append_char(out, '.');
    }
    dbk_emit_name(out, relation->table);
}

void dbk_emit_difference(struct dbk_buf *out, const struct dbk_relation *relation)
{
    dbk_buf_append_format(out, relation->typed ? "pg_temp.d%zu" : "temp.d%zu", relation->number);
}

/* Arguments from `begin` on, with something between them. */
static void emit_arguments(struct dbk_buf *out, const struct dbk_emit *emit,
                           const struct dbk_expression *expression, size_t begin,
                           const char *between)
{
    for (size_t i = begin; i < expression->argument_count; i++) {
        if (i > begin)
            dbk_buf_append_text(out, between);
        dbk_emit_expression(out, emit, expression->arguments[i]);
    }
}

static void emit_slot(struct dbk_buf *out, const struct dbk_emit *emit,
                      const struct dbk_expression *expression)
{
    const struct dbk_relation *group = emit->relation;
    size_t slot = expression->column;
    if (!emit->slots_as_written) {
        dbk_emit_slot(out, group, slot, emit->slot_prefix);
        return;
    }
    const struct dbk_relation *block = group->inputs[0];
    const struct dbk_emit below = {.relation = block, .how = emit->how, .around = emit->around};
    if (slot < group->key_count) {
        dbk_emit_expression(out, &below, block->outputs[slot]);
        return;
    }
    const struct dbk_aggregate *aggregate = &group->aggregates[slot - group->key_count];
    dbk_buf_append_text(out, aggregate->name);
    dbk_buf_append_text(out, aggregate->distinct ? "(DISTINCT " : "(");
    const struct dbk_expression *argument =
        aggregate->star ? NULL : block->outputs[aggregate->argument];
    const struct dbk_expression *filter =
        argument != NULL && argument->filter ? argument->arguments[0] : NULL;
    if (argument == NULL || (filter != NULL && argument->star))
        dbk_buf_append_char(out, '*');
    else
        dbk_emit_expression(out, &below, filter == NULL ? argument : argument->arguments[1]);
    dbk_buf_append_char(out, ')');
    if (filter == NULL)
        return;
    dbk_buf_append_text(out, " FILTER (WHERE ");
    dbk_emit_expression(out, &below, filter);
    dbk_buf_append_char(out, ')');
}

void dbk_emit_slot(struct dbk_buf *out, const struct dbk_relation *group, size_t slot,
                   const char *prefix)
{
    bool key = slot < group->key_count;
    /* A stored column has an affinity, which an aggregate's value has not: plus takes it away. */
    bool bare = !group->typed && (!key || dbk_relation_affinity(group->inputs[0], slot) == 'X');
    dbk_buf_append_format(out, bare ? "(+%s_daybook_%c%zu)" : "%s_daybook_%c%zu", prefix,
                          key ? 'k' : 'v', key ? slot : slot - group->key_count);
}

static void emit_case(struct dbk_buf *out, const struct dbk_emit *emit,
                      const struct dbk_expression *expression)
{
    size_t count = expression->argument_count - (expression->has_else ? 1 : 0);
    size_t i = 0;
    dbk_buf_append_text(out, "CASE ");
    if (expression->has_operand)
        dbk_emit_expression(out, emit, expression->arguments[i++]);
    for (; i + 1 < count; i += 2) {
        dbk_buf_append_text(out, " WHEN ");
        dbk_emit_expression(out, emit, expression->arguments[i]);
        dbk_buf_append_text(out, " THEN ");
        dbk_emit_expression(out, emit, expression->arguments[i + 1]);
    }
    if (expression->has_else) {
        dbk_buf_append_text(out, " ELSE ");
        dbk_emit_expression(out, emit, expression->arguments[count]);
    }
    dbk_buf_append_text(out, " END");
}

static void emit_operator(struct dbk_buf *out, const struct dbk_emit *emit,
                          const struct dbk_expression *expression)
{
    const char *word = expression->text;
    if (emit->relation->typed && strcmp(word, "IS") == 0)
        word = "IS NOT DISTINCT FROM";
    else if (emit->relation->typed && strcmp(word, "IS NOT") == 0)
        word = "IS DISTINCT FROM";
    if (expression->argument_count == 1) {
        dbk_buf_append_text(out, word);
        dbk_buf_append_char(out, ' ');
    }
    for (size_t i = 0; i < expression->argument_count; i++) {
        if (i > 0) {
            dbk_buf_append_char(out, ' ');
            dbk_buf_append_text(out, word);
            dbk_buf_append_char(out, ' ');
        }
        dbk_emit_expression(out, emit, expression->arguments[i]);
    }
}

static void emit_select(struct dbk_buf *out, const struct dbk_relation *relation,
                        enum dbk_emit_how how, const struct dbk_emit *around);

static void emit_subquery(struct dbk_buf *out, const struct dbk_emit *emit,
                          const struct dbk_expression *expression)
{
    emit_arguments(out, emit, expression, 0, "");
    if (expression->kind == DBK_EXPRESSION_AMONG)
        dbk_buf_append_text(out, " IN ");
    else if (expression->kind == DBK_EXPRESSION_EXISTS)
        dbk_buf_append_text(out, "EXISTS ");
    dbk_buf_append_char(out, '(');
    emit_select(out, expression->select, emit->how, emit);
    dbk_buf_append_char(out, ')');
}

/* What stands between the brackets of an expression that has some. */
static void emit_inside(struct dbk_buf *out, const struct dbk_emit *emit,
                        const struct dbk_expression *expression)
{
    switch (expression->kind) {
    case DBK_EXPRESSION_OPERATOR:
        emit_operator(out, emit, expression);
        break;
    case DBK_EXPRESSION_NOT:
        dbk_buf_append_text(out, "NOT ");
        emit_arguments(out, emit, expression, 0, "");
        break;
    case DBK_EXPRESSION_IS_NULL:
        emit_arguments(out, emit, expression, 0, "");
        dbk_buf_append_text(out, expression->text != NULL ? expression->text
                                 : expression->negated    ? " IS NOT NULL"
                                                          : " IS NULL");
        break;
    case DBK_EXPRESSION_CASE:
        emit_case(out, emit, expression);
        break;
    case DBK_EXPRESSION_IN:
        dbk_emit_expression(out, emit, expression->arguments[0]);
        dbk_buf_append_text(out, expression->negated ? " NOT IN (" : " IN (");
        emit_arguments(out, emit, expression, 1, ", ");
        dbk_buf_append_char(out, ')');
        break;
    case DBK_EXPRESSION_BETWEEN:
        dbk_emit_expression(out, emit, expression->arguments[0]);
        dbk_buf_append_text(out, expression->negated ? " NOT BETWEEN " : " BETWEEN ");
        emit_arguments(out, emit, expression, 1, " AND ");
        break;
    case DBK_EXPRESSION_EXISTS:
    case DBK_EXPRESSION_SCALAR:
    case DBK_EXPRESSION_AMONG:
        emit_subquery(out, emit, expression);
        break;
    case DBK_EXPRESSION_COLUMN:
    case DBK_EXPRESSION_SLOT:
    case DBK_EXPRESSION_CONSTANT:
    case DBK_EXPRESSION_CALL:
    case DBK_EXPRESSION_WINDOW:
    case DBK_EXPRESSION_CAST:
        break;
    }
}

void dbk_emit_alias(struct dbk_buf *out, const struct dbk_relation *block, size_t input)
{
    if (block->depth == 0)
        dbk_buf_append_format(out, "f%zu", input);
    else
        dbk_buf_append_format(out, "f%zu_%zu", block->depth, input);
}

static void emit_column(struct dbk_buf *out, const struct dbk_emit *emit,
                        const struct dbk_expression *expression)
{
    const struct dbk_emit *from = expression->around ? emit->around : emit;
    const struct dbk_relation *input = from->relation->inputs[expression->input];
    bool bare = input->stored && dbk_relation_affinity(input, expression->column) == 'X';
    dbk_buf_append_text(out, bare ? "(+" : "");
    dbk_emit_alias(out, from->relation, expression->input);
    dbk_buf_append_char(out, '.');
    dbk_emit_name(out, input->columns[expression->column]);
    dbk_buf_append_text(out, bare ? ")" : "");
}

void dbk_emit_expression(struct dbk_buf *out, const struct dbk_emit *emit,
                         const struct dbk_expression *expression)
{
    switch (expression->kind) {
    case DBK_EXPRESSION_COLUMN:
        emit_column(out, emit, expression);
        break;
    case DBK_EXPRESSION_SLOT:
        emit_slot(out, emit, expression);
        break;
    case DBK_EXPRESSION_CONSTANT:
        dbk_buf_append_text(out, expression->text);
        break;
    case DBK_EXPRESSION_CALL:
        dbk_buf_append_text(out, expression->text);
        dbk_buf_append_char(out, '(');
        emit_arguments(out, emit, expression, 0, ", ");
        dbk_buf_append_char(out, ')');
        break;
    case DBK_EXPRESSION_WINDOW:
        dbk_emit_window(out, emit, expression);
        break;
    case DBK_EXPRESSION_CAST:
        dbk_buf_append_text(out, "CAST(");
        emit_arguments(out, emit, expression, 0, "");
        dbk_buf_append_text(out, " AS ");
        dbk_buf_append_text(out, expression->text);
        dbk_buf_append_char(out, ')');
        break;
    case DBK_EXPRESSION_OPERATOR:
    case DBK_EXPRESSION_NOT:
    case DBK_EXPRESSION_IS_NULL:
    case DBK_EXPRESSION_CASE:
    case DBK_EXPRESSION_IN:
    case DBK_EXPRESSION_BETWEEN:
    case DBK_EXPRESSION_EXISTS:
    case DBK_EXPRESSION_SCALAR:
    case DBK_EXPRESSION_AMONG:
        dbk_buf_append_char(out, '(');
        emit_inside(out, emit, expression);
        dbk_buf_append_char(out, ')');
        break;
    }
}

/* The conditions of a join or of WHERE, as they are written. */
static void emit_tests(struct dbk_buf *out, const struct dbk_emit *emit, size_t input,
                       const char *before)
{
    const struct dbk_relation *block = emit->relation;
    for (size_t i = 0; i < block->condition_count; i++) {
        if (block->conditions[i].input != input)
            continue;
        dbk_buf_append_text(out, before);
        dbk_emit_expression(out, emit, block->conditions[i].test);
        before = " AND ";
    }
}

static void emit_input(struct dbk_buf *out, const struct dbk_relation *input, enum dbk_emit_how how)
{
    if (input->kind == DBK_RELATION_TABLE && input->typed) {
        dbk_buf_append_text(out, input->name);
    } else if (input->kind == DBK_RELATION_TABLE) {
        dbk_emit_name(out, input->name);
    } else if (input->with) {
        dbk_buf_append_format(out, "w%zu", input->number);
    } else {
        dbk_buf_append_char(out, '(');
        emit_select(out, input, how, NULL);
        dbk_buf_append_char(out, ')');
    }
}

static void emit_from(struct dbk_buf *out, const struct dbk_emit *emit)
{
    const struct dbk_relation *block = emit->relation;
    dbk_buf_append_text(out, " FROM ");
    static const char *const words[] = {" JOIN ", " LEFT JOIN ", " RIGHT JOIN ", " FULL JOIN "};
    for (size_t i = 0; i < block->input_count; i++) {
        dbk_buf_append_text(out, i > 0 ? words[block->joins[i]] : "");
        emit_input(out, block->inputs[i], emit->how);
        dbk_buf_append_text(out, " AS ");
        dbk_emit_alias(out, block, i);
        size_t size = out->size;
        emit_tests(out, emit, i, " ON ");
        if (i > 0 && block->typed && out->size == size)
            dbk_buf_append_text(out, " ON TRUE");
    }
    emit_tests(out, emit, SIZE_MAX, " WHERE ");
}

static void emit_outputs(struct dbk_buf *out, const struct dbk_emit *emit, size_t count)
{
    const struct dbk_relation *relation = emit->relation;
    for (size_t i = 0; i < count; i++) {
        dbk_buf_append_text(out, i > 0 ? ", " : " ");
        dbk_emit_expression(out, emit, relation->outputs[i]);
        dbk_buf_append_format(out, " AS c%zu", i);
    }
}

/* hidden: of its outputs, the last ones, that are not written. */
static void emit_plain(struct dbk_buf *out, const struct dbk_relation *relation,
                       enum dbk_emit_how how, const struct dbk_emit *around, size_t hidden)
{
    bool grouped = relation->kind == DBK_RELATION_GROUP;
    const struct dbk_relation *block = grouped ? relation->inputs[0] : relation;
    const struct dbk_emit below = {.relation = block, .how = how, .around = around};
    const struct dbk_emit emit = {
        .relation = relation, .how = how, .around = around, .slots_as_written = true};
    dbk_buf_append_text(out, relation->distinct ? "SELECT DISTINCT" : "SELECT");
    emit_outputs(out, grouped ? &emit : &below, relation->column_count - hidden);
    if (how != DBK_EMIT_STORED)
        emit_from(out, &below);
    else
        dbk_emit_tables(out, block, around);
    for (size_t i = 0; grouped && !relation->distinct && i < relation->key_count; i++) {
        /* A constant there would be the number of an output. */
        bool constant = block->typed && block->outputs[i]->kind == DBK_EXPRESSION_CONSTANT;
        dbk_buf_append_text(out, i > 0 ? ", " : " GROUP BY ");
        dbk_buf_append_text(out, constant ? "(SELECT " : "");
        dbk_emit_expression(out, &below, block->outputs[i]);
        dbk_buf_append_text(out, constant ? ")" : "");
    }
    if (grouped && relation->having != NULL) {
        dbk_buf_append_text(out, " HAVING ");
        dbk_emit_expression(out, &emit, relation->having);
    }
}

static void emit_select(struct dbk_buf *out, const struct dbk_relation *relation,
                        enum dbk_emit_how how, const struct dbk_emit *around)
{
    bool set = relation->kind == DBK_RELATION_SET;
    if (relation->kind == DBK_RELATION_BLOCK || relation->kind == DBK_RELATION_GROUP)
        emit_plain(out, relation, how, around, 0);
    if (!set && relation->kind != DBK_RELATION_UNION)
        return;
    for (size_t i = 0; i < relation->input_count; i++) {
        if (i > 0)
            dbk_buf_append_format(out, " %s ", set ? relation->set : "UNION ALL");
        emit_select(out, relation->inputs[i], how, around);
    }
}

/* A term of ORDER BY: an output's number, or what is hidden. */
static void emit_order(struct dbk_buf *out, const struct dbk_algebra *tree, size_t i,
                       enum dbk_emit_how how)
{
    const struct dbk_relation *root = tree->root;
    const struct dbk_order *order = &tree->order[i];
    dbk_buf_append_text(out, i > 0 ? ", " : " ORDER BY ");
    bool hidden = order->output + tree->hidden_count >= root->column_count;
    /* SQLite makes another program of a number under COLLATE. */
    if (!hidden && (order->collation == NULL ||
                    (root->kind != DBK_RELATION_BLOCK && root->kind != DBK_RELATION_GROUP))) {
        dbk_buf_append_format(out, "%zu", order->output + 1);
    } else {
        const struct dbk_emit emit = {.relation = root, .how = how, .slots_as_written = true};
        dbk_emit_expression(out, &emit, root->outputs[order->output]);
    }
    dbk_emit_direction(out, order);
}

void dbk_emit_tree(struct dbk_buf *out, const struct dbk_algebra *tree, enum dbk_emit_how how)
{
    for (size_t i = 0; i < tree->with_count; i++) {
        dbk_buf_append_format(out, i > 0 ? ", w%zu AS (" : "WITH w%zu AS (",
                              tree->withs[i]->number);
        emit_select(out, tree->withs[i], how, NULL);
        dbk_buf_append_text(out, i + 1 < tree->with_count ? ")" : ") ");
    }
    if (tree->hidden_count > 0)
        emit_plain(out, tree->root, how, NULL, tree->hidden_count);
    else
        emit_select(out, tree->root, how, NULL);
    for (size_t i = 0; i < tree->order_count; i++)
        emit_order(out, tree, i, how);
    dbk_emit_bounds(out, tree);
}
