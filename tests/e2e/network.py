"""Bastions and targets in network namespaces, each with a real sshd and throw-away keys.

`ops` is where the operator sits; it has no route to the targets but through `bast`, and to the inner ones but through
`bast` and `mid`. Every name carries the run id of
its network, everything is stopped by process id, and `left_behind` says what is still there afterwards.
"""

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.lab import has_command, has_root, require

PORT = 2222
BIN = Path(sys.executable).parent
SSHD = "/usr/sbin/sshd"
READY_S = 15.0


def require_network() -> None:
    """Leave the test out, loudly, where no such network can be made."""
    require("root, iproute2 and openssh-server (network namespaces with a real sshd)", _possible())


def _possible() -> bool:
    if not (has_root() and has_command("ip", "ssh-keygen") and Path(SSHD).exists()):
        return False
    name = f"gcp{secrets.token_hex(3)}"
    made = subprocess.run(["ip", "netns", "add", name], check=False, capture_output=True).returncode == 0
    if made:
        subprocess.run(["ip", "netns", "del", name], check=True)
    return made


def sh(*words: str) -> str:
    """Run to the end, within 10 s; its output."""
    return subprocess.run(words, check=True, capture_output=True, text=True, timeout=10).stdout


def eventually(claim: str, seconds: float = READY_S) -> Iterator[None]:
    """`for _ in eventually("..."):` looks again every 20 ms, and fails when the time is over."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        yield
        time.sleep(0.02)
    raise AssertionError(f"never within {seconds:g} s: {claim}")


@dataclass
class Sshd:
    """One real sshd in one namespace."""

    network: "Network"
    place: str
    address: str
    port: int
    config: Path
    log: Path
    wrap: tuple[str, ...] = ()
    process: subprocess.Popen[bytes] | None = None
    _before: int = 0

    def start(self) -> "Sshd":
        """Listen; returns when it does."""
        self.begin()
        for _ in eventually(f"sshd in {self.place} listens: {self.log.read_text()}"):
            if self.listens:
                break
        return self

    def begin(self) -> None:
        """Start to listen."""
        with self.log.open("ab") as log:
            self._before = log.tell()
            self.process = subprocess.Popen(
                self.network.inside(self.place, *self.wrap, SSHD, "-D", "-e", "-f", str(self.config)),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    @property
    def listens(self) -> bool:
        """Whether it does by now."""
        return b"Server listening" in self.log.read_bytes()[self._before :]

    def stop(self) -> None:
        """End the listener and every session of it."""
        if self.process is None:
            return
        for pid in _descendants(self.process.pid):
            _kill(pid)
        self.process.kill()
        self.process.wait(5)
        self.process = None

    @property
    def logins(self) -> int:
        """How many logins it has accepted."""
        return self.log.read_text().count("Accepted publickey")


@dataclass
class Network:
    """ops - bast - n1, n2 ... and, with `inner` ones, bast - mid - these; `folder` holds keys, configurations and logs.

    `many`: further addresses of the first target, 10.77.4.1 ..., for as many sshds.
    """

    folder: Path
    targets: tuple[str, ...] = ("n1", "n2")
    inner: tuple[str, ...] = ()
    many: int = 0
    run: str = field(default_factory=lambda: secrets.token_hex(3))
    sshds: list[Sshd] = field(default_factory=list)

    def __enter__(self) -> "Network":
        Path("/run/sshd").mkdir(exist_ok=True)
        try:
            self._wire()
            self._keys()
        except BaseException:
            self._unwire()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for sshd in self.sshds:
            sshd.stop()
        self._unwire()
        left = self.left_behind()
        assert not left, f"left behind: {left}"

    def ns(self, place: str) -> str:
        """The namespace's name."""
        return f"gc{self.run}-{place}"

    def inside(self, place: str, *words: str) -> list[str]:
        """The command that runs `words` there; not `ip netns exec`, which would hide /sys."""
        return ["nsenter", f"--net=/run/netns/{self.ns(place)}", *words]

    def address(self, place: str) -> str:
        """Where the others reach it."""
        if place in ("bast", "mid"):
            return {"bast": "10.77.1.1", "mid": "10.77.2.9"}[place]
        if place in self.inner:
            return f"10.77.3.{11 + self.inner.index(place)}"
        return f"10.77.2.{11 + self.targets.index(place)}"

    @property
    def places(self) -> tuple[str, ...]:
        """Every namespace."""
        return ("ops", "bast", *(("mid",) if self.inner else ()), *self.targets, *self.inner)

    def sshd(
        self,
        place: str,
        *more: str,
        port: int = PORT,
        address: str = "",
        matches: Sequence[str] = (),
        wrap: tuple[str, ...] = (),
    ) -> Sshd:
        """A configured sshd; `more` are lines of its configuration, `matches` its Match blocks, `wrap` the command
        that starts it; `address` if it is not the place's own."""
        name = f"{address or place}-{port}"
        address = address or self.address(place)
        config, log = self.folder / f"{name}.conf", self.folder / f"{name}.log"
        config.write_text(
            "\n".join(
                [
                    *more,  # sshd takes the first value of a keyword
                    f"Port {port}",
                    f"ListenAddress {address}",
                    f"HostKey {self.folder / place}",
                    f"AuthorizedKeysFile {self.folder / 'oncall.pub'}",
                    "PidFile none",
                    "UsePAM no",  # pam_limits cannot raise limits where root lacks CAP_SYS_RESOURCE
                    "StrictModes no",
                    "PasswordAuthentication no",
                    "KbdInteractiveAuthentication no",
                    "PermitRootLogin prohibit-password",
                    "LogLevel VERBOSE",
                    "Subsystem sftp internal-sftp",
                    f"SetEnv PATH={BIN}:/usr/local/bin:/usr/bin:/bin",
                    *matches,
                    "",
                ]
            )
        )
        log.touch()
        sshd = Sshd(self, place, address, port, config, log, wrap)
        self.sshds.append(sshd)
        return sshd

    def known(self, place: str, port: int = PORT, key: str = "", address: str = "") -> str:
        """A line of known_hosts."""
        kind, text, *_ = (self.folder / f"{key or place}.pub").read_text().split()
        return f"[{address or self.address(place)}]:{port} {kind} {text}\n"

    def environment(self) -> dict[str, str]:
        """Of an operator who has nothing but what the fleet file names."""
        kept = {key: value for key, value in os.environ.items() if key in ("PATH", "LANG", "LC_ALL")}
        return {**kept, "HOME": str(self.folder), "XDG_RUNTIME_DIR": str(self.folder), "NO_COLOR": "1"}

    def operator(self, *words: str, timeout_s: float = 30.0) -> subprocess.CompletedProcess[str]:
        """Run a command of ours where the operator sits."""
        return subprocess.run(
            self.inside("ops", str(BIN / words[0]), *words[1:]),
            check=False,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            env=self.environment(),
            cwd=self.folder,
        )

    def cut(self, place: str) -> None:
        """Unplug a target, or the bastion from the operator."""
        self._plug(place, "down")

    def mend(self, place: str) -> None:
        """Plug it in again."""
        self._plug(place, "up")

    def _plug(self, place: str, state: str) -> None:
        device = "e0" if place == "bast" else f"v{place}"
        sh("ip", "-n", self.ns("bast"), "link", "set", device, state)

    def left_behind(self) -> list[str]:
        """Namespaces and processes that carry this run's id or folder."""
        left = [line for line in sh("ip", "netns", "list").splitlines() if f"gc{self.run}-" in line]
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                words = _command(entry)
                if f"gc{self.run}-" in words or (SSHD in words and str(self.folder) in words):
                    left.append(f"{entry.name}: {words}")
        return left

    def _wire(self) -> None:
        for place in self.places:
            sh("ip", "netns", "add", self.ns(place))
            sh("ip", "-n", self.ns(place), "link", "set", "lo", "up")
        ops, bast = self.ns("ops"), self.ns("bast")
        sh("ip", "link", "add", "o0", "netns", ops, "type", "veth", "peer", "name", "e0", "netns", bast)
        self._up("ops", "o0", "10.77.1.2/24")
        self._up("bast", "e0", "10.77.1.1/24")
        self._behind("bast", "10.77.2.1/24", ("mid", *self.targets) if self.inner else self.targets)
        if self.inner:
            self._behind("mid", "10.77.3.1/24", self.inner)
        if self.many:
            self._add_many()

    def _behind(self, place: str, address: str, others: tuple[str, ...]) -> None:
        """A bridge in `place` with everybody who can be reached only from there."""
        name = self.ns(place)
        sh("ip", "-n", name, "link", "add", "br0", "type", "bridge")
        self._up(place, "br0", address)
        for other in others:
            ends = ("veth", "peer", "name", f"v{other}", "netns", name)
            sh("ip", "link", "add", "e0", "netns", self.ns(other), "type", *ends)
            sh("ip", "-n", name, "link", "set", f"v{other}", "master", "br0")
            sh("ip", "-n", name, "link", "set", f"v{other}", "up")
            self._up(other, "e0", f"{self.address(other)}/24")

    def _add_many(self) -> None:
        first = self.ns(self.targets[0])
        lines = [f"addr add 10.77.4.{number}/16 dev e0" for number in range(1, self.many + 1)]
        subprocess.run(["ip", "-n", first, "-batch", "-"], check=True, input="\n".join(lines), text=True, timeout=10)
        sh("ip", "-n", self.ns("bast"), "route", "add", "10.77.4.0/24", "dev", "br0")

    def _up(self, place: str, device: str, address: str) -> None:
        sh("ip", "-n", self.ns(place), "addr", "add", address, "dev", device)
        sh("ip", "-n", self.ns(place), "link", "set", device, "up")

    def _keys(self) -> None:
        for name in (*self.places[1:], "oncall", "stranger"):
            sh("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(self.folder / name))

    def _unwire(self) -> None:
        for place in self.places:
            name = self.ns(place)
            if not Path(f"/run/netns/{name}").exists():
                continue
            for pid in sh("ip", "netns", "pids", name).split():
                _kill(int(pid))
            sh("ip", "netns", "del", name)


def _command(entry: Path) -> str:
    try:
        return (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
    except OSError:
        return ""


def _descendants(pid: int) -> list[int]:
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return []
    found: list[int] = []
    for child in map(int, text.split()):
        found += [*_descendants(child), child]
    return found


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
