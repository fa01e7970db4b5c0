/* SPDX-License-Identifier: Apache-2.0 */
#include "view/layout.h"

#include <stdio.h>
#include <strings.h>

bool dbk_aggregate_is_real(const struct dbk_aggregate *aggregate)
{
    return strcasecmp(aggregate->name, "sum") != 0;
}

static void comma(struct dbk_buf *out, bool *first)
{
    if (!*first)
        dbk_buf_append_text(out, ", ");
    *first = false;
}

void dbk_layout_hidden(struct dbk_buf *out, const struct dbk_relation *root)
{
    bool first = true;
    for (size_t i = 0; i < root->key_count; i++) {
        comma(out, &first);
        dbk_buf_append_format(out, "_daybook_k%zu", i);
    }
    if (root->kind != DBK_RELATION_GROUP)
        return;
    comma(out, &first);
    dbk_buf_append_text(out, "_daybook_n");
    for (size_t i = 0; i < root->aggregate_count; i++) {
        dbk_buf_append_format(out, ", _daybook_v%zu", i);
        if (root->aggregates[i].kind == DBK_AGGREGATE_SUM)
            dbk_buf_append_format(
                out, ", _daybook_c%zu, _daybook_i%zu, _daybook_x%zu, _daybook_a%zu", i, i, i, i);
    }
    dbk_buf_append_text(out, ", _daybook_shown");
}

static void emit_tests(struct dbk_buf *out, const struct dbk_emit *emit, size_t input,
                       const char *before)
{
    const struct dbk_relation *block = emit->relation;
    for (size_t i = 0; i < block->condition_count; i++) {
        size_t of = block->conditions[i].input;
        bool outer = of != SIZE_MAX && (block->outer & 1U << of) != 0;
        if (outer ? of != input : input != SIZE_MAX)
            continue;
        dbk_buf_append_text(out, before);
        dbk_emit_expression(out, emit, block->conditions[i].test);
        before = " AND ";
    }
}

void dbk_layout_tests(struct dbk_buf *out, const struct dbk_relation *block, size_t input,
                      const char *before)
{
    const struct dbk_emit emit = {.relation = block};
    emit_tests(out, &emit, input, before);
}

void dbk_emit_tables(struct dbk_buf *out, const struct dbk_relation *block,
                     const struct dbk_emit *around)
{
    const struct dbk_emit emit = {.relation = block, .around = around};
    dbk_buf_append_text(out, " FROM ");
    for (size_t i = 0; i < block->input_count; i++) {
        bool outer = (block->outer & 1U << i) != 0;
        if (i > 0)
            dbk_buf_append_text(out, outer ? " LEFT JOIN " : " JOIN ");
        dbk_emit_table(out, block->inputs[i]);
        dbk_buf_append_text(out, " AS ");
        dbk_emit_alias(out, block, i);
        if (outer)
            emit_tests(out, &emit, i, " ON ");
        else if (i > 0 && block->typed)
            dbk_buf_append_text(out, " ON TRUE");
    }
    emit_tests(out, &emit, SIZE_MAX, " WHERE ");
}

void dbk_layout_block(struct dbk_buf *out, const struct dbk_relation *block)
{
    const struct dbk_emit emit = {.relation = block};
    bool first = true;
    dbk_buf_append_text(out, "SELECT ");
    for (size_t i = 0; i < block->column_count; i++) {
        comma(out, &first);
        dbk_emit_expression(out, &emit, block->outputs[i]);
        dbk_buf_append_format(out, " AS %s", block->columns[i]);
    }
    if (first)
        dbk_buf_append_text(out, "1 AS c0");
    dbk_emit_tables(out, block, NULL);
}

static void emit_sum(struct dbk_buf *out, const struct dbk_aggregate *aggregate, size_t i)
{
    size_t c = aggregate->argument;
    dbk_buf_append_format(out,
                          ", count(b.c%zu) AS _daybook_c%zu"
                          ", coalesce(sum(CASE WHEN typeof(b.c%zu) = 'integer' AND b.c%zu BETWEEN "
                          "-" DBK_VIEW_ADDEND_MAX " AND " DBK_VIEW_ADDEND_MAX
                          " THEN b.c%zu END), 0) AS _daybook_i%zu",
                          c, i, c, c, c, i);
    dbk_buf_append_format(out,
                          ", coalesce(sum(CASE WHEN b.c%zu IS NULL OR (typeof(b.c%zu) = 'integer' "
                          "AND b.c%zu BETWEEN -" DBK_VIEW_ADDEND_MAX " AND " DBK_VIEW_ADDEND_MAX
                          ") THEN 0 ELSE 1 END), 0) AS _daybook_x%zu",
                          c, c, c, i);
    dbk_buf_append_format(out,
                          ", total(CASE WHEN typeof(b.c%zu) = 'integer' AND b.c%zu BETWEEN "
                          "-" DBK_VIEW_ADDEND_MAX " AND " DBK_VIEW_ADDEND_MAX
                          " THEN abs(b.c%zu) END) AS _daybook_a%zu",
                          c, c, c, i);
}

