"""A real OpenSSH sshd on loopback with throw-away keys, in front of the unix sockets of a pretended fleet.

One sshd stands for all hosts: each is a login of its own with a forwarded socket of its own, so that what the cockpit
pays for a frame is what it pays in a fleet; how long connecting takes is this one sshd's speed and is not judged.
"""

import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PATH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))
READY_S = 10.0


def installed() -> bool:
    """Whether there is an sshd that this user can run."""
    return all(shutil.which(name, path=PATH) for name in ("sshd", "ssh-keygen"))


@contextmanager
def in_front_of(fleet: Path) -> Iterator[Path]:
    """A fleet file that reaches every host of `fleet` (unix sockets) through sshd; the sshd ends with the block."""
    folder = fleet.parent
    for name in ("host", "id"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    port = _free_port()
    config = folder / "sshd.conf"
    config.write_text(_config(folder, port))
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    sshd = shutil.which("sshd", path=PATH)
    assert sshd is not None
    with (folder / "sshd.log").open("ab") as log:
        process = subprocess.Popen(
            [sshd, "-D", "-e", "-f", str(config)], stdout=log, stderr=log, start_new_session=True
        )
    try:
        _ready(port, process)
        yield _fleet(fleet, folder, port)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(10)


def _config(folder: Path, port: int) -> str:
    lines = [
        f"Port {port}",
        "ListenAddress 127.0.0.1",
        f"HostKey {folder}/host",
        f"AuthorizedKeysFile {folder}/id.pub",
        "PidFile none",
        "UsePAM no",
        "StrictModes no",
        "PasswordAuthentication no",
        "PermitRootLogin prohibit-password",
        "MaxStartups 100:30:200",
        "Subsystem sftp internal-sftp",
    ]
    return "\n".join(lines) + "\n"


def _fleet(fleet: Path, folder: Path, port: int) -> Path:
    known = (folder / "host.pub").read_text().rsplit(" ", 1)[0]
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {known}\n")
    lines = [
        "[defaults]",
        f'identity = "{folder}/id"',
        f'known_hosts = "{folder}/known_hosts"',
        f'user = "{getpass.getuser()}"',
        f"port = {port}",
    ]
    for host in tomllib.loads(fleet.read_text())["host"]:
        socket_path = host["address"].removeprefix("unix://")
        lines += ["[[host]]", f'name = "{host["name"]}"', 'address = "127.0.0.1"', f'socket = "{socket_path}"']
        lines += [f'pool = "{host["pool"]}"', f"gpus = {host['gpus']}"]
    file = folder / "ssh.toml"
    file.write_text("\n".join(lines) + "\n")
    return file


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _ready(port: int, process: "subprocess.Popen[bytes]") -> None:
    end = time.monotonic() + READY_S
    while time.monotonic() < end and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError("the benchmark's sshd does not listen")
