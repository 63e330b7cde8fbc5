/* SPDX-License-Identifier: BSD-2-Clause
 * test_proto.c: the language: values of every kind, what errors say and where, old nets against
 * Caffe's own upgrades, weights cut at every byte, each allocation failing once.
 * argv[1]: this folder. */
#include <float.h>

#include "proto/proto.h"

#include "check.h"
#include "comma.h"

static const dni_heap *const heap = &dni_default_heap;
static const char *folder = ".";

static dn_status parse_net(const char *text, Cnn__NetParameter **out)
{
    ProtobufCMessage *m = NULL;
    dn_status st = dni_text_parse(&m, heap, &cnn__net_parameter__descriptor, text, strlen(text),
                                  "t.prototxt", NULL);
    *out = (Cnn__NetParameter *)m;
    return st;
}

static char *read_text(const char *name, size_t *size)
{
    char *path = dni_format(heap, "%s/%s", folder, name), *text = NULL;
    CHECK_STATUS(dni_file_read(heap, path, &text, size), DN_OK);
    dni_free(path);
    return text;
}

/* ---- before main ------------------------------------------------------------------------- */

static const char *early_name;

/* As a C++ host's global objects would ask, here with all linked into one program. */
__attribute__((constructor)) static void ask_early(void)
{
    early_name = cnn__net_parameter__descriptor.fields[0].name;
}

static void test_early(void)
{
    SECTION("before main");
    CHECK(early_name && !strcmp(early_name, "name"));
}

/* ---- values ------------------------------------------------------------------------------ */

static void test_numbers(void)
{
    static const struct {
        const char *text;
        float value;
    } rows[] = {
        {"1", 1}, {"1.", 1}, {".5", .5f}, {"1f", 1}, {"1.5F", 1.5f}, {"1e-3", 1e-3f},
        {"-2.5E+2", -250}, {"0.00390625", 0.00390625f}, {"inf", INFINITY},
        {"-inf", -INFINITY}, {"- 3", -3}, {"0x10", 16}, {"1e400", INFINITY},
        {"-1e39", -INFINITY}, {"3.4028235e38", FLT_MAX}, {"1e-46", 0}, {"Infinity", INFINITY},
    };
    SECTION("numbers");
    for (size_t i = 0; i < DNI_COUNT(rows); i++) {
        char text[160];
        Cnn__NetParameter *net;
        snprintf(text, sizeof text, "layer { loss_weight: %s }", rows[i].text);
        CHECK_STATUS(parse_net(text, &net), DN_OK);
        if (net)
            CHECK_AT(net->layer[0]->loss_weight[0] == rows[i].value, "%s", rows[i].text);
        dni_message_free(net);
    }
    Cnn__NetParameter *net;
    CHECK_STATUS(parse_net("layer { loss_weight: nan }", &net), DN_OK);
    CHECK(net && isnan(net->layer[0]->loss_weight[0]));
    dni_message_free(net);
}

/* As protobuf has them, of one to four bytes. */
static void test_characters(void)
{
    Cnn__NetParameter *net;
    SECTION("characters");
    CHECK_STATUS(parse_net("name: '\\u0041\\u07ffb\\u20aC\\U0001F600\\U0010ffff'", &net), DN_OK);
    if (net)
        CHECK_TEXT(net->name, "A\xdf\xbf"
                              "b\xe2\x82\xac\xf0\x9f\x98\x80\xf4\x8f\xbf\xbf");
    dni_message_free(net);
    CHECK_STATUS(parse_net("name: '\\ud83d\\ude00\\uD800\\uDC00\\udbff\\udfff'", &net), DN_OK);
    if (net) /* pairs of UTF-16 are one */
        CHECK_TEXT(net->name, "\xf0\x9f\x98\x80\xf0\x90\x80\x80\xf4\x8f\xbf\xbf");
    dni_message_free(net);
}

static void test_forms(void)
{
    Cnn__NetParameter *net;
    SECTION("forms");
    CHECK_STATUS(parse_net("\xEF\xBB\xBF", &net), DN_OK); /* a byte-order mark alone */
    CHECK(net && net->n_layer == 0);
    dni_message_free(net);
    CHECK_STATUS(parse_net("# c\nname : 'a' \"b\\x41\\101\\n\\\"\" ; // d\n"
                           "input_dim: [1, -2,0x10 ,010], input_dim:5;\n"
                           "state: < phase: 1, level: -3 stage: 'x' >\n"
                           "force_backward: t debug_info: False layer: { propagate_down: "
                           "[true, f, 1, 0] } layer [ { name: 'p' }, < name: 'q' > ]", &net),
                 DN_OK);
    if (!net)
        return;
    CHECK_TEXT(net->name, "abAA\n\"");
    CHECK_INT(net->n_input_dim, 5);
    CHECK_INT(net->input_dim[1], -2);
    CHECK_INT(net->input_dim[2], 16);
    CHECK_INT(net->input_dim[3], 8);
    CHECK_INT(net->state->phase, CNN__PHASE__TEST);
    CHECK_INT(net->state->level, -3);
    CHECK_INT(net->force_backward, 1);
    CHECK(net->has_debug_info && !net->debug_info);
    CHECK_INT(net->n_layer, 3);
    CHECK_INT(net->layer[0]->n_propagate_down, 4);
    CHECK_INT(net->layer[0]->propagate_down[2], 1);
    CHECK_TEXT(net->layer[2]->name, "q");
    dni_message_free(net);
}

