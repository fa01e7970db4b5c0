/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Members are found by their quotes. Where a text has no backslash, each quote in it begins or ends
 * a string, so that those of a name's size are soon sorted out:
 *
 *     text     {"id":"7","amount":12,"note":null}
 *     quotes    x  x x x x      x    x    x
 *     sizes        2   1        6         4
 *
 * One that a colon follows is a key, and one of the object itself when no other object or array has
 * begun before it.
 */
#include "json/quotes.h"
#include "schema/program.h"

#define NAME_SIZE_MAX ((size_t)63)
#define CONVERTED_SIZE_MAX ((size_t)32) /* so much more than the value was */

void dbk_upcast_note_names(struct dbk_upcast_object *object)
{
    object->findable = object->source_count <= DBK_UPCAST_FINDABLE_MAX;
    for (size_t i = 0; i < object->source_count; i++) {
        size_t size = object->sources[i].name.size;
        object->findable = object->findable && size <= NAME_SIZE_MAX;
        if (size <= NAME_SIZE_MAX)
            object->name_sizes |= UINT64_C(1) << size;
        object->growth += object->sources[i].key.size + CONVERTED_SIZE_MAX;
    }
    for (size_t i = 0; i < object->addition_count; i++)
        object->growth += object->additions[i].member.size + 1;
}

/* A string of as many bytes as some source's name has. False: it takes a walk. */
static bool take_string(const struct dbk_upcast_object *object, struct dbk_slice body, bool plain,
                        struct dbk_slice string, struct dbk_upcast_finding *finding)
{
    size_t begin = (size_t)(string.data - body.data) - 1;
    if (!dbk_json_is_key(body, begin + string.size + 2))
        return true;
    for (size_t i = 0; i < object->source_count; i++) {
        const struct dbk_upcast_source *source = &object->sources[i];
        if (source->name.size != string.size ||
            !dbk_json_is_same(source->name.data, string.data, string.size))
            continue;
        uint64_t bit = UINT64_C(1) << i;
        if ((finding->present & bit) != 0 || !(plain || dbk_json_is_on_top(body, begin)))
            return false;
        finding->present |= bit;
        if (source->removed || source->changes || source->key.size > 0)
            finding->found[finding->count++] = (struct dbk_upcast_found){begin + 1, source};
        return true;
    }
    return true;
}

static bool find_sources(const struct dbk_upcast_object *object, struct dbk_slice body,
                         const struct dbk_json_quotes *quotes, struct dbk_upcast_finding *finding)
{
    size_t begin = 0;
    bool within = false;
    for (size_t i = 0; i < quotes->count; i++) {
        for (uint64_t word = quotes->words[i]; word != 0; word &= word - 1) {
            size_t at = i * 64 + (size_t)__builtin_ctzll(word);
            within = !within;
            if (within) {
                begin = at + 1;
                continue;
            }
            size_t size = at - begin;
            if (size <= NAME_SIZE_MAX && (object->name_sizes >> size & 1) != 0 &&
                !take_string(object, body, quotes->plain, dbk_slice(body.data + begin, size),
                             finding))
                return false;
        }
    }
    return true;
}

/* What stands for forgotten data is left alone, which a walk does. */
static bool is_forgotten(struct dbk_slice body)
{
    return body.size > 1 && body.data[0] == '"' && body.data[1] == '$';
}

bool dbk_upcast_find(const struct dbk_upcast_object *object, struct dbk_slice text,
                     struct dbk_upcast_finding *finding)
{
    struct dbk_json_quotes quotes;
    const char *begin = text.data;
    const char *end = text.data + text.size;
    while (begin < end && (unsigned char)*begin <= ' ')
        begin++;
    while (end > begin && (unsigned char)end[-1] <= ' ')
        end--;
    if (end - begin < 2 || (size_t)(end - begin) - 2 > DBK_JSON_QUOTES_MAX || *begin != '{' ||
        end[-1] != '}')
        return false;
    struct dbk_slice body = dbk_slice(begin + 1, (size_t)(end - begin) - 2);
    finding->begin = begin;
    finding->brace = end - 1;
    finding->present = 0;
    finding->count = 0;
    dbk_json_quotes_mark(&quotes, body);
    if (!quotes.plain && memchr(body.data, '\\', body.size) != NULL)
        return false;
    return !is_forgotten(body) && find_sources(object, body, &quotes, finding);
}

