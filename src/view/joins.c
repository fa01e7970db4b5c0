/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Joins of any kind, one behind the other, into blocks of inner joins with LEFT JOINs behind:
 *
 *     (A LEFT JOIN B) JOIN C      A LEFT JOIN B is stored, and C joined to it
 *     A RIGHT JOIN B              B LEFT JOIN A
 *     A FULL JOIN B ON c          A LEFT JOIN B ON c, and by UNION ALL B where no A meets it
 *
 * Each takes some of a block's inputs together into one, which has those of their columns that the
 * block reads.
 */
#include "view/select.h"

/* Which inputs are taken together, and where columns of others are found then. */
struct taking {
    struct dbk_reading *reading;
    struct dbk_relation *block;
    size_t count; /* the first ones; they become input 0 */
    bool swap;    /* instead: the first two change places */
    size_t pass;
    struct dbk_expression **found; /* columns of the first ones that are read */
    size_t found_count;
};

static int find(struct taking *taking, const struct dbk_expression *column, size_t *index_out)
{
    size_t count = taking->found_count;
    struct dbk_arena *arena = taking->reading->tree->arena;
    for (*index_out = 0; *index_out < count; (*index_out)++) {
        if (taking->found[*index_out]->input == column->input &&
            taking->found[*index_out]->column == column->column)
            return DBK_OK;
    }
    struct dbk_expression **grown =
        dbk_arena_alloc(arena, (count + 1) * sizeof(struct dbk_expression *));
    if (grown == NULL)
        return dbk_read_no_memory(taking->reading);
    for (size_t i = 0; i < count; i++)
        grown[i] = taking->found[i];
    taking->found = grown;
    taking->found_count++;
    return dbk_read_input_column(taking->reading, column->input, column->column, &grown[count]);
}

static int move_column(struct taking *taking, struct dbk_expression *column)
{
    size_t index = 0;
    if (taking->swap) {
        column->input = column->input < 2 ? 1 - column->input : column->input;
        return DBK_OK;
    }
    if (column->input >= taking->count) {
        column->input -= taking->count - 1;
        return DBK_OK;
    }
    int rc = find(taking, column, &index);
    column->input = 0;
    column->column = index;
    return rc;
}

static int move(struct taking *taking, struct dbk_expression *expression, bool around);

static int move_all(struct taking *taking, struct dbk_relation *base, bool around)
{
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < base->column_count; i++)
        rc = move(taking, base->outputs[i], around);
    for (size_t i = 0; rc == DBK_OK && i < base->condition_count; i++)
        rc = move(taking, base->conditions[i].test, around);
    return rc;
}

/* around: of a subquery in the block, whose columns from around are the block's. */
static int move(struct taking *taking, struct dbk_expression *expression, bool around)
{
    int rc = DBK_OK;
    if (expression->pass == taking->pass) /* An output's label may stand for it elsewhere. */
        return DBK_OK;
    expression->pass = taking->pass;
    if (expression->kind == DBK_EXPRESSION_COLUMN && expression->around == around)
        return move_column(taking, expression);
    for (size_t i = 0; rc == DBK_OK && i < expression->argument_count; i++)
        rc = move(taking, expression->arguments[i], around);
    struct dbk_relation *base =
        expression->select == NULL || around ? NULL : dbk_relation_base(expression->select);
    return rc == DBK_OK && base != NULL && base->kind == DBK_RELATION_BLOCK
               ? move_all(taking, base, true)
               : rc;
}

/* What is behind the inputs that were taken together, one after the other. */
static void shift(struct taking *taking, struct dbk_relation *made)
{
    struct dbk_relation *block = taking->block;
    size_t by = taking->count - 1;
    for (size_t i = taking->count; i < block->input_count; i++) {
        block->inputs[i - by] = block->inputs[i];
        block->joins[i - by] = block->joins[i];
    }
    block->inputs[0] = made;
    block->joins[0] = DBK_JOIN_INNER;
    block->outer >>= by;
    block->outer &= ~1U;
    block->input_count -= by;
}

static struct dbk_relation *make_block(struct taking *taking, size_t inputs, size_t conditions)
{
    struct dbk_relation *made = NULL;
    if (dbk_read_make_relation(taking->reading, DBK_RELATION_BLOCK, taking->found_count, inputs,
                               &made) < 0)
        return NULL;
    made->conditions = dbk_arena_alloc_zero(taking->reading->tree->arena, conditions + 1,
                                            sizeof(*made->conditions));
    for (size_t i = 0; i < taking->found_count; i++)
        made->outputs[i] = taking->found[i];
    return made->conditions == NULL ? NULL : made;
}

