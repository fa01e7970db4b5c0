/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A grouped SELECT, taken apart: the block below gives keys and the arguments of aggregates, the
 * group has a slot for each key and each aggregate, and its outputs are expressions over slots.
 */
#include <strings.h>

#include "view/select.h"

static enum dbk_aggregate_kind kind_of(const struct dbk_expression *call)
{
    bool end = strcasecmp(call->text, "min") == 0 || strcasecmp(call->text, "max") == 0;
    if (end)
        return DBK_AGGREGATE_LEAST;
    if (call->distinct)
        return DBK_AGGREGATE_OTHER;
    static const char *const sums[] = {"sum", "total", "avg"};
    if (strcasecmp(call->text, "count") == 0)
        return DBK_AGGREGATE_COUNT;
    return DBK_READ_IS_AMONG(dbk_slice_of(call->text), sums) ? DBK_AGGREGATE_SUM
                                                             : DBK_AGGREGATE_OTHER;
}

/* The place of an argument among the block's outputs behind the keys. */
static int find_argument(struct dbk_reading *reading, struct dbk_group_parts *parts,
                         struct dbk_expression *argument, size_t *output_out)
{
    size_t count = parts->block_output_count;
    for (size_t i = parts->key_count; i < count; i++) {
        if (dbk_expression_equal(parts->block_outputs[i], argument)) {
            *output_out = i;
            return DBK_OK;
        }
    }
    struct dbk_expression **grown =
        dbk_arena_alloc(reading->tree->arena, (count + 1) * sizeof(struct dbk_expression *));
    const char **labels = dbk_arena_alloc_zero(reading->tree->arena, count + 1, sizeof(*labels));
    if (grown == NULL || labels == NULL)
        return dbk_read_no_memory(reading);
    for (size_t i = 0; i < count; i++)
        grown[i] = parts->block_outputs[i];
    grown[count] = argument;
    parts->block_outputs = grown;
    parts->block_labels = labels;
    parts->block_output_count = count + 1;
    *output_out = count;
    return DBK_OK;
}

static int add_aggregate(struct dbk_reading *reading, struct dbk_group_parts *parts,
                         struct dbk_relation *group, const struct dbk_expression *call,
                         size_t *slot_out)
{
    struct dbk_aggregate made = {.kind = kind_of(call),
                                 .name = call->text,
                                 .star = call->star,
                                 .distinct = call->distinct,
                                 .place = call->place};
    if (!call->star && call->argument_count != 1)
        return dbk_read_obstacle(reading, call->place, "", "%s() of %zu arguments", call->text,
                                 call->argument_count);
    int rc =
        call->star ? DBK_OK : find_argument(reading, parts, call->arguments[0], &made.argument);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < group->aggregate_count; i++) {
        const struct dbk_aggregate *old = &group->aggregates[i];
        if (strcasecmp(old->name, made.name) == 0 && old->star == made.star &&
            old->distinct == made.distinct && old->argument == made.argument) {
            *slot_out = parts->key_count + i;
            return DBK_OK;
        }
    }
    struct dbk_aggregate *grown = dbk_arena_alloc(
        reading->tree->arena, (group->aggregate_count + 1) * sizeof(*group->aggregates));
    if (grown == NULL)
        return dbk_read_no_memory(reading);
    for (size_t i = 0; i < group->aggregate_count; i++)
        grown[i] = group->aggregates[i];
    grown[group->aggregate_count] = made;
    group->aggregates = grown;
    *slot_out = parts->key_count + group->aggregate_count++;
    return DBK_OK;
}

static int make_slot(struct dbk_reading *reading, size_t slot, size_t place,
                     struct dbk_expression **lifted_out)
{
    struct dbk_expression *made = dbk_read_make(reading, DBK_EXPRESSION_SLOT, 0);
    if (made == NULL)
        return dbk_read_no_memory(reading);
    made->column = slot;
    made->place = place;
    *lifted_out = made;
    return DBK_OK;
}

/* The expression over slots: keys and aggregates in it become slots. */
static int lift(struct dbk_reading *reading, struct dbk_group_parts *parts,
                struct dbk_relation *group, const struct dbk_expression *expression,
                struct dbk_expression **lifted_out)
{
    size_t slot = 0;
    for (size_t i = 0; i < parts->key_count; i++) {
        if (dbk_expression_equal(parts->keys[i], expression))
            return make_slot(reading, i, expression->place, lifted_out);
    }
    if (expression->aggregate) {
        int rc = add_aggregate(reading, parts, group, expression, &slot);
        return rc < 0 ? rc : make_slot(reading, slot, expression->place, lifted_out);
    }
    if (expression->select != NULL && dbk_relation_reads_around(expression->select) != 0)
        return dbk_read_obstacle(reading, expression->place,
                                 "group in a subquery in FROM, and ask around it",
                                 "a subquery of groups that reads columns around it");
    if (expression->kind == DBK_EXPRESSION_COLUMN)
        return dbk_read_obstacle(
            reading, expression->place, "add it to GROUP BY",
            "the column \"%s\" is neither grouped by nor in an aggregate",
            parts->block->inputs[expression->input]->columns[expression->column]);
    struct dbk_expression *made =
        dbk_read_make(reading, expression->kind, expression->argument_count);
    if (made == NULL)
        return dbk_read_no_memory(reading);
    struct dbk_expression **arguments = made->arguments;
    *made = *expression;
    made->arguments = arguments;
    for (size_t i = 0; i < made->argument_count; i++) {
        int rc = lift(reading, parts, group, expression->arguments[i], &arguments[i]);
        if (rc < 0)
            return rc;
    }
    *lifted_out = made;
    return DBK_OK;
}

int dbk_read_group(struct dbk_reading *reading, struct dbk_group_parts *parts,
                   struct dbk_relation *group)
{
    parts->block_outputs = parts->keys;
    parts->block_output_count = parts->key_count;
    parts->block_labels =
        dbk_arena_alloc_zero(reading->tree->arena, parts->key_count + 1, sizeof(const char *));
    if (parts->block_labels == NULL)
        return dbk_read_no_memory(reading);
    group->key_count = parts->key_count;
    for (size_t i = 0; i < parts->output_count; i++) {
        int rc = lift(reading, parts, group, parts->outputs[i], &group->outputs[i]);
        if (rc < 0)
            return rc;
    }
    return parts->having == NULL ? DBK_OK
                                 : lift(reading, parts, group, parts->having, &group->having);
}
