#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""The tutorial's text, README.md's blocks and examples/mnist/train.sh, done as they say it.

run.py SOURCE BUILD DEEPNET: on the 10,000 digits of tests/weights, in temporary folders.
"""
import glob
import gzip
import hashlib
import http.server
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import xml.etree.ElementTree

SOURCE, BUILD, DEEPNET = map(os.path.abspath, sys.argv[1:4])
WEIGHTS = os.path.join(SOURCE, 'tests', 'weights')
sys.path.insert(0, os.path.join(SOURCE, 'tests'))
from tap import Skip, expect, main, test  # noqa: E402

folder = tempfile.TemporaryDirectory()
IDX = ('train-images-idx3-ubyte', 'train-labels-idx1-ubyte', 't10k-images-idx3-ubyte',
       't10k-labels-idx1-ubyte')


def read(*parts):
    with open(os.path.join(*parts), encoding='utf-8') as file:
        return file.read()


def write(text, *parts):
    os.makedirs(os.path.dirname(os.path.join(*parts)), exist_ok=True)
    with open(os.path.join(*parts), 'w', encoding='utf-8') as file:
        file.write(text)


def make(*parts):
    path = os.path.join(folder.name, *parts)
    os.makedirs(path, exist_ok=True)
    return path


def run(command, cwd, code=0, **env):
    done = subprocess.run(command, cwd=cwd, text=True, timeout=240, shell=isinstance(command, str),
                          env={**os.environ, **env}, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    expect(done.returncode == code, f'{command}: exit code {done.returncode}\n{done.stdout}')
    return done.stdout


def digits(where, names=IDX, suffix='.gz'):
    """MNIST's four files, the training ones being the test digits too."""
    for name in names:
        source = os.path.join(WEIGHTS, re.sub('^train', 't10k', name) + '.gz')
        if suffix:
            shutil.copy(source, os.path.join(where, name + suffix))
        else:
            with gzip.open(source) as packed, open(os.path.join(where, name), 'wb') as plain:
                shutil.copyfileobj(packed, plain)
    return where


# ---- the tutorial as printed --------------------------------------------------------------

def tutorial_net():
    """The fragments as the tutorial prints them, and what it leaves to the reader: a second
    convolution and pooling, the rules, the test phase's data and accuracy."""
    fragments = re.findall(r'^layers \{\n.*?^\}\n', read(SOURCE, 'tests', 'proto',
                                                          'tutorial_net.prototxt'), re.M | re.S)
    data, conv1, pool1, ip1, relu1, ip2, loss, rule = fragments
    rule = rule.split('\n')[2]
    expect(rule.strip() == 'include: { phase: TRAIN }', rule)
    ruled = [data.replace('"label"\n}', '"label"\n%s\n}' % rule),
             data.replace('train_lmdb', 'test_lmdb').replace(': 64', ': 100').replace(
                 '"label"\n}', '"label"\n%s\n}' % rule.replace('TRAIN', 'TEST'))]
    conv2 = conv1.replace('"data"', '"pool1"').replace('conv1', 'conv2').replace(': 20', ': 50')
    pool2 = pool1.replace('conv1', 'conv2').replace('"pool1"', '"pool2"')
    accuracy = ('layers { name: "accuracy" type: ACCURACY bottom: "ip2" bottom: "label" '
                'top: "accuracy" include: { phase: TEST } }\n')
    return 'name: "LeNet"\n' + ''.join(ruled + [conv1, pool1, conv2, pool2, ip1, relu1, ip2,
                                                accuracy, loss])


@test
def tutorial_s_fragments_train_as_printed():
    work = make('tutorial')
    digits(work)
    for name, kind in (('train', 'train'), ('test', 't10k')):
        run([DEEPNET, 'convert', 'mnist', kind + '-images-idx3-ubyte.gz',
             kind + '-labels-idx1-ubyte.gz', f'mnist_{name}_lmdb'], work)
    write(tutorial_net(), work, 'mnist', 'lenet_train_test.prototxt')
    solver = read(SOURCE, 'tests', 'proto', 'tutorial_solver.prototxt')
    write(solver, work, 'mnist', 'lenet_solver.prototxt')
    out = run([DEEPNET, 'train', '--solver=mnist/lenet_solver.prototxt', '--iterations=200',
               '--seed=1'], work)
    expect(out.count('solver_mode GPU') <= 1, out)
    out = run([DEEPNET, 'test', '--model=mnist/lenet_train_test.prototxt', '--iterations=100',
               '--weights=mnist/lenet_iter_200.caffemodel'], work)
    accuracy = float(re.search(r'^accuracy = (\S+)', out, re.M).group(1))
    expect(accuracy > 0.93, out)


