"""``python -m aetherium``."""

from aetherium.cli.main import main

if __name__ == "__main__":
    main()
