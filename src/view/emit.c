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
    const struct dbk_emit below = {.relation = block};
    if (slot < group->key_count) {
        dbk_emit_expression(out, &below, block->outputs[slot]);
        return;
    }
    const struct dbk_aggregate *aggregate = &group->aggregates[slot - group->key_count];
    dbk_buf_append_text(out, aggregate->name);
    dbk_buf_append_text(out, aggregate->distinct ? "(DISTINCT " : "(");
    if (aggregate->star)
        dbk_buf_append_char(out, '*');
    else
        dbk_emit_expression(out, &below, block->outputs[aggregate->argument]);
    dbk_buf_append_char(out, ')');
}

void dbk_emit_slot(struct dbk_buf *out, const struct dbk_relation *group, size_t slot,
                   const char *prefix)
{
    bool key = slot < group->key_count;
    /* A stored column has an affinity, which an aggregate's value has not: plus takes it away. */
    bool bare = !key || dbk_expression_is_bare(group->inputs[0]->outputs[slot]);
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
    if (expression->argument_count == 1) {
        dbk_buf_append_text(out, expression->text);
        dbk_buf_append_char(out, ' ');
    }
    for (size_t i = 0; i < expression->argument_count; i++) {
        if (i > 0) {
            dbk_buf_append_char(out, ' ');
            dbk_buf_append_text(out, expression->text);
            dbk_buf_append_char(out, ' ');
        }
        dbk_emit_expression(out, emit, expression->arguments[i]);
    }
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
        dbk_buf_append_text(out, expression->negated ? " IS NOT NULL" : " IS NULL");
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
    case DBK_EXPRESSION_COLUMN:
    case DBK_EXPRESSION_SLOT:
    case DBK_EXPRESSION_CONSTANT:
    case DBK_EXPRESSION_CALL:
    case DBK_EXPRESSION_CAST:
        break;
    }
}

void dbk_emit_expression(struct dbk_buf *out, const struct dbk_emit *emit,
                         const struct dbk_expression *expression)
{
    switch (expression->kind) {
    case DBK_EXPRESSION_COLUMN:
        dbk_buf_append_format(out, "f%zu.", expression->input);
        dbk_emit_name(out, emit->relation->inputs[expression->input]->columns[expression->column]);
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
        dbk_buf_append_char(out, '(');
        emit_inside(out, emit, expression);
        dbk_buf_append_char(out, ')');
        break;
    }
}

unsigned dbk_expression_reads(const struct dbk_expression *expression)
{
    unsigned set = expression->kind == DBK_EXPRESSION_COLUMN ? 1U << expression->input : 0;
    for (size_t i = 0; i < expression->argument_count; i++)
        set |= dbk_expression_reads(expression->arguments[i]);
    return set;
}

bool dbk_expression_is_bare(const struct dbk_expression *expression)
{
    return expression->kind != DBK_EXPRESSION_COLUMN && expression->kind != DBK_EXPRESSION_CAST;
}

/* The conditions of a join or of WHERE; returns whether there was one. */
static bool emit_tests(struct dbk_buf *out, const struct dbk_relation *block, size_t input,
                       const char *before)
{
    const struct dbk_emit emit = {.relation = block};
    bool any = false;
    for (size_t i = 0; i < block->condition_count; i++) {
        if (block->conditions[i].input != input)
            continue;
        dbk_buf_append_text(out, any ? " AND " : before);
        dbk_emit_expression(out, &emit, block->conditions[i].test);
        any = true;
    }
    return any;
}

static void emit_from(struct dbk_buf *out, const struct dbk_relation *block)
{
    dbk_buf_append_text(out, " FROM ");
    for (size_t i = 0; i < block->input_count; i++) {
        if (i > 0)
            dbk_buf_append_text(out, (block->outer & 1U << i) != 0 ? " LEFT JOIN " : " JOIN ");
        dbk_emit_name(out, block->inputs[i]->name);
        dbk_buf_append_format(out, " AS f%zu", i);
        (void)emit_tests(out, block, i, " ON ");
    }
    (void)emit_tests(out, block, SIZE_MAX, " WHERE ");
}

static void emit_outputs(struct dbk_buf *out, const struct dbk_relation *relation)
{
    const struct dbk_emit emit = {.relation = relation, .slots_as_written = true};
    for (size_t i = 0; i < relation->column_count; i++) {
        dbk_buf_append_text(out, i > 0 ? ", " : " ");
        dbk_emit_expression(out, &emit, relation->outputs[i]);
    }
}

static void emit_group(struct dbk_buf *out, const struct dbk_relation *group)
{
    const struct dbk_relation *block = group->inputs[0];
    const struct dbk_emit below = {.relation = block};
    const struct dbk_emit emit = {.relation = group, .slots_as_written = true};
    dbk_buf_append_text(out, group->distinct ? "SELECT DISTINCT" : "SELECT");
    emit_outputs(out, group);
    emit_from(out, block);
    for (size_t i = 0; !group->distinct && i < group->key_count; i++) {
        dbk_buf_append_text(out, i > 0 ? ", " : " GROUP BY ");
        dbk_emit_expression(out, &below, block->outputs[i]);
    }
    if (group->having != NULL) {
        dbk_buf_append_text(out, " HAVING ");
        dbk_emit_expression(out, &emit, group->having);
    }
}

void dbk_emit_select(struct dbk_buf *out, const struct dbk_relation *relation)
{
    switch (relation->kind) {
    case DBK_RELATION_TABLE:
        break;
    case DBK_RELATION_BLOCK:
        dbk_buf_append_text(out, "SELECT");
        emit_outputs(out, relation);
        emit_from(out, relation);
        break;
    case DBK_RELATION_UNION:
        for (size_t i = 0; i < relation->input_count; i++) {
            if (i > 0)
                dbk_buf_append_text(out, " UNION ALL ");
            dbk_emit_select(out, relation->inputs[i]);
        }
        break;
    case DBK_RELATION_GROUP:
        emit_group(out, relation);
        break;
    }
}
