/* SPDX-License-Identifier: BSD-2-Clause
 * label.h: labels and row numbers come from data, so every one is looked at before it is an
 * index, and every host backend has the same words for a bad one. */
#ifndef DN_KERNELS_LABEL_H
#define DN_KERNELS_LABEL_H

#include <math.h>

#include "deepnet/sys/backend.h"

enum { LABEL_OK, LABEL_IGNORED, LABEL_BAD };

/* The whole part of t, where it is a number of sane size; else -1. */
static inline int64_t label_whole(double t)
{
    return t > -2147483649.0 && t < 2147483648.0 ? (int64_t)t : -1;
}

/* The class t names, of `classes`, unless it is to be ignored. */
static inline int label_of(double t, int64_t classes, int32_t has_ignore, int32_t ignore,
                           int64_t *label)
{
    *label = label_whole(t);
    if (has_ignore && *label == ignore && t == t)
        return LABEL_IGNORED;
    return *label >= 0 && *label < classes ? LABEL_OK : LABEL_BAD;
}

/* How a bad one ends the run. */
static inline dn_status label_fail(const dn_backend_host *host, double t, int64_t item,
                                   int64_t classes)
{
    if (t != t || (double)label_whole(t) != trunc(t))
        return host->fail(DN_E_DATA, "the label of item %lld is not a class number",
                          (long long)item);
    return host->fail(DN_E_DATA,
                      "label %lld of item %lld is outside the %lld classes of the prediction",
                      (long long)label_whole(t), (long long)item, (long long)classes);
}

static inline dn_status row_number_fail(const dn_backend_host *host, double index, int64_t item,
                                        int64_t limit)
{
    return host->fail(DN_E_DATA, "index %lld of item %lld is outside the %lld rows",
                      (long long)(fabs(index) < 1e15 ? index : -1), (long long)item,
                      (long long)limit);
}

static inline dn_status region_fail(const dn_backend_host *host, int64_t region, int64_t items)
{
    return host->fail(DN_E_DATA, "region %lld is not in one of the %lld items of the map",
                      (long long)region, (long long)items);
}

static inline dn_status truth_fail(const dn_backend_host *host, int64_t truth, int64_t classes)
{
    return host->fail(DN_E_DATA, "the label of true box %lld is none of the %lld classes",
                      (long long)truth, (long long)classes);
}

#endif
