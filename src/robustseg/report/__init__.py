"""Rows and kept pictures to pages and tables. Never imports torch.

``robustseg.report`` is this package *and* a function of the library's face, ``rs.report(DIR)``: importing a submodule
binds the package to the name, so the package itself can be called.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType


class _Report(ModuleType):
    def __call__(self, folder: str | Path) -> Path:
        """Write ``folder/report.html`` and return its path; see ``robustseg.report.page.report``."""
        from robustseg.report.page import report

        return report(folder)


sys.modules[__name__].__class__ = _Report
