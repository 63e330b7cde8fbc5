/* SPDX-License-Identifier: BSD-2-Clause
 * test_dialect.c: binary files with the forks' numbers, made by hand: which dialect is found,
 * and what is read. Files rewritten whole: comments, unknown fields, forms, refusals.
 * argv[1]: this folder. */
#include <unistd.h>

#include "core/context.h"
#include "deepnet/net.h"
#include "deepnet/upgrade.h"
#include "proto/dialect.h"

#include "check.h"

static const dni_heap *const heap = &dni_default_heap;
static const char *folder = ".";

/* ---- dialects ---------------------------------------------------------------------------- */

static Cnn__LayerParameter *read_layer(const char *numbered, const char *dialect,
                                       Cnn__NetParameter **net, const char *found)
{
    /* the numbers are written in a message without names: all of its fields are unknown */
    ProtobufCMessage *wire = NULL, *message = NULL;
    dni_locations *locations = NULL;
    uint8_t *bytes = NULL;
    size_t size = 0;
    CHECK_STATUS(dni_text_parse(&wire, heap, &cnn__shuffle_channel_parameter__descriptor,
                                numbered, strlen(numbered), "w", NULL), DN_OK);
    CHECK_STATUS(dni_binary_print(&bytes, &size, heap, wire), DN_OK);
    CHECK_TEXT(dni_dialect_names[dni_dialect_guess(&cnn__net_parameter__descriptor, bytes,
                                                   size)], found);
    CHECK_STATUS(dni_locations_create(&locations, heap, "w"), DN_OK);
    CHECK_STATUS(dni_dialect_parse(&message, heap, &cnn__net_parameter__descriptor, bytes, size,
                                   "w", dialect, locations), DN_OK);
    bool other = strcmp(dialect ? dialect : found, "caffe") != 0;
    CHECK_INT(dni_locations_num_notes(locations), other);
    dni_locations_free(locations);
    dni_message_free(wire);
    dni_free(bytes);
    *net = (Cnn__NetParameter *)message;
    return *net && (*net)->n_layer ? (*net)->layer[0] : NULL;
}

/* 148 is one field in each of three dialects; the rest of a layer says which. */
static void test_148(void)
{
    Cnn__NetParameter *net;
    SECTION("148");
    Cnn__LayerParameter *l = read_layer(
        "100 { 1: 'c' 2: 'Clip' 148 { 1: 0x3f800000 2: 0x40000000 } }", NULL, &net, "caffe");
    CHECK(l && l->clip_param && l->clip_param->max == 2);
    dni_message_free(net);
    l = read_layer("100 { 2: 'SmoothL1Loss' 148 { 1: 0x40400000 } }", NULL, &net, "intel");
    CHECK(l && !l->clip_param && l->smooth_l1_loss_param);
    CHECK(l && l->smooth_l1_loss_param && l->smooth_l1_loss_param->sigma == 3);
    dni_message_free(net);
    l = read_layer("100 { 1: 'r' 2: 'ReLU' 145: 1 148: 2 }", NULL, &net, "nvidia");
    CHECK(l && !l->clip_param && l->has_backward_math && l->has_forward_type);
    dni_message_free(net);
    l = read_layer("100 { 2: 'ROIPooling' 147 { 1: 7 4: 0x3e800000 } }", NULL, &net, "mscnn");
    CHECK(l && l->roi_pooling_param && l->roi_pooling_param->pad_ratio == 0.25f);
    CHECK(l && l->roi_pooling_param && !l->roi_pooling_param->n_pooled_size);
    dni_message_free(net);
}

