/* SPDX-License-Identifier: Apache-2.0 */
/*
 * change_token_fuzz -- what is taken for the token of a view's change is written as it was read.
 */
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "view/changes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char epoch[DBK_CHANGES_EPOCH_SIZE];
    char text[DBK_CHANGES_TOKEN_SIZE];
    uint64_t number = 0;
    if (!dbk_changes_parse_token(dbk_slice(data, size), epoch, &number))
        return 0;
    int written = snprintf(text, sizeof(text), "%s.%llu", epoch, (unsigned long long)number);
    if (written < 0 || (size_t)written != size || size >= sizeof(text) ||
        memcmp(text, data, size) != 0 || number > INT64_MAX)
        abort();
    return 0;
}
