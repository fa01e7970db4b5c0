/* SPDX-License-Identifier: Apache-2.0 */
/* The terms of a join's difference. */
#include "view/delta.h"

/* The input behind LEFT JOIN whose difference the term takes; input_count: it takes none. */
static size_t outer_of(const struct dbk_term *term)
{
    size_t i = 0;
    while (i < term->block->input_count && (term->set & term->block->outer & 1U << i) == 0)
        i++;
    return i;
}

/* Which tests hold for a term's rows: those of what is before LEFT JOIN, and its own ON. */
static bool applies(const struct dbk_term *term, const struct dbk_algebra_test *test)
{
    const struct dbk_relation *block = term->block;
    if (dbk_expression_asks(test->test)) /* What its answer was is not known any more. */
        return false;
    if (test->input != SIZE_MAX && (block->outer & 1U << test->input) != 0)
        return test->input == outer_of(term);
    return (dbk_expression_reads(test->test) & block->outer) == 0;
}

/* True when a test ties the input to what has been placed. */
static bool is_tied(const struct dbk_term *term, size_t input, unsigned placed)
{
    const struct dbk_relation *block = term->block;
    unsigned own = 1U << input;
    for (size_t i = 0; i < block->condition_count; i++) {
        unsigned set = dbk_expression_reads(block->conditions[i].test);
        if (applies(term, &block->conditions[i]) && (set & own) != 0 && (set & placed) != 0 &&
            (set & ~(placed | own)) == 0)
            return true;
    }
    return false;
}

/* Differences first, then what is tied to them, so that it is looked up and not scanned. */
static void put_in_order(struct dbk_term *term, unsigned members)
{
    unsigned placed = 0;
    term->order_count = 0;
    while (placed != members) {
        size_t best = 0;
        unsigned best_rank = 0;
        for (size_t i = 0; i < term->block->input_count; i++) {
            if ((members & ~placed & 1U << i) == 0)
                continue;
            unsigned rank = 1;
            rank += (term->set & 1U << i) != 0 ? 1 : 0;
            rank += placed != 0 && is_tied(term, i, placed) ? 2 : 0;
            if (rank > best_rank) {
                best = i;
                best_rank = rank;
            }
        }
        term->order[term->order_count++] = best;
        placed |= 1U << best;
    }
}

/* What a LEFT JOIN's own test reads. */
static unsigned reads_of(const struct dbk_term *term)
{
    const struct dbk_relation *block = term->block;
    unsigned set = 0;
    for (size_t i = 0; i < block->condition_count; i++) {
        if (block->conditions[i].input == outer_of(term))
            set |= dbk_expression_reads(block->conditions[i].test);
    }
    return set;
}

bool dbk_term_next(const struct dbk_delta *delta, const struct dbk_relation *block,
                   struct dbk_term *term)
{
    unsigned changed = 0;
    unsigned inner = ((1U << block->input_count) - 1) & ~block->outer;
    unsigned set = term->set;
    for (size_t i = 0; i < block->input_count; i++)
        changed |= delta->changed[block->inputs[i]->number] ? 1U << i : 0;
    /* The next subset of what is before LEFT JOIN in counting order, then the others one by one. */
    unsigned own = changed & inner;
    unsigned next = (set & block->outer) != 0 ? 0 : ((set | ~own) + 1) & own;
    if (next == 0) {
        unsigned left = changed & block->outer;
        unsigned done = set & block->outer;
        if (done != 0) /* Those behind it. */
            left &= ~(done | (done - 1));
        next = left & (0U - left);
    }
    if (next == 0)
        return false;
    *term = (struct dbk_term){.block = block, .set = next};
    if ((next & block->outer) != 0)
        term->last = (reads_of(term) & block->outer & ~next) != 0;
    put_in_order(term, term->last ? inner : inner | (next & block->outer));
    return true;
}

void dbk_term_weight(struct dbk_buf *out, const struct dbk_term *term)
{
    bool minus = true;
    if (term->block->outer != 0) {
        dbk_buf_append_char(out, '0');
        return;
    }
    for (size_t i = 0; i < term->block->input_count; i++)
        minus = (term->set & 1U << i) != 0 ? !minus : minus;
    dbk_buf_append_text(out, minus ? "-1" : "1");
    for (size_t i = 0; i < term->block->input_count; i++) {
        if ((term->set & 1U << i) != 0)
            dbk_buf_append_format(out, " * f%zu._daybook_w", i);
    }
}

void dbk_term_keys(struct dbk_buf *out, const struct dbk_term *term, bool as_text)
{
    for (size_t i = 0; i < term->block->input_count; i++) {
        const struct dbk_relation *input = term->block->inputs[i];
        const char *const *rows = (term->set & 1U << i) != 0 ? input->noted : input->rows;
        for (size_t j = 0; (term->block->outer & 1U << i) == 0 && j < input->row_count; j++) {
            dbk_layout_key(out, input, i, j, rows[j], as_text);
            dbk_buf_append_text(out, ", ");
        }
    }
}

static void append_input(struct dbk_buf *out, const struct dbk_term *term, size_t i)
{
    if ((term->set & 1U << i) != 0)
        dbk_emit_difference(out, term->block->inputs[i]);
    else
        dbk_emit_table(out, term->block->inputs[i]);
    dbk_buf_append_format(out, " AS f%zu", i);
}

void dbk_term_from(struct dbk_buf *out, const struct dbk_term *term)
{
    const struct dbk_relation *block = term->block;
    const struct dbk_emit emit = {.relation = block};
    dbk_buf_append_text(out, " FROM ");
    for (size_t at = 0; at < term->order_count; at++) {
        dbk_buf_append_text(out, at > 0 ? " CROSS JOIN " : "");
        append_input(out, term, term->order[at]);
    }
    for (size_t i = 0; term->last && i < outer_of(term); i++) {
        if ((block->outer & 1U << i) == 0)
            continue;
        dbk_buf_append_text(out, " LEFT JOIN ");
        append_input(out, term, i);
        dbk_layout_tests(out, block, i, " ON ");
    }
    if (term->last) {
        dbk_buf_append_text(out, " CROSS JOIN ");
        append_input(out, term, outer_of(term));
    }
    dbk_buf_append_text(out, " WHERE TRUE");
    for (size_t i = 0; i < block->condition_count; i++) {
        if (!applies(term, &block->conditions[i]))
            continue;
        dbk_buf_append_text(out, " AND ");
        dbk_emit_expression(out, &emit, block->conditions[i].test);
    }
}
