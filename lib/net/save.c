/* SPDX-License-Identifier: BSD-2-Clause
 * save.c: a net as text, as a .caffemodel: NetParameter { name 1, layer 100 { ..., blobs 7 } },
 * and as .safetensors. */
#include <string.h>

#include "net/hdf5.h"
#include "net/net.h"
#include "net/pack.h"
#include "net/safetensors.h"

enum { NET_NAME = 1, NET_LAYER = 100, LAYER_BLOBS = 7 };

static dni_pack_blob blob_of(const dn_net *net, const dni_net_layer *l, int32_t i,
                             bool with_diff)
{
    const dn_blob *blob = &net->params[l->params[i]]->blob;
    if (with_diff && blob->store->diff)
        dni_store_diff(blob->store); /* cannot fail: it is there */
    return (dni_pack_blob){blob->shape, blob->dtype, blob->store->data,
                           with_diff ? blob->store->diff : NULL};
}

/* The layer's own message without blobs that came with the file. */
static Cnn__LayerParameter bare(const dni_net_layer *l)
{
    Cnn__LayerParameter param = *l->layer.param;
    param.n_blobs = 0;
    return param;
}

static size_t layer_size(const dn_net *net, const dni_net_layer *l, bool with_diff)
{
    Cnn__LayerParameter param = bare(l);
    size_t size = protobuf_c_message_get_packed_size(&param.base);
    for (int32_t i = 0; i < l->layer.num_weights; i++) {
        dni_pack_blob blob = blob_of(net, l, i, with_diff);
        size += dni_pack_field_size(LAYER_BLOBS, dni_pack_blob_size(&blob));
    }
    return size;
}

static dn_status write_layer(dni_draft *draft, const dn_net *net, const dni_net_layer *l,
                             bool with_diff)
{
    Cnn__LayerParameter param = bare(l);
    uint8_t head[24], *end = dni_pack_field(head, NET_LAYER, layer_size(net, l, with_diff)),
                      *bytes;
    size_t size;
    dn_status st = dni_binary_print(&bytes, &size, net->heap, &param.base);
    if (st)
        return st;
    dni_draft_write(draft, head, (size_t)(end - head));
    dni_draft_write(draft, bytes, size);
    dni_free(bytes);
    for (int32_t i = 0; i < l->layer.num_weights; i++) {
        dni_pack_blob blob = blob_of(net, l, i, with_diff);
        dni_pack_blob_save(draft, LAYER_BLOBS, &blob);
    }
    return DN_OK;
}

dn_status dni_net_save(dn_net *net, const char *path, bool with_diff)
{
    const char *name = dn_net_name(net);
    dn_status st = dni_net_fetch_weights(net, with_diff);
    if (st)
        return st;
    dni_draft draft;
    uint8_t head[24], *end = dni_pack_field(head, NET_NAME, strlen(name));
    dni_draft_begin(&draft, net->heap, path);
    dni_draft_write(&draft, head, (size_t)(end - head));
    dni_draft_write(&draft, name, strlen(name));
    for (size_t i = 0; !st && i < net->num_layers; i++)
        st = write_layer(&draft, net, &net->layers[i], with_diff);
    return dni_draft_end(&draft, st);
}

/* ---- .safetensors ------------------------------------------------------------------------ */

static void append_name(dni_text *text, const char *name, int32_t index, int32_t count)
{
    for (; *name; name++)
        if (*name == '"' || *name == '\\' || (unsigned char)*name < ' ')
            dni_text_printf(text, "\\u%04x", (unsigned char)*name);
        else
            dni_text_append(text, name, 1);
    if (count > 2)
        dni_text_printf(text, ".%d", index);
    else
        dni_text_printf(text, index ? ".bias" : ".weight");
}

