/* SPDX-License-Identifier: BSD-2-Clause
 * guess.h: shapes of data that may not be opened (wire_only), by the names their users give. */
#ifndef DNI_GUESS_H
#define DNI_GUESS_H

#include "layers/layer.h"

/* A net whose shapes do not fit is wired again with the next guess, up to this one. */
#define DNI_GUESSES 9

/* (N, C, size, size): what a source of this name (NULL: unknown) probably holds; of a later
 * guess of the layer's, what it may hold. */
dni_shape dni_guess_images(const dni_layer *layer, int64_t N, const char *source);
/* Is a top of this name a label, a class map or another truth? */
bool dni_guess_is_label(const char *top);
/* The shape of N records under the name of a top: labels (N), sequence marks and words (N, 1)
 * (of a source in ".../buffer_100/...": of so many sequences), im_info (N, 3), rois (N, 5);
 * anything else is images. */
dni_shape dni_guess_top(const dni_layer *layer, int64_t N, const char *top, const char *source);

/* For layers that wire but read nothing: fails for a source (NULL) or batch size (0) that
 * `param` lacks, and where something would be read: "TYPE would read WHAT 'SOURCE', which ...".
 */
dn_status dni_guess_unread(const dni_layer *layer, const char *what, const char *param,
                           const char *source, int64_t batch);
/* For ImageData and its kin: the same of image_data_param, and the images it would read. */
dn_status dni_guess_list(const dni_layer *layer);
dni_shape dni_guess_listed(const dni_layer *layer);

#endif
