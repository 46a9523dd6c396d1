"""An operator at a terminal: keys in, text out, through a real tmux of the test's own."""

import os
import secrets
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from tests.fakes.process import environment
from tests.packaging.node import eventually


@dataclass
class Desk:
    """One window of `columns` x `rows` in which `command` runs; `folder` holds the socket."""

    folder: Path
    command: tuple[str, ...]
    columns: int = 80
    rows: int = 24
    name: str = field(default_factory=lambda: f"gcp-{secrets.token_hex(3)}")

    def __enter__(self) -> "Desk":
        self._tmux("new-session", "-d", "-x", str(self.columns), "-y", str(self.rows), *self.command)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if error is not None:
            error.add_note(self.screen())
        self._tmux("kill-server", check=False)

    def press(self, *keys: str) -> None:
        """Keys by their names in tmux: Enter, Tab, x."""
        self._tmux("send-keys", *keys)

    def type(self, text: str) -> None:
        """Characters, as they are."""
        self._tmux("send-keys", "-l", text)

    def screen(self) -> str:
        """What the operator sees."""
        return self._tmux("capture-pane", "-p", check=False)

    def sees(self, *texts: str, seconds: float = 30) -> str:
        """Wait until all of these are on the screen; it."""
        for _ in eventually(f"the screen shows {texts}", seconds, self.screen):
            screen = self.screen()
            if all(text in screen for text in texts):
                return screen
        raise AssertionError

    def _tmux(self, *words: str, check: bool = True) -> str:
        # A server of its own: nobody else's windows, and gone with its last one.
        done = subprocess.run(
            ["tmux", "-S", str(self.folder / self.name), "-f", os.devnull, *words],
            env={**environment(), "TERM": "xterm-256color", "LC_ALL": "C.UTF-8"},
            capture_output=True, text=True, timeout=20, check=False,
        )  # fmt: skip
        assert not check or done.returncode == 0, f"{words}: {done.stderr}"
        return done.stdout
