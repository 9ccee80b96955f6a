"""The doctor: can this model be attacked and scored at all, or would the numbers mean nothing?"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from robustseg.errors import UserError
from robustseg.models import probes, segment_check
from robustseg.models.faults import Fault
from robustseg.models.findings import EXPLAINED, Finding, failed, render
from robustseg.models.heads import semantic
from robustseg.models.prepare import extent
from robustseg.models.variants import variants
from robustseg.ops.size import WHOLE_IMAGE
from robustseg.ops.state import frozen
from robustseg.types import DataSet, Model, Output, Sample

__all__ = ["EXPLAINED", "Finding", "diagnose", "failed", "glance", "render"]

LABELS = 64  # images whose accuracy is looked at where an image has one label only
BETTER = 0.05  # by how much of aAcc another preparation must win to be named; twice as much is an error


def diagnose(model: Model, dataset: DataSet, *, limit: int = 4, table: Tensor | None = None) -> list[Finding]:
    """What is wrong with ``model`` on ``limit`` images spread over ``dataset``; an empty list for a healthy one.

    The network is run in the mode it is in (a factory that left it in train mode is found out) and left exactly as it
    was. Each finding is named once, with the first image that shows it. ``table``: model index of every data class, -1
    where it does not count; by default classes are matched by name, without case, spaces, "_" and "-". Raises
    `UserError` for images that break the contract. After the self-diagnosis of AutoAttack (Croce & Hein 2020, "flags").
    """
    n = len(dataset)
    if n == 0 or limit < 1:
        raise UserError(f"{dataset.ref}: no image to examine")
    samples = [dataset[i] for i in _spread(n, limit)]
    found: dict[str, Finding] = {}

    def note(findings: Iterable[Finding], where: str = "") -> None:
        for f in findings:
            found.setdefault(f.name, Finding(f.name, f.level, f"{where}{f.message}"))

    segments = model.spec.task in segment_check.SEGMENTS
    if table is None and model.spec.task == "prompted":
        table = torch.arange(len(dataset.classes))  # it knows no classes
    elif table is None:
        needed = segment_check.countable(dataset).tolist() if segments else [True] * len(dataset.classes)
        table = _table(model.spec.classes, dataset.classes, needed, note)
    device = getattr(model, "device", None) or next((p.device for p in model.module.parameters()), torch.device("cpu"))
    scored: list[tuple[Tensor, Tensor]] = []
    sought: list[tuple[Tensor, Tensor, Tensor]] = []
    modes = [(m, m.training) for m in model.module.modules()]
    with frozen(model.module):
        for m, training in modes:  # not eval: what was left in train mode is to be found out
            m.training = training
        for sample in samples:
            image = sample.image[None].to(device)
            call: Callable[[Tensor], Output] = model
            if segments:
                masks, names = segment_check.objects(sample, dataset, table)
                call = segment_check.asked(model, masks)
            try:
                note(_examine(call, model.module, image), f"{sample.id}: ")
            except Fault as fault:
                note([Finding(fault.finding, "error", str(fault))], f"{sample.id}: ")
                continue
            except UserError:
                raise
            except Exception as error:
                note([Finding("forward-failed", "error", _reason(error))], f"{sample.id}: ")
                continue
            if segments:
                sought.append((image, masks, names))
            elif sample.labels is not None:
                note(_labels(sample.labels, len(dataset.classes), dataset.ignore), f"{sample.id}: ")
                scored.append((image, _translated(sample.labels, table, dataset.ignore)))
        if scored and "label-range" not in found:
            if model.spec.task == WHOLE_IMAGE:  # four labels say nothing
                scored = [_labelled(dataset[i], table, dataset.ignore, device) for i in _spread(n, LABELS)]
            note(_accuracy(model, scored, len(model.spec.classes)))
        if sought and not failed(list(found.values())):
            note(segment_check.accuracy(model, sought))
    return list(found.values())


def _spread(n: int, number: int) -> list[int]:
    """Positions of so many of n images, the first and the last among them."""
    return sorted({round(k * (n - 1) / max(number - 1, 1)) for k in range(number)})


def _labelled(sample: Sample, table: Tensor, ignore: int, device: torch.device) -> tuple[Tensor, Tensor]:
    labels = torch.full((1, 1), ignore) if sample.labels is None else sample.labels
    return sample.image[None].to(device), _translated(labels, table, ignore)


def glance(model: Model, image: Tensor) -> list[Finding]:
    """The cheapest probes, three forwards of ``image (1,C,H,W)``: probabilities called logits, random output.

    Faults of the model itself are left to whoever runs it. The network is left as it was.
    """
    with frozen(model.module), torch.no_grad():
        try:
            call = segment_check.asked(model, torch.zeros(0, *image.shape[-2:], dtype=torch.bool))
            return [*probes.probabilities(call(image)), *probes.repeats(call, image)]
        except Exception:
            return []


def _examine(call: Callable[[Tensor], Output], module: torch.nn.Module, x: Tensor) -> Iterator[Finding]:
    buffers = [(name, b, b.clone()) for name, b in module.named_buffers()]
    with torch.no_grad():
        output = call(x)
    changed = [name for name, now, before in buffers if not torch.equal(now, before)]
    if changed:
        yield Finding("state-changed", "error", f"a forward pass changes {', '.join(changed[:3])}; module.eval()")
    bad = [1 - t.isfinite().float().mean().item() for t in probes.tensors_of(output)]
    if any(bad):
        yield Finding("not-finite-output", "error", f"{max(bad):.2%} of the output is NaN or infinite")
        return
    if probes.one_hot(output):
        raise Fault("argmaxed-output", "every pixel has one score 1 and else 0; return the scores before the argmax")
    yield from probes.probabilities(output)
    random = list(probes.repeats(call, x))
    yield from random
    if not any(f.level == "error" for f in random):
        yield from probes.batches(call, x)
    yield from probes.gradients(call, x)


def _accuracy(model: Model, scored: list[tuple[Tensor, Tensor]], classes: int) -> Iterator[Finding]:
    confusion = _confusion(model, scored, classes)
    if not confusion.sum():
        return
    right = _share(confusion)
    best, name = right, ""
    for description, variant in variants(model):
        share = _share(_confusion(variant, scored, classes))
        if share > best:
            best, name = share, description
    majority = confusion.sum(1).max().item() / confusion.sum().item()
    whole = model.spec.task == WHOLE_IMAGE
    unit = "images" if whole else "pixels"
    # of few labels a share is known to 1 / (2 sqrt n) at best, and the best of many preparations is partly luck
    margin = max(BETTER, 1.5 / confusion.sum().item() ** 0.5) if whole else BETTER
    if best > right + margin:
        worse = right <= majority or best > right + 2 * BETTER
        yield Finding(
            "clean-accuracy-low",
            "error" if worse else "warning",
            f"{right:.1%} of the {unit} are right, but with {name} it would be {best:.1%}: wrong preprocessing",
        )
    elif right <= majority and _miou(confusion) <= majority / max(int((confusion.sum(1) > 0).sum()), 1) + BETTER:
        yield Finding(
            "clean-accuracy-low",
            "error",
            f"{right:.1%} of the {unit} are right; always answering one class gets {majority:.1%}: wrong weights, "
            "class order or preprocessing",
        )


def _confusion(call: Callable[[Tensor], Output], scored: list[tuple[Tensor, Tensor]], classes: int) -> Tensor:
    """Rows are the truth, columns the prediction; pixels labelled -1 do not count."""
    total = torch.zeros(classes, classes, dtype=torch.int64)
    with torch.no_grad():
        for image, labels in scored:
            scores = semantic(call(image), extent(labels)).scores
            prediction = scores.argmax(1)[0].cpu()
            counts = labels >= 0
            total += torch.bincount(labels[counts] * classes + prediction[counts], minlength=classes**2).view(
                classes, -1
            )
    return total


def _share(confusion: Tensor) -> float:
    return (confusion.diag().sum() / confusion.sum()).item()


def _miou(confusion: Tensor) -> float:
    union = confusion.sum(0) + confusion.sum(1) - confusion.diag()
    present = confusion.sum(1) > 0
    return (confusion.diag()[present] / union[present]).mean().item()


def _labels(labels: Tensor, classes: int, ignore: int) -> Iterator[Finding]:
    strange = labels[(labels != ignore) & ((labels < 0) | (labels >= classes))].unique().tolist()
    if strange:
        shown = ", ".join(map(str, strange[:5])) + (", …" if len(strange) > 5 else "")
        yield Finding(
            "label-range", "error", f"labels {shown} are neither a class (0..{classes - 1}) nor ignored ({ignore})"
        )


def _table(model: tuple[str, ...], data: tuple[str, ...], needed: list[bool], note: Any) -> Tensor:
    """Data-set index to model index by class name; -1 where the model has no such class, bad if it is ``needed``."""
    places = {_key(name): i for i, name in enumerate(model)}
    table = torch.tensor([places.get(_key(name), -1) for name in data])
    missing = [name for name, must in zip(data, needed) if must and _key(name) not in places]
    if missing:
        shown = ", ".join(missing[:4]) + (", …" if len(missing) > 4 else "")
        text = f"the model has no class {shown}; rename the model's classes or give a class map"
        note([Finding("class-names", "error", text)])
        if len(missing) == len(data) == len(model):
            return torch.arange(len(data))  # same number, other names: most likely the same order
    return table


def _key(name: str) -> str:
    return re.sub(r"[\s_-]+", "", name).casefold()


def _translated(labels: Tensor, table: Tensor, ignore: int) -> Tensor:
    labels = labels.cpu().long()
    inside = (labels != ignore) & (labels >= 0) & (labels < len(table))
    return torch.where(inside, table[labels.clamp(0, len(table) - 1)], -1)


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return f"{type(error).__name__}: {text[:200]} (does the network need multiple= or size=?)"
