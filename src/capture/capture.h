/* SPDX-License-Identifier: Apache-2.0 */
/*
 * capture -- changes in services' own databases, read as events.
 *
 * A service (services/<name>.yaml) names a database and tables in it. Each change of a row becomes
 * an event of the category `<service>.<table>`, in the stream that the row's key names, with the
 * row's image; after that it is an event like all others.
 *
 * Threads: definitions are read-only.
 * Source:  DESIGN section 3; docs/capture.md.
 */
#ifndef DBK_CAPTURE_CAPTURE_H
#define DBK_CAPTURE_CAPTURE_H

#include <stdbool.h>

#include "base/memory.h"

/* How a table's changes are read. */
enum dbk_capture_kind {
    DBK_CAPTURE_NONE, /* nobody asks for them */
    DBK_CAPTURE_CDC,  /* the database tells them */
};

/* A table of a service. Names are the database's own. */
struct dbk_capture_table {
    const char *name;
    unsigned line; /* of services/<service>.yaml, where it is named */
    unsigned column;
    enum dbk_capture_kind kind;
    const char *const *columns; /* those that are captured, in the file's order; none: all */
    size_t column_count;
    const char *const *masked; /* captured as whether they were there: null or "***" */
    size_t masked_count;
    const char *subject;         /* the column that names the person; NULL: none */
    const char *const *personal; /* columns that are sealed under the subject */
    size_t personal_count;
};

struct dbk_capture_service {
    const char *name;
    const char *file;     /* "services/users.yaml" */
    const char *database; /* of book.yaml */
    const char *address;  /* the database's (target/target.h) */
    const struct dbk_capture_table *tables;
    size_t table_count;
};

/* NULL when there is none. */
const struct dbk_capture_table *dbk_capture_table(const struct dbk_capture_service *service,
                                                  struct dbk_slice name);

/* What stands for a value of a masked column that was there. */
#define DBK_CAPTURE_MASK "***"

/*
 * Appends a row's stream: `<service>.<table>-<key>`, where the key is the texts of the key's
 * columns, joined by ',', with '%' and ',' in them as "%25" and "%2C", and what no stream's name
 * may hold percent-encoded, too.
 */
void dbk_capture_put_stream(struct dbk_slice service, struct dbk_slice table,
                            const struct dbk_slice *key, size_t count, struct dbk_buf *out);

#endif
