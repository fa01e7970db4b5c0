/* SPDX-License-Identifier: Apache-2.0 */
/*
 * upcast_fuzz -- a chain over any text comes to what the oracle comes to, where the text is JSON,
 * and to the same bytes whether members are found or walked to, all of them or one; and to an error
 * or to something where it is not, within its bounds.
 *
 * The input is a line a step, an empty line, and the text:
 *
 *     +a.b 1          add        -a.b            remove
 *     =a.b a.c        rename     #a[] integer    convert
 */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "json/json.h"
#include "oracle.h"
#include "schema/program.h"

#define STEPS_MAX 16
#define LINE_SIZE 128

struct chain {
    char lines[STEPS_MAX][LINE_SIZE];
    struct dbk_upcast_step steps[STEPS_MAX];
    struct dbk_schema_step paths[STEPS_MAX][2][LINE_SIZE];
    struct dbk_json_node values[STEPS_MAX];
    size_t count;
};

static struct dbk_json *json;

static bool is_json(struct dbk_slice text)
{
    const struct dbk_json_node *root = NULL;
    return dbk_json_parse(json, text, &root, NULL) == DBK_OK;
}

static bool is_path(const char *text)
{
    for (size_t begin = 0; text[begin] != 0; begin++) {
        const char *at = text + begin;
        if (*at == '[' && at[1] != ']')
            return false;
        if (*at == ']' && (begin == 0 || at[-1] != '['))
            return false;
    }
    return true;
}

static bool take_step(struct chain *chain)
{
    char *line = chain->lines[chain->count];
    char *what = strchr(line, ' ');
    struct dbk_upcast_step *step = &chain->steps[chain->count];
    struct dbk_json_node *value = &chain->values[chain->count];
    static const char kinds[] = "+=-#";
    const char *kind = line[0] == 0 ? NULL : strchr(kinds, line[0]);
    if (kind == NULL || !dbk_slice_is_utf8(dbk_slice_of(line)))
        return false;
    *step = (struct dbk_upcast_step){.kind = (enum dbk_upcast_kind)(kind - kinds)};
    if (what != NULL)
        *what++ = 0;
    if (!is_path(line + 1) || (what == NULL && step->kind != DBK_UPCAST_REMOVE))
        return false;
    step->path = oracle_path(line + 1, chain->paths[chain->count][0]);
    if (step->kind == DBK_UPCAST_RENAME) {
        if (!is_path(what))
            return false;
        step->to = oracle_path(what, chain->paths[chain->count][1]);
    }
    if (step->kind == DBK_UPCAST_CONVERT)
        step->type = (enum dbk_upcast_type)(strlen(what) % 4);
    if (step->kind == DBK_UPCAST_ADD) {
        if (!is_json(dbk_slice_of(what)))
            return false;
        *value = (struct dbk_json_node){.raw = dbk_slice_of(what)};
        step->value = value;
    }
    chain->count++;
    return true;
}

/* The text behind the steps; its data is NULL when they are none. */
static struct dbk_slice take_chain(struct dbk_slice input, struct chain *chain)
{
    while (chain->count < STEPS_MAX) {
        const char *end = input.size == 0 ? NULL : memchr(input.data, '\n', input.size);
        size_t size = end == NULL ? 0 : (size_t)(end - input.data);
        if (end == NULL || size >= LINE_SIZE)
            break;
        memcpy(chain->lines[chain->count], input.data, size);
        chain->lines[chain->count][size] = 0;
        input = dbk_slice(end + 1, input.size - size - 1);
        if (size == 0)
            return input;
        if (!take_step(chain))
            break;
    }
    return (struct dbk_slice){0};
}

static void compare_with_walk(struct dbk_upcast_program *program, struct dbk_slice text, int found,
                              struct dbk_slice made)
{
    struct dbk_upcast_object *object = program->root.object;
    struct dbk_buf out;
    if (object == NULL || !object->findable)
        return;
    dbk_buf_init(&out, (size_t)1 << 24);
    object->findable = false;
    if (dbk_upcast_run(program, text, &out, NULL) != found ||
        !dbk_slice_equal(dbk_buf_slice(&out), made))
        abort();
    object->findable = true;
    dbk_buf_release(&out);
}

/* A default of this target may have space about it, which files' have not. */
static struct dbk_slice trimmed(struct dbk_slice text)
{
    while (text.size > 0 && (unsigned char)text.data[0] <= ' ')
        text = dbk_slice(text.data + 1, text.size - 1);
    while (text.size > 0 && (unsigned char)text.data[text.size - 1] <= ' ')
        text.size--;
    return text;
}

