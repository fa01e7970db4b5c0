/* SPDX-License-Identifier: Apache-2.0 */
#include "book/yaml.h"

#include <yaml.h>

#include "base/fault.h"

/* An open mapping or sequence. */
struct level {
    struct dbk_yaml_node *node;
    struct dbk_yaml_node *last;      /* its newest child */
    const struct dbk_yaml_node *key; /* a mapping's key that waits for its value */
};

struct builder {
    const char *file;
    struct dbk_arena *arena;
    struct dbk_diagnostics *diagnostics;
    struct level levels[DBK_YAML_DEPTH_MAX];
    size_t depth;
    size_t node_count;
    size_t document_count;
    struct dbk_yaml_node *root;
    bool lost; /* there is no use in reading on: the tree is dropped */
    bool done;
};

static struct dbk_fault fault_at(const struct builder *builder, const yaml_mark_t *mark)
{
    return (struct dbk_fault){.file = builder->file,
                              .line = (unsigned)mark->line + 1,
                              .column = (unsigned)mark->column + 1};
}

static int lose(struct builder *builder, const struct dbk_fault *fault, const char *what)
{
    builder->lost = true;
    return dbk_fault_add(builder->diagnostics, fault, "%s", what);
}

/* ---- Building ---- */

static int make(struct builder *builder, enum dbk_yaml_kind kind, const yaml_event_t *event,
                struct dbk_yaml_node **node_out)
{
    if (builder->node_count == DBK_YAML_NODES_MAX) {
        struct dbk_fault fault = fault_at(builder, &event->start_mark);
        fault.fix = "settings are short: what is long belongs into other files";
        return lose(builder, &fault, "the file holds more than 10000 values");
    }
    struct dbk_yaml_node *node = dbk_arena_alloc_zero(builder->arena, 1, sizeof(*node));
    if (node == NULL)
        return DBK_ENOMEM;
    builder->node_count++;
    node->kind = kind;
    node->line = (unsigned)event->start_mark.line + 1;
    node->column = (unsigned)event->start_mark.column + 1;
    *node_out = node;
    return DBK_OK;
}

static int take_key(struct builder *builder, struct level *level, struct dbk_yaml_node *node)
{
    struct dbk_fault fault = {
        .file = builder->file, .line = node->line, .column = node->column, .why = ""};
    level->key = node;
    if (node->kind == DBK_YAML_SCALAR) {
        const struct dbk_yaml_node *first = dbk_yaml_find(level->node, node->text.data);
        if (first == NULL)
            return DBK_OK;
        fault.why = "only one of the values could count";
        fault.fix = dbk_arena_format(&builder->diagnostics->arena,
                                     "keep one: the first is in line %u", first->key->line);
        if (fault.fix == NULL)
            return DBK_ENOMEM;
        return dbk_fault_add(builder->diagnostics, &fault, "`%s` stands twice", node->text.data);
    }
    if (node->kind == DBK_YAML_REFUSED)
        return DBK_OK;
    fault.fix = "write a text as the key";
    return lose(builder, &fault, "a key is a mapping or a list");
}

/* Puts a node where it stands: the root, a key, or the next child. */
static int place(struct builder *builder, struct dbk_yaml_node *node)
{
    if (builder->depth == 0) {
        builder->root = node;
        return DBK_OK;
    }
    struct level *level = &builder->levels[builder->depth - 1];
    if (level->node->kind == DBK_YAML_MAPPING) {
        if (level->key == NULL)
            return take_key(builder, level, node);
        node->key = level->key;
        level->key = NULL;
        bool again = node->key->kind != DBK_YAML_SCALAR ||
                     dbk_yaml_find(level->node, node->key->text.data) != NULL;
        if (again) /* Reported with its key. */
            return DBK_OK;
    }
    if (level->last == NULL)
        level->node->first = node;
    else
        level->last->next = node;
    level->last = node;
    return DBK_OK;
}

static int open_level(struct builder *builder, enum dbk_yaml_kind kind, const yaml_event_t *event)
{
    struct dbk_yaml_node *node = NULL;
    int rc = make(builder, kind, event, &node);
    if (rc < 0 || node == NULL)
        return rc;
    rc = place(builder, node);
    if (rc < 0 || builder->lost)
        return rc;
    if (builder->depth == DBK_YAML_DEPTH_MAX) {
        struct dbk_fault fault = fault_at(builder, &event->start_mark);
        fault.fix = "settings are flat";
        return lose(builder, &fault, "the file is nested deeper than 16 levels");
    }
    builder->levels[builder->depth++] = (struct level){.node = node};
    return DBK_OK;
}

/* Refuses an anchor or a tag; the node itself is good. */
static int check_marks(struct builder *builder, const yaml_event_t *event,
                       const yaml_char_t *anchor, const yaml_char_t *tag)
{
    struct dbk_fault fault = fault_at(builder, &event->start_mark);
    int rc = DBK_OK;
    if (anchor != NULL) {
        fault.why = "settings say each thing where it stands";
        fault.fix = "write the value out";
        rc = dbk_fault_add(builder->diagnostics, &fault, "anchors are not allowed: `&%s`",
                           (const char *)anchor);
    }
    if (tag != NULL && rc == DBK_OK) {
        fault.why = "every value's type is known already";
        fault.fix = "leave the tag out";
        rc = dbk_fault_add(builder->diagnostics, &fault, "tags are not allowed: `%s`",
                           (const char *)tag);
    }
    return rc;
}

