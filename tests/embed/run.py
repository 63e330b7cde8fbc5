#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Uses the library as its users do: installed into a folder, found through pkg-config.

run.py SOURCE BUILD: installs BUILD into a temporary folder and builds programs against that.
"""
import gzip
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile

SOURCE, BUILD = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
sys.path.insert(0, os.path.join(SOURCE, 'tests'))
from tap import Skip, expect, main, test  # noqa: E402

folder = tempfile.TemporaryDirectory()
stage = os.path.join(folder.name, 'stage')
env = dict(os.environ)
WARN = ['-Wall', '-Wextra', '-Werror', '-pedantic']


def run(*command, **kwargs):
    done = subprocess.run(command, env=env, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, timeout=300,
                          cwd=folder.name, **kwargs)
    expect(done.returncode == 0, f'{" ".join(command)}\n{done.stdout}')
    return done.stdout


def pkg_config(*options):
    return shlex.split(run('pkg-config', *options, 'deepnet'))  # a prefix may have spaces


def build(name, source, *flags, compiler='cc', link=True):
    """Compiles text against the installed library; returns the program's path."""
    path = os.path.join(folder.name, name + ('.cc' if compiler == 'c++' else '.c'))
    out = os.path.join(folder.name, name)
    with open(path, 'w', encoding='utf-8') as file:
        file.write(source)
    run(compiler, path, *flags, '-o', out, *(pkg_config('--cflags', '--libs') if link else []))
    return out


def read(*path):
    with open(os.path.join(*path), encoding='utf-8') as file:
        return file.read()


def installed(name):
    for where, _, files in os.walk(stage):
        if name in files:
            return os.path.join(where, name)
    raise AssertionError(f'{name} was not installed')


def headers():
    where = os.path.dirname(installed('deepnet.h'))
    for base, _, files in os.walk(where):
        for name in sorted(files):
            yield os.path.relpath(os.path.join(base, name), os.path.dirname(where))


@test
def installs_into_a_folder():
    run('meson', 'install', '-C', BUILD, '--no-rebuild', '--quiet', '--destdir', stage)
    pc = os.path.dirname(installed('deepnet.pc'))
    env.update(PKG_CONFIG_PATH=pc, PKG_CONFIG_SYSROOT_DIR=stage,
               LD_LIBRARY_PATH=os.path.dirname(installed('libdeepnet.so')))
    flags = ' '.join(pkg_config('--cflags', '--libs'))
    expect('-ldeepnet' in flags, flags)
    expect(not re.search('openblas|lmdb|hdf5|proto', flags), f'private libraries leak: {flags}')


def embed_c(name, source):
    """The example, built as its users build it, beside its header."""
    shutil.copy(os.path.join(SOURCE, 'examples', 'embed_c', 'lenet.h'), folder.name)
    return build(name, source, '-std=c99', *WARN)


def digits():
    """The 10,000 digits of tests/weights, unpacked."""
    for name in ('t10k-images-idx3-ubyte', 't10k-labels-idx1-ubyte'):
        path = os.path.join(folder.name, name)
        if not os.path.exists(path):
            with gzip.open(os.path.join(SOURCE, 'tests', 'weights', name + '.gz')) as packed, \
                    open(path, 'wb') as plain:
                shutil.copyfileobj(packed, plain)
        yield path


@test
def embed_c_trains_lenet_from_its_own_arrays():
    """From a string, without any file of ours; then the same net and solver from files."""
    program = embed_c('embed_c', read(SOURCE, 'examples', 'embed_c', 'train.c'))
    out = run(program, *digits())
    losses = [float(loss) for loss in re.findall(r'^iteration \d+, loss ([\d.]+)$', out, re.M)]
    expect(len(losses) == 6 and out.count('\n') == 6, out)
    expect(losses[0] < 2 and losses[-1] < 0.5 and losses[-1] < losses[0], out)
    solver = os.path.join(SOURCE, 'examples', 'embed_c', 'lenet_solver.prototxt')
    expect(run(program, *digits(), solver) == out, 'a file trains as the string does')
    other = os.path.join(folder.name, 'other.prototxt')
    with open(other, 'w', encoding='utf-8') as file:
        file.write(read(solver).replace('random_seed: 1', 'random_seed: 2').replace(
            'lenet.prototxt', os.path.join(os.path.dirname(solver), 'lenet.prototxt')))
    expect(run(program, *digits(), other) != out, 'the file is what counts')


@test
def embed_c_says_what_is_wrong():
    program = os.path.join(folder.name, 'embed_c')
    for arguments, code, line in (((), 2, 'usage: train IMAGES LABELS [SOLVER.prototxt]'),
                                  (('none', 'none'), 2, 'usage: train IMAGES LABELS [SOLVER.proto'
                                   'txt]'),
                                  ((*digits(), 'none'), 1,
                                   "cannot read 'none': No such file or directory")):
        done = subprocess.run([program, *arguments], env=env, text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, cwd=folder.name, timeout=60)
        expect((done.returncode, done.stderr) == (code, line + '\n'), f'{done}')


