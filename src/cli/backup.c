/* SPDX-License-Identifier: Apache-2.0 */
#include "log/backup.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/time.h"
#include "cli/commands.h"
#include "cli/data.h"
#include "cli/fail.h"
#include "cli/place.h"
#include "cli/progress.h"
#include "vault/copies.h"
#include "vault/vault.h"

#define ANSWER_SIZE_MAX ((size_t)64 << 10)
#define FULL_WAIT_NS 500000000L

struct job {
    const struct dbk_arguments *arguments;
    struct dbk_progress progress;
    struct dbk_backup_options options;
    struct dbk_backup_result result;
    const char *data; /* the directory that is restored */
};

typedef int (*job_fn)(const struct dbk_backup_options *options,
                      struct dbk_backup_result *result_out, struct dbk_error *err);

static int step(void *context, uint64_t done, uint64_t total)
{
    struct job *job = context;
    dbk_progress_update(&job->progress, done, done, total);
    return dbk_link_stopped() ? DBK_ESTOPPED : DBK_OK;
}

/* Does it; on a full disk again and again, until there is space or it is interrupted. */
static int run(struct job *job, const char *what, job_fn function, struct dbk_error *err)
{
    bool wait = !dbk_arguments_has(job->arguments, "no-wait");
    bool said = false;
    int rc = DBK_OK;
    do {
        dbk_progress_begin(&job->progress, what, "bytes");
        rc = function(&job->options, &job->result, err);
        dbk_progress_clear(&job->progress);
        if (rc == DBK_ESTOPPED)
            return dbk_error_set(err, rc, "interrupted; the same command goes on where this ended");
        if (rc != DBK_EFULL || !wait)
            return rc;
        if (!said)
            (void)fprintf(stderr, "waiting: %s\n", err->message);
        said = true;
        (void)nanosleep(&(struct timespec){.tv_nsec = FULL_WAIT_NS}, NULL);
    } while (!dbk_link_stopped());
    return rc;
}

static int show(struct job *job, const char *size_name, struct dbk_error *err)
{
    const struct dbk_backup_result *result = &job->result;
    char id[DBK_UUID_TEXT_SIZE];
    char time[DBK_TIME_TEXT_SIZE];
    struct dbk_buf text;
    dbk_buf_init(&text, ANSWER_SIZE_MAX);
    dbk_uuid_format(&result->book_id, id);
    (void)dbk_time_format(result->taken_us, time);
    dbk_buf_append_format(&text,
                          "{\"book\":\"%s\",\"position\":%ju,\"taken\":\"%s\",\"segments\":%ju,"
                          "\"bytes\":%ju,\"%s\":%ju}",
                          id, (uintmax_t)result->last_position, time, (uintmax_t)result->segments,
                          (uintmax_t)result->size, size_name, (uintmax_t)result->copied_size);
    int rc = dbk_data_object(job->arguments, &text, err);
    dbk_buf_release(&text);
    return rc;
}

/* The data directory and the log in it. */
static int find_log(const struct dbk_arguments *arguments, char data[DBK_PLACE_SIZE_MAX],
                    char log[DBK_PLACE_SIZE_MAX + 8], struct dbk_error *err)
{
    struct dbk_place place;
    int rc = dbk_place_find(arguments, &place, err);
    if (rc == DBK_OK)
        rc = dbk_place_data(&place, data, err);
    if (rc == DBK_OK)
        (void)snprintf(log, DBK_PLACE_SIZE_MAX + 8, "%s/log", data);
    return rc;
}

/* The list of erased keys goes with every backup. */
static int copy_erased(const char *data, const char *backup, struct dbk_error *err)
{
    char folder[DBK_PLACE_SIZE_MAX];
    int rc = dbk_place_absolute(backup, folder, err);
    return rc < 0 ? rc : dbk_erased_copy(dbk_os_real(), data, folder, err);
}

int dbk_run_backup(const struct dbk_arguments *arguments)
{
    char data[DBK_PLACE_SIZE_MAX];
    char log[DBK_PLACE_SIZE_MAX + 8];
    struct dbk_error err = {0};
    struct job job = {.arguments = arguments};
    int rc = find_log(arguments, data, log, &err);
    job.options = (struct dbk_backup_options){.os = dbk_os_real(),
                                              .log = log,
                                              .backup = arguments->positional[0],
                                              .step = step,
                                              .context = &job};
    dbk_link_stop_on_signals();
    bool only = dbk_arguments_has(arguments, "only-verify");
    if (rc == DBK_OK && !only)
        rc = run(&job, "backup", dbk_backup_make, &err);
    if (rc == DBK_OK && !only)
        rc = copy_erased(data, arguments->positional[0], &err);
    uint64_t copied = job.result.copied_size;
    if (rc == DBK_OK && (only || dbk_arguments_has(arguments, "verify")))
        rc = run(&job, "verify", dbk_backup_verify, &err);
    job.result.copied_size = copied;
    if (rc == DBK_OK)
        rc = show(&job, "copied_bytes", &err);
    return rc < 0 ? dbk_fail(arguments, &err) : DBK_EXIT_OK;
}

