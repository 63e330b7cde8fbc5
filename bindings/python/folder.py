# SPDX-License-Identifier: BSD-2-Clause
"""Where meson.build installs the package: folder.py PREFIX FOLDER prints FOLDER, Meson's
choice, unless this Python does not look there but in another folder below PREFIX."""
import os
import sys
import sysconfig

prefix, folder = sys.argv[1:]
own = sysconfig.get_path('purelib')
if folder not in sys.path and os.path.commonpath([prefix, own]) == os.path.normpath(prefix):
    folder = own
print(folder)
