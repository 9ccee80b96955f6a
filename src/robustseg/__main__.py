"""``python -m robustseg`` is the command ``robustseg``."""

from robustseg.cli import main

if __name__ == "__main__":
    main()