/* The header, padded so that values lie at multiples of 8. */
static void append_header(const dn_net *net, dni_text *text)
{
    size_t at = 0;
    const char *comma = "{";
    for (size_t i = 0; i < net->num_layers; i++) {
        const dni_net_layer *l = &net->layers[i];
        for (int32_t k = 0; k < l->layer.num_weights; k++, comma = ",") {
            const dn_blob *blob = &net->params[l->params[k]]->blob;
            dni_text_printf(text, "%s\"", comma);
            append_name(text, l->layer.name, k, l->layer.num_weights);
            dni_text_printf(text, "\":{\"dtype\":\"%s\",\"shape\":[",
                            blob->dtype == DN_F64 ? "F64" : "F32");
            for (int32_t a = 0; a < blob->shape.axes; a++)
                dni_text_printf(text, a ? ",%lld" : "%lld", (long long)blob->shape.dim[a]);
            size_t end =
                at + (size_t)dni_shape_count(&blob->shape) * dni_dtype_size(blob->dtype);
            dni_text_printf(text, "],\"data_offsets\":[%zu,%zu]}", at, end);
            at = end;
        }
    }
    dni_text_printf(text, *comma == '{' ? "{}" : "}");
    while (!text->failed && text->size % 8)
        dni_text_append(text, " ", 1);
}

static dn_status save_safetensors(dn_net *net, const char *path)
{
    dni_text text;
    dni_draft draft;
    uint8_t length[DNI_SAFETENSORS_LENGTH];
    dn_status st = dni_net_fetch_weights(net, false);
    if (st)
        return st;
    dni_text_init(&text, net->heap);
    append_header(net, &text);
    for (int i = 0; i < DNI_SAFETENSORS_LENGTH; i++)
        length[i] = (uint8_t)((uint64_t)text.size >> 8 * i);
    dni_draft_begin(&draft, net->heap, path);
    dni_draft_write(&draft, length, sizeof length);
    if (!text.failed)
        dni_draft_write(&draft, text.data, text.size);
    for (size_t i = 0; i < net->num_layers; i++)
        for (int32_t k = 0; k < net->layers[i].layer.num_weights; k++) {
            const dn_blob *blob = &net->params[net->layers[i].params[k]]->blob;
            dni_draft_write(&draft, blob->store->data,
                            (size_t)dni_shape_count(&blob->shape) *
                                dni_dtype_size(blob->dtype));
        }
    st = dni_draft_end(&draft, text.failed ? DN_E_NOMEM : DN_OK);
    dni_text_free(&text);
    return st;
}

/* ---- the interface ----------------------------------------------------------------------- */

dn_status dn_net_save_weights(dn_net *net, const char *path)
{
    dni_clear_error();
    if (!net || !path)
        return dni_fail_null(__func__);
    if (net->wire_only)
        return dni_fail(DN_E_STATE, "the net was created with wire_only: it has no weights");
    if (dni_ends_with(path, ".h5"))
        return dni_hdf5_save(net, path);
    if (dni_ends_with(path, ".safetensors"))
        return save_safetensors(net, path);
    return dni_net_save(net, path, false);
}

dn_status dn_net_prototxt(dn_net *net, char **out)
{
    dni_clear_error();
    if (!net || !out)
        return dni_fail_null(__func__);
    Cnn__NetParameter message = *(net->origin ? net->origin : net)->file->net;
    Cnn__LayerParameter *layers = dni_alloc(net->heap, net->num_layers, sizeof *layers);
    Cnn__LayerParameter **list = dni_alloc(net->heap, net->num_layers, sizeof *list);
    dn_status st = layers && list ? DN_OK : DN_E_NOMEM;
    for (size_t i = 0; !st && i < net->num_layers; i++) {
        layers[i] = bare(&net->layers[i]);
        list[i] = &layers[i];
    }
    message.layer = list;
    message.n_layer = net->num_layers;
    if (!st)
        st = dni_text_print(out, net->heap, &message.base, NULL);
    dni_free(layers);
    dni_free(list);
    return st;
}
