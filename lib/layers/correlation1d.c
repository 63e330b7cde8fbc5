/* SPDX-License-Identifier: BSD-2-Clause
 * Correlation1D (DispNet): Correlation along rows alone. correlation_param as there, and
 * single_direction: displacements of both signs (0), from 0 up (1), or below 0 (-1). bottoms:
 * a, b of one shape (N, C, H, W), columns padded; top: (N, displacements, P, Q). */
#include "layers/correlation.h"

const dni_layer_class dni_layer_correlation1d = {.type = "Correlation1D",
                                                 DNI_CORRELATION_CLASS};
