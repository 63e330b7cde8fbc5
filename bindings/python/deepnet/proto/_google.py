# SPDX-License-Identifier: BSD-2-Clause
"""Google's text_format for scripts that hand it messages of ours: theirs still go to Google's
own functions, where there is a google.protobuf at all."""
import importlib
import importlib.machinery
import sys
import types

from . import text_format
from ._message import Message

_NAME = 'google.protobuf.text_format'
_PACKAGES = ('google', 'google.protobuf')
_MESSAGE_AT = {'Merge': 1, 'Parse': 1, 'MessageToString': 0, 'MessageToBytes': 0,
               'PrintMessage': 0}

# Options that change the looks of a text, or allow what is refused with its name all the same.
_IGNORED = frozenset((
    'allow_field_number', 'allow_unknown_extension', 'allow_unknown_field', 'as_utf8',
    'descriptor_pool', 'double_format', 'float_format', 'force_colon', 'indent',
    'max_recursion_depth', 'pointy_brackets', 'use_index_order',
    'use_short_repeated_primitives'))


def _refusal(theirs):
    """What a wrong text raises: our ParseError, which is Google's as well."""
    if theirs is text_format.ParseError:
        return theirs

    class ParseError(text_format.ParseError, theirs):
        def GetLine(self):
            return int(self.message.split(':')[0])

        def GetColumn(self):
            return int(self.message.split(':')[1])

        def __reduce__(self):  # another process may have no Google
            return text_format.ParseError, (self.message, self.status)
    return ParseError


def _by_message(name, theirs, refusal):
    ours, at = getattr(text_format, name), _MESSAGE_AT[name]

    def call(*args, **options):
        message = options.get('message', args[at] if at < len(args) else None)
        if not isinstance(message, Message):
            return theirs(*args, **options)
        options = {option: value for option, value in options.items()
                   if option not in _IGNORED and value not in (None, False)}
        try:
            return ours(*args, **options)
        except text_format.ParseError as error:
            raise refusal(error.message, error.status) from None
    return call


class _Module(types.ModuleType):
    """text_format for messages of both kinds."""


class _Finder:
    """Finds google.protobuf where there is none, or none that can be loaded: empty packages,
    but for text_format."""

    def __init__(self, module):
        self._module = module

    def find_spec(self, name, _path=None, _target=None):
        if name == _NAME or name in _PACKAGES:
            return importlib.machinery.ModuleSpec(name, self, is_package=name != _NAME)
        return None

    def create_module(self, spec):
        return self._module if spec.name == _NAME else None

    def exec_module(self, module):
        if module.__name__ == 'google.protobuf':
            module.__version__ = '0.0.0'  # for who asks whether it is recent enough


def install():
    """`from google.protobuf import text_format` takes messages of both kinds from here on."""
    if isinstance(sys.modules.get(_NAME), _Module):
        return
    sys.meta_path[:] = [one for one in sys.meta_path if not isinstance(one, _Finder)]
    module = _Module(_NAME, text_format.__doc__)
    try:
        module.__dict__.update(vars(importlib.import_module(_NAME)))
        sys.modules['google.protobuf'].text_format = sys.modules[_NAME] = module
    except ModuleNotFoundError as error:
        there_is_none = error.name == _NAME or error.name in _PACKAGES
        # Asked last, so that one which comes later is found; one that fails is not asked.
        sys.meta_path.insert(len(sys.meta_path) if there_is_none else 0, _Finder(module))
    except Exception:
        sys.meta_path.insert(0, _Finder(module))
    refusal = _refusal(vars(module).setdefault('ParseError', text_format.ParseError))
    for name in _MESSAGE_AT:
        theirs = vars(module).get(name, getattr(text_format, name))
        setattr(module, name, _by_message(name, theirs, refusal))
