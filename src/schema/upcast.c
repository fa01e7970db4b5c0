/* SPDX-License-Identifier: Apache-2.0 */
/* Compiling: each operation is done to what is known of the members so far (schema/program.h). */
#include "schema/upcast.h"

#include "json/json.h"
#include "schema/program.h"

#define PROGRAM_SIZE_MAX ((size_t)16 << 20)
#define VALUE_SIZE_MAX ((size_t)1 << 20)

/* ---- Paths ---- */

struct part {
    struct dbk_slice name;
    unsigned levels; /* of arrays behind it */
};

struct path {
    struct part parts[DBK_UPCAST_PATH_MAX];
    size_t count;
};

static int path_fault(const struct dbk_schema_path *path, const char *what, struct dbk_error *err)
{
    return dbk_error_set(err, DBK_EINVAL, "the path \"%.*s\" %s", DBK_SLICE_ARGS(path->text), what);
}

static int split(const struct dbk_schema_path *text, struct path *path, struct dbk_error *err)
{
    *path = (struct path){0};
    if (text->count == 0 || text->count > DBK_UPCAST_PATH_MAX ||
        text->text.size > DBK_UPCAST_NAME_SIZE_MAX)
        return path_fault(text, text->count == 0 ? "is empty" : "is too long", err);
    for (size_t i = 0; i < text->count; i++) {
        if (text->steps[i].key.data != NULL)
            path->parts[path->count++].name = text->steps[i].key;
        else if (path->count == 0)
            return path_fault(text, "must begin with a name", err);
        else
            path->parts[path->count - 1].levels++;
    }
    return DBK_OK;
}

static bool same_parent(const struct path *a, const struct path *b)
{
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i + 1 < a->count; i++) {
        if (a->parts[i].levels != b->parts[i].levels ||
            !dbk_slice_equal(a->parts[i].name, b->parts[i].name))
            return false;
    }
    return true;
}

static const struct part *last_of(const struct path *path)
{
    return &path->parts[path->count - 1];
}

static int check_rename(const struct dbk_upcast_step *step, const struct path *path,
                        struct path *to, struct dbk_error *err)
{
    int rc = split(&step->to, to, err);
    if (rc < 0)
        return rc;
    if (last_of(to)->levels > 0)
        return path_fault(&step->to, "must end with a name", err);
    if (!same_parent(path, to))
        return path_fault(&step->to, "is in another object: only a Lua file can move it there",
                          err);
    return dbk_slice_equal(last_of(path)->name, last_of(to)->name)
               ? path_fault(&step->to, "is the name it has", err)
               : DBK_OK;
}

static int check(const struct dbk_upcast_step *step, struct path *path, struct path *to,
                 struct dbk_error *err)
{
    int rc = split(&step->path, path, err);
    if (rc == DBK_OK && step->kind != DBK_UPCAST_CONVERT && last_of(path)->levels > 0)
        rc = path_fault(&step->path, "must end with a name", err);
    return rc == DBK_OK && step->kind == DBK_UPCAST_RENAME ? check_rename(step, path, to, err) : rc;
}

/* ---- Doing a step to what is known ---- */

struct compiler {
    struct dbk_arena *arena;
    const struct dbk_upcast_step *step;
    const struct dbk_upcast_origin *origin;
    struct path path;
    struct path to;
    struct dbk_error *err;
};

static int no_memory(const struct compiler *compiler)
{
    return dbk_error_set(compiler->err, DBK_ENOMEM, "out of memory compiling an upcast");
}

static int refuse(const struct compiler *compiler, const char *why)
{
    return dbk_error_set(compiler->err, DBK_EINVAL, "version %u: %.*s %s",
                         compiler->origin->version, DBK_SLICE_ARGS(compiler->origin->path), why);
}

static int too_many(const struct compiler *compiler)
{
    return dbk_error_set(compiler->err, DBK_ELIMIT,
                         "version %u: %.*s: a chain names more than %d members of one object",
                         compiler->origin->version, DBK_SLICE_ARGS(compiler->origin->path),
                         DBK_UPCAST_NAMES_MAX);
}

