/* SPDX-License-Identifier: Apache-2.0 */
/*
 * statement -- one command of a file, prepared: its nodes, its parameters' values, and of a query
 * the cursor.
 *
 * Threads: its session's.
 */
#ifndef DBK_TARGET_MONGODB_STATEMENT_H
#define DBK_TARGET_MONGODB_STATEMENT_H

#include "target/mongodb/session.h"

#define DBK_MONGODB_MODELS_MAX 32 /* that one query names */

enum dbk_mongodb_use {
    DBK_MONGODB_CATALOG,
    DBK_MONGODB_SCHEMA,
    DBK_MONGODB_HANDLER,
    DBK_MONGODB_PURGE,
    DBK_MONGODB_COMMAND,
    DBK_MONGODB_QUERY,
};

struct dbk_mongodb_statement {
    struct dbk_statement base; /* first: a statement is cast to it */
    struct dbk_mongodb_session *session;
    enum dbk_mongodb_use use;
    enum dbk_catalog which; /* of the catalog */
    struct dbk_arena arena;
    const struct dbk_json_node *root;
    uint32_t collection; /* a handler's, in the session's list */
    struct dbk_value values[DBK_MONGODB_PARAMETERS_MAX];
    size_t value_count;
    bool ran;
    /* Of a query and of the catalog. */
    struct dbk_mongodb_model models[DBK_MONGODB_MODELS_MAX];
    size_t model_count;
    const char **names;
    int column_count;
    bool whole; /* the one column is the document */
    mongoc_cursor_t *cursor;
    const bson_t *row;
    struct dbk_value cells[4]; /* of the catalog's row */
    int64_t *positions;        /* rows of DBK_CATALOG_RETRIED */
    size_t position_count;
    size_t position_at;
    struct dbk_arena texts; /* of the current row */
};

struct dbk_mongodb_build dbk_mongodb_building(struct dbk_mongodb_statement *statement,
                                              struct dbk_error *err);

/* ---- handler.c ---- */

/* Adds a handler's changes to its session's. */
int dbk_mongodb_change(struct dbk_mongodb_statement *statement, struct dbk_error *err);
/* Runs a schema's or a purge's command at once. */
int dbk_mongodb_run_now(struct dbk_mongodb_statement *statement, struct dbk_error *err);

/* ---- document.c ---- */

/* As dbk_statement_change. */
int dbk_mongodb_change_document(struct dbk_mongodb_statement *statement,
                                const struct dbk_document_wish *wish,
                                enum dbk_document_outcome *outcome_out,
                                struct dbk_error *err) DBK_MUST_CHECK;

/* ---- read.c ---- */

/* Finds out a query's columns and which generations its models have. */
int dbk_mongodb_prepare_query(struct dbk_mongodb_statement *statement, struct dbk_error *err);
int dbk_mongodb_next_row(struct dbk_mongodb_statement *statement, struct dbk_error *err);
struct dbk_value dbk_mongodb_cell(struct dbk_mongodb_statement *statement, int column);

#endif