static void test_lenient(void)
{
    dni_net_file *file = NULL;
    const char text[] =
        "layer { name: 'c' convolution_param { engine: MKLDNN kernelsize: 5 } }\n"
        "layer { inner_product_param { engine: MKL2017 } engine: 'MKLDNN:CPU' }\n"
        "layer { name: 'd' data_param { scale: 2 } }\n"
        "layer { type: 'VideoData' image_data_param { crop_size: 8 } }"; /* has its effect */
    SECTION("lenient");
    CHECK_STATUS(dni_net_read_text(&file, heap, text, strlen(text), "n", NULL), DN_OK);
    if (!file)
        return;
    CHECK_INT(file->net->layer[0]->convolution_param->kernel_size[0], 5);
    CHECK_TEXT(file->net->layer[1]->inner_product_param->engine, "MKL2017");
    CHECK_TEXT(file->net->layer[1]->engine, "MKLDNN:CPU");
    CHECK(file->net->layer[2]->data_param->scale == 2); /* as in Caffe: no upgrade of `layer` */
    CHECK_INT(dni_locations_num_notes(file->locations), 2);
    CHECK_TEXT(dni_locations_get_note(file->locations, 0),
               "n:1:47: 'engine' MKLDNN is not known "
               "here");
    CHECK(
        strstr(dni_locations_get_note(file->locations, 1), "n:3:1: layer 'd': 'scale' has no"));
    CHECK(dni_locations_get_note(file->locations, 2) == NULL);
    dni_net_file_free(file);
}

/* Forks train on several devices, listed; the first counts. */
static void test_devices(void)
{
    static const char *const texts[] = {"device_id: [3, 0,1]", "device_id: 3 device_id: 1",
                                        "device_id: 3 device_id: [2, 1]", "device_id: 3"};
    SECTION("devices");
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        ProtobufCMessage *m = NULL;
        CHECK_STATUS(dni_text_parse(&m, heap, &cnn__solver_parameter__descriptor, texts[i],
                                    strlen(texts[i]), "s", NULL),
                     DN_OK);
        if (m)
            CHECK_INT(((Cnn__SolverParameter *)m)->device_id, 3);
        dni_message_free(m);
    }
}

/* ---- errors ------------------------------------------------------------------------------ */

static void test_errors(void)
{
    static const struct {
        const char *text, *message;
    } rows[] = {
        {"nam: 'x'",
         "t.prototxt:1:1: unknown field 'nam' in NetParameter; did you mean 'name'?"},
        {"base_lr: 0.1",
         "t.prototxt:1:1: 'base_lr' is of a solver, and this is read as a net"},
        {"layer {\n  name: 'conv1'\n  convolution_param {\n    kernelsze: 3\n} }",
         "t.prototxt:4:5: layer 'conv1': unknown field 'kernelsze' in ConvolutionParameter; "
         "did "
         "you mean 'kernel_size'?"},
        {"layer { pooling_param { pool: AVG } }",
         "t.prototxt:1:31: 'pool': unknown value 'AVG' of PoolMethod; did you mean 'AVE'?"},
        {"layers { type: 'Convolution' }",
         "'type' needs a name like CONVOLUTION without quotes"},
        {"layer { type: CONVOLUTION }", "t.prototxt:1:15: 'type' needs a string in quotes, not "
                                        "CONVOLUTION"},
        {"input_dim: 1.5", "t.prototxt:1:12: 'input_dim' needs a whole number, not 1.5"},
        {"input_dim: 2147483648", "'input_dim': 2147483648 is out of range"},
        {"input_dim: -2147483649", "'input_dim': -2147483649 is out of range"},
        {"input_dim: 99999999999999999999", "'input_dim' needs a whole number"},
        {"layer { data_param { batch_size: -1 } }", "'batch_size': -1 is out of range"},
        {"input_dim: --1", "'input_dim' needs a whole number, not -"},
        {"force_backward: 2", "'force_backward' needs true or false, not 2"},
        {"layer {\n name: 'a'",
         "t.prototxt:2:11: layer 'a': the text ends, but the '{' of line "
         "1, column 7 is not closed"},
        {"name: 'abc", "t.prototxt:1:7: string without end"},
        {"name: 'abc\n'", "t.prototxt:1:7: string without end"},
        {"name: 'abc\\\n'", "t.prototxt:1:7: string without end"},
        {"name: 'a\\q'", "unknown escape \\q"},
        {"name: '\\u00e'", "unknown escape \\u"},
        {"name: '\\U0011ffff'", "unknown escape \\U"},
        {"name: '\\ud83d'", "unknown escape \\u"},
        {"name: '\\ude00\\ud83d'", "unknown escape \\u"},
        {"name: '\\ud83d\\u0041'", "unknown escape \\u"},
        {"name: '\\ud83d\\ude0'", "unknown escape \\u"},
        {"name: '\\0'", "a zero byte in a string"},
        {"name: '\\u0000'", "a zero byte in a string"},
        {"name 'x'", "t.prototxt:1:6: expected ':' after 'name'"},
        {"name: 'x' name: 'y'", "t.prototxt:1:11: 'name' of NetParameter is given twice"},
        {"state { } state { }", "'state' of NetParameter is given twice"},
        {"name: 'x' }", "t.prototxt:1:11: '}' closes nothing that is open"},
        {"layer { > }", "'>' closes nothing"},
        {"name: ", "'name' needs a string in quotes, the "
                   "text ends"},
        {"input: ['a' 'b' 3]", "expected ',' or ']' in the list of 'input'"},
        {"\"name\": 'x'", "expected a field of NetParameter, not \"name\""},
        {"name: 'x' $", "t.prototxt:1:11: unexpected '$'"},
        {"name: 'x' \x01", "unexpected byte 0x01"},
        {"name: 'x'\xc2\xa0" "force_backward: true", "1:10: byte 0xc2 is not ASCII"},
        {"name: 'x'\xef\xbc\x8c", "byte 0xef is not ASCII"},
        {"layer { name: 'k' clip_param { min: 1 } }", "layer 'k': ClipParameter needs 'max'"},
        {"state: 5", "'state' needs a message in { }, not 5"},
        {"layer: 5", "'layer' needs a message in { }, not 5"},
    };
    SECTION("errors");
    for (size_t i = 0; i < DNI_COUNT(rows); i++) {
        Cnn__NetParameter *net = NULL;
        CHECK_MESSAGE(parse_net(rows[i].text, &net), DN_E_PARSE, rows[i].message);
        CHECK(net == NULL);
        dni_message_free(net);
    }
}

