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
#include "schema/program.h"

#ifdef __SSE2__
#include <immintrin.h>
#endif

#define WORD 64
#define BLOCK 16
#define TEXT_SIZE_MAX ((size_t)4096)
#define NAME_SIZE_MAX ((size_t)63)
#define CONVERTED_SIZE_MAX ((size_t)32) /* so much more than the value was */

/* Of the bytes between the object's braces. */
struct quotes {
    uint64_t words[TEXT_SIZE_MAX / WORD]; /* a bit a byte */
    size_t count;
    bool plain; /* there is no backslash, and no other brace or bracket */
};

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

#ifdef __SSE2__
/* The quotes of a block. `special` gathers what is, without the bit 0x20, a brace, a bracket, a
   backslash, or one of three that are as rare. */
static inline uint64_t mark_block(const char *at, __m128i *special)
{
    __m128i block = _mm_loadu_si128((const __m128i *)(const void *)at);
    __m128i folded = _mm_or_si128(block, _mm_set1_epi8(0x20));
    *special = _mm_or_si128(*special, _mm_cmpgt_epi8(folded, _mm_set1_epi8('z')));
    return (uint64_t)(unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(block, _mm_set1_epi8('"')));
}

static inline uint64_t mark_word(const char *at, __m128i *special)
{
    uint64_t word = mark_block(at, special);
    word |= mark_block(at + BLOCK, special) << BLOCK;
    word |= mark_block(at + 2 * BLOCK, special) << 2 * BLOCK;
    return word | mark_block(at + 3 * BLOCK, special) << 3 * BLOCK;
}

/* The last word, of fewer bytes: its last block begins before it, where the text did. */
static inline uint64_t mark_rest(struct dbk_slice body, size_t at, __m128i *special)
{
    size_t count = body.size - at;
    uint64_t word = 0;
    size_t done = 0;
    for (; count - done >= BLOCK; done += BLOCK)
        word |= mark_block(body.data + at + done, special) << done;
    if (count == done)
        return word;
    if (body.size >= BLOCK) {
        uint64_t last = mark_block(body.data + body.size - BLOCK, special);
        return word | last >> (BLOCK - (count - done)) << done;
    }
    char bytes[BLOCK] = {0};
    memcpy(bytes, body.data, count);
    return mark_block(bytes, special);
}

/* As mark, for processors that have it. */
__attribute__((target("avx512bw,bmi2"))) static void mark_wide(struct quotes *quotes,
                                                               struct dbk_slice body)
{
    const __m512i quote = _mm512_set1_epi8('"');
    const __m512i fold = _mm512_set1_epi8(0x20);
    const __m512i last = _mm512_set1_epi8('z');
    uint64_t special = 0;
    size_t count = 0;
    for (size_t at = 0; at < body.size; at += WORD) {
        size_t left = body.size - at;
        __mmask64 there = left < WORD ? _bzhi_u64(UINT64_MAX, (unsigned)left) : UINT64_MAX;
        __m512i block = _mm512_maskz_loadu_epi8(there, body.data + at);
        special |= _mm512_cmpgt_epi8_mask(_mm512_or_si512(block, fold), last);
        quotes->words[count++] = _mm512_cmpeq_epi8_mask(block, quote);
    }
    quotes->count = count;
    quotes->plain = special == 0;
}

static void mark(struct quotes *quotes, struct dbk_slice body)
{
    if (__builtin_cpu_supports("avx512bw")) {
        mark_wide(quotes, body);
        return;
    }
    __m128i special = _mm_setzero_si128();
    size_t at = 0;
    size_t count = 0;
    for (; body.size - at >= WORD; at += WORD)
        quotes->words[count++] = mark_word(body.data + at, &special);
    if (body.size > at)
        quotes->words[count++] = mark_rest(body, at, &special);
    quotes->count = count;
    quotes->plain = _mm_movemask_epi8(special) == 0;
}
#else
static void mark(struct quotes *quotes, struct dbk_slice body)
{
    quotes->count = (body.size + WORD - 1) / WORD;
    quotes->plain = true;
    memset(quotes->words, 0, quotes->count * sizeof(*quotes->words));
    for (size_t i = 0; i < body.size; i++) {
        quotes->words[i / WORD] |= (uint64_t)(body.data[i] == '"') << i % WORD;
        quotes->plain = quotes->plain && ((signed char)body.data[i] | 0x20) <= 'z';
    }
}
#endif

