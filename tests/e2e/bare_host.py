"""A GPU host that has an sshd, python3, an unprivileged user, and nothing of ours: not even a place that is shared.

Its /tmp, /var/tmp, /dev/shm, /run/user and home directory are empty file systems of its own, so that whatever is left
behind there can be counted. `libnvidia-ml.so.1` is the C fake.
"""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.network import PORT, Network, Sshd
from tests.fakes.nvml import FakeNvml, build_fake_nvml

USER, UID = "viewer", 47211
WRITABLE = ("/tmp", "/var/tmp", "/dev/shm", "/run/user", "/home")
_LAB = "/mnt"  # where the host sees what it has beyond its system
_MADE = """
set -e
mount -t tmpfs tmpfs {lab}
mkdir -m 0700 {lab}/.folder; mount --bind "$0" {lab}/.folder
cp -r {lab}/.folder/{made}/. {lab}/; chown -R 0:0 {lab}/*; chmod -R go+rX {lab}/*; chmod 0755 {lab}
for place in {writable}; do mount -t tmpfs tmpfs $place; chmod 1777 $place; done
mkdir -p -m 0700 "$0"; mount --bind {lab}/.folder "$0"
mkdir -m 0700 /home/{user} /run/user/{uid}; chown {uid} /home/{user} /run/user/{uid}
mount --bind {lab}/passwd /etc/passwd
touch /run/user/.kmsg; chmod 0600 /run/user/.kmsg; mount --bind /run/user/.kmsg /dev/kmsg
exec "$@"
"""


@dataclass
class BareHost:
    """`sshd` listens; `tools` is the PATH of the user: python3 and what a shell needs."""

    network: Network
    sshd: Sshd
    before: frozenset[str] = frozenset()

    def processes(self) -> list[int]:
        """Everything that runs as the user, but for what sshd keeps for a connection that it believes in."""
        found = []
        for pid in subprocess.check_output(
            ["ip", "netns", "pids", self.network.ns(self.sshd.place)], text=True
        ).split():
            try:
                if os.stat(f"/proc/{pid}").st_uid == UID and not _command(int(pid)).startswith(b"sshd:"):
                    found.append(int(pid))
            except OSError:
                pass
        return found

    def agents(self) -> list[int]:
        """The temporary agents among them, without what they started."""
        return [pid for pid in self.processes() if b"gpu-cockpit-temporary" in _command(pid).split(b"\0")[-2:]]

    def files(self) -> frozenset[str]:
        """Everything that lies where the user may write."""
        assert self.sshd.process is not None
        root = Path(f"/proc/{self.sshd.process.pid}/root")
        return frozenset(
            str(Path(folder, name).relative_to(root))
            for place in WRITABLE
            for folder, folders, files in os.walk(root / place.lstrip("/"))
            for name in (*folders, *files)
            if not Path(folder).is_relative_to(root / str(self.network.folder).lstrip("/"))
        )

    def left(self) -> tuple[list[int], list[str]]:
        """Processes and files that were not there before."""
        return self.processes(), sorted(self.files() - self.before)


def bare_host(network: Network, place: str, *more: str, gpus: tuple[str, ...] = ()) -> BareHost:
    """Started; `gpus` is the state of the fake, `more` lines of the sshd's configuration."""
    lab = network.folder / f"lab-{place}"
    (lab / "bin").mkdir(parents=True)
    fake = FakeNvml(lab, build_fake_nvml(lab))
    fake.write(gpus)
    for tool in ("python3", "sh"):
        (lab / "bin" / tool).symlink_to(Path("/usr/bin", tool))
    shutil.copy(network.folder / "oncall.pub", lab / "oncall.pub")
    line = f"{USER}:x:{UID}:{UID}::/home/{USER}:/bin/sh\n"
    (lab / "passwd").write_text(Path("/etc/passwd").read_text() + line)
    script = _MADE.format(made=lab.name, writable=" ".join(WRITABLE), lab=_LAB, user=USER, uid=UID)
    settings = f"LD_LIBRARY_PATH={_LAB} FAKE_NVML_STATE={_LAB}/nvml-state XDG_RUNTIME_DIR=/run/user/{UID}"
    sshd = network.sshd(
        place,
        *more,
        f"SetEnv PATH={_LAB}/bin {settings}",
        f"AuthorizedKeysFile {_LAB}/oncall.pub",
        wrap=("unshare", "--mount", "--propagation", "private", "sh", "-c", script, str(network.folder)),
    ).start()
    host = BareHost(network, sshd)
    host.before = host.files()
    return host


def fleet(network: Network, hosts: dict[str, BareHost]) -> Path:
    """The fleet file and known_hosts of an operator who reaches them through the bastion."""
    known = [network.known("bast"), *(network.known(host.sshd.place) for host in hosts.values())]
    (network.folder / "known_hosts").write_text("".join(known))
    lines = [
        f'[defaults]\nuser = "{USER}"\nport = {PORT}\njump = "bast"\nidentity = "oncall"\nknown_hosts = "known_hosts"',
        f'[[jump]]\nname = "bast"\nhost = "{network.address("bast")}"\nport = {PORT}\nuser = "root"',
    ]
    lines += [f'[[host]]\nname = "{name}"\naddress = "{host.sshd.address}"' for name, host in hosts.items()]
    file = network.folder / "bare.toml"
    file.write_text("\n\n".join(lines) + "\n")
    return file


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
