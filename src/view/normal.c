/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tree as it is written into one of which each relation has a rule:
 *
 *     a relation in another's FROM    is stored, and has a difference of its own
 *     HAVING of such a group          is the WHERE of a block over it, which is stored
 *     a group over anything but       the block is stored, and the group is over it
 *     inner joins
 *     window functions                what they read is stored, and they are over it
    the log beside others           what is read of it is stored (apart.c)
 *     UNION, EXCEPT, INTERSECT        groups over UNION ALL, whose rows say which side they are of
 */
#include <stdio.h>

#include "view/select.h"

static int normalise(struct dbk_reading *reading, struct dbk_relation *relation, bool inner,
                     struct dbk_relation **made_out);

static int enter(struct dbk_reading *reading, struct dbk_relation *relation)
{
    if (relation->entered)
        return DBK_OK;
    relation->entered = true;
    return dbk_read_enter(reading, relation);
}

/* It is kept beside the view, and its rows are known by a number. */
static void store(struct dbk_relation *relation)
{
    static const char *const rowid[] = {"rowid"};
    static const char *const number[] = {"_daybook_row"};
    static const char *const types[] = {"bigint"};
    relation->stored = true;
    relation->rows = relation->typed ? number : rowid;
    relation->noted = number;
    relation->row_types = types;
    relation->row_count = 1;
}

int dbk_normal_input(struct dbk_reading *reading, struct dbk_relation *relation,
                     struct dbk_relation **input_out)
{
    struct dbk_relation *made = relation;
    int rc = DBK_OK;
    if (relation->kind == DBK_RELATION_TABLE)
        rc = enter(reading, relation);
    else if (relation->normal != NULL)
        made = relation->normal;
    else
        rc = normalise(reading, relation, true, &made);
    if (rc < 0)
        return rc;
    relation->normal = made;
    made->normal = made;
    if (made->kind != DBK_RELATION_TABLE)
        store(made);
    *input_out = made;
    return rc;
}

int dbk_normal_trivial(struct dbk_reading *reading, struct dbk_relation *input,
                       struct dbk_relation **block_out)
{
    struct dbk_relation *made = NULL;
    int rc = dbk_read_make_relation(reading, DBK_RELATION_BLOCK, input->column_count, 1, &made);
    for (size_t i = 0; rc == DBK_OK && i < input->column_count; i++) {
        made->labels[i] = input->labels[i];
        rc = dbk_read_input_column(reading, 0, i, &made->outputs[i]);
    }
    if (rc < 0)
        return rc;
    made->depth = 0;
    made->inputs[0] = input;
    made->key_count = input->row_count;
    *block_out = made;
    return rc;
}

/* ---- Blocks ---- */

static int find_subqueries(struct dbk_reading *reading, struct dbk_expression *expression)
{
    if (expression->select != NULL) {
        int rc = dbk_normal_subquery(reading, expression);
        if (rc < 0)
            return rc;
    }
    for (size_t i = 0; i < expression->argument_count; i++) {
        int rc = find_subqueries(reading, expression->arguments[i]);
        if (rc < 0)
            return rc;
    }
    return DBK_OK;
}

static int normal_conditions(struct dbk_reading *reading, struct dbk_relation *block)
{
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < block->condition_count; i++) {
        const struct dbk_algebra_test *test = &block->conditions[i];
        if (!dbk_expression_asks(test->test))
            continue;
        if (test->input != SIZE_MAX && (block->outer & 1U << test->input) != 0)
            rc = dbk_read_obstacle(reading, test->test->place, "",
                                   "a subquery in the ON of a LEFT JOIN");
        else
            rc = find_subqueries(reading, test->test);
    }
    return rc;
}

static int normal_block(struct dbk_reading *reading, struct dbk_relation *block)
{
    int rc = DBK_OK;
    rc = dbk_normal_joins(reading, block);
    if (rc == DBK_OK && (block->input_count > 1 || dbk_relation_asks(block)))
        rc = dbk_normal_apart(reading, block);
    block->key_count = 0;
    block->depth = 0;
    for (size_t i = 0; rc == DBK_OK && i < block->input_count; i++) {
        rc = dbk_normal_input(reading, block->inputs[i], &block->inputs[i]);
        block->key_count += (block->outer & 1U << i) == 0 ? block->inputs[i]->row_count : 0;
    }
    for (size_t i = 0; rc == DBK_OK && i < block->column_count; i++)
        rc = find_subqueries(reading, block->outputs[i]);
    if (rc == DBK_OK)
        rc = normal_conditions(reading, block);
    return rc < 0 ? rc : enter(reading, block);
}

