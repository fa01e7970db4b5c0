/* SPDX-License-Identifier: Apache-2.0 */
#include "schema/infer.h"

#include "schema/rule.h"

#define MEMORY_MAX ((size_t)64 << 20)
#define SHAPES_MAX 20000
/* Different members of one object, past which it is taken for a table of keys. */
#define MEMBERS_MAX 200
/* A list of values is proposed for so many at most, each seen at least so often on average. */
#define VALUES_MAX 8
#define VALUE_SIZE_MAX 64
#define VALUE_REPEATS 10

/* Formats that are proposed, the narrower first. Others fit too much. */
static const enum dbk_format formats[] = {DBK_FORMAT_UUID,  DBK_FORMAT_DATE_TIME, DBK_FORMAT_DATE,
                                          DBK_FORMAT_TIME,  DBK_FORMAT_IPV4,      DBK_FORMAT_IPV6,
                                          DBK_FORMAT_EMAIL, DBK_FORMAT_URI};
#define FORMAT_COUNT (sizeof(formats) / sizeof(formats[0]))

struct shape;

struct member {
    struct member *next;
    struct dbk_slice name;
    struct shape *shape;
    uint64_t count; /* objects that have it */
};

struct shape {
    unsigned types; /* met so far */
    uint64_t objects;
    uint64_t texts;
    struct member *members; /* in order of meeting */
    struct member *last_member;
    size_t member_count;
    bool table; /* too many different members: they are not told apart */
    struct shape *element;
    unsigned formats; /* bits of those that all texts have */
    struct dbk_slice values[VALUES_MAX];
    size_t value_count; /* past VALUES_MAX: too many */
};

struct dbk_inference {
    struct dbk_arena arena;
    struct shape *root;
    size_t shapes;
    uint64_t count;
};

static struct shape *make_shape(struct dbk_inference *inference)
{
    struct shape *shape = dbk_arena_alloc_zero(&inference->arena, 1, sizeof(*shape));
    if (shape == NULL)
        return NULL;
    shape->formats = (1U << FORMAT_COUNT) - 1;
    inference->shapes++;
    return shape;
}

struct dbk_inference *dbk_inference_create(void)
{
    struct dbk_inference *inference = dbk_alloc_zero(1, sizeof(*inference));
    if (inference == NULL)
        return NULL;
    dbk_arena_init(&inference->arena, MEMORY_MAX);
    inference->root = make_shape(inference);
    if (inference->root == NULL) {
        dbk_inference_free(inference);
        return NULL;
    }
    return inference;
}

void dbk_inference_free(struct dbk_inference *inference)
{
    if (inference == NULL)
        return;
    dbk_arena_release(&inference->arena);
    dbk_free(inference);
}

uint64_t dbk_inference_count(const struct dbk_inference *inference)
{
    return inference->count;
}

/* ---- Taking notice ---- */

static int add(struct dbk_inference *inference, struct shape *shape,
               const struct dbk_json_node *node);

static int add_text(struct dbk_inference *inference, struct shape *shape, struct dbk_slice text)
{
    shape->texts++;
    for (size_t i = 0; i < FORMAT_COUNT; i++) {
        if ((shape->formats & 1U << i) != 0 && !dbk_format_fits(formats[i], text))
            shape->formats &= ~(1U << i);
    }
    if (shape->value_count > VALUES_MAX)
        return DBK_OK;
    for (size_t i = 0; i < shape->value_count; i++) {
        if (dbk_slice_equal(shape->values[i], text))
            return DBK_OK;
    }
    if (shape->value_count == VALUES_MAX || text.size > VALUE_SIZE_MAX) {
        shape->value_count = VALUES_MAX + 1;
        return DBK_OK;
    }
    shape->values[shape->value_count] = dbk_arena_copy(&inference->arena, text);
    return shape->values[shape->value_count++].data == NULL ? DBK_ENOMEM : DBK_OK;
}

