/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One walk over the text. What stays as it is, is copied in stretches as long as they get:
 *
 *     {"id":"7", "name":"Ann", "note":null}
 *      ----------              ------------ copied
 *                 ^ renamed, and so written anew
 *
 * `copied` is where the stretch not yet copied begins. A member that is left out opens a gap: what
 * stands before it is copied at once, and the stretch begins again at the next member that stays,
 * so that there is one comma between any two that do.
 */
#include "schema/program.h"

#ifdef __SSE2__
#include <emmintrin.h>
#define BLOCK 16
#endif

#include "json/json.h"

struct run {
    const char *at;
    const char *end;
    const char *copied;
    struct dbk_buf *out;
    bool edited;
    bool escapes; /* a backslash stands somewhere in the text */
    struct dbk_error *err;
};

static int damaged(const struct run *run)
{
    return dbk_error_set(run->err, DBK_ECORRUPT, "the event's data is no JSON");
}

static inline void skip_space(struct run *run)
{
    while (run->at < run->end && (unsigned char)*run->at <= ' ')
        run->at++;
}

/* Most strings end within one or two blocks, too soon for a call to pay. */
static inline const char *next_quote(const char *at, const char *end)
{
#ifdef __SSE2__
    const __m128i quotes = _mm_set1_epi8('"');
    for (; end - at >= BLOCK; at += BLOCK) {
        __m128i block = _mm_loadu_si128((const __m128i *)(const void *)at);
        unsigned found = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(block, quotes));
        if (found != 0)
            return at + __builtin_ctz(found);
    }
#endif
    return at < end ? memchr(at, '"', (size_t)(end - at)) : NULL;
}

/* The byte behind the string that begins here; NULL when it does not end. */
static const char *end_of_string(const char *at, const char *end)
{
    for (at++; (at = next_quote(at, end)) != NULL; at++) {
        /* An odd number of backslashes before it escape it. */
        const char *before = at;
        while (before[-1] == '\\')
            before--;
        if ((at - before) % 2 == 0)
            return at + 1;
    }
    return NULL;
}

static const char *end_of_container(const char *at, const char *end)
{
    for (size_t depth = 0; at != NULL && at < end;) {
        switch (*at) {
        case '"':
            at = end_of_string(at, end);
            continue;
        case '{':
        case '[':
            depth++;
            break;
        case '}':
        case ']':
            if (--depth == 0)
                return at + 1;
            break;
        default:
            break;
        }
        at++;
    }
    return NULL;
}

static bool ends_scalar(char byte)
{
    return byte == ',' || byte == '}' || byte == ']' || (unsigned char)byte <= ' ';
}

/* Goes past a value, whatever it is. */
static int skip_value(struct run *run)
{
    const char *at = run->at;
    if (at == run->end)
        return damaged(run);
    if (*at == '"') {
        at = end_of_string(at, run->end);
    } else if (*at == '{' || *at == '[') {
        at = end_of_container(at, run->end);
    } else {
        while (at < run->end && !ends_scalar(*at))
            at++;
    }
    if (at == NULL || at == run->at)
        return damaged(run);
    run->at = at;
    return DBK_OK;
}

static inline void put(struct run *run, struct dbk_slice bytes)
{
    struct dbk_buf *out = run->out;
    if (bytes.size == 0 || bytes.size > out->capacity - out->size || out->rc < 0) {
        dbk_buf_append(out, bytes);
        return;
    }
    memcpy(out->data + out->size, bytes.data, bytes.size);
    out->size += bytes.size;
}

/* What is written instead of the text from here on begins: copies up to it. */
static void copy_to(struct run *run, const char *to)
{
    put(run, dbk_slice(run->copied, (size_t)(to - run->copied)));
    run->copied = to;
    run->edited = true;
}

