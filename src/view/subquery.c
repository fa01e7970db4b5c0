/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Subqueries in expressions: read, and made ready to be maintained. The rows that a subquery reads
 * are one input, a table or stored as one: then a changed row of it says by the subquery's own
 * WHERE which rows around it may get another answer.
 */
#include "view/select.h"

static int read_inside(struct dbk_reading *reading, const struct dbk_scope *scope,
                       const struct dbk_json_node *select, struct dbk_relation **relation_out)
{
    const struct dbk_scope *around = reading->around;
    struct dbk_scope seen = {.block = scope->block};
    reading->around = &seen;
    reading->depth++;
    int rc = dbk_read_select(reading, select, relation_out);
    reading->depth--;
    reading->around = around;
    return rc;
}

/* One row always: else which one SQLite takes, or whether there is one, is not said. */
static int check_scalar(struct dbk_reading *reading, const struct dbk_relation *select,
                        size_t place)
{
    if (select->kind == DBK_RELATION_GROUP && !select->grouped && select->having == NULL)
        return DBK_OK;
    return dbk_read_obstacle(reading, place, "write max(…) or min(…) in it",
                             "a subquery as a value that is no aggregate of all its rows");
}

/* What is one row a group, or several SELECTs, is not read by the columns around it. */
static int check_around(struct dbk_reading *reading, const struct dbk_relation *select,
                        size_t place)
{
    if (select->kind != DBK_RELATION_UNION && select->kind != DBK_RELATION_SET)
        return DBK_OK;
    for (size_t i = 0; i < select->input_count; i++) {
        int rc = dbk_relation_reads_around(select->inputs[i]) == 0
                     ? check_around(reading, select->inputs[i], place)
                     : dbk_read_obstacle(reading, place, "write a subquery for each of them",
                                         "several SELECTs that read columns around them");
        if (rc < 0)
            return rc;
    }
    return DBK_OK;
}

int dbk_read_subquery(struct dbk_reading *reading, const struct dbk_scope *scope,
                      const struct dbk_json_node *node, struct dbk_expression **expression_out)
{
    struct dbk_slice kind = dbk_read_text(node, "subLinkType");
    const struct dbk_json_node *query = dbk_json_member(node, "subselect");
    const struct dbk_json_node *select =
        query == NULL ? NULL : dbk_json_member(query, "SelectStmt");
    const struct dbk_json_node *tested = dbk_json_member(node, "testexpr");
    size_t place = dbk_read_place(node);
    bool among = dbk_slice_equal_text(kind, "ANY_SUBLINK");
    bool scalar = dbk_slice_equal_text(kind, "EXPR_SUBLINK");
    struct dbk_expression *made = dbk_read_make(reading,
                                                among    ? DBK_EXPRESSION_AMONG
                                                : scalar ? DBK_EXPRESSION_SCALAR
                                                         : DBK_EXPRESSION_EXISTS,
                                                among ? 1 : 0);
    if (made == NULL)
        return dbk_read_no_memory(reading);
    if (select == NULL || (!among && !scalar && !dbk_slice_equal_text(kind, "EXISTS_SUBLINK")) ||
        (among && (tested == NULL || dbk_json_member(node, "operName") != NULL)))
        return dbk_read_obstacle(reading, place, "write EXISTS", "ANY and ALL of a subquery");
    if (reading->around != NULL && reading->depth >= 8)
        return dbk_read_obstacle(reading, place, "", "more than eight subqueries in one another");
    int rc = among ? dbk_read_expression(reading, scope, tested, &made->arguments[0]) : DBK_OK;
    if (rc == DBK_OK)
        rc = read_inside(reading, scope, select, &made->select);
    if (rc == DBK_OK && made->select->column_count != 1 && (among || scalar))
        rc = dbk_read_obstacle(reading, place, "", "a subquery of %zu columns as a value",
                               made->select->column_count);
    if (rc == DBK_OK && among)
        rc = dbk_read_alike(reading, made->select, place);
    if (rc == DBK_OK && scalar)
        rc = check_scalar(reading, made->select, place);
    if (rc == DBK_OK && dbk_relation_reads_around(made->select) != 0 &&
        dbk_relation_windows(dbk_relation_base(made->select)))
        rc = dbk_read_obstacle(reading, place, "let it stand in a subquery in FROM",
                               "a window function in a subquery that reads columns around it");
    if (rc == DBK_OK)
        rc = check_around(reading, made->select, place);
    made->place = place;
    *expression_out = made;
    return rc;
}

/* ---- As it is maintained ---- */

/* Own columns that are read become outputs of what is stored. */
struct columns {
    struct dbk_reading *reading;
    const struct dbk_relation *from;
    struct dbk_expression *found[64];
    size_t count;
};

