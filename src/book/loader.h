/* SPDX-License-Identifier: Apache-2.0 */
/*
 * loader -- a book while it is read: what its readers share, and its files.
 *
 * Each reader takes one kind of file, fills its part of the book and reports faults; the checks
 * that need several parts come last. Everything that the book keeps lies in its arena.
 *
 *     settings    book.yaml, book.<environment>.yaml
 *     schemas     events
 *     scripts     folds, commands, imports
 *     models      models/<name>/
 *     queries     queries, views
 *     services    services
 *     sagas       sagas, and `calls:` of book.yaml
 *     service_commands    commands in services' databases
 *
 * Functions answer DBK_OK, or DBK_ENOMEM or DBK_EIO with err filled; faults are no failure.
 *
 * Threads: a loader belongs to one thread.
 */
#ifndef DBK_BOOK_LOADER_H
#define DBK_BOOK_LOADER_H

#include "base/fault.h"
#include "book/book.h"
#include "book/yaml.h"

#define DBK_BOOK_FILE_SIZE_MAX ((size_t)1 << 20)

struct dbk_book_loader {
    const struct dbk_book_options *options;
    struct dbk_book *book;
    struct dbk_diagnostics *faults;
    struct dbk_buf file; /* what is being read */
    /* A model or view is lost: names that it makes would be missed without need. */
    bool scope_unknown;
    const struct dbk_slice *personal_folds; /* categories whose folds take personal fields */
    size_t personal_fold_count;
    const struct dbk_yaml_node **service_roots; /* of services' files, in the book's order; NULL:
                                                   of one that cannot be read */
};

/* A folder's entries, in byte order. */
struct dbk_book_names {
    const char **items;
    size_t count;
};

/*
 * Reads a file of the book into its arena, with a NUL behind it. A file that cannot be read, is too
 * large or no text is a fault, and text_out->data is NULL then.
 *
 * path  from the book's folder
 */
int dbk_book_read(struct dbk_book_loader *loader, const char *path, struct dbk_slice *text_out,
                  struct dbk_error *err) DBK_MUST_CHECK;

/*
 * Lists a folder of the book, without names that begin with a dot. One that is missing is empty.
 *
 * path  from the book's folder; "" is that folder itself
 */
int dbk_book_list(struct dbk_book_loader *loader, const char *path,
                  struct dbk_book_names *names_out, struct dbk_error *err) DBK_MUST_CHECK;

/*
 * The files of a folder that define something: `<name><ending>`. Others are warned of, and a name
 * that is none is a fault. The items' sources are read.
 *
 * ending  ".lua"
 */
int dbk_book_read_folder(struct dbk_book_loader *loader, const char *folder, const char *ending,
                         const struct dbk_book_file **files_out, size_t *count_out,
                         struct dbk_error *err) DBK_MUST_CHECK;

/* The same of a folder that other readers have files in, too, with these endings, NULL behind. */
int dbk_book_read_folder_beside(struct dbk_book_loader *loader, const char *folder,
                                const char *ending, const char *const *others,
                                const struct dbk_book_file **files_out, size_t *count_out,
                                struct dbk_error *err) DBK_MUST_CHECK;

/* Fills err with "out of memory"; returns DBK_ENOMEM. */
int dbk_book_no_memory(struct dbk_error *err);

/* What stands before an ending, in the arena; data is NULL when it does not end so. */
int dbk_book_stem(struct dbk_book_loader *loader, const char *name, const char *ending,
                  struct dbk_slice *stem_out, struct dbk_error *err) DBK_MUST_CHECK;

/* ---- Settings, for all YAML files ---- */

struct dbk_setting {
    const char *key;
    enum dbk_yaml_kind kind;
    bool required;
    const char *why; /* of a missing one */
    const char *fix; /* of a missing one */
};

/*
 * Parses a settings file, whose root must be a mapping. root_out is NULL when it is none, which is
 * a fault then.
 */
int dbk_settings_open(struct dbk_book_loader *loader, const char *file, struct dbk_slice text,
                      const struct dbk_yaml_node **root_out) DBK_MUST_CHECK;

/*
 * Checks a mapping against the settings it may have: unknown keys (with a did-you-mean), wrong
 * types, missing ones. nodes_out: one for each setting, NULL where it is missing or faulty.
 */
int dbk_settings_read(struct dbk_book_loader *loader, const char *file,
                      const struct dbk_yaml_node *mapping, const struct dbk_setting *settings,
                      size_t count, const struct dbk_yaml_node **nodes_out) DBK_MUST_CHECK;

/* "64 KiB", "1 MiB" or plain bytes. */
bool dbk_book_parse_size(struct dbk_slice text, uint64_t *size_out) DBK_MUST_CHECK;

/* A fault at a node. */
struct dbk_fault dbk_settings_fault(const char *file, const struct dbk_yaml_node *node);

