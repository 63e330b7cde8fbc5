/* SPDX-License-Identifier: BSD-2-Clause
 * loss.h: what the losses and their gradients share: the view and the normaliser. */
#ifndef DN_KERNELS_REF_LOSS_H
#define DN_KERNELS_REF_LOSS_H

#include "../label.h"
#include "ref.h"

#define REF_LOG_FLOOR       1e-20 /* of probabilities in MULTINOMIAL and INFOGAIN, Caffe's */
#define REF_CONTRASTIVE_EPS 1e-4  /* keeps the gradient finite where a and b are equal */

static inline int64_t ref_loss_at(const dn_args_loss *a, int64_t o, int64_t d, int64_t i)
{
    return (o * a->dim + d) * a->inner + i;
}

/* check.c: the shapes that loss and gradient have in common. */
dn_status ref_check_loss(const dn_op *op);
/* The normaliser of the labels t (NULL where the loss has none). */
double REF(ref_normaliser)(const dn_args_loss *a, const real *t);

#endif
