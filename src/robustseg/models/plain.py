"""Any `nn.Module`: `wrap`, and the factories of the user's own Python files."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, cast

import torch
from torch import nn

from robustseg.errors import UserError
from robustseg.models.base import Adapter, fingerprint
from robustseg.models.classifiers import WholeImage
from robustseg.models.faults import Fault
from robustseg.models.heads import DenseHead, QueryHead
from robustseg.models.prepare import Prepare, Resize
from robustseg.models.refs import Ref, near
from robustseg.ops.size import WHOLE_IMAGE
from robustseg.types import Model, ModelSpec, Output, QueryOutput

__all__ = ["load", "wrap"]


def wrap(
    module: nn.Module,
    *,
    task: str = "semantic",
    classes: Sequence[str],
    mean: Sequence[float] = (0.0, 0.0, 0.0),
    std: Sequence[float] = (1.0, 1.0, 1.0),
    ignore_index: int = 255,
    channel_order: Literal["rgb", "bgr"] = "rgb",
    pixel_range: Literal[1, 255] = 1,
    activation: Literal["softmax", "sigmoid"] = "softmax",
    multiple: int = 1,
    size: tuple[int, int] | None = None,
    kind: Literal["logits", "scores"] = "logits",
    name: str | None = None,
    output: Callable[[Any], Any] | None = None,
    things: Sequence[str] = (),
) -> Adapter:
    """A model out of any `nn.Module` that maps pixels ``(B,C,H,W)`` to class scores ``(B,K,h,w)``.

    ``task="universal"``: the module gives queries, as a `QueryOutput`, as an object with ``class_queries_logits`` and
    ``masks_queries_logits``, or as whatever ``output`` makes one of; ``things`` names its countable classes.
    ``task="classification"``: the module gives one score a class of the whole image, ``(B,K)``.

    ``mean, std``: in the module's own channel order and range: with ``pixel_range=255`` write 123.675, not 0.485.
    ``multiple``: sides are padded to a multiple of it (mean colour) and the padding cut off the output again;
    ``size=(H,W)``: images are resized to it (bilinear, antialiased). ``activation="sigmoid"``: one logit ``z`` with
    two classes becomes ``[0, z]``. ``kind="scores"``: the module returns probabilities. ``output`` picks the scores
    out of what the module returns. ``ignore_index`` is kept as a fact; the data's own value decides. The module is
    put in eval mode. Raises `UserError` for arguments that contradict each other.

    >>> net = nn.Conv2d(3, 2, 1, bias=False)
    >>> _ = nn.init.ones_(net.weight)
    >>> model = wrap(net, classes=["sky", "road"], mean=(0.5,) * 3, std=(0.5,) * 3)
    >>> model(torch.ones(1, 3, 1, 1)).scores.flatten().tolist()     # 3 channels of (1 - 0.5) / 0.5
    [3.0, 3.0]
    """
    _check(module, task, classes, mean, std, channel_order, pixel_range, activation, kind, multiple, size)
    foreign = next((t for t in things if t not in classes), None)
    if foreign is not None:
        raise UserError(f"things= names {foreign!r}, which is none of classes={list(classes)}")
    names = tuple(str(c) for c in classes)
    prepare = Prepare(
        mean=tuple(float(v) for v in mean),
        std=tuple(float(v) for v in std),
        channel_order=channel_order,
        scale=float(pixel_range),
        resize=Resize(height=size[0], width=size[1]) if size else None,
        multiple=multiple,
    )
    queries = task == "universal"
    picker = WholeImage(output) if task == WHOLE_IMAGE else output
    head = Queries(QueryHead(len(names)), output) if queries else DenseHead(len(names), activation, kind, picker)
    facts = {
        "prepare": asdict(prepare),
        "classes": names,
        "activation": activation,
        "kind": kind,
        "ignore": ignore_index,
        "code": [_code(type(module)), _code(output)],
        "structure": re.sub(r"0x[0-9a-f]+", "", str(module)),
    }
    module.eval()
    spec = ModelSpec(name or type(module).__name__, task, names, fingerprint(module, facts), "plain", tuple(things))
    return Adapter(spec, module, prepare, head, _device(module))


@dataclass(frozen=True)
class Queries:
    """Reads queries of a user's module: ready ones, or what the head finds in its output."""

    head: QueryHead
    output: Callable[[Any], Any] | None = None

    def __call__(self, raw: Any) -> Output:
        value = self.output(raw) if self.output else raw
        if not isinstance(value, QueryOutput):
            if not hasattr(value, "class_queries_logits") or not hasattr(value, "masks_queries_logits"):
                raise UserError(
                    f"the model returned a {type(value).__name__}; task='universal' wants a QueryOutput: "
                    "output=lambda r: robustseg.QueryOutput(class_logits, mask_logits)"
                )
            return self.head(value)
        if value.class_logits.shape[-1] != self.head.classes + 1:
            raise Fault(
                "class-count-mismatch",
                f"the queries have {value.class_logits.shape[-1] - 1} classes and no object, but {self.head.classes} "
                "are named; correct classes=",
            )
        return value


