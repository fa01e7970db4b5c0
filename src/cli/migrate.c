/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/migrate.h"

#include <stdio.h>

#include "cli/commands.h"
#include "cli/data.h"
#include "cli/fail.h"

#define SCRIPT_SIZE_MAX ((size_t)1 << 20)
#define ANSWER_SIZE_MAX ((size_t)16 << 20)
#define FOLLOW_US 200000

/* ---- What all of the commands open ---- */

static int find_target(const struct dbk_arguments *arguments, struct dbk_place *place,
                       struct dbk_error *err)
{
    const char *folder = dbk_arguments_text(arguments, "to");
    *place = (struct dbk_place){.data = dbk_arguments_text(arguments, "to-data"),
                                .environment = dbk_arguments_text(arguments, "env")};
    if (strlen(folder) >= sizeof(place->folder))
        return dbk_error_set(err, DBK_ELIMIT, "the new book's folder has a name past %d bytes",
                             DBK_PLACE_SIZE_MAX - 1);
    (void)snprintf(place->folder, sizeof(place->folder), "%s", folder);
    return DBK_OK;
}

int dbk_migrating_open_target(const struct dbk_arguments *arguments, enum dbk_engine_mode mode,
                              struct dbk_migrating *migrating, struct dbk_error *err)
{
    struct dbk_place place;
    int rc = find_target(arguments, &place, err);
    return rc < 0 ? rc
                  : dbk_link_open_engine(&place, mode, "daybook migrate", &migrating->target, err);
}

static int step(void *context, uint64_t done, uint64_t total)
{
    struct dbk_migrating *migrating = context;
    dbk_progress_update(&migrating->progress, done, done, total);
    return dbk_link_stopped() ? DBK_ESTOPPED : DBK_OK;
}

int dbk_migrating_open(const struct dbk_arguments *arguments, bool look, const char *script,
                       bool changed_script, struct dbk_migrating *migrating, struct dbk_error *err)
{
    struct dbk_place place;
    *migrating = (struct dbk_migrating){.arguments = arguments};
    dbk_buf_init(&migrating->script, SCRIPT_SIZE_MAX + 1);
    int rc = script == NULL ? DBK_OK
                            : dbk_os_read_file(dbk_os_real(), script, SCRIPT_SIZE_MAX,
                                               &migrating->script, err);
    if (rc == DBK_OK)
        rc = dbk_place_find(arguments, &place, err);
    if (rc == DBK_OK)
        rc = dbk_link_open_engine(&place, DBK_ENGINE_READ, "daybook migrate", &migrating->source,
                                  err);
    if (rc == DBK_OK)
        rc = dbk_migrating_open_target(arguments, look ? DBK_ENGINE_READ : DBK_ENGINE_WRITE,
                                       migrating, err);
    if (rc == DBK_OK)
        rc = dbk_engine_open_migration(
            migrating->target,
            &(struct dbk_engine_migration){.source = migrating->source,
                                           .script_name = script,
                                           .script = dbk_buf_slice(&migrating->script),
                                           .changed_script = changed_script,
                                           .look = look,
                                           .step = step,
                                           .context = migrating},
            &migrating->migration, err);
    return rc;
}

void dbk_migrating_release(struct dbk_migrating *migrating)
{
    dbk_progress_clear(&migrating->progress);
    dbk_migration_free(migrating->migration);
    dbk_engine_free(migrating->target);
    dbk_engine_free(migrating->source);
    dbk_buf_release(&migrating->script);
}

/* ---- migrate ---- */

int dbk_migrating_copy(struct dbk_migrating *migrating, bool follow, struct dbk_error *err)
{
    struct dbk_store *source = dbk_engine_store(migrating->source);
    int rc = DBK_OK;
    dbk_progress_begin(&migrating->progress, "migrate", "positions");
    while (rc >= 0 && !dbk_link_stopped()) {
        uint64_t wakes = dbk_store_wakes(source);
        uint64_t last = dbk_store_last_position(source);
        rc = dbk_migration_copy(migrating->migration, err);
        if (!follow)
            break;
        if (rc == DBK_OK && !dbk_link_stopped())
            rc = dbk_store_wait(source, wakes, last, FOLLOW_US, err);
    }
    dbk_progress_clear(&migrating->progress);
    if (rc == DBK_ESTOPPED && follow)
        return DBK_OK;
    if (rc == DBK_ESTOPPED)
        return dbk_error_set(err, rc,
                             "interrupted behind position %ju; the same command goes on there",
                             (uintmax_t)dbk_migration_position(migrating->migration));
    return rc < 0 ? rc : DBK_OK;
}

static int show_copied(struct dbk_migrating *migrating, uint64_t before, int64_t elapsed_us,
                       struct dbk_error *err)
{
    const struct dbk_report *report = dbk_migration_report(migrating->migration);
    uint64_t position = dbk_migration_position(migrating->migration);
    uint64_t last = dbk_store_last_position(dbk_engine_store(migrating->source));
    double seconds = (double)elapsed_us / 1e6;
    struct dbk_buf text;
    dbk_buf_init(&text, ANSWER_SIZE_MAX);
    dbk_buf_append_format(&text,
                          "{\"position\":%ju,\"behind\":%ju,\"read\":%ju,\"made\":%ju,"
                          "\"kept\":%ju,\"changed\":%ju,\"split\":%ju,\"dropped\":%ju,"
                          "\"removed\":%ju,\"seconds\":%.3f,\"rate\":%.0f}",
                          (uintmax_t)position, (uintmax_t)(last > position ? last - position : 0),
                          (uintmax_t)report->read, (uintmax_t)report->made, (uintmax_t)report->kept,
                          (uintmax_t)report->changed, (uintmax_t)report->split,
                          (uintmax_t)report->dropped, (uintmax_t)report->removed, seconds,
                          seconds > 0 ? (double)(position - before) / seconds : 0);
    int rc = dbk_data_object(migrating->arguments, &text, err);
    dbk_buf_release(&text);
    return rc;
}

int dbk_run_migrate(const struct dbk_arguments *arguments)
{
    struct dbk_error err = {0};
    struct dbk_migrating migrating;
    struct dbk_os *os = dbk_os_real();
    if (!dbk_arguments_has(arguments, "to"))
        return dbk_fail_usage(arguments, "--to DIR is missing: the new book's folder");
    dbk_link_stop_on_signals();
    int rc = dbk_migrating_open(arguments, false, dbk_arguments_text(arguments, "with"),
                                dbk_arguments_has(arguments, "changed-script"), &migrating, &err);
    if (rc == DBK_OK) {
        uint64_t before = dbk_migration_position(migrating.migration);
        int64_t began_us = os->monotonic_us(os);
        rc = dbk_migrating_copy(&migrating, dbk_arguments_has(arguments, "follow"), &err);
        if (rc == DBK_OK)
            rc = show_copied(&migrating, before, os->monotonic_us(os) - began_us, &err);
    }
    dbk_migrating_release(&migrating);
    return rc < 0 ? dbk_fail(arguments, &err) : DBK_EXIT_OK;
}
