/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Window functions, read and made ready to be maintained.
 *
 * What a SELECT with them reads is one input, a table or stored as one; the rows of a partition
 * depend on that partition's rows alone. Where windows have several partitions, the columns that
 * are common to all say what is computed again.
 *
 * Which of several rows that are alike by a window's ORDER BY comes first SQLite leaves open, and
 * some functions show it. As it is maintained, and verified, all columns that the SELECT's outputs
 * read stand behind such an ORDER BY: then rows that may still change places are the same.
 */
#include <stdio.h>

#include "view/select.h"

/* Bits of libpg_query's frameOptions: PostgreSQL 15, nodes/parsenodes.h. */
#define FRAME_NONDEFAULT 0x1
#define FRAME_RANGE 0x2
#define FRAME_ROWS 0x4
#define FRAME_GROUPS 0x8
#define FRAME_BETWEEN 0x10
#define FRAME_EXCLUDE 0x38000

static const char *const ranks[] = {"rank", "dense_rank", "percent_rank", "cume_dist"};
static const char *const placed[] = {"row_number", "ntile", "lag", "lead"};
static const char *const framed[] = {"first_value", "last_value", "nth_value"};
static const char *const sums[] = {"count", "sum", "avg", "min", "max", "total"};

/* ---- Reading ---- */

static const struct dbk_json_node *items_of(const struct dbk_json_node *node, const char *key,
                                            size_t *count_out)
{
    const struct dbk_json_node *list = dbk_json_member(node, key);
    *count_out = list == NULL ? 0 : list->count;
    return *count_out == 0 ? NULL : dbk_json_first(list);
}

/* OVER name: what WINDOW says. */
static int find_definition(struct dbk_reading *reading, const struct dbk_scope *scope,
                           const struct dbk_json_node *over, size_t place,
                           const struct dbk_json_node **definition_out)
{
    struct dbk_slice name = dbk_read_text(over, "name");
    *definition_out = over;
    if (dbk_json_member(over, "refname") != NULL)
        return dbk_read_obstacle(reading, place, "write it out", "a window made from another one");
    if (name.size == 0)
        return DBK_OK;
    const struct dbk_json_node *item =
        scope->windows->count == 0 ? NULL : dbk_json_first(scope->windows);
    for (size_t i = 0; item != NULL && i < scope->windows->count; i++) {
        const struct dbk_json_node *definition = dbk_json_member(item, "WindowDef");
        if (definition != NULL && dbk_slice_equal(dbk_read_text(definition, "name"), name)) {
            *definition_out = definition;
            return dbk_json_member(definition, "refname") == NULL
                       ? DBK_OK
                       : dbk_read_obstacle(reading, place, "write it out",
                                           "a window made from another one");
        }
        item = dbk_json_sibling(item);
    }
    return dbk_read_obstacle(reading, place, "", "a window that is not there");
}

/* One end of a frame; bits: UNBOUNDED PRECEDING, UNBOUNDED FOLLOWING, CURRENT ROW, PRECEDING,
   FOLLOWING, each of the beginning with that of the end behind it. */
static int append_end(struct dbk_reading *reading, struct dbk_buf *out, unsigned options, bool end,
                      const struct dbk_json_node *offset)
{
    static const char *const words[] = {"UNBOUNDED PRECEDING", "UNBOUNDED FOLLOWING", "CURRENT ROW",
                                        " PRECEDING", " FOLLOWING"};
    const struct dbk_scope nothing = {0};
    struct dbk_expression *number = NULL;
    size_t i = 0;
    while (i < 5 && (options & (end ? 0x40U : 0x20U) << (2 * i)) == 0)
        i++;
    if (i == 5)
        return dbk_read_obstacle(reading, 0, "", "a frame of another kind");
    if (i > 2) {
        if (offset == NULL || dbk_json_member(offset, "A_Const") == NULL)
            return dbk_read_obstacle(reading, 0, "write a number", "a frame of what is no number");
        int rc = dbk_read_expression(reading, &nothing, offset, &number);
        if (rc < 0)
            return rc;
        dbk_buf_append_text(out, number->text);
    }
    dbk_buf_append_text(out, words[i]);
    return DBK_OK;
}