/* What is no object or array, where something shall be added to one. */
static int refuse_addition(const struct run *run, const struct dbk_upcast_origin *adds,
                           const char *what)
{
    return adds == NULL ? DBK_OK
                        : dbk_error_set(run->err, DBK_ESCRIPT,
                                        "version %u: %.*s cannot be added: what it belongs to is "
                                        "no %s",
                                        adds->version, DBK_SLICE_ARGS(adds->path), what);
}

static int refuse_conversion(const struct run *run, const struct dbk_upcast_conversion *conversion,
                             struct dbk_slice text)
{
    bool cut = text.size > 64;
    return dbk_error_set(run->err, DBK_ESCRIPT, "version %u: %.*s: %.*s%s cannot become %s %s",
                         conversion->origin.version, DBK_SLICE_ARGS(conversion->origin.path),
                         cut ? 64 : (int)text.size, text.data, cut ? "..." : "",
                         conversion->type == DBK_UPCAST_INTEGER ? "an" : "a",
                         dbk_upcast_type_name(conversion->type));
}

/* The value from `begin` to here through all conversions. What comes out stands at the end of the
   output, where the next one reads it. */
static int convert(struct run *run, const struct dbk_upcast_conversion *conversion,
                   const char *begin)
{
    struct dbk_buf *out = run->out;
    struct dbk_slice text = dbk_slice(begin, (size_t)(run->at - begin));
    const struct run before = *run;
    size_t size_before = out->size;
    size_t made = 0;
    if (conversion == NULL)
        return DBK_OK;
    copy_to(run, begin);
    size_t size = out->size;
    for (; conversion != NULL; conversion = conversion->next) {
        /* With room for the result `text` stays where it is. */
        int rc = dbk_buf_reserve(out, text.size + 64);
        if (rc < 0)
            return rc;
        if (made > 0)
            text = dbk_slice(out->data + size, made);
        rc = dbk_upcast_convert(conversion->type, text, out);
        if (rc < 0)
            return refuse_conversion(run, conversion, text);
        if (rc == 0)
            continue;
        size_t next = out->size - size - made;
        memmove(out->data + size, out->data + size + made, next);
        made = next;
        out->size = size + made;
        text = dbk_slice(out->data + size, made);
    }
    if (made == 0) {
        *run = before;
        out->size = size_before;
    } else {
        run->copied = run->at;
    }
    return DBK_OK;
}

/* What stands for a personal field that was forgotten is no value of any kind. */
static bool is_forgotten(const struct run *run)
{
    static const char mark[] = "{\"$forgotten\"";
    return (size_t)(run->end - run->at) >= sizeof(mark) - 1 &&
           memcmp(run->at, mark, sizeof(mark) - 1) == 0;
}

static int run_value(struct run *run, const struct dbk_upcast_change *change);

static int run_scalar(struct run *run, const struct dbk_upcast_change *change)
{
    const char *begin = run->at;
    int rc = skip_value(run);
    if (rc < 0 || *begin == 'n')
        return rc;
    rc = refuse_addition(run, change->adds_in_object, "object");
    if (rc == DBK_OK)
        rc = refuse_addition(run, change->adds_in_array, "array");
    return rc == DBK_OK ? convert(run, change->conversions, begin) : rc;
}

static int run_array(struct run *run, const struct dbk_upcast_change *element)
{
    run->at++;
    skip_space(run);
    if (run->at < run->end && *run->at == ']') {
        run->at++;
        return DBK_OK;
    }
    for (;;) {
        skip_space(run);
        int rc = run_value(run, element);
        if (rc < 0)
            return rc;
        skip_space(run);
        if (run->at == run->end || (*run->at != ',' && *run->at != ']'))
            return damaged(run);
        if (*run->at++ == ']')
            return DBK_OK;
    }
}

/* ---- Objects ---- */

struct walk {
    const struct dbk_upcast_object *object;
    uint64_t present;
    bool kept;            /* some member was */
    bool gap;             /* the last ones were left out */
    const char *kept_end; /* behind the last one that was kept, or behind the brace */
};

