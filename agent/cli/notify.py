"""What systemd is told: ready, alive, how things are, about to stop. Without NOTIFY_SOCKET nobody is told anything.

The protocol is one datagram of KEY=VALUE lines (sd_notify(3)). Being told is never worth waiting for: a full or missing
socket costs one message.
"""

import os
import socket
from collections.abc import MutableMapping

STATUS_EVERY_S = 10.0


class Notifier:
    """`every_s`: how often `alive` has to be said, 0.0 if nobody counts on it."""

    def __init__(self, environ: MutableMapping[str, str]) -> None:
        """Take the settings out of `environ`, so that no child passes itself off as us."""
        self.every_s = _watchdog(environ)
        self._address = environ.pop("NOTIFY_SOCKET", "")
        self._socket: socket.socket | None = None
        if self._address[:1] in ("/", "@"):
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket.setblocking(False)

    @property
    def listens(self) -> bool:
        """Whether anybody is told."""
        return self._socket is not None

    def ready(self, status: str) -> None:
        """Cockpits are answered from now on."""
        self._tell("READY=1", f"STATUS={status}")

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._tell(f"STATUS={text}")

    def alive(self) -> None:
        """The loop turns."""
        if self.every_s:
            self._tell("WATCHDOG=1")

    def stopping(self) -> None:
        """The end has begun."""
        self._tell("STOPPING=1", "STATUS=stopping")

    def close(self) -> None:
        """Nothing more will be told."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _tell(self, *lines: str) -> None:
        if self._socket is None:
            return
        address = f"\0{self._address[1:]}" if self._address[0] == "@" else self._address
        text = "\n".join(line.replace("\n", " ") for line in lines)
        try:
            self._socket.sendto(text.encode("utf-8", "replace"), address)
        except OSError:
            pass


def _watchdog(environ: MutableMapping[str, str]) -> float:
    """Half of what systemd grants, as sd_watchdog_enabled(3) advises."""
    micros, pid = environ.pop("WATCHDOG_USEC", ""), environ.pop("WATCHDOG_PID", "")
    if not micros.isdigit() or (pid and pid != str(os.getpid())):
        return 0.0
    return int(micros) / 2e6