static void test_found(void)
{
    static const struct {
        const char *numbered, *found, *field;
    } rows[] = {
        {"1: 'n' 100 { 2: 'PriorBox' 203 { 1: 0x3f800000 } }", "ssd", "prior_box_param"},
        {"100 { 2: 'Interp' 143 { 1: 33 } }", "pspnet", "interp_param"},
        {"100 { 2: 'BN' 152 { 1 { 1: 'constant' } } }", "pspnet", "bn_param"},
        {"100 { 2: 'RegionLoss' 600 { 1: 13 } }", "yolo", "region_loss_param"},
        {"100 { 2: 'ROIPooling' 8266711 { 1: 7 } }", "rcnn", "roi_pooling_param"},
        {"100 { 2: 'Flip' 212 { 1: 1 } }", "happynear", "flip_param"},
        {"100 { 2: 'Insanity' 202 { 1: 0x40400000 2: 0x41000000 } }", "happynear",
         "insanity_param"},
        {"100 { 2: 'CenterLoss' 147 { 1: 10 } }", "face", "center_loss_param"},
        {"100 { 2: 'MarginInnerProduct' 147 { 1: 10 2: 3 5: 0x447a0000 } }", "sphereface",
         "margin_inner_product_param"},
        {"100 { 2: 'Lstm' 140 { 1: 128 5: 2 } }", "ctpn", "lstm_param"},
        {"100 { 2: 'Reverse' 143 { 1: 1 } }", "ctpn", "reverse_param"},
        {"100 { 2: 'Lstm' 140 { 1: 128 } } 100 { 2: 'Transpose' 142 { 1: 2 1: 0 1: 1 } }",
         "ctpn", "lstm_param"},
        {"100 { 2: 'Correlation' 150 { 2: 20 3: 1 4: 20 6: 2 } }", "flownet2",
         "correlation_param"},
        {"100 { 2: 'L1Loss' 151 { 1: 1 } } 100 { 2: 'FlowWarp' 159 { 1: 1 } }", "flownet2",
         "l1_loss_param"},
        {"100 { 2: 'Downsample' 156 { } 162: 0 }", "flownet2", "downsample_param"},
        {"100 { 2: 'PSROIPooling' 153 { 1: 0x3f800000 2: 2 3: 7 } }", "intel",
         "psroi_pooling_param"},
        {"100 { 2: 'BatchNorm' 139 { 1: 1 4: 'MKLDNN' } }", "intel", "batch_norm_param"},
        {"100 { 2: 'BatchNorm' 139 { 1: 1 15: 2 7: 1 } }", "nvidia", "batch_norm_param"},
        {"100 { 2: 'ROIPooling' 147 { 1: 7 2: 7 3: 0x3e000000 } }", "mscnn",
         "roi_pooling_param"},
        {"100 { 2: 'SmoothL1Loss' 148 { 1: 0x40400000 } } "
         "100 { 2: 'ROIPooling' 147 { 1: 7 2: 7 4: 0x3e800000 } }",
         "mscnn", "smooth_l1_loss_param"},
    };
    SECTION("found");
    for (size_t i = 0; i < DNI_COUNT(rows); i++) {
        Cnn__NetParameter *net;
        Cnn__LayerParameter *l = read_layer(rows[i].numbered, NULL, &net, rows[i].found);
        const ProtobufCFieldDescriptor *f = protobuf_c_message_descriptor_get_field_by_name(
            &cnn__layer_parameter__descriptor, rows[i].field);
        CHECK_AT(l && f && *(void **)((char *)l + f->offset), "%s", rows[i].field);
        CHECK_AT(l && !l->base.n_unknown_fields, "%s", rows[i].field);
        dni_message_free(net);
    }
}

/* A dialect that is given wins; a field that the schema lacks under a number it uses stays. */
static void test_given(void)
{
    Cnn__NetParameter *net;
    ProtobufCMessage *m = NULL;
    SECTION("given");
    Cnn__LayerParameter *l =
        read_layer("100 { 2: 'Reorg' 149 { 1: 2 } }", "yolo", &net, "yolo");
    CHECK(l && l->reorg_param);
    dni_message_free(net);
    /* 132 is lisa's embed_param; this is 65536 above it */
    l = read_layer("100 { 2: 'Embed' 65668 { 1: 4 } }", "lisa", &net, "caffe");
    CHECK(l && !l->embed_param && l->base.n_unknown_fields == 1);
    dni_message_free(net);
    l = read_layer("100 { 2: 'DenseCRF' 146 { 1: 7 } }", "pspnet", &net, "pspnet");
    CHECK(l && !l->recurrent_param && l->dense_crf_param && l->dense_crf_param->max_iter == 7);
    dni_message_free(net);
    l = read_layer("100 { 2: 'DomainTransform' 147 { 1: 10 } }", "pspnet", &net, "face");
    CHECK(l && l->base.n_unknown_fields == 1 && l->base.unknown_fields[0].tag == 50147);
    dni_message_free(net);
    CHECK_MESSAGE(dni_dialect_parse(&m, heap, &cnn__net_parameter__descriptor, "", 0, "w",
                                    "mxnet", NULL), DN_E_NOTFOUND,
                  "there is no dialect 'mxnet'; there are caffe, ssd, nvidia");
}

/* ---- files ------------------------------------------------------------------------------- */

static char path_old[256], path_new[256];

static void write_text(const char *path, const char *text)
{
    CHECK_STATUS(dni_file_write(heap, path, text, strlen(text)), DN_OK);
}

