/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fields by their paths: which are personal, which names the person, which go into tags.
 *
 * Personal fields are found by walking the rules from the root, through `properties`, `items` and
 * whatever applies in place; a mark that stands where no such walk gets to would be overlooked when
 * data is sealed, and is a fault.
 */
#include <stdlib.h>

#include "schema/rule.h"

#define PATHS_MAX 1000
#define STEPS_MAX 64

/* ---- Paths ---- */

/* Takes the [] off the end of a name: how many there are. */
static size_t take_elements(struct dbk_slice *name)
{
    size_t count = 0;
    for (; name->size > 2 && memcmp(name->data + name->size - 2, "[]", 2) == 0; count++)
        name->size -= 2;
    return count;
}

bool dbk_schema_parse_path(struct dbk_arena *arena, struct dbk_slice text, bool elements,
                           struct dbk_schema_path *path_out, int *rc)
{
    size_t count = 1;
    for (size_t i = 0; i < text.size; i++)
        count += text.data[i] == '.' || text.data[i] == '[';
    if (count > STEPS_MAX)
        return false;
    struct dbk_schema_step *steps = dbk_arena_alloc_zero(arena, count, sizeof(*steps));
    if (steps == NULL) {
        *rc = DBK_ENOMEM;
        return false;
    }
    count = 0;
    for (size_t begin = 0; begin <= text.size;) {
        const char *dot =
            begin == text.size ? NULL : memchr(text.data + begin, '.', text.size - begin);
        size_t end = dot == NULL ? text.size : (size_t)(dot - text.data);
        struct dbk_slice name = dbk_slice(text.data + begin, end - begin);
        size_t levels = elements ? take_elements(&name) : 0;
        for (size_t i = 0; i < name.size; i++) {
            if (strchr("[]{}", name.data[i]) != NULL)
                return false;
        }
        if (name.size == 0)
            return false;
        steps[count++].key = name;
        count += levels; /* whose keys are none */
        begin = end + 1;
    }
    *path_out = (struct dbk_schema_path){.text = text, .steps = steps, .count = count};
    return true;
}

const struct dbk_json_node *dbk_schema_value(const struct dbk_schema_path *path,
                                             const struct dbk_json_node *data)
{
    for (size_t i = 0; i < path->count && data != NULL; i++)
        data = dbk_json_member_slice(data, path->steps[i].key);
    return data;
}

/* ---- The walk ---- */

/* Visits of a walk: schemas that name each other in many ways have very many paths. */
#define VISITS_MAX 100000
/* Rules within rules of a walk: also what bounds the stack. */
#define RULES_MAX 2000

struct walk {
    struct dbk_schema_reading *reading;
    struct dbk_schema_step steps[STEPS_MAX];
    size_t depth;
    struct dbk_schema_path *found; /* PATHS_MAX */
    size_t count;
    int rc;
    size_t visits;
    size_t rules; /* that the walk is within */
};

/* Marks of rules that the walk is within. */
enum { MARK_NONE, MARK_WITHIN = 100, MARK_AGAIN };

static struct dbk_rule *own_rule(struct walk *walk, const struct dbk_rule *rule)
{
    struct dbk_schema *schema = walk->reading->schema;
    return schema->rules[rule->source - schema->source];
}

/* "lines[].note"; false: a name in it cannot be told from a path's own signs. */
static bool write_path(struct walk *walk, struct dbk_schema_path *path_out)
{
    struct dbk_buf text;
    bool good = true;
    dbk_buf_init(&text, 1 << 16);
    for (size_t i = 0; i < walk->depth; i++) {
        struct dbk_slice key = walk->steps[i].key;
        if (key.data == NULL) {
            dbk_buf_append_text(&text, "[]");
            continue;
        }
        good = good && key.size > 0;
        for (size_t j = 0; j < key.size; j++)
            good = good && key.data[j] != '\0' && strchr(".[]{}", key.data[j]) == NULL;
        if (i > 0)
            dbk_buf_append_char(&text, '.');
        dbk_buf_append(&text, key);
    }
    struct dbk_arena *arena = &walk->reading->schemas->arena;
    struct dbk_schema_step *steps = dbk_arena_alloc_zero(arena, walk->depth, sizeof(*steps));
    path_out->text = dbk_arena_copy(arena, dbk_buf_slice(&text));
    if (text.rc < 0 || steps == NULL || path_out->text.data == NULL) {
        walk->rc = DBK_ENOMEM;
    } else {
        memcpy(steps, walk->steps, walk->depth * sizeof(*steps));
        path_out->steps = steps;
        path_out->count = walk->depth;
    }
    dbk_buf_release(&text);
    return good;
}

