/* SPDX-License-Identifier: Apache-2.0 */
/*
 * upcaster -- events of an older schema version become those of their type's newest.
 *
 *     version 1 --steps--> 2 --Lua--> 3 --steps--> 4 --steps--> 5     as declared
 *               `-------'    `-----'    `---------------------'       as run
 *
 * What lies between a version and the newest is worked out once, when an event of it is first met:
 * steps that follow each other become one program (schema/upcast.h), a script or a program's own
 * function stands between. An event that was stored before its type was declared (version 0) counts
 * as version 1. Events of undeclared types, of the newest version, and what is no JSON are left
 * alone, for the price of a look-up.
 *
 * Each reader has an upcaster: the memory that new data lies in, and scripts, whose states are no
 * thread's but the reader's. Readers come and go often, so upcasters are taken from a pool.
 *
 * Threads: all functions from any thread, with one upcaster from one thread at a time.
 */
#ifndef DBK_SCHEMA_UPCASTER_H
#define DBK_SCHEMA_UPCASTER_H

#include "log/record.h"
#include "schema/schema.h"

/* A program's own function: what "upcast": "program" stands for. */
struct dbk_upcast_function {
    struct dbk_slice type;
    uint16_t version;            /* that it makes, of the one before */
    struct dbk_slice definition; /* changes with what it does */
    void *context;
    /* Appends the event's data in that version, as JSON, which is checked. Negative: a code, and
       err says why. Called from any thread. */
    int (*upcast)(void *context, const struct dbk_event *event, struct dbk_buf *out,
                  struct dbk_error *err);
};

struct dbk_upcasts; /* of a book */
struct dbk_upcaster;

/*
 * schemas    kept until free
 * functions  borrowed; their texts and contexts are kept until free
 *
 * DBK_EINVAL  a function that the schemas do not ask for, or two for the same
 * DBK_ENOMEM
 */
int dbk_upcasts_open(const struct dbk_schemas *schemas, const struct dbk_upcast_function *functions,
                     size_t function_count, struct dbk_upcasts **upcasts_out,
                     struct dbk_error *err) DBK_MUST_CHECK;
/* All upcasters must have been given back. NULL is fine. */
void dbk_upcasts_free(struct dbk_upcasts *upcasts);

/*
 * Makes an event one of its type's newest version; its data is valid until the upcaster's next
 * event. upcaster is NULL at first, and is taken when one is needed.
 *
 * DBK_ESCRIPT   a step, script or function failed, or is a program's that is not this one: the
 *               message names file, versions, and the event's stream, type, version and position
 * DBK_EBOOK     the event's version is newer than any that is declared
 * DBK_ECORRUPT  the data is no JSON
 * DBK_ENOMEM, DBK_ELIMIT
 */
int dbk_upcast_event(struct dbk_upcasts *upcasts, struct dbk_upcaster **upcaster,
                     struct dbk_event *event, struct dbk_error *err) DBK_MUST_CHECK;
/*
 * One member, at the top, of what an event's data becomes: 1, or 0 when there is none. Where it
 * takes the rest to tell, the event becomes one of the newest version, as by dbk_upcast_event.
 *
 * name       at most DBK_JSON_FIND_KEY_MAX bytes
 * value_out  the value's text; valid until the upcaster's next event or member
 */
int dbk_upcast_member(struct dbk_upcasts *upcasts, struct dbk_upcaster **upcaster,
                      struct dbk_event *event, struct dbk_slice name, struct dbk_slice *value_out,
                      struct dbk_error *err) DBK_MUST_CHECK;
/* False when dbk_upcast_event would leave an event as it is; cheap. Sets its version to 1 when it
   was stored before its type was declared. */
bool dbk_upcasts_touch(const struct dbk_upcasts *upcasts, struct dbk_event *event);
/* NULL is fine. */
void dbk_upcaster_give(struct dbk_upcasts *upcasts, struct dbk_upcaster *upcaster);

/* What they were opened with. */
const struct dbk_schemas *dbk_upcasts_schemas(const struct dbk_upcasts *upcasts);

/*
 * Changes with how a type's events (an empty one: any type's) become those of the newest version:
 * what was made of them is unfit then. False, and zeros: nothing is done to them.
 */
bool dbk_upcasts_fingerprint(const struct dbk_upcasts *upcasts, struct dbk_slice type,
                             uint8_t fingerprint_out[DBK_SHA256_SIZE]);

#endif