struct stranger {
    char name[64];
};

static int look_for_stranger(const char *name, void *context)
{
    struct stranger *stranger = context;
    if (strcmp(name, "log") != 0 && strcmp(name, DBK_KEYS_FOLDER) != 0)
        (void)snprintf(stranger->name, sizeof(stranger->name), "%s", name);
    return DBK_OK;
}

static int look_for_keys(const char *name, void *context)
{
    struct stranger *stranger = context;
    if (strncmp(name, DBK_ERASED_NAME, strlen(DBK_ERASED_NAME)) != 0)
        (void)snprintf(stranger->name, sizeof(stranger->name), DBK_KEYS_FOLDER "/%.50s", name);
    return DBK_OK;
}

/* What stands beside a log belongs to it: read models are of its positions. A log, and a list of
   erased keys, may be what a restore that was interrupted left. */
static int check_empty(const char *data, struct dbk_error *err)
{
    char keys[DBK_PLACE_SIZE_MAX + sizeof(DBK_KEYS_FOLDER)];
    struct dbk_os *os = dbk_os_real();
    struct dbk_error missing = {0};
    struct stranger stranger = {{0}};
    (void)snprintf(keys, sizeof(keys), "%s/" DBK_KEYS_FOLDER, data);
    int rc = dbk_os_make_folder(os, data, err);
    if (rc == DBK_OK)
        rc = os->list(os, data, look_for_stranger, &stranger, err);
    if (rc == DBK_OK && os->list(os, keys, look_for_keys, &stranger, &missing) < 0 &&
        missing.code != DBK_ENOTFOUND)
        rc = dbk_error_set(err, missing.code, "%s", missing.message);
    if (rc == DBK_OK && stranger.name[0] != '\0')
        rc = dbk_error_set(err, DBK_EEXISTS,
                           "%s is not empty, it has %s; a backup is restored into an empty data "
                           "directory, say which with --data",
                           data, stranger.name);
    return rc;
}

/* A list that is of no use is named before anything is written. */
static int check_erased(const struct dbk_arguments *arguments,
                        const struct dbk_backup_options *options, struct dbk_error *err)
{
    struct dbk_backup_result backup;
    int rc = dbk_backup_look(options, &backup, err);
    return rc < 0 ? rc
                  : dbk_erased_check_restore(options->os, options->backup,
                                             dbk_arguments_text(arguments, "erased-list"),
                                             &backup.book_id, err);
}

/* What may not come back with a restored log. It is read alone: where that is refused, the next
   restore finds nothing but the log, and goes on. */
static int restore_erased(void *context, struct dbk_error *err)
{
    const struct job *job = context;
    struct dbk_store *store = NULL;
    int rc = dbk_store_open(&(struct dbk_store_options){.os = job->options.os, .folder = job->data},
                            &store, err);
    if (rc == DBK_OK)
        rc = dbk_erased_restore(store, job->options.os, job->data, job->options.backup,
                                dbk_arguments_text(job->arguments, "erased-list"), err);
    dbk_store_free(store);
    return rc;
}

int dbk_run_restore(const struct dbk_arguments *arguments)
{
    char data[DBK_PLACE_SIZE_MAX];
    char log[DBK_PLACE_SIZE_MAX + 8];
    struct dbk_error err = {0};
    struct job job = {.arguments = arguments};
    int rc = find_log(arguments, data, log, &err);
    job.options = (struct dbk_backup_options){.os = dbk_os_real(),
                                              .log = log,
                                              .backup = arguments->positional[0],
                                              .step = step,
                                              .approve = restore_erased,
                                              .context = &job};
    job.data = data;
    dbk_link_stop_on_signals();
    if (rc == DBK_OK)
        rc = check_erased(arguments, &job.options, &err);
    if (rc == DBK_OK)
        rc = check_empty(data, &err);
    if (rc == DBK_OK)
        rc = run(&job, "restore", dbk_backup_restore, &err);
    if (rc == DBK_OK)
        rc = show(&job, "written_bytes", &err);
    return rc < 0 ? dbk_fail(arguments, &err) : DBK_EXIT_OK;
}