/* ---- The readers ---- */

/* DBK_ENOTFOUND: no book.yaml, or none for the environment. */
int dbk_book_read_settings(struct dbk_book_loader *loader, struct dbk_error *err) DBK_MUST_CHECK;
int dbk_book_read_services(struct dbk_book_loader *loader, struct dbk_error *err) DBK_MUST_CHECK;
/* Reads what a service may: its categories, contracts and models. The nodes may be NULL. */
int dbk_book_take_rules(struct dbk_book_loader *loader, const char *file,
                        const struct dbk_yaml_node *events, const struct dbk_yaml_node *reads,
                        const struct dbk_yaml_node *models,
                        struct dbk_service_definition *service) DBK_MUST_CHECK;
/* Reads what a table's owner says to others. The nodes may be NULL. */
int dbk_book_take_public(struct dbk_book_loader *loader, const char *file,
                         const struct dbk_yaml_node *public, const struct dbk_yaml_node *version,
                         struct dbk_service_table *table) DBK_MUST_CHECK;
/* How a service logs in to its database, which is known by then; each may be NULL. */
int dbk_book_take_login(struct dbk_book_loader *loader, const char *file,
                        const struct dbk_yaml_node *role, const struct dbk_yaml_node *login,
                        struct dbk_service_definition *service) DBK_MUST_CHECK;
/* As whom a service's program runs. */
int dbk_book_take_user(struct dbk_book_loader *loader, const char *file,
                       const struct dbk_yaml_node *user,
                       struct dbk_service_definition *service) DBK_MUST_CHECK;
/* The file of a service's API key, and what such keys may beside the rest; each may be NULL. */
int dbk_book_take_key(struct dbk_book_loader *loader, const char *file,
                      const struct dbk_yaml_node *key, const struct dbk_yaml_node *list,
                      struct dbk_service_definition *service) DBK_MUST_CHECK;
/* Checks services against each other and the book; after the models. */
int dbk_book_check_services(struct dbk_book_loader *loader, struct dbk_error *err) DBK_MUST_CHECK;
/* Checks what commands read and change of other services' tables; after the commands. */
int dbk_book_check_reach(struct dbk_book_loader *loader, struct dbk_error *err) DBK_MUST_CHECK;
/* Says with whose rights each is done, and what it is kept from; after those checks. */
int dbk_book_place_commands(struct dbk_book_loader *loader, struct dbk_error *err) DBK_MUST_CHECK;
/* The schemas of captured tables with personal columns; before the registry is finished. */
int dbk_book_add_service_schemas(struct dbk_book_loader *loader,
                                 struct dbk_error *err) DBK_MUST_CHECK;
int dbk_book_read_schemas(struct dbk_book_loader *loader, struct dbk_error *err) DBK_MUST_CHECK;
int dbk_book_read_scripts(struct dbk_book_loader *loader, struct dbk_error *err) DBK_MUST_CHECK;
int dbk_book_read_service_commands(struct dbk_book_loader *loader,
                                   struct dbk_error *err) DBK_MUST_CHECK;
int dbk_book_read_models(struct dbk_book_loader *loader, struct dbk_error *err) DBK_MUST_CHECK;
int dbk_book_read_queries(struct dbk_book_loader *loader, struct dbk_error *err) DBK_MUST_CHECK;

int dbk_book_read_sagas(struct dbk_book_loader *loader, struct dbk_error *err) DBK_MUST_CHECK;
/* `calls:`; an environment may give those of book.yaml another address. DBK_ENOMEM */
int dbk_book_take_calls(struct dbk_book_loader *loader, const char *file, bool environment,
                        const struct dbk_yaml_node *mapping) DBK_MUST_CHECK;
/* A script's failure is a fault of its file, at the place that the message begins with; being out
   of memory is not. */
int dbk_book_report_script(struct dbk_book_loader *loader, const struct dbk_book_file *file, int rc,
                           const struct dbk_error *failure, const char *why,
                           struct dbk_error *err) DBK_MUST_CHECK;

/* Checks the `with:` lines of a model's handlers; after its settings and the folds. */
int dbk_book_check_withs(struct dbk_book_loader *loader,
                         const struct dbk_model_definition *definition,
                         struct dbk_error *err) DBK_MUST_CHECK;
/* Notes the folds that take personal fields. */
int dbk_book_note_personal_folds(struct dbk_book_loader *loader, struct dbk_folds *folds,
                                 struct dbk_error *err) DBK_MUST_CHECK;

/*
 * The database a model, view or query names, or the only one when it names none. NULL when there is
 * none, which is a fault at the place (unless book.yaml itself has no usable databases).
 */
int dbk_book_choose(struct dbk_book_loader *loader, const char *name, const struct dbk_fault *place,
                    const struct dbk_book_database **database_out) DBK_MUST_CHECK;

#endif
