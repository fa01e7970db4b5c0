/* SPDX-License-Identifier: Apache-2.0 */
#include "folder.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "test.h"

void folder_init(struct folder *folder)
{
    struct dbk_error err = {0};
    *folder = (struct folder){.sim = dbk_sim_create(1)};
    dbk_diagnostics_init(&folder->faults);
    struct dbk_os *os = dbk_sim_os(folder->sim);
    assert_ok(os->make_folder(os, "b", &err), &err);
}

static void forget(struct folder *folder)
{
    dbk_book_free(folder->book);
    folder->book = NULL;
    dbk_diagnostics_release(&folder->faults);
}

void folder_release(struct folder *folder)
{
    forget(folder);
    dbk_sim_free(folder->sim);
}

void folder_write_bytes(struct folder *folder, const char *path, struct dbk_slice bytes)
{
    struct dbk_os *os = dbk_sim_os(folder->sim);
    struct dbk_error err = {0};
    char full[4096];
    (void)snprintf(full, sizeof(full), "b/%s", path);
    for (char *slash = strchr(full + 2, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        assert_ok(os->make_folder(os, full, &err), &err);
        *slash = '/';
    }
    dbk_sim_set_file(folder->sim, full, bytes);
}

void folder_write(struct folder *folder, const char *path, const char *text)
{
    folder_write_bytes(folder, path, dbk_slice_of(text));
}

void folder_write_book(struct folder *folder)
{
    folder_write(folder, "book.yaml",
                 "book: small\n"
                 "databases:\n"
                 "  reading: sqlite:reading.db\n");
    folder_write(folder, "folds/account.lua",
                 "return {\n"
                 "    initial = { balance = 0 },\n"
                 "    on = {\n"
                 "        Deposited = function(state, data)\n"
                 "            state.balance = data.amount\n"
                 "        end,\n"
                 "    },\n"
                 "}\n");
    folder_write(folder, "commands/Deposit.lua",
                 "return {\n"
                 "    stream = function(command) return \"account-1\" end,\n"
                 "    decide = function(state, command)\n"
                 "        return event(\"Deposited\", { amount = 1 })\n"
                 "    end,\n"
                 "}\n");
    folder_write(folder, "imports/sample.lua", "return { map = function(row) return nil end }\n");
    folder_write(folder, "models/balances/model.yaml",
                 "database: reading\n"
                 "sync: events\n"
                 "source: [account]\n"
                 "on_error: stop\n");
    folder_write(folder, "models/balances/schema.sql",
                 "CREATE TABLE balances (account TEXT PRIMARY KEY, balance INTEGER);\n");
    folder_write(folder, "models/balances/Deposited.sql",
                 "INSERT INTO balances VALUES (:_stream, :amount);\n");
    folder_write(folder, "queries/GetBalance.sql",
                 "-- daybook get GetBalance account=1\n"
                 "SELECT balance FROM balances WHERE account = :account\n");
    folder_write(folder, "views/totals.sql",
                 "-- refresh: on demand\n"
                 "SELECT sum(balance) AS balance FROM balances\n");
}

void folder_load(struct folder *folder, const char *environment)
{
    const struct dbk_book_options options = {
        .os = dbk_sim_os(folder->sim), .folder = "b", .environment = environment};
    forget(folder);
    folder->err = (struct dbk_error){0};
    folder->rc = dbk_book_load(&options, &folder->faults, &folder->book, &folder->err);
    assert_true((folder->book != NULL) == (folder->rc == DBK_OK));
    if (folder->rc == DBK_OK)
        assert_int_equal(folder->faults.error_count, 0);
    else if (folder->rc == DBK_EBOOK)
        assert_true(folder->faults.error_count > 0);
}

void assert_faults(const struct dbk_diagnostics *faults, const char *expected)
{
    struct dbk_buf text;
    dbk_buf_init(&text, 1 << 20);
    for (size_t i = 0; i < faults->count; i++) {
        const struct dbk_diagnostic *item = &faults->items[i];
        if (item->line > 0)
            dbk_buf_append_format(&text, "%s:%u:%u: %s%s\n", item->file, item->line, item->column,
                                  item->warning ? "warning: " : "", item->what);
        else
            dbk_buf_append_format(&text, "%s: %s%s\n", item->file, item->warning ? "warning: " : "",
                                  item->what);
    }
    dbk_buf_append_char(&text, '\0');
    assert_int_equal(text.rc, DBK_OK);
    assert_string_equal(text.data, expected);
    dbk_buf_release(&text);
}

const char *example_path(const char *name, char path_out[4096])
{
    char here[PATH_MAX];
    /* Tests run where they were built, and the compiler was given this path from there. */
    if (realpath(__FILE__, here) == NULL)
        fail_msg("tests run in the build folder: %s is not found from here", __FILE__);
    char *end = strstr(here, "/tests/unit/");
    assert_non_null(end);
    *end = '\0';
    int size = snprintf(path_out, 4096, "%s/examples/%s", here, name);
    assert_in_range(size, 1, 4095);
    return path_out;
}