static void report(struct walk *walk, const struct dbk_json_node *node, const char *what,
                   const char *fix)
{
    struct dbk_fault fault = dbk_schema_fault_at_key(walk->reading, node);
    fault.fix = fix;
    if (dbk_fault_add(walk->reading->faults, &fault, "%s", what) < 0)
        walk->rc = DBK_ENOMEM;
}

static void add_personal(struct walk *walk, const struct dbk_rule *rule)
{
    struct dbk_schema_path path;
    own_rule(walk, rule)->personal_node = NULL; /* found */
    if (walk->depth == 0) {
        report(walk, dbk_json_member(rule->source, "x-personal"),
               "`x-personal` makes the whole of the data personal", "mark the fields that are");
        return;
    }
    bool good = write_path(walk, &path);
    if (walk->rc < 0)
        return;
    for (size_t i = 0; i < walk->count; i++) {
        if (dbk_slice_equal(walk->found[i].text, path.text))
            return;
    }
    if (!good)
        report(walk, dbk_json_member(rule->source, "x-personal"),
               "a personal field's name is empty or holds a dot or a bracket", "rename it");
    else if (walk->count == PATHS_MAX)
        walk->visits = VISITS_MAX;
    else
        walk->found[walk->count++] = path;
}

static int visit(void *context, const struct dbk_rule *rule);

static void visit_below(struct walk *walk, const struct dbk_rule *rule, struct dbk_slice key)
{
    if (walk->depth == STEPS_MAX)
        return; /* What lies below is not found, and so reported. */
    walk->steps[walk->depth++].key = key;
    (void)visit(walk, rule);
    walk->depth--;
}

static void visit_fields(struct walk *walk, const struct dbk_rule *rule)
{
    for (size_t i = 0; i < rule->property_count; i++)
        visit_below(walk, rule->properties[i].rule, rule->properties[i].name);
    if (rule->items != NULL && rule->prefix.count == 0)
        visit_below(walk, rule->items, dbk_slice(NULL, 0));
    (void)dbk_rule_each_in_place(rule, visit, walk);
}

static int visit(void *context, const struct dbk_rule *rule)
{
    struct walk *walk = context;
    struct dbk_rule *own = own_rule(walk, rule);
    if (walk->rules == RULES_MAX)
        walk->visits = VISITS_MAX;
    if (walk->rc < 0 || ++walk->visits > VISITS_MAX)
        return DBK_OK;
    if (own->mark >= MARK_WITHIN) {
        own->mark = MARK_AGAIN;
        return DBK_OK;
    }
    if (rule->personal) {
        add_personal(walk, rule);
        return DBK_OK; /* All below goes with it. */
    }
    unsigned before = own->mark;
    size_t count = walk->count;
    own->mark = MARK_WITHIN;
    walk->rules++;
    visit_fields(walk, rule);
    walk->rules--;
    if (own->mark == MARK_AGAIN && walk->count > count) {
        struct dbk_fault fault = dbk_schema_fault_at(walk->reading, rule->source);
        fault.why = "their paths have no end";
        fault.fix = "mark the field that holds them as personal, or give it a depth";
        if (dbk_fault_add(walk->reading->faults, &fault,
                          "a schema that holds itself has personal fields") < 0)
            walk->rc = DBK_ENOMEM;
    }
    own->mark = before;
    return DBK_OK;
}

static int compare_paths(const void *a, const void *b)
{
    const struct dbk_schema_path *left = a;
    const struct dbk_schema_path *right = b;
    return dbk_slice_compare(left->text, right->text);
}

static bool is_same_step(struct dbk_slice a, struct dbk_slice b)
{
    if (a.data == NULL || b.data == NULL)
        return a.data == b.data;
    return dbk_slice_equal(a, b);
}

