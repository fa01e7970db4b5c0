/* SPDX-License-Identifier: Apache-2.0 */
/* commands/<Name>.json, read: one update of one document, and what is expected of it. */
#include "command/head.h"
#include "target/target.h"

#define TEXT_SIZE_MAX ((size_t)1 << 20)

static int no_memory(const struct dbk_command_reading *reading, struct dbk_error *err)
{
    return dbk_error_set(err, DBK_ENOMEM, "out of memory reading %s", reading->file);
}

/* The lines of a part of the file that are comments. */
static int take_comments(struct dbk_command_reading *reading, size_t begin, size_t end,
                         enum dbk_command_place place)
{
    int rc = DBK_OK;
    while (rc == DBK_OK && begin < end) {
        const char *line = reading->text.data + begin;
        const char *stop = memchr(line, '\n', end - begin);
        size_t size = stop == NULL ? end - begin : (size_t)(stop - line);
        size_t blank = 0;
        while (blank < size && (line[blank] == ' ' || line[blank] == '\t'))
            blank++;
        if (size - blank >= 2 && line[blank] == '/' && line[blank + 1] == '/')
            rc = dbk_command_take_comment(reading, begin + blank,
                                          dbk_slice(line + blank, size - blank), place);
        begin += size + 1;
    }
    return rc;
}

static int use_parameters(struct dbk_command_reading *reading, struct dbk_slice text)
{
    size_t begin = dbk_command_offset_of(reading, text);
    int rc = DBK_OK;
    for (size_t offset = 0; rc == DBK_OK;) {
        size_t index = 0;
        struct dbk_slice name = dbk_text_parameter(DBK_DIALECT_MONGODB, text, offset, &offset);
        if (name.size == 0)
            return DBK_OK;
        rc = dbk_command_use_parameter(reading, name, begin + (size_t)(name.data - text.data),
                                       &index);
    }
    return rc;
}

/* The command as the server gets it. Its names have one more than the file: `_position`, which
   only handlers have; there it is NULL. */
static int write_text(struct dbk_command_reading *reading, struct dbk_slice text,
                      struct dbk_command_statement *statement, struct dbk_error *err)
{
    struct dbk_slice *names = NULL;
    size_t count = 0;
    struct dbk_buf out;
    dbk_buf_init(&out, TEXT_SIZE_MAX);
    int rc = dbk_text_rewrite(DBK_DIALECT_MONGODB, text, NULL, 0, &out, reading->arena, &names,
                              &count, err);
    statement->sql = dbk_arena_copy(reading->arena, dbk_buf_slice(&out));
    size_t *indexes = dbk_arena_alloc_zero(reading->arena, count + 1, sizeof(*indexes));
    if (rc == DBK_OK && (statement->sql.data == NULL || indexes == NULL))
        rc = no_memory(reading, err);
    for (size_t i = 0; rc == DBK_OK && i < count; i++)
        indexes[i] = dbk_command_find_parameter(reading, names[i]);
    statement->parameters = indexes;
    statement->parameter_count = count;
    dbk_buf_release(&out);
    return rc;
}

/* The collection, which stands first in a command that was checked. */
static const char *collection_of(struct dbk_command_reading *reading, struct dbk_slice text)
{
    size_t at = 0;
    for (int quotes = 0; at < text.size && quotes < 3; at++)
        quotes += text.data[at] == '"';
    size_t end = at;
    while (end < text.size && text.data[end] != '"')
        end++;
    return dbk_arena_copy(reading->arena, dbk_slice(text.data + at, end - at)).data;
}

static int take_command(struct dbk_command_reading *reading, struct dbk_slice text,
                        struct dbk_error *err)
{
    struct dbk_error failure = {0};
    size_t begin = dbk_command_offset_of(reading, text);
    size_t errors = reading->faults->error_count;
    struct dbk_command_statement statement = dbk_command_begin_statement(reading, text);
    int at = -1;
    if (take_comments(reading, begin, begin + text.size, DBK_COMMAND_INSIDE) < 0 ||
        use_parameters(reading, text) < 0)
        return no_memory(reading, err);
    int rc = dbk_target_check(reading->command->service->address, text, DBK_GUARD_COMMAND, &at,
                              &failure);
    if (rc < 0 &&
        (rc == DBK_ENOMEM || dbk_command_fault_at(reading, begin + (size_t)(at < 0 ? 0 : at), NULL,
                                                  failure.message) < 0))
        return no_memory(reading, err);
    if (reading->faults->error_count > errors)
        return DBK_OK;
    statement.table = collection_of(reading, text);
    if (statement.table == NULL)
        return no_memory(reading, err);
    rc = write_text(reading, text, &statement, err);
    if (rc == DBK_OK)
        reading->statements[reading->command->statement_count++] = statement;
    return rc;
}

/* Whether the file is of a service whose database is one that such files are for. */
static int check_service(struct dbk_command_reading *reading, bool *fits_out)
{
    const struct dbk_service_command *command = reading->command;
    *fits_out = false;
    if (command->service == NULL)
        return reading->faults->error_count > 0
                   ? DBK_OK
                   : dbk_command_fault_at(reading, 0,
                                          "begin with `-- service: <name of services/<name>.yaml>`",
                                          "it is not said whose database the command is of");
    if (dbk_target_dialect(command->service->address) != DBK_DIALECT_MONGODB)
        return dbk_command_fault_at(reading, 0, "write it as SQL: commands/<Name>.sql",
                                    "the service's database is no MongoDB");
    *fits_out = command->other_count == 0;
    return *fits_out ? DBK_OK
                     : dbk_command_fault_at(reading, 0, "name the one whose document it changes",
                                            "a command of documents is of one service");
}

int dbk_command_parse_documents(struct dbk_command_reading *reading, struct dbk_error *err)
{
    size_t behind = 0;
    size_t end = 0;
    bool fits = false;
    struct dbk_slice text = dbk_text_statement(DBK_DIALECT_MONGODB, reading->text, 0, &behind);
    size_t begin = text.size == 0 ? reading->text.size : dbk_command_offset_of(reading, text);
    if (take_comments(reading, 0, begin, DBK_COMMAND_HEAD) < 0 || check_service(reading, &fits) < 0)
        return no_memory(reading, err);
    if (!fits)
        return DBK_OK;
    if (text.size == 0)
        return dbk_command_fault_at(reading, 0, "write one", "the command has no update") < 0
                   ? no_memory(reading, err)
                   : DBK_OK;
    int rc = take_command(reading, text, err);
    struct dbk_slice more = dbk_text_statement(DBK_DIALECT_MONGODB, reading->text, behind, &end);
    size_t rest = more.size == 0 ? reading->text.size : dbk_command_offset_of(reading, more);
    if (rc == DBK_OK && take_comments(reading, behind, rest, DBK_COMMAND_BETWEEN) < 0)
        return no_memory(reading, err);
    if (rc == DBK_OK && more.size > 0 &&
        dbk_command_fault_at(reading, rest,
                             "keep what belongs together in one document, or let a "
                             "saga do one after the other",
                             "a command is one update of one document: together with others it "
                             "could be half done") < 0)
        return no_memory(reading, err);
    return rc < 0 ? rc : dbk_command_check_whole(reading) < 0 ? no_memory(reading, err) : DBK_OK;
}
