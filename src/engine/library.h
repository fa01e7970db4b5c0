/* SPDX-License-Identifier: Apache-2.0 */
/*
 * library -- what the sources share that implement include/daybook.h.
 */
#ifndef DBK_ENGINE_LIBRARY_H
#define DBK_ENGINE_LIBRARY_H

#include "daybook.h"
#include "engine/engine.h"

struct daybook {
    struct dbk_engine *engine;
    struct dbk_library_fold *folds; /* those in C, newest first */
    struct dbk_library_saga *sagas; /* likewise */
    struct daybook_upcaster *upcasters;
    size_t upcaster_count;
};

/* Text that a program's function writes. */
struct daybook_text {
    struct dbk_buf *out;
};

void dbk_library_free_folds(struct daybook *book);
struct dbk_saga_definition;
/* DBK_EINVAL: the message names saga and step, and what is missing. The definition lies in the
   arena; texts stay the program's. */
int dbk_library_declare_saga(const struct daybook_saga *saga, struct dbk_arena *arena,
                             struct dbk_saga_definition *definition_out,
                             struct dbk_error *err) DBK_MUST_CHECK;
void dbk_library_free_sagas(struct daybook *book);
/* Copies a program's upcasters; functions_out are its own. Ends with
   dbk_library_free_upcasters. */
int dbk_library_take_upcasters(struct daybook *book, const struct daybook_upcaster *upcasters,
                               size_t count,
                               struct dbk_upcast_function **functions_out) DBK_MUST_CHECK;
void dbk_library_free_upcasters(struct daybook *book);

/* Fills the caller's error (which may be NULL), and returns rc. */
int dbk_library_fail(struct daybook_error *error, int rc, const struct dbk_error *err);
/* DAYBOOK_EINVAL, for arguments that are missing. */
int dbk_library_wrong(struct daybook_error *error, const char *what);
/* An event as the caller sees it; all of it is borrowed. */
struct daybook_event dbk_library_event(struct dbk_lazy *lazy);

#endif
