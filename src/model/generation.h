/* SPDX-License-Identifier: Apache-2.0 */
/*
 * generation -- a model's tables as they lie in its database, and the catalog that names them.
 *
 *     CREATE TABLE _daybook_models (
 *         model TEXT NOT NULL, generation INTEGER NOT NULL,
 *         serving INTEGER NOT NULL,      1: the plain views point at it
 *         position INTEGER NOT NULL,     everything up to it is in the tables
 *         fingerprint TEXT NOT NULL, definition TEXT NOT NULL,
 *         PRIMARY KEY (model, generation))
 *
 * Threads: one at a time a connection.
 */
#ifndef DBK_MODEL_GENERATION_H
#define DBK_MODEL_GENERATION_H

#include "model/definition.h"

struct dbk_generation {
    uint64_t number; /* 0: none */
    uint64_t position;
    char fingerprint[DBK_FINGERPRINT_SIZE];
    struct dbk_arena arena;
    struct dbk_model_definition definition;
    struct dbk_object *objects;
    struct dbk_sql_rename *renames;
    size_t object_count;
};

void dbk_generation_init(struct dbk_generation *generation);
void dbk_generation_release(struct dbk_generation *generation);

/* Creates the catalog when there is none. */
int dbk_generation_catalog(struct dbk_connection *connection, struct dbk_error *err) DBK_MUST_CHECK;
int dbk_generation_has_catalog(struct dbk_connection *connection, bool *there_out,
                               struct dbk_error *err) DBK_MUST_CHECK;
/* Loads the serving generation, or the one being built (the newest that does not serve). number
   stays 0 when there is none. model gives the names. */
int dbk_generation_find(struct dbk_connection *connection, const struct dbk_model_definition *model,
                        bool serving, struct dbk_generation *generation,
                        struct dbk_error *err) DBK_MUST_CHECK;
/* Makes tables and row, in one transaction; serving: and the plain views. position: of the log now;
   what was forgotten up to it will not be in it. */
int dbk_generation_create(struct dbk_connection *connection,
                          const struct dbk_model_definition *model, uint64_t number, bool serving,
                          uint64_t position, struct dbk_error *err) DBK_MUST_CHECK;
/* The newest one's number, serving or not; 0: there is none. */
int dbk_generation_newest(struct dbk_connection *connection, const char *model, int64_t *number_out,
                          struct dbk_error *err) DBK_MUST_CHECK;
/* What was forgotten up to a position is not in a generation; 0: of none that is known. */
int dbk_generation_purged(struct dbk_connection *connection, const char *model, uint64_t number,
                          uint64_t *position_out, struct dbk_error *err) DBK_MUST_CHECK;
int dbk_generation_set_purged(struct dbk_connection *connection, const char *model, uint64_t number,
                              uint64_t position, struct dbk_error *err) DBK_MUST_CHECK;
/* Inside a transaction: the plain views point at the new one, which serves from now on. */
int dbk_generation_swap(struct dbk_connection *connection, const struct dbk_generation *old,
                        const struct dbk_generation *next, struct dbk_error *err) DBK_MUST_CHECK;
/* Drops what a generation that does not serve left behind, bit by bit, on a connection of its
   own. */
int dbk_generation_drop(const struct dbk_generation *generation,
                        struct dbk_error *err) DBK_MUST_CHECK;

/* One integer from SQL that is made by printf; 0 when there is no row. */
int dbk_generation_integer(struct dbk_connection *connection, int64_t *value_out,
                           struct dbk_error *err, const char *format, ...) DBK_MUST_CHECK
    DBK_PRINTF(4, 5);
/* Runs SQL that is made by printf. */
int dbk_generation_run(struct dbk_connection *connection, struct dbk_error *err, const char *format,
                       ...) DBK_MUST_CHECK DBK_PRINTF(3, 4);

#endif