/* What can be had of a name alone is what a run makes, where it could. */
static void compare_pick(const struct dbk_upcast_program *program, struct dbk_slice text,
                         const struct dbk_json_node *made, struct dbk_slice name)
{
    struct dbk_upcast_finding finding;
    struct dbk_buf out;
    struct dbk_slice value = {0};
    dbk_buf_init(&out, (size_t)1 << 24);
    int rc = dbk_upcast_begin_pick(program, text, &finding)
                 ? dbk_upcast_pick(program, text, &finding, name, &out, &value)
                 : -1;
    const struct dbk_json_node *member = made == NULL ? NULL : dbk_json_member_slice(made, name);
    if (made != NULL && rc >= 0 &&
        ((rc == 1) != (member != NULL) ||
         (rc == 1 && !dbk_slice_equal(trimmed(value), member->raw))))
        abort();
    dbk_buf_release(&out);
}

/* Of every step's name, and of every member that was made (NULL: nothing was). */
static void compare_picks(const struct chain *chain, const struct dbk_upcast_program *program,
                          struct dbk_slice text, const struct dbk_json_node *made)
{
    for (size_t i = 0; i < chain->count; i++) {
        const struct dbk_upcast_step *step = &chain->steps[i];
        compare_pick(program, text, made, step->path.steps[0].key);
        if (step->kind == DBK_UPCAST_RENAME)
            compare_pick(program, text, made, step->to.steps[0].key);
    }
    const struct dbk_json_node *member = made == NULL ? NULL : dbk_json_first(made);
    for (uint32_t i = 0; made != NULL && made->kind == DBK_JSON_OBJECT && i < made->count; i++) {
        if (member->key.size <= DBK_JSON_FIND_KEY_MAX)
            compare_pick(program, text, made, member->key);
        if (i + 1 < made->count)
            member = dbk_json_sibling(member);
    }
}

static void run(const struct chain *chain, struct dbk_upcast_program *program,
                struct dbk_slice text)
{
    const struct dbk_upcast_version version = {2, chain->steps, chain->count};
    struct dbk_buf out;
    struct dbk_buf want;
    struct dbk_buf plain;
    struct dbk_buf other;
    const struct dbk_json_node *root = NULL;
    dbk_buf_init(&out, (size_t)1 << 24);
    dbk_buf_init(&want, (size_t)1 << 24);
    dbk_buf_init(&plain, (size_t)1 << 24);
    dbk_buf_init(&other, (size_t)1 << 24);
    int rc = dbk_upcast_run(program, text, &out, NULL);
    compare_picks(chain, program, text, NULL);
    if (is_json(text)) {
        bool could = oracle_upcast(&version, 1, text, &want);
        if (could != (rc >= 0) || rc == DBK_ECORRUPT)
            abort();
        compare_with_walk(program, text, rc, dbk_buf_slice(&out));
        if (could) {
            struct dbk_slice made = rc == 0 ? text : dbk_buf_slice(&out);
            if (dbk_json_parse(json, made, &root, NULL) < 0)
                abort();
            compare_picks(chain, program, text, root);
            dbk_json_write_node(&plain, root);
            if (dbk_json_parse(json, dbk_buf_slice(&want), &root, NULL) < 0)
                abort();
            dbk_json_write_node(&other, root);
            if (!dbk_slice_equal(dbk_buf_slice(&plain), dbk_buf_slice(&other)))
                abort();
        }
    }
    dbk_buf_release(&out);
    dbk_buf_release(&want);
    dbk_buf_release(&plain);
    dbk_buf_release(&other);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct chain chain;
    struct dbk_upcast_program *program = NULL;
    if (json == NULL)
        json = dbk_json_create((size_t)1 << 24);
    if (json == NULL)
        abort();
    chain = (struct chain){0};
    struct dbk_slice text = take_chain(dbk_slice(data, size), &chain);
    const struct dbk_upcast_version version = {2, chain.steps, chain.count};
    if (text.data == NULL || dbk_upcast_compile(&version, 1, &program, NULL, NULL) < 0)
        return 0;
    /* On the heap, so that a byte too many is seen. */
    char *copy = malloc(text.size + 1);
    if (copy == NULL)
        abort();
    memcpy(copy, text.data, text.size);
    char *exact = realloc(copy, text.size == 0 ? 1 : text.size);
    run(&chain, program, dbk_slice(exact, text.size));
    free(exact);
    dbk_upcast_free(program);
    return 0;
}
