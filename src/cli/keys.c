/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "base/time.h"
#include "cli/call.h"
#include "cli/commands.h"
#include "cli/data.h"
#include "cli/fail.h"
#include "cli/place.h"
#include "json/json.h"
#include "vault/backup.h"

#define ANSWER_SIZE_MAX ((size_t)64 << 10)

int dbk_run_keys_ls(const struct dbk_arguments *arguments)
{
    struct dbk_call call;
    dbk_call_init(&call, "GET", "/keys");
    return dbk_data_answer(arguments, &call, &(struct dbk_data_show){.mode = DBK_ENGINE_READ});
}

int dbk_run_keys_rotate(const struct dbk_arguments *arguments)
{
    struct dbk_call call;
    dbk_call_init(&call, "POST", "/keys/rotate");
    if (dbk_arguments_has(arguments, "now"))
        dbk_call_query(&call, "now", DBK_SLICE_LITERAL("true"));
    return dbk_data_answer(arguments, &call, &(struct dbk_data_show){.mode = DBK_ENGINE_WRITE});
}

/* ---- Backup ---- */

/* A book's log with the keys beside it. */
struct copying {
    struct dbk_book *book;
    struct dbk_store *store;
    struct dbk_vault_copy copy;
};

static void end_copying(struct copying *copying)
{
    dbk_store_free(copying->store);
    dbk_book_free(copying->book);
}

static int found(const char *name, void *context)
{
    (void)name;
    *(bool *)context = true;
    return DBK_OK;
}

/* A store that is opened to write would begin a log where there is none. */
static int check_log(const char *data, struct dbk_error *err)
{
    char log[DBK_PLACE_SIZE_MAX + 8];
    struct dbk_os *os = dbk_os_real();
    bool has_log = false;
    (void)snprintf(log, sizeof(log), "%s/log", data);
    int rc = os->list(os, log, found, &has_log, err);
    if (rc == DBK_ENOTFOUND || (rc == DBK_OK && !has_log))
        rc = dbk_error_set(err, DBK_ENOTFOUND,
                           "%s has no log: keys are restored beside the log they are for; restore "
                           "that first, with `daybook restore`",
                           data);
    return rc;
}

static int begin_copying(const struct dbk_arguments *arguments, bool writer,
                         struct copying *copying, struct dbk_error *err)
{
    struct dbk_place place;
    struct dbk_os *os = dbk_os_real();
    int rc = dbk_place_find(arguments, &place, err);
    if (rc == DBK_OK)
        rc = dbk_place_load(&place, &copying->book, err);
    if (rc == DBK_OK)
        rc = check_log(copying->book->data, err);
    if (rc == DBK_OK)
        rc = dbk_store_open(&(struct dbk_store_options){.os = os,
                                                        .folder = copying->book->data,
                                                        .writer = writer,
                                                        .holder = "daybook keys restore"},
                            &copying->store, err);
    if (rc == DBK_OK)
        copying->copy = (struct dbk_vault_copy){
            .os = os,
            .store = copying->store,
            .data = copying->book->data,
            .root = copying->book->keys_root,
            .file = arguments->positional[0],
            .passphrase = dbk_arguments_text(arguments, "passphrase"),
        };
    return rc;
}

/* What both say first. */
static void begin_answer(struct dbk_buf *text, const struct copying *copying,
                         const struct dbk_keys_backup_result *result)
{
    char id[DBK_UUID_TEXT_SIZE];
    char time[DBK_TIME_TEXT_SIZE];
    dbk_uuid_format(dbk_store_book_id(copying->store), id);
    (void)dbk_time_format(result->taken_us, time);
    dbk_buf_init(text, ANSWER_SIZE_MAX);
    dbk_buf_append_format(text,
                          "{\"book\":\"%s\",\"epoch\":%ju,\"taken\":\"%s\",\"subjects\":%ju,"
                          "\"erased\":%ju",
                          id, (uintmax_t)result->epoch, time, (uintmax_t)result->subjects,
                          (uintmax_t)result->erased);
}

int dbk_run_keys_backup(const struct dbk_arguments *arguments)
{
    static const char *const under[] = {[DBK_KEYS_UNDER_PASSPHRASE] = "passphrase",
                                        [DBK_KEYS_UNDER_ROOT] = "root",
                                        [DBK_KEYS_PLAIN] = "nothing"};
    struct dbk_error err = {0};
    struct copying copying = {0};
    struct dbk_keys_backup_result result = {0};
    enum dbk_keys_protection protection = DBK_KEYS_PLAIN;
    struct dbk_buf text;
    bool plain = dbk_arguments_has(arguments, "plain");
    if (plain && dbk_arguments_has(arguments, "passphrase"))
        return dbk_fail_usage(arguments, "--plain and --passphrase exclude each other");
    int rc = begin_copying(arguments, false, &copying, &err);
    copying.copy.plain = plain;
    if (rc == DBK_OK)
        rc = dbk_vault_backup(&copying.copy, &protection, &result, &err);
    if (rc == DBK_OK) {
        begin_answer(&text, &copying, &result);
        dbk_buf_append_format(&text, ",\"under\":\"%s\"}", under[protection]);
        rc = dbk_data_object(arguments, &text, &err);
        dbk_buf_release(&text);
    }
    end_copying(&copying);
    return rc < 0 ? dbk_fail(arguments, &err) : DBK_EXIT_OK;
}

int dbk_run_keys_restore(const struct dbk_arguments *arguments)
{
    struct dbk_error err = {0};
    struct copying copying = {0};
    struct dbk_keys_backup_result result = {0};
    struct dbk_buf text;
    int rc = begin_copying(arguments, true, &copying, &err);
    copying.copy.erased_list = dbk_arguments_text(arguments, "erased-list");
    copying.copy.replace = dbk_arguments_has(arguments, "replace");
    if (rc == DBK_OK)
        rc = dbk_vault_restore(&copying.copy, &result, &err);
    if (rc == DBK_OK) {
        begin_answer(&text, &copying, &result);
        dbk_buf_append_format(&text, ",\"left_out\":%ju}", (uintmax_t)result.left_out);
        rc = dbk_data_object(arguments, &text, &err);
        dbk_buf_release(&text);
    }
    end_copying(&copying);
    return rc < 0 ? dbk_fail(arguments, &err) : DBK_EXIT_OK;
}
