"""`gpu-cockpit-agent` and `python -m agent`. The bridge is taken out of the way first: it must not wait for imports."""

import sys


def main() -> int:
    """Run the command line; returns the exit status."""
    words = sys.argv[1:]
    if words[:1] == ["attach"]:
        from agent.cli import attach

        path = attach.socket_of(words[1:])
        if path is not None:
            return attach.bridge(path)
    from agent.cli.main import main as run

    return run(words)


if __name__ == "__main__":
    sys.exit(main())
