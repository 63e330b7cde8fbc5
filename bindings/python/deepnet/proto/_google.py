# SPDX-License-Identifier: BSD-2-Clause
"""Google's text_format for scripts that hand it messages of ours: theirs still go to Google's
own functions, where there is a google.protobuf at all."""
import importlib
import sys
import types

from . import text_format
from ._message import Message

_NAME = 'google.protobuf.text_format'
_MESSAGE_AT = {'Merge': 1, 'Parse': 1, 'MessageToString': 0, 'PrintMessage': 0}


def _by_message(ours, theirs, at):
    def call(*args, **options):
        message = options['message'] if 'message' in options else args[at]
        return (ours if isinstance(message, Message) else theirs)(*args, **options)
    return call


def _package(name):
    """A package that is there, or an empty one."""
    try:
        return importlib.import_module(name)
    except ImportError:
        package = sys.modules[name] = types.ModuleType(name)
        package.__path__ = []
        return package


def install():
    """`from google.protobuf import text_format` takes messages of both kinds from here on."""
    module = types.ModuleType(_NAME, text_format.__doc__)
    try:
        module.__dict__.update(vars(importlib.import_module(_NAME)))
    except ImportError:
        google = _package('google')
        google.protobuf = _package('google.protobuf')
        module.ParseError = text_format.ParseError
    for name, at in _MESSAGE_AT.items():
        ours = getattr(text_format, name)
        setattr(module, name, _by_message(ours, vars(module).get(name, ours), at))
    sys.modules['google.protobuf'].text_format = sys.modules[_NAME] = module