static int read_frame(struct dbk_reading *reading, const struct dbk_json_node *definition,
                      size_t place, struct dbk_window *window)
{
    const struct dbk_json_node *number = dbk_json_member(definition, "frameOptions");
    unsigned options =
        number == NULL || number->kind != DBK_JSON_INTEGER ? 0 : (unsigned)number->integer;
    struct dbk_buf text;
    if ((options & FRAME_EXCLUDE) != 0)
        return dbk_read_obstacle(reading, place, "", "EXCLUDE in a window's frame");
    window->rows = (options & FRAME_ROWS) != 0;
    if ((options & FRAME_NONDEFAULT) == 0)
        return DBK_OK;
    dbk_buf_init(&text, 1024);
    dbk_buf_append_text(&text, window->rows                    ? " ROWS "
                               : (options & FRAME_GROUPS) != 0 ? " GROUPS "
                                                               : " RANGE ");
    dbk_buf_append_text(&text, (options & FRAME_BETWEEN) != 0 ? "BETWEEN " : "");
    int rc = append_end(reading, &text, options, false, dbk_json_member(definition, "startOffset"));
    if (rc == DBK_OK && (options & FRAME_BETWEEN) != 0) {
        dbk_buf_append_text(&text, " AND ");
        rc = append_end(reading, &text, options, true, dbk_json_member(definition, "endOffset"));
    }
    if (rc == DBK_OK) {
        window->frame = dbk_arena_copy(reading->tree->arena, dbk_buf_slice(&text)).data;
        rc = text.rc < 0 || window->frame == NULL ? dbk_read_no_memory(reading) : DBK_OK;
    }
    dbk_buf_release(&text);
    return rc;
}

/* Arguments, partition and order are the expression's arguments, one behind the other. */
static int read_arguments(struct dbk_reading *reading, const struct dbk_scope *scope,
                          const struct dbk_json_node *call, const struct dbk_json_node *definition,
                          struct dbk_expression *made)
{
    struct dbk_window *window = made->window;
    size_t counts[3] = {0};
    const struct dbk_json_node *items[] = {items_of(call, "args", &counts[0]),
                                           items_of(definition, "partitionClause", &counts[1]),
                                           items_of(definition, "orderClause", &counts[2])};
    struct dbk_arena *arena = reading->tree->arena;
    size_t count = counts[0] + counts[1] + counts[2];
    size_t at = 0;
    int rc = DBK_OK;
    window->partition = counts[0];
    window->order = counts[0] + counts[1];
    window->terms = dbk_arena_alloc_zero(arena, counts[2] + 1, sizeof(*window->terms));
    made->arguments = dbk_arena_alloc_zero(arena, count + 1, sizeof(struct dbk_expression *));
    if (made->arguments == NULL || window->terms == NULL)
        return dbk_read_no_memory(reading);
    for (size_t part = 0; part < 3; part++) {
        for (size_t i = 0; rc == DBK_OK && i < counts[part]; i++) {
            const struct dbk_json_node *item = items[part];
            if (part == 2)
                rc = dbk_read_sort(reading, &item, &window->terms[i]);
            if (rc == DBK_OK)
                rc = dbk_read_expression(reading, scope, item, &made->arguments[at++]);
            items[part] = dbk_json_sibling(items[part]);
        }
    }
    made->argument_count = at;
    return rc;
}

