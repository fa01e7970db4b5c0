/* SPDX-License-Identifier: Apache-2.0 */
#include "json/simdjson.h"

#include <simdjson.h>

#include <new>

using namespace simdjson;

static_assert(DBK_SIMDJSON_PADDING >= SIMDJSON_PADDING, "simdjson reads further than we say");

struct dbk_simdjson {
    ondemand::parser parser;
};

namespace
{

struct walk {
    const char *text;
    size_t size;
    unsigned depth_max;
    dbk_simdjson_sink_fn sink;
    dbk_simdjson_wants_fn wants;
    void *context;
    ondemand::document document;
    size_t offset; /* of the last value begun, for messages */
    error_code error;
    int stopped; /* what the sink answered */
};

bool fail(walk &w, error_code error)
{
    w.error = error;
    return false;
}

bool emit(walk &w, dbk_simdjson_value &value)
{
    w.stopped = w.sink(w.context, &value);
    return w.stopped >= 0;
}

/* Where the innermost container ended: the bracket before the token that comes next. */
size_t container_end(walk &w)
{
    const char *next = nullptr;
    if (w.document.current_location().get(next) != SUCCESS)
        next = w.text + w.size;
    while (next > w.text && next[-1] != ']' && next[-1] != '}')
        next--;
    return static_cast<size_t>(next - w.text);
}

bool walk_value(walk &w, ondemand::value value, dbk_simdjson_value &out, unsigned depth);

bool walk_array(walk &w, ondemand::value &value, unsigned depth)
{
    ondemand::array array;
    error_code error = value.get_array().get(array);
    if (error != SUCCESS)
        return fail(w, error);
    for (auto item : array) {
        ondemand::value element;
        error = item.get(element);
        if (error != SUCCESS)
            return fail(w, error);
        dbk_simdjson_value out = {};
        if (!walk_value(w, element, out, depth))
            return false;
    }
    return true;
}

/* A string without escapes is taken where it stands: what stage 1 has found closed and UTF-8 needs
   no copy. begin: behind the opening quote; false: it has an escape. */
bool take_plain(const char *begin, size_t size_max, std::string_view &text_out)
{
    const char *end = static_cast<const char *>(memchr(begin, '"', size_max));
    if (end == nullptr || memchr(begin, '\\', static_cast<size_t>(end - begin)) != nullptr)
        return false;
    text_out = std::string_view(begin, static_cast<size_t>(end - begin));
    return true;
}

/* depth: of the members, 1 for those of the outermost object. */
bool walk_object(walk &w, ondemand::value &value, unsigned depth)
{
    ondemand::object object;
    error_code error = value.get_object().get(object);
    if (error != SUCCESS)
        return fail(w, error);
    for (auto item : object) {
        ondemand::field field;
        std::string_view key;
        error = std::move(item).get(field);
        if (error == SUCCESS) {
            const char *begin = field.key().raw();
            if (!take_plain(begin, static_cast<size_t>(w.text + w.size - begin), key))
                error = field.unescaped_key().get(key);
        }
        if (error != SUCCESS)
            return fail(w, error);
        if (depth == 1 && w.wants != nullptr && !w.wants(w.context, key.data(), key.size()))
            continue;
        dbk_simdjson_value out = {};
        out.key = key.data();
        out.key_size = key.size();
        if (!walk_value(w, field.value(), out, depth))
            return false;
    }
    return true;
}

bool walk_container(walk &w, ondemand::value &value, dbk_simdjson_value &out, unsigned depth)
{
    bool array = out.event == DBK_SIMDJSON_ARRAY;
    if (depth == w.depth_max)
        return fail(w, DEPTH_ERROR);
    if (!emit(w, out))
        return false;
    if (array ? !walk_array(w, value, depth + 1) : !walk_object(w, value, depth + 1))
        return false;
    dbk_simdjson_value end = {};
    end.event = DBK_SIMDJSON_END;
    end.offset = container_end(w);
    return emit(w, end);
}

bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

bool walk_scalar(walk &w, ondemand::value &value, ondemand::json_type type, dbk_simdjson_value &out)
{
    std::string_view text;
    bool truth = false;
    error_code error = SUCCESS;
    switch (type) {
    case ondemand::json_type::string:
        out.event = DBK_SIMDJSON_STRING;
        text = value.raw_json_token();
        if (take_plain(text.data() + 1, text.size() - 1, text)) {
            ondemand::raw_json_string taken;
            error = value.get_raw_json_string().get(taken);
        } else {
            error = value.get_string().get(text);
        }
        break;
    case ondemand::json_type::number:
        /* Read by us, exactly; the step to the next value skips it. */
        out.event = DBK_SIMDJSON_NUMBER;
        text = value.raw_json_token();
        while (!text.empty() && is_space(text.back()))
            text.remove_suffix(1);
        break;
    case ondemand::json_type::boolean:
        error = value.get_bool().get(truth);
        out.event = truth ? DBK_SIMDJSON_TRUE : DBK_SIMDJSON_FALSE;
        break;
    default:
        error = value.is_null().get(truth);
        out.event = DBK_SIMDJSON_NULL;
        if (error == SUCCESS && !truth)
            error = N_ATOM_ERROR;
        break;
    }
    if (error != SUCCESS)
        return fail(w, error);
    out.text = text.data();
    out.text_size = text.size();
    return emit(w, out);
}

bool walk_value(walk &w, ondemand::value value, dbk_simdjson_value &out, unsigned depth)
{
    ondemand::json_type type;
    w.offset = out.offset = static_cast<size_t>(value.raw_json_token().data() - w.text);
    error_code error = value.type().get(type);
    if (error != SUCCESS)
        return fail(w, error);
    if (type == ondemand::json_type::array)
        out.event = DBK_SIMDJSON_ARRAY;
    else if (type == ondemand::json_type::object)
        out.event = DBK_SIMDJSON_OBJECT;
    else
        return walk_scalar(w, value, type, out);
    return walk_container(w, value, out, depth);
}

const char *reason(error_code error)
{
    switch (error) {
    case UTF8_ERROR:
        return "it is not UTF-8";
    case UNESCAPED_CHARS:
        return "a control character in a string must be written as \\u00XX";
    case UNCLOSED_STRING:
        return "a string is not closed";
    case STRING_ERROR:
        return "a string has an escape that JSON does not know";
    case DEPTH_ERROR:
        return "it is nested too deeply";
    case T_ATOM_ERROR:
    case F_ATOM_ERROR:
    case N_ATOM_ERROR:
    case INCORRECT_TYPE:
        return "a value was expected";
    case NUMBER_ERROR:
        return "a number is malformed";
    case TRAILING_CONTENT:
        return "something stands behind the value";
    case INCOMPLETE_ARRAY_OR_OBJECT:
        return "it ends before an array or object is closed";
    case EMPTY:
        return "a value was expected and nothing is there";
    default:
        return "a comma, colon, bracket or value was expected";
    }
}

}