static int take_scalar(struct builder *builder, const yaml_event_t *event)
{
    struct dbk_yaml_node *node = NULL;
    int rc = check_marks(builder, event, event->data.scalar.anchor, event->data.scalar.tag);
    if (rc == DBK_OK)
        rc = make(builder, DBK_YAML_SCALAR, event, &node);
    if (rc < 0 || node == NULL)
        return rc;
    node->plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    node->text = dbk_arena_copy(builder->arena,
                                dbk_slice(event->data.scalar.value, event->data.scalar.length));
    if (node->text.data == NULL)
        return DBK_ENOMEM;
    if (memchr(node->text.data, '\0', node->text.size) != NULL) { /* By "\0" in quotes. */
        struct dbk_fault fault = fault_at(builder, &event->start_mark);
        return lose(builder, &fault, "a text holds a NUL character");
    }
    return place(builder, node);
}

static int take_alias(struct builder *builder, const yaml_event_t *event)
{
    struct dbk_yaml_node *node = NULL;
    struct dbk_fault fault = fault_at(builder, &event->start_mark);
    fault.why = "settings say each thing where it stands";
    fault.fix = "write the value out";
    int rc = dbk_fault_add(builder->diagnostics, &fault, "aliases are not allowed: `*%s`",
                           (const char *)event->data.alias.anchor);
    if (rc == DBK_OK)
        rc = make(builder, DBK_YAML_REFUSED, event, &node);
    return rc < 0 || node == NULL ? rc : place(builder, node);
}

static int take_document(struct builder *builder, const yaml_event_t *event)
{
    if (builder->document_count++ == 0)
        return DBK_OK;
    struct dbk_fault fault = fault_at(builder, &event->start_mark);
    fault.why = "it would never be read";
    fault.fix = "a file is one document: leave `---` out";
    builder->done = true;
    return dbk_fault_add(builder->diagnostics, &fault, "a second document begins");
}

static int take(struct builder *builder, const yaml_event_t *event)
{
    int rc = DBK_OK;
    switch (event->type) {
    case YAML_DOCUMENT_START_EVENT:
        return take_document(builder, event);
    case YAML_ALIAS_EVENT:
        return take_alias(builder, event);
    case YAML_SCALAR_EVENT:
        return take_scalar(builder, event);
    case YAML_SEQUENCE_START_EVENT:
        rc = check_marks(builder, event, event->data.sequence_start.anchor,
                         event->data.sequence_start.tag);
        return rc < 0 ? rc : open_level(builder, DBK_YAML_SEQUENCE, event);
    case YAML_MAPPING_START_EVENT:
        rc = check_marks(builder, event, event->data.mapping_start.anchor,
                         event->data.mapping_start.tag);
        return rc < 0 ? rc : open_level(builder, DBK_YAML_MAPPING, event);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        builder->depth--;
        return DBK_OK;
    case YAML_STREAM_END_EVENT:
        builder->done = true;
        return DBK_OK;
    case YAML_NO_EVENT:
    case YAML_STREAM_START_EVENT:
    case YAML_DOCUMENT_END_EVENT:
        return DBK_OK;
    }
    return DBK_OK;
}

/* ---- Parsing ---- */

static int report_problem(struct builder *builder, const yaml_parser_t *parser)
{
    if (parser->error == YAML_MEMORY_ERROR)
        return DBK_ENOMEM;
    struct dbk_fault fault = fault_at(builder, &parser->problem_mark);
    const char *problem = parser->problem == NULL ? "this is no YAML" : parser->problem;
    builder->lost = true;
    if (parser->error == YAML_READER_ERROR) {
        fault.line = 0; /* The reader knows no line. */
        fault.column = 0;
    }
    if (parser->context == NULL)
        return dbk_fault_add(builder->diagnostics, &fault, "%s", problem);
    return dbk_fault_add(builder->diagnostics, &fault, "%s %s", problem, parser->context);
}

static int parse(struct builder *builder, struct dbk_slice text)
{
    yaml_parser_t parser;
    int rc = DBK_OK;
    if (!yaml_parser_initialize(&parser))
        return DBK_ENOMEM;
    yaml_parser_set_input_string(&parser, (const unsigned char *)text.data, text.size);
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    while (rc == DBK_OK && !builder->done && !builder->lost) {
        yaml_event_t event;
        if (!yaml_parser_parse(&parser, &event)) {
            rc = report_problem(builder, &parser);
            break;
        }
        rc = take(builder, &event);
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    return rc;
}

int dbk_yaml_parse(const char *file, struct dbk_slice text, struct dbk_arena *arena,
                   struct dbk_diagnostics *diagnostics, const struct dbk_yaml_node **root_out)
{
    struct builder builder = {.file = file, .arena = arena, .diagnostics = diagnostics};
    bool good = false;
    int rc = dbk_fault_check_text(diagnostics, file, text, &good);
    if (rc == DBK_OK && good)
        rc = parse(&builder, text);
    *root_out = builder.lost || rc < 0 ? NULL : builder.root;
    return rc;
}

const struct dbk_yaml_node *dbk_yaml_find(const struct dbk_yaml_node *mapping, const char *key)
{
    for (const struct dbk_yaml_node *node = mapping->first; node != NULL; node = node->next) {
        if (node->key != NULL && strcmp(node->key->text.data, key) == 0)
            return node;
    }
    return NULL;
}

bool dbk_yaml_is_null(const struct dbk_yaml_node *node)
{
    return node->kind == DBK_YAML_SCALAR && node->plain &&
           (node->text.size == 0 || strcmp(node->text.data, "~") == 0 ||
            strcmp(node->text.data, "null") == 0);
}

const char *dbk_yaml_kind_text(const struct dbk_yaml_node *node)
{
    if (node->kind == DBK_YAML_MAPPING)
        return "a mapping";
    if (node->kind == DBK_YAML_SEQUENCE)
        return "a list";
    return dbk_yaml_is_null(node) ? "nothing" : "a text";
}
