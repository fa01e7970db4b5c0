/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which rows of a block a subquery may answer otherwise: those that a row which changed in what it
 * reads meets by the subquery's own WHERE. For `x IN (SELECT y …)` also x = y, or one of them NULL:
 * of other rows the answer has no part.
 */
#include "view/delta.h"

struct finding {
    const struct dbk_delta *delta;
    const struct dbk_relation *block;
    dbk_touch_fn touch;
    void *context;
    struct dbk_error *err;
};

enum meeting { MEETS_EQUAL, MEETS_NULL, MEETS_FOR_NULL, MEETS };

static void append_meeting(struct dbk_buf *out, const struct dbk_emit *around,
                           const struct dbk_emit *inside, const struct dbk_expression *asking,
                           enum meeting meeting)
{
    if (meeting == MEETS)
        return;
    dbk_buf_append_text(out, " AND ");
    if (meeting != MEETS_NULL)
        dbk_emit_expression(out, around, asking->arguments[0]);
    if (meeting == MEETS_EQUAL)
        dbk_buf_append_text(out, " = ");
    if (meeting != MEETS_FOR_NULL)
        dbk_emit_expression(out, inside, asking->select->outputs[0]);
    if (meeting != MEETS_EQUAL)
        dbk_buf_append_text(out, " IS NULL");
}

/* FROM the difference, then the block's tables; WHERE what both say, but for subqueries. */
static void append_from(struct dbk_buf *out, const struct finding *finding,
                        const struct dbk_expression *asking, enum meeting meeting)
{
    const struct dbk_relation *block = finding->block;
    const struct dbk_relation *base = dbk_relation_base(asking->select);
    const struct dbk_emit around = {.relation = block};
    const struct dbk_emit inside = {.relation = base, .around = &around};
    dbk_buf_append_text(out, " FROM ");
    dbk_emit_difference(out, base->inputs[0]);
    dbk_buf_append_text(out, " AS ");
    dbk_emit_alias(out, base, 0);
    for (size_t i = 0; i < block->input_count; i++) {
        bool outer = (block->outer & 1U << i) != 0;
        dbk_buf_append_text(out, outer ? " LEFT JOIN " : i == 0 ? " CROSS JOIN " : " JOIN ");
        dbk_emit_table(out, block->inputs[i]);
        dbk_buf_append_format(out, " AS f%zu", i);
        if (outer)
            dbk_layout_tests(out, block, i, " ON ");
        else if (i > 0)
            dbk_buf_append_text(out, " ON TRUE");
    }
    dbk_buf_append_text(out, " WHERE TRUE");
    for (size_t i = 0; i < base->condition_count; i++) {
        dbk_buf_append_text(out, " AND ");
        dbk_emit_expression(out, &inside, base->conditions[i].test);
    }
    for (size_t i = 0; i < block->condition_count; i++) {
        size_t of = block->conditions[i].input;
        if ((of != SIZE_MAX && (block->outer & 1U << of) != 0) ||
            dbk_expression_asks(block->conditions[i].test))
            continue;
        dbk_buf_append_text(out, " AND ");
        dbk_emit_expression(out, &around, block->conditions[i].test);
    }
    append_meeting(out, &around, &inside, asking, meeting);
}

static int find_for(const struct finding *finding, const struct dbk_expression *asking,
                    enum meeting meeting)
{
    struct dbk_buf from;
    dbk_buf_init(&from, DBK_ALGEBRA_SIZE_MAX << 4);
    append_from(&from, finding, asking, meeting);
    int rc = from.rc < 0
                 ? dbk_error_set(finding->err, from.rc, "a statement: %s", dbk_code_text(from.rc))
                 : finding->touch(finding->context, &from, finding->err);
    dbk_buf_release(&from);
    return rc;
}

static int find_in(const struct finding *finding, const struct dbk_expression *expression)
{
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < expression->argument_count; i++)
        rc = find_in(finding, expression->arguments[i]);
    if (rc < 0 || expression->select == NULL)
        return rc;
    const struct dbk_relation *base = dbk_relation_base(expression->select);
    if (!finding->delta->changed[base->inputs[0]->number])
        return rc;
    /* An operand that asks itself is touched by its own rows, but is not known for them. */
    if (expression->kind != DBK_EXPRESSION_AMONG || base != expression->select ||
        dbk_expression_asks(expression->arguments[0]))
        return find_for(finding, expression, MEETS);
    for (enum meeting meeting = MEETS_EQUAL; rc == DBK_OK && meeting < MEETS; meeting++)
        rc = find_for(finding, expression, meeting);
    return rc;
}

int dbk_touch_subqueries(const struct dbk_delta *delta, const struct dbk_relation *block,
                         dbk_touch_fn touch, void *context, struct dbk_error *err)
{
    const struct finding finding = {delta, block, touch, context, err};
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < block->column_count; i++)
        rc = find_in(&finding, block->outputs[i]);
    for (size_t i = 0; rc == DBK_OK && i < block->condition_count; i++)
        rc = find_in(&finding, block->conditions[i].test);
    return rc;
}

/* Subqueries' inputs, too. */
static bool asks_of_changed(const struct dbk_delta *delta, const struct dbk_expression *expression)
{
    if (expression->select != NULL &&
        delta->changed[dbk_relation_base(expression->select)->inputs[0]->number])
        return true;
    for (size_t i = 0; i < expression->argument_count; i++) {
        if (asks_of_changed(delta, expression->arguments[i]))
            return true;
    }
    return false;
}

bool dbk_delta_reaches(const struct dbk_delta *delta, const struct dbk_relation *relation)
{
    bool block = relation->kind == DBK_RELATION_BLOCK || relation->kind == DBK_RELATION_WINDOW;
    for (size_t i = 0; i < relation->input_count; i++) {
        const struct dbk_relation *input = relation->inputs[i];
        if (delta->changed[input->number] || (!block && dbk_delta_reaches(delta, input)))
            return true;
    }
    for (size_t i = 0; block && i < relation->column_count; i++) {
        if (asks_of_changed(delta, relation->outputs[i]))
            return true;
    }
    for (size_t i = 0; block && i < relation->condition_count; i++) {
        if (asks_of_changed(delta, relation->conditions[i].test))
            return true;
    }
    return false;
}
