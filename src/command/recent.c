/* SPDX-License-Identifier: Apache-2.0 */
#include "command/recent.h"

#include <string.h>

#include "base/memory.h"
#include "json/json.h"

void dbk_recent_note(struct dbk_recent *recent, const struct dbk_recent_command *command)
{
    if (recent->commands == NULL)
        recent->commands = dbk_alloc_zero(DBK_RECENT_COMMANDS, sizeof(*recent->commands));
    if (recent->commands == NULL)
        return;
    recent->commands[recent->count++ % DBK_RECENT_COMMANDS] = *command;
}

static uint64_t kept(const struct dbk_recent *recent)
{
    return recent->count < DBK_RECENT_COMMANDS ? recent->count : DBK_RECENT_COMMANDS;
}

static const struct dbk_recent_command *at_position(const struct dbk_recent *recent,
                                                    uint64_t position)
{
    for (uint64_t i = 0; i < kept(recent); i++) {
        const struct dbk_recent_command *command = &recent->commands[i];
        if (command->position_min != 0 && command->position_min <= position &&
            position <= command->position_max)
            return command;
    }
    return NULL;
}

static const struct dbk_recent_command *of_id(const struct dbk_recent *recent,
                                              const struct dbk_uuid *id)
{
    for (uint64_t i = 0; i < kept(recent); i++) {
        const struct dbk_recent_command *command = &recent->commands[i];
        if (command->position_min == 0 && memcmp(command->id.bytes, id->bytes, DBK_UUID_SIZE) == 0)
            return command;
    }
    return NULL;
}

const struct dbk_recent_command *dbk_recent_of(const struct dbk_recent *recent,
                                               const struct dbk_event *event)
{
    static const char *const members[] = {"causationid", "correlationid"};
    const struct dbk_recent_command *found = at_position(recent, event->position);
    for (size_t i = 0; found == NULL && i < sizeof(members) / sizeof(members[0]); i++) {
        char room[DBK_UUID_TEXT_SIZE];
        struct dbk_slice text;
        struct dbk_uuid id;
        if (dbk_json_find_text(event->meta, members[i], room, sizeof(room), &text) &&
            dbk_uuid_parse(text, &id))
            found = of_id(recent, &id);
    }
    return found;
}

void dbk_recent_release(struct dbk_recent *recent)
{
    dbk_free(recent->commands);
    *recent = (struct dbk_recent){0};
}
