/* SPDX-License-Identifier: Apache-2.0 */
#include "json/quotes.h"

#ifdef __SSE2__
#include <immintrin.h>
#endif

#define WORD 64
#define BLOCK 16

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
__attribute__((target("avx512bw,bmi2"))) static void mark_wide(struct dbk_json_quotes *quotes,
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

void dbk_json_quotes_mark(struct dbk_json_quotes *quotes, struct dbk_slice body)
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
void dbk_json_quotes_mark(struct dbk_json_quotes *quotes, struct dbk_slice body)
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
