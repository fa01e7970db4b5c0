/* SPDX-License-Identifier: Apache-2.0 */
/*
 * algebra -- a view's SELECT as relational algebra.
 *
 * The text is parsed by libpg_query, and its names are resolved against the tables that it reads.
 * What comes out is a tree of relations, inputs before those that use them:
 *
 *     TABLE   a table of the database; its key is its row id
 *     BLOCK   joins, WHERE and projection; its key is that of all its inputs but for those behind
 *             LEFT JOIN, so that with these several rows may have one key
 *     WINDOW  outputs with window functions over one input; its key is what they are partitioned
 *             by, which many rows have
 *     UNION   UNION ALL of blocks; its key is the branch and that branch's key
 *     SET     UNION, EXCEPT or INTERSECT of two relations
 *     GROUP   grouping of one block; keys, then aggregates ("slots"), then outputs over them
 *
 * As it is written a SELECT nests these at will. As it is maintained (normal.c) each rule has rows
 * to work on: what stands in another relation's FROM is a table, or is stored as one beside the
 * view, with the same affinities and with a difference of its own. A SET has become groups.
 *
 * A construct that has no place here is an obstacle, named with its place: such a view is refreshed
 * fully. Two parsers read the text, SQLite's and PostgreSQL's. That they read the same is not
 * assumed: the tree is written back as SQL, and both texts must compile to the same program of
 * SQLite's machine, instruction by instruction.
 *
 * Threads: one at a time a tree; libpg_query keeps its memory by thread.
 * Source:  docs/design/views.md; libpg_query, PostgreSQL 15's grammar.
 */
#ifndef DBK_VIEW_ALGEBRA_H
#define DBK_VIEW_ALGEBRA_H

#include "target/target.h"

/* The parser is recursive: a text is bounded before it is reached. */
#define DBK_ALGEBRA_SIZE_MAX ((size_t)64 << 10)
#define DBK_ALGEBRA_TOKENS_MAX 5000
/* Tables of one block: each adds a factor of two to the terms of its difference. */
#define DBK_ALGEBRA_INPUTS_MAX 8

enum dbk_expression_kind {
    DBK_EXPRESSION_COLUMN,   /* column `column` of the block's input `input` */
    DBK_EXPRESSION_SLOT,     /* a group's slot `column`: its keys first, then its aggregates */
    DBK_EXPRESSION_CONSTANT, /* as it stands in the text */
    DBK_EXPRESSION_CALL,     /* text(arguments) */
    DBK_EXPRESSION_OPERATOR, /* one or two arguments; AND and OR: any number */
    DBK_EXPRESSION_NOT,
    DBK_EXPRESSION_IS_NULL, /* negated: IS NOT NULL */
    DBK_EXPRESSION_CASE,    /* [operand,] when, then, …[, else] */
    DBK_EXPRESSION_CAST,    /* to the type `text` */
    DBK_EXPRESSION_IN,      /* the first in the rest */
    DBK_EXPRESSION_BETWEEN, /* three */
    DBK_EXPRESSION_WINDOW,  /* text(arguments) OVER (…), with `window` */
    /* with `select`, whose expressions may read columns of the block around: */
    DBK_EXPRESSION_EXISTS,
    DBK_EXPRESSION_SCALAR, /* (SELECT …), one row always */
    DBK_EXPRESSION_AMONG,  /* the first IN (SELECT …) */
};

/* A term of an ORDER BY. */
struct dbk_order {
    size_t output;         /* of the root; behind those that are shown: a hidden one */
    const char *collation; /* COLLATE; NULL: none */
    bool down;             /* DESC */
    const char *nulls;     /* " NULLS FIRST", " NULLS LAST"; NULL: as the direction has them */
};

/* OVER (PARTITION BY … ORDER BY … frame). */
struct dbk_window {
    size_t partition; /* its first one among the expression's arguments */
    size_t order;     /* and that of ORDER BY */
    struct dbk_order *terms;
    const char *frame; /* " ROWS …"; NULL: none */
    bool rows;         /* the frame is one of ROWS */
    bool ties;         /* shows which of rows that are alike by ORDER BY comes first */
};

