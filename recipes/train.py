"""Train one model of the zoo, export and measure it: `python recipes/train.py street-unet`."""

import os
import sys
from pathlib import Path

if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from recipes.command import main

    sys.exit(main())
