/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `$ref` within one version's schema. A rule that leads back to itself without going into the data
 * would never end, and is a fault; one that goes into it ends with the data.
 */
#include "schema/rule.h"

#define DEFINITIONS_MAX 64
/* Schemas that apply to one value one within the other: what recursion over them takes of the stack
   is bounded by it. */
#define CHAIN_MAX 200

/* ---- Resolving ---- */

static int hex_digit(char byte)
{
    if (byte >= '0' && byte <= '9')
        return byte - '0';
    if (byte >= 'a' && byte <= 'f')
        return byte - 'a' + 10;
    return byte >= 'A' && byte <= 'F' ? byte - 'A' + 10 : -1;
}

/* Takes "/a~1b%25" apart, segment by segment; false: malformed. The text is worked on in place. */
static bool take_segment(struct dbk_slice *pointer, struct dbk_arena *arena,
                         struct dbk_slice *segment_out, int *rc)
{
    struct dbk_buf text;
    bool good = true;
    size_t at = 1; /* behind the slash */
    dbk_buf_init(&text, 1 << 20);
    for (; at < pointer->size && pointer->data[at] != '/' && good; at++) {
        char byte = pointer->data[at];
        if (byte == '%') {
            int high = at + 2 < pointer->size ? hex_digit(pointer->data[at + 1]) : -1;
            int low = at + 2 < pointer->size ? hex_digit(pointer->data[at + 2]) : -1;
            good = high >= 0 && low >= 0;
            byte = (char)(high * 16 + low);
            at += 2;
        }
        dbk_buf_append_char(&text, byte);
    }
    *pointer = dbk_slice(pointer->data + at, good ? pointer->size - at : 0);
    /* What the escapes of the URI stood for may be the escapes of the pointer. */
    size_t size = 0;
    for (size_t i = 0; i < text.size && good; i++, size++) {
        char byte = text.data[i];
        if (byte == '~') {
            good = ++i < text.size && (text.data[i] == '0' || text.data[i] == '1');
            byte = good && text.data[i] == '1' ? '/' : '~';
        }
        text.data[size] = byte;
    }
    *segment_out = dbk_arena_copy(arena, dbk_slice(text.data, size));
    if (text.rc < 0 || segment_out->data == NULL)
        *rc = DBK_ENOMEM;
    dbk_buf_release(&text);
    return good;
}

static const struct dbk_json_node *child_of(const struct dbk_json_node *node,
                                            struct dbk_slice segment)
{
    uint64_t index = 0;
    if (node->kind != DBK_JSON_ARRAY)
        return dbk_json_member_slice(node, segment);
    if (!dbk_slice_to_u64(segment, &index) || index >= node->count)
        return NULL;
    const struct dbk_json_node *child = dbk_json_first(node);
    for (; index > 0; index--)
        child = dbk_json_sibling(child);
    return child;
}

static const struct dbk_json_node *find_node(struct dbk_schema_reading *reading,
                                             struct dbk_slice pointer, int *rc)
{
    const struct dbk_json_node *node = reading->schema->source;
    if (pointer.size > 0 && pointer.data[0] != '/')
        return NULL;
    while (pointer.size > 0 && node != NULL && *rc == DBK_OK) {
        struct dbk_slice segment;
        if (!take_segment(&pointer, &reading->schemas->arena, &segment, rc))
            return NULL;
        if (*rc == DBK_OK)
            node = child_of(node, segment);
    }
    return node;
}

/* A did-you-mean among the definitions. */
static int suggest(struct dbk_schema_reading *reading, struct dbk_slice reference,
                   struct dbk_fault *fault)
{
    const char *names[DEFINITIONS_MAX];
    size_t count = 0;
    const struct dbk_json_node *defs = dbk_json_member(reading->schema->source, "$defs");
    const struct dbk_json_node *member = defs == NULL ? NULL : dbk_json_first(defs);
    for (uint32_t i = 0; defs != NULL && i < defs->count && count < DEFINITIONS_MAX; i++) {
        names[count] =
            dbk_arena_format(&reading->faults->arena, "#/$defs/%.*s", DBK_SLICE_ARGS(member->key));
        if (names[count++] == NULL)
            return DBK_ENOMEM;
        member = dbk_json_sibling(member);
    }
    const char *name = dbk_arena_copy(&reading->faults->arena, reference).data;
    return name == NULL
               ? DBK_ENOMEM
               : dbk_fault_suggest(reading->faults, name, names, count,
                                   "name a schema of this version: `#/$defs/<name>`", &fault->fix);
}

