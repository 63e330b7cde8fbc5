/* SPDX-License-Identifier: BSD-2-Clause
 * order.c: the records of a database in another order in each pass. All keys are kept, 8 bytes
 * and their own each; which record comes when depends on its number in the run alone. */
#include <string.h>

#include "data/data.h"
#include "deepnet/sys/random.h"

static dn_status add_key(dni_order *o, const dni_record *record)
{
    size_t n = (size_t)o->count, begin = n ? o->ends[n - 1] : 0;
    dn_status st = dni_grow(o->heap, &o->ends, &o->ends_capacity, n + 1, sizeof *o->ends);
    if (!st)
        st = dni_grow(o->heap, &o->keys, &o->keys_capacity, begin + record->key_size, 1);
    if (st)
        return st;
    memcpy(o->keys + begin, record->key, record->key_size);
    o->ends[n] = begin + record->key_size;
    o->count++;
    return DN_OK;
}

static dn_status read_keys(dni_order *o, dni_source *source)
{
    dni_record record;
    o->count = 0; /* those of a reading that failed */
    source->keys_only = true;
    dn_status st = dni_source_rewind(source);
    if (!st)
        st = dni_source_next(source, &record);
    while (!st && record.data) {
        st = add_key(o, &record);
        if (!st)
            st = dni_source_next(source, &record);
    }
    source->keys_only = false;
    if (!st && !o->count)
        st = dni_in_source(dni_fail(DN_E_DATA, "it has become empty"), source);
    if (!st && !(o->at = dni_alloc(o->heap, (size_t)o->count, sizeof *o->at)))
        st = DN_E_NOMEM;
    o->pass = -1;
    return st;
}

/* Fisher and Yates. */
static void shuffle(dni_order *o, int64_t pass)
{
    for (int64_t i = 0; i < o->count; i++)
        o->at[i] = i;
    for (int64_t i = o->count; i > 1; i--) {
        uint32_t word[4];
        dn_random_block(word, o->seed, o->stream, (uint64_t)pass, (uint64_t)i);
        int64_t j = (int64_t)(((uint64_t)word[0] << 32 | word[1]) % (uint64_t)i);
        int64_t swap = o->at[i - 1];
        o->at[i - 1] = o->at[j];
        o->at[j] = swap;
    }
    o->pass = pass;
}

dn_status dni_order_record(dni_order *o, dni_source *source, int64_t number, dni_record *record)
{
    dn_status st = o->at ? DN_OK : read_keys(o, source);
    if (st)
        return st;
    if (number / o->count != o->pass)
        shuffle(o, number / o->count);
    int64_t n = o->at[number % o->count];
    size_t begin = n ? o->ends[n - 1] : 0, size = o->ends[n] - begin;
    st = dni_source_seek(source, o->keys + begin, size);
    if (!st)
        st = dni_source_next(source, record);
    if (!st && (!record->data || record->key_size != size ||
                memcmp(record->key, o->keys + begin, size)))
        st = dni_in_source(dni_fail(DN_E_DATA, "record '%.*s' is no longer there",
                                    size > 64 ? 64 : (int)size, (char *)o->keys + begin),
                           source);
    return st;
}

void dni_order_free(dni_order *o)
{
    dni_free(o->keys);
    dni_free(o->ends);
    dni_free(o->at);
}