/* True when a is b or lies within it. */
static bool is_within(const struct dbk_schema_path *a, const struct dbk_schema_path *b)
{
    if (a->count < b->count)
        return false;
    for (size_t i = 0; i < b->count; i++) {
        if (!is_same_step(a->steps[i].key, b->steps[i].key))
            return false;
    }
    return true;
}

/* Sorts them, and leaves out what lies within another. */
static void keep_outermost(struct walk *walk)
{
    size_t kept = 0;
    if (walk->count > 1)
        qsort(walk->found, walk->count, sizeof(*walk->found), compare_paths);
    for (size_t i = 0; i < walk->count; i++) {
        bool within = false;
        for (size_t j = 0; j < walk->count && !within; j++)
            within = i != j && is_within(&walk->found[i], &walk->found[j]);
        if (!within)
            walk->found[kept++] = walk->found[i];
    }
    walk->count = kept;
}

/* Marks that the walk has not met. */
static int report_lost(struct walk *walk)
{
    const struct dbk_schema *schema = walk->reading->schema;
    uint32_t end = 0; /* of the personal field that surrounds what comes */
    for (uint32_t i = 0; i < schema->source->next; i++) {
        const struct dbk_rule *rule = schema->rules[i];
        if (rule == NULL || !rule->personal)
            continue;
        bool within = i < end;
        if (!within)
            end = i + rule->source->next;
        if (rule->personal_node == NULL)
            continue;
        struct dbk_fault fault = dbk_schema_fault_at_key(walk->reading, rule->personal_node);
        fault.why = within ? NULL : "it would be stored readable";
        fault.fix =
            within ? "leave it out" : "mark a field under `properties` (or `items`) that holds it";
        if (dbk_fault_add(walk->reading->faults, &fault, "%s",
                          within ? "`x-personal` stands within a personal field"
                                 : "no path leads to this personal field") < 0)
            return DBK_ENOMEM;
    }
    return DBK_OK;
}

static bool has_personal(const struct dbk_schema *schema)
{
    for (uint32_t i = 0; i < schema->source->next; i++) {
        if (schema->rules[i] != NULL && schema->rules[i]->personal)
            return true;
    }
    return false;
}

static int find_personal(struct dbk_schema_reading *reading)
{
    struct dbk_schema *schema = reading->schema;
    struct walk walk = {.reading = reading};
    if (!has_personal(schema))
        return DBK_OK;
    walk.found = dbk_arena_alloc_zero(&reading->schemas->arena, PATHS_MAX, sizeof(*walk.found));
    if (walk.found == NULL)
        return DBK_ENOMEM;
    (void)visit(&walk, schema->root);
    if (walk.visits > VISITS_MAX) {
        struct dbk_fault fault = dbk_schema_fault_at(reading, schema->source);
        fault.fix = "mark what holds them, and let fewer schemas name each other";
        return dbk_fault_add(reading->faults, &fault,
                             "the schema has too many personal fields, or ways to them");
    }
    if (walk.rc < 0)
        return walk.rc;
    keep_outermost(&walk);
    schema->personal = walk.found;
    schema->personal_count = walk.count;
    return report_lost(&walk);
}

/* ---- Fields that `x-subject` and `x-tags` name ---- */

struct lookup {
    struct dbk_slice name;
    const struct dbk_rule *found;
    size_t visits;
    bool open;          /* there may be other members than those that are named */
    const char **names; /* all that there are, for a did-you-mean; NAMES_MAX */
    size_t name_count;
    struct dbk_arena *arena;
};
#define NAMES_MAX 256

static int look_up(void *context, const struct dbk_rule *rule)
{
    struct lookup *lookup = context;
    const struct dbk_property *property = dbk_rule_property(rule, lookup->name);
    if (lookup->found != NULL || ++lookup->visits > VISITS_MAX)
        return DBK_OK;
    if (property != NULL) {
        lookup->found = property->rule;
        return DBK_OK;
    }
    lookup->open = lookup->open || rule->pattern_count > 0 ||
                   (rule->additional != NULL && !rule->additional->never);
    for (size_t i = 0; i < rule->property_count && lookup->name_count < NAMES_MAX; i++) {
        const char *name = dbk_arena_copy(lookup->arena, rule->properties[i].name).data;
        if (name == NULL)
            return DBK_ENOMEM;
        lookup->names[lookup->name_count++] = name;
    }
    return dbk_rule_each_in_place(rule, look_up, context);
}

