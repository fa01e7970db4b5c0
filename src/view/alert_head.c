/* SPDX-License-Identifier: Apache-2.0 */
/* What a view's head says of alerts. */
#include "view/alert.h"
#include "view/head.h"

#define ALERTS_MAX 16
#define WORDS_MAX 32
#define HEADERS_MAX 16
#define NAME_SIZE_MAX 40

static bool is_name(struct dbk_slice text)
{
    bool good = text.size > 0 && text.size <= NAME_SIZE_MAX;
    for (size_t i = 0; i < text.size && good; i++)
        good = strchr("abcdefghijklmnopqrstuvwxyz0123456789_", text.data[i]) != NULL &&
               text.data[i] != '\0';
    return good;
}

int dbk_head_take_alert(struct dbk_head *head, struct dbk_slice value)
{
    struct dbk_view_definition *definition = head->definition;
    int rc = dbk_head_end_alert(head);
    if (rc < 0)
        return rc;
    if (head->alerts == NULL)
        head->alerts = dbk_arena_alloc_zero(head->arena, ALERTS_MAX, sizeof(*head->alerts));
    if (head->alerts == NULL)
        return DBK_ENOMEM;
    if (definition->alert_count == ALERTS_MAX)
        return dbk_head_fault(head, value.data, "more than 16 alerts", "each judges every change",
                              "make another view of some");
    if (!is_name(value))
        return dbk_head_fault(head, value.data, "this is no name of an alert",
                              "by its name it is shown, paused and retried",
                              "write a name of small letters, digits and `_`, of at most 40 bytes");
    for (size_t i = 0; i < definition->alert_count; i++) {
        if (dbk_slice_equal_text(value, head->alerts[i].name))
            return dbk_head_fault(head, value.data, "the view has another alert of this name",
                                  "both would count as one", "give it a name of its own");
    }
    const char *name = dbk_arena_copy(head->arena, value).data;
    head->alerts[definition->alert_count++] = (struct dbk_alert_definition){.name = name};
    definition->alerts = head->alerts;
    definition->keeps_changes = true;
    head->alert_place = (size_t)(value.data - head->text.data);
    head->seen[DBK_HEAD_WHEN] = false;
    head->seen[DBK_HEAD_TO] = false;
    return name == NULL ? DBK_ENOMEM : DBK_OK;
}

/* The alert that a line belongs to; NULL: there is none, which is a fault. */
static struct dbk_alert_definition *last(struct dbk_head *head, struct dbk_slice value, int *rc)
{
    size_t count = head->definition->alert_count;
    *rc = count > 0 ? DBK_OK
                    : dbk_head_fault(head, value.data, "this belongs to no alert",
                                     "it would be taken for nothing",
                                     "write `-- alert: <name>` in a line above it");
    return count > 0 ? &head->alerts[count - 1] : NULL;
}

int dbk_head_take_when(struct dbk_head *head, struct dbk_slice value)
{
    int rc = DBK_OK;
    struct dbk_alert_definition *alert = last(head, value, &rc);
    if (alert != NULL)
        alert->when = value;
    return rc;
}

static bool is_reference(struct dbk_slice text)
{
    return (dbk_slice_starts_with(text, DBK_SLICE_LITERAL("file:")) && text.size > 5) ||
           (dbk_slice_starts_with(text, DBK_SLICE_LITERAL("env:")) && text.size > 4);
}

/* What is wrong with an address; NULL: nothing is. */
static const char *url_fault(struct dbk_slice url)
{
    bool plain = dbk_slice_starts_with(url, DBK_SLICE_LITERAL("http://"));
    size_t at = plain ? 7 : 8;
    if (!plain && !dbk_slice_starts_with(url, DBK_SLICE_LITERAL("https://")))
        return "this is no address and no command";
    if (url.size == at || strchr("/:?#", url.data[at]) != NULL)
        return "the address names no host";
    for (size_t i = 0; i < url.size; i++) {
        if ((unsigned char)url.data[i] <= ' ' || (unsigned char)url.data[i] >= 127)
            return "the address has white space, or bytes past ASCII";
        if (url.data[i] == '@')
            return "a name or password does not belong into the view's file";
    }
    return NULL;
}

/* Words with blanks between; one with blanks in it stands in double quotes. NULL in the end. */
static int take_words(struct dbk_head *head, struct dbk_alert_definition *alert,
                      struct dbk_slice text)
{
    const char **words = dbk_arena_alloc_zero(head->arena, WORDS_MAX + 1, sizeof(*words));
    size_t count = 0;
    if (words == NULL)
        return DBK_ENOMEM;
    for (text = dbk_head_trim(text); text.size > 0; text = dbk_head_trim(text)) {
        bool quoted = text.data[0] == '"';
        const char *begin = text.data + (quoted ? 1 : 0);
        size_t left = text.size - (quoted ? 1 : 0);
        size_t size = 0;
        while (size < left && (quoted ? begin[size] != '"' : strchr(" \t", begin[size]) == NULL))
            size++;
        if (count == WORDS_MAX || (quoted && size == left))
            return dbk_head_fault(
                head, text.data, count == WORDS_MAX ? "more than 32 words" : "a quote has no end",
                "the command could not be run", "write `-- to: command bin/page \"two words\"`");
        words[count] = dbk_arena_copy(head->arena, dbk_slice(begin, size)).data;
        if (words[count++] == NULL)
            return DBK_ENOMEM;
        size += quoted ? 1 : 0;
        text = dbk_slice(begin + size, left - size);
    }
    alert->words = words;
    return DBK_OK;
}

