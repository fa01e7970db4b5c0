/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "cli/commands.h"
#include "cli/fail.h"
#include "cli/table.h"
#include "os/os.h"

struct file {
    const char *path; /* from the book's folder; a folder ends with '/' */
    const char *text;
};

#define STREAM_OF_COMMAND                                                                          \
    "    stream = function(command)\n"                                                             \
    "        assert(type(command.account) == \"string\" and command.account ~= \"\",\n"            \
    "            \"account: a text is needed\")\n"                                                 \
    "        return \"account-\" .. command.account\n"                                             \
    "    end,\n"

static const struct file files[] = {
    {"folds/", NULL},
    {"commands/", NULL},
    {"queries/", NULL},
    {"models/", NULL},
    {"models/balances/", NULL},
    {"views/", NULL},
    {"book.yaml", NULL}, /* has the book's name in it: see write_settings */
    {".gitignore", "/data/\n"},
    {"folds/account.lua", "-- The state of an account: what its events add up to.\n"
                          "return {\n"
                          "    initial = { balance = 0, status = \"none\" },\n"
                          "    snapshot = { every = 1000 },\n"
                          "    on = {\n"
                          "        AccountOpened = function(state)\n"
                          "            state.status = \"active\"\n"
                          "        end,\n"
                          "        Deposited = function(state, data)\n"
                          "            state.balance = state.balance + data.amount\n"
                          "        end,\n"
                          "        Withdrawn = function(state, data)\n"
                          "            state.balance = state.balance - data.amount\n"
                          "        end,\n"
                          "    },\n"
                          "}\n"},
    {"commands/Open.lua",
     "-- daybook do Open account=anna\n"
     "return {\n" STREAM_OF_COMMAND "    decide = function(state, command)\n"
     "        if state.status ~= \"none\" then\n"
     "            return refuse(\"open-already\", command.account .. \" has an account already\")\n"
     "        end\n"
     "        return event(\"AccountOpened\", { account = command.account })\n"
     "    end,\n"
     "}\n"},
    {"commands/Deposit.lua",
     "-- daybook do Deposit account=anna amount=50\n"
     "return {\n" STREAM_OF_COMMAND "    decide = function(state, command)\n"
     "        if math.type(command.amount) ~= \"integer\" or command.amount <= 0 then\n"
     "            return refuse(\"amount-invalid\", \"amount: a positive whole number is "
     "needed\")\n"
     "        elseif state.status ~= \"active\" then\n"
     "            return refuse(\"not-open\", command.account .. \" has no account\")\n"
     "        end\n"
     "        return event(\"Deposited\", { account = command.account, amount = command.amount })\n"
     "    end,\n"
     "}\n"},
    {"commands/Withdraw.lua",
     "-- daybook do Withdraw account=anna amount=30\n"
     "return {\n" STREAM_OF_COMMAND "    decide = function(state, command)\n"
     "        if math.type(command.amount) ~= \"integer\" or command.amount <= 0 then\n"
     "            return refuse(\"amount-invalid\", \"amount: a positive whole number is "
     "needed\")\n"
     "        elseif state.balance < command.amount then\n"
     "            return refuse(\"balance-short\", \"the balance is \" .. state.balance)\n"
     "        end\n"
     "        return event(\"Withdrawn\", { account = command.account, amount = command.amount })\n"
     "    end,\n"
     "}\n"},
    {"models/balances/model.yaml", "database: reading\n"
                                   "sync: events\n"
                                   "source: [account]\n"},
    {"models/balances/schema.sql", "CREATE TABLE balances (\n"
                                   "    account TEXT PRIMARY KEY,\n"
                                   "    balance INTEGER NOT NULL,\n"
                                   "    changed TEXT NOT NULL\n"
                                   ");\n"},
    {"models/balances/handlers.sql",
     "-- on: AccountOpened\n"
     "INSERT INTO balances (account, balance, changed) VALUES (:account, 0, :_time);\n"
     "\n"
     "-- on: Deposited\n"
     "UPDATE balances SET balance = balance + :amount, changed = :_time WHERE account = :account;\n"
     "\n"
     "-- on: Withdrawn\n"
     "UPDATE balances SET balance = balance - :amount, changed = :_time WHERE account = "
     ":account;\n"},
    {"queries/GetBalance.sql",
     "-- daybook get GetBalance account=anna\n"
     "SELECT account, balance, changed FROM balances WHERE account = :account\n"},
    {"views/totals.sql", "-- refresh: every 5 minutes\n"
                         "-- database: reading\n"
                         "SELECT count(*) AS accounts, sum(balance) AS balance FROM balances\n"},
};

