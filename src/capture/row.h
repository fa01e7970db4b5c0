/* SPDX-License-Identifier: Apache-2.0 */
/*
 * row -- a row's image and its events' data, written as JSON.
 *
 * An image is an object of the row's captured columns in the source's order: without those that
 * services/<name>.yaml leaves out, and of masked ones only whether they were there.
 *
 * Threads: one at a time.
 */
#ifndef DBK_CAPTURE_ROW_H
#define DBK_CAPTURE_ROW_H

#include "capture/source.h"

struct dbk_rows_writer;

/* NULL when out of memory. The service is kept. */
struct dbk_rows_writer *
dbk_rows_writer_create(const struct dbk_capture_service *service) DBK_MUST_CHECK;
/* NULL is fine. */
void dbk_rows_writer_free(struct dbk_rows_writer *writer);

/* "users.people"; valid until free. */
struct dbk_slice dbk_rows_writer_category(const struct dbk_rows_writer *writer, size_t table);

enum dbk_row_change { DBK_ROW_INSERT, DBK_ROW_UPDATE, DBK_ROW_DELETE };
/* "people.insert"; valid until free. */
struct dbk_slice dbk_rows_writer_type(const struct dbk_rows_writer *writer, size_t table,
                                      enum dbk_row_change change);

/*
 * The image of a row after a change (DBK_CHANGE_ROW). Unchanged values are those of `base`, its
 * last image; empty: there is none. Valid until the next call of this function.
 *
 * DBK_EINVAL    a value is no UTF-8, or unchanged where the base has none
 * DBK_ENOTFOUND services/<name>.yaml names a column that the table does not have
 */
int dbk_rows_writer_image(struct dbk_rows_writer *writer, const struct dbk_change *change,
                          struct dbk_slice stream, struct dbk_slice base,
                          struct dbk_slice *image_out, struct dbk_error *err) DBK_MUST_CHECK;
/* True when two images have the same columns with the same values. */
bool dbk_rows_writer_same(struct dbk_rows_writer *writer, struct dbk_slice a, struct dbk_slice b);

/* {"new":…,"old":…}; an empty image is left out. Valid until the next call of this function. */
int dbk_rows_writer_data(struct dbk_rows_writer *writer, struct dbk_slice image,
                         struct dbk_slice old, struct dbk_slice *data_out,
                         struct dbk_error *err) DBK_MUST_CHECK;

#endif
