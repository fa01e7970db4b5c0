/* SPDX-License-Identifier: Apache-2.0 */
/* What a type's upcasters are made of: chains of links, and what one reader has to run them. */
#ifndef DBK_SCHEMA_UPCASTING_H
#define DBK_SCHEMA_UPCASTING_H

#include <pthread.h>
#include <stdatomic.h>

#include "schema/event.h"
#include "schema/program.h"
#include "schema/upcaster.h"

/* The largest data of an event that upcasters make. */
#define DBK_UPCAST_DATA_MAX ((size_t)64 << 20)

/* One part of a chain: exactly one of the three. */
struct dbk_upcast_link {
    uint16_t from;
    uint16_t version; /* that it makes */
    struct dbk_upcast_program *program;
    const struct dbk_upcast_script *script;
    const struct dbk_upcast_function *function;
};

/* From a version to the newest. */
struct dbk_upcast_chain {
    struct dbk_upcast_chain *next; /* of all */
    struct dbk_upcast_link *links;
    size_t count;
};

struct dbk_upcast_script {
    size_t index;
    const struct dbk_schema_script *source;
};

struct dbk_upcasts_type {
    struct dbk_slice name;
    const char *file;
    uint16_t newest;
    _Atomic(struct dbk_upcast_chain *)
        *chains; /* by version, the first is that of version 1; NULL: not met */
    struct dbk_upcast_script *scripts; /* by version; source is NULL where there is none */
    const struct dbk_upcast_function **functions;
    uint8_t fingerprint[DBK_SHA256_SIZE];
};

struct dbk_upcasts {
    const struct dbk_schemas *schemas;
    struct dbk_arena arena;
    struct dbk_upcasts_type *types;
    size_t type_count;
    struct dbk_upcasts_type **slots; /* by hash; a power of two of them */
    size_t slot_mask;
    struct dbk_upcast_function *functions;
    size_t function_count;
    size_t script_count;
    pthread_mutex_t lock; /* of what follows, and of making chains */
    struct dbk_upcast_chain *chains;
    struct dbk_upcaster *pool;
    size_t pool_count;
};

/* A script, as one reader has it. */
struct dbk_upcast_instance {
    struct dbk_script *script;
    struct dbk_script_event event;
};

/* An event of which single members are asked for. */
struct dbk_upcast_picking {
    const struct dbk_upcast_program *program; /* NULL: there is none, or it takes a run */
    struct dbk_slice text;
    uint64_t position;
    uint16_t version;
    struct dbk_upcast_finding finding;
};

struct dbk_upcaster {
    struct dbk_upcaster *next; /* in the pool */
    struct dbk_buf texts[2];   /* of the event: one is made of the other */
    struct dbk_json *json;
    struct dbk_upcast_instance *instances; /* by the script's index */
    struct dbk_upcast_picking picking;
};

/* The chain from that version to the newest, made the first time; any thread. */
int dbk_upcasts_chain(struct dbk_upcasts *upcasts, struct dbk_upcasts_type *type, uint16_t version,
                      const struct dbk_upcast_chain **chain_out,
                      struct dbk_error *err) DBK_MUST_CHECK;

/* 1: the event is of the newest version; its data may lie in the upcaster's texts. Negative: an
   error that names the type's file and the event. */
int dbk_upcaster_run(struct dbk_upcaster *upcaster, const struct dbk_upcasts_type *type,
                     const struct dbk_upcast_chain *chain, struct dbk_event *event,
                     struct dbk_error *err) DBK_MUST_CHECK;

void dbk_upcaster_close_instance(struct dbk_upcast_instance *instance);

/* DBK_ENOMEM, said so. */
int dbk_upcasts_no_memory(struct dbk_error *err);

#endif
