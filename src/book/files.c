/* SPDX-License-Identifier: Apache-2.0 */
/* The book's files and folders as the readers see them. */
#include "book/loader.h"

#include <errno.h>
#include <stdlib.h>

#define ENTRIES_MAX 10000

int dbk_book_no_memory(struct dbk_error *err)
{
    return dbk_error_set(err, DBK_ENOMEM, "the book: %s", dbk_code_text(DBK_ENOMEM));
}

static int make_path(struct dbk_book_loader *loader, const char *path, const char **path_out,
                     struct dbk_error *err)
{
    const char *folder = loader->options->folder;
    *path_out =
        *path == '\0' ? folder : dbk_arena_format(&loader->book->arena, "%s/%s", folder, path);
    return *path_out == NULL ? dbk_book_no_memory(err) : DBK_OK;
}

/* A failed system call: the machine's fault or the file's? Only the second goes to the list. */
static int report(struct dbk_book_loader *loader, const char *path, int rc,
                  const struct dbk_error *failure, struct dbk_error *err)
{
    struct dbk_fault fault = {.file = path};
    const char *what = failure->message;
    if (rc == DBK_ELIMIT) {
        what = "the file is larger than 1 MiB";
        fault.fix = "definitions are short: does it belong here?";
    } else if (failure->os_errno == EISDIR) {
        what = "this is a folder, where a file is expected";
    } else if (failure->os_errno == ENOTDIR) {
        what = "this is a file, where a folder is expected";
    } else if (rc == DBK_ENOMEM || rc == DBK_EIO) {
        if (err != NULL)
            *err = *failure;
        return rc;
    }
    return dbk_fault_add(loader->faults, &fault, "%s", what) < 0 ? dbk_book_no_memory(err) : DBK_OK;
}

int dbk_book_read(struct dbk_book_loader *loader, const char *path, struct dbk_slice *text_out,
                  struct dbk_error *err)
{
    struct dbk_error failure = {0};
    const char *full = NULL;
    bool good = false;
    *text_out = (struct dbk_slice){0};
    int rc = make_path(loader, path, &full, err);
    if (rc < 0)
        return rc;
    dbk_buf_reset(&loader->file);
    rc = dbk_os_read_file(loader->options->os, full, DBK_BOOK_FILE_SIZE_MAX, &loader->file,
                          &failure);
    if (rc < 0)
        return report(loader, path, rc, &failure, err);
    if (dbk_fault_check_text(loader->faults, path, dbk_buf_slice(&loader->file), &good) < 0)
        return dbk_book_no_memory(err);
    if (!good)
        return DBK_OK;
    *text_out = dbk_arena_copy(&loader->book->arena, dbk_buf_slice(&loader->file));
    return text_out->data == NULL ? dbk_book_no_memory(err) : DBK_OK;
}

struct listing {
    struct dbk_arena *arena;
    struct dbk_book_names *names;
    size_t capacity;
};

static int take_name(const char *name, void *context)
{
    struct listing *listing = context;
    struct dbk_book_names *names = listing->names;
    if (name[0] == '.')
        return DBK_OK;
    if (names->count == ENTRIES_MAX)
        return DBK_ELIMIT;
    if (names->count == listing->capacity) {
        size_t capacity = listing->capacity == 0 ? 16 : listing->capacity * 2;
        const char **items = dbk_arena_alloc(listing->arena, capacity * sizeof(*items));
        if (items == NULL)
            return DBK_ENOMEM;
        for (size_t i = 0; i < names->count; i++)
            items[i] = names->items[i];
        names->items = items;
        listing->capacity = capacity;
    }
    const char *copy = dbk_arena_copy(listing->arena, dbk_slice_of(name)).data;
    if (copy == NULL)
        return DBK_ENOMEM;
    names->items[names->count++] = copy;
    return DBK_OK;
}

static int compare_names(const void *a, const void *b)
{
    const char *const *left = a;
    const char *const *right = b;
    return strcmp(*left, *right);
}

int dbk_book_list(struct dbk_book_loader *loader, const char *path,
                  struct dbk_book_names *names_out, struct dbk_error *err)
{
    struct dbk_error failure = {0};
    struct listing listing = {.arena = &loader->book->arena, .names = names_out};
    const char *full = NULL;
    *names_out = (struct dbk_book_names){0};
    int rc = make_path(loader, path, &full, err);
    if (rc < 0)
        return rc;
    rc = loader->options->os->list(loader->options->os, full, take_name, &listing, &failure);
    if (rc == DBK_ENOMEM)
        return dbk_book_no_memory(err);
    if (rc == DBK_ELIMIT) {
        struct dbk_fault fault = {.file = path, .fix = "does all of it belong here?"};
        if (dbk_fault_add(loader->faults, &fault, "the folder has more than %d entries",
                          ENTRIES_MAX) < 0)
            return dbk_book_no_memory(err);
    } else if (rc < 0 && rc != DBK_ENOTFOUND) {
        rc = report(loader, path, rc, &failure, err);
        if (rc < 0)
            return rc;
    }
    if (names_out->count > 1)
        qsort(names_out->items, names_out->count, sizeof(*names_out->items), compare_names);
    return DBK_OK;
}

