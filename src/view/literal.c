/* SPDX-License-Identifier: Apache-2.0 */
/* Constants and types of PostgreSQL's parse tree, written anew: there is no other text of them. */
#include "view/read.h"

static int finish(struct dbk_reading *reading, struct dbk_buf *text, const char **text_out)
{
    *text_out =
        text->rc < 0 ? NULL : dbk_arena_copy(reading->tree->arena, dbk_buf_slice(text)).data;
    dbk_buf_release(text);
    return *text_out == NULL ? dbk_read_no_memory(reading) : DBK_OK;
}

static void put_string(struct dbk_buf *out, struct dbk_slice text)
{
    dbk_buf_append_char(out, '\'');
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] == '\'')
            dbk_buf_append_char(out, '\'');
        dbk_buf_append_char(out, text.data[i]);
    }
    dbk_buf_append_char(out, '\'');
}

static bool is_letter(char byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z');
}

/* Of a date or time, with a cast or without, such a word is the clock's. */
static bool asks_clock(struct dbk_slice text)
{
    static const char *const words[] = {"now", "today", "tomorrow", "yesterday"};
    for (size_t begin = 0, end = 0; begin < text.size; begin = end + 1) {
        for (end = begin; end < text.size && is_letter(text.data[end]);)
            end++;
        if (DBK_READ_IS_AMONG(dbk_slice(text.data + begin, end - begin), words))
            return true;
    }
    return false;
}

/* {"ival":{"ival":1}}, {"fval":{"fval":"1.5"}}, {"sval":{"sval":"a"}}, {"boolval":{}} … */
int dbk_read_literal(struct dbk_reading *reading, const struct dbk_json_node *node,
                     struct dbk_expression **expression_out)
{
    const struct dbk_json_node *whole = dbk_json_member(node, "ival");
    const struct dbk_json_node *number = dbk_json_member(node, "fval");
    const struct dbk_json_node *string = dbk_json_member(node, "sval");
    const struct dbk_json_node *boolean = dbk_json_member(node, "boolval");
    struct dbk_expression *made = dbk_read_make(reading, DBK_EXPRESSION_CONSTANT, 0);
    struct dbk_buf text;
    if (made == NULL)
        return dbk_read_no_memory(reading);
    if (string != NULL && asks_clock(dbk_read_text(string, "sval")))
        return dbk_read_obstacle(reading, dbk_read_place(node),
                                 "let an event or a column say the time",
                                 "a text that is the clock's where a time is asked for");
    dbk_buf_init(&text, DBK_ALGEBRA_SIZE_MAX * 2);
    if (whole != NULL) {
        const struct dbk_json_node *value = dbk_json_member(whole, "ival");
        long long integer = value == NULL ? 0 : (long long)value->integer;
        dbk_buf_append_format(&text, integer < 0 ? "(%lld)" : "%lld", integer);
    } else if (number != NULL) {
        dbk_buf_append(&text, dbk_read_text(number, "fval"));
    } else if (string != NULL) {
        put_string(&text, dbk_read_text(string, "sval"));
    } else if (boolean != NULL) {
        dbk_buf_append_text(&text, dbk_read_is_true(boolean, "boolval") ? "true" : "false");
    } else if (dbk_read_is_true(node, "isnull")) {
        dbk_buf_append_text(&text, "NULL");
    } else {
        dbk_buf_release(&text);
        return dbk_read_obstacle(reading, dbk_read_place(node), "", "a constant of bits");
    }
    *expression_out = made;
    return finish(reading, &text, &made->text);
}

int dbk_read_type(struct dbk_reading *reading, const struct dbk_json_node *node,
                  const char **type_out)
{
    const struct dbk_json_node *names = dbk_json_member(node, "names");
    const struct dbk_json_node *limits = dbk_json_member(node, "typmods");
    const struct dbk_json_node *bounds = dbk_json_member(node, "arrayBounds");
    struct dbk_buf text;
    struct dbk_slice last = {0};
    const struct dbk_json_node *item = names == NULL ? NULL : dbk_json_first(names);
    dbk_buf_init(&text, DBK_ALGEBRA_SIZE_MAX);
    for (size_t i = 0; item != NULL && i < names->count; i++, item = dbk_json_sibling(item)) {
        last = dbk_read_string(item);
        char *name = dbk_copy_text(last);
        dbk_buf_append_text(&text, i > 0 ? "." : "");
        if (name == NULL)
            text.rc = DBK_ENOMEM;
        else
            dbk_emit_name(&text, name);
        dbk_free(name);
    }
    bool interval = dbk_slice_equal_text(last, "interval") && limits != NULL;
    item = limits == NULL ? NULL : dbk_json_first(limits);
    for (size_t i = 0; item != NULL && i < limits->count; i++, item = dbk_json_sibling(item)) {
        const struct dbk_json_node *constant = dbk_json_member(item, "A_Const");
        struct dbk_expression *limit = NULL;
        int rc = constant == NULL || interval
                     ? dbk_read_obstacle(reading, dbk_read_place(node), "", "this type")
                     : dbk_read_literal(reading, constant, &limit);
        if (rc < 0) {
            dbk_buf_release(&text);
            return rc;
        }
        dbk_buf_append_text(&text, i > 0 ? ", " : "(");
        dbk_buf_append_text(&text, limit->text);
    }
    dbk_buf_append_text(&text, limits != NULL && limits->count > 0 ? ")" : "");
    for (size_t i = 0; bounds != NULL && i < bounds->count; i++)
        dbk_buf_append_text(&text, "[]");
    return finish(reading, &text, type_out);
}