/* NULL: it is not told apart. */
static int find_member(struct dbk_inference *inference, struct shape *shape, struct dbk_slice name,
                       struct member **member_out)
{
    *member_out = NULL;
    for (struct member *member = shape->members; member != NULL; member = member->next) {
        if (dbk_slice_equal(member->name, name)) {
            *member_out = member;
            return DBK_OK;
        }
    }
    if (shape->member_count == MEMBERS_MAX || inference->shapes >= SHAPES_MAX) {
        shape->table = true;
        return DBK_OK;
    }
    struct member *member = dbk_arena_alloc_zero(&inference->arena, 1, sizeof(*member));
    if (member == NULL)
        return DBK_ENOMEM;
    member->name = dbk_arena_copy(&inference->arena, name);
    member->shape = make_shape(inference);
    if (member->name.data == NULL || member->shape == NULL)
        return DBK_ENOMEM;
    if (shape->last_member == NULL)
        shape->members = member;
    else
        shape->last_member->next = member;
    shape->last_member = member;
    shape->member_count++;
    *member_out = member;
    return DBK_OK;
}

static int add_object(struct dbk_inference *inference, struct shape *shape,
                      const struct dbk_json_node *node)
{
    const struct dbk_json_node *child = dbk_json_first(node);
    int rc = DBK_OK;
    shape->objects++;
    for (uint32_t i = 0; i < node->count && rc == DBK_OK && !shape->table; i++) {
        struct member *member = NULL;
        rc = find_member(inference, shape, child->key, &member);
        if (rc == DBK_OK && member != NULL) {
            member->count++;
            rc = add(inference, member->shape, child);
        }
        child = dbk_json_sibling(child);
    }
    return rc;
}

static int add_array(struct dbk_inference *inference, struct shape *shape,
                     const struct dbk_json_node *node)
{
    const struct dbk_json_node *child = dbk_json_first(node);
    int rc = DBK_OK;
    if (shape->element == NULL && node->count > 0 && inference->shapes < SHAPES_MAX) {
        shape->element = make_shape(inference);
        if (shape->element == NULL)
            return DBK_ENOMEM;
    }
    for (uint32_t i = 0; i < node->count && rc == DBK_OK && shape->element != NULL; i++) {
        rc = add(inference, shape->element, child);
        child = dbk_json_sibling(child);
    }
    return rc;
}

static int add(struct dbk_inference *inference, struct shape *shape,
               const struct dbk_json_node *node)
{
    switch (node->kind) {
    case DBK_JSON_NULL:
        shape->types |= DBK_TYPE_NULL;
        return DBK_OK;
    case DBK_JSON_FALSE:
    case DBK_JSON_TRUE:
        shape->types |= DBK_TYPE_BOOLEAN;
        return DBK_OK;
    case DBK_JSON_INTEGER:
        shape->types |= DBK_TYPE_INTEGER;
        return DBK_OK;
    case DBK_JSON_DECIMAL: /* 1.0 is written as a number that may have a fraction. */
        shape->types |= DBK_TYPE_NUMBER;
        return DBK_OK;
    case DBK_JSON_STRING:
        shape->types |= DBK_TYPE_STRING;
        return add_text(inference, shape, node->text);
    case DBK_JSON_ARRAY:
        shape->types |= DBK_TYPE_ARRAY;
        return add_array(inference, shape, node);
    case DBK_JSON_OBJECT:
        break;
    }
    shape->types |= DBK_TYPE_OBJECT;
    return add_object(inference, shape, node);
}

int dbk_inference_add(struct dbk_inference *inference, const struct dbk_json_node *data)
{
    inference->count++;
    return add(inference, inference->root, data);
}

/* ---- Writing ---- */

static void put_line(struct dbk_buf *out, unsigned indent)
{
    dbk_buf_append_format(out, "\n%*s", (int)indent, "");
}

static void put_key(struct dbk_buf *out, bool *first, unsigned indent, const char *key)
{
    dbk_buf_append_text(out, *first ? "" : ",");
    *first = false;
    put_line(out, indent);
    dbk_json_write_string(out, dbk_slice_of(key));
    dbk_buf_append_text(out, ": ");
}

static void put_types(struct dbk_buf *out, unsigned types)
{
    static const struct {
        unsigned bits;
        const char *name;
    } names[] = {
        {DBK_TYPE_NUMBER, "number"},   {DBK_TYPE_INTEGER, "integer"}, {DBK_TYPE_STRING, "string"},
        {DBK_TYPE_BOOLEAN, "boolean"}, {DBK_TYPE_OBJECT, "object"},   {DBK_TYPE_ARRAY, "array"},
        {DBK_TYPE_NULL, "null"},
    };
    const char *found[sizeof(names) / sizeof(names[0])];
    size_t count = 0;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if ((types & names[i].bits) != names[i].bits)
            continue;
        types &= ~names[i].bits;
        found[count++] = names[i].name;
    }
    dbk_buf_append_text(out, count == 1 ? "" : "[");
    for (size_t i = 0; i < count; i++)
        dbk_buf_append_format(out, i == 0 ? "\"%s\"" : ", \"%s\"", found[i]);
    dbk_buf_append_text(out, count == 1 ? "" : "]");
}

