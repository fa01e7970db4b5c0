/* SPDX-License-Identifier: Apache-2.0 */
/*
 * unchecked -- records whose checksum somebody has verified already.
 *
 * A scan verifies a whole group by the group's own checksum and then need not do so again record
 * by record. Sizes are checked all the same, so that no bytes can lead it astray.
 *
 * Threads: pure functions.
 */
#ifndef DBK_LOG_UNCHECKED_H
#define DBK_LOG_UNCHECKED_H

#include "log/record.h"

/* As dbk_record_decode, without the checksum. DBK_ECORRUPT: sizes do not fit. */
int dbk_record_decode_unchecked(struct dbk_slice bytes, struct dbk_event *event_out) DBK_MUST_CHECK;

/* Gives a whole record the checksum of another segment. */
void dbk_record_reseed(char *record, size_t size, uint32_t salt);

#endif
