"""`once` without the full parser: the NVML worker is started first and works while everything else is imported."""

import gc

from agent.sources.nvml.process import WorkerProcess, spawn


def once(*, as_json: bool) -> int:
    """Look once and print; returns the exit status."""
    worker = _early()
    gc.disable()  # this process ends before it could collect anything worth its time
    from agent.cli.guard import guarded

    def command() -> int:
        from agent.cli.once import run

        return run(as_json=as_json, config=None, early=worker)

    status = guarded(command)
    gc.freeze()  # the interpreter collects once more when it ends, whatever `disable` says
    return status


def _early() -> WorkerProcess | None:
    try:
        return spawn()
    except OSError:  # tried again, and reported, where it can be said well
        return None
