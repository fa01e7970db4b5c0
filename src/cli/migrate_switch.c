/* SPDX-License-Identifier: Apache-2.0 */
/* From the old book to the new one, and back: migrate switch, migrate undo. */
#include "migrate/finish.h"

#include <stdio.h>

#include "cli/commands.h"
#include "cli/data.h"
#include "cli/fail.h"
#include "cli/migrate.h"

#define TEXT_SIZE_MAX ((size_t)16 << 20)
#define WAIT_US 100000

/* One request to whoever holds the old book. */
static int send(const struct dbk_arguments *arguments, struct dbk_call *call, struct dbk_error *err)
{
    struct dbk_link *link = NULL;
    struct dbk_answer answer;
    dbk_answer_init(&answer);
    int rc = dbk_link_open(arguments, DBK_ENGINE_WRITE, &link, err);
    if (rc == DBK_OK)
        rc = dbk_link_send(link, call, NULL, NULL, &answer, err);
    dbk_link_free(link);
    dbk_answer_release(&answer);
    return rc;
}

static int move_old(struct dbk_migrating *migrating, struct dbk_error *err)
{
    char id[DBK_UUID_TEXT_SIZE];
    struct dbk_call call;
    bool first = true;
    dbk_uuid_format(dbk_store_book_id(dbk_engine_store(migrating->target)), id);
    dbk_call_init(&call, "POST", "/move");
    dbk_buf_append_char(&call.body, '{');
    dbk_json_write_key(&call.body, &first, "to");
    dbk_json_write_string(&call.body, dbk_slice_of(dbk_arguments_text(migrating->arguments, "to")));
    dbk_json_write_key(&call.body, &first, "book");
    dbk_json_write_string(&call.body, dbk_slice_of(id));
    dbk_buf_append_char(&call.body, '}');
    int rc = send(migrating->arguments, &call, err);
    dbk_call_release(&call);
    return rc;
}

static int reopen_old(const struct dbk_arguments *arguments, struct dbk_error *err)
{
    struct dbk_call call;
    dbk_call_init(&call, "POST", "/reopen");
    int rc = send(arguments, &call, err);
    dbk_call_release(&call);
    return rc;
}

/* Ends the old book, unless an earlier run has, and copies what is left of it. */
static int end_old(struct dbk_migrating *migrating, struct dbk_error *err)
{
    struct dbk_store *source = dbk_engine_store(migrating->source);
    struct dbk_standing standing;
    int rc = dbk_store_standing(source, &standing, err);
    if (rc == DBK_OK && standing.state != DBK_STANDING_MOVED)
        rc = move_old(migrating, err);
    /* One that a run before this did, and had no time to tell readers of. */
    if (rc == DBK_EEXISTS)
        rc = DBK_OK;
    while (rc == DBK_OK) {
        rc = dbk_store_standing(source, &standing, err);
        if (rc < 0 || standing.state == DBK_STANDING_MOVED)
            break;
        rc = dbk_store_wait(source, dbk_store_wakes(source), dbk_store_last_position(source),
                            WAIT_US, err);
        rc = rc < 0 ? rc : DBK_OK;
    }
    if (rc == DBK_OK &&
        !dbk_uuid_equal(&standing.book, dbk_store_book_id(dbk_engine_store(migrating->target))))
        rc = dbk_error_set(err, DBK_EDENIED, "the old book has moved to %s, which is another book",
                           standing.place);
    return rc < 0 ? rc : dbk_migrating_copy(migrating, false, err);
}

/* Compares; fills the answer when anything differs. */
static int check(struct dbk_migrating *migrating, uint64_t after, bool *differs_out,
                 struct dbk_buf *text, struct dbk_error *err)
{
    struct dbk_migrate_verified verified = {0};
    struct dbk_buf differences;
    uint64_t sample = dbk_arguments_number(migrating->arguments, "sample", 0);
    dbk_buf_init(&differences, TEXT_SIZE_MAX);
    int rc = dbk_migrating_verify(migrating, after, sample, &verified, &differences, err);
    *differs_out = rc == DBK_OK && verified.differences > 0;
    if (*differs_out)
        dbk_migrating_put_verified(text, migrating, &verified, &differences);
    dbk_buf_release(&differences);
    return rc;
}