/* Expressions of the subquery over its inputs into ones over the stored columns. */
static int move(struct columns *columns, struct dbk_expression **at)
{
    struct dbk_expression *old = *at;
    struct dbk_reading *reading = columns->reading;
    if (old->select != NULL)
        return dbk_read_obstacle(reading, old->place, "make it a condition of its own, by AND",
                                 "a subquery beside columns from around");
    if (old->kind != DBK_EXPRESSION_COLUMN) {
        struct dbk_expression *made = dbk_read_make(reading, old->kind, old->argument_count);
        if (made == NULL)
            return dbk_read_no_memory(reading);
        struct dbk_expression **arguments = made->arguments;
        *made = *old;
        made->arguments = arguments;
        for (size_t i = 0; i < made->argument_count; i++) {
            arguments[i] = old->arguments[i];
            int rc = move(columns, &arguments[i]);
            if (rc < 0)
                return rc;
        }
        *at = made;
        return DBK_OK;
    }
    if (old->around)
        return DBK_OK;
    size_t i = 0;
    while (i < columns->count && !dbk_expression_equal(columns->found[i], old))
        i++;
    if (i == columns->count && i == sizeof(columns->found) / sizeof(columns->found[0]))
        return dbk_read_obstacle(reading, old->place, "", "a subquery that reads %zu columns", i);
    columns->found[i] = old;
    columns->count += i == columns->count;
    return dbk_read_input_column(reading, 0, i, at);
}

static int move_all(struct columns *columns, struct dbk_relation *base)
{
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < base->column_count; i++)
        rc = move(columns, &base->outputs[i]);
    for (size_t i = 0; rc == DBK_OK && i < base->condition_count; i++)
        rc = move(columns, &base->conditions[i].test);
    return rc;
}

/* A join's rows, without the conditions that read what is around, are stored as one input. */
static int store_inside(struct dbk_reading *reading, struct dbk_relation *base)
{
    struct columns columns = {.reading = reading, .from = base};
    struct dbk_relation *inside = NULL;
    struct dbk_algebra_test *own = dbk_arena_alloc_zero(
        reading->tree->arena, base->condition_count + 1, sizeof(*base->conditions));
    struct dbk_relation *made = NULL;
    size_t own_count = 0;
    size_t left = 0;
    if (own == NULL)
        return dbk_read_no_memory(reading);
    for (size_t i = 0; i < base->condition_count; i++) {
        struct dbk_algebra_test test = base->conditions[i];
        bool around = dbk_expression_reads_around(test.test) != 0;
        if (around && test.input != SIZE_MAX && base->joins[test.input] != DBK_JOIN_INNER)
            return dbk_read_obstacle(reading, test.test->place, "",
                                     "an outer join by columns around the subquery");
        if (!around)
            own[own_count++] = test;
        else
            base->conditions[left++] = (struct dbk_algebra_test){test.test, SIZE_MAX};
    }
    base->condition_count = left;
    const struct dbk_relation written = *base;
    int rc = move_all(&columns, base);
    if (rc == DBK_OK)
        rc = dbk_read_make_relation(reading, DBK_RELATION_BLOCK, columns.count, base->input_count,
                                    &inside);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < written.input_count; i++) {
        inside->inputs[i] = written.inputs[i];
        inside->joins[i] = written.joins[i];
    }
    for (size_t i = 0; i < columns.count; i++)
        inside->outputs[i] = columns.found[i];
    inside->outer = written.outer;
    inside->conditions = own;
    inside->condition_count = own_count;
    rc = dbk_normal_input(reading, inside, &made);
    base->inputs[0] = made;
    base->input_count = 1;
    base->outer = 0;
    return rc;
}

static bool is_simple(const struct dbk_relation *block)
{
    return block->kind == DBK_RELATION_BLOCK && block->input_count == 1 &&
           block->inputs[0]->kind == DBK_RELATION_TABLE && !block->inputs[0]->log &&
           !dbk_relation_asks(block) && !dbk_relation_windows(block);
}

int dbk_normal_subquery(struct dbk_reading *reading, struct dbk_expression *expression)
{
    struct dbk_relation *select = expression->select;
    struct dbk_relation *base = dbk_relation_base(select);
    struct dbk_relation *input = NULL;
    bool around = dbk_relation_reads_around(select) != 0;
    if (select->normal == select) /* An output's label stands for it in two places. */
        return DBK_OK;
    if (around) {
        int rc = dbk_normal_apart(reading, base);
        if (rc < 0)
            return rc;
    }
    if (around && base->input_count == 1 && !dbk_relation_asks(base)) {
        int rc = dbk_normal_input(reading, base->inputs[0], &input);
        base->inputs[0] = input;
        return rc;
    }
    if (around)
        return store_inside(reading, base);
    if (is_simple(select))
        return dbk_normal_input(reading, select->inputs[0], &input);
    size_t depth = select->depth;
    int rc = dbk_normal_input(reading, select, &input);
    if (rc == DBK_OK)
        rc = dbk_normal_trivial(reading, input, &expression->select);
    if (rc == DBK_OK) {
        expression->select->depth = depth;
        expression->select->normal = expression->select;
    }
    return rc;
}