/* What one sum's parts are in PostgreSQL: all numbers are numeric, and exact. */
static void emit_exact_sum(struct dbk_buf *out, const struct dbk_aggregate *aggregate, size_t i)
{
    size_t c = aggregate->argument;
    dbk_buf_append_format(out, ", count(b.c%zu) AS _daybook_c%zu", c, i);
    if (aggregate->whole) {
        dbk_buf_append_format(out,
                              ", coalesce(sum(b.c%zu::numeric), 0) AS _daybook_i%zu, 0::bigint AS "
                              "_daybook_x%zu, 0::numeric AS _daybook_a%zu",
                              c, i, i, i);
        return;
    }
    dbk_buf_append_format(
        out,
        ", coalesce(sum(b.c%zu::numeric) FILTER (WHERE scale(b.c%zu::numeric) "
        "<= " DBK_VIEW_SCALE_MAX
        "), 0) AS _daybook_i%zu, count(*) FILTER (WHERE b.c%zu IS NOT NULL AND (scale("
        "b.c%zu::numeric) <= " DBK_VIEW_SCALE_MAX ") IS NOT TRUE) AS _daybook_x%zu",
        c, c, i, c, c, i);
    dbk_buf_append_format(
        out,
        ", coalesce(sum(('1e' || 10 * scale(b.c%zu::numeric))::numeric) FILTER (WHERE scale("
        "b.c%zu::numeric) <= " DBK_VIEW_SCALE_MAX "), 0) AS _daybook_a%zu",
        c, c, i);
}

void dbk_layout_slots(struct dbk_buf *out, const struct dbk_relation *group)
{
    for (size_t i = 0; i < group->key_count; i++)
        dbk_buf_append_format(out, "b.c%zu AS _daybook_k%zu, ", i, i);
    dbk_buf_append_text(out, "count(*) AS _daybook_n");
    for (size_t i = 0; i < group->aggregate_count; i++) {
        const struct dbk_aggregate *aggregate = &group->aggregates[i];
        dbk_buf_append_format(out, ", %s(%s", aggregate->name,
                              aggregate->distinct ? "DISTINCT " : "");
        if (aggregate->star)
            dbk_buf_append_char(out, '*');
        else
            dbk_buf_append_format(out, "b.c%zu", aggregate->argument);
        dbk_buf_append_format(out, ") AS _daybook_v%zu", i);
        if (aggregate->kind != DBK_AGGREGATE_SUM)
            continue;
        if (group->typed)
            emit_exact_sum(out, aggregate, i);
        else
            emit_sum(out, aggregate, i);
    }
}

void dbk_layout_shown(struct dbk_buf *out, const struct dbk_relation *group, const char *prefix)
{
    const struct dbk_emit emit = {.relation = group, .slot_prefix = prefix};
    if (group->having == NULL) {
        dbk_buf_append_char(out, '1');
        return;
    }
    dbk_buf_append_text(out, "CASE WHEN ");
    dbk_emit_expression(out, &emit, group->having);
    dbk_buf_append_text(out, " THEN 1 ELSE 0 END");
}

static void fill_group(struct dbk_buf *out, const struct dbk_relation *group,
                       const char *const *names)
{
    const struct dbk_emit emit = {.relation = group, .slot_prefix = "v."};
    struct dbk_buf hidden;
    dbk_buf_init(&hidden, DBK_ALGEBRA_SIZE_MAX);
    dbk_layout_hidden(&hidden, group);
    /* All but the last, which is worked out here. */
    static const char shown[] = ", _daybook_shown";
    size_t size = hidden.size - (hidden.rc < 0 ? hidden.size : sizeof(shown) - 1);
    dbk_buf_append_text(out, "SELECT ");
    dbk_buf_append(out, dbk_slice(hidden.data, size));
    dbk_buf_append_text(out, ", ");
    dbk_layout_shown(out, group, "v.");
    dbk_buf_append_text(out, " AS _daybook_shown");
    for (size_t i = 0; i < group->column_count; i++) {
        /* The view's own columns have no affinity: values are as the SELECT gives them. */
        dbk_buf_append_text(out, group->stored || group->typed ? ", " : ", +");
        dbk_emit_expression(out, &emit, group->outputs[i]);
        dbk_buf_append_text(out, " AS ");
        dbk_emit_name(out, names[i]);
    }
    dbk_buf_append_text(out, " FROM (SELECT ");
    dbk_layout_slots(out, group);
    dbk_buf_append_text(out, " FROM (");
    dbk_layout_block(out, group->inputs[0]);
    dbk_buf_append_text(out, ") AS b");
    for (size_t i = 0; i < group->key_count; i++)
        dbk_buf_append_format(out, "%s b.c%zu", i > 0 ? "," : " GROUP BY", i);
    dbk_buf_append_text(out, ") AS v");
    if (hidden.rc < 0)
        out->rc = hidden.rc;
    dbk_buf_release(&hidden);
}

