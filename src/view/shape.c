/* SPDX-License-Identifier: Apache-2.0 */
/* What can be said of expressions and relations by looking at them. */
#include <strings.h>

#include "view/algebra.h"

struct dbk_relation *dbk_relation_base(struct dbk_relation *relation)
{
    return relation->kind == DBK_RELATION_GROUP ? relation->inputs[0] : relation;
}

/* Columns of the block around that a subquery's expression reads, or of its own. */
static unsigned reads(const struct dbk_expression *expression, bool around);

static unsigned block_reads(const struct dbk_relation *block)
{
    unsigned set = 0;
    for (size_t i = 0; i < block->column_count; i++)
        set |= reads(block->outputs[i], true);
    for (size_t i = 0; i < block->condition_count; i++)
        set |= reads(block->conditions[i].test, true);
    return set;
}

/* Only what groups or selects reads what is around: other subqueries are read without. */
static unsigned select_reads(const struct dbk_relation *select)
{
    if (select->kind == DBK_RELATION_GROUP)
        return block_reads(select->inputs[0]);
    return select->kind == DBK_RELATION_BLOCK ? block_reads(select) : 0;
}

static unsigned reads(const struct dbk_expression *expression, bool around)
{
    unsigned set = 0;
    if (expression->kind == DBK_EXPRESSION_COLUMN && expression->around == around)
        set = 1U << expression->input;
    if (expression->select != NULL && !around)
        set |= select_reads(expression->select);
    for (size_t i = 0; i < expression->argument_count; i++)
        set |= reads(expression->arguments[i], around);
    return set;
}

unsigned dbk_expression_reads(const struct dbk_expression *expression)
{
    return reads(expression, false);
}

unsigned dbk_expression_reads_around(const struct dbk_expression *expression)
{
    return reads(expression, true);
}

unsigned dbk_relation_reads_around(const struct dbk_relation *select)
{
    return select_reads(select);
}

bool dbk_expression_asks(const struct dbk_expression *expression)
{
    if (expression->select != NULL)
        return true;
    for (size_t i = 0; i < expression->argument_count; i++) {
        if (dbk_expression_asks(expression->arguments[i]))
            return true;
    }
    return false;
}

bool dbk_relation_asks(const struct dbk_relation *block)
{
    for (size_t i = 0; i < block->column_count; i++) {
        if (dbk_expression_asks(block->outputs[i]))
            return true;
    }
    for (size_t i = 0; i < block->condition_count; i++) {
        if (dbk_expression_asks(block->conditions[i].test))
            return true;
    }
    return false;
}

/* By the rules of a declared type: sqlite.org/datatype3.html, 3.1. */
static char affinity_of_type(const char *type)
{
    if (strcasestr(type, "INT") != NULL)
        return 'I';
    if (strcasestr(type, "CHAR") != NULL || strcasestr(type, "CLOB") != NULL ||
        strcasestr(type, "TEXT") != NULL)
        return 'T';
    if (type[0] == '\0' || strcasestr(type, "BLOB") != NULL)
        return 'B';
    if (strcasestr(type, "REAL") != NULL || strcasestr(type, "FLOA") != NULL ||
        strcasestr(type, "DOUB") != NULL)
        return 'R';
    return 'N';
}

char dbk_type_affinity(const char *type)
{
    return affinity_of_type(type);
}

static char expression_affinity(const struct dbk_relation *relation,
                                const struct dbk_expression *expression)
{
    if (expression->kind == DBK_EXPRESSION_COLUMN && !expression->around)
        return dbk_relation_affinity(relation->inputs[expression->input], expression->column);
    if (expression->kind == DBK_EXPRESSION_CAST)
        return affinity_of_type(expression->text);
    if (expression->kind == DBK_EXPRESSION_SLOT && expression->column < relation->key_count)
        return dbk_relation_affinity(relation->inputs[0], expression->column);
    return expression->kind == DBK_EXPRESSION_SCALAR ? dbk_relation_affinity(expression->select, 0)
                                                     : 'X';
}

char dbk_relation_affinity(const struct dbk_relation *relation, size_t column)
{
    if (relation->typed) /* Of a server: nothing is to be taken away. */
        return 'T';
    if (relation->kind == DBK_RELATION_TABLE)
        return relation->affinity[column];
    if (relation->kind == DBK_RELATION_UNION || relation->kind == DBK_RELATION_SET)
        return relation->bare ? 'X' : dbk_relation_affinity(relation->inputs[0], column);
    return expression_affinity(relation, relation->outputs[column]);
}
