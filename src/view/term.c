/* SPDX-License-Identifier: Apache-2.0 */
/* The terms of a join's difference. */
#include "view/delta.h"

/* The inputs that an expression reads, as a set. */
static unsigned reads(const struct dbk_expression *expression)
{
    unsigned set = expression->kind == DBK_EXPRESSION_COLUMN ? 1U << expression->input : 0;
    for (size_t i = 0; i < expression->argument_count; i++)
        set |= reads(expression->arguments[i]);
    return set;
}

/* True when a condition ties the input to what has been placed. */
static bool is_tied(const struct dbk_relation *block, size_t input, unsigned placed)
{
    unsigned own = 1U << input;
    for (size_t i = 0; i < block->condition_count; i++) {
        unsigned set = reads(block->conditions[i].test);
        if ((set & own) != 0 && (set & placed) != 0 && (set & ~(placed | own)) == 0)
            return true;
    }
    return false;
}

/* Differences first, then what is tied to them, so that it is looked up and not scanned. */
static void put_in_order(struct dbk_term *term)
{
    const struct dbk_relation *block = term->block;
    unsigned placed = 0;
    for (size_t at = 0; at < block->input_count; at++) {
        size_t best = SIZE_MAX;
        unsigned best_rank = 0;
        for (size_t i = 0; i < block->input_count; i++) {
            if ((placed & 1U << i) != 0)
                continue;
            unsigned rank = 1;
            rank += (term->set & 1U << i) != 0 ? 1 : 0;
            rank += placed != 0 && is_tied(block, i, placed) ? 2 : 0;
            if (rank > best_rank) {
                best = i;
                best_rank = rank;
            }
        }
        term->order[at] = best;
        placed |= 1U << best;
    }
}

bool dbk_term_next(const struct dbk_delta *delta, const struct dbk_relation *block, unsigned set,
                   struct dbk_term *term_out)
{
    unsigned changed = 0;
    for (size_t i = 0; i < block->input_count; i++)
        changed |= delta->changed[block->inputs[i]->number] ? 1U << i : 0;
    /* The next subset of `changed` in counting order. */
    set = ((set | ~changed) + 1) & changed;
    if (set == 0)
        return false;
    *term_out = (struct dbk_term){.block = block, .set = set};
    put_in_order(term_out);
    return true;
}

void dbk_term_weight(struct dbk_buf *out, const struct dbk_term *term)
{
    bool minus = true;
    struct dbk_buf *to = out;
    for (size_t i = 0; i < term->block->input_count; i++)
        minus = (term->set & 1U << i) != 0 ? !minus : minus;
    dbk_buf_append_text(to, minus ? "-1" : "1");
    for (size_t i = 0; i < term->block->input_count; i++) {
        if ((term->set & 1U << i) != 0)
            dbk_buf_append_format(to, " * f%zu._daybook_w", i);
    }
}

void dbk_term_keys(struct dbk_buf *out, const struct dbk_term *term)
{
    for (size_t i = 0; i < term->block->input_count; i++)
        dbk_buf_append_format(out, "f%zu.%s, ", i,
                              (term->set & 1U << i) != 0 ? "_daybook_row"
                                                         : term->block->inputs[i]->row);
}

void dbk_term_from(struct dbk_buf *out, const struct dbk_term *term, const char *before)
{
    const struct dbk_relation *block = term->block;
    const struct dbk_emit emit = {.relation = block};
    dbk_buf_append_text(out, " FROM ");
    dbk_buf_append_text(out, before);
    for (size_t at = 0; at < block->input_count; at++) {
        size_t i = term->order[at];
        if (at > 0 || before[0] != '\0')
            dbk_buf_append_text(out, " CROSS JOIN ");
        if ((term->set & 1U << i) != 0)
            dbk_buf_append_format(out, "temp.d%zu", block->inputs[i]->number);
        else
            dbk_emit_name(out, block->inputs[i]->table);
        dbk_buf_append_format(out, " AS f%zu", i);
    }
    dbk_buf_append_text(out, " WHERE 1");
    for (size_t i = 0; i < block->condition_count; i++) {
        dbk_buf_append_text(out, " AND ");
        dbk_emit_expression(out, &emit, block->conditions[i].test);
    }
}