int dbk_read_window(struct dbk_reading *reading, const struct dbk_scope *scope,
                    const struct dbk_json_node *node, struct dbk_slice name,
                    struct dbk_expression **expression_out)
{
    size_t place = dbk_read_place(node);
    const struct dbk_json_node *definition = NULL;
    struct dbk_arena *arena = reading->tree->arena;
    struct dbk_scope inner = *scope;
    inner.windows = NULL;
    if (scope->windows == NULL)
        return dbk_read_obstacle(reading, place, "", "a window function in this place");
    if (!DBK_READ_IS_AMONG(name, ranks) && !DBK_READ_IS_AMONG(name, placed) &&
        !DBK_READ_IS_AMONG(name, framed) && !DBK_READ_IS_AMONG(name, sums))
        return dbk_read_obstacle(reading, place, "", "%.*s() over a window", DBK_SLICE_ARGS(name));
    if (dbk_json_member(node, "agg_filter") != NULL)
        return dbk_read_obstacle(reading, place, "write CASE WHEN … THEN … END in it",
                                 "FILTER of a window function");
    struct dbk_expression *made = dbk_read_make(reading, DBK_EXPRESSION_WINDOW, 0);
    struct dbk_window *window = dbk_arena_alloc_zero(arena, 1, sizeof(*window));
    const char *text = dbk_arena_copy(arena, name).data;
    if (made == NULL || window == NULL || text == NULL)
        return dbk_read_no_memory(reading);
    made->text = text;
    made->window = window;
    made->place = place;
    made->star = dbk_read_is_true(node, "agg_star");
    int rc = find_definition(reading, scope, dbk_json_member(node, "over"), place, &definition);
    if (rc == DBK_OK)
        rc = read_arguments(reading, &inner, node, definition, made);
    if (rc == DBK_OK)
        rc = read_frame(reading, definition, place, window);
    if (rc == DBK_OK && DBK_READ_IS_AMONG(name, framed) && !window->rows)
        rc = dbk_read_obstacle(reading, place, "write ROWS BETWEEN … in its window",
                               "%s() of a frame that is not one of ROWS", text);
    if (rc == DBK_OK && window->order == window->partition)
        rc = dbk_read_obstacle(reading, place, "add PARTITION BY",
                               "a window without PARTITION BY: each change may change all rows");
    window->ties =
        !DBK_READ_IS_AMONG(name, ranks) && (window->rows || DBK_READ_IS_AMONG(name, placed));
    reading->tree->ties = reading->tree->ties || window->ties;
    *expression_out = made;
    return rc;
}

/* ---- As it is maintained ---- */

static const struct dbk_expression *find_window(const struct dbk_expression *expression)
{
    const struct dbk_expression *found = expression->window == NULL ? NULL : expression;
    for (size_t i = 0; found == NULL && i < expression->argument_count; i++)
        found = find_window(expression->arguments[i]);
    return found;
}

bool dbk_relation_windows(const struct dbk_relation *relation)
{
    for (size_t i = 0; i < relation->column_count; i++) {
        if (find_window(relation->outputs[i]) != NULL)
            return true;
    }
    return false;
}

static bool is_partition(const struct dbk_expression *window, const struct dbk_expression *key)
{
    for (size_t i = window->window->partition; i < window->window->order; i++) {
        if (dbk_expression_equal(window->arguments[i], key))
            return true;
    }
    return false;
}

/* Keeps of the keys those that are also this expression's windows'. */
static void keep_common(struct dbk_relation *relation, const struct dbk_expression *expression)
{
    size_t left = 0;
    for (size_t i = 0; expression->window != NULL && i < relation->key_count; i++) {
        if (is_partition(expression, relation->partition[i]))
            relation->partition[left++] = relation->partition[i];
    }
    if (expression->window != NULL)
        relation->key_count = left;
    for (size_t i = 0; i < expression->argument_count; i++)
        keep_common(relation, expression->arguments[i]);
}

