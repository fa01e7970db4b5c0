/* SPDX-License-Identifier: Apache-2.0 */
/*
 * definition -- a model's definition as text: kept with each generation, and fingerprinted.
 *
 * The text is a JSON object: sync (events or transaction: how captured events came to be builds no
 * other tables), categories, schema_file, schema, handlers [{file, line, type,
 * version, sql}]; of a model that takes personal fields also personal, purge_file, purge, and of
 * one that takes them sealed personal_fields [{type, path}]; of one whose types are upcast also
 * upcasts; a handler's version only where it is for one. Two definitions with the same text build
 * the same tables.
 *
 * Threads: pure functions.
 */
#ifndef DBK_MODEL_DEFINITION_H
#define DBK_MODEL_DEFINITION_H

#include "base/hash.h"
#include "json/json.h"
#include "model/model.h"

#define DBK_DEFINITION_SIZE_MAX ((size_t)64 << 20)
#define DBK_FINGERPRINT_SIZE (2 * DBK_SHA256_SIZE + 1)

int dbk_definition_encode(const struct dbk_model_definition *definition, struct dbk_buf *out,
                          struct dbk_error *err) DBK_MUST_CHECK;
/* name, database and database_path are left alone; all else is in the arena. DBK_ECORRUPT. */
int dbk_definition_decode(struct dbk_slice text, struct dbk_arena *arena,
                          struct dbk_model_definition *definition,
                          struct dbk_error *err) DBK_MUST_CHECK;
void dbk_definition_fingerprint(struct dbk_slice text, char fingerprint_out[DBK_FINGERPRINT_SIZE]);

/* The names a schema creates. */
struct dbk_object {
    enum dbk_object_kind kind;
    struct dbk_slice name;
};
/* What a schema makes, in the arena: SQLite runs it in an empty database in memory. */
int dbk_definition_objects(const struct dbk_model_definition *definition, struct dbk_arena *arena,
                           struct dbk_object **objects_out, size_t *count_out,
                           struct dbk_error *err) DBK_MUST_CHECK;
/* name -> name__g<generation> for each object, in the arena. */
int dbk_definition_renames(const struct dbk_object *objects, size_t count, uint64_t generation,
                           struct dbk_arena *arena, struct dbk_sql_rename **renames_out,
                           struct dbk_error *err) DBK_MUST_CHECK;
/* Takes "__g<generation>" out of a message, so that people read the names they wrote. */
void dbk_definition_plain(struct dbk_error *err);

#endif