static int find_any(const char *name, void *context)
{
    bool *found = context;
    (void)name;
    *found = true;
    return DBK_OK;
}

/* Creates the folder, or takes one that is there and empty. */
static int take_folder(struct dbk_os *os, const char *folder, struct dbk_error *err)
{
    bool found = false;
    int rc = os->make_folder(os, folder, err);
    if (rc == DBK_OK)
        rc = os->list(os, folder, find_any, &found, err);
    if (rc == DBK_OK && found)
        rc = dbk_error_set(err, DBK_EEXISTS,
                           "%s is not empty, and nothing was written: name a "
                           "folder that is new",
                           folder);
    return rc;
}

/* The folder's own name, with what a name in YAML might stumble over left out. */
static void write_settings(struct dbk_buf *text, const char *folder)
{
    struct dbk_slice name = dbk_slice_of(folder);
    while (name.size > 0 && name.data[name.size - 1] == '/')
        name.size--;
    for (size_t i = name.size; i > 0; i--) {
        if (name.data[i - 1] == '/') {
            name = dbk_slice(name.data + i, name.size - i);
            break;
        }
    }
    dbk_buf_append_text(text,
                        "# One folder is a book: definitions here, events in `data`.\nbook: ");
    size_t start = text->size;
    for (size_t i = 0; i < name.size; i++) {
        char byte = name.data[i];
        bool letter = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z');
        if (letter ||
            (text->size > start && ((byte >= '0' && byte <= '9') || byte == '-' || byte == '_')))
            dbk_buf_append_char(text, byte);
    }
    if (text->size == start)
        dbk_buf_append_text(text, "ledger");
    dbk_buf_append_text(text, "\ndata: data\ndatabases:\n  reading: sqlite:reading.db\n");
}

static int write_file(struct dbk_os *os, const char *folder, const struct file *file,
                      struct dbk_error *err)
{
    struct dbk_buf path;
    struct dbk_buf text;
    dbk_buf_init(&path, 1 << 16);
    dbk_buf_init(&text, 1 << 16);
    dbk_buf_append_format(&path, "%s/%s", folder, file->path);
    dbk_buf_append_char(&path, '\0');
    if (file->text != NULL)
        dbk_buf_append_text(&text, file->text);
    else
        write_settings(&text, folder);
    int rc = path.rc < 0 || text.rc < 0
                 ? dbk_error_set(err, DBK_ENOMEM, "%s: %s", folder, dbk_code_text(DBK_ENOMEM))
                 : DBK_OK;
    if (rc == DBK_OK && file->path[strlen(file->path) - 1] == '/')
        rc = os->make_folder(os, path.data, err);
    else if (rc == DBK_OK)
        rc = dbk_os_replace_file(os, path.data, dbk_buf_slice(&text), err);
    dbk_buf_release(&path);
    dbk_buf_release(&text);
    return rc;
}

int dbk_run_new(const struct dbk_arguments *arguments)
{
    struct dbk_error err = {0};
    struct dbk_os *os = dbk_os_real();
    const char *folder = arguments->positional[0];
    int rc = take_folder(os, folder, &err);
    for (size_t i = 0; rc == DBK_OK && i < sizeof(files) / sizeof(files[0]); i++)
        rc = write_file(os, folder, &files[i], &err);
    if (rc < 0)
        return dbk_fail(arguments, &err);
    if (dbk_output_of(arguments) != DBK_OUTPUT_TABLE)
        return DBK_EXIT_OK;
    (void)printf("%s is a book of accounts. Next:\n"
                 "  cd %s\n"
                 "  daybook do Open account=anna\n"
                 "  daybook do Deposit account=anna amount=50\n"
                 "  daybook state account-anna\n"
                 "  daybook serve\n",
                 folder, folder);
    return DBK_EXIT_OK;
}
