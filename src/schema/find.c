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
#include <emmintrin.h>
#endif

#define WORD 64
#define BLOCK 16
#define TEXT_SIZE_MAX ((size_t)4096)
#define NAME_SIZE_MAX ((size_t)63)

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
        object->growth += object->sources[i].key.size;
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

static void mark(struct quotes *quotes, struct dbk_slice body)
{
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
        finding->only_renames = finding->only_renames && !source->removed && !source->changes;
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
    finding->only_renames = true;
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

static inline char *write(char *to, const char *from, size_t size)
{
    memcpy(to, from, size);
    return to + size;
}

/* The additions that are missing, behind the last member. */
static char *write_additions(char *to, const struct dbk_upcast_object *object,
                             const struct dbk_upcast_finding *finding, const char **copied)
{
    const char *end = finding->brace;
    while ((unsigned char)end[-1] <= ' ')
        end--;
    bool kept = end > finding->begin + 1;
    bool added = false;
    for (size_t i = 0; i < object->addition_count; i++) {
        const struct dbk_upcast_addition *addition = &object->additions[i];
        if (addition->removed || (finding->present & addition->unless) != 0)
            continue;
        if (!added)
            to = write(to, *copied, (size_t)(end - *copied));
        if (kept)
            *to++ = ',';
        to = write(to, addition->member.data, addition->member.size);
        *copied = finding->brace;
        added = true;
        kept = true;
    }
    return to;
}

int dbk_upcast_splice(const struct dbk_upcast_object *object, struct dbk_slice text,
                      const struct dbk_upcast_finding *finding, struct dbk_buf *out)
{
    const char *copied = text.data;
    size_t size = text.size + object->growth;
    if (has_conflict(object, finding->present))
        return -1;
    if (size > out->capacity - out->size &&
        (size > out->size_max - out->size || dbk_buf_reserve(out, size) < 0))
        return -1;
    char *to = out->data + out->size;
    for (size_t i = 0; i < finding->count; i++) {
        const struct dbk_upcast_source *source = finding->found[i].source;
        const char *key = finding->begin + finding->found[i].offset;
        to = write(to, copied, (size_t)(key - copied));
        to = write(to, source->key.data, source->key.size);
        copied = key + source->name.size + 2;
    }
    to = write_additions(to, object, finding, &copied);
    if (copied == text.data)
        return 0;
    to = write(to, copied, (size_t)(text.data + text.size - copied));
    out->size = (size_t)(to - out->data);
    return 1;
}