/* ---- Splicing ---- */

bool dbk_upcast_has_conflict(const struct dbk_upcast_object *object, uint64_t present)
{
    const struct dbk_upcast_conflict *conflict = object->conflicts;
    while (conflict != NULL && !((conflict->certain || (present & conflict->sources) != 0) &&
                                 (conflict->other_certain || (present & conflict->others) != 0)))
        conflict = conflict->next;
    return conflict != NULL;
}

/* As memcpy; most stretches are too short for a call to pay. */
static inline char *write(char *to, const char *from, size_t size)
{
    uint64_t ends[2];
    if (size < sizeof(ends[0]) || size > sizeof(ends)) {
        memcpy(to, from, size);
        return to + size;
    }
    memcpy(&ends[0], from, sizeof(ends[0]));
    memcpy(&ends[1], from + size - sizeof(ends[0]), sizeof(ends[0]));
    memcpy(to, &ends[0], sizeof(ends[0]));
    memcpy(to + size - sizeof(ends[0]), &ends[1], sizeof(ends[0]));
    return to + size;
}

/*
 * What stays is copied from `copied` on, as late as can be. A member that is left out opens a gap,
 * which the next one that stays closes, so that there is one comma between any two that do.
 */
struct splice {
    char *to;
    const char *copied;
    const char *next; /* where members begin of which nothing is known yet */
    bool kept;        /* some member before stays */
    bool gap;         /* the last ones before were left out */
};

static inline void copy_to(struct splice *splice, const char *end)
{
    splice->to = write(splice->to, splice->copied, (size_t)(end - splice->copied));
    splice->copied = end;
}

static const char *past_space(const char *at)
{
    while ((unsigned char)*at <= ' ')
        at++;
    return at;
}

static const char *before_space(const char *end)
{
    while ((unsigned char)end[-1] <= ' ')
        end--;
    return end;
}

const char *dbk_upcast_find_value(const struct dbk_upcast_finding *finding, const char *key_end,
                                  const char **value_out)
{
    const char *at = past_space(key_end);
    if (*at != ':')
        return NULL;
    at = past_space(at + 1);
    *value_out = at;
    if (*at == '{' || *at == '[')
        return NULL;
    if (*at == '"') {
        const char *end = memchr(at + 1, '"', (size_t)(finding->brace - at - 1));
        return end == NULL ? NULL : end + 1;
    }
    while (*at != ',' && *at != '}' && (unsigned char)*at > ' ')
        at++;
    return at > *value_out ? at : NULL;
}

/* A member that begins here stays. */
static inline void keep(struct splice *splice, const char *begin)
{
    if (splice->gap) {
        if (splice->kept)
            *splice->to++ = ',';
        splice->copied = begin;
        splice->gap = false;
    }
    splice->kept = true;
}

/* Those before a place about which nothing was found stay. */
static inline void keep_until(struct splice *splice, const char *end)
{
    if (end > splice->next)
        keep(splice, splice->next);
}

/* False: the commas are not where they have to be. */
static bool leave_out(struct splice *splice, const char *begin, const char *key,
                      const char *value_end)
{
    const char *end = before_space(key);
    if (end[-1] == ',')
        end = before_space(end - 1);
    else if (splice->kept || splice->gap)
        return false;
    if (!splice->kept)
        end = begin + 1;
    if (!splice->gap && end < splice->copied)
        return false;
    if (!splice->gap)
        copy_to(splice, end);
    splice->gap = true;
    value_end = past_space(value_end);
    splice->next = *value_end == ',' ? past_space(value_end + 1) : value_end;
    return true;
}