struct dbk_expression {
    enum dbk_expression_kind kind;
    const char *text;
    size_t input;
    size_t column;
    bool around; /* COLUMN: of the block around the subquery */
    struct dbk_relation *select;
    struct dbk_window *window; /* WINDOW */
    bool negated;
    bool has_operand; /* CASE */
    bool has_else;    /* CASE */
    bool filter;      /* CASE: written as FILTER of the aggregate whose argument it is */
    bool aggregate;   /* CALL; gone where a group's outputs are */
    bool star;        /* CALL: COUNT(*) */
    bool distinct;    /* CALL */
    struct dbk_expression **arguments;
    size_t argument_count;
    size_t place; /* byte in the SELECT */
    size_t pass;  /* that last went over it (joins.c) */
};

enum dbk_aggregate_kind {
    DBK_AGGREGATE_COUNT, /* additive: COUNT(*) and COUNT(e) */
    DBK_AGGREGATE_SUM,   /* additive while all values are integers: SUM, TOTAL, AVG */
    DBK_AGGREGATE_LEAST, /* MIN, MAX: additive while nothing leaves the end */
    DBK_AGGREGATE_OTHER, /* the group is computed again */
};

struct dbk_aggregate {
    enum dbk_aggregate_kind kind;
    const char *name; /* "count", "sum", "total", "avg", "min", "max" */
    bool star;        /* COUNT(*) */
    bool distinct;
    size_t argument; /* output of the group's block; not with star */
    bool whole;      /* PostgreSQL, SUM: of integers */
    size_t place;
};

enum dbk_relation_kind {
    DBK_RELATION_TABLE,
    DBK_RELATION_BLOCK,
    DBK_RELATION_WINDOW,
    DBK_RELATION_UNION,
    DBK_RELATION_SET,
    DBK_RELATION_GROUP
};

enum dbk_join_kind { DBK_JOIN_INNER, DBK_JOIN_LEFT, DBK_JOIN_RIGHT, DBK_JOIN_FULL };

struct dbk_algebra_test {
    struct dbk_expression *test;
    size_t input; /* ON of the join with this input; SIZE_MAX: WHERE */
};

struct dbk_relation {
    enum dbk_relation_kind kind;
    size_t number;      /* its place in the tree's list */
    const char *name;   /* TABLE, WITH: as the text has it */
    const char *schema; /* TABLE: of a server, where the table is; else NULL */
    const char *table;  /* TABLE, stored: where its rows lie */
    /* TABLE, stored: what its rows are known by, as it is written; and in its difference. */
    const char *const *rows;
    const char *const *noted;
    size_t row_count;
    const char *const *row_types; /* of a server: their types; else NULL */
    const char *signature;        /* TABLE: of a server, what the plan rests on; else NULL */
    bool log;                     /* TABLE: `events`, which only grows (events.h) */
    bool typed;                   /* of a server: its columns have types, and keep them */
    const char *affinity; /* TABLE: a letter a column, as dbk_relation_affinity gives them */
    const char **columns; /* TABLE: their names; else "c0", "c1", … */
    const char **labels;  /* what the outputs are called outside; NULL: nothing */
    size_t column_count;
    struct dbk_relation **inputs;
    const char **aliases; /* of inputs, as names are resolved */
    size_t input_count;
    enum dbk_join_kind *joins; /* BLOCK: of each input with all before it */
    uint64_t *merged;          /* BLOCK: of each input the columns that USING took */
    unsigned outer; /* BLOCK: the set of inputs behind LEFT JOIN; they are the last ones */
    struct dbk_expression **outputs; /* BLOCK, GROUP: column_count of them */
    struct dbk_algebra_test *conditions;
    size_t condition_count;
    struct dbk_expression **partition; /* WINDOW: its keys */
    size_t key_count; /* TABLE its rows; BLOCK the sum; UNION 1 and the greatest; GROUP its keys */
    struct dbk_aggregate *aggregates; /* GROUP */
    size_t aggregate_count;
    struct dbk_expression *having; /* GROUP; NULL: none */
    bool distinct;                 /* GROUP: written as SELECT DISTINCT */
    bool grouped;                  /* GROUP: has GROUP BY */
    const char *set;               /* SET: its word */
    size_t depth;                  /* BLOCK: how many expressions' subqueries it stands in */
    bool with;                     /* has a name in WITH */
    bool stored;                   /* beside the view: it is another relation's input */
    bool bare;                     /* UNION: columns without affinity, as its branches differ */
    bool entered;                  /* is in the tree's list */
    struct dbk_relation *normal;   /* what it has become; NULL: not yet */
};

