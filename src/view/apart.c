/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a block reads of the log becomes an input of its own, which is stored:
 *
 *     FROM events e JOIN t ON json_extract(e.data, '$.k') = t.k WHERE e.type = 'X'
 *     FROM (SELECT json_extract(e.data, '$.k') AS c0 FROM events e WHERE e.type = 'X') f0
 *          JOIN t ON f0.c0 = t.k
 *
 * The log knows no index on what is in its events. What is stored has one on each column that it is
 * joined or grouped by, and keeps of the log no more than the block reads.
 */
#include <strings.h>

#include "view/select.h"

struct taking {
    struct dbk_reading *reading;
    struct dbk_relation *block;
    size_t input; /* the log */
    bool outer;   /* behind LEFT JOIN: its columns may be NULL where it has no row */
    size_t pass;
    struct dbk_expression **found; /* over the log as input 0 */
    size_t found_count;
};

/* A copy in which the input is input 0 of its own block. */
static struct dbk_expression *copy(const struct taking *taking, const struct dbk_expression *from)
{
    struct dbk_expression *made = dbk_read_make(taking->reading, from->kind, from->argument_count);
    if (made == NULL)
        return NULL;
    struct dbk_expression **arguments = made->arguments;
    *made = *from;
    made->arguments = arguments;
    made->pass = 0;
    for (size_t i = 0; i < made->argument_count; i++) {
        arguments[i] = copy(taking, from->arguments[i]);
        if (arguments[i] == NULL)
            return NULL;
    }
    if (made->kind == DBK_EXPRESSION_COLUMN) {
        made->input = 0;
        made->around = false;
    }
    return made;
}

/* NULL of NULL, so that it is the same behind a LEFT JOIN. */
static bool is_strict(const struct dbk_expression *expression)
{
    bool json = expression->text != NULL &&
                ((expression->kind == DBK_EXPRESSION_CALL &&
                  strcasecmp(expression->text, "json_extract") == 0) ||
                 (expression->kind == DBK_EXPRESSION_OPERATOR && expression->argument_count == 2 &&
                  strncmp(expression->text, "->", 2) == 0));
    return expression->kind == DBK_EXPRESSION_COLUMN ||
           (json && expression->argument_count > 0 && is_strict(expression->arguments[0]));
}

/* True when it reads the log and nothing else; columns_out: how many of its columns. */
static bool is_only(const struct taking *taking, const struct dbk_expression *expression,
                    bool around, size_t *columns)
{
    switch (expression->kind) {
    case DBK_EXPRESSION_COLUMN:
        (*columns)++;
        return expression->pass != taking->pass && expression->around == around &&
               expression->input == taking->input;
    case DBK_EXPRESSION_SLOT:
    case DBK_EXPRESSION_WINDOW:
    case DBK_EXPRESSION_EXISTS:
    case DBK_EXPRESSION_SCALAR:
    case DBK_EXPRESSION_AMONG:
        return false;
    case DBK_EXPRESSION_CONSTANT:
    case DBK_EXPRESSION_CALL:
    case DBK_EXPRESSION_OPERATOR:
    case DBK_EXPRESSION_NOT:
    case DBK_EXPRESSION_IS_NULL:
    case DBK_EXPRESSION_CASE:
    case DBK_EXPRESSION_CAST:
    case DBK_EXPRESSION_IN:
    case DBK_EXPRESSION_BETWEEN:
        break;
    }
    for (size_t i = 0; i < expression->argument_count; i++) {
        if (!is_only(taking, expression->arguments[i], around, columns))
            return false;
    }
    return true;
}

static int find(struct taking *taking, const struct dbk_expression *expression, size_t *index_out)
{
    size_t count = taking->found_count;
    struct dbk_expression *made = copy(taking, expression);
    if (made == NULL)
        return dbk_read_no_memory(taking->reading);
    for (*index_out = 0; *index_out < count; (*index_out)++) {
        if (dbk_expression_equal(taking->found[*index_out], made))
            return DBK_OK;
    }
    struct dbk_expression **grown = dbk_arena_alloc(taking->reading->tree->arena,
                                                    (count + 1) * sizeof(struct dbk_expression *));
    if (grown == NULL)
        return dbk_read_no_memory(taking->reading);
    for (size_t i = 0; i < count; i++)
        grown[i] = taking->found[i];
    grown[count] = made;
    taking->found = grown;
    taking->found_count++;
    return DBK_OK;
}

static int take(struct taking *taking, struct dbk_expression *expression, bool around, bool strict);

static int take_all(struct taking *taking, struct dbk_relation *block, bool around)
{
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < block->column_count; i++)
        rc = take(taking, block->outputs[i], around, taking->outer);
    for (size_t i = 0; rc == DBK_OK && i < block->condition_count; i++) {
        /* The ON of its own LEFT JOIN is asked of rows that there are. */
        bool own = !around && block->conditions[i].input == taking->input;
        rc = take(taking, block->conditions[i].test, around, taking->outer && !own);
    }
    return rc;
}

/* The widest parts that read nothing else become columns. around: in a subquery of the block. */
static int take(struct taking *taking, struct dbk_expression *expression, bool around, bool strict)
{
    size_t columns = 0;
    int rc = DBK_OK;
    if (expression->pass == taking->pass) /* An output's label may stand for it elsewhere. */
        return rc;
    if (is_only(taking, expression, around, &columns) && columns > 0 &&
        (!strict || is_strict(expression))) {
        size_t index = 0;
        size_t place = expression->place;
        rc = find(taking, expression, &index);
        *expression = (struct dbk_expression){.kind = DBK_EXPRESSION_COLUMN,
                                              .input = taking->input,
                                              .column = index,
                                              .around = around,
                                              .place = place,
                                              .pass = taking->pass};
        return rc;
    }
    expression->pass = taking->pass;
    for (size_t i = 0; rc == DBK_OK && i < expression->argument_count; i++)
        rc = take(taking, expression->arguments[i], around, strict);
    struct dbk_relation *base =
        expression->select == NULL || around ? NULL : dbk_relation_base(expression->select);
    return rc == DBK_OK && base != NULL && base->kind == DBK_RELATION_BLOCK
               ? take_all(taking, base, true)
               : rc;
}