static int find_partition(struct dbk_reading *reading, struct dbk_relation *relation)
{
    const struct dbk_expression *first = NULL;
    for (size_t i = 0; first == NULL && i < relation->column_count; i++)
        first = find_window(relation->outputs[i]);
    if (first == NULL)
        return dbk_read_obstacle(reading, 0, "", "a window that is not there");
    size_t begin = first->window->partition;
    relation->key_count = first->window->order - begin;
    relation->partition = dbk_arena_alloc_zero(reading->tree->arena, relation->key_count + 1,
                                               sizeof(struct dbk_expression *));
    if (relation->partition == NULL)
        return dbk_read_no_memory(reading);
    for (size_t i = 0; i < relation->key_count; i++)
        relation->partition[i] = first->arguments[begin + i];
    for (size_t i = 0; i < relation->column_count; i++)
        keep_common(relation, relation->outputs[i]);
    return relation->key_count > 0
               ? DBK_OK
               : dbk_read_obstacle(reading, first->place,
                                   "let each of them stand in a subquery in FROM",
                                   "windows whose PARTITION BY have nothing in common");
}

int dbk_normal_window(struct dbk_reading *reading, struct dbk_relation *block)
{
    for (size_t i = 0; i < block->column_count; i++) {
        if (dbk_expression_asks(block->outputs[i]))
            return dbk_read_obstacle(reading, block->outputs[i]->place,
                                     "let one of them stand in a subquery in FROM",
                                     "a subquery beside a window function");
    }
    int rc = DBK_OK;
    if (block->input_count == 1 && !dbk_relation_asks(block))
        rc = dbk_normal_apart(reading, block);
    if (rc == DBK_OK && (block->input_count > 1 || block->condition_count > 0))
        rc = dbk_normal_take(reading, block);
    block->kind = DBK_RELATION_WINDOW;
    block->depth = 0;
    if (rc == DBK_OK)
        rc = dbk_normal_input(reading, block->inputs[0], &block->inputs[0]);
    return rc < 0 ? rc : find_partition(reading, block);
}

/* ---- As SQL ---- */

/* Columns and slots that the outputs read, each once, behind a comma. */
static void append_leaves(struct dbk_buf *out, const struct dbk_emit *emit,
                          const struct dbk_expression *expression, uint64_t seen[8], bool *first)
{
    bool column = expression->kind == DBK_EXPRESSION_COLUMN && !expression->around;
    if (column || expression->kind == DBK_EXPRESSION_SLOT) {
        size_t bit = (column ? expression->input * 64 : 0) + expression->column % 64;
        if (expression->column < 64 && (seen[bit / 64] >> bit % 64 & 1) != 0)
            return;
        if (expression->column < 64)
            seen[bit / 64] |= UINT64_C(1) << bit % 64;
        dbk_buf_append_text(out, *first ? " ORDER BY " : ", ");
        dbk_emit_expression(out, emit, expression);
        *first = false;
    }
    for (size_t i = 0; i < expression->argument_count; i++)
        append_leaves(out, emit, expression->arguments[i], seen, first);
}

void dbk_emit_window(struct dbk_buf *out, const struct dbk_emit *emit,
                     const struct dbk_expression *expression)
{
    const struct dbk_window *window = expression->window;
    uint64_t seen[8] = {0};
    bool first = true;
    dbk_buf_append_format(out, "%s(%s", expression->text, expression->star ? "*" : "");
    for (size_t i = 0; i < expression->argument_count; i++) {
        bool order = i >= window->order;
        if (i == window->partition)
            dbk_buf_append_text(out, ") OVER (PARTITION BY ");
        else if (i == window->order)
            dbk_buf_append_text(out, " ORDER BY ");
        else if (i > 0)
            dbk_buf_append_text(out, ", ");
        dbk_emit_expression(out, emit, expression->arguments[i]);
        if (order)
            dbk_emit_direction(out, &window->terms[i - window->order]);
        first = first && !order;
    }
    for (size_t i = 0;
         window->ties && emit->how != DBK_EMIT_WRITTEN && i < emit->relation->column_count; i++)
        append_leaves(out, emit, emit->relation->outputs[i], seen, &first);
    dbk_buf_append_text(out, window->frame == NULL ? "" : window->frame);
    dbk_buf_append_char(out, ')');
}
