#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""What a user gets for what is wrong: each mistake its exit code and its one line, word for word.

bad_input.py SOURCE DEEPNET: works in a temporary folder on files of its own.
"""
import fcntl
import os
import resource
import signal
import struct
import subprocess
import sys
import tempfile

SOURCE, DEEPNET = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
sys.path.insert(0, os.path.join(SOURCE, 'tests'))
from tap import expect, main, test  # noqa: E402

folder = tempfile.TemporaryDirectory()
X = ("layer { name: 'x' type: 'Input' top: 'x'\n"
     "  input_param { shape { dim: 2 dim: 3 dim: 6 dim: 6 } } }\n")


def path(name):
    return os.path.join(folder.name, name)


def write(name, data):
    os.makedirs(os.path.dirname(path(name)), exist_ok=True)
    with open(path(name), 'wb') as file:
        file.write(data if isinstance(data, bytes) else data.encode())


def read(name):
    with open(path(name), 'rb') as file:
        return file.read()


def deepnet(*arguments, code=1, before=None):
    """Standard output and error together; the exit code must be `code`."""
    done = subprocess.run([DEEPNET, *arguments], cwd=folder.name, text=True, timeout=120,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, preexec_fn=before)
    expect(done.returncode == code,
           f'{arguments}: exit code {done.returncode}, not {code}:\n{done.stdout}')
    return done.stdout


def says(line, *arguments, before=None):
    """The command fails, and `line` is all it says."""
    out = deepnet(*arguments, before=before)
    expect(out == line + '\n', f'{arguments} says\n{out}rather than\n{line}')


def check(text, line):
    """`deepnet check` of this net says `line`, after the file's name."""
    write('n.prototxt', text)
    says('n.prototxt:' + line, 'check', 'n.prototxt')


# ---- files that are not there -------------------------------------------------------------

@test
def no_such_file():
    none = "deepnet: cannot read 'none': No such file or directory"
    says('none: No such file or directory', 'check', 'none')
    for command in (('train', '--solver=none'), ('time', '--model=none'), ('info', 'none'),
                    ('test', '--model=none', '--weights=none')):
        says(none, *command)
    write('x.prototxt', X)
    says(none, 'test', '--model=x.prototxt', '--weights=none')
    write('s.prototxt', "net: 'none' base_lr: 1 lr_policy: 'fixed'")
    says(none.replace('cannot', 'train net: cannot'), 'train', '--solver=s.prototxt')
    says("deepnet: 'none': cannot open: No such file or directory",
         'convert', 'mnist', 'none', 'none', 'out')


@test
def names_of_caffe_s_tools():
    for theirs, here in (('device_query', 'devices'), ('convert_imageset', 'convert images'),
                         ('upgrade_net_proto_text', 'upgrade')):
        out = deepnet(theirs, 'a', 'b', code=2)
        expect(out == "deepnet: there is no command '%s'; Caffe's is `deepnet %s` here\n" % (
            theirs, here), out)


# ---- the text -----------------------------------------------------------------------------

@test
def typo_in_a_field():
    check(X + "layer { name: 'c' type: 'Convolution' bottom: 'x' top: 'c'\n"
          "  convolution_param { num_output: 2 kernelsze: 3 } }\n",
          "4:37: layer 'c': unknown field 'kernelsze' in ConvolutionParameter; "
          "did you mean 'kernel_size'?")


@test
def typo_in_an_enum():
    check(X + "layer { name: 'p' type: 'Pooling' bottom: 'x' top: 'p'\n"
          "  pooling_param { pool: MAXX kernel_size: 2 } }\n",
          "4:25: layer 'p': 'pool': unknown value 'MAXX' of PoolMethod; did you mean 'MAX'?")
    check("layers { name: 'c' type: CONVOLUTON bottom: 'x' top: 'c' }\n",
          "1:26: layer 'c': 'type': unknown value 'CONVOLUTON' of LayerType; "
          "did you mean 'CONVOLUTION'?")