def load(ref: Ref) -> Model:
    """``py:FILE.py:FACTORY`` or ``py:package.module:FACTORY``. This runs the named code: it is the user's own."""
    ref.options.known()
    target, colon, name = ref.path.rpartition(":")
    if not colon or not name.isidentifier():
        raise UserError(f"{ref.text}: wanted py:FILE.py:FACTORY or py:package.module:FACTORY")
    module = _file(Path(target)) if target.endswith(".py") else _package(target)
    factory = getattr(module, name, None)
    if factory is None:
        public = [n for n, v in vars(module).items() if callable(v) and not n.startswith("_")]
        raise UserError(f"{target} has no {name}{near(name, public)}")
    ready = isinstance(factory, nn.Module) or _is_model(factory)
    made: Any = factory if ready or not callable(factory) else _called(factory, ref.text)
    if isinstance(made, nn.Module):
        raise UserError(
            f"{ref.text} gives a bare {type(made).__name__}; say how it wants its pixels: "
            "return robustseg.wrap(module, classes=[...], mean=..., std=...)"
        )
    if not _is_model(made):
        raise UserError(f"{ref.text} gives a {type(made).__name__}; return robustseg.wrap(module, classes=[...], ...)")
    if isinstance(made, Adapter):
        return cast(Model, replace(made, spec=replace(made.spec, ref=ref.text)))
    return made


def _called(factory: Callable[[], Any], text: str) -> Any:
    try:
        return factory()
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        raise UserError(f"{text} raised {_raised(error)}; the mistake is in that file or its arguments") from error


def _raised(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


def _is_model(value: Any) -> bool:
    return not isinstance(value, type) and hasattr(value, "spec") and hasattr(value, "module") and callable(value)


def _file(path: Path) -> ModuleType:
    if not path.is_file():
        raise UserError(f"no file {path}; py: takes a path to a Python file, or package.module")
    name = "robustseg_user_" + hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # before execution: dataclasses and pickles of the file look themselves up
    folder = str(path.resolve().parent)
    sys.path.insert(0, folder)  # so that the file may import its neighbours, as it may when it is run
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        if isinstance(error, UserError) or not isinstance(error, Exception | SystemExit):
            raise
        raise UserError(f"{path} raised {_raised(error)} while it was read; correct that file") from error
    finally:
        sys.path.remove(folder)
    return module


def _package(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise UserError(
            f"cannot import {name} ({error}); is it installed, or did you mean py:FILE.py:FACTORY?"
        ) from error
    except (Exception, SystemExit) as error:
        raise UserError(f"{name} raised {_raised(error)} while it was imported; correct that package") from error


def _code(value: Any) -> str:
    if value is None:
        return ""
    try:
        return inspect.getsource(value)
    except (OSError, TypeError):
        return getattr(value, "__qualname__", type(value).__qualname__)


def _device(module: nn.Module) -> torch.device:
    for tensor in (*module.parameters(), *module.buffers()):
        return tensor.device
    return torch.device("cpu")


def _check(module, task, classes, mean, std, order, pixel_range, activation, kind, multiple, size) -> None:
    if not isinstance(module, nn.Module):
        raise UserError(f"wrap wants an nn.Module, not {type(module).__name__}")
    if task not in ("semantic", "universal", WHOLE_IMAGE):
        raise UserError(
            f"task={task!r}: 'semantic', 'universal' (mask classification) and 'classification' can be wrapped"
        )
    if isinstance(classes, str) or len(classes) < (1 if task == "universal" else 2):
        raise UserError("classes= is a list of at least two names (a binary model has a background too)")
    if len(set(classes)) != len(classes):
        twice = next(c for c in classes if list(classes).count(c) > 1)
        raise UserError(f"classes= names {twice!r} twice")
    if len(mean) != len(std) or any(s <= 0 for s in std):
        raise UserError("mean= and std= need as many numbers as the images have channels, std all positive")
    for key, value, allowed in (
        ("channel_order", order, ("rgb", "bgr")),
        ("pixel_range", pixel_range, (1, 255)),
        ("activation", activation, ("softmax", "sigmoid")),
        ("kind", kind, ("logits", "scores")),
    ):
        if value not in allowed:
            raise UserError(f"{key}={value!r}; wanted {' or '.join(map(repr, allowed))}")
    if pixel_range == 1 and max(mean) > 1.5:
        raise UserError(f"mean={tuple(mean)} belongs to pixels 0..255; say pixel_range=255, or divide by 255")
    if pixel_range == 255 and any(mean) and max(mean) <= 1:
        raise UserError(f"mean={tuple(mean)} belongs to pixels 0..1 but pixel_range=255; multiply mean and std by 255")
    if multiple < 1 or (size is not None and (len(size) != 2 or min(size) < 1)):
        raise UserError(f"multiple={multiple}, size={size}: wanted a positive number and (H, W)")
