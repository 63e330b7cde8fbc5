/* SPDX-License-Identifier: BSD-2-Clause
 * label.h: labels come from data, so every one is looked at before it is an index. */
#ifndef DN_KERNELS_REF_LABEL_H
#define DN_KERNELS_REF_LABEL_H

#include "ref.h"

enum { REF_LABEL_OK, REF_LABEL_IGNORED, REF_LABEL_BAD };

/* The whole part of t, where it is a number of sane size; else -1. */
static inline int64_t ref_whole(real t)
{
    return t > -2147483649.0 && t < 2147483648.0 ? (int64_t)t : -1;
}

/* The class t names, of `classes`, unless it is to be ignored. */
static inline int ref_label(real t, int64_t classes, int32_t has_ignore, int32_t ignore,
                            int64_t *label)
{
    *label = ref_whole(t);
    if (has_ignore && *label == ignore && t == t)
        return REF_LABEL_IGNORED;
    return *label >= 0 && *label < classes ? REF_LABEL_OK : REF_LABEL_BAD;
}

/* How a bad one ends the run. */
static inline dn_status ref_label_fail(const dn_op *op, real t, int64_t item, int64_t classes)
{
    if (t != t || ref_whole(t) != (real)trunc(t))
        return op->host->fail(DN_E_DATA, "the label of item %lld is not a class number",
                              (long long)item);
    return op->host->fail(
        DN_E_DATA, "label %lld of item %lld is outside the %lld classes of the prediction",
        (long long)ref_whole(t), (long long)item, (long long)classes);
}

#endif