void dbk_layout_key(struct dbk_buf *out, const struct dbk_relation *input, size_t number,
                    size_t part, const char *row, bool as_text)
{
    /* 1.0 and 1.00 are equal. */
    bool scaled = as_text && strncmp(input->row_types[part], "numeric", 7) == 0;
    dbk_buf_append_format(out, scaled ? "trim_scale(f%zu.%s)" : "f%zu.%s", number, row);
    dbk_buf_append_text(out, as_text ? "::text" : "");
}

/* branch: of a UNION, whose keys stand behind its number; SIZE_MAX: no union. */
static void fill_block(struct dbk_buf *out, const struct dbk_relation *block, size_t branch,
                       const struct dbk_relation *root, const char *const *names)
{
    const struct dbk_emit emit = {.relation = block};
    size_t key_count = root->key_count;
    bool bare = !block->typed && (!root->stored || root->bare);
    bool as_text = block->typed && branch != SIZE_MAX;
    size_t key = 0;
    dbk_buf_append_text(out, "SELECT ");
    if (branch != SIZE_MAX)
        dbk_buf_append_format(out, "%zu AS _daybook_k%zu, ", branch, key++);
    for (size_t i = 0; i < block->input_count; i++) {
        const struct dbk_relation *input = block->inputs[i];
        for (size_t j = 0; (block->outer & 1U << i) == 0 && j < input->row_count; j++) {
            dbk_layout_key(out, input, i, j, input->rows[j], as_text);
            dbk_buf_append_format(out, " AS _daybook_k%zu, ", key++);
        }
    }
    for (; key < key_count; key++)
        dbk_buf_append_format(out, block->typed ? "'' AS _daybook_k%zu, " : "0 AS _daybook_k%zu, ",
                              key);
    if (block->column_count == 0) /* without the last comma */
        out->size -= out->rc < 0 ? 0 : 2;
    for (size_t i = 0; i < block->column_count; i++) {
        dbk_buf_append_text(out, i > 0 ? ", " : "");
        dbk_buf_append_text(out, bare ? "+" : "");
        dbk_emit_expression(out, &emit, block->outputs[i]);
        dbk_buf_append_text(out, " AS ");
        dbk_emit_name(out, names[i]);
    }
    dbk_emit_tables(out, block, NULL);
}

void dbk_layout_window(struct dbk_buf *out, const struct dbk_relation *relation,
                       const char *const *names)
{
    const struct dbk_emit emit = {.relation = relation};
    dbk_buf_append_text(out, "SELECT ");
    for (size_t i = 0; i < relation->key_count; i++) {
        dbk_emit_expression(out, &emit, relation->partition[i]);
        dbk_buf_append_format(out, " AS _daybook_k%zu, ", i);
    }
    for (size_t i = 0; i < relation->column_count; i++) {
        dbk_buf_append_text(out, i > 0 ? ", " : "");
        dbk_buf_append_text(out, relation->stored || relation->typed ? "" : "+");
        dbk_emit_expression(out, &emit, relation->outputs[i]);
        dbk_buf_append_text(out, " AS ");
        dbk_emit_name(out, names[i]);
    }
}

void dbk_layout_fill(struct dbk_buf *out, const struct dbk_relation *root, const char *const *names)
{
    if (root->kind == DBK_RELATION_GROUP)
        fill_group(out, root, names);
    else if (root->kind == DBK_RELATION_WINDOW) {
        dbk_layout_window(out, root, names);
        dbk_emit_tables(out, root, NULL);
    } else if (root->kind == DBK_RELATION_BLOCK)
        fill_block(out, root, SIZE_MAX, root, names);
    for (size_t i = 0; root->kind == DBK_RELATION_UNION && i < root->input_count; i++) {
        if (i > 0)
            dbk_buf_append_text(out, " UNION ALL ");
        fill_block(out, root->inputs[i], i, root, names);
    }
}

int dbk_layout_place(const struct dbk_algebra *tree, const char *view, uint64_t generation)
{
    for (size_t i = 0; i < tree->relation_count; i++) {
        struct dbk_relation *relation = tree->relations[i];
        if (!relation->stored)
            continue;
        relation->table =
            dbk_arena_format(tree->arena, "%s__g%llun%zu", view, (unsigned long long)generation, i);
        if (relation->table == NULL)
            return DBK_ENOMEM;
    }
    return DBK_OK;
}