int dbk_book_stem(struct dbk_book_loader *loader, const char *name, const char *ending,
                  struct dbk_slice *stem_out, struct dbk_error *err)
{
    size_t size = strlen(name);
    size_t ending_size = strlen(ending);
    *stem_out = (struct dbk_slice){0};
    if (size < ending_size || strcmp(name + size - ending_size, ending) != 0)
        return DBK_OK;
    *stem_out = dbk_arena_copy(&loader->book->arena, dbk_slice(name, size - ending_size));
    return stem_out->data == NULL ? dbk_book_no_memory(err) : DBK_OK;
}

/* A captured table's category: service.table. */
static bool is_table(struct dbk_slice name)
{
    const char *dot = name.size == 0 ? NULL : memchr(name.data, '.', name.size);
    size_t size = dot == NULL ? 0 : (size_t)(dot - name.data);
    return dot != NULL && dbk_fault_is_name(dbk_slice(name.data, size)) &&
           dbk_fault_is_name(dbk_slice(dot + 1, name.size - size - 1));
}

/* One entry of a folder; file_out->name stays NULL when it defines nothing. */
static int read_entry(struct dbk_book_loader *loader, const char *path, const char *ending,
                      const char *const *others, struct dbk_book_file *file_out,
                      struct dbk_error *err)
{
    struct dbk_slice stem;
    struct dbk_slice other = {0};
    struct dbk_fault fault = {.file = path};
    int rc = dbk_book_stem(loader, strrchr(path, '/') + 1, ending, &stem, err);
    for (const char *const *at = others; rc == DBK_OK && other.data == NULL && *at != NULL; at++)
        rc = dbk_book_stem(loader, strrchr(path, '/') + 1, *at, &other, err);
    if (rc < 0 || other.data != NULL)
        return rc;
    if (stem.data == NULL) {
        fault.warning = true;
        fault.fix = "remove it, or move it out of this folder";
        rc = dbk_fault_add(loader->faults, &fault,
                           "this file is not read: its name does not end "
                           "with `%s`%s%s%s",
                           ending, others[0] == NULL ? "" : " or `",
                           others[0] == NULL ? "" : others[0], others[0] == NULL ? "" : "`");
        return rc < 0 ? dbk_book_no_memory(err) : DBK_OK;
    }
    bool fold = dbk_slice_starts_with(dbk_slice_of(path), DBK_SLICE_LITERAL("folds/"));
    if (!dbk_fault_is_name(stem) && !(fold && is_table(stem))) {
        fault.why = "others name it by what stands before the ending";
        fault.fix = fold ? "use letters, digits and `_`, and begin with no digit; of a captured "
                           "table's rows it is `<service>.<table>`"
                         : "use letters, digits and `_`, and begin with no digit";
        rc = dbk_fault_add(loader->faults, &fault, "`%s` is no name", stem.data);
        return rc < 0 ? dbk_book_no_memory(err) : DBK_OK;
    }
    rc = dbk_book_read(loader, path, &file_out->source, err);
    if (rc < 0 || file_out->source.data == NULL)
        return rc;
    file_out->name = stem.data;
    file_out->file = path;
    return DBK_OK;
}

int dbk_book_read_folder_beside(struct dbk_book_loader *loader, const char *folder,
                                const char *ending, const char *const *others,
                                const struct dbk_book_file **files_out, size_t *count_out,
                                struct dbk_error *err)
{
    struct dbk_book_names names;
    *files_out = NULL;
    *count_out = 0;
    int rc = dbk_book_list(loader, folder, &names, err);
    if (rc < 0)
        return rc;
    struct dbk_arena *arena = &loader->book->arena;
    struct dbk_book_file *files = dbk_arena_alloc_zero(arena, names.count + 1, sizeof(*files));
    size_t count = 0;
    if (files == NULL)
        return dbk_book_no_memory(err);
    for (size_t i = 0; i < names.count; i++) {
        const char *path = dbk_arena_format(arena, "%s/%s", folder, names.items[i]);
        if (path == NULL)
            return dbk_book_no_memory(err);
        rc = read_entry(loader, path, ending, others, &files[count], err);
        if (rc < 0)
            return rc;
        if (files[count].name != NULL)
            count++;
    }
    *files_out = files;
    *count_out = count;
    return DBK_OK;
}

int dbk_book_read_folder(struct dbk_book_loader *loader, const char *folder, const char *ending,
                         const struct dbk_book_file **files_out, size_t *count_out,
                         struct dbk_error *err)
{
    static const char *const none[] = {NULL};
    return dbk_book_read_folder_beside(loader, folder, ending, none, files_out, count_out, err);
}
