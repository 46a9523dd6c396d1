"""Who may do what: roles by the user the kernel vouches for, from a policy file that root alone can write.

Everybody who reaches the socket may look; root and the agent's own user may do everything; who else may annotate
stands in the file. A file that somebody other than root could have written is ignored, with a reason. Names are looked
up when the file is read, never when somebody connects: a directory service that hangs must not hang a session.
"""

import asyncio
import grp
import os
import pwd
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent.clock import Clock
from agent.sources.base import Reason

LOOK_EVERY_S = 15.0
MAX_BYTES = 256 * 1024
NAMES = 1024
VIEWER, OPERATOR, ADMIN = "viewer", "operator", "admin"
GRANTED = (OPERATOR, ADMIN)  # the roles that the file gives


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is at the other end of a session, as the kernel says."""

    uid: int
    gids: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Policy:
    """What the file says: users and groups by role. `named` are the operators as they are written there."""

    users: dict[str, frozenset[int]] = field(default_factory=dict)
    groups: dict[str, frozenset[int]] = field(default_factory=dict)
    named: tuple[str, ...] = ()

    def role(self, caller: Caller) -> str:
        """The highest role of a caller."""
        if caller.uid in (0, os.geteuid()):
            return ADMIN
        for role in (ADMIN, OPERATOR):
            if caller.uid in self.users.get(role, ()) or caller.gids & self.groups.get(role, frozenset()):
                return role
        return VIEWER


class Wrong(Exception):
    """Why the file is not obeyed."""


class Roles:
    """The policy in `path`, read anew when the file changes."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self.path = path
        self.reasons: tuple[Reason, ...] = ()
        self.policy = Policy()
        self._clock = clock
        self._seen: tuple[int, ...] | None = None
        self._asked = False

    async def run(self) -> None:
        """Look at the file now and then, for ever."""
        while True:
            await asyncio.to_thread(self.look)
            await self._clock.sleep(LOOK_EVERY_S)

    def look(self) -> None:
        """Read the file if it is another one than before. For a thread: names are looked up."""
        mark = _mark(self.path)
        if self._asked and mark == self._seen:
            return
        self._asked, self._seen = True, mark
        try:
            self.policy, unknown = read(self.path) if mark is not None else (Policy(), ())
        except Wrong as wrong:
            self.policy = Policy()
            self.reasons = (_ignored(self.path, str(wrong)),)
        else:
            self.reasons = (_strangers(self.path, unknown),) if unknown else ()

    def role(self, caller: Caller) -> str:
        """viewer, operator or admin."""
        return self.policy.role(caller)

    def may_annotate(self, caller: Caller) -> bool:
        """Whether a caller may write into the journal."""
        return self.role(caller) != VIEWER

    def denial(self, user: str) -> str:
        """Why not, and who could change that."""
        named = ", ".join(self.policy.named[:8])
        others = f"those it names now are {named}" if named else "it names nobody now"
        return (
            f"{user} may look and not annotate here: {self.path} on this host gives the role operator to users and "
            f"%groups under [roles], and {others}; ask its administrator"
        )


def read(path: Path) -> tuple[Policy, tuple[str, ...]]:
    """The policy in `path`, and the names in it that this host does not know.

    Raises:
        Wrong: it is not to be trusted, or makes no sense.
    """
    roles = _table(_content(path))
    users: dict[str, frozenset[int]] = {}
    groups: dict[str, frozenset[int]] = {}
    unknown: list[str] = []
    for role in GRANTED:
        names = roles.get(role, [])
        if not isinstance(names, list) or len(names) > NAMES or not all(isinstance(name, str) for name in names):
            raise Wrong(f'roles.{role} must be a list of at most {NAMES} names, such as ["alice", "%oncall"]')
        found = {name: _number(name) for name in names}
        unknown += [name for name, number in found.items() if number is None]
        known = {name: number for name, number in found.items() if number is not None}
        users[role] = frozenset(number for name, number in known.items() if not name.startswith("%"))
        groups[role] = frozenset(number for name, number in known.items() if name.startswith("%"))
    named = tuple(str(name) for name in roles.get(OPERATOR, []))
    return Policy(users, groups, named), tuple(unknown)


def user_name(uid: int) -> str:
    """The user's name, or its number. For a thread."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _content(path: Path) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        with open(descriptor, "rb") as file:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise Wrong("it is not a regular file")
            if found.st_uid != 0 or stat.S_IMODE(found.st_mode) & 0o022:
                raise Wrong("somebody other than root can write it; chown root, chmod 644")
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise Wrong(f"it cannot be read ({error.strerror or error})") from None
    if len(content) > MAX_BYTES:
        raise Wrong(f"it is larger than {MAX_BYTES} bytes")
    return content


def _table(content: bytes) -> dict[str, Any]:
    import tomllib  # here: most hosts have no policy

    try:
        table = tomllib.loads(content.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise Wrong(f"it is not valid TOML ({error})") from None
    roles = table.get("roles", {})
    if not isinstance(roles, dict) or (strange := [name for name in roles if name not in GRANTED]):
        what = f"unknown role {strange[0][:32]!r}" if isinstance(roles, dict) else "roles is not a table"
        raise Wrong(f"{what}; [roles] knows operator and admin")
    return roles


def _number(name: str) -> int | None:
    try:
        return grp.getgrnam(name[1:]).gr_gid if name.startswith("%") else pwd.getpwnam(name).pw_uid
    except (KeyError, ValueError, OSError):  # a directory service that cannot be asked knows nobody now
        return None


def _mark(path: Path) -> tuple[int, ...] | None:
    """What changes when the file does; None if there is none."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return None
    except OSError:
        return (0,)
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_uid, found.st_mode


def _ignored(path: Path, why: str) -> Reason:
    hint = "until it is corrected, root and the agent's own user alone may annotate"
    return Reason("policy", "policy_ignored", f"{path} is ignored: {why}", hint)


def _strangers(path: Path, names: tuple[str, ...]) -> Reason:
    says = f"{path} names {', '.join(names[:8])}: no such user or group on this host"
    return Reason("policy", "policy_unknown_names", says, "correct the names; the others in it count")