/* Of a dialect unknown here: the text is read to its end, and refused for that alone. */
static void test_unknown(void)
{
    static const struct {
        dn_status status;
        const char *text, *message;
    } rows[] = {
        {DN_E_UNSUPPORTED, "layer { qqqqqqqq: 1 }",
         "t.prototxt:1:9: unknown field 'qqqqqqqq' in LayerParameter"},
        {DN_E_UNSUPPORTED, "layer { pooling_param { pool: 9 } }",
         "t.prototxt:1:31: 'pool': PoolMethod has no value 9"},
        {DN_E_UNSUPPORTED, "layer { name: 'p' pooling_param { pool: WAVELET } }",
         "layer 'p': 'pool': unknown value 'WAVELET' of PoolMethod"},
        {DN_E_UNSUPPORTED, "input_dim: cls1x input_dim: 2 input_dim: cls3x",
         "'input_dim' needs a whole number, not cls1x (is this a template"},
        {DN_E_UNSUPPORTED,
         "zzzzzz { a: 1, b: [1, -2, 'x' 'y'] c < d: WORD; > 7: 5 }\nqqqqq: -1\nwwwww: 'a' 'b'",
         "1:1: unknown field 'zzzzzz' in NetParameter; 2 more like it, at 2:1, 3:1"},
        {DN_E_UNSUPPORTED, "input_dim: $TARGET_WIDTH$ input_dim: 3",
         "'input_dim' needs a whole number, not $TARGET_WIDTH$ (is this a template"},
        {DN_E_UNSUPPORTED, "layer { type: 'Scalar' scalar_param { axis: 1 } }",
         "1:24: unknown field 'scalar_param' in LayerParameter of type 'Scalar'"},
        {DN_E_UNSUPPORTED, "layers { type: SEQ_MEMORY_DATA }",
         "'SEQ_MEMORY_DATA' of LayerType; did you mean 'MEMORY_DATA'?"},
        {DN_E_PARSE, "layers { type: MEMROY_DTAA }", "did you mean 'MEMORY_DATA'?"},
        {DN_E_PARSE, "layer { type: 'Scale' scalar_param { axis: 1 } }",
         "of type 'Scale'; did you mean 'scale_param'?"},
        {DN_E_PARSE, "zzzzzz { a 1 }", "1:1: unknown field 'zzzzzz'"},
        {DN_E_PARSE, "zzzzzz: { a: 1", "1:1: unknown field 'zzzzzz'"},
        {DN_E_PARSE, "zzzzzz: [1 2]", "1:1: unknown field 'zzzzzz'"},
        {DN_E_PARSE, "zzzzzz: ]", "1:1: unknown field 'zzzzzz'"},
        {DN_E_PARSE, "zzzzzz 1", "1:1: unknown field 'zzzzzz'"},
        {DN_E_PARSE, "0: 1", "a field's number is from 1 to 536870911"},
        {DN_E_PARSE, "536870912: 1", "a field's number is from 1 to 536870911"},
        {DN_E_PARSE, "1: 'x'", "field 1 of NetParameter goes by its name, 'name'"},
        {DN_E_PARSE, "777: WORD", "a field by number has a whole number, a string or { }"},
        {DN_E_PARSE, "777 5", "expected ':' after a field's number"},
    };
    SECTION("unknown");
    for (size_t i = 0; i < DNI_COUNT(rows); i++) {
        Cnn__NetParameter *net = NULL;
        CHECK_MESSAGE(parse_net(rows[i].text, &net), rows[i].status, rows[i].message);
        CHECK(net == NULL);
        dni_message_free(net);
    }
}