/* Makes the member of the text known that has this name there. */
static int ensure_source(const struct compiler *compiler, struct dbk_upcast_object *object,
                         struct dbk_slice name)
{
    for (size_t i = 0; i < object->source_count; i++) {
        if (dbk_slice_equal(object->sources[i].name, name))
            return DBK_OK;
    }
    if (object->source_count == DBK_UPCAST_NAMES_MAX)
        return too_many(compiler);
    object->sources[object->source_count++] = (struct dbk_upcast_source){.name = name, .now = name};
    return DBK_OK;
}

static bool is_named(const struct dbk_upcast_source *source, struct dbk_slice name)
{
    return !source->removed && dbk_slice_equal(source->now, name);
}

/* The sources that may be the member of this name now. */
static uint64_t sources_of(const struct dbk_upcast_object *object, struct dbk_slice name)
{
    uint64_t sources = 0;
    for (size_t i = 0; i < object->source_count; i++) {
        if (is_named(&object->sources[i], name))
            sources |= UINT64_C(1) << i;
    }
    return sources;
}

/* The addition of this name, by which it is there for certain. */
static struct dbk_upcast_addition *addition_of(struct dbk_upcast_object *object,
                                               struct dbk_slice name)
{
    for (size_t i = 0; i < object->addition_count; i++) {
        struct dbk_upcast_addition *addition = &object->additions[i];
        if (!addition->removed && dbk_slice_equal(addition->now, name))
            return addition;
    }
    return NULL;
}

/* "name": and what follows, in the arena. */
static int write_member(const struct compiler *compiler, struct dbk_slice name,
                        struct dbk_slice value, struct dbk_slice *member_out)
{
    struct dbk_buf text;
    dbk_buf_init(&text, VALUE_SIZE_MAX * 2);
    dbk_json_write_string(&text, name);
    if (value.size > 0) {
        dbk_buf_append_char(&text, ':');
        dbk_buf_append(&text, value);
    }
    int rc = text.rc;
    if (rc == DBK_OK)
        *member_out = dbk_arena_copy(compiler->arena, dbk_buf_slice(&text));
    dbk_buf_release(&text);
    return rc < 0 || member_out->data == NULL ? no_memory(compiler) : DBK_OK;
}

static int add(const struct compiler *compiler, struct dbk_upcast_object *object,
               struct dbk_slice name)
{
    if (addition_of(object, name) != NULL)
        return DBK_OK;
    if (object->addition_count == DBK_UPCAST_NAMES_MAX)
        return too_many(compiler);
    struct dbk_upcast_addition addition = {
        .now = name, .value = compiler->step->value->raw, .unless = sources_of(object, name)};
    int rc = write_member(compiler, name, addition.value, &addition.member);
    if (rc == DBK_OK)
        object->additions[object->addition_count++] = addition;
    return rc;
}

static void remove_member(struct dbk_upcast_object *object, struct dbk_slice name)
{
    struct dbk_upcast_addition *addition = addition_of(object, name);
    for (size_t i = 0; i < object->source_count; i++)
        object->sources[i].removed =
            object->sources[i].removed || is_named(&object->sources[i], name);
    if (addition != NULL)
        addition->removed = true;
}

static int note_conflict(const struct compiler *compiler, struct dbk_upcast_object *object,
                         struct dbk_slice name, struct dbk_slice to)
{
    struct dbk_upcast_conflict conflict = {
        .sources = sources_of(object, name),
        .others = sources_of(object, to),
        .certain = addition_of(object, name) != NULL,
        .other_certain = addition_of(object, to) != NULL,
        .origin = *compiler->origin,
        .to = dbk_arena_copy(compiler->arena, compiler->step->to.text),
        .next = object->conflicts,
    };
    if (conflict.certain && conflict.other_certain)
        return refuse(compiler, "is always there, and so is what it is renamed to");
    if ((conflict.sources == 0 && !conflict.certain) ||
        (conflict.others == 0 && !conflict.other_certain))
        return DBK_OK;
    struct dbk_upcast_conflict *kept = dbk_arena_alloc(compiler->arena, sizeof(*kept));
    if (kept == NULL || conflict.to.data == NULL)
        return no_memory(compiler);
    *kept = conflict;
    object->conflicts = kept;
    return DBK_OK;
}

