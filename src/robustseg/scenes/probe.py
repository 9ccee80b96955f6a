"""Which Mitsuba variant works here. A bad LLVM aborts the whole process, so a child process tries it."""

from __future__ import annotations

import functools
import glob
import hashlib
import importlib.util
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

from robustseg.errors import UserError

TRIAL = (
    "import mitsuba as mi; mi.set_variant('llvm_ad_rgb'); import numpy as np;"
    "print('mean', float(np.array(mi.render(mi.load_dict(mi.cornell_box()), spp=1)).mean()) > 0)"
)
SLOW = "no LLVM that works with mitsuba (LLVM 15 and 16 abort it): rendering without, slowly; apt install libllvm19"
PATTERNS = (
    "/usr/lib/*/libLLVM*.so*",
    "/usr/lib/libLLVM*.so*",
    "/usr/lib/llvm-*/lib/libLLVM*.so*",
    "/usr/local/lib/libLLVM*.so*",
)


@functools.cache
def load():
    """The mitsuba module with its variant set: llvm_ad_rgb where that works, else scalar_rgb.

    Raises UserError when mitsuba is not installed.
    """
    require()
    variant, library = choose()
    if library:
        os.environ["DRJIT_LIBLLVM_PATH"] = library
    else:
        warnings.warn(SLOW, stacklevel=2)
    import mitsuba as mi

    mi.set_variant(variant)
    if variant.startswith("llvm"):
        import drjit as dr

        dr.set_thread_count(1)  # sums in a fixed order; we run one process per core instead
    return mi


def require() -> None:
    """Raises UserError when mitsuba cannot be imported."""
    if importlib.util.find_spec("mitsuba") is None:
        raise UserError('the street renderer needs mitsuba; run: pip install "robustseg[scenes]"')


def choose(cache: Path | None = None, timeout: float = 90.0) -> tuple[str, str | None]:
    """Variant and the LLVM library to load for it; the answer is remembered per machine in a cache file."""
    found = candidates()
    path = (cache or cache_dir()) / f"mitsuba-{_fingerprint(found)}.json"
    try:
        known = json.loads(path.read_text())
        return known["variant"], known["library"]
    except (OSError, ValueError, KeyError):
        pass
    answer = next((("llvm_ad_rgb", lib) for lib in found if works(lib, timeout)), ("scalar_rgb", None))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as f:
            json.dump({"variant": answer[0], "library": answer[1]}, f)
        os.replace(f.name, path)
    except OSError:
        pass  # a read-only home only costs the next process a second
    return answer


def candidates() -> list[str]:
    """LLVM libraries on this machine, newest first; DRJIT_LIBLLVM_PATH overrides the search."""
    if os.environ.get("DRJIT_LIBLLVM_PATH"):
        return [os.environ["DRJIT_LIBLLVM_PATH"]]
    files = {os.path.realpath(f) for p in PATTERNS for f in glob.glob(p)}
    version = lambda f: int((re.search(r"(?:libLLVM-|\.so\.)(\d+)", f) or [0, 0])[1])  # noqa: E731
    return sorted(files, key=lambda f: (-version(f), f))


def works(library: str, timeout: float = 90.0) -> bool:
    """Whether a child process can render one small picture with this LLVM."""
    env = {**os.environ, "DRJIT_LIBLLVM_PATH": library}
    try:
        run = subprocess.run([sys.executable, "-c", TRIAL], env=env, capture_output=True, text=True, timeout=timeout)
    except (subprocess.TimeoutExpired, OSError):
        return False
    return run.returncode == 0 and "mean True" in run.stdout


def cache_dir() -> Path:
    """Where per-machine answers are kept: $ROBUSTSEG_CACHE, else $XDG_CACHE_HOME or ~/.cache, /robustseg."""
    own = os.environ.get("ROBUSTSEG_CACHE")
    return Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "robustseg"


def _fingerprint(found: list[str]) -> str:
    spec = importlib.util.find_spec("mitsuba")
    stamp = [platform.node(), platform.machine(), sys.version, str(spec and spec.origin)]
    for f in found:
        stat = os.stat(f) if os.path.exists(f) else None
        stamp.append(f"{f}:{stat.st_size if stat else 0}:{int(stat.st_mtime) if stat else 0}")
    return hashlib.sha256("|".join(stamp).encode()).hexdigest()[:16]