/* Fields by number: text to message to bytes to message to text. */
static void test_numbered(void)
{
    static const char text[] = "name: \"n\"\n777: 18446744073709551615\n778: 0x3f800000\n"
                               "779: 0x0000000000000001\n780: \"\\010\\001\"\n";
    Cnn__NetParameter *net = NULL;
    ProtobufCMessage *again = NULL;
    uint8_t *bytes = NULL;
    size_t size = 0;
    char *printed = NULL;
    SECTION("numbered");
    CHECK_STATUS(parse_net("name: 'n' 777: 18446744073709551615 778: 0x3f800000, 779: "
                           "0x0000000000000001 780 { 1: 1 }", &net), DN_OK);
    if (!net)
        return;
    CHECK_INT(net->base.n_unknown_fields, 4);
    CHECK_STATUS(dni_binary_print(&bytes, &size, heap, &net->base), DN_OK);
    CHECK_STATUS(dni_binary_parse(&again, heap, net->base.descriptor, bytes, size, "n"), DN_OK);
    CHECK_STATUS(dni_text_print(&printed, heap, again, NULL), DN_OK);
    CHECK_TEXT(printed, text);
    dni_message_free(net);
    dni_message_free(again);
    dni_free(bytes);
    dni_free(printed);
}

/* Comments and what is unknown come back where they stood. */
static void test_remarks(void)
{
    static const char text[] =
        "# head\n\n# of the name\nname: \"n\"  # beside\n// and above\n"
        "layer {  # opens\n  name: 'c' # the name\n  future_thing { a: 1 }\n"
        "  # of a list\n  bottom: ['a', 'b']\n"
        "  convolution_param { engine: MKLDNN kernel_size: 3 # small\n  # last\n }\n"
        "} # closes\n# tail\n";
    static const char wanted[] =
        "# head\n\n# of the name\nname: \"n\"  # beside\n# and above\n"
        "layer {\n  # opens\n  name: \"c\"  # the name\n  # of a list\n  bottom: \"a\"\n"
        "  bottom: \"b\"\n  convolution_param {\n    kernel_size: 3  # small\n"
        "    engine: MKLDNN\n    # last\n  }\n  future_thing { a: 1 }\n}  # closes\n# tail\n";
    dni_locations *locations = NULL;
    ProtobufCMessage *net = NULL;
    char *printed = NULL;
    SECTION("remarks");
    CHECK_STATUS(dni_locations_create(&locations, heap, "t"), DN_OK);
    CHECK_STATUS(dni_locations_keep_remarks(locations, heap), DN_OK);
    CHECK_STATUS(dni_text_parse(&net, heap, &cnn__net_parameter__descriptor, text, strlen(text),
                                "t", locations), DN_OK);
    CHECK_INT(dni_remarks_unknown(dni_locations_remarks(locations)), 2);
    if (net && !dni_text_print(&printed, heap, net, dni_locations_remarks(locations)))
        CHECK_TEXT(printed, wanted);
    dni_free(printed);
    dni_message_free(net);
    dni_locations_free(locations);
}

static void test_judged(void)
{
    static const struct {
        const char *text, *refusal, *note;
    } rows[] = {
        {"layer { name: 'c' convolution_param { relu: true } }",
         "n:1:1: layer 'c': 'relu' of ConvolutionParameter changes the result and is", NULL},
        {"layer { convolution_param { relu: false conv_algorithm: 'auto' } } layer { "
         "convolution_param { conv_algorithm: 'x' } }", NULL,
         "n:1:1: 'conv_algorithm' of ConvolutionParameter steers another implementation"},
        {"layer { softmax_param { class_weight: 1 } }", "'class_weight' of SoftmaxParameter",
         NULL},
        {"layer { param { fix_lr: true } }", "'fix_lr' of ParamSpec changes the result", NULL},
        {"layer { accuracy_param { min_is_better: true } }", NULL, "'min_is_better' of Accura"},
        {"layer { transform_param { noise_param { } } }", "'noise_param'", NULL},
        {"layer { transform_param { distort_param { } } }", NULL, NULL}, /* the layer's to judge */
        {"layer { 777 { 1: 2 } }", "field 777 of LayerParameter is of no dialect known", NULL},
        {"layer { recurrent_param { debug_info: true } }", NULL, "'debug_info' of RecurrentParam"},
        {"layer { engine: 'MKLDNN' }", NULL, "'engine' of LayerParameter steers"},
        {"layer { pooling_param { ceil_mode: false } }", NULL, NULL},
    };
    SECTION("judged");
    for (size_t i = 0; i < DNI_COUNT(rows); i++) {
        dni_net_file *file = NULL;
        const char *text = rows[i].text;
        CHECK_STATUS(dni_net_read_text(&file, heap, text, strlen(text), "n", NULL), DN_OK);
        for (size_t k = 0; file && k < file->net->n_layer; k++) {
            const ProtobufCMessage *layer = &file->net->layer[k]->base;
            dni_clear_error();
            if (rows[i].refusal)
                CHECK_MESSAGE(dni_fields_judge(layer, heap, file->locations, false),
                              DN_E_UNSUPPORTED, rows[i].refusal);
            else
                CHECK_STATUS(dni_fields_judge(layer, heap, file->locations, false), DN_OK);
        }
        const char *note = file ? dni_locations_get_note(file->locations, 0) : NULL;
        CHECK_AT(!note == !rows[i].note && (!note || strstr(note, rows[i].note)), "%s: %s",
                 rows[i].text, note ? note : "no note");
        if (file)
            CHECK(dni_locations_num_notes(file->locations) < 2);
        dni_net_file_free(file);
    }
}

