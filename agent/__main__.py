"""`gpu-cockpit-agent` and `python -m agent`. What must start in milliseconds leaves before the full parser is imported:
the bridge, and `once`, whose NVML worker starts before anything else. Ctrl-c ends quietly, also while importing."""

import sys

INTERRUPTED = 130


def main() -> int:
    """Run the command line; returns the exit status."""
    try:
        return _run()
    except KeyboardInterrupt:
        return INTERRUPTED


def _run() -> int:
    command, *words = sys.argv[1:] or [""]
    if command == "attach":
        from agent.cli import attach

        path = attach.socket_of(words)
        if path is not None:
            return attach.bridge(path)
    if command == "once" and words in ([], ["--json"]):
        from agent.cli import quick

        return quick.once(as_json=bool(words))
    from agent.cli.main import main as run

    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