static char *read_text(const char *path, size_t *size)
{
    char *text = NULL;
    CHECK_STATUS(dni_file_read(heap, path, &text, size), DN_OK);
    return text;
}

static void test_comments(dn_context *context)
{
    char old[512], wanted[512];
    size_t size, wanted_size;
    SECTION("comments");
    snprintf(old, sizeof old, "%s/upgrade/comments.prototxt", folder);
    snprintf(wanted, sizeof wanted, "%s/upgrade/comments.upgraded.prototxt", folder);
    CHECK_STATUS(dn_upgrade_file(context, old, path_new, NULL), DN_OK);
    char *have = read_text(path_new, &size), *text = read_text(wanted, &wanted_size);
    CHECK_TEXT(have, text);
    CHECK_STATUS(dn_upgrade_file(context, path_new, path_new, NULL), DN_OK);
    char *again = read_text(path_new, &size);
    CHECK_TEXT(again, text);
    dni_free(have);
    dni_free(text);
    dni_free(again);
}

/* Sizes of a window become a list, and what is said of them goes along. */
static void test_lists(dn_context *context)
{
    size_t size;
    SECTION("lists");
    write_text(path_old, "layer { pooling_param { # of rows\n kernel_size: 2 # high\n"
                         "kernel_size: 3 # wide\n# steps\nstride: [2, 1] # both\n"
                         "# none\npad: 0 # no more\n } }");
    CHECK_STATUS(dn_upgrade_file(context, path_old, path_new, NULL), DN_OK);
    char *have = read_text(path_new, &size);
    CHECK_TEXT(have, "layer {\n  pooling_param {\n    # none\n    pad: 0  # no more\n"
                     "    # of rows\n    kernel_size_3d: 2  # high\n"
                     "    kernel_size_3d: 3  # wide\n    # steps\n    stride_3d: 2\n"
                     "    stride_3d: 1  # both\n  }\n}\n");
    dni_free(have);
}

/* Text to binary and back is the upgraded text. */
static void test_forms(dn_context *context)
{
    static const char text[] = "name: \"n\"\nlayer {\n  name: \"r\"\n  type: \"ReLU\"\n"
                               "  bottom: \"a\"\n  top: \"b\"\n  777: 5\n}\n";
    dn_upgrade_options o = {.struct_size = sizeof o, .form = DN_FORM_BINARY};
    size_t size;
    SECTION("forms");
    write_text(path_old, "name: 'n' layers { name: 'r' type: RELU bottom: 'a' top: 'b' }");
    write_text(path_old, text);
    CHECK_STATUS(dn_upgrade_file(context, path_old, path_new, &o), DN_OK);
    char *bytes = read_text(path_new, &size);
    CHECK(dni_looks_binary(bytes, size));
    dni_free(bytes);
    o.form = DN_FORM_TEXT;
    CHECK_STATUS(dn_upgrade_file(context, path_new, path_old, &o), DN_OK);
    bytes = read_text(path_old, &size);
    CHECK_TEXT(bytes, text);
    dni_free(bytes);
}

/* A net from binary text in memory, in the numbers of a fork. */
static void test_net(dn_context *context)
{
    static const char text[] =
        "100 { 1: 'x' 2: 'Input' 4: 'x' 143 { 1 { 1: 2 1: 3 1: 4 } } } "
        "100 { 1: 'p' 2: 'Permute' 3: 'x' 4: 'y' 202 { 1: 2 1: 0 1: 1 } }";
    dn_net_options o = {.struct_size = sizeof o, .dialect = "ssd"};
    ProtobufCMessage *wire = NULL;
    uint8_t *bytes = NULL;
    size_t size = 0;
    dn_net *net = NULL;
    SECTION("net");
    CHECK_STATUS(dni_text_parse(&wire, heap, &cnn__shuffle_channel_parameter__descriptor, text,
                                strlen(text), "w", NULL), DN_OK);
    CHECK_STATUS(dni_binary_print(&bytes, &size, heap, wire), DN_OK);
    for (int given = 0; given < 2; given++) {
        CHECK_STATUS(dn_net_create_from_text(&net, context, (const char *)bytes, size,
                                             given ? &o : NULL), DN_OK);
        const dn_blob *y = net ? dn_net_blob(net, "y") : NULL;
        CHECK(y && dn_blob_dim(y, 0) == 4 && dn_blob_dim(y, 2) == 3);
        dn_net_free(net);
        net = NULL;
    }
    o.dialect = "caffe"; /* whose 202 is unknown: an error, never silence */
    CHECK_MESSAGE(dn_net_create_from_text(&net, context, (const char *)bytes, size, &o),
                  DN_E_UNSUPPORTED, "field 202 of LayerParameter is of no dialect known here");
    o.dialect = "mxnet";
    CHECK_STATUS(dn_net_create_from_text(&net, context, (const char *)bytes, size, &o),
                 DN_E_NOTFOUND);
    dni_message_free(wire);
    dni_free(bytes);
}