static void put_switched(struct dbk_buf *text, const struct dbk_migrating *migrating,
                         const struct dbk_migration_switched *switched)
{
    struct dbk_store *target = dbk_engine_store(migrating->target);
    dbk_buf_append_format(text,
                          "{\"old_position\":%ju,\"new_position\":%ju,\"groups\":%ju,"
                          "\"rules\":%ju,\"rules_left\":%ju",
                          (uintmax_t)dbk_migration_position(migrating->migration),
                          (uintmax_t)dbk_store_last_position(target), (uintmax_t)switched->groups,
                          (uintmax_t)switched->rules, (uintmax_t)switched->rules_left);
    if (switched->rules_left > 0) {
        bool first = false;
        dbk_json_write_key(text, &first, "rules_left_first");
        dbk_json_write_string(text, dbk_slice_of(switched->rules_left_first));
    }
    dbk_buf_append_char(text, '}');
}

/* The old book takes appends until everything has been compared; then only the rest is. */
static int take_over(struct dbk_migrating *migrating, bool *differs_out, struct dbk_buf *text,
                     struct dbk_error *err)
{
    bool verify = !dbk_arguments_has(migrating->arguments, "no-verify");
    struct dbk_migration_switched switched;
    int rc = dbk_migrating_copy(migrating, false, err);
    if (rc == DBK_OK && verify)
        rc = check(migrating, 0, differs_out, text, err);
    if (rc < 0 || *differs_out)
        return rc;
    uint64_t verified = dbk_migration_position(migrating->migration);
    rc = end_old(migrating, err);
    if (rc == DBK_OK && verify)
        rc = check(migrating, verified, differs_out, text, err);
    if (rc == DBK_OK && *differs_out)
        return reopen_old(migrating->arguments, err);
    if (rc == DBK_OK)
        rc = dbk_migration_switch(migrating->migration, dbk_engine_groups(migrating->source),
                                  &switched, err);
    if (rc == DBK_OK)
        put_switched(text, migrating, &switched);
    return rc;
}

int dbk_run_migrate_switch(const struct dbk_arguments *arguments)
{
    struct dbk_error err = {0};
    struct dbk_migrating migrating;
    struct dbk_buf text;
    bool differs = false;
    if (!dbk_arguments_has(arguments, "to"))
        return dbk_fail_usage(arguments, "--to DIR is missing: the new book's folder");
    dbk_link_stop_on_signals();
    dbk_buf_init(&text, TEXT_SIZE_MAX);
    int rc = dbk_migrating_open(arguments, false, NULL, false, &migrating, &err);
    if (rc == DBK_OK)
        rc = take_over(&migrating, &differs, &text, &err);
    if (rc == DBK_OK)
        rc = dbk_data_object(arguments, &text, &err);
    dbk_migrating_release(&migrating);
    dbk_buf_release(&text);
    if (rc < 0)
        return dbk_fail(arguments, &err);
    return differs ? DBK_EXIT_FAILED : DBK_EXIT_OK;
}

/* ---- undo ---- */

/* A new book that has taken over may hold what the old one does not. */
static int check_not_over(const struct dbk_arguments *arguments, struct dbk_error *err)
{
    struct dbk_migrating migrating = {.arguments = arguments};
    struct dbk_standing standing = {0};
    int rc = dbk_migrating_open_target(arguments, DBK_ENGINE_READ, &migrating, err);
    if (rc == DBK_OK)
        rc = dbk_store_standing(dbk_engine_store(migrating.target), &standing, err);
    if (rc == DBK_OK && standing.version > 0 && standing.state == DBK_STANDING_OPEN)
        rc = dbk_error_set(err, DBK_EDENIED,
                           "the new book has taken over: what was appended there is not in the "
                           "old one, and both would take appends; --force does it all the same");
    dbk_migrating_release(&migrating);
    return rc;
}

int dbk_run_migrate_undo(const struct dbk_arguments *arguments)
{
    struct dbk_error err = {0};
    struct dbk_buf text;
    bool force = dbk_arguments_has(arguments, "force");
    if (!force && !dbk_arguments_has(arguments, "to"))
        return dbk_fail_usage(arguments, "--to DIR is missing: the new book, which must not have "
                                         "taken over");
    dbk_buf_init(&text, TEXT_SIZE_MAX);
    int rc = force ? DBK_OK : check_not_over(arguments, &err);
    if (rc == DBK_OK)
        rc = reopen_old(arguments, &err);
    dbk_buf_append_text(&text, "{\"state\":\"open\"}");
    if (rc == DBK_OK)
        rc = dbk_data_object(arguments, &text, &err);
    dbk_buf_release(&text);
    return rc < 0 ? dbk_fail(arguments, &err) : DBK_EXIT_OK;
}
