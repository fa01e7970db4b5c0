/* SPDX-License-Identifier: Apache-2.0 */
/*
 * schema -- what events of a type look like: versions, what each demands, how one becomes the next.
 *
 *     events/Deposited.schema.json   {"versions": [{"version": 1, "schema": {…}},
 *                                                  {"version": 2, "schema": {…}, "upcast": […]}]}
 *     events/Deposited.1-2.lua       instead of "upcast": how version 1 becomes 2
 *     "upcast": "program"            a program that opens the book has a function for it
 *
 * A version's schema is JSON Schema, of which docs/schemas.md says what is understood. A keyword
 * that is not is a fault, so that nothing is thought to be checked that is not. Beside it stand
 * `x-personal` at a field, `x-subject` and `x-tags` at the version's own level.
 *
 * The registry is filled file by file while a book is read, then finished, and read-only from there
 * on. All faults of all files go to the list, with their places. What an event or a schema may cost
 * is bounded: recursion, patterns and the number of checks each have a limit with a named error.
 *
 * Threads: any thread, once finished.
 * Source:  JSON Schema draft 2020-12, core and validation; docs/schemas.md.
 */
#ifndef DBK_SCHEMA_SCHEMA_H
#define DBK_SCHEMA_SCHEMA_H

#include "base/diagnostics.h"
#include "json/json.h"

/* Subschemas of one file, and versions of one type. */
#define DBK_SCHEMA_RULES_MAX 10000
#define DBK_SCHEMA_VERSIONS_MAX 1000
/* Checks that one event may take; applying one subschema to one value is a check. */
#define DBK_SCHEMA_STEPS_MAX 2000000

struct dbk_schemas; /* the registry of a book */
struct dbk_schema;  /* one version of a type */

/* What an append does about an event that does not fit (book.yaml, `schema:`). */
enum dbk_schema_mode {
    DBK_SCHEMA_STRICT, /* refuse it */
    DBK_SCHEMA_WARN,   /* store it and say so */
    DBK_SCHEMA_OFF,    /* store it unchecked */
};

/* ---- Reading ---- */

/* NULL when out of memory. */
struct dbk_schemas *dbk_schemas_create(void) DBK_MUST_CHECK;
/* NULL is fine. */
void dbk_schemas_free(struct dbk_schemas *schemas);

/*
 * Reads a type's file. Faults go to the list; a type with faults is known by name, but not found.
 *
 * type, file, source  kept until the registry is freed
 *
 * DBK_ENOMEM
 */
int dbk_schemas_add(struct dbk_schemas *schemas, const char *type, const char *file,
                    struct dbk_slice source, struct dbk_diagnostics *faults,
                    struct dbk_error *err) DBK_MUST_CHECK;
/* Reads an upcaster in Lua: of `type`, from the version before `version` to it. As above. */
int dbk_schemas_add_script(struct dbk_schemas *schemas, const char *type, uint16_t version,
                           const char *file, struct dbk_slice source) DBK_MUST_CHECK;
/* Checks what needs all files: each version has exactly one upcaster, each script a version. */
int dbk_schemas_finish(struct dbk_schemas *schemas, struct dbk_diagnostics *faults,
                       struct dbk_error *err) DBK_MUST_CHECK;

/* ---- Finding ---- */

/* Types in byte order, without those that have faults. */
size_t dbk_schemas_count(const struct dbk_schemas *schemas);
/* A type's newest version, by the type's index or name. NULL: the type is not declared. */
const struct dbk_schema *dbk_schemas_at(const struct dbk_schemas *schemas, size_t index);
const struct dbk_schema *dbk_schemas_newest(const struct dbk_schemas *schemas,
                                            struct dbk_slice type);
/* NULL: the type, or this version of it, is not declared. */
const struct dbk_schema *dbk_schemas_find(const struct dbk_schemas *schemas, struct dbk_slice type,
                                          uint16_t version);
/*
 * Takes "Deposited.v1" apart, where Deposited is declared; the version may be none that there is.
 * False: it is a type's name.
 */
bool dbk_schemas_split(const struct dbk_schemas *schemas, struct dbk_slice name,
                       struct dbk_slice *type_out, uint16_t *version_out);
/*
 * Of a type's versions and how each becomes the next: what a state or a model depends on that was
 * made of its events. What the schemas demand is left out. All zeros: the type is not declared.
 */
#define DBK_SCHEMA_FINGERPRINT_SIZE 32
void dbk_schemas_fingerprint(const struct dbk_schemas *schemas, struct dbk_slice type,
                             uint8_t fingerprint_out[DBK_SCHEMA_FINGERPRINT_SIZE]);

/* ---- A version; everything is valid until the registry is freed ---- */