/* The tests of the joins that are taken out of the block. */
static struct dbk_algebra_test *take_tests(struct taking *taking, size_t *count_out)
{
    struct dbk_relation *block = taking->block;
    struct dbk_algebra_test *taken = dbk_arena_alloc_zero(
        taking->reading->tree->arena, block->condition_count + 1, sizeof(*taken));
    size_t left = 0;
    *count_out = 0;
    for (size_t i = 0; taken != NULL && i < block->condition_count; i++) {
        struct dbk_algebra_test test = block->conditions[i];
        if (test.input < taking->count) {
            taken[(*count_out)++] = test;
            continue;
        }
        if (test.input != SIZE_MAX)
            test.input -= taking->count - 1;
        block->conditions[left++] = test;
    }
    if (taken != NULL)
        block->condition_count = left;
    return taken;
}

static int store_first(struct dbk_reading *reading, struct dbk_relation *block, size_t count)
{
    struct taking taking = {
        .reading = reading, .block = block, .count = count, .pass = ++reading->pass};
    size_t test_count = 0;
    struct dbk_algebra_test *tests = take_tests(&taking, &test_count);
    if (tests == NULL)
        return dbk_read_no_memory(reading);
    int rc = move_all(&taking, block, false);
    struct dbk_relation *made = rc < 0 ? NULL : make_block(&taking, count, 0);
    if (made == NULL)
        return rc < 0 ? rc : dbk_read_no_memory(reading);
    for (size_t i = 0; i < count; i++) {
        made->inputs[i] = block->inputs[i];
        made->joins[i] = block->joins[i];
    }
    made->outer = block->outer & ((1U << count) - 1);
    made->conditions = tests;
    made->condition_count = test_count;
    shift(&taking, made);
    return rc;
}

static int swap_first(struct dbk_reading *reading, struct dbk_relation *block)
{
    struct taking taking = {
        .reading = reading, .block = block, .swap = true, .pass = ++reading->pass};
    struct dbk_relation *first = block->inputs[0];
    int rc = move_all(&taking, block, false);
    block->inputs[0] = block->inputs[1];
    block->inputs[1] = first;
    block->joins[1] = DBK_JOIN_LEFT;
    block->outer |= 2;
    return rc;
}

/* A copy; `around` makes of input 1 the block around, of which it is the only one. */
static struct dbk_expression *copy(struct dbk_reading *reading,
                                   const struct dbk_expression *expression, bool around)
{
    struct dbk_expression *made =
        dbk_read_make(reading, expression->kind, expression->argument_count);
    if (made == NULL)
        return NULL;
    struct dbk_expression **arguments = made->arguments;
    *made = *expression;
    made->arguments = arguments;
    for (size_t i = 0; i < made->argument_count; i++) {
        arguments[i] = copy(reading, expression->arguments[i], around);
        if (arguments[i] == NULL)
            return NULL;
    }
    if (around && made->kind == DBK_EXPRESSION_COLUMN && made->input == 1) {
        made->around = true;
        made->input = 0;
    }
    return made;
}

/* NOT EXISTS (SELECT 1 FROM <first> WHERE <tests>) */
static struct dbk_expression *make_unmet(struct taking *taking,
                                         const struct dbk_algebra_test *tests, size_t count)
{
    struct dbk_reading *reading = taking->reading;
    struct dbk_expression *unmet = dbk_read_make(reading, DBK_EXPRESSION_NOT, 1);
    struct dbk_expression *exists = dbk_read_make(reading, DBK_EXPRESSION_EXISTS, 0);
    struct dbk_expression *one = dbk_read_make(reading, DBK_EXPRESSION_CONSTANT, 0);
    struct dbk_relation *select = NULL;
    if (unmet == NULL || exists == NULL || one == NULL ||
        dbk_read_make_relation(reading, DBK_RELATION_BLOCK, 1, 1, &select) < 0)
        return NULL;
    select->conditions =
        dbk_arena_alloc_zero(reading->tree->arena, count + 1, sizeof(*select->conditions));
    if (select->conditions == NULL)
        return NULL;
    for (size_t i = 0; i < count; i++) {
        select->conditions[i].test = copy(reading, tests[i].test, true);
        select->conditions[i].input = SIZE_MAX;
        if (select->conditions[i].test == NULL)
            return NULL;
    }
    one->text = "1";
    select->condition_count = count;
    select->outputs[0] = one;
    select->inputs[0] = taking->block->inputs[0];
    select->depth = 1;
    exists->select = select;
    unmet->arguments[0] = exists;
    return unmet;
}