static int rename_member(const struct compiler *compiler, struct dbk_upcast_object *object,
                         struct dbk_slice name)
{
    struct dbk_slice to = compiler->to.parts[compiler->to.count - 1].name;
    struct dbk_slice key = {0};
    int rc = ensure_source(compiler, object, to);
    if (rc == DBK_OK)
        rc = note_conflict(compiler, object, name, to);
    if (rc == DBK_OK)
        rc = write_member(compiler, to, (struct dbk_slice){0}, &key);
    struct dbk_upcast_addition *addition = addition_of(object, name);
    if (rc == DBK_OK && addition != NULL)
        rc = write_member(compiler, to, addition->value, &addition->member);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < object->source_count; i++) {
        struct dbk_upcast_source *source = &object->sources[i];
        if (!is_named(source, name))
            continue;
        source->now = to;
        source->key = dbk_slice_equal(source->name, to) ? (struct dbk_slice){0} : key;
    }
    if (addition != NULL)
        addition->now = to;
    return DBK_OK;
}

static int add_conversion(const struct compiler *compiler, struct dbk_upcast_change *change)
{
    struct dbk_upcast_conversion **end = &change->conversions;
    struct dbk_upcast_conversion *conversion =
        dbk_arena_alloc_zero(compiler->arena, 1, sizeof(*conversion));
    if (conversion == NULL)
        return no_memory(compiler);
    conversion->type = compiler->step->type;
    conversion->origin = *compiler->origin;
    while (*end != NULL)
        end = &(*end)->next;
    *end = conversion;
    return DBK_OK;
}

static int apply_to_object(const struct compiler *compiler, struct dbk_upcast_object *object,
                           size_t part);

/* The value that part `part` of the path names; `level` arrays of it have been entered. */
static int apply_to_value(const struct compiler *compiler, struct dbk_upcast_change *change,
                          size_t part, unsigned level)
{
    bool adds = compiler->step->kind == DBK_UPCAST_ADD;
    if (level < compiler->path.parts[part].levels) {
        if (change->element == NULL)
            change->element = dbk_arena_alloc_zero(compiler->arena, 1, sizeof(*change->element));
        if (change->element == NULL)
            return no_memory(compiler);
        if (adds && change->adds_in_array == NULL)
            change->adds_in_array = compiler->origin;
        return apply_to_value(compiler, change->element, part, level + 1);
    }
    if (part + 1 == compiler->path.count)
        return add_conversion(compiler, change);
    if (change->object == NULL)
        change->object = dbk_arena_alloc_zero(compiler->arena, 1, sizeof(*change->object));
    if (change->object == NULL)
        return no_memory(compiler);
    if (adds && change->adds_in_object == NULL)
        change->adds_in_object = compiler->origin;
    return apply_to_object(compiler, change->object, part + 1);
}

/* An added value is changed at once, by a program for it alone. */
static int apply_to_addition(const struct compiler *compiler, struct dbk_upcast_addition *addition,
                             size_t part)
{
    struct dbk_upcast_change change = {0};
    struct dbk_error failure = {0};
    struct dbk_buf text;
    dbk_buf_init(&text, VALUE_SIZE_MAX);
    int rc = apply_to_value(compiler, &change, part, 0);
    int ran = rc < 0 ? rc : dbk_upcast_run_change(&change, addition->value, &text, &failure);
    if (rc == DBK_OK && ran < 0)
        rc = dbk_error_set(compiler->err, ran == DBK_ESCRIPT ? DBK_EINVAL : ran,
                           "%s, as added by an earlier version", failure.message);
    if (ran == 1) {
        addition->value = dbk_arena_copy(compiler->arena, dbk_buf_slice(&text));
        rc = addition->value.data == NULL
                 ? no_memory(compiler)
                 : write_member(compiler, addition->now, addition->value, &addition->member);
    }
    dbk_buf_release(&text);
    return rc;
}

/* Whatever may be the member of this name gets the change. */
static int apply_below(const struct compiler *compiler, struct dbk_upcast_object *object,
                       size_t part)
{
    struct dbk_slice name = compiler->path.parts[part].name;
    struct dbk_upcast_addition *addition = addition_of(object, name);
    int rc = addition == NULL ? DBK_OK : apply_to_addition(compiler, addition, part);
    for (size_t i = 0; rc == DBK_OK && i < object->source_count; i++) {
        if (!is_named(&object->sources[i], name))
            continue;
        object->sources[i].changes = true;
        rc = apply_to_value(compiler, &object->sources[i].change, part, 0);
    }
    return rc;
}