uint16_t dbk_schema_version(const struct dbk_schema *schema);
struct dbk_slice dbk_schema_type(const struct dbk_schema *schema);
const char *dbk_schema_file(const struct dbk_schema *schema);
/* The version's schema as it is written: a JSON object, or true or false. */
const struct dbk_json_node *dbk_schema_source(const struct dbk_schema *schema);
/* The place in its file of something that lies in it. */
void dbk_schema_place(const struct dbk_schema *schema, const char *at, unsigned *line_out,
                      unsigned *column_out);

/* A field's way from the data's root: a member's name, or each element of an array. */
struct dbk_schema_step {
    struct dbk_slice key; /* data is NULL: each element */
};
struct dbk_schema_path {
    struct dbk_slice text; /* "customer_name", "address.street", "lines[].note" */
    const struct dbk_schema_step *steps;
    size_t count;
};
/* Personal fields, in byte order of their texts. None lies within another. */
const struct dbk_schema_path *dbk_schema_personal(const struct dbk_schema *schema,
                                                  size_t *count_out);
/* The field that names the person; NULL: none. It has no elements on its way. */
const struct dbk_schema_path *dbk_schema_subject(const struct dbk_schema *schema);

/* One thing that an upcaster does, in order of the file (schema/upcast.h). */
enum dbk_upcast_kind {
    DBK_UPCAST_ADD,     /* a field with a value, where there is none */
    DBK_UPCAST_RENAME,  /* a field becomes `to` */
    DBK_UPCAST_REMOVE,  /* a field is left out */
    DBK_UPCAST_CONVERT, /* a field's value becomes one of another type */
};
enum dbk_upcast_type {
    DBK_UPCAST_STRING,
    DBK_UPCAST_INTEGER,
    DBK_UPCAST_NUMBER,
    DBK_UPCAST_BOOLEAN,
};
struct dbk_upcast_step {
    enum dbk_upcast_kind kind;
    struct dbk_schema_path path;
    struct dbk_schema_path to;         /* rename */
    const struct dbk_json_node *value; /* add */
    enum dbk_upcast_type type;         /* convert */
    unsigned line;                     /* in the type's file */
    unsigned column;
};
/* How the version before becomes this one: these steps … */
const struct dbk_upcast_step *dbk_schema_upcast(const struct dbk_schema *schema, size_t *count_out);
/* … or this script; NULL: steps, of which there may be none. */
struct dbk_schema_script {
    const char *file;
    struct dbk_slice source;
};
const struct dbk_schema_script *dbk_schema_script(const struct dbk_schema *schema);
/* … or a function of the program that opens the book. */
bool dbk_schema_is_program(const struct dbk_schema *schema);

/* ---- Data ---- */

/*
 * Whether data fits. The message names line and column in the text, the field, what was expected
 * and what stands there; of a personal field, only its kind.
 *
 * data  as parsed from text
 *
 * DBK_EINVAL  it does not
 * DBK_ELIMIT  it takes too long to say: the message names what does
 * DBK_ENOMEM
 */
int dbk_schema_validate(const struct dbk_schema *schema, const struct dbk_json_node *data,
                        struct dbk_slice text, struct dbk_error *err) DBK_MUST_CHECK;
/* The same for data that comes from another book: what stands for a forgotten field there,
   {"$forgotten":…}, fits whatever is demanded in its place. */
int dbk_schema_validate_carried(const struct dbk_schema *schema, const struct dbk_json_node *data,
                                struct dbk_slice text, struct dbk_error *err) DBK_MUST_CHECK;

/*
 * The tags that `x-tags` makes of data, in the arena; one whose field is missing or null is left
 * out.
 *
 * DBK_EINVAL  a tag would be empty or past 255 bytes, begin with `$`, or hold a control character,
 *             or its field is no text, number or boolean
 * DBK_ENOMEM
 */
int dbk_schema_tags(const struct dbk_schema *schema, const struct dbk_json_node *data,
                    struct dbk_arena *arena, const struct dbk_slice **tags_out, size_t *count_out,
                    struct dbk_error *err) DBK_MUST_CHECK;

/*
 * Whether data of a version may have the member that names lead to: it may not where the schema
 * names the members that there are, and this is none of them. missing_out is the index of the name
 * that is not known then, and known_out, in the arena, are those that are known in its place.
 *
 * 1: it may; 0: not; DBK_ENOMEM
 */
int dbk_schema_may_have(const struct dbk_schema *schema, const struct dbk_slice *names,
                        size_t count, struct dbk_arena *arena, size_t *missing_out,
                        const char *const **known_out, size_t *known_count_out) DBK_MUST_CHECK;

/* The value at a path without elements; NULL when there is none. */
const struct dbk_json_node *dbk_schema_value(const struct dbk_schema_path *path,
                                             const struct dbk_json_node *data);

#endif