static int join(struct dbk_schema_reading *reading, struct dbk_rule *rule)
{
    struct dbk_slice text = rule->reference->text;
    struct dbk_fault fault = dbk_schema_fault_at(reading, rule->reference);
    int rc = DBK_OK;
    fault.fix = "put it under `$defs` and name it `#/$defs/<name>`";
    if (text.size == 0 || text.data[0] != '#')
        return dbk_fault_add(reading->faults, &fault,
                             "`$ref` names a schema elsewhere: only those of this version can be");
    const struct dbk_json_node *node =
        find_node(reading, dbk_slice(text.data + 1, text.size - 1), &rc);
    if (rc < 0)
        return rc;
    if (node != NULL)
        rule->referred = reading->schema->rules[node - reading->schema->source];
    if (rule->referred != NULL)
        return DBK_OK;
    rc = suggest(reading, text, &fault);
    return rc < 0 ? rc
                  : dbk_fault_add(reading->faults, &fault, "`%.*s` is no schema of this version",
                                  DBK_SLICE_ARGS(text));
}

/* ---- Loops ---- */

static int each_of(const struct dbk_rule_list *list, dbk_rule_fn each, void *context)
{
    int rc = DBK_OK;
    for (size_t i = 0; i < list->count && rc >= 0; i++)
        rc = each(context, list->items[i]);
    return rc;
}

int dbk_rule_each_in_place(const struct dbk_rule *rule, dbk_rule_fn each, void *context)
{
    const struct dbk_rule *const single[] = {rule->referred, rule->not_rule, rule->if_rule,
                                             rule->then_rule, rule->else_rule};
    int rc = each_of(&rule->all_of, each, context);
    if (rc >= 0)
        rc = each_of(&rule->any_of, each, context);
    if (rc >= 0)
        rc = each_of(&rule->one_of, each, context);
    for (size_t i = 0; i < sizeof(single) / sizeof(single[0]) && rc >= 0; i++) {
        if (single[i] != NULL)
            rc = each(context, single[i]);
    }
    for (size_t i = 0; i < rule->dependency_count && rc >= 0; i++) {
        if (rule->dependencies[i].rule != NULL)
            rc = each(context, rule->dependencies[i].rule);
    }
    return rc;
}

enum mark { MARK_NEW, MARK_OPEN, MARK_DONE };

struct search {
    struct dbk_schema_reading *reading;
    const struct dbk_rule *loop; /* a rule that leads back to itself */
    const struct dbk_rule *deep; /* one that stands too deep */
    unsigned depth;
    unsigned height; /* the greatest of the rules met below the one at hand */
};

static int walk(void *context, const struct dbk_rule *rule)
{
    struct search *search = context;
    struct dbk_schema *schema = search->reading->schema;
    struct dbk_rule *own = schema->rules[rule->source - schema->source];
    if (own->mark == MARK_OPEN)
        search->loop = rule;
    if (own->mark == MARK_NEW && search->loop == NULL && search->deep == NULL &&
        search->depth < CHAIN_MAX) {
        unsigned height = search->height;
        own->mark = MARK_OPEN;
        search->height = 0;
        search->depth++;
        (void)dbk_rule_each_in_place(rule, walk, search);
        search->depth--;
        own->mark = MARK_DONE;
        own->height = search->height + 1;
        search->height = height;
    }
    if (search->depth == CHAIN_MAX || own->height > CHAIN_MAX)
        search->deep = rule;
    if (own->height > search->height)
        search->height = own->height;
    return DBK_OK;
}

static int report(const struct search *search)
{
    const struct dbk_rule *rule = search->loop != NULL ? search->loop : search->deep;
    struct dbk_fault fault = dbk_schema_fault_at(search->reading, rule->source);
    if (search->loop == NULL) {
        fault.fix = "let schemas name each other less";
        return dbk_fault_add(search->reading->faults, &fault,
                             "more than %d schemas apply to one value, each by the next",
                             CHAIN_MAX);
    }
    fault.why = "checking a value by it would never end";
    fault.fix = "let the schema go into a field or an element before it names itself";
    return dbk_fault_add(search->reading->faults, &fault,
                         "the schema at `#%s` leads back to itself", rule->pointer);
}

int dbk_schema_join(struct dbk_schema_reading *reading)
{
    struct dbk_schema *schema = reading->schema;
    struct search search = {.reading = reading};
    size_t before = reading->faults->error_count;
    int rc = DBK_OK;
    for (uint32_t i = 0; i < schema->source->next && rc == DBK_OK; i++) {
        if (schema->rules[i] != NULL && schema->rules[i]->reference != NULL)
            rc = join(reading, schema->rules[i]);
    }
    if (rc < 0 || reading->faults->error_count > before)
        return rc;
    for (uint32_t i = 0; i < schema->source->next && search.loop == NULL && search.deep == NULL;
         i++) {
        if (schema->rules[i] != NULL)
            (void)walk(&search, schema->rules[i]);
    }
    return search.loop == NULL && search.deep == NULL ? DBK_OK : report(&search);
}
