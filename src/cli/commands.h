/* SPDX-License-Identifier: Apache-2.0 */
/*
 * commands -- the table of all commands, and what each of them runs.
 *
 * Each command lives in a file of its name.
 *
 * Threads: the table is constant; commands run in the main thread.
 */
#ifndef DBK_CLI_COMMANDS_H
#define DBK_CLI_COMMANDS_H

#include <stdio.h>

#include "base/slice.h"
#include "cli/arguments.h"

#define DBK_CLI_COMMANDS_MAX 256 /* no more than so many */
/* The commands in the order of the help; NULL behind the last. */
const struct dbk_cli_command *dbk_cli_command(size_t index);

/*
 * The command that argv begins with (one word or two); words_out: how many it took. NULL when there
 * is none: dbk_cli_group says whether the first word begins some, as `model` does.
 */
const struct dbk_cli_command *dbk_cli_find(int argc, const char *const *argv, int *words_out);
bool dbk_cli_group(const char *word);
/* The name closest to a word, of a command's first word or, in a group, of its second; NULL when
   none is close. Valid until the next call. */
const char *dbk_cli_closest(const char *group, const char *word);

/* Prints a command's help: usage, examples, then options. */
void dbk_help_command(FILE *out, const struct dbk_cli_command *command);
/* Prints the commands of a group (`model`), or with NULL all of them. */
void dbk_help_overview(FILE *out, const char *group);

