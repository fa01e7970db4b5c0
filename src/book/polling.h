/* SPDX-License-Identifier: Apache-2.0 */
/*
 * polling -- what services/<name>.yaml says of how a table is polled, of an outbox and of a slot.
 *
 * Threads: as loader.h.
 */
#ifndef DBK_BOOK_POLLING_H
#define DBK_BOOK_POLLING_H

#include "book/loader.h"

enum dbk_polling_key {
    DBK_POLLING_EVERY,
    DBK_POLLING_KEY,
    DBK_POLLING_CURSOR,
    DBK_POLLING_OVERLAP,
    DBK_POLLING_DELETED,
    DBK_POLLING_DELETES,
    DBK_POLLING_COMPARE_EVERY,
    DBK_POLLING_KEY_COUNT
};

/*
 * Reads and checks them, and fills in what is left out. DBK_ENOMEM; faults are no failure.
 *
 * nodes  by dbk_polling_key; NULL where one is missing
 * cdc    the table is captured otherwise
 */
int dbk_book_take_polling(struct dbk_book_loader *loader, const char *file,
                          const struct dbk_yaml_node *const nodes[DBK_POLLING_KEY_COUNT], bool cdc,
                          struct dbk_capture_polling *polling_out) DBK_MUST_CHECK;

/* A duration, where there is one; another text is a fault. */
int dbk_book_take_duration(struct dbk_book_loader *loader, const char *file,
                           const struct dbk_yaml_node *node, int64_t *duration_us) DBK_MUST_CHECK;

/* Reads `slot` of a service whose database is known; NULL: it is left out. */
int dbk_book_take_slot(struct dbk_book_loader *loader, const char *file,
                       const struct dbk_yaml_node *mapping,
                       struct dbk_capture_service *service) DBK_MUST_CHECK;

/* Reads `outbox`; with a fault its table may be NULL. */
int dbk_book_take_outbox(struct dbk_book_loader *loader, const char *file,
                         const struct dbk_yaml_node *mapping,
                         struct dbk_capture_outbox *outbox_out) DBK_MUST_CHECK;

#endif
