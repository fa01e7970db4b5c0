/* SPDX-License-Identifier: Apache-2.0 */
#include "command/parameter.h"

static const char *const type_names[] = {
    [DBK_COMMAND_ANY] = "a value",           [DBK_COMMAND_TEXT] = "a text",
    [DBK_COMMAND_INTEGER] = "an integer",    [DBK_COMMAND_NUMBER] = "a number",
    [DBK_COMMAND_BOOLEAN] = "true or false", [DBK_COMMAND_JSON] = "an object or a list",
};

static bool fits(enum dbk_command_type type, enum dbk_json_kind kind)
{
    switch (type) {
    case DBK_COMMAND_ANY:
        return true;
    case DBK_COMMAND_TEXT:
        return kind == DBK_JSON_STRING;
    case DBK_COMMAND_INTEGER:
        return kind == DBK_JSON_INTEGER;
    case DBK_COMMAND_NUMBER:
        return kind == DBK_JSON_INTEGER || kind == DBK_JSON_DECIMAL;
    case DBK_COMMAND_BOOLEAN:
        return kind == DBK_JSON_TRUE || kind == DBK_JSON_FALSE;
    case DBK_COMMAND_JSON:
        return kind == DBK_JSON_OBJECT || kind == DBK_JSON_ARRAY;
    }
    return false;
}

static struct dbk_value value_of(const struct dbk_json_node *node)
{
    switch (node->kind) {
    case DBK_JSON_NULL:
        break;
    case DBK_JSON_FALSE:
    case DBK_JSON_TRUE:
        return (struct dbk_value){.kind = DBK_VALUE_INTEGER,
                                  .integer = node->kind == DBK_JSON_TRUE};
    case DBK_JSON_INTEGER:
        return (struct dbk_value){.kind = DBK_VALUE_INTEGER, .integer = node->integer};
    case DBK_JSON_DECIMAL:
        return (struct dbk_value){.kind = DBK_VALUE_DECIMAL, .decimal = node->decimal};
    case DBK_JSON_STRING:
        return (struct dbk_value){.kind = DBK_VALUE_TEXT, .bytes = node->text};
    case DBK_JSON_ARRAY:
    case DBK_JSON_OBJECT:
        return (struct dbk_value){.kind = DBK_VALUE_TEXT, .bytes = node->raw};
    }
    return (struct dbk_value){.kind = DBK_VALUE_NULL};
}

int dbk_command_value(const char *command, const struct dbk_command_parameter *parameter,
                      const struct dbk_json_node *node, struct dbk_value *value_out,
                      struct dbk_error *err)
{
    bool none = node == NULL || (node->kind == DBK_JSON_NULL && parameter->type != DBK_COMMAND_ANY);
    if (none && !parameter->optional)
        return dbk_error_set(err, DBK_EINVAL, "command %s: the parameter %s is missing: %s",
                             command, parameter->name, type_names[parameter->type]);
    if (!none && !fits(parameter->type, node->kind))
        return dbk_error_set(err, DBK_EINVAL, "command %s: the parameter %s must be %s, not %.*s",
                             command, parameter->name, type_names[parameter->type],
                             (int)(node->raw.size < 40 ? node->raw.size : 40), node->raw.data);
    *value_out = none ? (struct dbk_value){.kind = DBK_VALUE_NULL} : value_of(node);
    return DBK_OK;
}