@test
def typo_in_a_type():
    check(X + "layer { name: 'c' type: 'Convolutoin' bottom: 'x' top: 'c' }\n",
          "3:1: layer 'c': unknown layer type 'Convolutoin'; did you mean 'Convolution'?")
    check(X + "layer { name: 'c' type: 'Rleu' bottom: 'x' top: 'c' }\n",
          "3:1: layer 'c': unknown layer type 'Rleu'; did you mean 'ReLU'?")
    for other in ('Gelu', 'CReLU', 'SiLU', 'ReLUN', 'Regrid', 'PSROIAlign'):
        check(X + "layer { name: 'c' type: '%s' bottom: 'x' top: 'c' }\n" % other,
              "3:1: layer 'c': unknown layer type '%s'" % other)
    check(X + "layer { name: 'c' type: 'Quux' bottom: 'x' top: 'c' }\n",
          "3:1: layer 'c': unknown layer type 'Quux'")
    check(X + "layer { name: 'c' quux_param { a: 1 b { } } type: 'Quux' bottom: 'x' top: 'c' }\n",
          "3:1: layer 'c': unknown layer type 'Quux'")
    check(X + "layer { name: 'c' type: 'QuuxInnerProduct' bottom: 'x' top: 'c' }\n",
          "3:1: layer 'c': unknown layer type 'QuuxInnerProduct'")
    for other in ('PSROIAlign', 'PartialConvolution'):  # than ROIAlign, DepthwiseConvolution
        check(X + f"layer {{ name: 'c' type: '{other}' bottom: 'x' top: 'c' }}\n",
              f"3:1: layer 'c': unknown layer type '{other}'")


@test
def label_map():
    check("item { name: 'background' label: 0 }\n",
          "1:1: 'item' is of a label map; this is neither net nor solver")


@test
def unknown_field_in_a_net_within_a_solver():
    write('n.prototxt', "base_lr: 1 lr_policy: 'fixed' net_param {\n" + X[:-3] + 'foo_param {} } }')
    says("deepnet: n.prototxt:3:56: layer 'x': unknown field 'foo_param' in LayerParameter of "
         "type 'Input'", 'train', '--solver=n.prototxt')


@test
def a_net_is_no_solver():
    write('n.prototxt', "name: 'n'\nlayer { name: 'x' type: 'Input' top: 'x' }\n")
    says("deepnet: n.prototxt:1:1: 'name' is of a net, and this is read as a solver",
         'train', '--solver=n.prototxt')


@test
def fields_of_a_layer_unknown_here():
    layer = "layer { name: 'c' type: '%s' bottom: 'x' top: 'c' quux_param { a: 1 } %s }\n"
    check(X + layer % ('ReLU', ''),
          "3:1: layer 'c': unknown field 'quux_param' (3:53) in LayerParameter of type 'ReLU'")
    out = "layer { name: 's' type: 'Silence' bottom: 'x' }\n"
    write('n.prototxt', X + layer % ('Quux', 'include { phase: TRAIN }') + out)
    expect(': fine' in deepnet('check', 'n.prototxt', '--phase=TEST', code=0), 'TEST')
    expect("unknown layer type 'Quux'" in deepnet('check', 'n.prototxt', '--phase=TRAIN'), 'TRAIN')


@test
def unclosed_brace():
    check(X + "layer { name: 'c' type: 'ReLU'\n",
          "4:1: layer 'c': the text ends, but the '{' of line 3, column 7 is not closed")
    check(X + '}\n', "3:1: '}' closes nothing that is open")


@test
def string_without_end():
    check(X + "layer { name: 'c' type: 'ReLU' bottom: 'x' top: 'c }\n",
          '3:49: string without end')
    check(X + 'layer { name: "c', '3:15: string without end')
    check(X + 'layer { name: \u201cc\u201d }', "3:15: a typographic quote; strings take \" or '")


# ---- the wiring ---------------------------------------------------------------------------

@test
def bottom_that_nothing_makes():
    check(X + "layer { name: 'c' type: 'ReLU' bottom: 'elsewhere' top: 'c' }\n",
          "3:1: layer 'c': bottom 'elsewhere' is made by no layer")
    check(X + "layer { name: 'conv1' type: 'ReLU' bottom: 'x' top: 'conv1' }\n"
          "layer { name: 'c' type: 'ReLU' bottom: 'covn1' top: 'c' }\n",
          "4:1: layer 'c': bottom 'covn1' is made by no layer; did you mean 'conv1'?")


@test
def top_made_twice():
    check(X + "layer { name: 'a' type: 'ReLU' bottom: 'x' top: 'y' }\n"
          "layer { name: 'b' type: 'ReLU' bottom: 'x' top: 'y' }\n",
          "4:1: layer 'b': top 'y' is made twice; layer 'a' makes it too")


@test
def cycle():
    check(X + "layer { name: 'a' type: 'Eltwise' bottom: 'x' bottom: 'c' top: 'b' }\n"
          "layer { name: 'c' type: 'ReLU' bottom: 'b' top: 'c' }\n",
          "3:1: layer 'a': bottom 'c' is made only later, by layer 'c' "
          "(a cycle, or layers out of order)")
    check(X + "layer { name: 'c' type: 'ReLU' bottom: 'c' top: 'c' }\n",
          "3:1: layer 'c': bottom 'c' is the layer's own top, and nothing makes it before")


