"""Train one generator of the attack `stealthy`: `python recipes/train_stealthy.py stealthy-vanish --data street:X`."""

import os
import sys
from pathlib import Path

if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from recipes.stealthy_command import main

    sys.exit(main())
