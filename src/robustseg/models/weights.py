"""Weights come in as tensors and nothing else: safetensors, or a pickle that is allowed to hold tensors only."""

from __future__ import annotations

import pickle
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from robustseg.errors import UserError

__all__ = ["complain", "fill", "load", "refusal"]

LARGEST = 16 * 2**30  # bytes; ViT-giant segmenters have about 6 GiB
WRAPPERS = ("state_dict", "model_state_dict", "model", "model_state", "weights", "net")
HARMLESS = ("num_batches_tracked", "position_ids", "relative_position_index")  # derived, never learnt


def load(path: str | Path) -> dict[str, Tensor]:
    """The named tensors of a weights file. No code of the file is ever executed.

    Accepts safetensors and PyTorch files; a checkpoint that wraps its state dict (``{"model": ...}``) and names
    from data-parallel training (``module.``) are understood. Raises `UserError` with the reason otherwise.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"no weights file {path}")
    if path.stat().st_size == 0:
        raise UserError(f"weights file {path} is empty (0 bytes); fetch it again")
    if path.stat().st_size > LARGEST:
        raise UserError(f"weights file {path} has {path.stat().st_size / 2**30:.1f} GiB; more than is ever needed")
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(path)
        except (SafetensorError, OSError, ValueError) as error:
            raise UserError(f"{path} is not a readable safetensors file ({_line(error)}); fetch it again") from error
    return _state(_unpickled(path), path)


def _unpickled(path: Path) -> Any:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if sum(info.file_size for info in archive.infolist()) > LARGEST:
                raise UserError(f"{path} unpacks to more than {LARGEST // 2**30} GiB; refused")
            if any("/code/" in name for name in archive.namelist()):
                raise UserError(f"{path} is a TorchScript archive (code, not weights); save module.state_dict()")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise refusal(path, error) from error
    except (RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        raise UserError(f"{path} is not a readable weights file ({_line(error)}); fetch it again") from error


def refusal(source: str | Path, error: BaseException) -> UserError:
    """Why a pickle is not loaded."""
    return UserError(
        f"{source} is refused: it is a pickle that wants to run {_culprit(str(error))}, and loading it would execute "
        "that; save only the tensors: safetensors.torch.save_file(module.state_dict(), FILE)"
    )


def _culprit(text: str) -> str:
    for marker in ("Unsupported global: GLOBAL ", "Unsupported class "):
        if marker in text:
            return text.split(marker, 1)[1].split()[0]
    return f"more than tensors need ({text.splitlines()[0][:120]})" if text.strip() else "code"


def _line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160]


def _state(value: Any, path: Path) -> dict[str, Tensor]:
    for key in WRAPPERS:
        if isinstance(value, Mapping) and isinstance(value.get(key), Mapping):
            value = value[key]
    if not isinstance(value, Mapping) or not value:
        raise UserError(f"{path} holds a {type(value).__name__}, not a state dict; save module.state_dict()")
    strange = [str(k) for k, v in value.items() if not (isinstance(k, str) and isinstance(v, Tensor))]
    if strange:
        raise UserError(f"{path} is no state dict: {', '.join(strange[:3])} is not a tensor; save module.state_dict()")
    prefix = "module."
    if all(k.startswith(prefix) for k in value):
        return {k.removeprefix(prefix): v for k, v in value.items()}
    return dict(value)


def fill(module: nn.Module, state: Mapping[str, Tensor], source: str | Path) -> None:
    """Load every tensor into ``module``, in its own precision; raise `UserError` naming whatever does not fit."""
    own = module.state_dict()
    state = {k: v for k, v in state.items() if k in own or not k.endswith(HARMLESS)}
    missing = [k for k in own if k not in state and not k.endswith(HARMLESS)]
    complain(
        source,
        missing=missing,
        unexpected=[k for k in state if k not in own],
        mismatched=[
            f"{k} {tuple(v.shape)} instead of {tuple(own[k].shape)}"
            for k, v in state.items()
            if k in own and v.shape != own[k].shape
        ],
    )
    module.load_state_dict(dict(state), strict=False)


def complain(source: str | Path, **groups: list[str]) -> None:
    """One `UserError` that names the first keys of every non-empty group."""
    parts = [
        f"{len(keys)} {name} ({', '.join(sorted(keys)[:3])}{', …' if len(keys) > 3 else ''})"
        for name, keys in groups.items()
        if keys
    ]
    if parts:
        raise UserError(f"the weights of {source} do not fit the network: {'; '.join(parts)}; wrong configuration?")