int dbk_run_access_add(const struct dbk_arguments *arguments);
int dbk_run_access_ls(const struct dbk_arguments *arguments);
int dbk_run_access_rotate(const struct dbk_arguments *arguments);
int dbk_run_access_scope(const struct dbk_arguments *arguments);
int dbk_run_access_limit(const struct dbk_arguments *arguments);
int dbk_run_access_revoke(const struct dbk_arguments *arguments);
int dbk_run_advise(const struct dbk_arguments *arguments);
int dbk_run_append(const struct dbk_arguments *arguments);
int dbk_run_bench_append(const struct dbk_arguments *arguments);
int dbk_run_bench_capture(const struct dbk_arguments *arguments);
int dbk_run_bench_sync(const struct dbk_arguments *arguments);
int dbk_run_bench_patterns(const struct dbk_arguments *arguments);
int dbk_run_bench_model(const struct dbk_arguments *arguments);
int dbk_run_bench_access(const struct dbk_arguments *arguments);
int dbk_run_bench_keys(const struct dbk_arguments *arguments);
int dbk_run_bench_open(const struct dbk_arguments *arguments);
int dbk_run_bench_read(const struct dbk_arguments *arguments);
int dbk_run_bench_schema(const struct dbk_arguments *arguments);
int dbk_run_bench_state(const struct dbk_arguments *arguments);
int dbk_run_bench_stream(const struct dbk_arguments *arguments);
int dbk_run_check(const struct dbk_arguments *arguments);
int dbk_run_demo(const struct dbk_arguments *arguments);
int dbk_run_do(const struct dbk_arguments *arguments);
int dbk_run_get(const struct dbk_arguments *arguments);
int dbk_run_group_set(const struct dbk_arguments *arguments);
int dbk_run_keys_ls(const struct dbk_arguments *arguments);
int dbk_run_keys_rotate(const struct dbk_arguments *arguments);
int dbk_run_keys_backup(const struct dbk_arguments *arguments);
int dbk_run_keys_restore(const struct dbk_arguments *arguments);
int dbk_run_group_ls(const struct dbk_arguments *arguments);
int dbk_run_group_show(const struct dbk_arguments *arguments);
int dbk_run_group_read(const struct dbk_arguments *arguments);
int dbk_run_group_ack(const struct dbk_arguments *arguments);
int dbk_run_group_nack(const struct dbk_arguments *arguments);
int dbk_run_group_parked(const struct dbk_arguments *arguments);
int dbk_run_group_replay(const struct dbk_arguments *arguments);
int dbk_run_group_drop(const struct dbk_arguments *arguments);
int dbk_run_group_run(const struct dbk_arguments *arguments);
int dbk_run_group_rm(const struct dbk_arguments *arguments);
int dbk_run_help(const struct dbk_arguments *arguments);
int dbk_run_impact(const struct dbk_arguments *arguments);
int dbk_run_import(const struct dbk_arguments *arguments);
int dbk_run_stream_show(const struct dbk_arguments *arguments);
int dbk_run_stream_keep(const struct dbk_arguments *arguments);
int dbk_run_stream_delete(const struct dbk_arguments *arguments);
int dbk_run_stream_close(const struct dbk_arguments *arguments);
int dbk_run_backup(const struct dbk_arguments *arguments);
int dbk_run_report(const struct dbk_arguments *arguments);
int dbk_run_restore(const struct dbk_arguments *arguments);
int dbk_run_upgrade(const struct dbk_arguments *arguments);
int dbk_run_compact(const struct dbk_arguments *arguments);
int dbk_run_forget(const struct dbk_arguments *arguments);
int dbk_run_forgotten_ls(const struct dbk_arguments *arguments);
int dbk_run_forgotten_show(const struct dbk_arguments *arguments);
int dbk_run_forgotten_certificate(const struct dbk_arguments *arguments);
int dbk_run_forgotten_run(const struct dbk_arguments *arguments);
int dbk_run_log(const struct dbk_arguments *arguments);
int dbk_run_migrate_position(const struct dbk_arguments *arguments);
int dbk_run_migrate_report(const struct dbk_arguments *arguments);
int dbk_run_migrate_status(const struct dbk_arguments *arguments);
int dbk_run_migrate_switch(const struct dbk_arguments *arguments);
int dbk_run_migrate_undo(const struct dbk_arguments *arguments);
int dbk_run_migrate_verify(const struct dbk_arguments *arguments);
int dbk_run_migrate(const struct dbk_arguments *arguments);
int dbk_run_capture_ls(const struct dbk_arguments *arguments);
int dbk_run_capture_resnapshot(const struct dbk_arguments *arguments);
int dbk_run_capture_wait(const struct dbk_arguments *arguments);
int dbk_run_model_as_of(const struct dbk_arguments *arguments);
int dbk_run_view_as_of(const struct dbk_arguments *arguments);
int dbk_run_model_drop(const struct dbk_arguments *arguments);
int dbk_run_model_letters(const struct dbk_arguments *arguments);
int dbk_run_model_ls(const struct dbk_arguments *arguments);
int dbk_run_model_read(const struct dbk_arguments *arguments);
int dbk_run_model_rebuild(const struct dbk_arguments *arguments);
int dbk_run_model_retry(const struct dbk_arguments *arguments);
int dbk_run_model_show(const struct dbk_arguments *arguments);
int dbk_run_new(const struct dbk_arguments *arguments);
int dbk_run_proof_checkpoint(const struct dbk_arguments *arguments);
int dbk_run_proof_inclusion(const struct dbk_arguments *arguments);
int dbk_run_proof_consistency(const struct dbk_arguments *arguments);
int dbk_run_proof_key(const struct dbk_arguments *arguments);
int dbk_run_read(const struct dbk_arguments *arguments);
int dbk_run_saga_ls(const struct dbk_arguments *arguments);
int dbk_run_saga_show(const struct dbk_arguments *arguments);
int dbk_run_saga_simulate(const struct dbk_arguments *arguments);
int dbk_run_saga_retry(const struct dbk_arguments *arguments);
int dbk_run_saga_cancel(const struct dbk_arguments *arguments);
int dbk_run_schema_check(const struct dbk_arguments *arguments);
int dbk_run_schema_diff(const struct dbk_arguments *arguments);
int dbk_run_schema_infer(const struct dbk_arguments *arguments);
int dbk_run_schema_ls(const struct dbk_arguments *arguments);
int dbk_run_serve(const struct dbk_arguments *arguments);
int dbk_run_service_apply(const struct dbk_arguments *arguments);
int dbk_run_service_check(const struct dbk_arguments *arguments);
int dbk_run_service_hot(const struct dbk_arguments *arguments);
int dbk_run_service_split(const struct dbk_arguments *arguments);
int dbk_run_service_verify(const struct dbk_arguments *arguments);
int dbk_run_service_ls(const struct dbk_arguments *arguments);
int dbk_run_service_show(const struct dbk_arguments *arguments);
int dbk_run_sql(const struct dbk_arguments *arguments);
int dbk_run_state(const struct dbk_arguments *arguments);
int dbk_run_tail(const struct dbk_arguments *arguments);
int dbk_run_trace(const struct dbk_arguments *arguments);
int dbk_run_verify(const struct dbk_arguments *arguments);
int dbk_run_view_ls(const struct dbk_arguments *arguments);
int dbk_run_view_read(const struct dbk_arguments *arguments);
int dbk_run_view_refresh(const struct dbk_arguments *arguments);
int dbk_run_view_plan(const struct dbk_arguments *arguments);
int dbk_run_view_rollback(const struct dbk_arguments *arguments);
int dbk_run_view_show(const struct dbk_arguments *arguments);
int dbk_run_view_explain(const struct dbk_arguments *arguments);
int dbk_run_view_alerts(const struct dbk_arguments *arguments);
int dbk_run_view_verify(const struct dbk_arguments *arguments);

#endif