/* A block that is a branch of UNION ALL, or one over what is none. */
static int normal_branch(struct dbk_reading *reading, struct dbk_relation *relation,
                         struct dbk_relation **block_out)
{
    struct dbk_relation *input = NULL;
    if (relation->kind == DBK_RELATION_BLOCK && relation->normal == NULL &&
        !dbk_relation_windows(relation)) {
        *block_out = relation;
        return normal_block(reading, relation);
    }
    int rc = dbk_normal_input(reading, relation, &input);
    if (rc == DBK_OK)
        rc = dbk_normal_trivial(reading, input, block_out);
    return rc < 0 ? rc : enter(reading, *block_out);
}

/* ---- Groups ---- */

/* Its difference has weights, or finds the groups that are computed again. */
static bool is_additive(const struct dbk_relation *group)
{
    const struct dbk_relation *block = group->inputs[0];
    if (dbk_relation_asks(block) || dbk_relation_windows(block))
        return false;
    /* The log knows no index by which a group's events are found. */
    if (block->input_count == 1 && dbk_relation_reads_log(block) && dbk_group_recomputes(group))
        return false;
    for (size_t i = 0; i < group->key_count; i++) {
        if ((dbk_expression_reads(block->outputs[i]) & block->outer) != 0)
            return false;
    }
    return true;
}

static int make_slot(struct dbk_reading *reading, size_t slot, struct dbk_expression **made_out)
{
    struct dbk_expression *made = dbk_read_make(reading, DBK_EXPRESSION_SLOT, 0);
    if (made == NULL)
        return dbk_read_no_memory(reading);
    made->column = slot;
    *made_out = made;
    return DBK_OK;
}

/* Slots become columns of the group. */
static int lower(struct dbk_reading *reading, struct dbk_expression **at)
{
    struct dbk_expression *old = *at;
    if (old->kind == DBK_EXPRESSION_SLOT) {
        int rc = dbk_read_input_column(reading, 0, old->column, at);
        (*at)->place = old->place;
        return rc;
    }
    struct dbk_expression *made = dbk_read_make(reading, old->kind, old->argument_count);
    if (made == NULL)
        return dbk_read_no_memory(reading);
    struct dbk_expression **arguments = made->arguments;
    *made = *old;
    made->arguments = arguments;
    for (size_t i = 0; i < made->argument_count; i++) {
        arguments[i] = old->arguments[i];
        int rc = lower(reading, &arguments[i]);
        if (rc < 0)
            return rc;
    }
    *at = made;
    return DBK_OK;
}

/* A block over the group, which gives its slots: HAVING is WHERE there. */
static int split(struct dbk_reading *reading, struct dbk_relation *group,
                 struct dbk_relation **block_out)
{
    struct dbk_relation *slots = NULL;
    struct dbk_relation *made = NULL;
    size_t count = group->key_count + group->aggregate_count;
    int rc = dbk_read_make_relation(reading, DBK_RELATION_GROUP, count, 1, &slots);
    for (size_t i = 0; rc == DBK_OK && i < count; i++)
        rc = make_slot(reading, i, &slots->outputs[i]);
    if (rc == DBK_OK)
        rc = dbk_read_make_relation(reading, DBK_RELATION_BLOCK, group->column_count, 1, &made);
    for (size_t i = 0; rc == DBK_OK && i < group->column_count; i++) {
        made->outputs[i] = group->outputs[i];
        rc = lower(reading, &made->outputs[i]);
    }
    if (rc < 0)
        return rc;
    slots->key_count = group->key_count;
    slots->aggregates = group->aggregates;
    slots->aggregate_count = group->aggregate_count;
    slots->inputs[0] = group->inputs[0];
    slots->grouped = group->grouped;
    store(slots);
    made->labels = group->labels;
    made->inputs[0] = slots;
    if (group->having != NULL) {
        made->conditions = dbk_arena_alloc_zero(reading->tree->arena, 1, sizeof(*made->conditions));
        if (made->conditions == NULL)
            return dbk_read_no_memory(reading);
        made->conditions[0] = (struct dbk_algebra_test){group->having, SIZE_MAX};
        made->condition_count = 1;
        rc = lower(reading, &made->conditions[0].test);
    }
    if (rc == DBK_OK)
        rc = enter(reading, slots);
    slots->normal = slots;
    return rc < 0 ? rc : normalise(reading, made, true, block_out);
}

