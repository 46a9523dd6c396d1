"""A real dockerd of the test's own: its state in a tmpfs, no network, one image made of busybox, no registry asked.

What it makes on this machine (control groups, mounts, processes) carries its run id and is gone afterwards.
"""

import io
import json
import secrets
import shutil
import signal
import subprocess
import tarfile
import time
from pathlib import Path
from typing import Any

from tests.lab import has_command, has_root, require

BUSYBOX = Path("/bin/busybox")
APPLETS = ("sh", "sleep", "cat", "touch", "rm", "test", "true", "kill")
IMAGE = "lab/engine:0"
POLITE = "#!/bin/sh\ntrap 'echo draining; sleep 0.3; echo bye; exit 0' TERM\necho up\nwhile :; do sleep 0.05; done\n"
STUBBORN = "#!/bin/sh\ntrap 'echo no' TERM\necho up\nwhile :; do sleep 0.05; done\n"
BRIEF = "#!/bin/sh\necho up\nsleep 0.5\nexit 3\n"
SCRIPTS = {"polite.sh": POLITE, "stubborn.sh": STUBBORN, "brief.sh": BRIEF}
READY_S = 20.0
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


def require_dockerd() -> None:
    """Leave the test out, loudly, where no dockerd can be started."""
    there = has_root() and has_command("dockerd", "docker", "containerd", "runc") and BUSYBOX.exists()
    require("root, docker.io and busybox-static (a dockerd of its own)", there)


class Dockerd:
    """`with Dockerd() as docker:`; `docker.run(...)` starts containers."""

    def __init__(self) -> None:
        self.run_id = f"gcd{secrets.token_hex(3)}"
        self.folder = Path("/dev/shm") / self.run_id
        self.socket = self.folder / "d.sock"
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Dockerd":
        self.folder.mkdir(mode=0o700)
        try:
            self._start()
            self._image()
        except BaseException:
            self._clear()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._clear()
        left = self.left_behind()
        assert not left, f"left behind: {left}"

    def cli(self, *words: str, stdin: bytes = b"", check: bool = True) -> str:
        """The docker command, to this daemon; what it said."""
        done = self._docker(*words, stdin=stdin)
        assert not check or done.returncode == 0, f"{words}: {done.stderr.decode()}"
        return (done.stdout + done.stderr).decode()

    def _docker(self, *words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        command = ["docker", "--host", f"unix://{self.socket}", *words]
        env = {"PATH": PATH, "HOME": str(self.folder)}
        return subprocess.run(command, input=stdin, capture_output=True, timeout=30, check=False, env=env)

    def container(self, name: str, *words: str, options: tuple[str, ...] = ()) -> dict[str, Any]:
        """A container that runs; its facts."""
        self.cli("run", "-d", "--name", name, "--network", "none", *options, IMAGE, *words)
        return self.inspect(name)

    def inspect(self, name: str) -> dict[str, Any]:
        """As docker shows it."""
        found: list[dict[str, Any]] = json.loads(self.cli("inspect", name))
        return found[0]

    def until(self, claim: str, name: str, holds: Any, seconds: float = 15.0) -> None:
        """Look again and again until it holds of the container."""
        end = time.monotonic() + seconds
        while not holds(self.inspect(name)):
            assert time.monotonic() < end, f"never: {claim}: {self.inspect(name)['State']}"
            time.sleep(0.05)

    def left_behind(self) -> list[str]:
        """Mounts, control groups and processes that carry the run id."""
        left = [line for line in Path("/proc/self/mounts").read_text().splitlines() if self.run_id in line]
        left += [str(path) for path in _cgroups(self.run_id)]
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    words = (entry / "cmdline").read_bytes()
                except OSError:
                    continue
                if self.run_id.encode() in words:
                    left.append(f"{entry.name}: {words!r}")
        return left

    def _start(self) -> None:
        folder = self.folder
        words = [
            "dockerd", f"--data-root={folder}/data", f"--exec-root={folder}/exec", f"--host=unix://{self.socket}",
            f"--pidfile={folder}/pid", "--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false",
            "--ip-masq=false", "--storage-driver=vfs", "--oom-score-adjust=0", f"--cgroup-parent=/{self.run_id}",
            "--exec-opt=native.cgroupdriver=cgroupfs", f"--config-file={folder}/none.json",
        ]  # fmt: skip
        (folder / "none.json").write_text("{}")
        env = {"PATH": PATH, "HOME": str(folder), "TMPDIR": str(folder)}
        with (folder / "log").open("ab") as log:
            self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env)
        end = time.monotonic() + READY_S
        while self._docker("ps", "-q").returncode != 0:
            lives = time.monotonic() < end and self.process.poll() is None
            assert lives, (folder / "log").read_text()[-2000:]
            time.sleep(0.05)

    def _image(self) -> None:
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as tar:
            pack_image(tar)
        self.cli("import", "--change", 'CMD ["/polite.sh"]', "-", IMAGE, stdin=packed.getvalue())

    def _clear(self) -> None:
        process = self.process
        if process is not None and process.poll() is None:
            names = self.cli("ps", "-aq", check=False).split()
            if names:
                self.cli("rm", "-f", *names, check=False)
            process.send_signal(signal.SIGTERM)  # containerd goes with it
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(5)
        for line in Path("/proc/self/mounts").read_text().splitlines():
            if self.run_id in line:
                subprocess.run(["umount", "-l", line.split()[1]], check=False, capture_output=True)
        for path in sorted(_cgroups(self.run_id), key=lambda path: -len(path.parts)):
            _remove(path)
        shutil.rmtree(self.folder, ignore_errors=True)


def pack_image(tar: tarfile.TarFile) -> None:
    """A root of busybox and the scripts."""
    for name in ("bin", "etc", "tmp", "proc", "sys", "dev", "state"):
        folder = tarfile.TarInfo(name)
        folder.type, folder.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(folder)
    tar.add(BUSYBOX, "bin/busybox")
    for name in APPLETS:
        link = tarfile.TarInfo(f"bin/{name}")
        link.type, link.linkname = tarfile.SYMTYPE, "busybox"
        tar.addfile(link)
    for name, text in SCRIPTS.items():
        script = tarfile.TarInfo(name)
        script.size, script.mode = len(text), 0o755
        tar.addfile(script, io.BytesIO(text.encode()))


def _remove(path: Path) -> None:
    for _ in range(50):
        try:
            path.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(0.02)  # its last process is still ending
        else:
            return


def _cgroups(run_id: str) -> list[Path]:
    found = []
    top = Path("/sys/fs/cgroup")
    for path in (*top.glob(f"*/{run_id}"), top / run_id):
        if path.exists() and path.is_dir():
            found += [path, *(below for below in path.rglob("*") if below.is_dir())]
    return found
