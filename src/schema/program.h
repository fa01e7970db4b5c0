/* SPDX-License-Identifier: Apache-2.0 */
/*
 * program -- what a chain of upcasts comes to: a tree beside the tree of the data.
 *
 * A `change` says what becomes of a value, an `object` what becomes of an object's members by the
 * names they have in the text. Members of that text and added ones are told apart all along the
 * chain:
 *
 *     source    a member of the text; present or not; its name as of the last step so far
 *     addition  a member that some step adds, unless one of the sources is present that had its
 *               name then
 *
 * So "does the member exist" is, at each step, a set of sources any of which may be present, or
 * certain when it was added. Two names that must not both exist when a step renames one to the
 * other are a `conflict` of two such sets.
 */
#ifndef DBK_SCHEMA_PROGRAM_H
#define DBK_SCHEMA_PROGRAM_H

#include <stdbool.h>

#include "schema/upcast.h"

/* Where an error is said to be. */
struct dbk_upcast_origin {
    uint16_t version;
    struct dbk_slice path;
};

struct dbk_upcast_conversion {
    enum dbk_upcast_type type;
    struct dbk_upcast_origin origin;
    struct dbk_upcast_conversion *next;
};

struct dbk_upcast_change {
    struct dbk_upcast_conversion *conversions; /* of a scalar, in order */
    struct dbk_upcast_object *object;          /* of an object; NULL: stays as it is */
    struct dbk_upcast_change *element;         /* of each element of an array; NULL: as object */
    /* What adds something in the object, or below the elements; NULL: nothing does. */
    const struct dbk_upcast_origin *adds_in_object;
    const struct dbk_upcast_origin *adds_in_array;
};

struct dbk_upcast_source {
    struct dbk_slice name; /* as in the text, unescaped */
    struct dbk_slice now;  /* after the steps */
    struct dbk_slice key;  /* `now` in quotes; empty: as in the text */
    bool removed;
    bool changes; /* `change` is not empty */
    struct dbk_upcast_change change;
};

struct dbk_upcast_addition {
    struct dbk_slice now;
    struct dbk_slice member; /* "now":value */
    struct dbk_slice value;
    uint64_t unless; /* sources: bit i is sources[i] */
    bool removed;
};

struct dbk_upcast_conflict {
    uint64_t sources; /* of the renamed name, and of the one it gets */
    uint64_t others;
    bool certain; /* exists whatever is present; so does the other */
    bool other_certain;
    struct dbk_upcast_origin origin;
    struct dbk_slice to;
    struct dbk_upcast_conflict *next;
};

struct dbk_upcast_object {
    struct dbk_upcast_source sources[DBK_UPCAST_NAMES_MAX];
    size_t source_count;
    struct dbk_upcast_addition additions[DBK_UPCAST_NAMES_MAX];
    size_t addition_count;
    struct dbk_upcast_conflict *conflicts;
    bool findable;       /* the root's, when its sources are sooner found than walked to */
    uint64_t name_sizes; /* of its sources: bit n is n bytes */
    size_t growth;       /* of its text by new names and members, at most */
};

/* So many sources can be looked for. */
#define DBK_UPCAST_FINDABLE_MAX 16

/* A member of the root, by the offset of its key's first quote. */
struct dbk_upcast_found {
    size_t offset;
    const struct dbk_upcast_source *source;
};

struct dbk_upcast_finding {
    const char *begin; /* the object's braces in the text */
    const char *brace;
    uint64_t present; /* sources: bit i is sources[i] */
    size_t count;
    struct dbk_upcast_found found[DBK_UPCAST_FINDABLE_MAX]; /* of which something becomes */
};

/* Notes what dbk_upcast_find goes by, when the root is complete. */
void dbk_upcast_note_names(struct dbk_upcast_object *object);

/*
 * Finds the object's sources among the members of a text that is valid JSON, in order of their
 * places. False: it takes a walk to tell, because it is no object, has strings with escapes, has a
 * name twice or within others, or is long.
 */
bool dbk_upcast_find(const struct dbk_upcast_object *object, struct dbk_slice text,
                     struct dbk_upcast_finding *finding);
/*
 * Appends the text with its new names and members to `out`, where no more than that becomes of it.
 * 1: done; 0: it is right as it stands; -1: it takes a walk, and `out` is as before.
 */
int dbk_upcast_splice(const struct dbk_upcast_object *object, struct dbk_slice text,
                      const struct dbk_upcast_finding *finding, struct dbk_buf *out);

struct dbk_upcast_program {
    struct dbk_arena arena;
    struct dbk_upcast_change root;
};

/* Runs a change over a text, as dbk_upcast_run. */
int dbk_upcast_run_change(const struct dbk_upcast_change *change, struct dbk_slice text,
                          struct dbk_buf *out, struct dbk_error *err) DBK_MUST_CHECK;

/*
 * Converts a scalar, as it stands in a text, and appends the new one to `out`, of which `text` must
 * be no part. 0: it stays as it is, nothing is appended; 1: it was; negative: it cannot be.
 */
int dbk_upcast_convert(enum dbk_upcast_type type, struct dbk_slice text,
                       struct dbk_buf *out) DBK_MUST_CHECK;

/* The scalar of a key that ends here, in a text that was found in; its end, or NULL: it is none. */
const char *dbk_upcast_find_value(const struct dbk_upcast_finding *finding, const char *key_end,
                                  const char **value_out);
bool dbk_upcast_has_conflict(const struct dbk_upcast_object *object, uint64_t present);
/* Whether nothing but one conversion becomes of a value. */
bool dbk_upcast_is_one_conversion(const struct dbk_upcast_change *change);

/*
 * Members of what dbk_upcast_run would make of a text, where they can be had without making the
 * rest: what cannot be done to other members goes unnoticed. False: it takes a run.
 */
bool dbk_upcast_begin_pick(const struct dbk_upcast_program *program, struct dbk_slice text,
                           struct dbk_upcast_finding *finding);
/*
 * One member, at the top.
 *
 * value_out  the value's text: in `text`, the program or `out`, which is overwritten
 *
 * 1: it is had; 0: there is none; -1: it takes a run to tell
 */
int dbk_upcast_pick(const struct dbk_upcast_program *program, struct dbk_slice text,
                    const struct dbk_upcast_finding *finding, struct dbk_slice name,
                    struct dbk_buf *out, struct dbk_slice *value_out);

#endif