/* ---- upgrades ---------------------------------------------------------------------------- */

/* Where a field was moved away, its default is found. */
static void test_moved(void)
{
    static const char text[] =
        "layers { name: 'd' type: DATA top: 'x' data_param { source: 's' scale: 0.5 } }";
    dni_net_file *file = NULL;
    SECTION("moved");
    CHECK_STATUS(dni_net_read_text(&file, heap, text, strlen(text), "t", NULL), DN_OK);
    const Cnn__LayerParameter *l = file ? file->net->layer[0] : NULL;
    CHECK(l && l->transform_param && l->transform_param->scale == 0.5f);
    CHECK(l && !l->data_param->has_scale && l->data_param->scale == 1);
    dni_net_file_free(file);
}

static void test_upgrades(void)
{
    static const char *const names[] = {"inputs_legacy", "inputs_shape", "v0_conv_net",
                                        "v1_all_types", "v1_lenet"};
    SECTION("upgrades");
    for (size_t i = 0; i < DNI_COUNT(names); i++) {
        char old_name[80], new_name[80];
        size_t old_size, new_size, n = 0, m = 0;
        uint8_t *a = NULL, *b = NULL;
        char *printed = NULL;
        snprintf(old_name, sizeof old_name, "upgrade/%s.prototxt", names[i]);
        snprintf(new_name, sizeof new_name, "upgrade/%s.upgraded.prototxt", names[i]);
        char *old = read_text(old_name, &old_size), *now = read_text(new_name, &new_size);
        dni_net_file *file = NULL;
        Cnn__NetParameter *wanted = NULL;
        CHECK_STATUS(dni_net_read_text(&file, heap, old, old_size, old_name, NULL), DN_OK);
        CHECK_STATUS(parse_net(now, &wanted), DN_OK);
        if (file && wanted) {
            CHECK_STATUS(dni_binary_print(&a, &n, heap, &file->net->base), DN_OK);
            CHECK_STATUS(dni_binary_print(&b, &m, heap, &wanted->base), DN_OK);
            CHECK_AT(n == m && !memcmp(a, b, n), "%s differs from Caffe's", names[i]);
            CHECK_STATUS(dni_text_print(&printed, heap, &file->net->base, NULL), DN_OK);
            CHECK_TEXT(printed, now); /* the printer is Caffe's too, byte for byte */
            CHECK(!dni_net_is_old(file->net));
        }
        dni_net_file_free(file);
        dni_message_free(wanted);
        dni_free(old);
        dni_free(now);
        dni_free(a);
        dni_free(b);
        dni_free(printed);
    }
}

static void test_old_nets(void)
{
    static const struct {
        const char *text, *now; /* now NULL: refused, with `message` */
        const char *message;
    } rows[] = {
        {"input: 'a' input_dim: 1", NULL, "n:1:8: 1 input_dim for 1 inputs; each input needs 4"},
        {"input: 'a' input_shape { } input_shape { }", NULL, "2 input_shape for 1 inputs"},
        {"layer { } layers { }", NULL, "n:1:11: the net has both `layer` and `layers`"},
        {"layers { }\nlayers { layer { name: 'x' type: 'cov' } }", NULL,
         "n:2:1: layer 'x': unknown V0 layer type 'cov'"},
        {"layers { layer { type: 'padding' pad: 1 } bottom: 'd' top: 'p' } "
         "layers { layer { type: 'relu' } bottom: 'p' top: 'q' }", NULL,
         "n:1:66: a padding layer feeds a layer that is neither"},
        {"layers { name: 'n' type: LRN_MAP lrn_map_param { local_size: 3 } }",
         "layer {\n  name: \"n\"\n  type: \"LRN\"\n  lrn_param {\n    local_size: 3\n"
         "    norm_region: WITHIN_CHANNEL\n  }\n}\n", NULL},
        {"layers { type: UNPOOLING unpooling_param { unpool_size: 4 } }",
         "layer {\n  type: \"Upsample\"\n  upsample_param {\n    unpool_size: 4\n  }\n}\n",
         NULL},
        {"layers { type: DATA data_param { transform_param { scale: 2 } mirror: true } }",
         "layer {\n  type: \"Data\"\n  transform_param {\n    scale: 2\n    mirror: true\n  }\n"
         "  data_param {\n  }\n}\n", NULL},
        {"layers { type: IMAGE_DATA image_data_param { crop_size: 7 mean_file: 'm' } "
         "transform_param { mean_file: 'old' } }",
         "layer {\n  type: \"ImageData\"\n  transform_param {\n    crop_size: 7\n"
         "    mean_file: \"m\"\n  }\n  image_data_param {\n  }\n}\n", NULL},
        {"bottom: 'd'", "layer {\n  name: \"input\"\n  type: \"Input\"\n  top: \"d\"\n"
                        "  input_param {\n  }\n}\n", NULL},
        {"layers { layer { type: 'images' new_height: 5 pool: AVE } }",
         "layer {\n  type: \"ImageData\"\n  image_data_param {\n    new_height: 5\n  }\n}\n",
         NULL},
        {"layer { type: 'BatchNorm' param { } param { } }",
         "layer {\n  type: \"BatchNorm\"\n  param {\n  }\n  param {\n  }\n}\n", NULL},
    };
    SECTION("old nets");
    for (size_t i = 0; i < DNI_COUNT(rows); i++) {
        dni_net_file *file = NULL;
        char *printed = NULL;
        dni_clear_error();
        const char *text = rows[i].text;
        dn_status st = dni_net_read_text(&file, heap, text, strlen(text), "n", NULL);
        if (!rows[i].now) {
            const char *why = dn_last_error();
            CHECK_AT(st && why && strstr(why, rows[i].message), "%s: %s", rows[i].text,
                     why ? why : "no message");
            continue;
        }
        CHECK_AT(!st, "%s: %s", rows[i].text, dn_last_error());
        if (file && !dni_text_print(&printed, heap, &file->net->base, NULL))
            CHECK_TEXT(printed, rows[i].now);
        dni_free(printed);
        dni_net_file_free(file);
    }
}