int dbk_normal_take(struct dbk_reading *reading, struct dbk_relation *block)
{
    struct dbk_algebra_test *tests = block->conditions;
    size_t count = block->condition_count;
    /* An output's label may stand for it in WHERE: only the outputs change. */
    for (size_t i = 0; i < count; i++) {
        tests[i].test = copy(reading, tests[i].test, false);
        if (tests[i].test == NULL)
            return dbk_read_no_memory(reading);
    }
    block->condition_count = 0;
    int rc = store_first(reading, block, block->input_count);
    if (rc < 0)
        return rc;
    block->inputs[0]->conditions = tests;
    block->inputs[0]->condition_count = count;
    return rc;
}

/* The second's rows that the first has none for: its columns, NULLs for the first's. */
static struct dbk_relation *make_rest(struct taking *taking, const struct dbk_algebra_test *tests,
                                      size_t count)
{
    struct dbk_reading *reading = taking->reading;
    struct dbk_relation *rest = make_block(taking, 1, 1);
    struct dbk_expression *nothing = dbk_read_make(reading, DBK_EXPRESSION_CONSTANT, 0);
    if (rest == NULL || nothing == NULL)
        return NULL;
    nothing->text = "NULL";
    for (size_t i = 0; i < taking->found_count; i++) {
        const struct dbk_expression *column = taking->found[i];
        if (column->input == 0)
            rest->outputs[i] = nothing;
        else if (dbk_read_input_column(reading, 0, column->column, &rest->outputs[i]) < 0)
            return NULL;
    }
    rest->inputs[0] = taking->block->inputs[1];
    rest->conditions[0] = (struct dbk_algebra_test){make_unmet(taking, tests, count), SIZE_MAX};
    rest->condition_count = 1;
    return rest->conditions[0].test == NULL ? NULL : rest;
}

static int take_full(struct dbk_reading *reading, struct dbk_relation *block)
{
    struct taking taking = {
        .reading = reading, .block = block, .count = 2, .pass = ++reading->pass};
    size_t test_count = 0;
    struct dbk_relation *all = NULL;
    struct dbk_algebra_test *tests = take_tests(&taking, &test_count);
    if (tests == NULL)
        return dbk_read_no_memory(reading);
    for (size_t i = 0; i < test_count; i++) {
        if (dbk_expression_asks(tests[i].test))
            return dbk_read_obstacle(reading, tests[i].test->place, "",
                                     "a subquery in the ON of a FULL JOIN");
    }
    int rc = move_all(&taking, block, false);
    if (rc == DBK_OK)
        rc = dbk_read_make_relation(reading, DBK_RELATION_UNION, taking.found_count, 2, &all);
    if (rc < 0)
        return rc;
    struct dbk_relation *met = make_block(&taking, 2, 0);
    struct dbk_relation *rest = make_rest(&taking, tests, test_count);
    if (met == NULL || rest == NULL)
        return dbk_read_no_memory(reading);
    met->inputs[0] = block->inputs[0];
    met->inputs[1] = block->inputs[1];
    met->joins[1] = DBK_JOIN_LEFT;
    met->outer = 2;
    met->conditions = tests;
    met->condition_count = test_count;
    all->inputs[0] = met;
    all->inputs[1] = rest;
    shift(&taking, all);
    return rc;
}

int dbk_normal_joins(struct dbk_reading *reading, struct dbk_relation *block)
{
    int rc = DBK_OK;
    for (size_t i = 1; rc == DBK_OK && i < block->input_count; i++) {
        enum dbk_join_kind kind = block->joins[i];
        bool behind = (block->outer & ((1U << i) - 1)) != 0;
        bool sided = kind == DBK_JOIN_RIGHT || kind == DBK_JOIN_FULL;
        if (kind == DBK_JOIN_LEFT || (kind == DBK_JOIN_INNER && !behind))
            continue;
        if (i > 1 || !sided)
            rc = store_first(reading, block, i);
        else
            rc = kind == DBK_JOIN_RIGHT ? swap_first(reading, block) : take_full(reading, block);
        i = 0;
    }
    return rc;
}