/* Why a view cannot be maintained incrementally. */
struct dbk_obstacle {
    size_t place; /* byte in the SELECT; SIZE_MAX: nowhere in particular */
    char what[200];
    char fix[160]; /* what would make it incremental; empty: nothing */
};

struct dbk_algebra {
    struct dbk_arena *arena;
    struct dbk_connection *connection;
    enum dbk_dialect dialect; /* of the text, and of what is made of it */
    struct dbk_slice select;
    struct dbk_relation **relations; /* inputs first */
    size_t relation_count;
    struct dbk_relation *root;
    struct dbk_relation **withs; /* as they are written */
    size_t with_count;
    struct dbk_order *order; /* applied when the view is read (shown.h) */
    size_t order_count;
    size_t hidden_count; /* of the root's outputs, the last ones: only ORDER BY needs them */
    const char *limit;   /* as it stands in the text; NULL: none */
    const char *offset;
    bool ties; /* some window has them */
    /* The SELECT of what is stored, where LIMIT shows a part of it, or SQLite left open what comes
       first in a window; else NULL. */
    const char *whole;
    struct dbk_obstacle obstacle; /* where dbk_algebra_read answered 0 */
};

/*
 * Where a table's rows lie: fills what stands behind a name in a SELECT. 1: found; 0: there is
 * none, and the obstacle says what it is instead.
 */
typedef int (*dbk_algebra_find_fn)(void *context, struct dbk_slice name, const char **table_out,
                                   struct dbk_obstacle *obstacle, struct dbk_error *err);

struct dbk_json_node;
struct dbk_reading;
/* What a SELECT's names mean, in the database whose SELECT it is. */
struct dbk_algebra_source {
    dbk_algebra_find_fn find; /* of SQLite's tables; else NULL, and the others are there: */
    /* Reads a RangeVar into a TABLE, and enters it. As view/read.h says. */
    int (*table)(struct dbk_reading *reading, const struct dbk_json_node *node,
                 struct dbk_relation **relation_out);
    /* Whether a function may be called: what is given does not change. As view/read.h says. */
    int (*call)(struct dbk_reading *reading, struct dbk_slice name,
                const struct dbk_expression *call);
    void *context;
};

/*
 * Reads a SELECT that its database has accepted. connection: where its tables are. All results lie
 * in the arena. 1: tree->root is the whole SELECT; 0: tree->obstacle says why not; DBK_ENOMEM and
 * others: the database failed.
 */
int dbk_algebra_read(struct dbk_algebra *tree, struct dbk_connection *connection,
                     struct dbk_slice select, const struct dbk_algebra_source *source,
                     struct dbk_arena *arena, struct dbk_error *err) DBK_MUST_CHECK;

/* Whether two SELECTs compile to the same program. 1, 0, or an error. */
int dbk_algebra_same(struct dbk_connection *connection, struct dbk_slice first,
                     struct dbk_slice second, struct dbk_error *err) DBK_MUST_CHECK;

/* Notes an obstacle, the first one only; returns 0. */
int dbk_obstacle_set(struct dbk_obstacle *obstacle, size_t place, const char *fix,
                     const char *format, ...) DBK_PRINTF(4, 5);