struct dbk_simdjson *dbk_simdjson_create(void)
{
    return new (std::nothrow) dbk_simdjson();
}

void dbk_simdjson_free(struct dbk_simdjson *parser)
{
    delete parser;
}

int dbk_simdjson_walk(struct dbk_simdjson *parser, const char *text, size_t size,
                      unsigned depth_max, dbk_simdjson_sink_fn sink, dbk_simdjson_wants_fn wants,
                      void *context, size_t *offset_out, const char **reason_out)
{
    walk w = {text, size, depth_max, sink, wants, context, {}, 0, SUCCESS, 0};
    w.error = parser->parser.iterate(text, size, size + DBK_SIMDJSON_PADDING).get(w.document);
    if (w.error == SUCCESS) {
        ondemand::value root;
        dbk_simdjson_value out = {};
        const char *rest = nullptr;
        w.error = w.document.get_value().get(root);
        if (w.error == SUCCESS && walk_value(w, root, out, 0) &&
            w.document.current_location().get(rest) == SUCCESS) {
            w.offset = static_cast<size_t>(rest - text);
            w.error = TRAILING_CONTENT;
        }
    }
    if (w.stopped < 0)
        return w.stopped;
    if (w.error == SUCCESS)
        return 0;
    if (w.error == MEMALLOC)
        return 2;
    const char *place = nullptr;
    if (w.error != TRAILING_CONTENT && w.document.is_alive() &&
        w.document.current_location().get(place) == SUCCESS && place >= text && place < text + size)
        w.offset = static_cast<size_t>(place - text);
    *offset_out = w.offset;
    *reason_out = reason(w.error);
    return 1;
}