/* As memcmp says; names are too short for a call to pay. */
static inline bool is_same(const char *a, const char *b, size_t size)
{
    uint64_t longs[4];
    uint32_t words[4];
    if (size > 2 * sizeof(longs[0]) || size < sizeof(words[0]))
        return memcmp(a, b, size) == 0;
    if (size >= sizeof(longs[0])) {
        memcpy(&longs[0], a, sizeof(longs[0]));
        memcpy(&longs[1], b, sizeof(longs[0]));
        memcpy(&longs[2], a + size - sizeof(longs[0]), sizeof(longs[0]));
        memcpy(&longs[3], b + size - sizeof(longs[0]), sizeof(longs[0]));
        return longs[0] == longs[1] && longs[2] == longs[3];
    }
    memcpy(&words[0], a, sizeof(words[0]));
    memcpy(&words[1], b, sizeof(words[0]));
    memcpy(&words[2], a + size - sizeof(words[0]), sizeof(words[0]));
    memcpy(&words[3], b + size - sizeof(words[0]), sizeof(words[0]));
    return words[0] == words[1] && words[2] == words[3];
}

static bool is_key(struct dbk_slice body, size_t end)
{
    while (end < body.size && (unsigned char)body.data[end] <= ' ')
        end++;
    return end < body.size && body.data[end] == ':';
}

/* Whether no object or array begins before the key. */
static bool is_on_top(struct dbk_slice body, size_t offset)
{
    for (size_t i = 0; i < offset; i++) {
        if (body.data[i] == '{' || body.data[i] == '[')
            return false;
    }
    return true;
}

/* A string of as many bytes as some source's name has. False: it takes a walk. */
static bool take_string(const struct dbk_upcast_object *object, struct dbk_slice body, bool plain,
                        struct dbk_slice string, struct dbk_upcast_finding *finding)
{
    size_t begin = (size_t)(string.data - body.data) - 1;
    if (!is_key(body, begin + string.size + 2))
        return true;
    for (size_t i = 0; i < object->source_count; i++) {
        const struct dbk_upcast_source *source = &object->sources[i];
        if (source->name.size != string.size ||
            !is_same(source->name.data, string.data, string.size))
            continue;
        uint64_t bit = UINT64_C(1) << i;
        if ((finding->present & bit) != 0 || !(plain || is_on_top(body, begin)))
            return false;
        finding->present |= bit;
        if (source->removed || source->changes || source->key.size > 0)
            finding->found[finding->count++] = (struct dbk_upcast_found){begin + 1, source};
        return true;
    }
    return true;
}

static bool find_sources(const struct dbk_upcast_object *object, struct dbk_slice body,
                         const struct quotes *quotes, struct dbk_upcast_finding *finding)
{
    size_t begin = 0;
    bool within = false;
    for (size_t i = 0; i < quotes->count; i++) {
        for (uint64_t word = quotes->words[i]; word != 0; word &= word - 1) {
            size_t at = i * WORD + (size_t)__builtin_ctzll(word);
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
    struct quotes quotes;
    const char *begin = text.data;
    const char *end = text.data + text.size;
    while (begin < end && (unsigned char)*begin <= ' ')
        begin++;
    while (end > begin && (unsigned char)end[-1] <= ' ')
        end--;
    if (end - begin < 2 || (size_t)(end - begin) > TEXT_SIZE_MAX || *begin != '{' || end[-1] != '}')
        return false;
    struct dbk_slice body = dbk_slice(begin + 1, (size_t)(end - begin) - 2);
    finding->begin = begin;
    finding->brace = end - 1;
    finding->present = 0;
    finding->count = 0;
    mark(&quotes, body);
    if (!quotes.plain && memchr(body.data, '\\', body.size) != NULL)
        return false;
    return !is_forgotten(body) && find_sources(object, body, &quotes, finding);
}

/* ---- Splicing ---- */

static bool has_conflict(const struct dbk_upcast_object *object, uint64_t present)
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

/* The value of a key, which is a scalar: its end; NULL: it takes a walk. */
static const char *find_value(const struct dbk_upcast_finding *finding, const char *key_end,
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

static bool is_one_conversion(const struct dbk_upcast_change *change)
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
        end = find_value(finding, key_end, &value);
        if (end == NULL ||
            (source->changes && (source->removed || !is_one_conversion(&source->change))))
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
    if (has_conflict(object, finding->present))
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