static const struct dbk_upcast_source *find(const struct dbk_upcast_object *object,
                                            struct dbk_slice name)
{
    for (size_t i = 0; i < object->source_count; i++) {
        if (dbk_slice_equal(object->sources[i].name, name))
            return &object->sources[i];
    }
    return NULL;
}

/* As find, of a key that has escapes: rare, and so kept apart. */
static __attribute__((noinline)) const struct dbk_upcast_source *
find_escaped(const struct dbk_upcast_object *object, struct dbk_slice key)
{
    char name[DBK_UPCAST_NAME_SIZE_MAX];
    return dbk_json_unescape(key, name, sizeof(name), &key) ? find(object, key) : NULL;
}

/* A member stays that begins here. */
static void keep(struct run *run, struct walk *walk, const char *begin)
{
    if (!walk->gap)
        return;
    if (walk->kept)
        put(run, DBK_SLICE_LITERAL(","));
    run->copied = begin;
    walk->gap = false;
}

/* The value of a member that is left out: it may yet be one that cannot be converted. */
static int drop(struct run *run, struct walk *walk, const struct dbk_upcast_source *source)
{
    if (!walk->gap)
        copy_to(run, walk->kept_end);
    walk->gap = true;
    if (!source->changes)
        return skip_value(run);
    size_t size = run->out->size;
    run->copied = run->at;
    int rc = run_value(run, &source->change);
    run->out->size = size;
    return rc;
}

/* What stands between a key and its value. */
static int take_colon(struct run *run)
{
    skip_space(run);
    if (run->at == run->end || *run->at != ':')
        return damaged(run);
    run->at++;
    skip_space(run);
    return DBK_OK;
}

/* A member that is a source: behind its key. */
static int run_source(struct run *run, struct walk *walk, const char *begin,
                      const struct dbk_upcast_source *source)
{
    const char *key_end = run->at;
    int rc = take_colon(run);
    if (rc < 0)
        return rc;
    walk->present |= UINT64_C(1) << (source - walk->object->sources);
    if (source->removed)
        return drop(run, walk, source);
    keep(run, walk, begin);
    if (source->key.size > 0) {
        copy_to(run, begin);
        put(run, source->key);
        run->copied = key_end;
    }
    rc = source->changes ? run_value(run, &source->change) : skip_value(run);
    walk->kept = true;
    walk->kept_end = run->at;
    return rc;
}

static int run_member(struct run *run, struct walk *walk)
{
    const char *begin = run->at;
    if (begin == run->end || *begin != '"')
        return damaged(run);
    const char *key_end = end_of_string(begin, run->end);
    if (key_end == NULL)
        return damaged(run);
    run->at = key_end;
    struct dbk_slice key = dbk_slice(begin + 1, (size_t)(key_end - begin) - 2);
    const struct dbk_upcast_source *source = find(walk->object, key);
    if (source == NULL && run->escapes && memchr(key.data, '\\', key.size) != NULL)
        source = find_escaped(walk->object, key);
    if (source != NULL)
        return run_source(run, walk, begin, source);
    int rc = take_colon(run);
    if (rc < 0)
        return rc;
    keep(run, walk, begin);
    rc = skip_value(run);
    walk->kept = true;
    walk->kept_end = run->at;
    return rc;
}

static int check_conflicts(const struct run *run, const struct walk *walk)
{
    for (const struct dbk_upcast_conflict *conflict = walk->object->conflicts; conflict != NULL;
         conflict = conflict->next) {
        if ((conflict->certain || (walk->present & conflict->sources) != 0) &&
            (conflict->other_certain || (walk->present & conflict->others) != 0))
            return dbk_error_set(run->err, DBK_ESCRIPT,
                                 "version %u: %.*s cannot be renamed to %.*s: there is one",
                                 conflict->origin.version, DBK_SLICE_ARGS(conflict->origin.path),
                                 DBK_SLICE_ARGS(conflict->to));
    }
    return DBK_OK;
}

