"""``python -m robustseg.cli`` is the command ``robustseg`` too."""

from robustseg.cli import main

if __name__ == "__main__":
    main()
