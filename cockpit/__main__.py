"""`gpu-cockpit`. `--version` is answered before anything is imported."""

import sys

from cockpit import __version__


def main() -> int:
    """The console script; returns the exit status."""
    if sys.argv[1:] == ["--version"]:
        print(f"gpu-cockpit {__version__}")
        return 0
    from cockpit.cli.main import run

    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