# ---- shapes -------------------------------------------------------------------------------

@test
def shapes_that_do_not_fit():
    check(X + "layer { name: 't' type: 'Input' top: 't'\n"
          "  input_param { shape { dim: 2 dim: 3 dim: 6 dim: 7 } } }\n"
          "layer { name: 'e' type: 'Eltwise' bottom: 'x' bottom: 't' top: 'e' }\n",
          "5:1: layer 'e': bottom 1 is 2 3 6 7 (252), bottom 0 is 2 3 6 6 (216)")


@test
def shapes_that_overflow():
    check("layer { name: 'x' type: 'Input' top: 'x'\n"
          "  input_param { shape { dim: 3000000000 dim: 3000000000 dim: 3 } } }\n",
          "1:1: layer 'x': top 'x': more than 2^46 elements from axis 1 (length 3000000000) on")
    inner = ("layer {{ name: '{0}' type: 'InnerProduct' bottom: '{1}' top: '{0}'\n"
             "  inner_product_param {{ num_output: 4000000000 }} }}\n")
    check(X + inner.format('i', 'x') + inner.format('j', 'i'),
          "5:1: layer 'j': weight 0: more than 2^46 elements from axis 1 (length 4000000000) on")


@test
def batch_of_0():
    check("layer { name: 'x' type: 'Input' top: 'x' input_param { shape { dim: 0 dim: 3 } } }",
          "1:1: layer 'x': input 'x': axis 0 has length 0, at least 1 is needed")
    for size in ('', 'batch_size: 0'):
        check("layer { name: 'd' type: 'Data' top: 'd' top: 'l'\n"
              "  data_param { source: 'some_lmdb' backend: LMDB %s } }" % size,
              "1:1: layer 'd': data_param needs a batch_size of at least 1")


@test
def kernel_larger_than_the_padded_input():
    check(X + "layer { name: 'c' type: 'Convolution' bottom: 'x' top: 'c'\n"
          "  convolution_param { num_output: 2 kernel_size: 9 pad: 1 } }\n",
          "3:1: layer 'c': the kernel spans 9 elements of axis 2, which has 8 with its padding")
    check(X + "layer { name: 'p' type: 'Pooling' bottom: 'x' top: 'p'\n"
          "  pooling_param { kernel_size: 9 } }\n",
          "3:1: layer 'p': the kernel, 9, is larger than axis 2, which has 6 with its padding")


@test
def resizing_without_a_size():
    for layer in ('Resample', 'Downsample'):
        check(X + "layer { name: 'r' type: '%s' bottom: 'x' top: 'r' }\n" % layer,
              "3:1: layer 'r': the top's height or width is not given, or not above 0")
    check(X + "layer { name: 'r' type: 'Interp' bottom: 'x' top: 'r'\n"
          "  interp_param { pad_beg: -3 pad_end: -3 } }\n",
          "3:1: layer 'r': pad_beg and pad_end leave nothing of the bottom")
    wide = "layer { name: '%s' type: 'Input' top: '%s' input_param {\n" \
           "  shape { dim: 1 dim: 1 dim: 1 dim: %d } } }\n"
    for layer in ('Resample', 'Downsample', 'Interp'):
        check(wide % ('x', 'x', 1 << 24) + wide % ('z', 'z', 1 << 40) +
              "layer { name: 'r' type: '%s' bottom: 'x' bottom: 'z' top: 'r' }\n" % layer,
              "5:1: layer 'r': from 16777216 to 1099511627776 elements takes too many weights")
    check("layer { name: 'x' type: 'Input' top: 'x' input_param {\n"
          "  shape { dim: 1 dim: 1 dim: 1 dim: 1 } } }\n"
          "layer { name: 'r' type: 'Interp' bottom: 'x' top: 'r'\n"
          "  interp_param { height: 1000000000 width: 1 } }\n",
          "3:1: layer 'r': from 1 to 1000000000 elements takes too many weights")


@test
def places_of_one_axis():
    check("layer { name: 'x' type: 'Input' top: 'x' input_param { shape { dim: 4 } } }\n"
          "layer { name: 'l' type: 'L1Loss' bottom: 'x' top: 'l'\n"
          "  l1_loss_param { l2_per_location: true } }\n",
          "2:1: layer 'l': a bottom of one axis has no places for l2_per_location")