static void put_shape(struct dbk_buf *out, const struct shape *shape, unsigned indent);

static void put_required(struct dbk_buf *out, const struct shape *shape, bool *first,
                         unsigned indent)
{
    bool begun = false;
    for (const struct member *member = shape->members; member != NULL; member = member->next) {
        if (member->count < shape->objects)
            continue;
        if (!begun)
            put_key(out, first, indent, "required");
        dbk_buf_append_text(out, begun ? ", " : "[");
        dbk_json_write_string(out, member->name);
        begun = true;
    }
    if (begun)
        dbk_buf_append_char(out, ']');
}

static void put_object(struct dbk_buf *out, const struct shape *shape, bool *first, unsigned indent)
{
    bool first_member = true;
    if (shape->table || shape->members == NULL)
        return;
    put_key(out, first, indent, "properties");
    dbk_buf_append_char(out, '{');
    for (const struct member *member = shape->members; member != NULL; member = member->next) {
        dbk_buf_append_text(out, first_member ? "" : ",");
        first_member = false;
        put_line(out, indent + 4);
        dbk_json_write_string(out, member->name);
        dbk_buf_append_text(out, ": ");
        put_shape(out, member->shape, indent + 4);
    }
    dbk_buf_append_char(out, '}');
    put_required(out, shape, first, indent);
}

/* A few values, each again and again. Null beside them is one, too. */
static bool has_few_values(const struct shape *shape)
{
    unsigned others = shape->types & ~(unsigned)(DBK_TYPE_STRING | DBK_TYPE_NULL);
    return others == 0 && shape->value_count > 0 && shape->value_count <= VALUES_MAX &&
           shape->texts >= shape->value_count * VALUE_REPEATS;
}

static void put_values(struct dbk_buf *out, const struct shape *shape)
{
    dbk_buf_append_char(out, '[');
    for (size_t i = 0; i < shape->value_count; i++) {
        dbk_buf_append_text(out, i == 0 ? "" : ", ");
        dbk_json_write_string(out, shape->values[i]);
    }
    dbk_buf_append_text(out, (shape->types & DBK_TYPE_NULL) != 0 ? ", null]" : "]");
}

static const char *format_of(const struct shape *shape)
{
    for (size_t i = 0; i < FORMAT_COUNT && shape->texts > 0; i++) {
        if ((shape->formats & 1U << i) != 0)
            return dbk_format_name(formats[i]);
    }
    return NULL;
}

static void put_shape(struct dbk_buf *out, const struct shape *shape, unsigned indent)
{
    const char *format = format_of(shape);
    bool first = true;
    if (shape->types == 0) { /* Nothing was seen of it. */
        dbk_buf_append_text(out, "{}");
        return;
    }
    dbk_buf_append_char(out, '{');
    put_key(out, &first, indent + 4, "type");
    put_types(out, shape->types);
    if (format != NULL) {
        put_key(out, &first, indent + 4, "format");
        dbk_json_write_string(out, dbk_slice_of(format));
    } else if (has_few_values(shape)) {
        put_key(out, &first, indent + 4, "enum");
        put_values(out, shape);
    }
    put_object(out, shape, &first, indent + 4);
    if (shape->element != NULL && shape->element->types != 0) {
        put_key(out, &first, indent + 4, "items");
        put_shape(out, shape->element, indent + 4);
    }
    dbk_buf_append_char(out, '}');
}

void dbk_inference_write(const struct dbk_inference *inference, unsigned indent,
                         struct dbk_buf *out)
{
    bool first = true;
    dbk_buf_append_char(out, '{');
    put_key(out, &first, indent + 4, "versions");
    dbk_buf_append_text(out, "[{\"version\": 1, \"schema\": ");
    put_shape(out, inference->root, indent + 4);
    dbk_buf_append_text(out, "}]");
    put_line(out, indent);
    dbk_buf_append_char(out, '}');
}
