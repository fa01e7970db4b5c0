/* SPDX-License-Identifier: Apache-2.0 */
/*
 * images -- the last image of rows, as the book has them or is about to.
 *
 * A bounded cache over the last events of streams. What was put since dbk_images_settle is kept
 * whatever the bound says, because the book does not have it yet.
 *
 * Threads: one at a time.
 */
#ifndef DBK_CAPTURE_IMAGES_H
#define DBK_CAPTURE_IMAGES_H

#include "capture/capture.h"
#include "store/store.h"

struct dbk_images;

/* size_max: bytes of what is settled. NULL when out of memory. */
struct dbk_images *dbk_images_create(struct dbk_store *store, size_t size_max) DBK_MUST_CHECK;
/* NULL is fine. */
void dbk_images_free(struct dbk_images *images);

/*
 * The image of a row: a JSON object; empty: there is no such row. Valid until the next call.
 *
 * DBK_ECORRUPT  the stream's last event is none of a capture's
 */
int dbk_images_find(struct dbk_images *images, struct dbk_slice stream, struct dbk_slice *image_out,
                    struct dbk_error *err) DBK_MUST_CHECK;
/* The image is now this one; empty: the row is gone. DBK_ENOMEM */
int dbk_images_put(struct dbk_images *images, struct dbk_slice stream,
                   struct dbk_slice image) DBK_MUST_CHECK;
/* What was put is in the book. */
void dbk_images_settle(struct dbk_images *images);

/* What was put and is not settled, one after the other; the slices as above, but until the next
   put. False: there is no more. at: begins as NULL. */
bool dbk_images_next(struct dbk_images *images, const void **at, struct dbk_slice *stream_out,
                     struct dbk_slice *image_out);
/* True when something was put for the stream and is not settled. */
bool dbk_images_is_fresh(const struct dbk_images *images, struct dbk_slice stream);

#endif
