#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Headers, lib/deepnet.syms and the built library name the same functions; the library needs
nothing that ends or prints in its host, and no library that only a module may need; an optimised
build, stripped, is under a million bytes; each header stands alone as C99 and as C++11.
usage: symbols.py SOURCE_ROOT LIBRARY OPTIMIZATION"""
import glob, os, re, subprocess, sys, tempfile

FORBIDDEN = {'abort', 'exit', '_exit', '_Exit', 'quick_exit', 'printf', 'fprintf', 'dprintf',
             'puts', 'putchar', 'putc', 'fputs', 'perror', 'vprintf', 'vfprintf', 'vdprintf',
             '__assert_fail', '__printf_chk', '__fprintf_chk', '__vprintf_chk', '__vfprintf_chk',
             'signal', 'sigaction', 'raise', 'kill', 'setlocale', 'stdout', 'stderr', 'system'}
SIZE_LIMIT = 1000000
root, library, optimization = sys.argv[1:4]
passed = failed = 0


def check(ok, what):
    global passed, failed
    passed, failed = passed + bool(ok), failed + (not ok)
    if not ok:
        print('FAILED:', what)


def run(*command):
    return subprocess.run(command, capture_output=True, text=True)


def declared():
    names = set()
    for path in glob.glob(os.path.join(root, 'include/deepnet/**/*.h'), recursive=True):
        text = re.sub(r'/\*.*?\*/', '', open(path).read(), flags=re.S)
        names |= set(re.findall(r'DN_API[^;(]*?\b(dn_\w+)\s*\(', text))
    return names


def listed():
    path = os.path.join(root, 'lib/deepnet.syms')
    text = re.sub(r'/\*.*?\*/', '', open(path).read(), flags=re.S)
    return set(re.findall(r'\b(dn_\w+);', text))


def exported():
    lines = run('nm', '-D', '--defined-only', library).stdout.splitlines()
    return {l.split()[-1].split('@')[0] for l in lines if l.split()[-2] not in 'A'}


def needed():
    lines = run('nm', '-D', '--undefined-only', library).stdout.splitlines()
    return {l.split()[-1].split('@')[0] for l in lines}


def libraries():
    lines = run('readelf', '-d', library).stdout.splitlines()
    return [l.split('[')[1].rstrip(']') for l in lines if '(NEEDED)' in l]


def stands_alone(header, compiler, standard, language):
    with tempfile.TemporaryDirectory() as folder:
        source = os.path.join(folder, 'alone.c')
        with open(source, 'w') as f:
            f.write('#include <%s>\nint main(void) { return 0; }\n' % header)
        return run(compiler, '-x', language, '-std=' + standard, '-Wall', '-Wextra', '-pedantic', '-Werror',
                   '-fsyntax-only', '-I' + os.path.join(root, 'include'), source)


headers, syms, built = declared(), listed(), exported()
check(headers == syms, 'headers and deepnet.syms differ: %s' % sorted(headers ^ syms))
check(built == syms, 'library and deepnet.syms differ: %s' % sorted(built ^ syms))
sanitized = any(n.startswith(('__asan', '__ubsan', '__tsan')) for n in needed())
bad = needed() & FORBIDDEN
check('realloc' in needed() and (sanitized or not bad), 'the library needs %s' % sorted(bad))
vendors = [l for l in libraries() if l.startswith(('libcu', 'libnccl', 'libnv', 'libdnnl'))]
check(libraries() and not vendors, 'the library does not load without %s' % vendors)
with tempfile.TemporaryDirectory() as folder:
    stripped = os.path.join(folder, 'stripped.so')
    run('strip', '-o', stripped, library)
    size = os.path.getsize(stripped)
    print('stripped: %d bytes' % size)
    check(sanitized or optimization != '3' or size < SIZE_LIMIT,
          'stripped, the library has %d bytes, the limit is %d' % (size, SIZE_LIMIT))
for path in sorted(glob.glob(os.path.join(root, 'include/deepnet/**/*.h'), recursive=True)):
    header = os.path.relpath(path, os.path.join(root, 'include'))
    for compiler, standard, language in (('cc', 'c99', 'c'), ('c++', 'c++11', 'c++')):
        result = stands_alone(header, compiler, standard, language)
        check(result.returncode == 0, '%s as %s: %s' % (header, standard, result.stderr[:400]))
print('%d passed, %d failed' % (passed, failed))
sys.exit(1 if failed else 0)
