/* SPDX-License-Identifier: BSD-2-Clause
 * known.c: see known.h. A product with 0 would keep a NaN: SELECT does not. */
#include "layers/known.h"

#include <math.h>

void dni_emit_where(dni_builder *b, dni_tensor x, dni_tensor mask, dni_tensor y)
{
    dn_args_select a = {.index = 1};
    dni_emit(b, DN_OP_SELECT, &a, DNI_TENSORS(x, mask), DNI_TENSORS(y));
}

dni_known dni_emit_known(dni_builder *b, dni_tensor x, float least)
{
    const dni_shape shape = *dni_tensor_shape(b, x);
    dni_known out = {dni_temp_like(b, x), dni_temp_like(b, x), DNI_NONE};
    out.mask = dni_temp(b, DN_I32, shape.axes, shape.dim);
    dni_emit_unary(b, DN_FN_ABS, 0, 0, 0, x, out.one);
    dni_emit_unary(b, DN_FN_THRESHOLD, nextafterf(least, -1), 0, 0, out.one, out.one);
    dni_emit(b, DN_OP_CAST, NULL, DNI_TENSORS(out.one), DNI_TENSORS(out.mask));
    dni_emit_where(b, x, out.mask, out.value);
    return out;
}
