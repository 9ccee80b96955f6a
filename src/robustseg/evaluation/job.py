"""What a command asks for, made definite: model, mapped data, attacks with their keys. Nothing is attacked here."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from robustseg import __version__, catalog
from robustseg.catalog import outputs
from robustseg.catalog.together import together
from robustseg.catalog.transfer import transferred
from robustseg.data import load_data
from robustseg.data.resize import parse_size
from robustseg.defenses import zmask
from robustseg.defenses.adaptive import expecting
from robustseg.errors import UserError
from robustseg.evaluation import asked, fitting, key, masks
from robustseg.evaluation.batches import Shard, parse_shard
from robustseg.evaluation.device import choose
from robustseg.evaluation.guard import Guard
from robustseg.evaluation.matching import Item, Mapped, class_map_digest, index
from robustseg.ops.size import WHOLE_IMAGE
from robustseg.types import DataSet, Model

__all__ = ["Job", "Planned", "Team", "definite", "definite_members", "versions"]

Tick = Callable[[str, int, int], None]  # what is being done, how much of it, of how much


@dataclass(frozen=True)
class Planned:
    """One attack of a run: the callable, its canonical spec, its key and where it may write."""

    attack: Any
    spec: str
    key: str
    config: dict[str, Any]
    region: masks.Mask | None = None


@dataclass(frozen=True)
class Job:
    """All that the run loop needs. ``items``: the images asked for, before any shard; ``tasks``: what is scored."""

    model: Model
    data: Mapped
    items: list[Item]
    attacks: list[Planned]
    ensembles: dict[str, list[str]]
    clean_config: dict[str, Any]
    clean_key: str
    device: torch.device
    seed: int
    eight_bit: bool
    early_stop: bool
    shard: Shard | None
    tasks: tuple[str, ...] = ("semantic",)
    info: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Team:
    """The models that are attacked with one perturbation, and which of them this job is about."""

    models: tuple[Model, ...]
    at: int
    last: dict[str, Any]


def versions() -> dict[str, str]:
    """What the numbers were made with."""
    found = {"robustseg": __version__, "python": platform.python_version(), "platform": platform.platform()}
    for name in ("torch", "torchvision", "transformers", "segmentation-models-pytorch", "numpy"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def definite(
    model: str | Model,
    data: str | DataSet,
    attacks: Any,
    *,
    out: str | Path,
    eps: str | float | Sequence[str | float] | None = None,
    limit: int | None = None,
    seed: int = 0,
    device: str = "auto",
    resize: str | tuple[int, int] | None = None,
    fit_data: str | DataSet | None = None,
    region: str | None = None,
    count: str | None = None,
    class_map: Mapping[str, str] | str | Path | None = None,
    eight_bit: bool = False,
    early_stop: bool = True,
    shard: str | Shard | None = None,
    window: int | None = None,
    task: str | Sequence[str] | None = None,
    source: str | Model | None = None,
    eot: str | None = None,
    eot_samples: int | None = None,
    defense: str | None = None,
    adaptive: str = "auto",
    baseline: bool = True,
    team: Team | None = None,
    tick: Tick | None = None,
) -> Job:
    """Resolve references, expand ensembles and radii, fit artefacts, compute keys. See :func:`robustseg.evaluate`."""
    tell = tick or (lambda *_: None)
    seed = asked.whole(seed, "seed")
    limit = None if limit is None else asked.whole(limit, "limit")
    if seed < 0:
        raise UserError(f"seed={seed} is negative; use a whole number from 0 on")
    guard = Guard.of(defense, adaptive, eot, eot_samples)  # the cheap mistakes come first
    survive = asked.survival(eot, None if guard.samples else eot_samples)
    wanted = asked.attacks(attacks, eps, region, baseline, survive)
    shard = parse_shard(shard) if isinstance(shard, str) else shard
    size = parse_size(resize) if isinstance(resize, str) else resize
    dataset = load_data(data, resize=size) if isinstance(data, str) else data
    if size is not None and not isinstance(data, str) and getattr(data, "size", None) != tuple(size):
        raise UserError("resize= needs a data reference; give load_data(REF, resize=...) the size instead")
    bare, where = _model(model, device, window)
    surrogate = bare if guard.unaware and team is None else None
    surrogate = surrogate if source is None else _model(source, device, window)[0]
    tasks = asked.tasks(task, bare.spec, dataset)
    mapped = Mapped.of(dataset, bare.spec, class_map)
    asked.countable(task, tasks, mapped)
    if (count := count or asked.outside(wanted)) is not None:
        mapped = replace(mapped, count=masks.mask(count, mapped))
    if limit is not None and limit < 1:
        raise UserError(f"--limit {limit} leaves no image; use 1 or more")
    number = min(len(dataset), limit or len(dataset))
    if number == 0:
        raise UserError(f"data {dataset.ref} holds no image")
    items = index(dataset, number, lambda done, of: tell("reading images", done, of))
    if guard.calibrates:
        other = fitting.fit_data(fit_data, dataset, size, "--defense zmask", zmask.KIND)
        seen = Mapped.of(other, bare.spec, class_map)
        tell("calibrating zmask", 0, 1)
        guard = guard.knowing(fitting.fit(fitting.Calibration(), bare, seen, items, 0, Path(out) / "artefacts"))
    network = guard.around(bare)
    clean = key.clean_config(
        model=network.spec.digest,
        data=dataset.digest(),
        task=",".join(tasks),
        resize=size,
        count=masks.canonical(count),
        class_map=class_map_digest(class_map),
        draws=seed if outputs.randoms(network) else None,
    )
    planned: dict[str, Planned] = {}
    ensembles: dict[str, list[str]] = {}
    artefacts: dict[str, catalog.Artefact] = {}

    def ready(attack: Any, whole: Any) -> Any:
        if not getattr(attack, "needs_fit", False) or getattr(attack, "artefact", None) is not None:
            return attack
        name = fitting.fit_name(attack)
        if name not in artefacts:
            other = fitting.fit_data(fit_data, dataset, size, whole.name, fitting.fit_name(attack))
            seen = Mapped.of(other, network.spec, class_map)
            artefacts[name] = fitting.fit(
                attack, network, seen, items, seed, Path(out) / "artefacts",
                lambda done, of: tell(f"fitting {attack.name}", done, of), guard.mode(network),
            )  # fmt: skip
        return attack.with_artefact(artefacts[name])

    for whole in wanted:
        members = catalog.expand(whole) if isinstance(whole, catalog.Attack) else [whole]
        for one in members:  # what cannot be made is refused before anything is fitted or run
            if isinstance(one, catalog.Attack) and one.function is None and one.name != "noise":
                outputs.view(one.entry, surrogate or network, one.given)
        if surrogate is not None:
            members = [_from(m, surrogate, network) for m in members]
        if team is not None:
            members = [_with(m, team) for m in members]
        fitted = [ready(m, whole) for m in members]
        for one in fitted:
            one, mode = expecting(one, surrogate or network), guard.mode(network)
            plan = _plan(one, clean, seed, region, eight_bit, early_stop, mapped, mode)
            if planned.setdefault(plan.spec, plan).key != plan.key:
                raise UserError(f"two different attacks are both called {plan.spec}; run them into separate folders")
        if len(fitted) > 1:
            composed = whole.spec if surrogate is None else f"{whole.spec},source={surrogate.spec.ref}"
            ensembles[composed] = [one.spec for one in fitted]
    info = {
        "model": network.spec.ref,
        "data": dataset.ref,
        "task": network.spec.task,
        "source": None if source is None or surrogate is None else surrogate.spec.ref,
        **guard.info,
        **({} if guard.learned is None else {"calibrated": fitting.about(guard.learned)}),
        "models": None if team is None else [m.spec.ref for m in team.models],
        "member": None if team is None else team.at,
        "tasks": list(tasks),
        "things": list(mapped.things),
        "classes": list(network.spec.classes),
        "seed": seed,
        "resize": list(size) if size else None,
        "window": window,
        "region": region,
        "regions": {p.spec: _where(p.attack, region) for p in planned.values()},
        "count": count,
        "class_map": dict(class_map) if isinstance(class_map, Mapping) else str(class_map) if class_map else None,
        "fit_data": fit_data if isinstance(fit_data, str) or fit_data is None else fit_data.ref,
        "eps": asked.radii(eps),
        "eight_bit": eight_bit,
        "early_stop": early_stop,
        "shard": f"{shard[0]}/{shard[1]}" if shard else None,
        "versions": versions(),
        "artefacts": {
            p.spec: fitting.about(p.attack.artefact) for p in planned.values() if getattr(p.attack, "artefact", None)
        },
    }
    return Job(
        network, mapped, items, list(planned.values()), ensembles, clean, key.run_key(clean), where, seed, eight_bit,
        early_stop, shard, tasks, info,
    )  # fmt: skip


def definite_members(
    models: Sequence[str | Model],
    data: str | DataSet,
    attacks: Any,
    *,
    out: str | Path,
    device: str = "auto",
    resize: str | tuple[int, int] | None = None,
    window: int | None = None,
    source: str | Model | None = None,
    defense: str | None = None,
    adaptive: str = "auto",
    **options: Any,
) -> list[Job]:
    """A job for each of several models, whose attacks are made on all of them at once; see :func:`definite`."""
    if source is not None:
        raise UserError("--source makes attacks on another model; with several --model they are made on these")
    guard = Guard.of(defense, adaptive, options.get("eot"), options.get("eot_samples"))
    if guard.calibrates:
        raise UserError("--defense zmask is calibrated for one model at a time; attack them one by one")
    networks = tuple(_model(m, device, window)[0] for m in models)
    attacked = tuple(guard.attacked(m) for m in networks)
    size = parse_size(resize) if isinstance(resize, str) else resize
    dataset = load_data(data, resize=size) if isinstance(data, str) else data
    last: dict[str, Any] = {}
    return [
        definite(m, dataset, attacks, out=out, device=device, resize=size, window=window, defense=defense,
                 adaptive=adaptive, team=Team(attacked, at, last), **options)
        for at, m in enumerate(networks)
    ]  # fmt: skip


def _from(attack: Any, source: Model, victim: Model) -> Any:
    """The attack as made on ``source``; noise looks at no model, and a user's own attack decides for itself."""
    if not isinstance(attack, catalog.Attack) or attack.name == "noise":
        return attack
    return transferred(attack, source, victim)


