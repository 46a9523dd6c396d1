"""PURE. What the operator's own ssh said before it ended, as a link error: OpenSSH's sentences in, ours out.

Only what came before the login counts as ssh's word: after it a host could write the same.
"""

import re

from cockpit.errors import LinkError
from cockpit.fleet.link_state import LinkState
from cockpit.inventory import Hop, SshTarget
from cockpit.link.asking.prompts import cleaned
from cockpit.link.binary.words import Facts

LOGGED_IN = re.compile(r"Authenticated to .* using |debug1: mux_client_request_session: master session id")
REFUSED_OPEN = re.compile(r"channel \d+: open failed: |open failed: (administratively prohibited|connect failed)")
_NOISE = re.compile(
    r"Authenticated to |Transferred: |Bytes per second: |Pseudo-terminal |Connection to .* closed|Warning: Permanently"
    r"|Connected to |OpenSSH_|auto-mux|Executing proxy|kex_exchange_identification|Killed by signal|^@+$"
    r"|ssh_dispatch_run|debug\d: "
)
_DENIED = re.compile(r"Permission denied|Too many authentication failures|No more authentication methods")
_CHANGED = re.compile(r"REMOTE HOST IDENTIFICATION HAS CHANGED|Host key for .* has changed|REVOKED HOST KEY|is revoked")
_STRANGER = re.compile(r"No .* host key is known for|Host key verification failed|No matching host key fingerprint")
_CONFIG = re.compile(r"Bad configuration option|terminating, \d+ bad configuration|Can't open user config|Bad owner or")
_NAME = re.compile(r"Could not resolve hostname|Name or service not known")
_FORWARDING = re.compile(r"open failed: administratively prohibited|stdio forwarding failed")
_REASONS = (
    ("Connection refused", "refuses the connection: no sshd listens there"),
    ("timed out", "no answer in time"),
    ("No route to host", "no route to it"),
    ("Network is unreachable", "no route to it"),
    ("not responding", "no longer answers"),
)


_ABOUT = re.compile(  # of whom ssh complains: host and port
    r"host key (?:is known )?for (\[[^\]\s]+\]|[^\s:]+)(?::(\d+))? (?:has changed|and you)"
    r"|connect to host (\S+) port (\d+): "
    r"|^\S+@(\S+?)(): Permission denied"
    r"|Could not resolve hostname (\S+)(): ",
    re.IGNORECASE | re.MULTILINE,
)


class Said:
    """stderr of one run, line by line; the newest 200 lines of at most 400 characters each."""

    def __init__(self) -> None:
        self.logged_in = False
        self.refused = False  # the far end of a forward
        self._lines: list[str] = []
        self._rest = ""

    def add(self, data: bytes) -> None:
        """More of it."""
        *lines, rest = (self._rest + data.decode("utf-8", "replace")).split("\n")
        self._rest = rest[-400:]
        for line in lines:
            self._note(line[:400])

    def _note(self, line: str) -> None:
        if self.logged_in:
            self.refused = self.refused or REFUSED_OPEN.search(line) is not None
        self.logged_in = self.logged_in or LOGGED_IN.search(line) is not None
        self._lines = [*self._lines[-199:], line]

    @property
    def text(self) -> str:
        """All of it, for patterns."""
        return "\n".join([*self._lines, self._rest])

    @property
    def last(self) -> str:
        """The last line that means something, harmless."""
        lines = [line for line in cleaned_all([*self._lines, self._rest]) if not _NOISE.search(line)]
        return lines[-1] if lines else ""

    def line(self, pattern: re.Pattern[str]) -> str:
        """The first line that has it, harmless."""
        return next((line for line in cleaned_all([*self._lines, self._rest]) if pattern.search(line)), "")

    @property
    def remote(self) -> str:
        """What a program on the host said."""
        return "\n".join(line for line in [*self._lines, self._rest] if line and not _NOISE.search(line))


def cleaned_all(lines: list[str]) -> list[str]:
    """Lines without control characters, empty ones left out."""
    return [plain for line in lines for plain in cleaned(line)]


