/* SPDX-License-Identifier: Apache-2.0 */
/* One member of what a text becomes, without making the rest of it. */
#include "json/json.h"
#include "schema/program.h"

/* A source's value through its change. 1: it is had; -1: it takes a run. */
static int take_source(const struct dbk_upcast_finding *finding,
                       const struct dbk_upcast_found *found, struct dbk_buf *out,
                       struct dbk_slice *value_out)
{
    const struct dbk_upcast_source *source = found->source;
    const char *key_end = finding->begin + found->offset + source->name.size + 2;
    const char *value = NULL;
    const char *end = dbk_upcast_find_value(finding, key_end, &value);
    if (end == NULL || (source->changes && !dbk_upcast_is_one_conversion(&source->change)))
        return -1;
    *value_out = dbk_slice(value, (size_t)(end - value));
    if (!source->changes || *value == 'n')
        return 1;
    dbk_buf_reset(out);
    int rc = dbk_upcast_convert(source->change.conversions->type, *value_out, out);
    if (rc < 0 || out->rc < 0)
        return -1;
    if (rc == 1)
        *value_out = dbk_buf_slice(out);
    return 1;
}

/* The source that has the name, NULL when it went or is not there. False: the name is no matter of
   the steps, and is had as it stands in the text. */
static bool look_at_sources(const struct dbk_upcast_object *object,
                            const struct dbk_upcast_finding *finding, struct dbk_slice name,
                            const struct dbk_upcast_source **source_out)
{
    bool taken = false;
    *source_out = NULL;
    for (size_t i = 0; i < object->source_count; i++) {
        const struct dbk_upcast_source *source = &object->sources[i];
        bool present = (finding->present >> i & 1) != 0;
        if (present && !source->removed && dbk_slice_equal(source->now, name))
            *source_out = source;
        taken = taken || dbk_slice_equal(source->name, name);
    }
    return taken || *source_out != NULL;
}

static const struct dbk_upcast_addition *find_addition(const struct dbk_upcast_object *object,
                                                       uint64_t present, struct dbk_slice name)
{
    for (size_t i = 0; i < object->addition_count; i++) {
        const struct dbk_upcast_addition *addition = &object->additions[i];
        if (!addition->removed && (present & addition->unless) == 0 &&
            dbk_slice_equal(addition->now, name))
            return addition;
    }
    return NULL;
}

bool dbk_upcast_begin_pick(const struct dbk_upcast_program *program, struct dbk_slice text,
                           struct dbk_upcast_finding *finding)
{
    const struct dbk_upcast_object *object = program->root.object;
    return object != NULL && object->findable && dbk_upcast_find(object, text, finding) &&
           !dbk_upcast_has_conflict(object, finding->present);
}

int dbk_upcast_pick(const struct dbk_upcast_program *program, struct dbk_slice text,
                    const struct dbk_upcast_finding *finding, struct dbk_slice name,
                    struct dbk_buf *out, struct dbk_slice *value_out)
{
    const struct dbk_upcast_object *object = program->root.object;
    const struct dbk_upcast_source *source = NULL;
    const struct dbk_upcast_addition *addition = find_addition(object, finding->present, name);
    if (addition != NULL) {
        *value_out = addition->value;
        return 1;
    }
    if (!look_at_sources(object, finding, name, &source))
        return dbk_json_find(text, name, value_out);
    if (source == NULL)
        return 0;
    for (size_t i = 0; i < finding->count; i++) {
        if (finding->found[i].source == source)
            return take_source(finding, &finding->found[i], out, value_out);
    }
    return dbk_json_find(text, source->name, value_out); /* nothing becomes of it */
}