# ---- data ---------------------------------------------------------------------------------

DATA = '''layer { name: "d" type: "Data" top: "data" top: "label"
  data_param { source: "db" backend: LMDB batch_size: 3 } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
  inner_product_param { num_output: 2 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
'''
SOLVER = ("net: 'data.prototxt' base_lr: 0.1 lr_policy: 'fixed' max_iter: 4 display: 0 "
          "snapshot_prefix: 'snap' random_seed: 1\n")


def datum(width, label):
    """Datum { channels: 1 height: 1 width: WIDTH data: ... label: LABEL }, width < 128."""
    return bytes([8, 1, 16, 1, 24, width, 34, width]) + bytes(range(width)) + bytes([40, label])


def lmdb(name, records):
    """A database of one leaf page: two meta pages, of which the second is in force."""
    none = 2 ** 64 - 1
    def meta(number, transaction):
        free = struct.pack('<IHH5Q', 4096, 8, 0, 0, 0, 0, 0, none)
        used = struct.pack('<IHH5Q', 0, 0, 1 if records else 0, 0, 1 if records else 0, 0,
                           len(records), 2 if records else none)
        return (struct.pack('<QHHHHIIQQ', number, 0, 8, 0, 0, 0xBEEFC0DE, 1, 0, 1 << 20) +
                free + used + struct.pack('<QQ', 2, transaction)).ljust(4096, b'\0')
    page, offsets = bytearray(4096), []
    upper = 4096
    for index, value in enumerate(records):
        key = b'%08d' % index
        node = struct.pack('<HHHH', len(value), 0, 0, len(key)) + key + value
        upper -= len(node) + len(node) % 2
        page[upper:upper + len(node)] = node
        offsets.append(upper)
    lower = 16 + 2 * len(offsets)
    page[:lower] = struct.pack('<QHHHH', 2, 0, 2, lower, upper) + struct.pack(
        '<%dH' % len(offsets), *offsets)
    write(name + '/data.mdb', meta(0, 0) + meta(1, 1) + bytes(page))


def data_says(line, records=None):
    write('data.prototxt', DATA)
    write('solver.prototxt', SOLVER)
    if records is not None:
        lmdb('db', records)
    says('deepnet: ' + line, 'train', '--solver=solver.prototxt', '--quiet')


OPEN = "train net: data.prototxt:1:1: layer 'd': LMDB 'db': "
GOOD = [datum(4, i % 2) for i in range(7)]


@test
def good_data_trains():
    write('data.prototxt', DATA)
    write('solver.prototxt', SOLVER)
    lmdb('db', GOOD)
    deepnet('train', '--solver=solver.prototxt', '--quiet', code=0)


@test
def label_out_of_range():
    data_says("iteration 0: data.prototxt:5:1: layer 'loss': label 2 of item 1 is outside the "
              '2 classes of the prediction',
              [datum(4, 0), datum(4, 2), datum(4, 0)])
    lmdb('db', GOOD)


@test
def lmdb_missing():
    os.rename(path('db'), path('moved'))
    data_says(OPEN + "cannot open: No such file or directory")


@test
def lmdb_empty():
    data_says(OPEN + "it has no records", [])
    write('db/data.mdb', b'')
    data_says(OPEN + "the file is empty")
    os.remove(path('db/data.mdb'))
    data_says(OPEN + "the folder has no data.mdb in it")


@test
def lmdb_locked_is_read_nevertheless():
    """Another process writes or holds every lock: the last commit is read, without waiting."""
    lmdb('db', GOOD)
    write('db/lock.mdb', b'')
    with open(path('db/lock.mdb'), 'r+b') as lock, open(path('db/data.mdb'), 'r+b') as data:
        for file in (lock, data):
            fcntl.lockf(file, fcntl.LOCK_EX)
            fcntl.flock(file, fcntl.LOCK_EX)
        deepnet('train', '--solver=solver.prototxt', '--quiet', code=0)


@test
def lmdb_read_only_is_read_nevertheless():
    lmdb('db', GOOD)
    os.remove(path('db/lock.mdb'))
    os.chmod(path('db/data.mdb'), 0o444)
    os.chmod(path('db'), 0o555)
    deepnet('train', '--solver=solver.prototxt', '--quiet', code=0)
    os.chmod(path('db'), 0o755)
    expect(os.listdir(path('db')) == ['data.mdb'], 'no lock file was made')
    os.remove(path('db/data.mdb'))