int dbk_schema_may_have(const struct dbk_schema *schema, const struct dbk_slice *names,
                        size_t count, struct dbk_arena *arena, size_t *missing_out,
                        const char *const **known_out, size_t *known_count_out)
{
    const struct dbk_rule *rule = schema->root;
    for (size_t i = 0; i < count; i++) {
        struct lookup lookup = {.name = names[i], .arena = arena};
        lookup.names = dbk_arena_alloc_zero(arena, NAMES_MAX, sizeof(*lookup.names));
        int rc = lookup.names == NULL ? DBK_ENOMEM : look_up(&lookup, rule);
        if (rc < 0)
            return rc;
        if (lookup.found == NULL) {
            *missing_out = i;
            *known_out = lookup.names;
            *known_count_out = lookup.name_count;
            return lookup.open || lookup.name_count == 0;
        }
        rule = lookup.found;
    }
    return 1;
}

static unsigned types_of(const struct dbk_rule *rule)
{
    unsigned types = rule->types;
    for (rule = rule->referred; rule != NULL; rule = rule->referred)
        types &= rule->types;
    return types;
}

/* Finds a field's declaration; *good_out is false when that is a fault. */
static int check_field(struct dbk_schema_reading *reading, const struct dbk_json_node *node,
                       const struct dbk_schema_path *path, unsigned allowed, bool *good_out)
{
    const char *names[NAMES_MAX];
    struct dbk_fault fault = dbk_schema_fault_at(reading, node);
    const struct dbk_rule *rule = reading->schema->root;
    *good_out = false;
    for (size_t i = 0; i < path->count; i++) {
        struct lookup lookup = {
            .name = path->steps[i].key, .names = names, .arena = &reading->faults->arena};
        int rc = look_up(&lookup, rule);
        const char *name = dbk_arena_copy(&reading->faults->arena, lookup.name).data;
        if (rc == DBK_OK && lookup.found == NULL)
            rc = name == NULL ? DBK_ENOMEM
                              : dbk_fault_suggest(reading->faults, name, names, lookup.name_count,
                                                  "declare it under `properties`", &fault.fix);
        if (rc < 0 || lookup.found == NULL)
            return rc < 0 ? rc
                          : dbk_fault_add(reading->faults, &fault,
                                          "`%.*s` is no field of this version",
                                          DBK_SLICE_ARGS(path->text));
        rule = lookup.found;
    }
    for (size_t i = 0; i < reading->schema->personal_count; i++) {
        const struct dbk_schema_path *personal = &reading->schema->personal[i];
        if (!is_within(path, personal) && !is_within(personal, path))
            continue;
        fault.why = "it stays readable when the person is forgotten";
        fault.fix = "name a field that is not";
        return dbk_fault_add(reading->faults, &fault, "`%.*s` is personal",
                             DBK_SLICE_ARGS(path->text));
    }
    if ((types_of(rule) & ~allowed) != 0) {
        fault.fix = "give the field such a `type`";
        return dbk_fault_add(
            reading->faults, &fault, "`%.*s` may be no %s", DBK_SLICE_ARGS(path->text),
            allowed == (DBK_TYPE_STRING | DBK_TYPE_INTEGER) ? "text and no whole number"
                                                            : "text, number or boolean");
    }
    *good_out = true;
    return DBK_OK;
}

static int refuse_path(struct dbk_schema_reading *reading, const struct dbk_json_node *node,
                       struct dbk_slice text)
{
    struct dbk_fault fault = dbk_schema_fault_at(reading, node);
    fault.fix = "write a field's name, or `outer.inner`";
    return dbk_fault_add(reading->faults, &fault, "\"%.*s\" names no field", DBK_SLICE_ARGS(text));
}