/* A value of another kind, by one conversion. False: it takes a walk, which may say why. */
static bool convert(struct splice *splice, const struct dbk_upcast_change *change,
                    const char *value, const char *end, struct dbk_buf *out)
{
    const struct splice before = *splice;
    if (*value == 'n')
        return true;
    copy_to(splice, value);
    if (change->conversions->type == DBK_UPCAST_STRING && *value != '"') {
        *splice->to++ = '"';
        copy_to(splice, end);
        *splice->to++ = '"';
        return true;
    }
    out->size = (size_t)(splice->to - out->data);
    int rc =
        dbk_upcast_convert(change->conversions->type, dbk_slice(value, (size_t)(end - value)), out);
    if (rc == 0)
        *splice = before;
    if (rc != 1)
        return rc == 0;
    splice->to = out->data + out->size;
    splice->copied = end;
    return true;
}

bool dbk_upcast_is_one_conversion(const struct dbk_upcast_change *change)
{
    return change->object == NULL && change->element == NULL && change->conversions != NULL &&
           change->conversions->next == NULL;
}

static bool splice_member(struct splice *splice, const struct dbk_upcast_finding *finding,
                          const struct dbk_upcast_found *found, struct dbk_buf *out)
{
    const struct dbk_upcast_source *source = found->source;
    const char *key = finding->begin + found->offset;
    const char *key_end = key + source->name.size + 2;
    const char *value = NULL;
    const char *end = NULL;
    if (key < splice->next)
        return false;
    if (source->removed || source->changes) {
        end = dbk_upcast_find_value(finding, key_end, &value);
        if (end == NULL || (source->changes &&
                            (source->removed || !dbk_upcast_is_one_conversion(&source->change))))
            return false;
    }
    keep_until(splice, key);
    if (source->removed)
        return leave_out(splice, finding->begin, key, end);
    keep(splice, key);
    splice->next = end != NULL ? end : key_end;
    if (source->key.size > 0) {
        copy_to(splice, key);
        splice->to = write(splice->to, source->key.data, source->key.size);
        splice->copied = key_end;
    }
    return end == NULL || convert(splice, &source->change, value, end, out);
}

/* The additions that are missing, behind the last member. Its state is a copy that nothing points
   to, so that it can stay in registers while bytes are written. */
static struct splice add_missing(struct splice splice, const struct dbk_upcast_object *object,
                                 const struct dbk_upcast_finding *finding)
{
    const char *end = before_space(finding->brace);
    size_t count = object->addition_count;
    uint64_t present = finding->present;
    keep_until(&splice, end);
    for (size_t i = 0; i < count; i++) {
        const struct dbk_upcast_addition *addition = &object->additions[i];
        if (addition->removed || (present & addition->unless) != 0)
            continue;
        if (!splice.gap)
            copy_to(&splice, end);
        splice.gap = true;
        if (splice.kept)
            *splice.to++ = ',';
        splice.to = write(splice.to, addition->member.data, addition->member.size);
        splice.kept = true;
    }
    if (splice.gap)
        splice.copied = finding->brace;
    return splice;
}

int dbk_upcast_splice(const struct dbk_upcast_object *object, struct dbk_slice text,
                      const struct dbk_upcast_finding *finding, struct dbk_buf *out)
{
    size_t before = out->size;
    size_t size = text.size + object->growth;
    if (dbk_upcast_has_conflict(object, finding->present))
        return -1;
    if (size > out->capacity - before &&
        (size > out->size_max - before || dbk_buf_reserve(out, size) < 0))
        return -1;
    struct splice splice = {
        .to = out->data + before, .copied = text.data, .next = past_space(finding->begin + 1)};
    bool spliced = true;
    for (size_t i = 0; spliced && i < finding->count; i++)
        spliced = splice_member(&splice, finding, &finding->found[i], out);
    if (spliced)
        splice = add_missing(splice, object, finding);
    out->size = before;
    if (!spliced || splice.copied == text.data)
        return spliced ? 0 : -1;
    copy_to(&splice, text.data + text.size);
    out->size = (size_t)(splice.to - out->data);
    return 1;
}
