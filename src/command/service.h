/* SPDX-License-Identifier: Apache-2.0 */
/*
 * service -- a command in a service's own database: sessions of it, and one run.
 *
 * A run is one transaction: the key's row, the statements in their order with their expectations,
 * the answer into the key's row, COMMIT. Who repeats a key waits for the first to end, and reads
 * its answer.
 *
 * Threads: from any thread; sessions are pooled.
 */
#ifndef DBK_COMMAND_SERVICE_H
#define DBK_COMMAND_SERVICE_H

#include "command/command.h"

/* Rows that a command answers with at most, and their bytes. */
#define DBK_SERVICE_ROWS_MAX 10000
#define DBK_SERVICE_ANSWER_SIZE_MAX ((size_t)16 << 20)

struct dbk_service_runner;

/* The definition is kept. NULL when out of memory. */
struct dbk_service_runner *dbk_service_runner_create(const struct dbk_service_command *definition,
                                                     struct dbk_os *os) DBK_MUST_CHECK;
void dbk_service_runner_free(struct dbk_service_runner *runner);

/*
 * id    of `:_id`, where there is a key; else one is made
 * hash  of the body
 * rows  the answer is appended
 *
 * As dbk_command_do.
 */
int dbk_service_run(struct dbk_service_runner *runner, const struct dbk_command *command,
                    const struct dbk_uuid *id, const char *hash, struct dbk_buf *rows,
                    struct dbk_command_result *result, struct dbk_error *err) DBK_MUST_CHECK;

#endif