@test
def lmdb_with_datums_of_different_sizes():
    data_says("iteration 1: data.prototxt:1:1: layer 'd': LMDB 'db': record '00000004': its "
              "size is 1 1 5 (5), the first record's 1 1 4 (4)",
              GOOD[:4] + [datum(5, 0)] + GOOD[:2])


@test
def lmdb_truncated():
    lmdb('db', GOOD)
    whole = read('db/data.mdb')
    for size, line in ((1, 'the file ends early, at byte 1; it was cut'),
                       (9000, 'the file has 2 pages of the 3 it should have; it was cut')):
        write('db/data.mdb', whole[:size])
        data_says(OPEN + line)
    write('db/data.mdb', whole)


@test
def record_that_is_no_datum():
    data_says(OPEN + "record '00000000': it is not a Datum",
              [b'text'])
    lmdb('db', GOOD)


# ---- weights ------------------------------------------------------------------------------

def weights_say(line, weights):
    says('deepnet: ' + line, 'train', '--solver=solver.prototxt', '--weights=' + weights)


@test
def prototxt_that_is_something_else():
    check('\r\n <html><head></head></html>\n', '1:1: this is no prototxt: a web page')
    check('version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n',
          "1:1: this is no prototxt: a pointer of Git LFS; 'git lfs pull' gets the file")
    write('s_solver.prototxt', '<!DOCTYPE html>')
    says('s_solver.prototxt:1:1: this is no prototxt: a web page', 'check', 's_solver.prototxt')


@test
def caffemodel_that_is_cut():
    deepnet('train', '--solver=solver.prototxt', '--quiet', code=0)
    whole = read('snap_iter_4.caffemodel')
    write('cut.caffemodel', whole[:-3])
    weights_say('cut.caffemodel: cut or damaged inside the file (byte 143 of %d)' %
                (len(whole) - 3), 'cut.caffemodel')
    write('text.caffemodel', 'layer {}')
    weights_say('text.caffemodel: this is text, not weights',
                'text.caffemodel')
    write('text.caffemodel', 'version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n')
    weights_say("text.caffemodel: this is text, not weights: a pointer of Git LFS; 'git lfs pull' "
                'gets the file', 'text.caffemodel')
    write('text.caffemodel', '\n<!DOCTYPE html>\n<html></html>\n')
    weights_say('text.caffemodel: this is text, not weights: a web page', 'text.caffemodel')
    write('nothing.caffemodel', '')
    weights_say('nothing.caffemodel: no layer of the net is in the file (it has none)',
                'nothing.caffemodel')


@test
def caffemodel_of_another_net():
    write('data.prototxt', DATA.replace('"ip"', '"other"'))
    weights_say('snap_iter_4.caffemodel: no layer of the net is in the file (it has ip)',
                'snap_iter_4.caffemodel')


@test
def caffemodel_of_a_wrong_shape():
    write('data.prototxt', DATA.replace('num_output: 2', 'num_output: 3'))
    weights_say("snap_iter_4.caffemodel: weight 0 of layer 'ip' is 2 4 (8) in the file, "
                '3 4 (12) in the net; to train it anew, give the layer another name',
                'snap_iter_4.caffemodel')
    write('data.prototxt', DATA)


@test
def solverstate_of_another_solver():
    write('adam.prototxt', SOLVER + "type: 'Adam'")
    says('deepnet: snap_iter_4.solverstate: it holds 2 histories, Adam with 2 weights has 4; '
         'was it made by another type of solver or for another net?',
         'train', '--solver=adam.prototxt', '--snapshot=snap_iter_4.solverstate')


# ---- a full disk --------------------------------------------------------------------------

def disk_full():
    """Files may have 100 bytes: as a full disk, for who writes."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))


@test
def full_disk_while_a_snapshot_is_written():
    deepnet('train', '--solver=solver.prototxt', '--quiet', code=0)
    names = ('snap_iter_4.caffemodel', 'snap_iter_4.solverstate')
    good = [read(name) for name in names]
    before = sorted(os.listdir(folder.name))
    says("deepnet: snapshot: cannot write 'snap_iter_4.caffemodel.new': File too large",
         'train', '--solver=solver.prototxt', '--quiet', before=disk_full)
    expect([read(name) for name in names] == good, 'the last good snapshot survives')
    expect(sorted(os.listdir(folder.name)) == before, 'nothing is left beside it')
    deepnet('train', '--solver=solver.prototxt', '--snapshot=' + names[1], '--quiet', code=0)


if __name__ == '__main__':
    with folder:
        sys.exit(main())