static void test_solvers(void)
{
    static const char *const types[] = {"SGD", "Nesterov", "AdaGrad", "RMSProp", "AdaDelta",
                                        "Adam"};
    SECTION("solvers");
    for (size_t i = 0; i < DNI_COUNT(types); i++) {
        char text[60];
        dni_solver_file *file = NULL;
        snprintf(text, sizeof text, "solver_type: %d", (int)i);
        CHECK_STATUS(dni_solver_read_text(&file, heap, text, strlen(text), "s"), DN_OK);
        if (file) {
            CHECK_TEXT(file->solver->type, types[i]);
            CHECK(!file->solver->has_solver_type);
        }
        dni_solver_file_free(file);
    }
    dni_solver_file *file = NULL;
    const char both[] = "solver_type: ADAM type: 'SGD'", sag[] = "solver_type: SAG";
    CHECK_MESSAGE(dni_solver_read_text(&file, heap, both, strlen(both), "s"), DN_E_PARSE,
                  "s: both type and the old solver_type");
    CHECK_STATUS(dni_solver_read_text(&file, heap, sag, strlen(sag), "s"), DN_E_UNSUPPORTED);
    CHECK(file == NULL);
}

/* The fragments of the tutorial, exactly as it prints them: four spaces in front, cut out by
 * the lines that are not. */
static void test_tutorial(void)
{
    size_t size;
    char *text = read_text("tutorial_net.prototxt", &size);
    dni_net_file *net = NULL;
    dni_solver_file *solver = NULL;
    SECTION("tutorial");
    CHECK_STATUS(dni_net_read_text(&net, heap, text, size, "tutorial", NULL), DN_OK);
    if (net) {
        const Cnn__LayerParameter *data = net->net->layer[0], *conv = net->net->layer[1];
        CHECK_TEXT(net->net->name, "LeNet");
        CHECK_INT(net->net->n_layer, 8);
        CHECK_TEXT(data->type, "Data");
        CHECK(data->transform_param->scale == 0.00390625f);
        CHECK_INT(conv->convolution_param->kernel_size[0], 5);
        CHECK(conv->param[1]->lr_mult == 2);
        CHECK_INT(net->net->layer[7]->include[0]->phase, CNN__PHASE__TRAIN);
    }
    dni_net_file_free(net);
    dni_free(text);
    text = read_text("tutorial_solver.prototxt", &size);
    CHECK_STATUS(dni_solver_read_text(&solver, heap, text, size, "tutorial"), DN_OK);
    if (solver)
        CHECK(solver->solver->base_lr == 0.01f && solver->solver->max_iter == 10000);
    dni_solver_file_free(solver);
    dni_free(text);
}

/* ---- binary ------------------------------------------------------------------------------ */

/* A net of three generations' worth of blobs: packed and legacy, doubles, no shape. */
static uint8_t *small_weights(size_t *size)
{
    static const char text[] =
        "name: 'w' layer { name: 'ip1' type: 'InnerProduct' blobs { shape { dim: 2 dim: 3 } "
        "data: [1, 2, 3, 4, 5, 6] } blobs { shape { dim: 2 } double_data: [7, 8] } } "
        "layers { name: 'old' blobs { num: 1 channels: 1 height: 1 width: 2 data: [9, 10] } } "
        "layers { layer { name: 'older' blobs { data: 11 } } } layer { name: 'relu' }";
    Cnn__NetParameter *net = NULL;
    uint8_t *bytes = NULL;
    CHECK_STATUS(parse_net(text, &net), DN_OK);
    CHECK_STATUS(dni_binary_print(&bytes, size, heap, &net->base), DN_OK);
    dni_message_free(net);
    return bytes;
}

