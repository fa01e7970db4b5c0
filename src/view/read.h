/* SPDX-License-Identifier: Apache-2.0 */
/*
 * read -- what the sources that read a SELECT into algebra share.
 *
 * Functions answer DBK_OK or a negative code; of an obstacle they note it and answer DBK_EREFUSED.
 *
 * Threads: one at a time.
 */
#ifndef DBK_VIEW_READ_H
#define DBK_VIEW_READ_H

#include "json/json.h"
#include "view/algebra.h"

/* A name of WITH. */
struct dbk_with {
    struct dbk_slice name;
    struct dbk_relation *relation;
    const struct dbk_with *next; /* those before it, and around */
};

struct dbk_reading {
    struct dbk_algebra *tree;
    const struct dbk_with *withs; /* that a name in FROM may mean here */
    size_t pass;                  /* over the expressions (joins.c) */
    size_t depth;                 /* of subqueries in expressions */
    const struct dbk_scope *around;
    const struct dbk_json_node *top; /* the whole SELECT: it may have ORDER BY and LIMIT */
    const struct dbk_algebra_source *source;
    struct dbk_error *err;
};

/* What a SELECT's names may mean: columns of its inputs, then its outputs' labels. */
struct dbk_scope {
    struct dbk_relation *block;
    struct dbk_expression **outputs; /* NULL: none yet */
    const char **labels;
    size_t output_count;
    bool aggregates; /* may be used here */
    /* WINDOW's definitions, where window functions may be used; else NULL */
    const struct dbk_json_node *windows;
    const struct dbk_scope *around; /* of a subquery's names */
};

int dbk_read_obstacle(struct dbk_reading *reading, size_t place, const char *fix,
                      const char *format, ...) DBK_PRINTF(4, 5);
/* The node's "location"; 0 where it has none. */
size_t dbk_read_place(const struct dbk_json_node *node);
/* A member's text; empty: there is none. */
struct dbk_slice dbk_read_text(const struct dbk_json_node *node, const char *key);
/* The text of {"String":{"sval":…}}. */
struct dbk_slice dbk_read_string(const struct dbk_json_node *node);
/* True when a member is there and true. */
bool dbk_read_is_true(const struct dbk_json_node *node, const char *key);
/* True when a name is this one, in any case. */
bool dbk_read_is_name(struct dbk_slice name, const char *other);
bool dbk_read_is_among(struct dbk_slice name, const char *const *names, size_t count);
#define DBK_READ_IS_AMONG(name, names)                                                             \
    dbk_read_is_among(name, names, sizeof(names) / sizeof((names)[0]))
/* Whether USING made a column that of an input before: no name without a table means it. */
bool dbk_read_is_merged(const struct dbk_relation *block, size_t input, size_t column);
int dbk_read_no_memory(struct dbk_reading *reading);
/* True where the text is PostgreSQL's own. */
static inline bool dbk_read_is_server(const struct dbk_reading *reading)
{
    return reading->tree->dialect == DBK_DIALECT_POSTGRES;
}
/* Constants and types of PostgreSQL (literal.c): A_Const; the text of a TypeName. */
int dbk_read_literal(struct dbk_reading *reading, const struct dbk_json_node *node,
                     struct dbk_expression **expression_out);
int dbk_read_type(struct dbk_reading *reading, const struct dbk_json_node *node,
                  const char **type_out);
/* A new expression in the arena, with room for arguments. */
struct dbk_expression *dbk_read_make(struct dbk_reading *reading, enum dbk_expression_kind kind,
                                     size_t argument_count);
/* Reads an expression of the parse tree. */
int dbk_read_expression(struct dbk_reading *reading, const struct dbk_scope *scope,
                        const struct dbk_json_node *holder, struct dbk_expression **expression_out);
/* An expression whose arguments are a list's items; NULL: none. */
int dbk_read_list(struct dbk_reading *reading, const struct dbk_scope *scope,
                  enum dbk_expression_kind kind, const struct dbk_json_node *list,
                  struct dbk_expression **expression_out);
/* SubLink (subquery.c). */
int dbk_read_subquery(struct dbk_reading *reading, const struct dbk_scope *scope,
                      const struct dbk_json_node *node, struct dbk_expression **expression_out);
/* FuncCall. */
int dbk_read_call(struct dbk_reading *reading, const struct dbk_scope *scope,
                  const struct dbk_json_node *node, struct dbk_expression **expression_out);
/* FuncCall with OVER (window.c). */
int dbk_read_window(struct dbk_reading *reading, const struct dbk_scope *scope,
                    const struct dbk_json_node *node, struct dbk_slice name,
                    struct dbk_expression **expression_out);
bool dbk_expression_equal(const struct dbk_expression *first, const struct dbk_expression *second);
/* True when an aggregate stands in it. */
bool dbk_expression_aggregates(const struct dbk_expression *expression);

#endif
