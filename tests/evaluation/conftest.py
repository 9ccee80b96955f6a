"""Helpers of this room lie beside the tests: toy (model, data, attack) and fake_store."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(1, str(Path(__file__).resolve().parents[1]))  # region_toys
