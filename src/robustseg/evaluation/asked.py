"""What a caller writes for attacks, radii, batch size and seed, in one form; anything else is one clear line."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Mapping, Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any, cast

from robustseg import catalog
from robustseg.catalog.spec import number, parse
from robustseg.errors import UserError
from robustseg.ops.size import WHOLE_IMAGE
from robustseg.types import DataSet, ModelSpec

if TYPE_CHECKING:
    from robustseg.evaluation.matching import Mapped

__all__ = [
    "at", "attacks", "balls", "batch", "countable", "one_kind", "outside", "radii", "radius", "survival", "surviving",
    "tasks", "whole", "within",
]  # fmt: skip

NEAR = 1e-9


def radii(eps: Any) -> list[str]:
    """``"2/255,8/255"``, a list of texts or numbers, or one number, as texts; None is no radius.

    >>> radii("2/255, 8/255"), radii([2 / 255, "8/255"]), radii(8 / 255), radii(None)
    (['2/255', '8/255'], ['2/255', '8/255'], ['8/255'], [])
    """
    if eps is None:
        return []
    if isinstance(eps, str):
        found = [text.strip() for text in eps.split(",") if text.strip()]
    elif isinstance(eps, Iterable) and not isinstance(eps, dict):
        found = [radius(value) for value in eps]
    else:
        found = [radius(eps)]
    if not found:
        raise UserError("--eps is empty; write e.g. --eps 2/255,4/255,8/255")
    return found


def radius(value: Any) -> str:
    """A radius as text: a number becomes the multiple of 1/255 that it is, else its decimal digits.

    >>> radius(8 / 255), radius(0.03), radius(2), radius("1/4")
    ('8/255', '0.03', '2', '1/4')
    """
    if isinstance(value, str):
        return value.strip()
    if not isinstance(value, Real) or isinstance(value, bool) or not math.isfinite(value):
        raise UserError(f'eps={value!r} is no radius; write e.g. eps=8/255, "8/255" or a list of them')
    number = float(value)
    levels = round(number * 255)
    if number == int(number):
        return str(int(number))
    return f"{levels}/255" if abs(number - levels / 255) <= NEAR else repr(number)


def at(given: Any, texts: Sequence[str]) -> list[catalog.Attack]:
    """The attack at every radius; once where none is given, or where it has no ball and looks for the smallest norm.

    >>> [a.spec for a in at("pgd", ["2/255", "4/255"]) + at("cw-l2", ["2/255", "4/255"])]
    ['pgd:eps=2/255', 'pgd:eps=4/255', 'cw-l2']
    """
    made = catalog.attack(given)
    return [made] if made.minimises else [catalog.attack(given, eps=e) for e in texts or [None]]


def balls(attacks: Sequence[Any]) -> dict[tuple[str, str, str | None], None]:
    """Norm, eps and region of the balls that noise fills beside these attacks, each once, in their order."""
    return {
        (a.norm, a.eps, getattr(a, "region", None)): None
        for a in attacks
        if a.eps is not None and (a.norm == "l2" or (a.norm == "linf" and number(a.eps, "eps") < 1))  # 1: all the box
    }


def batch(size: Any) -> int | str:
    """``"auto"`` or a number from 1 on, also written as text.

    >>> batch("auto"), batch("2"), batch(4)
    ('auto', 2, 4)
    """
    if size == "auto":
        return "auto"
    if isinstance(size, str) and not size.strip().lstrip("-").isdecimal():
        raise UserError(f"batch size {size!r} is neither auto nor a number from 1 on")
    number = whole(int(size) if isinstance(size, str) else size, "batch size")
    if number < 1:
        raise UserError(f"batch size {number} leaves no image; use 1 or more, or auto")
    return number


def whole(value: Any, name: str) -> int:
    """A whole number of any integer type. Raises UserError for anything else.

    >>> whole(3, "seed")
    3
    """
    try:
        if isinstance(value, bool):
            raise TypeError
        return operator.index(value)
    except TypeError:
        raise UserError(f"{name}={value!r} is not a whole number") from None


def one_kind(spec: ModelSpec, data: DataSet) -> None:
    """Raises UserError where a classifier meets labels of pixels, or a segmenter labels of whole images."""
    labelled = WHOLE_IMAGE in getattr(data, "tasks", ("semantic",))
    if labelled == (spec.task == WHOLE_IMAGE):
        return
    if labelled:
        raise UserError(f"data {data.ref} have one label an image, and {spec.ref} labels pixels; choose a classifier")
    raise UserError(
        f"{spec.ref} is a classifier, one label an image, and data {data.ref} have labels of pixels; use e.g. "
        "street-crops:val or imagefolder:PATH"
    )


def survival(eot: str | None, samples: int | None) -> dict[str, Any]:
    """What ``--eot`` and ``--eot-samples`` add to the options of every attack."""
    if eot is None and samples is not None:
        raise UserError(f"--eot-samples {samples} of nothing; say what with --eot, e.g. --eot noise=0.02,jpeg=30-90")
    return {k: v for k, v in {"eot": eot, "eot_samples": samples}.items() if v is not None}


def surviving(attack: Any, eot: Mapping[str, Any]) -> Any:
    """The attack made to survive these transformations; noise, which follows no gradient, stays as it is.

    Raises UserError for an attack that has its own, and for one that is none of the catalog's.
    """
    if not eot:
        return attack
    if not isinstance(attack, catalog.Attack):
        raise UserError(f"--eot does not reach an attack object of your own ({attack.spec}); leave one of the two out")
    if attack.minimises:
        raise UserError(f"--eot does not reach {attack.name}, which looks for the smallest norm on the image as it is; "
                        "leave one of the two out")  # fmt: skip
    if "eot" in attack.entry.refused:
        return attack
    if "eot" in attack.given:
        raise UserError(f"attack {attack.spec!r} has its own eot and --eot is given too; keep one of the two")
    return catalog.attack(attack, **eot)


def outside(wanted: Sequence[Any]) -> str | None:
    """The pixels that patches leave alone, as text: they alone are scored where nothing else was asked for."""
    found = sorted({a.outside for a in wanted if getattr(a, "outside", None)})
    if len(found) > 1:
        raise UserError(
            f"scores are taken outside a patch, and these lie at different places ({', '.join(found)}); run them into "
            "separate folders, or say with --count what is scored"
        )
    return found[0] if found else None


def within(attack: Any, region: str | None) -> Any:
    """The attack in the run's region, where its own is only what its name stands for and nobody wrote it down."""
    chosen = isinstance(attack, catalog.Attack) and attack.region is not None and "region" not in attack.given
    return catalog.attack(attack, region=region) if chosen and region is not None else attack


