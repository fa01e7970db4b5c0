/* SPDX-License-Identifier: Apache-2.0 */
/* Calls of functions and aggregates: which there are, and which give the same value each time. */
#include <strings.h>

#include "view/read.h"

/* The same arguments give the same value, and what is given is a plain value. */
static const char *const functions[] = {
    "abs",
    "coalesce",
    "ifnull",
    "iif",
    "instr",
    "length",
    "lower",
    "upper",
    "ltrim",
    "rtrim",
    "trim",
    "max",
    "min",
    "nullif",
    "round",
    "replace",
    "substr",
    "sign",
    "typeof",
    "unicode",
    "substring",
    "hex",
    "quote",
    "printf",
    "format",
    "date",
    "datetime",
    "julianday",
    "time",
    "strftime",
    "unixepoch",
    "ceil",
    "ceiling",
    "floor",
    "trunc",
    "mod",
    "pow",
    "power",
    "sqrt",
    "like",
    "json_valid",
    /* What these give is text to all others here. */
    "json_extract",
    "json_type",
    "json_array_length",
};

static const char *const aggregates[] = {"count", "sum", "total", "avg"};
static const char *const unordered[] = {"group_concat", "json_group_array", "json_group_object",
                                        "string_agg"};
static const char *const dates[] = {"date", "datetime", "julianday",
                                    "time", "strftime", "unixepoch"};

bool dbk_read_is_among(struct dbk_slice name, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (dbk_read_is_name(name, names[i]))
            return true;
    }
    return false;
}
/* A date function reads the clock without an instant, or with 'now', or with a time zone. */
static bool asks_clock(const struct dbk_expression *call, bool formatted)
{
    if (call->argument_count < (formatted ? 2U : 1U))
        return true;
    for (size_t i = 0; i < call->argument_count; i++) {
        const struct dbk_expression *argument = call->arguments[i];
        if (argument->kind != DBK_EXPRESSION_CONSTANT)
            continue;
        if (strcasestr(argument->text, "now") != NULL ||
            strcasestr(argument->text, "localtime") != NULL ||
            strcasestr(argument->text, "utc") != NULL)
            return true;
    }
    return false;
}

static int check_call(struct dbk_reading *reading, const struct dbk_json_node *node,
                      struct dbk_slice name, const struct dbk_expression *call)
{
    size_t place = call->place;
    if (dbk_json_member(node, "agg_order") != NULL || dbk_read_is_true(node, "func_variadic"))
        return dbk_read_obstacle(reading, place, "", "an ordered aggregate");
    if (DBK_READ_IS_AMONG(name, unordered))
        return dbk_read_obstacle(reading, place, "",
                                 "%.*s() depends on the order in which rows are met",
                                 DBK_SLICE_ARGS(name));
    if (dbk_read_is_server(reading))
        return call->aggregate ? DBK_OK : reading->source->call(reading, name, call);
    if (!call->aggregate && !DBK_READ_IS_AMONG(name, functions))
        return dbk_read_obstacle(reading, place, "",
                                 "%.*s() is not known to give the same value each time",
                                 DBK_SLICE_ARGS(name));
    if (DBK_READ_IS_AMONG(name, dates) && asks_clock(call, dbk_read_is_name(name, "strftime")))
        return dbk_read_obstacle(reading, place, "let an event or a column say the time",
                                 "%.*s() reads the clock here", DBK_SLICE_ARGS(name));
    return DBK_OK;
}

/* f(e) FILTER (WHERE t) is f(CASE WHEN t THEN e END), and count(*) has 1 for e. */
static int read_filter(struct dbk_reading *reading, const struct dbk_scope *scope,
                       const struct dbk_json_node *test, struct dbk_expression *call)
{
    struct dbk_expression *made = dbk_read_make(reading, DBK_EXPRESSION_CASE, 2);
    struct dbk_expression *one = dbk_read_make(reading, DBK_EXPRESSION_CONSTANT, 0);
    struct dbk_expression **arguments =
        dbk_arena_alloc_zero(reading->tree->arena, 2, sizeof(struct dbk_expression *));
    if (made == NULL || one == NULL || arguments == NULL)
        return dbk_read_no_memory(reading);
    if (!call->aggregate || call->argument_count > 1)
        return dbk_read_obstacle(reading, call->place, "", "FILTER of what is no aggregate");
    one->text = "1";
    made->filter = true;
    made->star = call->star;
    made->arguments[1] = call->star ? one : call->arguments[0];
    call->star = false;
    call->arguments = arguments;
    call->arguments[0] = made;
    call->argument_count = 1;
    return dbk_read_expression(reading, scope, test, &made->arguments[0]);
}

