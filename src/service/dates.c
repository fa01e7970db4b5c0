/* SPDX-License-Identifier: Apache-2.0 */
/* When users were last seen. */
#include <stdlib.h>

#include "service/users.h"

struct dated {
    uint64_t fingerprint;
    const struct dbk_observed_statement *statement;
};

static int compare_dated(const void *one, const void *other)
{
    const struct dated *a = one;
    const struct dated *b = other;
    if (a->fingerprint != b->fingerprint)
        return a->fingerprint < b->fingerprint ? -1 : 1;
    return a->statement->by_us > b->statement->by_us ? -1 : 1;
}

static void date(struct dbk_user *user, const struct dbk_observed_statement *statement)
{
    if (statement->by_us <= user->by_us)
        return;
    user->by_us = statement->by_us;
    user->after_us = statement->after_us;
}

/* A contract was last used by its service's role, in a statement that names the table. */
static void date_contract(const struct dbk_impact_scope *scope, struct dbk_user *user)
{
    const char *role = NULL;
    for (size_t i = 0; i < scope->service_count; i++) {
        if (strcmp(scope->services[i].own->name, user->name) == 0)
            role = scope->services[i].role;
    }
    for (size_t i = 0; role != NULL && i < scope->observed->count; i++) {
        const struct dbk_observed_statement *statement = &scope->observed->items[i];
        if (strcmp(statement->role, role) == 0 &&
            dbk_sql_names(statement->sql, user->uses.items[0].table))
            date(user, statement);
    }
}

int dbk_users_date(const struct dbk_impact_scope *scope, struct dbk_users *users)
{
    size_t count = scope->observed == NULL ? 0 : scope->observed->count;
    size_t kept = 0;
    struct dated *dated = dbk_arena_alloc_zero(users->arena, count + 1, sizeof(*dated));
    if (dated == NULL)
        return DBK_ENOMEM;
    for (size_t i = 0; i < count; i++) {
        dated[kept].statement = &scope->observed->items[i];
        dated[kept].fingerprint = dbk_observed_fingerprint(dated[kept].statement->sql);
        kept += dated[kept].fingerprint != 0 ? 1 : 0;
    }
    if (kept > 0)
        qsort(dated, kept, sizeof(*dated), compare_dated);
    for (size_t i = 0; kept > 0 && i < users->count; i++) {
        struct dbk_user *user = &users->items[i];
        size_t low = 0;
        for (size_t high = kept; low < high;) {
            size_t middle = low + (high - low) / 2;
            if (dated[middle].fingerprint < user->fingerprint)
                low = middle + 1;
            else
                high = middle;
        }
        if (strcmp(user->kind, "service") == 0)
            date_contract(scope, user);
        else if (user->fingerprint != 0 && user->seen.data == NULL && low < kept &&
                 dated[low].fingerprint == user->fingerprint)
            date(user, dated[low].statement);
    }
    return DBK_OK;
}
