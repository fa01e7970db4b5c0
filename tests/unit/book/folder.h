/* SPDX-License-Identifier: Apache-2.0 */
/*
 * folder -- a book's folder on a disk in memory, and its faults as they are shown.
 */
#ifndef DBK_TESTS_BOOK_FOLDER_H
#define DBK_TESTS_BOOK_FOLDER_H

#include "book/book.h"
#include "os/sim.h"

struct folder {
    struct dbk_sim *sim;
    struct dbk_diagnostics faults;
    struct dbk_book *book; /* NULL when it has errors */
    struct dbk_error err;
    int rc;
};

/* An empty folder "b". */
void folder_init(struct folder *folder);
void folder_release(struct folder *folder);

/* Writes a file, and the folders above it. path is from the book's folder. */
void folder_write(struct folder *folder, const char *path, const char *text);
void folder_write_bytes(struct folder *folder, const char *path, struct dbk_slice bytes);

/* A whole small book: a fold, a command, an import, a model, a query and a view. */
void folder_write_book(struct folder *folder);

/* Loads the book afresh; environment may be NULL. */
void folder_load(struct folder *folder, const char *environment);

/*
 * The faults as lines of `file:line:column: what`, those of whole files as `file: what`, warnings
 * behind "warning: ". Compares them, and shows both when they differ.
 */
void assert_faults(const struct dbk_diagnostics *faults, const char *expected);

/* The examples that come with the source, for the real system: "…/examples/shop". */
const char *example_path(const char *name, char path_out[4096]);

#endif
