/* SPDX-License-Identifier: Apache-2.0 */
/* Sagas, and where their HTTP calls may go. */
#include "book/loader.h"

#define TARGETS_MAX 64

/* What is wrong with an address; NULL: nothing is. */
static const char *url_fault(const char *url)
{
    const char *host = NULL;
    if (strncmp(url, "http://", 7) == 0)
        host = url + 7;
    else if (strncmp(url, "https://", 8) == 0)
        host = url + 8;
    if (host == NULL)
        return "it does not begin with http:// or https://";
    if (strchr(url, '@') != NULL)
        return "a name or password does not belong into the book";
    if (*host == '\0' || *host == '/' || *host == ':')
        return "it names no host";
    for (const char *at = url; *at != '\0'; at++) {
        if ((unsigned char)*at <= ' ' || (unsigned char)*at >= 127)
            return "it has white space, or bytes past ASCII";
        if (*at == '?' || *at == '#')
            return "it is what a path is put behind, and so has no query and no fragment";
    }
    return NULL;
}

int dbk_book_take_calls(struct dbk_book_loader *loader, const char *file, bool environment,
                        const struct dbk_yaml_node *mapping)
{
    struct dbk_book *book = loader->book;
    struct dbk_saga_target *targets =
        dbk_arena_alloc_zero(&book->arena, TARGETS_MAX, sizeof(*targets));
    size_t count = book->target_count;
    int rc = targets == NULL ? DBK_ENOMEM : DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < count; i++)
        targets[i] = book->targets[i];
    for (const struct dbk_yaml_node *node = mapping->first; rc == DBK_OK && node != NULL;
         node = node->next) {
        struct dbk_fault fault = dbk_settings_fault(file, node);
        const char *name = node->key->text.data;
        fault.fix = "write `payment: https://payments.example`";
        const char *wrong = node->kind == DBK_YAML_SCALAR && !dbk_yaml_is_null(node)
                                ? url_fault(node->text.data)
                                : "it is no text";
        size_t at = 0;
        while (at < count && strcmp(targets[at].name, name) != 0)
            at++;
        if (at == count && environment)
            wrong = "book.yaml has no such name under `calls:`";
        else if (!dbk_fault_is_name(node->key->text))
            wrong = "its name has other than letters, digits and `_`";
        else if (at == TARGETS_MAX)
            wrong = "a book has at most 64";
        if (wrong != NULL) {
            rc = dbk_fault_add(loader->faults, &fault, "the address `%s` cannot be called: %s",
                               name, wrong);
            continue;
        }
        size_t size = node->text.size;
        while (size > 0 && node->text.data[size - 1] == '/')
            size--;
        targets[at] = (struct dbk_saga_target){
            name, dbk_arena_copy(&book->arena, dbk_slice(node->text.data, size)).data};
        rc = targets[at].url == NULL ? DBK_ENOMEM : DBK_OK;
        count = at == count ? count + 1 : count;
    }
    book->targets = targets;
    book->target_count = count;
    return rc;
}

/* What a saga keeps of an event would stay when its subject is forgotten. */
static int check_personal(struct dbk_book_loader *loader, const struct dbk_book_file *file,
                          const struct dbk_saga_script *script)
{
    const struct dbk_saga_definition *definition = dbk_saga_script_definition(script);
    int rc = DBK_OK;
    for (size_t i = 0; rc >= 0 && i < definition->route_count; i++) {
        struct dbk_slice type = definition->routes[i].type;
        struct dbk_fault fault = {
            .file = file->file,
            .why = "an instance's record keeps what it saw, and forgetting would not reach it",
            .fix = "let it take an event of a type without personal fields"};
        if (dbk_book_has_personal(loader->book->schemas, type))
            rc = dbk_fault_add(loader->faults, &fault, "it takes %.*s, which has personal fields",
                               DBK_SLICE_ARGS(type));
    }
    return rc;
}

static int check_saga(struct dbk_book_loader *loader, const struct dbk_book_file *file,
                      struct dbk_error *err)
{
    struct dbk_saga_script *script = NULL;
    struct dbk_error failure = {0};
    int rc = dbk_saga_script_open(file->file, file->source, &script, &failure);
    if (rc < 0)
        return dbk_book_report_script(loader, file, rc, &failure, "no instance of it could begin",
                                      err);
    rc = check_personal(loader, file, script);
    dbk_saga_script_free(script);
    return rc < 0 ? dbk_book_no_memory(err) : DBK_OK;
}

int dbk_book_read_sagas(struct dbk_book_loader *loader, struct dbk_error *err)
{
    struct dbk_book *book = loader->book;
    int rc = dbk_book_read_folder(loader, "sagas", ".lua", &book->sagas, &book->saga_count, err);
    for (size_t i = 0; rc == DBK_OK && i < book->saga_count; i++)
        rc = check_saga(loader, &book->sagas[i], err);
    return rc;
}
