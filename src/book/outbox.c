/* SPDX-License-Identifier: Apache-2.0 */
/* The outbox of a service. */
#include "book/polling.h"

enum key {
    KEY_TABLE,
    KEY_ID,
    KEY_STREAM,
    KEY_CATEGORY,
    KEY_KEY,
    KEY_TYPE,
    KEY_DATA,
    KEY_META,
    KEY_OCCURRED,
    KEY_AFTER,
    KEY_MARK,
    KEY_EVERY,
    KEY_COUNT
};
#define COLUMN "write the column's name"
static const struct dbk_setting keys[KEY_COUNT] = {
    [KEY_TABLE] = {"table", DBK_YAML_SCALAR, true, "it holds the events to be",
                   "write the table's name: `table: outbox`"},
    [KEY_ID] = {"id", DBK_YAML_SCALAR, false, NULL, COLUMN},
    [KEY_STREAM] = {"stream", DBK_YAML_SCALAR, false, NULL, COLUMN},
    [KEY_CATEGORY] = {"category", DBK_YAML_SCALAR, false, NULL, COLUMN},
    [KEY_KEY] = {"key", DBK_YAML_SCALAR, false, NULL, COLUMN},
    [KEY_TYPE] = {"type", DBK_YAML_SCALAR, false, NULL, COLUMN},
    [KEY_DATA] = {"data", DBK_YAML_SCALAR, false, NULL, COLUMN},
    [KEY_META] = {"meta", DBK_YAML_SCALAR, false, NULL, COLUMN},
    [KEY_OCCURRED] = {"occurred", DBK_YAML_SCALAR, false, NULL, COLUMN},
    [KEY_AFTER] = {"after", DBK_YAML_SCALAR, false, NULL, "write `after: delete` or `after: mark`"},
    [KEY_MARK] = {"mark", DBK_YAML_SCALAR, false, NULL, "write a column: `mark: sent_at`"},
    [KEY_EVERY] = {"every", DBK_YAML_SCALAR, false, NULL, "write a duration: `every: 100 ms`"},
};

static const char *text_of(const struct dbk_yaml_node *node, const char *otherwise)
{
    return node == NULL ? otherwise : node->text.data;
}

static int add(struct dbk_book_loader *loader, const char *file, const struct dbk_yaml_node *node,
               const char *fix, const char *what)
{
    struct dbk_fault fault = dbk_settings_fault(file, node);
    fault.fix = fix;
    return dbk_fault_add(loader->faults, &fault, "%s", what);
}

static int check(struct dbk_book_loader *loader, const char *file,
                 const struct dbk_yaml_node *const nodes[KEY_COUNT])
{
    const struct dbk_yaml_node *after = nodes[KEY_AFTER];
    const struct dbk_yaml_node *part =
        nodes[KEY_CATEGORY] != NULL ? nodes[KEY_CATEGORY] : nodes[KEY_KEY];
    bool marks = after != NULL && strcmp(after->text.data, "mark") == 0;
    if (after != NULL && !marks && strcmp(after->text.data, "delete") != 0)
        return add(loader, file, after, keys[KEY_AFTER].fix, "`after` is `delete` or `mark`");
    if (marks && nodes[KEY_MARK] == NULL)
        return add(loader, file, after, keys[KEY_MARK].fix, "`after: mark` stands without `mark`");
    if (!marks && nodes[KEY_MARK] != NULL)
        return add(loader, file, nodes[KEY_MARK], "write `after: mark`, or leave it out",
                   "`mark` stands without `after: mark`");
    if (part != NULL && (nodes[KEY_CATEGORY] == NULL || nodes[KEY_KEY] == NULL))
        return add(loader, file, part, "name the columns of both: the stream is <category>-<key>",
                   "`category` and `key` stand together");
    if (part != NULL && nodes[KEY_STREAM] != NULL)
        return add(loader, file, part, "name `stream`, or `category` and `key`",
                   "the stream is named twice");
    return DBK_OK;
}

int dbk_book_take_outbox(struct dbk_book_loader *loader, const char *file,
                         const struct dbk_yaml_node *mapping, struct dbk_capture_outbox *outbox_out)
{
    const struct dbk_yaml_node *nodes[KEY_COUNT] = {NULL};
    int rc = dbk_settings_read(loader, file, mapping, keys, KEY_COUNT, nodes);
    if (rc == DBK_OK)
        rc = check(loader, file, nodes);
    *outbox_out = (struct dbk_capture_outbox){.every_us = 100000};
    if (rc < 0 || nodes[KEY_TABLE] == NULL)
        return rc;
    bool parts = nodes[KEY_CATEGORY] != NULL;
    outbox_out->table = nodes[KEY_TABLE]->text.data;
    outbox_out->line = nodes[KEY_TABLE]->line;
    outbox_out->column = nodes[KEY_TABLE]->column;
    outbox_out->id = text_of(nodes[KEY_ID], "id");
    outbox_out->stream = text_of(nodes[KEY_STREAM], parts ? NULL : "stream");
    outbox_out->category = text_of(nodes[KEY_CATEGORY], NULL);
    outbox_out->key = text_of(nodes[KEY_KEY], NULL);
    outbox_out->type = text_of(nodes[KEY_TYPE], "type");
    outbox_out->data = text_of(nodes[KEY_DATA], "data");
    outbox_out->meta = text_of(nodes[KEY_META], NULL);
    outbox_out->occurred = text_of(nodes[KEY_OCCURRED], NULL);
    outbox_out->mark = text_of(nodes[KEY_MARK], NULL);
    return dbk_book_take_duration(loader, file, nodes[KEY_EVERY], &outbox_out->every_us);
}
