"""`gpu-cockpit`. `--version` is answered before anything is imported; ctrl-c ends quietly, also while importing."""

import sys

from cockpit import __version__

INTERRUPTED = 130


def main() -> int:
    """The console script; returns the exit status."""
    try:
        return _run(sys.argv[1:])
    except KeyboardInterrupt:
        return INTERRUPTED


def _run(words: list[str]) -> int:
    if words == ["--version"] and sys.stdout is not None:
        try:
            print(f"gpu-cockpit {__version__}", flush=True)
        except OSError as error:
            from cockpit.cli.main import unwritable

            return unwritable(error)
        return 0
    from cockpit.cli.main import run

    return run(words)


if __name__ == "__main__":
    sys.exit(main())