static int find_subject(struct dbk_schema_reading *reading)
{
    struct dbk_schema *schema = reading->schema;
    struct dbk_arena *arena = &reading->schemas->arena;
    const struct dbk_json_node *node = schema->subject_node;
    struct dbk_schema_path *path = dbk_arena_alloc_zero(arena, 1, sizeof(*path));
    bool good = false;
    int rc = path == NULL ? DBK_ENOMEM : DBK_OK;
    if (rc < 0)
        return rc;
    if (node == NULL && schema->personal_count > 0) {
        struct dbk_fault fault = dbk_schema_fault_at(reading, schema->source);
        fault.why = "nobody could be forgotten";
        fault.fix = "name the person's field: `\"x-subject\": \"customer_id\"`";
        return dbk_fault_add(reading->faults, &fault,
                             "there are personal fields, and `x-subject` is missing");
    }
    if (node == NULL)
        return DBK_OK;
    if (!dbk_schema_parse_path(arena, node->text, false, path, &rc))
        return rc < 0 ? rc : refuse_path(reading, node, node->text);
    rc = check_field(reading, node, path, DBK_TYPE_STRING | DBK_TYPE_INTEGER, &good);
    if (good)
        schema->subject = path;
    return rc;
}

/* ---- Tags ---- */

static int refuse_tag(struct dbk_schema_reading *reading, const struct dbk_json_node *node,
                      const char *what)
{
    struct dbk_fault fault = dbk_schema_fault_at(reading, node);
    fault.fix = "write a text with fields in braces: \"customer:{customer_id}\"";
    return dbk_fault_add(reading->faults, &fault, "%s", what);
}

static int read_template(struct dbk_schema_reading *reading, const struct dbk_json_node *node,
                         struct dbk_tag_template *template)
{
    struct dbk_arena *arena = &reading->schemas->arena;
    if (node->kind != DBK_JSON_STRING || node->text.size == 0)
        return refuse_tag(reading, node, "a tag is no text, or an empty one");
    if (node->text.data[0] == '$')
        return refuse_tag(reading, node, "tags that begin with `$` are the book's own");
    struct dbk_slice rest = node->text;
    struct dbk_tag_part *parts = dbk_arena_alloc_zero(arena, rest.size, sizeof(*parts));
    if (parts == NULL)
        return DBK_ENOMEM;
    template->source = rest;
    template->parts = parts;
    while (rest.size > 0) {
        struct dbk_tag_part *part = &parts[template->count];
        bool field = rest.data[0] == '{';
        const char *end = memchr(rest.data, field ? '}' : '{', rest.size);
        const char *stray = field ? NULL : memchr(rest.data, '}', rest.size);
        if ((field && end == NULL) || (stray != NULL && (end == NULL || stray < end)))
            return refuse_tag(reading, node, "a brace of a tag has no partner");
        size_t size = end == NULL ? rest.size : (size_t)(end - rest.data) + field;
        part->text = dbk_slice(rest.data, size);
        rest = dbk_slice(rest.data + size, rest.size - size);
        template->count++;
        if (!field)
            continue;
        int rc = DBK_OK;
        bool good = false;
        struct dbk_slice name = dbk_slice(part->text.data + 1, size - 2);
        if (!dbk_schema_parse_path(arena, name, false, &part->field, &rc))
            return rc < 0 ? rc : refuse_path(reading, node, name);
        rc = check_field(reading, node, &part->field,
                         DBK_TYPE_ANY & ~(DBK_TYPE_ARRAY | DBK_TYPE_OBJECT), &good);
        if (rc < 0)
            return rc;
    }
    return DBK_OK;
}

static int find_tags(struct dbk_schema_reading *reading)
{
    struct dbk_schema *schema = reading->schema;
    const struct dbk_json_node *list = schema->tags_node;
    if (list == NULL)
        return DBK_OK;
    struct dbk_tag_template *tags =
        dbk_arena_alloc_zero(&reading->schemas->arena, list->count + 1, sizeof(*tags));
    if (tags == NULL)
        return DBK_ENOMEM;
    const struct dbk_json_node *item = dbk_json_first(list);
    int rc = DBK_OK;
    for (uint32_t i = 0; i < list->count && rc == DBK_OK; i++) {
        rc = read_template(reading, item, &tags[i]);
        item = dbk_json_sibling(item);
    }
    schema->tags = tags;
    schema->tag_count = list->count;
    return rc;
}

int dbk_schema_find_paths(struct dbk_schema_reading *reading)
{
    int rc = find_personal(reading);
    if (rc == DBK_OK)
        rc = find_subject(reading);
    return rc == DBK_OK ? find_tags(reading) : rc;
}
