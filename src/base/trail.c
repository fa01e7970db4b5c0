/* SPDX-License-Identifier: Apache-2.0 */
#include "base/trail.h"

#include "base/memory.h"

static const struct dbk_trail_step *step_at(const struct dbk_trail *trail, uint64_t number)
{
    return &trail->steps[number % DBK_TRAIL_STEPS];
}

uint64_t dbk_trail_position(const struct dbk_trail *trail)
{
    return trail->count == 0 ? 0 : step_at(trail, trail->count - 1)->position_max;
}

void dbk_trail_note(struct dbk_trail *trail, const struct dbk_trail_step *step)
{
    uint64_t passed = dbk_trail_position(trail);
    if (step->position_max <= passed)
        return;
    if (trail->steps == NULL)
        trail->steps = dbk_alloc_zero(DBK_TRAIL_STEPS, sizeof(*trail->steps));
    if (trail->steps == NULL)
        return;
    struct dbk_trail_step *next = &trail->steps[trail->count % DBK_TRAIL_STEPS];
    *next = *step;
    if (next->position_min <= passed)
        next->position_min = passed + 1;
    trail->count++;
}

enum dbk_trail_answer dbk_trail_find(const struct dbk_trail *trail, uint64_t position,
                                     struct dbk_trail_step *step_out)
{
    uint64_t low = trail->count > DBK_TRAIL_STEPS ? trail->count - DBK_TRAIL_STEPS : 0;
    uint64_t high = trail->count;
    if (trail->count == 0 || position > dbk_trail_position(trail))
        return DBK_TRAIL_AHEAD;
    if (position < step_at(trail, low)->position_min)
        return low > 0 ? DBK_TRAIL_FORGOTTEN : DBK_TRAIL_BEFORE;
    /* The first step that ends at the position or behind it. */
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (step_at(trail, middle)->position_max < position)
            low = middle + 1;
        else
            high = middle;
    }
    if (step_at(trail, low)->position_min > position)
        return DBK_TRAIL_BETWEEN;
    *step_out = *step_at(trail, low);
    return DBK_TRAIL_FOUND;
}

void dbk_trail_release(struct dbk_trail *trail)
{
    dbk_free(trail->steps);
    *trail = (struct dbk_trail){0};
}
