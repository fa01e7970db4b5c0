/* SPDX-License-Identifier: Apache-2.0 */
/* A version's `upcast`: how the version before becomes it, as steps. */
#include "schema/rule.h"
#include "schema/upcast.h"

static const struct operation {
    const char *name;
    enum dbk_upcast_kind kind;
    const char *with; /* the other member that it needs; NULL: none */
} operations[] = {
    {"add", DBK_UPCAST_ADD, "value"},
    {"rename", DBK_UPCAST_RENAME, "to"},
    {"remove", DBK_UPCAST_REMOVE, NULL},
    {"convert", DBK_UPCAST_CONVERT, "to"},
};
#define OPERATION_COUNT (sizeof(operations) / sizeof(operations[0]))

#define TYPE_COUNT 4

static int refuse(struct dbk_schema_reading *reading, const struct dbk_json_node *node,
                  const char *fix, const char *what)
{
    struct dbk_fault fault = dbk_schema_fault_at(reading, node);
    fault.fix = fix;
    return dbk_fault_add(reading->faults, &fault, "%s", what);
}

static int refuse_name(struct dbk_schema_reading *reading, const struct dbk_fault *place,
                       struct dbk_slice text, const char *const *names, size_t count,
                       const char *fallback, const char *what)
{
    struct dbk_fault fault = *place;
    const char *name = dbk_arena_copy(&reading->faults->arena, text).data;
    if (name == NULL ||
        dbk_fault_suggest(reading->faults, name, names, count, fallback, &fault.fix) < 0)
        return DBK_ENOMEM;
    return dbk_fault_add(reading->faults, &fault, "there is no %s `%s`", what, name);
}

static int take_path(struct dbk_schema_reading *reading, const struct dbk_json_node *node,
                     struct dbk_schema_path *path_out)
{
    int rc = DBK_OK;
    if (node->kind == DBK_JSON_STRING &&
        dbk_schema_parse_path(&reading->schemas->arena, node->text, true, path_out, &rc))
        return DBK_OK;
    return rc < 0 ? rc
                  : refuse(reading, node, "write a field's name, `outer.inner`, or `list[].inner`",
                           "this names no field");
}

static int take_type(struct dbk_schema_reading *reading, const struct dbk_json_node *node,
                     enum dbk_upcast_type *type_out)
{
    const char *names[TYPE_COUNT];
    static const char known[] = "there are string, integer, number and boolean";
    if (node->kind != DBK_JSON_STRING)
        return refuse(reading, node, known, "a type's name is expected");
    for (size_t i = 0; i < TYPE_COUNT; i++) {
        names[i] = dbk_upcast_type_name((enum dbk_upcast_type)i);
        if (dbk_slice_equal_text(node->text, names[i])) {
            *type_out = (enum dbk_upcast_type)i;
            return DBK_OK;
        }
    }
    struct dbk_fault place = dbk_schema_fault_at(reading, node);
    return refuse_name(reading, &place, node->text, names, TYPE_COUNT, known, "type to convert to");
}

static int take_with(struct dbk_schema_reading *reading, const struct operation *operation,
                     const struct dbk_json_node *with, struct dbk_upcast_step *step)
{
    if (operation->kind == DBK_UPCAST_ADD)
        step->value = with;
    if (operation->kind == DBK_UPCAST_RENAME)
        return take_path(reading, with, &step->to);
    if (operation->kind == DBK_UPCAST_CONVERT)
        return take_type(reading, with, &step->type);
    return DBK_OK;
}