static const dni_weights_layer *layer_of(const dni_weights *w, const char *name)
{
    for (size_t i = 0; i < w->num_layers; i++)
        if (!strcmp(w->layers[i].name, name))
            return &w->layers[i];
    return NULL;
}

static void test_weights(void)
{
    size_t size;
    uint8_t *bytes = small_weights(&size);
    dni_weights w;
    float values[6];
    double doubles[2];
    SECTION("weights");
    CHECK_STATUS(dni_weights_read(&w, heap, bytes, size, NULL, "w"), DN_OK);
    CHECK_INT(w.num_layers, 3);
    const dni_weights_layer *ip = layer_of(&w, "ip1"), *old = layer_of(&w, "old");
    if (ip && old && layer_of(&w, "older")) {
        CHECK_INT(ip->num_blobs, 2);
        CHECK_INT(ip->blobs[0].shape.dim[1], 3);
        CHECK_STATUS(dni_weights_values(&ip->blobs[0], DN_F32, values, 6), DN_OK);
        CHECK(values[0] == 1 && values[5] == 6);
        CHECK_STATUS(dni_weights_values(&ip->blobs[1], DN_F64, doubles, 2), DN_OK);
        CHECK(doubles[1] == 8);
        CHECK_MESSAGE(dni_weights_values(&ip->blobs[0], DN_F32, values, 5), DN_E_DATA,
                      "6 values");
        CHECK(old->blobs[0].legacy);
        CHECK_INT(old->blobs[0].shape.axes, 4);
        CHECK_INT(layer_of(&w, "older")->blobs[0].count, 1);
    }
    dni_weights_free(&w);
    dni_free(bytes);
}

/* NVIDIA's blobs; the type may stand behind the data, or be nonsense. */
static void test_raw_weights(void)
{
    static const uint8_t half[] = {0x50, 2, 0x62, 6, 0x00, 0x3c, 0x00, 0xc0, 0x01, 0x00};
    static const uint8_t behind[] = {0x62, 4, 0x00, 0x3c, 0x00, 0x7c, 0x50, 2};
    static const uint8_t odd[] = {0x50, 2, 0x62, 3, 0, 0, 0}, none[] = {0x62, 2, 0, 0};
    static const uint8_t ragged[] = {0x2a, 3, 0, 0, 0}, varint_data[] = {0x28, 1};
    dni_weights_blob blob;
    float values[3] = {0};
    SECTION("raw weights");
    CHECK_STATUS(dni_weights_blob_read(&blob, half, sizeof half, NULL, "h"), DN_OK);
    CHECK_INT(blob.count, 3);
    CHECK_STATUS(dni_weights_values(&blob, DN_F32, values, 3), DN_OK);
    CHECK(values[0] == 1 && values[1] == -2 && values[2] == 0x1p-24f);
    CHECK_STATUS(dni_weights_blob_read(&blob, behind, sizeof behind, NULL, "h"), DN_OK);
    CHECK_INT(blob.count, 2);
    CHECK_STATUS(dni_weights_values(&blob, DN_F32, values, 2), DN_OK);
    CHECK(values[1] == INFINITY);
    CHECK_STATUS(dni_weights_blob_read(&blob, none, sizeof none, NULL, "h"), DN_OK);
    CHECK_INT(blob.count, 0);
    CHECK_STATUS(dni_weights_blob_read(&blob, odd, sizeof odd, NULL, "h"), DN_E_PARSE);
    CHECK_STATUS(dni_weights_blob_read(&blob, ragged, sizeof ragged, NULL, "h"), DN_E_PARSE);
    CHECK_STATUS(dni_weights_blob_read(&blob, varint_data, sizeof varint_data, NULL, "h"),
                 DN_E_PARSE);
}

/* Fields of protobuf's groups are passed over, whole, like any that nobody knows. */
static void test_groups(void)
{
    static const uint8_t nested[] = {0x2d, 0,    0, 0x80, 0x3f, 0xa3, 0x1f, 0x08,
                                     9,    0x13, 0x0a, 1, 5,    0x14, 0xa4, 0x1f,
                                     0x2d, 0,    0, 0,    0x40, 0x2b, 0x2c};
    static const uint8_t open[] = {0xa3, 0x1f, 0x08, 9}, ends[] = {0x2d, 0, 0, 0, 0, 0x2c};
    static const uint8_t crossed[] = {0x13, 0x1b, 0x14, 0x1c}, cut[] = {0x13, 0x0a, 9, 0x14};
    uint8_t deep[400];
    dni_weights_blob blob;
    float values[2] = {0};
    SECTION("groups");
    CHECK_STATUS(dni_weights_blob_read(&blob, nested, sizeof nested, NULL, "g"), DN_OK);
    CHECK_INT(blob.count, 2);
    CHECK_STATUS(dni_weights_values(&blob, DN_F32, values, 2), DN_OK);
    CHECK(values[0] == 1 && values[1] == 2);
    CHECK_STATUS(dni_weights_blob_read(&blob, open, sizeof open, NULL, "g"), DN_E_PARSE);
    CHECK_STATUS(dni_weights_blob_read(&blob, ends, sizeof ends, NULL, "g"), DN_E_PARSE);
    CHECK_STATUS(dni_weights_blob_read(&blob, crossed, sizeof crossed, NULL, "g"), DN_E_PARSE);
    CHECK_STATUS(dni_weights_blob_read(&blob, cut, sizeof cut, NULL, "g"), DN_E_PARSE);
    for (size_t depth = 1; depth <= sizeof deep / 2; depth++) {
        memset(deep, 0x13, depth);
        memset(deep + depth, 0x14, depth);
        CHECK_STATUS(dni_weights_blob_read(&blob, deep, 2 * depth, NULL, "g"),
                     depth <= DNI_MESSAGE_DEPTH ? DN_OK : DN_E_PARSE);
    }
}

