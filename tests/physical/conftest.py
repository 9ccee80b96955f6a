"""The models of these tests lie in ``tests/attack_toys.py``; pytest imports tests by file, not by folder."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