static bool is_aggregate(const struct dbk_reading *reading, struct dbk_slice name,
                         size_t argument_count)
{
    /* Those whose value does not depend on the rows' order: the group is computed again. */
    static const char *const more[] = {"bool_and", "bool_or", "every", "bit_and", "bit_or"};
    if (dbk_read_is_server(reading))
        return DBK_READ_IS_AMONG(name, more) || dbk_read_is_name(name, "min") ||
               dbk_read_is_name(name, "max") ||
               (DBK_READ_IS_AMONG(name, aggregates) && !dbk_read_is_name(name, "total"));
    bool end = dbk_read_is_name(name, "min") || dbk_read_is_name(name, "max");
    return DBK_READ_IS_AMONG(name, aggregates) || (end && argument_count == 1);
}

/* A server's function by its name in quotes, with its schema where it has one: those that SQL has a
   syntax of its own for stand with theirs. NULL: no memory. */
static const char *qualified_name(struct dbk_reading *reading, const struct dbk_json_node *parts)
{
    struct dbk_buf name;
    const struct dbk_json_node *part = dbk_json_first(parts);
    dbk_buf_init(&name, 1024);
    for (size_t i = 0; part != NULL && i < parts->count; i++, part = dbk_json_sibling(part)) {
        char *copy = dbk_copy_text(dbk_read_string(part));
        if (i > 0)
            dbk_buf_append_char(&name, '.');
        if (copy != NULL)
            dbk_emit_name(&name, copy);
        else
            name.rc = DBK_ENOMEM;
        dbk_free(copy);
    }
    const char *made =
        name.rc < 0 ? NULL : dbk_arena_copy(reading->tree->arena, dbk_buf_slice(&name)).data;
    dbk_buf_release(&name);
    return made;
}

int dbk_read_call(struct dbk_reading *reading, const struct dbk_scope *scope,
                  const struct dbk_json_node *node, struct dbk_expression **expression_out)
{
    const struct dbk_json_node *parts = dbk_json_member(node, "funcname");
    const struct dbk_json_node *part = parts == NULL ? NULL : dbk_json_first(parts);
    struct dbk_slice name = {0};
    for (size_t i = 0; part != NULL && i < parts->count; i++, part = dbk_json_sibling(part))
        name = dbk_read_string(part);
    if (dbk_slice_equal_text(name, "btrim") && !dbk_read_is_server(reading))
        /* What PostgreSQL's grammar makes of trim(). */
        name = DBK_SLICE_LITERAL("trim");
    if (dbk_json_member(node, "over") != NULL)
        return dbk_read_window(reading, scope, node, name, expression_out);
    struct dbk_expression *call = NULL;
    struct dbk_scope inner = *scope;
    const struct dbk_json_node *list = dbk_json_member(node, "args");
    bool aggregate = is_aggregate(reading, name, list == NULL ? 0 : list->count);
    if (aggregate && !scope->aggregates)
        return dbk_read_obstacle(reading, dbk_read_place(node), "", "an aggregate in this place");
    inner.windows = NULL;
    inner.aggregates = scope->aggregates && !aggregate;
    int rc = dbk_read_list(reading, &inner, DBK_EXPRESSION_CALL, list, &call);
    if (rc < 0)
        return rc;
    call->text = dbk_arena_copy(reading->tree->arena, name).data;
    if (dbk_read_is_server(reading) && !aggregate && parts != NULL)
        call->text = qualified_name(reading, parts);
    if (call->text == NULL)
        return dbk_read_no_memory(reading);
    call->place = dbk_read_place(node);
    call->star = dbk_read_is_true(node, "agg_star");
    call->distinct = dbk_read_is_true(node, "agg_distinct");
    call->aggregate = aggregate;
    rc = check_call(reading, node, name, call);
    if (rc == DBK_OK && dbk_json_member(node, "agg_filter") != NULL)
        rc = read_filter(reading, &inner, dbk_json_member(node, "agg_filter"), call);
    if (rc == DBK_OK)
        *expression_out = call;
    return rc;
}
