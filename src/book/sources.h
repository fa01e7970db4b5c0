/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sources -- how models follow their sources: which words of `sync:` go with what is in `source:`,
 * and what handlers of a table's changes may say.
 *
 * All answer DBK_OK or DBK_ENOMEM; faults go to the loader's list.
 *
 * Threads: as the loader.
 * Source:  docs/models.md.
 */
#ifndef DBK_BOOK_SOURCES_H
#define DBK_BOOK_SOURCES_H

#include "book/loader.h"

#define DBK_SYNC_FIX "write `sync: events`, `transaction`, `cdc` or `polling`"

/* A word of `sync:`. sync_out is left alone by one that is none. */
int dbk_book_take_sync(struct dbk_book_loader *loader, const char *file,
                       const struct dbk_yaml_node *node,
                       enum dbk_model_sync *sync_out) DBK_MUST_CHECK;

/*
 * Checks a model's sources against its `sync:`, and has the tables among them captured.
 *
 * sync, list  the nodes of `sync:` and `source:`
 */
int dbk_book_check_sources(struct dbk_book_loader *loader, const char *file,
                           const struct dbk_yaml_node *sync,
                           const struct dbk_yaml_node *list) DBK_MUST_CHECK;

/* Whether a service's database can be captured so; a fault at the place where it cannot. */
int dbk_book_check_way(struct dbk_book_loader *loader, struct dbk_fault place,
                       const struct dbk_capture_service *service,
                       enum dbk_capture_kind kind) DBK_MUST_CHECK;

/* Whether a polled table says what names a row, where its database does not; else a fault at the
   place. */
int dbk_book_check_key(struct dbk_book_loader *loader, struct dbk_fault place,
                       const struct dbk_capture_service *service,
                       const struct dbk_capture_table *table) DBK_MUST_CHECK;

/* True of `<table>.insert`, `.update` and `.delete`. */
bool dbk_book_is_change(struct dbk_slice type);

/* Checks the handlers of a model that follows tables. */
int dbk_book_check_changes(struct dbk_book_loader *loader,
                           const struct dbk_model_definition *model) DBK_MUST_CHECK;

#endif