/* Which columns of one stored relation get an index. */
struct indexing {
    struct dbk_buf *out;
    const struct dbk_relation *stored;
    const char *schema;
};

static void append_index(const struct indexing *indexing, const char *suffix)
{
    char name[300];
    (void)snprintf(name, sizeof(name), "%s_%s", indexing->stored->table, suffix);
    dbk_buf_append_format(indexing->out, "CREATE INDEX IF NOT EXISTS %s", indexing->schema);
    dbk_emit_name(indexing->out, name);
    dbk_buf_append_text(indexing->out, " ON ");
    dbk_emit_name(indexing->out, indexing->stored->table);
}

static bool is_of(const struct indexing *indexing, const struct dbk_relation *block,
                  const struct dbk_expression *side)
{
    return side->kind == DBK_EXPRESSION_COLUMN && !side->around &&
           block->inputs[side->input] == indexing->stored;
}

/* A column as it is read: what has no affinity stands behind a plus, and so in its index. */
static void append_indexed(const struct indexing *indexing, const struct dbk_expression *side,
                           const char *before)
{
    bool bare = dbk_relation_affinity(indexing->stored, side->column) == 'X';
    dbk_buf_append_format(indexing->out, bare ? "%s(+c%zu)" : "%sc%zu", before, side->column);
}

static void index_column(const struct indexing *indexing, const struct dbk_relation *block,
                         const struct dbk_expression *side)
{
    char name[32];
    if (!is_of(indexing, block, side))
        return;
    (void)snprintf(name, sizeof(name), "c%zu", side->column);
    append_index(indexing, name);
    append_indexed(indexing, side, " (");
    dbk_buf_append_text(indexing->out, ");");
}

/* What a group may be computed again by. */
static void index_group(const struct indexing *indexing, const struct dbk_relation *group)
{
    const struct dbk_relation *block = group->inputs[0];
    const char *before = " (";
    char name[32];
    bool least = false;
    for (size_t i = 0; i < group->aggregate_count; i++)
        least = least || group->aggregates[i].kind == DBK_AGGREGATE_LEAST;
    if (block->kind != DBK_RELATION_BLOCK || (!least && !dbk_group_recomputes(group)))
        return;
    for (size_t i = 0; i < group->key_count; i++) {
        if (!is_of(indexing, block, block->outputs[i]))
            continue;
        (void)snprintf(name, sizeof(name), "g%zu", group->number);
        if (before[0] == ' ')
            append_index(indexing, name);
        append_indexed(indexing, block->outputs[i], before);
        before = ", ";
    }
    if (before[0] != ' ')
        dbk_buf_append_text(indexing->out, ");");
}

/* Columns that a test compares with something else: they are looked up by. */
static void index_test(const struct indexing *indexing, const struct dbk_relation *block,
                       const struct dbk_expression *test)
{
    bool equal = test->kind == DBK_EXPRESSION_AMONG ||
                 (test->kind == DBK_EXPRESSION_OPERATOR &&
                  (strcmp(test->text, "=") == 0 || strcmp(test->text, "IS") == 0));
    for (size_t i = 0; i < test->argument_count; i++) {
        if (equal)
            index_column(indexing, block, test->arguments[i]);
        index_test(indexing, block, test->arguments[i]);
    }
    if (test->select == NULL)
        return;
    const struct dbk_relation *base = dbk_relation_base(test->select);
    for (size_t i = 0; i < base->condition_count; i++)
        index_test(indexing, base, base->conditions[i].test);
    if (test->kind == DBK_EXPRESSION_AMONG && base == test->select)
        index_column(indexing, base, base->outputs[0]);
}

void dbk_layout_indexes(struct dbk_buf *out, const struct dbk_algebra *tree,
                        const struct dbk_relation *stored, const char *schema)
{
    const struct indexing indexing = {out, stored, schema};
    if (stored->key_count > 0)
        append_index(&indexing, "key");
    for (size_t k = 0; k < stored->key_count; k++)
        dbk_buf_append_format(out, "%s_daybook_k%zu%s", k > 0 ? ", " : " (", k,
                              k + 1 == stored->key_count ? ");" : "");
    for (size_t i = 0; i < tree->relation_count; i++) {
        const struct dbk_relation *block = tree->relations[i];
        for (size_t j = 0; block->kind == DBK_RELATION_WINDOW && j < block->key_count; j++)
            index_column(&indexing, block, block->partition[j]);
        if (block->kind == DBK_RELATION_GROUP)
            index_group(&indexing, block);
        if (block->kind != DBK_RELATION_BLOCK)
            continue;
        for (size_t j = 0; j < block->condition_count; j++)
            index_test(&indexing, block, block->conditions[j].test);
        for (size_t j = 0; j < block->column_count; j++)
            index_test(&indexing, block, block->outputs[j]);
    }
}