/* A condition that can be asked of the log's rows before they meet others. */
static bool is_own(const struct taking *taking, const struct dbk_algebra_test *test)
{
    const struct dbk_relation *block = taking->block;
    bool elsewhere = test->input != SIZE_MAX && test->input != taking->input &&
                     (block->outer & 1U << test->input) != 0;
    if (dbk_expression_asks(test->test) || dbk_expression_reads_around(test->test) != 0 ||
        dbk_expression_reads(test->test) != 1U << taking->input)
        return false;
    return taking->outer ? test->input == taking->input : !elsewhere;
}

/* Its own conditions leave the block. */
static int take_conditions(struct taking *taking, struct dbk_relation *made)
{
    struct dbk_relation *block = taking->block;
    struct dbk_algebra_test *left = dbk_arena_alloc_zero(taking->reading->tree->arena,
                                                         block->condition_count + 1, sizeof(*left));
    size_t left_count = 0;
    made->conditions = dbk_arena_alloc_zero(taking->reading->tree->arena,
                                            block->condition_count + 1, sizeof(*made->conditions));
    if (left == NULL || made->conditions == NULL)
        return dbk_read_no_memory(taking->reading);
    for (size_t i = 0; i < block->condition_count; i++) {
        struct dbk_algebra_test test = block->conditions[i];
        if (!is_own(taking, &test)) {
            left[left_count++] = test;
            continue;
        }
        test.test = copy(taking, test.test);
        test.input = SIZE_MAX;
        if (test.test == NULL)
            return dbk_read_no_memory(taking->reading);
        made->conditions[made->condition_count++] = test;
    }
    block->conditions = left;
    block->condition_count = left_count;
    return DBK_OK;
}

static int take_log(struct dbk_reading *reading, struct dbk_relation *block, size_t input)
{
    struct taking taking = {.reading = reading,
                            .block = block,
                            .input = input,
                            .outer = (block->outer & 1U << input) != 0,
                            .pass = ++reading->pass};
    struct dbk_relation *before = NULL;
    struct dbk_relation *made = NULL;
    int rc = dbk_read_make_relation(reading, DBK_RELATION_BLOCK, 0, 1, &before);
    if (rc == DBK_OK)
        rc = take_conditions(&taking, before);
    if (rc == DBK_OK)
        rc = take_all(&taking, block, false);
    if (rc == DBK_OK)
        rc = dbk_read_make_relation(reading, DBK_RELATION_BLOCK, taking.found_count, 1, &made);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < taking.found_count; i++)
        made->outputs[i] = taking.found[i];
    made->conditions = before->conditions;
    made->condition_count = before->condition_count;
    made->inputs[0] = block->inputs[input];
    made->depth = 0;
    block->inputs[input] = made;
    return DBK_OK;
}

int dbk_normal_apart(struct dbk_reading *reading, struct dbk_relation *block)
{
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < block->input_count; i++) {
        if (block->inputs[i]->log)
            rc = take_log(reading, block, i);
    }
    return rc;
}

bool dbk_relation_reads_log(const struct dbk_relation *block)
{
    for (size_t i = 0; i < block->input_count; i++) {
        if (block->inputs[i]->log)
            return true;
    }
    return false;
}

/* ---- Sums ---- */

/* An integer whatever the events hold, as long as nothing overflows. */
static bool is_whole(const struct dbk_relation *block, const struct dbk_expression *expression)
{
    size_t begin = 0;
    size_t step = 1;
    if (expression->kind == DBK_EXPRESSION_CAST)
        return dbk_type_affinity(expression->text) == 'I';
    if (expression->kind == DBK_EXPRESSION_COLUMN)
        return !expression->around &&
               dbk_relation_affinity(block->inputs[expression->input], expression->column) == 'I';
    if (expression->kind == DBK_EXPRESSION_CONSTANT)
        return strspn(expression->text, "0123456789") == strlen(expression->text) ||
               strcasecmp(expression->text, "null") == 0;
    if (expression->kind == DBK_EXPRESSION_CASE) {
        begin = expression->has_operand ? 2 : 1;
        step = 2;
    } else if (expression->kind != DBK_EXPRESSION_OPERATOR ||
               (strcmp(expression->text, "+") != 0 && strcmp(expression->text, "-") != 0 &&
                strcmp(expression->text, "*") != 0)) {
        return false;
    }
    bool whole = true;
    for (size_t i = begin; i < expression->argument_count; i += step)
        whole = whole && is_whole(block, expression->arguments[i]);
    /* ELSE stands where a WHEN would. */
    if (expression->has_else)
        whole = whole && is_whole(block, expression->arguments[expression->argument_count - 1]);
    return whole;
}

bool dbk_group_recomputes(const struct dbk_relation *group)
{
    const struct dbk_relation *block = group->inputs[0];
    for (size_t i = 0; i < group->aggregate_count; i++) {
        const struct dbk_aggregate *aggregate = &group->aggregates[i];
        if (aggregate->kind == DBK_AGGREGATE_OTHER ||
            (aggregate->kind == DBK_AGGREGATE_SUM &&
             !is_whole(block, block->outputs[aggregate->argument])))
            return true;
    }
    return false;
}