static bool group_asks(const struct dbk_relation *group)
{
    for (size_t i = 0; i < group->column_count; i++) {
        if (dbk_expression_asks(group->outputs[i]))
            return true;
    }
    return group->having != NULL && dbk_expression_asks(group->having);
}

static int normal_group(struct dbk_reading *reading, struct dbk_relation *group, bool inner,
                        struct dbk_relation **made_out)
{
    struct dbk_relation *block = group->inputs[0];
    int rc = block->kind == DBK_RELATION_BLOCK ? dbk_normal_joins(reading, block) : DBK_OK;
    if (rc < 0)
        return rc;
    bool additive = is_additive(group);
    rc = normalise(reading, block, !additive, &block);
    if (rc == DBK_OK && !additive) {
        block->normal = block;
        rc = dbk_normal_input(reading, block, &block);
        if (rc == DBK_OK)
            rc = dbk_normal_trivial(reading, block, &group->inputs[0]);
        if (rc == DBK_OK)
            rc = enter(reading, group->inputs[0]);
    }
    if (rc < 0)
        return rc;
    if (group_asks(group) || dbk_relation_windows(group) || (inner && group->having != NULL))
        return split(reading, group, made_out);
    *made_out = group;
    return enter(reading, group);
}

/* ---- Several SELECTs ---- */

static int normal_union(struct dbk_reading *reading, struct dbk_relation *all)
{
    all->key_count = 0;
    for (size_t i = 0; i < all->input_count; i++) {
        int rc = normal_branch(reading, all->inputs[i], &all->inputs[i]);
        if (rc < 0)
            return rc;
        if (all->key_count < 1 + all->inputs[i]->key_count)
            all->key_count = 1 + all->inputs[i]->key_count;
    }
    return enter(reading, all);
}

/* A branch with one more column, which says the side. */
static int mark_side(struct dbk_reading *reading, struct dbk_relation *branch, const char *side,
                     struct dbk_relation **block_out)
{
    struct dbk_relation *input = NULL;
    struct dbk_relation *made = NULL;
    int rc = dbk_normal_input(reading, branch, &input);
    size_t count = branch->column_count;
    struct dbk_expression *mark = dbk_read_make(reading, DBK_EXPRESSION_CONSTANT, 0);
    if (rc == DBK_OK)
        rc = mark == NULL
                 ? dbk_read_no_memory(reading)
                 : dbk_read_make_relation(reading, DBK_RELATION_BLOCK, count + 1, 1, &made);
    for (size_t i = 0; rc == DBK_OK && i < count; i++)
        rc = dbk_read_input_column(reading, 0, i, &made->outputs[i]);
    if (rc < 0)
        return rc;
    mark->text = side;
    made->outputs[count] = mark;
    made->inputs[0] = input;
    *block_out = made;
    return rc;
}

/* The branches of UNIONs to the left are all one UNION's. */
static size_t count_branches(const struct dbk_relation *set)
{
    const struct dbk_relation *left = set->inputs[0];
    if (left->kind == DBK_RELATION_SET && strcmp(left->set, "UNION") == 0)
        return count_branches(left) + 1;
    return 2;
}

static int make_branches(struct dbk_reading *reading, struct dbk_relation *set,
                         struct dbk_relation **all_out)
{
    bool sides = strcmp(set->set, "UNION") != 0;
    size_t count = sides ? 2 : count_branches(set);
    struct dbk_relation *all = NULL;
    struct dbk_relation *from = set;
    int rc = dbk_read_make_relation(reading, DBK_RELATION_UNION,
                                    set->column_count + (sides ? 1 : 0), count, &all);
    if (rc < 0)
        return rc;
    for (size_t i = count; i-- > 0;) {
        all->inputs[i] = i == 0 ? from->inputs[0] : from->inputs[1];
        if (i > 1 && !sides)
            from = from->inputs[0];
    }
    for (size_t i = 0; rc == DBK_OK && i < count; i++) {
        for (size_t j = 0; j < set->column_count; j++)
            all->bare = all->bare || dbk_relation_affinity(all->inputs[i], j) !=
                                         dbk_relation_affinity(all->inputs[0], j);
    }
    for (size_t i = 0; rc == DBK_OK && sides && i < count; i++)
        rc = mark_side(reading, all->inputs[i], i == 0 ? "0" : "1", &all->inputs[i]);
    *all_out = all;
    return rc;
}

