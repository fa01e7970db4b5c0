/* SPDX-License-Identifier: Apache-2.0 */
/*
 * import_mapping -- a row to events, by imports/<NAME>.lua.
 *
 *     return {
 *         map = function(row, number)
 *             if row.amount == "" then return nil end          -- no event
 *             return { stream = "account-" .. row.account,     -- one, or a list of them
 *                      type = "Deposited",
 *                      occurred = row.date,
 *                      data = { amount = decimal(row.amount) } }
 *         end,
 *     }
 *
 * `row` is a table of texts by column for CSV, the JSON value for JSONL; `number` is the row's. An
 * event has stream, type and data, and may have occurred (text, as --at reads it), meta, tags and
 * schema_version;
 * error("why") rejects the row. Locals of the chunk live as long as the import, and every run
 * begins at the first row, so what a mapping remembers is the same each time. What is true only
 * when the row is taken (that its order has begun) is remembered by a function that map returns
 * behind the events: it is called when none of them was found wrong.
 *
 * An event's id derives from (import, source, row number, ordinal within the row), so that the same
 * file gives the same ids.
 *
 * Threads: a mapping belongs to one thread.
 */
#ifndef DBK_CLI_IMPORT_MAPPING_H
#define DBK_CLI_IMPORT_MAPPING_H

#include "cli/import_batch.h"
#include "cli/import_rows.h"
#include "script/script.h"

struct dbk_mapping;

struct dbk_mapping_options {
    const char *import; /* its name; kept until free, as are the others */
    const char *file;   /* for messages */
    struct dbk_slice script;
    struct dbk_slice source; /* the source's name */
    size_t event_size_max;
    size_t event_count_max;          /* of a row */
    const struct dbk_slice *columns; /* CSV; none: JSONL */
    size_t column_count;
};

/* DBK_EINVAL, DBK_ESCRIPT: the script is wrong; message: file:line: why */
int dbk_mapping_open(const struct dbk_mapping_options *options, struct dbk_mapping **mapping_out,
                     struct dbk_error *err) DBK_MUST_CHECK;
void dbk_mapping_free(struct dbk_mapping *mapping);

/*
 * Adds a row's events to a batch, all or none.
 * DBK_EINVAL, DBK_ESCRIPT, DBK_ELIMIT  the row is rejected, the message says why
 * DBK_ENOMEM
 */
int dbk_mapping_row(struct dbk_mapping *mapping, const struct dbk_row *row,
                    struct dbk_import_batch *batch, struct dbk_error *err) DBK_MUST_CHECK;

#endif