def failed(
    target: SshTarget,
    said: Said,
    status: int | None,
    command: str,
    facts: Facts = Facts(),  # noqa: B008 - frozen
) -> LinkError:
    """Why ssh ended before it was logged in; `command` goes the same way by hand, `facts` tells of jumps that only the
    configuration knows."""
    hop, text = _hop(target, said), said.text
    where, name = hop.place, hop.title
    front = hop is not target.hop
    if not front and (elsewhere := _elsewhere(target, said, facts)):
        where, name = elsewhere
        front = True
    gone = LinkState.BASTION_LOST if front else LinkState.UNREACHABLE
    if _CHANGED.search(text):
        says = f"{where}: SECURITY: ssh says that the host key has CHANGED or is revoked"
        return LinkError(LinkState.KEY_CHANGED, says, f"somebody may be in between; look: {command}", name, "key")
    if _STRANGER.search(text):
        says = f"{where}: ssh does not know its host key"
        return LinkError(LinkState.DENIED, says, f"compare and accept it once: {command}", name, "key")
    if _DENIED.search(text):
        words = said.line(_DENIED)
        return LinkError(LinkState.DENIED, f"{where}: {words}", _hint(words, command), name, "authentication")
    if _CONFIG.search(text) or status in (126, 127):
        words = said.line(_CONFIG) or said.last
        return LinkError(LinkState.DENIED, f"{where}: ssh cannot start: {words}", f"try: {command}", name)
    if _NAME.search(text):
        return LinkError(gone, f"{where}: the name cannot be resolved", f"try: {command}", name, "name")
    if _FORWARDING.search(text):
        front_hop = target.jumps[-1] if target.jumps else hop
        says = f"{front_hop.place} does not let us through to {target.hop.host}:{target.hop.port}"
        hint = "look at AllowTcpForwarding and PermitOpen in its sshd_config"
        return LinkError(LinkState.DENIED, says, hint, front_hop.title, "tcp")
    reason = next((ours for theirs, ours in _REASONS if theirs in text), "")
    ended = f"ssh ended with status {status}" if status is not None else "ssh ended"
    words = reason or f"{ended}{f': {said.last}' if said.last else ''}"
    return LinkError(gone, f"{where}: {words}", f"try: {command}", name, "tcp" if reason else "ssh")


def _hop(target: SshTarget, said: Said) -> Hop:
    """Which hop the complaint is about: ssh names the host it talks of."""
    complaints = [line for line in said.text.splitlines() if line.strip() and not _NOISE.search(line)]
    for line in complaints:
        for jump in target.jumps:
            named = rf"(?<![\w.]){re.escape(jump.host)}(?![\w.])"
            port = re.search(r"port (\d+)|\]:(\d+)", line)
            if re.search(named, line) and (port is None or str(jump.port) in port.groups()):
                return jump
    return target.hop


def _elsewhere(target: SshTarget, said: Said, facts: Facts) -> tuple[str, str] | None:
    """Place and name of a jump of the configuration, if the complaint is about one."""
    found = _ABOUT.search("\n".join(line for line in said.text.splitlines() if not _NOISE.search(line)))
    if found is None or not facts.jumped or target.jumps:
        return None
    (named, port) = next((groups for groups in zip(*[iter(found.groups())] * 2, strict=True) if groups[0]), ("", ""))
    host = next(iter(cleaned(named.strip("[]"))), "")
    if not host or host == target.hop.host or host in facts.own:
        return None
    if any(own.rpartition(":")[0] == host and port in (None, own.rpartition(":")[2]) for own in facts.own):
        return None
    address = f"{host}:{port}" if port else host
    return (f"{facts.jump} ({address})", facts.jump) if facts.jump else (address, host)


def _hint(words: str, command: str) -> str:
    if "keyboard-interactive" in words or "password" in words:
        return f"if it wants a code or a password: run it in a terminal and without --batch; try: {command}"
    return f"check the user and that your key is authorized there; try: {command}"