static int apply_to_object(const struct compiler *compiler, struct dbk_upcast_object *object,
                           size_t part)
{
    struct dbk_slice name = compiler->path.parts[part].name;
    int rc = ensure_source(compiler, object, name);
    if (rc < 0)
        return rc;
    if (part + 1 < compiler->path.count)
        return apply_below(compiler, object, part);
    switch (compiler->step->kind) {
    case DBK_UPCAST_ADD:
        return add(compiler, object, name);
    case DBK_UPCAST_RENAME:
        return rename_member(compiler, object, name);
    case DBK_UPCAST_REMOVE:
        remove_member(object, name);
        return DBK_OK;
    case DBK_UPCAST_CONVERT:
        break;
    }
    return apply_below(compiler, object, part);
}

/* ---- Programs ---- */

static int copy_name(const struct compiler *compiler, struct dbk_slice *text)
{
    *text = dbk_arena_copy(compiler->arena, *text);
    return text->data == NULL ? no_memory(compiler) : DBK_OK;
}

/* The texts of a path in the arena, so that the step need not stay. */
static int copy_names(const struct compiler *compiler, struct path *path)
{
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < path->count; i++)
        rc = copy_name(compiler, &path->parts[i].name);
    return rc;
}

static int apply(struct dbk_upcast_program *program, uint16_t version,
                 const struct dbk_upcast_step *step, struct dbk_error *err)
{
    struct dbk_upcast_change *root = &program->root;
    struct dbk_error failure = {0};
    struct dbk_upcast_origin *origin = dbk_arena_alloc(&program->arena, sizeof(*origin));
    struct compiler compiler = {
        .arena = &program->arena, .step = step, .origin = origin, .err = err};
    int rc = check(step, &compiler.path, &compiler.to, &failure);
    if (rc < 0)
        return dbk_error_set(err, rc, "version %u: %s", version, failure.message);
    if (root->object == NULL)
        root->object = dbk_arena_alloc_zero(&program->arena, 1, sizeof(*root->object));
    if (origin == NULL || root->object == NULL)
        return no_memory(&compiler);
    *origin = (struct dbk_upcast_origin){version, step->path.text};
    rc = copy_name(&compiler, &origin->path);
    if (rc == DBK_OK)
        rc = copy_names(&compiler, &compiler.path);
    if (rc == DBK_OK)
        rc = copy_names(&compiler, &compiler.to);
    if (rc == DBK_OK && step->kind == DBK_UPCAST_ADD && root->adds_in_object == NULL)
        root->adds_in_object = origin;
    return rc == DBK_OK ? apply_to_object(&compiler, root->object, 0) : rc;
}

int dbk_upcast_compile(const struct dbk_upcast_version *versions, size_t count,
                       struct dbk_upcast_program **program_out, struct dbk_upcast_place *place_out,
                       struct dbk_error *err)
{
    struct dbk_upcast_program *program = dbk_alloc_zero(1, sizeof(*program));
    int rc = DBK_OK;
    if (program == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory compiling an upcast");
    dbk_arena_init(&program->arena, PROGRAM_SIZE_MAX);
    for (size_t i = 0; rc == DBK_OK && i < count; i++) {
        for (size_t j = 0; rc == DBK_OK && j < versions[i].count; j++) {
            rc = apply(program, versions[i].version, &versions[i].steps[j], err);
            if (rc < 0 && place_out != NULL)
                *place_out = (struct dbk_upcast_place){i, j};
        }
    }
    if (rc < 0) {
        dbk_upcast_free(program);
        return rc;
    }
    if (program->root.object != NULL)
        dbk_upcast_note_names(program->root.object);
    *program_out = program;
    return DBK_OK;
}

void dbk_upcast_free(struct dbk_upcast_program *program)
{
    if (program == NULL)
        return;
    dbk_arena_release(&program->arena);
    dbk_free(program);
}
