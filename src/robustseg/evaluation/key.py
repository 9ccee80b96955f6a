"""The identity of a run: what a number depends on, and nothing else. Standard library only.

In the key: model and data digests, canonical attack spec with eps and code version, seed, dtype, resize, reference,
 region, count, class map, artefact, 8-bit flag, early stop, input defence. Recorded beside it, never in it:
limit, batch size, shard, device.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

__all__ = ["attack_config", "canonical", "clean_config", "run_key"]


def canonical(config: Any) -> str:
    """JSON with sorted keys and no spaces, so that equal configurations are equal texts.

    >>> canonical({"b": 1, "a": [1.5, None]})
    '{"a":[1.5,null],"b":1}'
    """
    return json.dumps(config, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def run_key(config: Mapping[str, Any]) -> str:
    """First 16 hex digits of the SHA-256 of the canonical JSON.

    >>> run_key({"seed": 0}) == run_key({"seed": 1})
    False
    """
    return hashlib.sha256(canonical(config).encode()).hexdigest()[:16]


def clean_config(
    *,
    model: str,
    data: str,
    task: str,
    dtype: str = "float32",
    resize: tuple[int, int] | None = None,
    count: str | None = None,
    class_map: str | None = None,
    draws: int | None = None,
) -> dict[str, Any]:
    """What a clean row depends on: the network, the pixels, and which pixels count; ``draws``: the seed of a network
    that draws at random."""
    return {
        "kind": "clean",
        "schema": 1,
        "model": model,
        "data": data,
        "task": task,
        "dtype": dtype,
        "resize": list(resize) if resize else None,
        "count": count,
        "class_map": class_map,
        **({} if draws is None else {"draws": draws}),
    }


def attack_config(
    clean: Mapping[str, Any],
    *,
    spec: str,
    version: int,
    eps: str | None,
    norm: str | None,
    reference: str,
    seed: int,
    region: str | None = None,
    eight_bit: bool = False,
    early_stop: bool = True,
    artefact: str | None = None,
    code: str | None = None,
    options: Mapping[str, Any] | None = None,
    adaptive: str | None = None,
) -> dict[str, Any]:
    """What an attack row depends on: everything a clean row does, the attack, and the seed.

    ``code`` is the digest of a user's own objective, ``artefact`` that of what the attack was fitted to,
    ``options`` every number of the attack, its defaults too, ``adaptive`` how it meets a defence, where there is one.
    """
    return {
        **clean,
        "kind": "attack",
        "attack": spec,
        "version": version,
        "eps": eps,
        "norm": norm,
        "reference": reference,
        "seed": seed,
        "region": region,
        "eight_bit": eight_bit,
        "early_stop": early_stop,
        "artefact": artefact,
        "code": code,
        "options": dict(options) if options is not None else None,
        **({} if adaptive is None else {"adaptive": adaptive}),
    }
