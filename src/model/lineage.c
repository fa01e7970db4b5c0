/* SPDX-License-Identifier: Apache-2.0 */
#include "model/lineage.h"

#include "model/poster.h"

/* Takes the part before the first '.' off a path; false: there is none. */
static bool next_part(struct dbk_slice *path, struct dbk_slice *part_out)
{
    if (path->size == 0)
        return false;
    const char *dot = memchr(path->data, '.', path->size);
    size_t size = dot == NULL ? path->size : (size_t)(dot - path->data);
    *part_out = dbk_slice(path->data, size);
    *path = dot == NULL ? (struct dbk_slice){0}
                        : dbk_slice(path->data + size + 1, path->size - size - 1);
    return true;
}

/* One lies within the other. An array is taken as a whole. */
static bool meets(struct dbk_slice field, struct dbk_slice parameter)
{
    static const struct dbk_slice each = {.data = "[]", .size = 2};
    struct dbk_slice of_field;
    struct dbk_slice of_parameter;
    while (next_part(&field, &of_field) && next_part(&parameter, &of_parameter)) {
        bool array =
            of_field.size >= each.size &&
            dbk_slice_equal(dbk_slice(of_field.data + of_field.size - each.size, each.size), each);
        while (of_field.size >= each.size &&
               memcmp(of_field.data + of_field.size - each.size, each.data, each.size) == 0)
            of_field.size -= each.size;
        if (!dbk_slice_equal(of_field, of_parameter))
            return false;
        if (array)
            return true;
    }
    return true;
}

const struct dbk_personal_field *dbk_lineage_of(const struct dbk_model_definition *definition,
                                                struct dbk_slice type, struct dbk_slice parameter)
{
    enum dbk_parameter_kind kind = dbk_parameter_kind(parameter);
    if (kind != DBK_PARAMETER_DATA && kind != DBK_PARAMETER_WHOLE_DATA)
        return NULL;
    for (size_t i = 0; i < definition->personal_field_count; i++) {
        const struct dbk_personal_field *field = &definition->personal_fields[i];
        if (dbk_slice_equal(field->type, type) &&
            (kind == DBK_PARAMETER_WHOLE_DATA || meets(field->path, parameter)))
            return field;
    }
    return NULL;
}