def tasks(given: str | Sequence[str] | None, spec: ModelSpec, data: DataSet) -> tuple[str, ...]:
    """What is scored: the tasks that were asked for, else all that the model can answer and the data can judge.

    The semantic scores come with every model that knows classes: a map painted from its regions where it has no other.
    Raises UserError for a task that is unknown, or that the model or the data do not have.
    """
    one_kind(spec, data)
    known = ("semantic", "instance", "panoptic", "prompted", WHOLE_IMAGE)
    truth = tuple(getattr(data, "tasks", ("semantic",)))
    if spec.task == "prompted" and ("instance" in truth or "panoptic" in truth):
        truth = (*truth, "prompted")
    possible = tuple(t for t in spec.tasks if t in truth)
    base = () if spec.task in ("prompted", WHOLE_IMAGE) else ("semantic",)
    if given is None or given == "all":
        if not possible and "semantic" not in base:
            raise UserError(f"model {spec.ref} needs objects to ask for; {data.ref} has none")
        return tuple(dict.fromkeys((*base, *possible)))
    wanted = [t for t in map(str.strip, given.split(",")) if t] if isinstance(given, str) else list(given)
    if not wanted:
        raise UserError(f"no task is named; tasks: {', '.join(known)}, or all")
    for name in wanted:
        if name not in known:
            raise UserError(f"unknown task {name!r}; tasks: {', '.join(known)}, or all")
        if name not in spec.tasks and name not in base:
            what = name if name == WHOLE_IMAGE else f"{name} segmentation"
            raise UserError(f"model {spec.ref} gives no {what}; it gives {', '.join(spec.tasks)}")
        if name not in truth:
            raise UserError(f"data {data.ref} has no {name} truth; it has {', '.join(truth)}")
    return tuple(dict.fromkeys((*base, *(t for t in known if t in wanted))))


def countable(given: str | Sequence[str] | None, chosen: Sequence[str], data: Mapped) -> None:
    """Raises UserError where instances were asked for by name and no class is countable: every AP would be empty."""
    if given not in (None, "all") and "instance" in chosen and not any(data.countable):
        raise UserError(
            f"--task instance: no class of {data.ref} is countable to this model; a class map that merges a thing with "
            "stuff makes both stuff"
        )


def attacks(wished: Any, eps: Any, region: str | None, baseline: bool, eot: Mapping[str, Any]) -> list[Any]:
    """Attack objects, one an eps, with the uniform-noise baseline for every norm, eps and region in front."""
    single = isinstance(wished, str) or not isinstance(wished, Iterable)
    texts = radii(eps)
    wanted: list[Any] = []
    for given in cast("list[Any]", [wished] if single else list(wished)):
        is_spec = isinstance(given, str) or (callable(given) and not hasattr(given, "spec"))
        options = parse(given)[1] if isinstance(given, str) else getattr(given, "given", {})
        if texts and "eps" in options:
            name = given if isinstance(given, str) else given.spec
            raise UserError(f"attack {name!r} has its own eps and --eps is given too; keep one of the two")
        if is_spec or isinstance(given, catalog.Attack):
            wanted += [surviving(a, eot) for a in at(given, texts)]
        else:
            wanted.append(surviving(given, eot))  # a user's own attack object
    if not wanted:
        raise UserError("no attack was asked for; give one, e.g. --attack pgd:steps=20")
    wanted = [within(a, region) for a in wanted]
    if not baseline:
        return wanted
    own = next((a for a in wanted if getattr(a, "region", None) not in (None, region)), None)
    if region is not None and own is not None:
        raise UserError(f"attack {own.spec!r} has its own region and --region is given too; keep one of the two")
    noise = [
        catalog.attack("noise", eps=e, **({} if n == "linf" else {"norm": n}), **({"region": r} if r else {}))
        for n, e, r in balls(wanted)
    ]
    first = {b.spec: b for b in (*noise, *(b for a in wanted for b in getattr(a, "baselines", None) or ()))}
    return [*first.values(), *(a for a in wanted if a.spec not in first)]
