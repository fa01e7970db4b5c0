/* SPDX-License-Identifier: Apache-2.0 */
/*
 * merkle_test -- roots and proofs are those of RFC 6962.
 *
 * The oracle is the RFC's own recursion, over hashes made with the library alone. Every pair of
 * sizes up to SIZE_MAX_TRIED is tried, and of each proof every hash, size and index is made wrong.
 */
#include "test.h"

#include "base/memory.h"
#include "proof/merkle.h"

#define SIZE_MAX_TRIED 300

static struct dbk_hash leaves[SIZE_MAX_TRIED];

static struct dbk_hash leaf_of(const char *bytes, size_t size)
{
    char input[64] = {0};
    struct dbk_hash hash;
    memcpy(input + 1, bytes, size);
    dbk_sha256_of(dbk_slice(input, size + 1), hash.bytes);
    return hash;
}

/* The hash over leaves begin to end, as the RFC defines it. */
static struct dbk_hash oracle(uint64_t begin, uint64_t end)
{
    struct dbk_hash hash;
    if (end - begin == 1)
        return leaves[begin];
    uint64_t half = 1;
    while (half * 2 < end - begin)
        half *= 2;
    struct dbk_hash parts[2] = {oracle(begin, begin + half), oracle(begin + half, end)};
    char input[65] = {1};
    memcpy(input + 1, parts, 64);
    dbk_sha256_of(dbk_slice(input, sizeof(input)), hash.bytes);
    return hash;
}

static int node(void *context, unsigned height, uint64_t index, struct dbk_hash *hash_out,
                struct dbk_error *err)
{
    (void)context;
    (void)err;
    uint64_t size = UINT64_C(1) << height;
    dbk_merkle_fold(&leaves[index * size], (size_t)size, hash_out);
    return DBK_OK;
}

static const struct dbk_merkle_source source = {.node = node};

static void fill(void)
{
    for (unsigned i = 0; i < SIZE_MAX_TRIED; i++)
        leaves[i] = leaf_of((const char *)&i, sizeof(i));
}

static void assert_hash(const struct dbk_hash *hash, const char *hex)
{
    char text[65];
    for (size_t i = 0; i < 32; i++)
        (void)snprintf(text + 2 * i, 3, "%02x", hash->bytes[i]);
    assert_string_equal(text, hex);
}

