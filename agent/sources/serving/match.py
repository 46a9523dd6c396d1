"""Which `[[serving]]` table speaks of which process group, and how its port is to be asked. PURE but for the token's
file: a token is read at each use of it, and goes to nobody but the owner that its table names."""

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from agent.config.serving import Serving
from agent.sources.serving.client import Endpoint
from agent.sources.serving.landscape import Group, Listener

TOKEN_BYTES = 16 * 1024
_OTHERS = stat.S_IRWXO | stat.S_IWGRP
_VISIBLE = range(0x21, 0x7F)


class TokenTrouble(Exception):
    """Why a token does not go out, as one sentence."""


def speaks_of(table: Serving, group: Group, listener: Listener | None, engine: str = "") -> bool:
    """Whether all that the table names agrees with this group. Of one with a token the port alone decides: user and
    unit are what the token asks for, and whoever is somebody else there is to be told."""
    if table.port and (listener is None or table.port != listener.port):
        return False
    if table.address and listener is not None and table.address != listener.address and not _local(table, listener):
        return False
    is_asked = table.token_file is None
    if is_asked and table.unit and table.unit != group.unit:
        return False
    if is_asked and table.user and table.user not in (group.user, str(group.uid)):
        return False
    return not table.engine or not engine or table.engine == engine


def _local(table: Serving, listener: Listener) -> bool:
    """A listener on all addresses is asked over loopback, whatever address the table names."""
    return listener.local and (table.address.startswith("127.") or table.address == "::1")


def table_for(tables: Iterable[Serving], group: Group, listener: Listener | None, engine: str = "") -> Serving | None:
    """The first table that speaks of this group. One that names an engine waits until that is known."""
    for table in tables:
        if table.engine and not table.port and not engine:
            continue
        if speaks_of(table, group, listener, engine):
            return table
    return None


def endpoint(listener: Listener, table: Serving | None, port: int = 0) -> Endpoint:
    """Where to ask, without a token."""
    if table is None or (port and port != listener.port):
        return Endpoint(listener.address, port or listener.port)
    return Endpoint(
        listener.address, listener.port, tls=table.tls, server_name=table.server_name, ca_file=table.ca_file
    )


def token(table: Serving, group: Group, listener: Listener) -> str:
    """The token of this table, if the listener is whose it says.

    Raises:
        TokenTrouble: it is not, or the file is not to be trusted.
    """
    assert table.token_file is not None
    owner = f"uid {listener.uid}" if listener.uid >= 0 else "an unknown user"
    if not group.processes or listener.uid < 0 or listener.uid != group.uid or not _is_user(table.user, group):
        says = f"the token of {table.place} stays here: port {listener.port} belongs to {owner}, not to {table.user}"
        raise TokenTrouble(says)
    if not listener.local:
        says = f"the token of {table.place} stays here: {listener.address} is a container's, and others may take it"
        raise TokenTrouble(says)
    if group.unit != table.unit:
        unit = group.unit or "no unit"
        says = f"the token of {table.place} stays here: port {listener.port} belongs to {unit}, not to {table.unit}"
        raise TokenTrouble(says)
    return read_token(table.token_file)


def _is_user(user: str, group: Group) -> bool:
    return user == str(group.uid) or (bool(group.user) and user == group.user)


def read_token(file: Path) -> str:
    """The token in a file that root or the agent owns and others cannot read.

    Raises:
        TokenTrouble: it cannot be used.
    """
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(descriptor, "rb") as opened:
            status = os.fstat(descriptor)
            content = opened.read(TOKEN_BYTES + 1)
    except OSError as error:
        raise TokenTrouble(f"{file}: the token cannot be read: {error.strerror or error}") from None
    if not stat.S_ISREG(status.st_mode) or status.st_uid not in (0, os.geteuid()) or status.st_mode & _OTHERS:
        raise TokenTrouble(f"{file}: not used, for it must be root's or the agent's, and closed to others: chmod 0640")
    found = content.decode("ascii", "replace").strip()
    if not found or len(content) > TOKEN_BYTES or any(ord(char) not in _VISIBLE for char in found):
        raise TokenTrouble(f"{file}: not used, for it does not hold one token on one line")
    return found
