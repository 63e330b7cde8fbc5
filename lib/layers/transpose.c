/* SPDX-License-Identifier: BSD-2-Clause
 * Transpose (text recognition: CTPN): Permute, whose order is spelled transpose_param { dim }
 * (the text reader knows). All of Permute. */
#include "layers/permute.h"

const dni_layer_class dni_layer_transpose = {.type = "Transpose", DNI_PERMUTE_CLASS};