static void test_proof_merkle__roots_are_the_published_ones(void **state)
{
    /* The eight inputs and roots that certificate transparency's own implementations test with. */
    static const struct {
        const char *bytes;
        size_t size;
    } inputs[] = {{"", 0},
                  {"\x00", 1},
                  {"\x10", 1},
                  {"\x20\x21", 2},
                  {"\x30\x31", 2},
                  {"\x40\x41\x42\x43", 4},
                  {"\x50\x51\x52\x53\x54\x55\x56\x57", 8},
                  {"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f", 16}};
    static const char *const roots[] = {
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"};
    (void)state;
    for (size_t i = 0; i < 8; i++)
        leaves[i] = leaf_of(inputs[i].bytes, inputs[i].size);
    for (uint64_t size = 0; size <= 8; size++) {
        struct dbk_hash root;
        assert_int_equal(dbk_merkle_root(&source, size, &root, NULL), DBK_OK);
        assert_hash(&root, roots[size]);
    }
}

static void test_proof_merkle__roots_are_the_oracles(void **state)
{
    (void)state;
    fill();
    for (uint64_t size = 1; size <= SIZE_MAX_TRIED; size++) {
        struct dbk_hash root;
        struct dbk_hash expected = oracle(0, size);
        assert_int_equal(dbk_merkle_root(&source, size, &root, NULL), DBK_OK);
        assert_true(dbk_hash_equal(&root, &expected));
    }
}

static void refuse_inclusion(struct dbk_merkle_path *path, uint64_t index, uint64_t size,
                             const struct dbk_hash *root)
{
    for (size_t i = 0; i < path->count; i++) {
        path->hashes[i].bytes[i % 32] ^= 1;
        assert_false(dbk_merkle_check_inclusion(&leaves[index], index, size, path, root));
        path->hashes[i].bytes[i % 32] ^= 1;
    }
    struct dbk_merkle_path other = *path;
    if (other.count > 0) {
        other.count--;
        assert_false(dbk_merkle_check_inclusion(&leaves[index], index, size, &other, root));
        other.count++;
    }
    other.hashes[other.count++] = *root;
    assert_false(dbk_merkle_check_inclusion(&leaves[index], index, size, &other, root));
    assert_false(dbk_merkle_check_inclusion(&leaves[index], size, size, path, root));
    assert_false(dbk_merkle_check_inclusion(&leaves[index], UINT64_MAX, size, path, root));
    if (size > 1)
        assert_false(dbk_merkle_check_inclusion(&leaves[index], index ^ 1, size, path, root) &&
                     (index ^ 1) < size);
    struct dbk_hash wrong = *root;
    wrong.bytes[31] ^= 0x80;
    assert_false(dbk_merkle_check_inclusion(&leaves[index], index, size, path, &wrong));
}

static void test_proof_merkle__every_inclusion_up_to_a_size(void **state)
{
    (void)state;
    fill();
    for (uint64_t size = 1; size <= SIZE_MAX_TRIED; size++) {
        struct dbk_hash root = oracle(0, size);
        for (uint64_t index = 0; index < size; index++) {
            struct dbk_merkle_path path;
            assert_int_equal(dbk_merkle_inclusion(&source, index, size, &path, NULL), DBK_OK);
            assert_true(dbk_merkle_check_inclusion(&leaves[index], index, size, &path, &root));
            if (size <= 40 || index % 37 == 0)
                refuse_inclusion(&path, index, size, &root);
        }
    }
}

static void refuse_consistency(struct dbk_merkle_path *path, uint64_t from,
                               const struct dbk_hash *from_root, uint64_t to,
                               const struct dbk_hash *to_root)
{
    struct dbk_hash wrong = *from_root;
    wrong.bytes[0] ^= 1;
    assert_false(dbk_merkle_check_consistency(from, &wrong, to, to_root, path));
    wrong = *to_root;
    wrong.bytes[0] ^= 1;
    assert_false(dbk_merkle_check_consistency(from, from_root, to, &wrong, path));
    for (size_t i = 0; i < path->count; i++) {
        path->hashes[i].bytes[0] ^= 1;
        assert_false(dbk_merkle_check_consistency(from, from_root, to, to_root, path));
        path->hashes[i].bytes[0] ^= 1;
    }
    struct dbk_merkle_path other = *path;
    if (other.count > 0) {
        other.count--;
        assert_false(dbk_merkle_check_consistency(from, from_root, to, to_root, &other));
        other.count++;
    }
    other.hashes[other.count++] = *to_root;
    assert_false(dbk_merkle_check_consistency(from, from_root, to, to_root, &other));
    if (from != to)
        assert_false(dbk_merkle_check_consistency(to, to_root, from, from_root, path));
    assert_false(dbk_merkle_check_consistency(0, from_root, to, to_root, path));
}

static void test_proof_merkle__every_consistency_up_to_a_size(void **state)
{
    static struct dbk_hash roots[SIZE_MAX_TRIED + 1];
    (void)state;
    fill();
    for (uint64_t size = 1; size <= SIZE_MAX_TRIED; size++)
        roots[size] = oracle(0, size);
    for (uint64_t to = 1; to <= SIZE_MAX_TRIED; to++) {
        for (uint64_t from = 1; from <= to; from++) {
            struct dbk_merkle_path path;
            assert_int_equal(dbk_merkle_consistency(&source, from, to, &path, NULL), DBK_OK);
            assert_true(dbk_merkle_check_consistency(from, &roots[from], to, &roots[to], &path));
            if (to <= 40 || from % 31 == 0)
                refuse_consistency(&path, from, &roots[from], to, &roots[to]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_proof_merkle__roots_are_the_published_ones),
        cmocka_unit_test(test_proof_merkle__roots_are_the_oracles),
        cmocka_unit_test(test_proof_merkle__every_inclusion_up_to_a_size),
        cmocka_unit_test(test_proof_merkle__every_consistency_up_to_a_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