static void test_solver(dn_context *context)
{
    size_t size;
    SECTION("solver");
    write_text(path_old, "base_lr: 0.5 # fast\n# old\nsolver_type: ADAM\n"
                         "net_param { layers { name: 'r' type: RELU } }");
    CHECK_STATUS(dn_upgrade_file(context, path_old, path_new, NULL), DN_OK);
    char *have = read_text(path_new, &size);
    CHECK_TEXT(have, "base_lr: 0.5  # fast\nnet_param {\n  layer {\n    name: \"r\"\n"
                     "    type: \"ReLU\"\n  }\n}\n# old\ntype: \"Adam\"\n");
    dni_free(have);
}

static void test_refusals(dn_context *context)
{
    dn_upgrade_options o = {.struct_size = sizeof o, .form = DN_FORM_BINARY};
    SECTION("refusals");
    write_text(path_old, "name: 'n' future_thing: 1");
    CHECK_MESSAGE(dn_upgrade_file(context, path_old, path_new, &o), DN_E_UNSUPPORTED,
                  "1 fields are unknown here and have no number");
    o.form = 3;
    CHECK_STATUS(dn_upgrade_file(context, path_old, path_new, &o), DN_E_INVALID);
    o = (dn_upgrade_options){.struct_size = sizeof o, .kind = -1};
    CHECK_STATUS(dn_upgrade_file(context, path_old, path_new, &o), DN_E_INVALID);
    CHECK_STATUS(dn_upgrade_file(context, NULL, path_new, NULL), DN_E_INVALID);
    CHECK_STATUS(dn_upgrade_file(context, "absent.prototxt", path_new, NULL), DN_E_IO);
    write_text(path_old, "layers { layer { type: 'warp' } }");
    CHECK_STATUS(dn_upgrade_file(context, path_old, path_new, NULL), DN_E_UNSUPPORTED);
    write_text(path_old, "name: ");
    CHECK_STATUS(dn_upgrade_file(context, path_old, path_new, NULL), DN_E_PARSE);
}

/* Each allocation fails once. */
static void test_failures(void)
{
    char old[512];
    long at = 1;
    SECTION("failures");
    snprintf(old, sizeof old, "%s/upgrade/comments.prototxt", folder);
    for (bool failed = true; failed && at < 100000; at++) {
        check_heap counted = {.fail_at = 0};
        dn_context_options options = {.struct_size = sizeof options, .num_threads = 1,
                                      .alloc = check_alloc, .alloc_user = &counted};
        dn_context *context = NULL;
        CHECK_STATUS(dn_context_create(&context, &options), DN_OK);
        counted.fail_at = counted.requests + at;
        dni_clear_error();
        dn_status st = dn_upgrade_file(context, old, path_new, NULL);
        CHECK_AT(st == DN_OK || st == DN_E_NOMEM, "request %ld: %s", at, dn_status_name(st));
        CHECK_AT(!st == !dn_last_error(), "request %ld: message", at);
        failed = counted.requests >= counted.fail_at;
        dn_context_free(context);
        CHECK_HEAP_CLEAN(&counted);
    }
    CHECK_AT(at > 50 && at < 100000, "%ld requests", at);
}

int main(int argc, char **argv)
{
    const char *temporary = getenv("TMPDIR");
    dn_context *context = NULL;
    folder = argc > 1 ? argv[1] : ".";
    snprintf(path_old, sizeof path_old, "%s/dialect-%ld-old", temporary ? temporary : "/tmp",
             (long)getpid());
    snprintf(path_new, sizeof path_new, "%s/dialect-%ld-new", temporary ? temporary : "/tmp",
             (long)getpid());
    CHECK_STATUS(dn_context_create(&context, NULL), DN_OK);
    test_148();
    test_found();
    test_given();
    test_comments(context);
    test_lists(context);
    test_forms(context);
    test_net(context);
    test_solver(context);
    test_refusals(context);
    test_failures();
    dn_context_free(context);
    unlink(path_old);
    unlink(path_new);
    return check_summary();
}
