#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""The scripts that a fresh machine meets first, with a made-up machine around them:
scripts/install-deps.sh with dpkg, apt, sudo and id of our own; tests/run.sh with meson and ninja
of our own. (What they do with the real ones is what CI does.)

scripts.py SOURCE DEEPNET
"""
import glob
import json
import os
import shutil
import subprocess
import sys
import tempfile

SOURCE, DEEPNET = map(os.path.abspath, sys.argv[1:3])
sys.path.insert(0, os.path.join(SOURCE, 'tests'))
from tap import expect, main, test  # noqa: E402

folder = tempfile.TemporaryDirectory()
TOOLS = 'sh env mktemp rm cat tr dirname'.split()
NEEDED = ('meson ninja-build gcc libc6-dev pkg-config python3 protobuf-c-compiler '
          'libprotobuf-c-dev libprotobuf-dev liblmdb-dev libopenblas-serial-dev zlib1g-dev '
          'libhdf5-dev libleveldb-dev libjpeg62-turbo-dev libpng-dev').split()


def path(*parts):
    return os.path.join(folder.name, *parts)


def write(text, *parts, mode=0o644):
    os.makedirs(os.path.dirname(path(*parts)), exist_ok=True)
    with open(path(*parts), 'w', encoding='utf-8') as file:
        file.write(text)
    os.chmod(path(*parts), mode)


def read(*parts):
    with open(path(*parts), encoding='utf-8') as file:
        return file.read()


# ---- install-deps.sh ----------------------------------------------------------------------

# Each tool notes its call; apt-get knows no package before `update`, if the machine is bare.
FAKES = {
    'dpkg-query': 'for name; do :; done\n'
                  'while read -r have; do [ "$have" = "$name" ] && printf "ii " && exit 0; done '
                  '<"$M/installed"\nexit 1\n',
    'apt-get': 'echo "$(cat "$M/user") apt-get $*" >>"$M/calls"\n'
               'case $1 in\n'
               'update) [ ! -e "$M/offline" ] || { echo "E: no network" >&2; exit 100; }\n'
               '    : >"$M/lists" ;;\n'
               'install) [ -e "$M/lists" ] || { echo "E: Unable to locate" >&2; exit 100; }\n'
               '    for word; do case $word in -* | install | Dpkg*) ;;\n'
               '        *) echo "$word" >>"$M/installed" ;; esac; done ;;\n'
               'esac\n',
    'id': '[ "$1" = -u ] && if [ "$(cat "$M/user")" = root ]; then echo 0; else echo 1000; fi\n',
    'sudo': 'was=$(cat "$M/user")\necho root >"$M/user"\n"$@"\ncode=$?\n'
            'echo "$was" >"$M/user"\necho sudo >>"$M/calls"\nexit $code\n',
}


def machine(name, user='root', installed=(), lists=False, lacks=()):
    """A folder of tools, and what they know: installed packages, who is at the keyboard."""
    for tool in TOOLS:
        os.makedirs(path(name, 'bin'), exist_ok=True)
        os.symlink(shutil.which(tool), path(name, 'bin', tool))
    for tool, text in FAKES.items():
        if tool not in lacks:
            write(f'#!/bin/sh\nM={path(name)}\n{text}', name, 'bin', tool, mode=0o755)
    write(user + '\n', name, 'user')
    write(''.join(one + '\n' for one in installed), name, 'installed')
    write('', name, 'calls')
    if lists:
        write('', name, 'lists')
    return name


def install(name, *options, code=0):
    done = subprocess.run([os.path.join(SOURCE, 'scripts', 'install-deps.sh'), *options],
                          env={'PATH': path(name, 'bin'), 'TMPDIR': path(name)}, text=True,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=60)
    expect(done.returncode == code,
           f'{name}: exit code {done.returncode}\n{done.stdout}{done.stderr}')
    expect(not glob.glob(path(name, 'tmp.*')), 'a temporary file stays')
    return done.stdout + done.stderr


def calls(name):
    """The calls of apt, as "root update", "root install"; its packages."""
    short, packages = [], []
    for line in read(name, 'calls').splitlines():
        words = line.split()
        short.append(' '.join(words[:3:2]))
        packages += [w for w in words[3:] if w[0] != '-' and not w.startswith('Dpkg')]
    return short, packages


@test
def root_on_a_bare_machine_installs_all_with_one_update():
    name = machine('bare', lacks=('sudo',))
    out = install(name)
    expect(out == f'install-deps: installing {" ".join(NEEDED)}\ninstall-deps: done\n', out)
    short, packages = calls(name)
    expect(short == ['root install', 'root update', 'root install'], short)
    expect(packages[-len(NEEDED):] == NEEDED, packages)
    write('', name, 'calls')
    expect(install(name) == 'install-deps: everything needed is installed\n', 'twice')
    expect(not read(name, 'calls'), 'the second time apt is left alone')


@test
def with_lists_at_hand_the_network_is_not_asked():
    name = machine('lists', installed=NEEDED[1:], lists=True)
    out = install(name)
    expect(out == 'install-deps: installing meson\ninstall-deps: done\n', out)
    expect(calls(name) == (['root install'], ['meson']), calls(name))


@test
def who_is_not_root_uses_sudo_for_each_step():
    name = machine('user', user='me', installed=NEEDED[2:])
    install(name)
    short, packages = calls(name)
    expect(short == ['root install', 'sudo', 'root update', 'sudo', 'root install', 'sudo'], short)
    expect(packages[-2:] == ['meson', 'ninja-build'], packages)


@test
def without_sudo_it_says_so_and_touches_nothing():
    name = machine('alone', user='me', installed=NEEDED[1:], lacks=('sudo',))
    out = install(name, code=1)
    expect(out == 'install-deps: installing meson\ninstall-deps: neither root nor sudo; '
           'install them, or pass --no-install\n', out)
    expect(not read(name, 'calls'), 'apt was called')
    expect('everything' in install(machine('alone2', 'me', NEEDED, lacks=('sudo', 'apt-get'))),
           'nothing is needed from root where nothing is missing')


@test
def no_install_says_what_is_missing_and_never_calls_apt():
    name = machine('check', user='me', installed=NEEDED[2:])
    out = install(name, '--no-install')
    expect(out == 'install-deps: not installed, at least not as packages: meson ninja-build\n',
           out)
    expect(not read(name, 'calls'), 'apt was called')


@test
def another_package_of_the_same_kind_will_do():
    other = {'pkg-config': 'pkgconf', 'libopenblas-serial-dev': 'libopenblas-openmp-dev',
             'libjpeg62-turbo-dev': 'libjpeg-dev'}
    name = machine('kin', installed=[other.get(one, one) for one in NEEDED], lacks=('apt-get',))
    expect('everything needed is installed' in install(name), 'pkgconf is a pkg-config')


@test
def options_add_packages():
    for option, some in (('--tests', 'g++'), ('--data', 'dataset-fashion-mnist'),
                         ('--ci', 'clang')):
        name = machine('with' + option, installed=NEEDED, lists=True)
        install(name, option)
        expect(some in calls(name)[1], calls(name))
        expect('everything' in install(name, option), option)
    expect('usage: ' in install(name, '--everything', code=2), 'usage')


@test
def what_apt_says_is_shown_when_it_fails():
    name = machine('offline', installed=NEEDED[1:])
    write('', name, 'offline')
    out = install(name, code=1)
    expect(out == 'install-deps: installing meson\nE: no network\n', out)


@test
def on_another_system_it_says_what_must_be_there():
    out = install(machine('other', lacks=('dpkg-query', 'apt-get', 'sudo')))
    expect(out.startswith('install-deps: this is no Debian; these must be there already: meson '),
           out)


# ---- tests/run.sh -------------------------------------------------------------------------

def record(name, result, out=''):
    return json.dumps({'name': name, 'result': result, 'stdout': out, 'stderr': ''})


def tree(name, *records, meson=0, ninja=0):
    """A copy of what run.sh uses, a meson that writes `records` as its log, a ninja that has the
    command built. DEEPNET_MNIST_DIR is empty: the example fails unless it is linked in."""
    for part in ('examples/mnist', 'scripts'):
        shutil.copytree(os.path.join(SOURCE, part), path(name, part))
    for part in ('tests/run.sh', 'tests/count.py', 'tests/gpu/run.sh'):
        os.makedirs(os.path.dirname(path(name, part)), exist_ok=True)
        shutil.copy(os.path.join(SOURCE, part), path(name, part))
    log = ''.join(one + '\n' for one in records)
    write(log, 'tools-' + name, 'log')
    write('#!/bin/sh\ncase $1 in\n'
          f'setup) mkdir -p {path(name, "build")} && : >{path(name, "build", "build.ninja")} ;;\n'
          f'test) mkdir -p {path(name, "build", "meson-logs")}\n'
          f'    [ {int(bool(records))} = 0 ] || cp {path("tools-" + name, "log")} '
          f'{path(name, "build", "meson-logs", "testlog.json")}\n    exit {meson} ;;\nesac\n',
          'tools-' + name, 'meson', mode=0o755)
    write(f'#!/bin/sh\nmkdir -p {path(name, "build", "bindings", "cli")}\n'
          f'ln -sf {DEEPNET} {path(name, "build", "bindings", "cli")}\nexit {ninja}\n',
          'tools-' + name, 'ninja', mode=0o755)
    write(f'#!/bin/sh\nprintf "ii "\n', 'tools-' + name, 'dpkg-query', mode=0o755)


def run_sh(name, *options, code=0, digits=True):
    weights = os.path.join(SOURCE, 'tests', 'weights')
    where = path(name + '-idx')
    os.makedirs(where, exist_ok=True)
    for kind in ('images-idx3-ubyte.gz', 'labels-idx1-ubyte.gz') if digits else ():
        for of in ('train', 't10k'):
            shutil.copy(os.path.join(weights, 't10k-' + kind), os.path.join(where, f'{of}-{kind}'))
    env = {**os.environ, 'PATH': path('tools-' + name) + os.pathsep + os.environ['PATH'],
           'DEEPNET_MNIST_DIR': where, 'TMPDIR': path(name + '-tmp')}
    os.makedirs(path(name + '-tmp'), exist_ok=True)
    done = subprocess.run([path(name, 'tests', 'run.sh'), *options], env=env, text=True,
                          cwd=folder.name, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=240)
    expect(done.returncode == code, f'exit code {done.returncode}\n{done.stdout}')
    expect(not os.listdir(path(name + '-tmp')), 'nothing is left in the temporary folder')
    return done.stdout


def outside(name):
    return sorted(one for one in glob.glob(path(name) + '/**', recursive=True)
                  if '/build' not in one)


@test
def run_sh_counts_and_runs_twice():
    tree('twice', record('a', 'OK', '1..2\nok 1 - x\nok 2 - y # SKIP no z\n'),
         record('b', 'OK', '41 passed, 0 failed\n'), record('c', 'OK'), record('d', 'SKIP'))
    before = outside('twice')
    for options in ((), ('--no-install',)):
        lines = run_sh('twice', *options).splitlines()
        expect(lines[-1] == '44 passed, 0 failed', lines[-5:])  # 1 + 41 + 1, and the example
        expect(lines[-2].startswith('2 tests could not run here'), lines[-5:])
        said = [line[3:] for line in lines if line.startswith('== ')]
        expect(said == (['installing what is missing'] if not options else []) +
               [f'building in {path("twice", "build")}', 'running the tests', 'the GPU',
                'the MNIST example, 100 iterations', 'done: accuracy ' + said[-1].split()[-2] +
                ' (digits)'], said)
    expect(outside('twice') == before, 'it wrote outside build/')


@test
def run_sh_fails_when_a_test_does():
    tree('failing', record('a', 'FAIL', '3 passed, 2 failed\n'), record('b', 'TIMEOUT'),
         record('c', 'OK'), record('d', 'FAIL', '7 passed, 0 failed\n'), meson=1)
    out = run_sh('failing', '--no-install', code=1)
    expect(out.endswith('\n12 passed, 4 failed\n'), out[-300:])  # d died after it had counted
    expect('FAILED a (FAIL)' in out and 'FAILED b (TIMEOUT)' in out, out)


@test
def run_sh_fails_when_the_build_the_log_or_the_example_does():
    tree('unbuilt', record('a', 'OK'), ninja=1)
    expect(run_sh('unbuilt', '--no-install', code=1).endswith('\n0 passed, 1 failed\n'), 'build')
    tree('unlogged', meson=1)
    expect(run_sh('unlogged', '--no-install', code=1).endswith('\n1 passed, 1 failed\n'), 'log')
    tree('undigited', record('a', 'OK'))
    out = run_sh('undigited', '--no-install', code=1, digits=False)
    expect(out.endswith('\n1 passed, 1 failed\n') and 'DEEPNET_MNIST_DIR' in out, out)
    expect('usage: ' in run_sh('undigited', '--other', code=2), 'usage')


if __name__ == '__main__':
    with folder:
        sys.exit(main())