@test
def embed_c_s_net_is_the_tutorial_s():
    """But for where its data come from and what it is measured by."""
    def layers(path):
        text = run(installed('deepnet'), 'info', '--prototxt', '--phase=TRAIN', path)
        found = re.findall(r'^layer \{\n.*?^\}\n', text, re.M | re.S)
        expect(len(found) == 9, text)
        fillers = re.sub(r' *(bias_filler \{[^}]*\}|top: "loss"|pool: MAX|stride: 1\b)', '',
                         ''.join(found[1:]))
        return fillers.split()
    examples = os.path.join(SOURCE, 'examples')
    ours = layers(os.path.join(examples, 'embed_c', 'lenet.prototxt'))
    theirs = layers(os.path.join(examples, 'mnist', 'lenet_train_test.prototxt'))
    expect(ours == theirs, f'{ours}\n{theirs}')


@test
def custom_layer_learns_its_gates():
    source = read(SOURCE, 'examples', 'custom_layer', 'custom_layer.c')
    out = run(build('custom_layer', source, '-std=c11', *WARN, '-lm'))
    gates = [float(g) for g in re.findall(r'^gate \d: ([\d.]+)$', out, re.M)]
    expect(len(gates) == 3, out)
    for gate, wanted in zip(gates, (0.9, 0, 0.5)):
        expect(abs(gate - wanted) < 0.02, out)


@test
def custom_backend_is_a_shared_object_of_its_own():
    where = os.path.join(SOURCE, 'examples', 'custom_backend')
    module = os.path.join(folder.name, 'square.so')
    run('cc', '-shared', '-fPIC', '-std=c11', *WARN, os.path.join(where, 'square.c'),
        *pkg_config('--cflags'), '-o', module)
    program = build('squares', read(where, 'squares.c'), '-std=c11', *WARN)
    expect(run(program, module) == '3^2 = 9, by square\n', 'squares')
    out = subprocess.run([program, './absent.so'], env=env, text=True, stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE, cwd=folder.name)
    expect(out.returncode == 1 and "no backend at './absent.so'" in out.stderr, out.stderr)


@test
def tour_in_deepnet_h_prints_9():
    comment = read(installed('deepnet.h')).split('*/')[0]
    code = [line[7:] for line in comment.split('\n')
            if line.startswith(' *     ') or line == ' *']
    text = '\n'.join(code)
    out = run(build('tour', text[text.index('#include'):] + '\n', '-std=c99', '-Wall'))
    expect(out == '9\n', out)


@test
def program_in_the_readme_is_embed_c():
    blocks = re.findall(r'^```c\n(.*?)^```', read(SOURCE, 'README.md'), re.M | re.S)
    expect(len(blocks) == 1, 'README.md has one block of C')
    example = read(SOURCE, 'examples', 'embed_c', 'train.c')
    expect(example.endswith(blocks[0]), 'the README shows another program than embed_c/train.c')
    expect(run(embed_c('readme', blocks[0]), *digits()).count('loss') == 6, 'it runs')


@test
def every_header_alone_is_c99_and_cxx11():
    for name in headers():
        source = f'#include <{name}>\nint main(void) {{ return 0; }}\n'
        build('alone', source, '-std=c99', *WARN)
        if shutil.which('c++'):
            build('alone', source, '-std=c++11', *WARN, compiler='c++')


@test
def cxx_program_links():
    if not shutil.which('c++'):
        raise Skip('no C++ compiler')
    source = ('#include <deepnet/deepnet.h>\n#include <cstdio>\n'
              'int main() { dn_context *c = nullptr;'
              ' if (dn_context_create(&c, nullptr)) return 1;'
              ' std::puts(dn_context_backend(c, 0)); dn_context_free(c); }\n')
    run(build('cxx', source, '-std=c++11', *WARN, compiler='c++'))


@test
def bare_program_loads_and_unloads_it():
    source = read(SOURCE, 'tests', 'embed', 'bare.c')
    include = os.path.dirname(os.path.dirname(installed('deepnet.h')))
    program = build('bare', source, '-std=c11', '-D_POSIX_C_SOURCE=200809L', '-I' + include,
                    '-Wall', '-ldl', '-lm', link=False)
    print('#', run(program, installed('libdeepnet.so')).strip())


@test
def two_contexts_in_two_threads():
    source = read(SOURCE, 'tests', 'embed', 'threads.c')
    run(build('threads', source, '-std=c11', '-Wall', '-pthread', '-lm'))


@test
def command_runs_from_its_folder():
    env_library = dict(env)
    out = subprocess.run([installed('deepnet'), 'devices'], env=env_library, text=True,
                         stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, timeout=60)
    expect(out.returncode == 0 and 'host' in out.stdout, out.stdout)


@test
def man_page_and_schema_are_installed():
    for name in ('deepnet.1', 'cnn.proto'):
        installed(name)


if __name__ == '__main__':
    with folder:
        sys.exit(main())