/* Cut anywhere: a status and a message, or fewer layers where the cut falls between two. */
static void test_truncation(void)
{
    size_t size, refused = 0;
    uint8_t *bytes = small_weights(&size);
    SECTION("truncation");
    for (size_t cut = 0; cut < size; cut++) {
        uint8_t *part = malloc(cut ? cut : 1); /* its own block: reading on is an error */
        memcpy(part, bytes, cut);
        dni_weights w;
        ProtobufCMessage *m = NULL;
        dni_clear_error();
        dn_status st = dni_weights_read(&w, heap, part, cut, NULL, "w.caffemodel");
        CHECK_AT(!st == !dn_last_error(), "cut at %zu", cut);
        refused += st != 0;
        if (!st)
            dni_weights_free(&w);
        dni_clear_error();
        dn_status st2 =
            dni_binary_parse(&m, heap, &cnn__net_parameter__descriptor, part, cut, "w");
        CHECK_AT(!st2 == !dn_last_error() && !st2 == !st, "cut at %zu", cut);
        dni_message_free(m);
        free(part);
    }
    CHECK(refused > size - 10);
    dni_weights w;
    CHECK_MESSAGE(dni_weights_read(&w, heap, bytes, size - 1, NULL, "w.caffemodel"), DN_E_PARSE,
                  "w.caffemodel: cut or damaged");
    dni_free(bytes);
}

static void test_detection(void)
{
    size_t size;
    uint8_t *bytes = small_weights(&size);
    SECTION("detection");
    CHECK(dni_looks_binary(bytes, size));
    CHECK(dni_looks_binary(bytes, size - 3));
    CHECK(!dni_looks_binary("", 0));
    const char text[] = "\n\nname: 'x'\r\n\tlayer { }\f";
    CHECK(!dni_looks_binary(text, strlen(text)));
    dni_free(bytes);
}

/* ---- surroundings ------------------------------------------------------------------------ */

static void test_locale(void)
{
    if (!comma_set())
        return;
    test_numbers();
    test_upgrades();
    setlocale(LC_ALL, "C");
}

/* Reading, upgrading and printing with request number `at` failing. True: nothing failed. */
static bool run_with_failure(const char *text, size_t size, long at)
{
    check_heap counted = {.fail_at = at};
    dni_heap failing = {check_alloc, &counted};
    dni_net_file *file = NULL;
    char *printed = NULL;
    uint8_t *bytes = NULL;
    size_t packed;
    ProtobufCMessage *copy = NULL;
    dni_weights w = {0};
    dni_clear_error();
    dn_status st = dni_net_read_text(&file, &failing, text, size, "n", NULL);
    if (!st)
        st = dni_text_print(&printed, &failing, &file->net->base, NULL);
    if (!st)
        st = dni_binary_print(&bytes, &packed, &failing, &file->net->base);
    if (!st)
        st = dni_binary_parse(&copy, &failing, file->net->base.descriptor, bytes, packed, "n");
    if (!st)
        st = dni_weights_read(&w, &failing, bytes, packed, NULL, "n");
    CHECK_AT(st == DN_OK || st == DN_E_NOMEM, "request %ld: %s", at, dn_status_name(st));
    CHECK_AT(!st == !dn_last_error(), "request %ld: message", at);
    dni_weights_free(&w);
    dni_message_free(copy);
    dni_free(bytes);
    dni_free(printed);
    dni_net_file_free(file);
    CHECK_HEAP_CLEAN(&counted);
    return counted.requests < at;
}

static void test_failures(void)
{
    static const char *const files[] = {"upgrade/v0_conv_net.prototxt",
                                        "upgrade/inputs_legacy.prototxt",
                                        "upgrade/v1_lenet.prototxt", "failures.prototxt"};
    SECTION("failures");
    for (size_t i = 0; i < DNI_COUNT(files); i++) {
        size_t size;
        char *text = read_text(files[i], &size);
        long at = 1;
        while (!run_with_failure(text, size, at) && at < 100000)
            at++;
        CHECK(at > 50);
        dni_free(text);
    }
}

int main(int argc, char **argv)
{
    folder = argc > 1 ? argv[1] : ".";
    test_early();
    test_numbers();
    test_characters();
    test_forms();
    test_lenient();
    test_devices();
    test_errors();
    test_unknown();
    test_numbered();
    test_remarks();
    test_judged();
    test_moved();
    test_upgrades();
    test_old_nets();
    test_solvers();
    test_tutorial();
    test_weights();
    test_raw_weights();
    test_groups();
    test_truncation();
    test_detection();
    test_locale();
    test_failures();
    return check_summary();
}
