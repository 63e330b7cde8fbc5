/* SPDX-License-Identifier: BSD-2-Clause
 * tune.h: measured costs of matrix products, remembered in the context. */
#ifndef DNI_TUNE_H
#define DNI_TUNE_H

#include "core/context.h"

bool dni_is_product(int32_t kind);
/* info->cost becomes what op takes on numbers of no meaning, summed over threads; measured once
 * for each backend, kind, arguments and shapes. DN_E_NOMEM, or what the op's run fails with. */
dn_status dni_tune(dn_context *context, const dni_backend_slot *slot, const dn_op_desc *desc,
                   size_t args_size, dn_op *op, dn_op_info *info);

#endif
