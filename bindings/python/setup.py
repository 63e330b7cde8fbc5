# SPDX-License-Identifier: BSD-2-Clause
"""What pyproject.toml cannot say: a wheel that carries the library is for one platform, though
for every Python 3."""
import glob

from setuptools import Distribution, setup

try:
    from setuptools.command.bdist_wheel import bdist_wheel
except ImportError:
    from wheel.bdist_wheel import bdist_wheel

carries_library = bool(glob.glob('deepnet/*deepnet*.[sd][oyl]*'))


class Wheel(bdist_wheel):
    def get_tag(self):
        return ('py3', 'none', super().get_tag()[2]) if carries_library else super().get_tag()


class Binary(Distribution):
    def has_ext_modules(self):
        return carries_library


setup(distclass=Binary, cmdclass={'bdist_wheel': Wheel})