def _with(attack: Any, team: Team) -> Any:
    """The attack on the whole team; noise looks at no model. Raises UserError for a user's own attack object."""
    if not isinstance(attack, catalog.Attack):
        raise UserError(f"{attack.spec} is an attack object of your own, which can attack one model only")
    return attack if attack.name == "noise" else together(attack, team.models, team.at, team.last)


def _model(model: str | Model, device: str, window: int | None) -> tuple[Model, torch.device]:
    if isinstance(model, str):
        from robustseg.models import load_model

        where = choose(device)
        return load_model(model, device=str(where), window=window), where
    if not hasattr(model, "spec"):
        raise UserError(f"a bare {type(model).__name__} is no model; wrap it: robustseg.wrap(module, classes=[...])")
    where = getattr(model, "device", torch.device("cpu")) if device == "auto" else choose(device)
    mover = getattr(model, "to", None)
    return (mover(where) if mover and device != "auto" else model), torch.device(where)


def _plan(attack: Any, clean: Mapping[str, Any], seed: int, region: str | None, eight_bit: bool, early_stop: bool,
          data: Mapped, adaptive: str | None) -> Planned:  # fmt: skip
    where = _where(attack, region)
    artefact = getattr(attack, "artefact", None)
    config = key.attack_config(
        clean,
        spec=attack.spec,
        version=attack.version,
        eps=attack.eps,
        norm=attack.norm,
        reference=attack.reference,
        seed=seed,
        region=masks.canonical(where),
        eight_bit=eight_bit,
        early_stop=early_stop,
        artefact=artefact.digest if artefact else None,
        code=getattr(attack, "code", None) or None,
        options=_options(attack),
        adaptive=adaptive,
    )
    mask = masks.mask(where, data, whole_images=WHOLE_IMAGE in data.tasks) if where else None
    return Planned(attack, attack.spec, key.run_key(config), config, mask)


def _where(attack: Any, region: str | None) -> str | None:
    """Where an attack may write: its own region, else that of the run."""
    return getattr(attack, "region", None) or region


def _options(attack: Any) -> dict[str, Any] | None:
    """All options of a catalog attack, defaults too, so that a changed default is another key; files by content."""
    params = getattr(attack, "params", None)
    if params is None:
        return None
    files = ("target", "region", "file", "generator", "fashion")
    return {k: masks.canonical(v) if k in files else v for k, v in sorted(params.items())}