static int take_step(struct dbk_schema_reading *reading, const struct dbk_json_node *node,
                     struct dbk_upcast_step *step)
{
    const char *names[OPERATION_COUNT];
    const struct operation *operation = NULL;
    const struct dbk_json_node *path = NULL;
    for (size_t i = 0; i < OPERATION_COUNT; i++) {
        names[i] = operations[i].name;
        const struct dbk_json_node *member = dbk_json_member(node, names[i]);
        if (member != NULL && operation == NULL) {
            operation = &operations[i];
            path = member;
        }
    }
    static const char shape[] = "write {\"add\": …, \"value\": …}, {\"rename\": …, \"to\": …}, "
                                "{\"remove\": …} or {\"convert\": …, \"to\": …}";
    if (node->kind != DBK_JSON_OBJECT || node->count == 0)
        return refuse(reading, node, shape, "a step is an object that says what it does");
    const struct dbk_json_node *member = dbk_json_first(node);
    for (uint32_t i = 0; i < node->count; i++, member = dbk_json_sibling(member)) {
        bool known = operation != NULL &&
                     (member == path || (operation->with != NULL &&
                                         dbk_slice_equal_text(member->key, operation->with)));
        struct dbk_fault place = dbk_schema_fault_at_key(reading, member);
        if (!known)
            return refuse_name(reading, &place, member->key, names,
                               operation == NULL ? OPERATION_COUNT : 0, shape, "step");
    }
    const struct dbk_json_node *with =
        operation->with == NULL ? NULL : dbk_json_member(node, operation->with);
    if (operation->with != NULL && with == NULL)
        return refuse(reading, node, shape, "a member of the step is missing");
    struct dbk_fault place = dbk_schema_fault_at(reading, node);
    step->kind = operation->kind;
    step->line = place.line;
    step->column = place.column;
    int rc = take_path(reading, path, &step->path);
    return rc < 0 || with == NULL ? rc : take_with(reading, operation, with, step);
}

int dbk_schema_read_upcast(struct dbk_schema_reading *reading)
{
    struct dbk_schema *schema = reading->schema;
    const struct dbk_json_node *list = schema->upcast_node;
    if (list == NULL)
        return DBK_OK;
    if (schema->version == 1)
        return refuse(reading, list, "leave it out", "nothing becomes version 1");
    if (list->kind == DBK_JSON_STRING && dbk_slice_equal_text(list->text, "program")) {
        schema->is_program = true;
        return DBK_OK;
    }
    if (list->kind != DBK_JSON_ARRAY)
        return refuse(reading, list, "write a list of steps, or \"program\"",
                      "`upcast` is no list");
    struct dbk_upcast_step *steps =
        dbk_arena_alloc_zero(&reading->schemas->arena, list->count + 1, sizeof(*steps));
    if (steps == NULL)
        return DBK_ENOMEM;
    const struct dbk_json_node *item = dbk_json_first(list);
    int rc = DBK_OK;
    for (uint32_t i = 0; i < list->count && rc == DBK_OK; i++) {
        rc = take_step(reading, item, &steps[i]);
        item = dbk_json_sibling(item);
    }
    schema->upcast = steps;
    schema->upcast_count = list->count;
    return rc;
}

/* The versions behind `first` that only have steps, compiled as they will be: *next_out is behind
   the last of them. */
static int check_run(struct dbk_type *type, size_t first, size_t *next_out,
                     struct dbk_diagnostics *faults)
{
    struct dbk_upcast_version *versions = dbk_alloc_zero(type->count, sizeof(*versions));
    struct dbk_upcast_program *program = NULL;
    struct dbk_upcast_place place = {0};
    struct dbk_error failure = {0};
    size_t count = 0;
    if (versions == NULL)
        return DBK_ENOMEM;
    for (*next_out = first; *next_out < type->count; (*next_out)++) {
        const struct dbk_schema *schema = &type->versions[*next_out];
        if (schema->is_program || schema->script != NULL)
            break;
        versions[count++] =
            (struct dbk_upcast_version){schema->version, schema->upcast, schema->upcast_count};
    }
    int rc = dbk_upcast_compile(versions, count, &program, &place, &failure);
    dbk_upcast_free(program);
    if (rc == DBK_EINVAL || rc == DBK_ELIMIT) {
        const struct dbk_upcast_step *step = &versions[place.version].steps[place.step];
        struct dbk_fault fault = {.file = type->file, .line = step->line, .column = step->column};
        fault.why = "stored events could not be read";
        rc = dbk_fault_add(faults, &fault, "%s", failure.message);
    }
    dbk_free(versions);
    return rc;
}

int dbk_schema_check_steps(struct dbk_type *type, struct dbk_diagnostics *faults)
{
    int rc = DBK_OK;
    for (size_t next = 1; rc == DBK_OK && next < type->count; next++)
        rc = check_run(type, next, &next, faults);
    return rc;
}
