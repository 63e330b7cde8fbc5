/* SPDX-License-Identifier: BSD-2-Clause
 * save.c: a net as text and as a .caffemodel: NetParameter { name 1, layer 100 { ..., blobs 7 }
 * }. */
#include <string.h>

#include "net/hdf5.h"
#include "net/net.h"
#include "net/pack.h"

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

static uint8_t *write_layer(uint8_t *at, const dn_net *net, const dni_net_layer *l,
                            bool with_diff)
{
    Cnn__LayerParameter param = bare(l);
    at = dni_pack_field(at, NET_LAYER, layer_size(net, l, with_diff));
    at += protobuf_c_message_pack(&param.base, at);
    for (int32_t i = 0; i < l->layer.num_weights; i++) {
        dni_pack_blob blob = blob_of(net, l, i, with_diff);
        at = dni_pack_field(at, LAYER_BLOBS, dni_pack_blob_size(&blob));
        at = dni_pack_blob_write(at, &blob);
    }
    return at;
}

dn_status dni_net_serialise(dn_net *net, bool with_diff, uint8_t **out, size_t *size)
{
    const char *name = dn_net_name(net);
    dn_status st = dni_net_fetch_weights(net, with_diff);
    if (st)
        return st;
    size_t bytes = dni_pack_field_size(NET_NAME, strlen(name));
    for (size_t i = 0; i < net->num_layers; i++)
        bytes += dni_pack_field_size(NET_LAYER, layer_size(net, &net->layers[i], with_diff));
    uint8_t *buffer = dni_alloc(net->heap, bytes, 1), *at = buffer;
    if (!buffer)
        return DN_E_NOMEM;
    at = dni_pack_field(at, NET_NAME, strlen(name));
    memcpy(at, name, strlen(name));
    at += strlen(name);
    for (size_t i = 0; i < net->num_layers; i++)
        at = write_layer(at, net, &net->layers[i], with_diff);
    *out = buffer;
    *size = (size_t)(at - buffer);
    return DN_OK;
}

static bool ends_in(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && !strcmp(text + n - m, end);
}

dn_status dn_net_save_weights(dn_net *net, const char *path)
{
    uint8_t *bytes;
    size_t size;
    dni_clear_error();
    if (!net || !path)
        return dni_fail(DN_E_INVALID, "dn_net_save_weights: an argument is NULL");
    if (net->wire_only)
        return dni_fail(DN_E_STATE, "the net was created with wire_only: it has no weights");
    if (ends_in(path, ".h5"))
        return dni_hdf5_save(net, path);
    dn_status st = dni_net_serialise(net, false, &bytes, &size);
    if (st)
        return st;
    st = dni_file_write(net->heap, path, bytes, size);
    dni_free(net->heap, bytes);
    return st;
}

dn_status dn_net_prototxt(dn_net *net, char **out)
{
    dni_clear_error();
    if (!net || !out)
        return dni_fail(DN_E_INVALID, "dn_net_prototxt: an argument is NULL");
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
    dni_free(net->heap, layers);
    dni_free(net->heap, list);
    return st;
}