/* sum(side) = 0, or sum(side) BETWEEN 1 AND count(*) - 1 */
static int make_having(struct dbk_reading *reading, struct dbk_relation *group, bool except)
{
    size_t keys = group->key_count;
    struct dbk_aggregate *made =
        dbk_arena_alloc_zero(reading->tree->arena, 2, sizeof(*group->aggregates));
    struct dbk_expression *test = dbk_read_make(reading, DBK_EXPRESSION_OPERATOR, 2);
    struct dbk_expression *sum = dbk_read_make(reading, DBK_EXPRESSION_SLOT, 0);
    struct dbk_expression *count = dbk_read_make(reading, DBK_EXPRESSION_SLOT, 0);
    struct dbk_expression *zero = dbk_read_make(reading, DBK_EXPRESSION_CONSTANT, 0);
    if (made == NULL || test == NULL || sum == NULL || count == NULL || zero == NULL)
        return dbk_read_no_memory(reading);
    made[0] = (struct dbk_aggregate){.kind = DBK_AGGREGATE_SUM, .name = "sum", .argument = keys};
    made[1] = (struct dbk_aggregate){.kind = DBK_AGGREGATE_COUNT, .name = "count", .star = true};
    sum->column = keys;
    count->column = keys + 1;
    zero->text = "0";
    test->text = "=";
    test->arguments[0] = sum;
    test->arguments[1] = zero;
    group->aggregates = made;
    group->aggregate_count = 2;
    group->having = test;
    if (except)
        return DBK_OK;
    struct dbk_expression *both = dbk_read_make(reading, DBK_EXPRESSION_OPERATOR, 2);
    struct dbk_expression *right = dbk_read_make(reading, DBK_EXPRESSION_OPERATOR, 2);
    if (both == NULL || right == NULL)
        return dbk_read_no_memory(reading);
    right->text = "<";
    right->arguments[0] = sum;
    right->arguments[1] = count;
    test->text = ">";
    both->text = "AND";
    both->arguments[0] = test;
    both->arguments[1] = right;
    group->having = both;
    return DBK_OK;
}

static int normal_set(struct dbk_reading *reading, struct dbk_relation *set, bool inner,
                      struct dbk_relation **made_out)
{
    struct dbk_relation *all = NULL;
    struct dbk_relation *input = NULL;
    struct dbk_relation *group = NULL;
    int rc = make_branches(reading, set, &all);
    if (rc == DBK_OK)
        rc = dbk_normal_input(reading, all, &input);
    if (rc == DBK_OK)
        rc = dbk_read_make_relation(reading, DBK_RELATION_GROUP, set->column_count, 1, &group);
    if (rc == DBK_OK)
        rc = dbk_normal_trivial(reading, input, &group->inputs[0]);
    for (size_t i = 0; rc == DBK_OK && i < set->column_count; i++)
        rc = make_slot(reading, i, &group->outputs[i]);
    if (rc < 0)
        return rc;
    group->set = set->set;
    group->labels = set->labels;
    group->key_count = set->column_count;
    group->grouped = true;
    if (strcmp(set->set, "UNION") != 0)
        rc = make_having(reading, group, strcmp(set->set, "EXCEPT") == 0);
    return rc < 0 ? rc : normal_group(reading, group, inner, made_out);
}

/* inner: it is another relation's input. */
static int normalise(struct dbk_reading *reading, struct dbk_relation *relation, bool inner,
                     struct dbk_relation **made_out)
{
    int rc = DBK_OK;
    *made_out = relation;
    switch (relation->kind) {
    case DBK_RELATION_TABLE:
        return enter(reading, relation);
    case DBK_RELATION_BLOCK:
        if (!dbk_relation_windows(relation))
            return normal_block(reading, relation);
        rc = dbk_normal_window(reading, relation);
        return rc < 0 ? rc : enter(reading, relation);
    case DBK_RELATION_WINDOW:
        return DBK_OK;
    case DBK_RELATION_UNION:
        return normal_union(reading, relation);
    case DBK_RELATION_SET:
        return normal_set(reading, relation, inner, made_out);
    case DBK_RELATION_GROUP:
        return normal_group(reading, relation, inner, made_out);
    }
    return DBK_OK;
}

int dbk_read_normal(struct dbk_reading *reading)
{
    struct dbk_algebra *tree = reading->tree;
    for (size_t i = 0; i < tree->relation_count; i++)
        tree->relations[i]->entered = false;
    tree->relations = NULL;
    tree->relation_count = 0;
    return normalise(reading, tree->root, false, &tree->root);
}
