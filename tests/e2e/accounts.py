"""Users that exist for one sshd only: its own passwd and group in its own mount namespace, and a bridge they may run.

`viewer`, `locked` and `noisy` are in gpu-cockpit-view, `guest` is not; `locked` has no shell, the shell of `noisy`
talks before it obeys. `folder` can be entered by all of them.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
VIEW_GID = 47110
_SHELLS = {"viewer": "/bin/sh", "guest": "/bin/sh", "locked": "/usr/sbin/nologin", "noisy": "{folder}/noisy-shell"}
_BRIDGE = """#!/bin/sh
exec /usr/bin/python3 -I -S -c '
import sys
sys.path.insert(0, "{folder}")
from agent.__main__ import main
sys.exit(main())' "$@"
"""
_PARTS = ("__init__.py", "__main__.py", "cli/__init__.py", "cli/attach.py")  # all that the bridge consists of
_PRIVATE = 'mount --bind "$0/passwd" /etc/passwd && mount --bind "$0/group" /etc/group && exec "$@"'


@dataclass(frozen=True)
class Accounts:
    """The users, and where their bridge is."""

    folder: Path

    @property
    def bin(self) -> Path:
        """What a PATH needs so that the bridge is found."""
        return self.folder / "bin"

    @property
    def wrap(self) -> tuple[str, ...]:
        """What starts a program that sees these users."""
        return ("unshare", "--mount", "--propagation", "private", "sh", "-c", _PRIVATE, str(self.folder))

    def share(self, socket: Path) -> None:
        """Give a socket to the group, as the agent's package does."""
        os.chown(socket, 0, VIEW_GID)
        socket.chmod(0o660)


@contextmanager
def accounts() -> Iterator[Accounts]:
    """Made in a folder under /tmp that everybody may enter; removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="gcp-"))
    folder.chmod(0o755)
    try:
        _users(folder)
        _bridge(folder)
        yield Accounts(folder)
    finally:
        shutil.rmtree(folder)


def _users(folder: Path) -> None:
    passwd, group = Path("/etc/passwd").read_text(), Path("/etc/group").read_text()
    for number, (name, shell) in enumerate(_SHELLS.items(), 47111):
        passwd += f"{name}:x:{number}:{number}::{folder}:{shell.format(folder=folder)}\n"
        group += f"{name}:x:{number}:\n"
    group += f"gpu-cockpit-view:x:{VIEW_GID}:viewer,locked,noisy\n"
    (folder / "passwd").write_text(passwd)
    (folder / "group").write_text(group)
    noisy = folder / "noisy-shell"
    noisy.write_text('#!/bin/sh\necho "*** Welcome to gpu-07, maintenance on Sunday ***"\nexec /bin/sh "$@"\n')
    noisy.chmod(0o755)


def _bridge(folder: Path) -> None:
    for part in _PARTS:
        copy = folder / "agent" / part
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / "agent" / part, copy)
    command = folder / "bin" / "gpu-cockpit-agent"
    command.parent.mkdir()
    command.write_text(_BRIDGE.format(folder=folder))
    command.chmod(0o755)
