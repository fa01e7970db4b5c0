/* SPDX-License-Identifier: Apache-2.0 */
/* Tags that `x-tags` makes of an event's data. */
#include "log/record.h"
#include "schema/rule.h"

/* Adds a field's value; *missing_out: there is none, and so no tag. */
static int put_field(const struct dbk_tag_template *tag, const struct dbk_tag_part *part,
                     const struct dbk_json_node *data, struct dbk_buf *out, bool *missing_out,
                     struct dbk_error *err)
{
    const struct dbk_json_node *value = dbk_schema_value(&part->field, data);
    if (value == NULL || value->kind == DBK_JSON_NULL) {
        *missing_out = true;
        return DBK_OK;
    }
    if (value->kind == DBK_JSON_ARRAY || value->kind == DBK_JSON_OBJECT)
        return dbk_error_set(err, DBK_EINVAL, "the tag \"%.*s\": its field `%.*s` is %s",
                             DBK_SLICE_ARGS(tag->source), DBK_SLICE_ARGS(part->field.text),
                             dbk_schema_kind(value));
    dbk_buf_append(out, value->kind == DBK_JSON_STRING ? value->text : value->raw);
    return DBK_OK;
}

static int check_tag(const struct dbk_tag_template *tag, const struct dbk_buf *out,
                     struct dbk_error *err)
{
    const char *what = NULL;
    if (out->rc == DBK_ELIMIT)
        what = "is longer than 255 bytes";
    else if (out->rc < 0)
        return dbk_error_set(err, out->rc, "out of memory making a tag");
    else if (out->size == 0)
        what = "is empty";
    else if (out->data[0] == '$')
        what = "begins with `$`, as the book's own do";
    for (size_t i = 0; i < out->size && what == NULL; i++) {
        if ((unsigned char)out->data[i] < 0x20 || out->data[i] == 0x7F)
            what = "holds a control character";
    }
    return what == NULL ? DBK_OK
                        : dbk_error_set(err, DBK_EINVAL, "the tag \"%.*s\" %s",
                                        DBK_SLICE_ARGS(tag->source), what);
}

int dbk_schema_tags(const struct dbk_schema *schema, const struct dbk_json_node *data,
                    struct dbk_arena *arena, const struct dbk_slice **tags_out, size_t *count_out,
                    struct dbk_error *err)
{
    struct dbk_buf text;
    struct dbk_slice *tags = NULL;
    size_t count = 0;
    int rc = DBK_OK;
    *tags_out = NULL;
    *count_out = 0;
    if (schema->tag_count == 0)
        return DBK_OK;
    tags = dbk_arena_alloc_zero(arena, schema->tag_count, sizeof(*tags));
    if (tags == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory making tags");
    dbk_buf_init(&text, DBK_TAG_SIZE_MAX);
    for (size_t i = 0; i < schema->tag_count && rc == DBK_OK; i++) {
        const struct dbk_tag_template *tag = &schema->tags[i];
        bool missing = false;
        dbk_buf_reset(&text);
        for (size_t j = 0; j < tag->count && rc == DBK_OK && !missing; j++) {
            if (tag->parts[j].field.count == 0)
                dbk_buf_append(&text, tag->parts[j].text);
            else
                rc = put_field(tag, &tag->parts[j], data, &text, &missing, err);
        }
        if (rc == DBK_OK && !missing)
            rc = check_tag(tag, &text, err);
        if (rc < 0 || missing)
            continue;
        tags[count] = dbk_arena_copy(arena, dbk_buf_slice(&text));
        if (tags[count++].data == NULL)
            rc = dbk_error_set(err, DBK_ENOMEM, "out of memory making tags");
    }
    dbk_buf_release(&text);
    if (rc < 0)
        return rc;
    *tags_out = tags;
    *count_out = count;
    return DBK_OK;
}