@test
def training_lenet_takes_less_than_60_mb():
    work = make('tutorial')
    process = subprocess.Popen([DEEPNET, 'train', '--solver=mnist/lenet_solver.prototxt',
                                '--iterations=20', '--quiet'], cwd=work,
                               stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = status
    expect(status == 0, f'exit status {status}')
    print(f'# peak resident: {usage.ru_maxrss / 1024:.1f} MB')
    expect(usage.ru_maxrss * 1024 < 60e6, f'{usage.ru_maxrss} KiB')


# ---- train.sh -----------------------------------------------------------------------------

def tree(name, whole=False):
    """A tree as train.sh sees one, with the command that is already built in it; not whole: the
    tests while it trains are of one batch, the last one of 1000 images."""
    root = make(name)
    for part in ('examples/mnist', 'scripts'):
        shutil.copytree(os.path.join(SOURCE, part), os.path.join(root, part))
    for part, line, fewer in (('solver', 'test_iter: 100\n', 'test_iter: 1\n'),
                              ('train_test', 'batch_size: 100\n', 'batch_size: 10\n')):
        where = root, 'examples', 'mnist', f'lenet_{part}.prototxt'
        expect(read(*where).count(line) == 1, line)
        if not whole:
            write(read(*where).replace(line, fewer), *where)
    write('rule have\n  command = true\nbuild bindings/cli/deepnet: phony\n', root, 'build',
          'build.ninja')
    os.makedirs(os.path.join(root, 'build', 'bindings', 'cli'))
    os.symlink(DEEPNET, os.path.join(root, 'build', 'bindings', 'cli', 'deepnet'))
    return root


def files_of(root):
    """Everything outside build/, with its size."""
    return {path: os.path.getsize(path) for path in
            glob.glob(root + '/**', recursive=True)
            if os.path.isfile(path) and '/build/' not in path}


def has_package():
    files = run('dpkg -L dataset-fashion-mnist 2>/dev/null || true', folder.name)
    return 'train-images-idx3-ubyte.gz' in files


def train(root, *options, code=0, **env):
    return run([os.path.join(root, 'examples', 'mnist', 'train.sh'), '--no-install', *options],
               folder.name, code, **env)


@test
def train_sh_takes_digits_from_a_folder_and_runs_twice():
    root = tree('twice')
    before = files_of(root)
    for suffix in ('.gz', ''):
        where = digits(make('idx' + suffix), suffix=suffix)
        out = train(root, '--gpu', '--iterations', '30', DEEPNET_MNIST_DIR=where)
        expect('done: accuracy 0.' in out and '(digits)' in out, out)
        expect(re.search(r'^no GPU: .*deepnet-cuda\.so.*; the CPU trains$' if suffix == '' else
                         'no GPU: this build has no CUDA module', out, re.M), out)
        write('no module', root, 'build', 'kernels', 'cuda', 'deepnet-cuda.so')
        write('rule have\n  command = true\nbuild bindings/cli/deepnet: phony\n'
              'build kernels/cuda/deepnet-cuda.so: phony\n', root, 'build', 'build.ninja')
        for word in ('train.jsonl', 'plot.svg', 'lenet_iter_30.caffemodel', 'converting to',
                     'training LeNet for 30 iterations', 'true  ', 'loss and accuracy'):
            expect(word in out, f'{word} in\n{out}')
    expect(files_of(root) == before, 'it wrote outside build/')


def curve(svg, colour):
    """The points of the one polyline of that colour."""
    lines = [line for line in svg.iter('{http://www.w3.org/2000/svg}polyline')
             if line.get('stroke') == colour]
    expect(len(lines) == 1, f'{len(lines)} curves of {colour}')
    return [tuple(map(float, point.split(','))) for point in lines[0].get('points').split()]


@test
def train_sh_ends_with_accuracy_confusion_matrix_and_plot():
    """600 iterations: tests at 0 and 500, a loss every 100, and the final test."""
    root = tree('whole', whole=True)
    out = train(root, '--iterations=600', '--seed=1', DEEPNET_MNIST_DIR=digits(make('idx.gz')))
    rows = re.findall(r'^(\d)\S* ((?: +\d+){10}) +([\d.]+)%$', out, re.M)
    matrix = [list(map(int, row.split())) for _, row, _ in rows]
    expect([int(label) for label, _, _ in rows] == list(range(10)), out)
    expect(sum(map(sum, matrix)) == 10000, f'{sum(map(sum, matrix))} images')
    with gzip.open(os.path.join(WEIGHTS, IDX[3] + '.gz')) as file:
        labels = file.read()[8:]
    expect([sum(row) for row in matrix] == [labels.count(k) for k in range(10)],
           'a row has the images of its digit')
    accuracy = float(re.search(r'^== done: accuracy ([\d.]+) \(digits\)$', out, re.M)[1])
    expect(accuracy > 0.9, out)
    expect(abs(sum(matrix[k][k] for k in range(10)) / 10000 - accuracy) < 1e-6,
           'the accuracy is the trace')
    for k, (_, _, right) in enumerate(rows):
        expect(abs(100 * matrix[k][k] / sum(matrix[k]) - float(right)) < 0.006, rows[k])
    svg = xml.etree.ElementTree.parse(os.path.join(root, 'build', 'mnist', 'plot.svg')).getroot()
    width, height = float(svg.get('width')), float(svg.get('height'))
    loss, right = curve(svg, '#1f77b4'), curve(svg, '#d62728')
    expect(len(loss) == 7 and len(right) == 3, f'{loss} {right}')
    for x, y in loss + right:
        expect(0 < x < width and 0 < y < height, f'{x}, {y} is outside the picture')
    for points in (loss, right):
        expect(points == sorted(points), 'from left to right')
    expect(loss[-1][1] > loss[0][1] and right[-1][1] < right[0][1],
           'the loss falls, the accuracy climbs')  # y grows downwards
    expect(loss[-1][0] == right[-1][0], 'both end with the training')


# ---- the mirrors --------------------------------------------------------------------------

class Mirror(http.server.BaseHTTPRequestHandler):
    """/name: a file of its folder; /cut: half of it; /gone: 404; /other: other bytes."""
    folder, asked = None, []

    def do_GET(self):
        kind, name = self.path[1:].split('/')
        self.asked.append(self.path)
        path = os.path.join(self.folder, name)
        if kind == 'gone' or not os.path.exists(path):
            self.send_error(404)
            return
        with open(path, 'rb') as file:
            data = file.read()
        self.send_response(200)
        self.send_header('Content-Length', str(len(data)))
        self.end_headers()
        self.wfile.write(data[:len(data) // 2] if kind == 'cut' else
                         data[:-1] + b'?' if kind == 'other' else data)

    def log_message(self, *_):
        pass


def mirrored(name):
    """A tree whose list of digests has, for MNIST's training files, those that the mirror serves
    in their place; the test files are the true ones, under the digests that users get."""
    root, Mirror.folder = tree(name), digits(make(name + '-served'))
    path = os.path.join(root, 'examples', 'mnist', 'mnist.sha256')
    sums = dict(reversed(line.split()) for line in read(path).splitlines())
    expect(sorted(sums) == sorted(one + '.gz' for one in IDX), sums)
    for one in sums:
        with open(os.path.join(Mirror.folder, one), 'rb') as file:
            digest = hashlib.sha256(file.read()).hexdigest()
        expect(one.startswith('train') or sums[one] == digest, f'{one} is {digest}')
        sums[one] = digest
    write(''.join(f'{digest}  {one}\n' for one, digest in sums.items()), path)
    Mirror.asked.clear()
    return root


def from_mirrors(root, *kinds, code=0):
    if not shutil.which('curl'):
        raise Skip('there is no curl')
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Mirror)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    at = f'http://127.0.0.1:{server.server_address[1]}'
    mirrors = ' '.join(kind if ':' in kind else f'{at}/{kind}' for kind in kinds)
    try:
        return train(root, '--iterations=5', code=code, DEEPNET_MNIST_DIR='', no_proxy='*',
                     DEEPNET_MNIST_MIRRORS=mirrors).replace(at, '')
    finally:
        server.shutdown()
        server.server_close()


def kept(root):
    where = os.path.join(root, 'build', 'mnist', 'idx')
    return {name: os.stat(os.path.join(where, name)).st_mtime_ns for name in os.listdir(where)}


@test
def train_sh_downloads_mnist_from_the_first_mirror_that_has_it():
    root = mirrored('download')
    out = from_mirrors(root, 'http://127.0.0.1:1', 'gone', 'cut', 'other', 'right', 'unasked')
    expect('(digits)' in out and 'GARMENTS' not in out, out)
    for name in IDX:
        tried = re.findall(r'^trying (\S+)/%s.gz$' % name, out, re.M)
        expect(tried == ['http://127.0.0.1:1', '/gone', '/cut', '/other', '/right'], tried)
        expect(f"what it gave is not MNIST's {name}.gz: its SHA-256 is another" in out, out)
    first = kept(root)
    expect(sorted(first) == sorted(name + '.gz' for name in IDX), first)
    Mirror.asked.clear()
    out = from_mirrors(root, 'right')
    expect('(digits)' in out and not Mirror.asked and kept(root) == first,
           f'the second time nothing is fetched: {Mirror.asked}')
    with open(os.path.join(root, 'build', 'mnist', 'idx', IDX[2] + '.gz'), 'r+b') as file:
        file.seek(1000)
        file.write(b'damaged')
    out = from_mirrors(root, 'right')
    expect('(digits)' in out and Mirror.asked == [f'/right/{IDX[2]}.gz'], Mirror.asked)


@test
def train_sh_takes_the_package_where_no_mirror_is_right():
    """Unreachable, cut or of other bytes: nothing of it is kept or converted."""
    for kind in ('http://127.0.0.1:1', 'file:///nowhere', 'gone', 'cut', 'other'):
        root = mirrored('without-' + kind.split(':')[0])
        there = has_package()
        out = from_mirrors(root, kind, code=0 if there else 1)
        expect('GARMENTS, NOT DIGITS' in out and '(garments)' in out if there
               else 'set DEEPNET_MNIST_DIR' in out, out)
        expect(len(re.findall('^trying ', out, re.M)) == 1, f'the first file tells:\n{out}')
        expect(kept(root) == {}, 'nothing was kept')
        shutil.rmtree(root)


@test
def train_sh_says_what_is_wrong():
    root = tree('wrong')
    for options in (('--iterations',), ('--iterations', '0'), ('--iterations=x',), ('--other',)):
        expect('usage: ' in train(root, *options, code=2), options)
    where = digits(make('three'), IDX[:3])
    out = train(root, '--iterations=5', code=1, DEEPNET_MNIST_DIR=where)
    expect(f'DEEPNET_MNIST_DIR={where}: there is no {IDX[3]} or {IDX[3]}.gz' in out, out)


# ---- README.md ----------------------------------------------------------------------------

def blocks():
    return re.findall(r'^```(\w+)\n(.*?)^```', read(SOURCE, 'README.md'), re.M | re.S)


def commands(text):
    return [line.split('#')[0].strip() for line in text.split('\n') if line.strip()]


@test
def every_block_of_the_readme_is_known_here():
    """One of C (tests/embed builds and runs it), one of Python, the rest shell; below."""
    kinds = [kind for kind, _ in blocks()]
    expect(sorted(kinds) == ['c', 'python', 'sh', 'sh', 'sh', 'sh'], kinds)


@test
def readme_starts_with_two_commands():
    first = commands([text for kind, text in blocks() if kind == 'sh'][0])
    expect(first == ['./examples/mnist/train.sh', './tests/run.sh'], first)
    for command in first:
        expect(os.access(os.path.join(SOURCE, command), os.X_OK), command)
        expect('usage: ' in run([os.path.join(SOURCE, command), '--help'], SOURCE, 2), command)


@test
def readme_s_build_by_hand():
    lines = commands([text for kind, text in blocks() if kind == 'sh'][1])
    expect(lines[0] == 'scripts/install-deps.sh', lines)
    expect(os.access(os.path.join(SOURCE, lines[0]), os.X_OK), lines[0])
    expect(lines[1].startswith('meson setup build --buildtype=release && ninja -C build && '),
           lines)
    options = read(SOURCE, 'meson_options.txt')
    for name in re.findall(r'-D(\w+)=', read(SOURCE, 'README.md')):
        expect(f"option('{name}'" in options, name)
    work = make('configured')
    out = run(['meson', 'setup', work, SOURCE, '--buildtype=release', '-Dcblas=none',
               '-Dleveldb=disabled', '-Dtests=false', '-Dexamples=false'], work)
    expect('Build targets in project' in out, out)


@test
def readme_s_commands_run():
    work = digits(make('readme'))
    lines = commands([text for kind, text in blocks() if kind == 'sh'][2])
    example = os.path.join(SOURCE, 'examples', 'mnist')
    net = read(example, 'lenet_train_test.prototxt')
    solver = read(example, 'lenet_solver.prototxt')
    for old, new in ((': 10000', ': 20'), ('"mnist/lenet_train', '"lenet_train'),
                     ('"mnist/lenet"', '"lenet"'), ('test_iter: 100', 'test_iter: 2')):
        expect(old in solver, old)
        solver = solver.replace(old, new)
    write(net, work, 'lenet_train_test.prototxt')
    write(net, work, 'models', 'lenet', 'net.prototxt')
    write(net, work, 'old_net.prototxt')
    write(solver, work, 'lenet_solver.prototxt')
    shutil.copy(os.path.join(WEIGHTS, 'lenet_iter_10000.caffemodel'), work)
    path = os.path.dirname(DEEPNET) + os.pathsep + os.environ['PATH']
    run([DEEPNET, 'convert', 'mnist', IDX[2] + '.gz', IDX[3] + '.gz', 'mnist_test_lmdb'], work)
    names = [line.split()[1] for line in lines]
    expect(set(names) == {'train', 'test', 'time', 'info', 'check', 'upgrade', 'draw', 'convert',
                          'devices'}, names)
    for line in sorted(lines, key=lambda l: 'convert' not in l):
        undrawable = ' draw ' in line and '.svg' in line and not shutil.which('dot')
        out = run(line, work, code=1 if undrawable else 0, PATH=path)
        if ' test ' in line:
            expect(re.search(r'^accuracy = 0\.9[89]', out, re.M), out)


@test
def readme_s_python_runs():
    import numpy
    code, = [text for kind, text in blocks() if kind == 'python']
    work = make('python')
    for name in ('lenet_deploy.prototxt', 'lenet_iter_10000.caffemodel'):
        shutil.copy(os.path.join(WEIGHTS, name), work)
    with gzip.open(os.path.join(WEIGHTS, IDX[2] + '.gz')) as file:
        pixels = numpy.frombuffer(file.read()[16:], numpy.uint8)
    with gzip.open(os.path.join(WEIGHTS, IDX[3] + '.gz')) as file:
        labels = numpy.frombuffer(file.read()[8:], numpy.uint8)
    shape = [int(n) for n in re.findall(r'dim: (\d+)', read(work, 'lenet_deploy.prototxt'))][:4]
    images = pixels.reshape(-1, 1, 28, 28)[:shape[0]] * numpy.float32(0.00390625)
    names = {'images': images}
    here = os.getcwd()
    os.chdir(work)
    try:
        exec(code, names)  # the block, with the images it speaks of
    finally:
        os.chdir(here)
    right = (names['prob'].argmax(1) == labels[:shape[0]]).mean()
    expect(right > 0.97, f'{right}')


if __name__ == '__main__':
    with folder:
        sys.exit(main())