/* ---- Writing it as SQL ---- */

enum dbk_emit_how {
    DBK_EMIT_STORED,  /* inputs where they lie */
    DBK_EMIT_WRITTEN, /* inputs as the text has them */
    DBK_EMIT_WHOLE,   /* the same, but windows in an order that leaves nothing open */
};

/* Where the columns of an expression's inputs are read from. */
struct dbk_emit {
    const struct dbk_relation *relation; /* whose inputs or slots they are */
    enum dbk_emit_how how;
    bool slots_as_written;         /* slots as the block's expressions and aggregates */
    const char *slot_prefix;       /* else as columns s0, s1, … of this: "v." */
    const struct dbk_emit *around; /* of the block around the subquery */
};

/* Appends `name` in double quotes. */
void dbk_emit_name(struct dbk_buf *out, const char *name);
void dbk_emit_expression(struct dbk_buf *out, const struct dbk_emit *emit,
                         const struct dbk_expression *expression);
/* COLLATE, DESC and NULLS of a term. */
void dbk_emit_direction(struct dbk_buf *out, const struct dbk_order *order);
/* LIMIT and OFFSET of the whole SELECT. */
void dbk_emit_bounds(struct dbk_buf *out, const struct dbk_algebra *tree);
/* f(…) OVER (…) (window.c). */
void dbk_emit_window(struct dbk_buf *out, const struct dbk_emit *emit,
                     const struct dbk_expression *expression);
/* The whole SELECT as it was written. how: WRITTEN or WHOLE. */
void dbk_emit_tree(struct dbk_buf *out, const struct dbk_algebra *tree, enum dbk_emit_how how);
/* A TABLE's or stored relation's name, with its schema where it has one. */
void dbk_emit_table(struct dbk_buf *out, const struct dbk_relation *relation);
/* The name of the difference of one: "temp.d0". */
void dbk_emit_difference(struct dbk_buf *out, const struct dbk_relation *relation);
/* The name of a block's input in what is written: "f0". */
void dbk_emit_alias(struct dbk_buf *out, const struct dbk_relation *block, size_t input);
/* The FROM and WHERE of a block over where its inputs lie (layout.c). */
void dbk_emit_tables(struct dbk_buf *out, const struct dbk_relation *block,
                     const struct dbk_emit *around);
/* A group's slot where it is stored, in the columns that begin with the prefix ("v."). */
void dbk_emit_slot(struct dbk_buf *out, const struct dbk_relation *group, size_t slot,
                   const char *prefix);
/* The set of a block's inputs that an expression reads, also in its subqueries. */
unsigned dbk_expression_reads(const struct dbk_expression *expression);
/* Of a subquery's expression, or of a subquery: the inputs of the block around that it reads. */
unsigned dbk_expression_reads_around(const struct dbk_expression *expression);
unsigned dbk_relation_reads_around(const struct dbk_relation *select);
/* True when a subquery stands in it. */
bool dbk_expression_asks(const struct dbk_expression *expression);
/* True when a window function stands in its outputs. */
bool dbk_relation_windows(const struct dbk_relation *relation);
/* True when a block's outputs or conditions have one. */
bool dbk_relation_asks(const struct dbk_relation *block);
/* The affinity of a declared type. */
char dbk_type_affinity(const char *type);
/*
 * The affinity of a column: 'T', 'N', 'I', 'R', 'B' of a column without a type, and 'X' of an
 * expression, which has none: compared with a text it becomes one, which 'B' does not. A stored
 * column always has one; what has none is read through unary plus.
 */
char dbk_relation_affinity(const struct dbk_relation *relation, size_t column);
/* True when a group's sums may have to be computed again, by what is known before its rows are. */
bool dbk_group_recomputes(const struct dbk_relation *group);
/* What a subquery's rows come from: itself, or the block that it groups. */
struct dbk_relation *dbk_relation_base(struct dbk_relation *relation);
#endif
