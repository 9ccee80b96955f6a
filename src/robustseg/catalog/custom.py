"""A user's own objective: from a file or as a function, with the hash that puts its code into the run key."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import CodeType
from typing import Any

from robustseg.errors import UserError

__all__ = ["code_hash", "load_function"]

Function = Callable[..., Any]


def load_function(reference: str) -> Function:
    """The function behind ``FILE.py:NAME``; it is the user's own code and runs as such."""
    file, _, name = reference.rpartition(":")
    path = Path(file)
    if not name or not path.is_file():
        raise UserError(f"objective={reference}: write FILE.py:FUNCTION; {file or reference} is not a file")
    unique = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]
    spec = importlib.util.spec_from_file_location(f"robustseg_objective_{unique}", path)
    if spec is None or spec.loader is None:
        raise UserError(f"objective={reference}: {path} is no Python file; its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its source is looked up through its name
    try:
        spec.loader.exec_module(module)
    except Exception as e:
        raise UserError(f"objective={reference}: {path} does not run: {type(e).__name__}: {e}") from e
    function = getattr(module, name, None)
    if not callable(function):
        raise UserError(f"objective={reference}: {path} has no function {name!r}")
    return function


def code_hash(function: Function) -> str:
    """Hash of the function's name and of all code of its module (its helpers too), or of its byte code at a prompt.

    Closed-over values and the arguments of a ``functools.partial`` enter by their text.

    >>> code_hash(lambda o, t: 2 * o) == code_hash(lambda o, t: 3 * o)
    False
    """
    parts: list[object] = []
    while isinstance(function, functools.partial):
        parts += [function.args, sorted(function.keywords.items())]
        function = function.func
    if not hasattr(function, "__code__") and not inspect.isclass(function):
        parts.append(sorted(getattr(function, "__dict__", {}).items()))  # an object with __call__, and its settings
        function = getattr(type(function), "__call__", function)  # noqa: B004
    parts += [cell.cell_contents for cell in getattr(function, "__closure__", None) or ()]
    parts += [getattr(function, "__qualname__", ""), getattr(function, "__defaults__", None)]
    code = getattr(function, "__code__", None)
    if code is not None:
        parts.append(_code_parts(code))
    with contextlib.suppress(OSError, TypeError, KeyError, AttributeError):  # at a prompt the byte code must do
        parts.append(inspect.getsource(sys.modules[function.__module__]))
    return hashlib.sha256(re.sub("0x[0-9a-f]+", "", repr(parts)).encode()).hexdigest()[:16]


def _code_parts(code: CodeType) -> list[object]:
    def part(constant: object) -> object:
        if isinstance(constant, CodeType):
            return _code_parts(constant)
        return sorted(map(repr, constant)) if isinstance(constant, frozenset) else constant

    return [code.co_code, code.co_names, [part(c) for c in code.co_consts]]