int dbk_head_take_to(struct dbk_head *head, struct dbk_slice value)
{
    const struct dbk_slice command = DBK_SLICE_LITERAL("command ");
    int rc = DBK_OK;
    struct dbk_alert_definition *alert = last(head, value, &rc);
    if (alert == NULL)
        return rc;
    if (dbk_slice_starts_with(value, command))
        return take_words(head, alert,
                          dbk_slice(value.data + command.size, value.size - command.size));
    const char *wrong = is_reference(value) ? NULL : url_fault(value);
    alert->url = dbk_arena_copy(head->arena, value).data;
    if (alert->url == NULL)
        return DBK_ENOMEM;
    return wrong == NULL
               ? DBK_OK
               : dbk_head_fault(head, value.data, wrong, "nobody could be told",
                                "write `https://hooks.example/stock`, `file:secrets/hook` or "
                                "`env:HOOK` (where the address stands), or `command bin/page`");
}

/* `Authorization: env:TOKEN` */
int dbk_head_take_header(struct dbk_head *head, struct dbk_slice value)
{
    int rc = DBK_OK;
    struct dbk_alert_definition *alert = last(head, value, &rc);
    size_t size = 0;
    if (alert == NULL)
        return rc;
    while (size < value.size && value.data[size] != ':')
        size++;
    struct dbk_slice name = dbk_slice(value.data, size);
    struct dbk_slice reference =
        size < value.size ? dbk_head_trim(dbk_slice(value.data + size + 1, value.size - size - 1))
                          : dbk_slice(value.data, 0);
    bool good = name.size > 0 && alert->header_count < HEADERS_MAX && is_reference(reference);
    for (size_t i = 0; i < name.size && good; i++)
        good = strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_",
                      name.data[i]) != NULL &&
               name.data[i] != '\0';
    if (!good)
        return dbk_head_fault(head, value.data,
                              "this does not say where a header's value stands (of 16 at most)",
                              "a secret does not belong into the view's file",
                              "write `Authorization: file:secrets/hook` or `X-Key: env:HOOK_KEY`");
    const char **grown =
        dbk_arena_alloc(head->arena, 2 * (alert->header_count + 1) * sizeof(*grown));
    if (grown == NULL)
        return DBK_ENOMEM;
    for (size_t i = 0; i < 2 * alert->header_count; i++)
        grown[i] = alert->headers[i];
    grown[2 * alert->header_count] = dbk_arena_copy(head->arena, name).data;
    grown[2 * alert->header_count + 1] = dbk_arena_copy(head->arena, reference).data;
    if (grown[2 * alert->header_count] == NULL || grown[2 * alert->header_count + 1] == NULL)
        return DBK_ENOMEM;
    alert->headers = grown;
    alert->header_count++;
    return DBK_OK;
}

int dbk_head_end_alert(struct dbk_head *head)
{
    size_t count = head->definition->alert_count;
    const char *at = head->text.data + head->alert_place;
    const struct dbk_alert_definition *alert = count > 0 ? &head->alerts[count - 1] : NULL;
    int rc = DBK_OK;
    if (alert != NULL && !head->seen[DBK_HEAD_WHEN])
        rc = dbk_head_fault(head, at, "the alert does not say of which rows it tells",
                            "nobody would be told anything", "write `-- when: qty < 5` under it");
    if (rc == DBK_OK && alert != NULL && !head->seen[DBK_HEAD_TO])
        rc = dbk_head_fault(head, at, "the alert does not say whom it tells",
                            "nobody would be told anything",
                            "write `-- to: https://hooks.example/stock` or `-- to: command "
                            "bin/page` under it");
    if (rc == DBK_OK && alert != NULL && alert->words != NULL && alert->header_count > 0)
        rc = dbk_head_fault(head, at, "a command has no headers", "they would be sent to nobody",
                            "leave `-- header:` out");
    return rc;
}

static int copy_texts(struct dbk_arena *arena, const char *const *from, size_t count,
                      const char *const **to)
{
    const char **texts = dbk_arena_alloc_zero(arena, count + 1, sizeof(*texts));
    for (size_t i = 0; texts != NULL && i < count; i++) {
        texts[i] = dbk_arena_format(arena, "%s", from[i]);
        if (texts[i] == NULL)
            return DBK_ENOMEM;
    }
    *to = texts;
    return texts == NULL ? DBK_ENOMEM : DBK_OK;
}

static int copy_alert(struct dbk_arena *arena, const struct dbk_alert_definition *from,
                      struct dbk_alert_definition *to)
{
    size_t words = 0;
    int rc = DBK_OK;
    to->name = dbk_arena_format(arena, "%s", from->name);
    to->when = dbk_arena_copy(arena, from->when);
    to->url = from->url == NULL ? NULL : dbk_arena_format(arena, "%s", from->url);
    to->header_count = from->header_count;
    if (to->name == NULL || to->when.data == NULL || (from->url != NULL && to->url == NULL))
        return DBK_ENOMEM;
    while (from->words != NULL && from->words[words] != NULL)
        words++;
    if (from->words != NULL)
        rc = copy_texts(arena, from->words, words, &to->words);
    return rc < 0 ? rc : copy_texts(arena, from->headers, 2 * from->header_count, &to->headers);
}

int dbk_alerts_copy(struct dbk_arena *arena, const struct dbk_view_definition *from,
                    struct dbk_view_definition *to)
{
    struct dbk_alert_definition *alerts =
        dbk_arena_alloc_zero(arena, from->alert_count + 1, sizeof(*alerts));
    int rc = alerts == NULL ? DBK_ENOMEM : DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < from->alert_count; i++)
        rc = copy_alert(arena, &from->alerts[i], &alerts[i]);
    to->alerts = alerts;
    return rc;
}