/* The object ends here: what is added comes before its brace. */
static void add_missing(struct run *run, struct walk *walk)
{
    const struct dbk_upcast_object *object = walk->object;
    for (size_t i = 0; i < object->addition_count; i++) {
        const struct dbk_upcast_addition *addition = &object->additions[i];
        if (addition->removed || (walk->present & addition->unless) != 0)
            continue;
        if (!walk->gap)
            copy_to(run, walk->kept_end);
        walk->gap = true;
        if (walk->kept)
            put(run, DBK_SLICE_LITERAL(","));
        put(run, addition->member);
        walk->kept = true;
    }
    if (walk->gap)
        run->copied = run->at;
}

static int run_object(struct run *run, const struct dbk_upcast_object *object)
{
    struct walk walk = {.object = object, .kept_end = ++run->at};
    skip_space(run);
    bool more = run->at < run->end && *run->at != '}';
    while (more) {
        skip_space(run);
        int rc = run_member(run, &walk);
        if (rc < 0)
            return rc;
        skip_space(run);
        more = run->at < run->end && *run->at == ',';
        run->at += more;
    }
    if (run->at == run->end || *run->at != '}')
        return damaged(run);
    int rc = check_conflicts(run, &walk);
    if (rc < 0)
        return rc;
    add_missing(run, &walk);
    run->at++;
    return DBK_OK;
}

static int run_value(struct run *run, const struct dbk_upcast_change *change)
{
    const char *begin = run->at;
    if (begin == run->end)
        return damaged(run);
    bool is_object = *begin == '{';
    if (is_object && is_forgotten(run))
        return skip_value(run);
    if (!is_object && *begin != '[')
        return run_scalar(run, change);
    int rc = refuse_addition(run, is_object ? change->adds_in_array : change->adds_in_object,
                             is_object ? "array" : "object");
    if (rc == DBK_OK && change->conversions != NULL)
        rc = refuse_conversion(run, change->conversions, DBK_SLICE_LITERAL("an object or array"));
    if (rc < 0)
        return rc;
    if (is_object && change->object != NULL)
        return run_object(run, change->object);
    if (!is_object && change->element != NULL)
        return run_array(run, change->element);
    return skip_value(run);
}

static int walk(const struct dbk_upcast_change *change, struct dbk_slice text, struct dbk_buf *out,
                struct dbk_error *err)
{
    struct run run = {
        .at = text.data, .end = text.data + text.size, .copied = text.data, .out = out, .err = err};
    size_t size = out->size;
    if (text.size == 0)
        return damaged(&run);
    run.escapes = memchr(text.data, '\\', text.size) != NULL;
    skip_space(&run);
    int rc = run_value(&run, change);
    skip_space(&run);
    if (rc >= 0 && run.at != run.end)
        rc = damaged(&run);
    if (rc >= 0 && run.edited)
        copy_to(&run, run.end);
    if (rc >= 0 && out->rc < 0)
        rc = dbk_error_set(err, out->rc, "an event's data: %s", dbk_code_text(out->rc));
    if (rc >= 0 && run.edited)
        return 1;
    if (out->rc == DBK_OK)
        out->size = size;
    return rc < 0 ? rc : 0;
}

int dbk_upcast_run_change(const struct dbk_upcast_change *change, struct dbk_slice text,
                          struct dbk_buf *out, struct dbk_error *err)
{
    struct dbk_upcast_finding finding;
    const struct dbk_upcast_object *object = change->object;
    int rc = object != NULL && object->findable && dbk_upcast_find(object, text, &finding)
                 ? dbk_upcast_splice(object, text, &finding, out)
                 : -1;
    return rc >= 0 ? rc : walk(change, text, out, err);
}

int dbk_upcast_run(const struct dbk_upcast_program *program, struct dbk_slice text,
                   struct dbk_buf *out, struct dbk_error *err)
{
    return dbk_upcast_run_change(&program->root, text, out, err);
}
