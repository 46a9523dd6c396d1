"""Runs as the service, in its sandbox (ExecStartPost), and writes what it could do and what it was refused as JSON.

Standard library only: the node runs it with its own Python. Every entry is `ok` or the name of the error.
"""

import ctypes
import errno
import json
import mmap
import os
import socket
import subprocess
import sys
from collections.abc import Callable

LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWUSER, CLONE_NEWNS = 0x10000000, 0x00020000


def attempt(does: Callable[[], object]) -> str:
    try:
        does()
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error))
    return "ok"


def write(path: str) -> Callable[[], object]:
    def does() -> None:
        with open(path, "w") as file:
            file.write("x")
        os.unlink(path)

    return does


def read(path: str) -> Callable[[], object]:
    def does() -> None:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        os.read(descriptor, 8192)  # less than a whole record of /dev/kmsg would be refused

    return does


def device(path: str, flags: int) -> Callable[[], object]:
    return lambda: os.close(os.open(path, flags | os.O_NONBLOCK))


def call(name: str, *arguments: object) -> Callable[[], object]:
    def does() -> None:
        if getattr(LIBC, name)(*arguments):
            raise OSError(ctypes.get_errno(), name)

    return does


def executable_memory() -> None:
    try:
        mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC).close()
    except PermissionError as error:
        raise OSError(error.errno, "mmap") from None


def set_user_id_file() -> None:
    path = "/var/lib/gpu-cockpit/suid"
    with open(path, "w"):
        pass
    try:
        os.chmod(path, 0o4755)
    finally:
        os.unlink(path)


def main() -> int:
    report = {
        "kmsg.read": attempt(read("/dev/kmsg")),
        "kmsg.write": attempt(device("/dev/kmsg", os.O_WRONLY)),
        "nvidia0": attempt(device("/dev/nvidia0", os.O_RDWR)),
        "nvidiactl": attempt(device("/dev/nvidiactl", os.O_RDWR)),
        "mem": attempt(device("/dev/mem", os.O_RDONLY)),
        "environ": attempt(read("/proc/1/environ")),
        "fds": attempt(lambda: os.listdir("/proc/1/fd")),
        "cmdline": attempt(read("/proc/1/cmdline")),
        "shadow": attempt(read("/etc/shadow")),
        "home": attempt(lambda: os.listdir("/root")),
        "kill": attempt(lambda: os.kill(1, 0)),
        "setuid": attempt(lambda: os.setuid(0)),
        "chown": attempt(lambda: os.chown("/etc/hostname", os.getuid(), -1)),
        "mknod": attempt(lambda: os.mknod("/var/lib/gpu-cockpit/node", 0o60600, os.makedev(8, 0))),
        "unshare user": attempt(call("unshare", CLONE_NEWUSER)),
        "unshare mount": attempt(call("unshare", CLONE_NEWNS)),
        "mount": attempt(call("mount", b"none", b"/tmp", b"tmpfs", 0, None)),
        "ptrace": attempt(call("ptrace", 16, 1, None, None)),
        "syslog": attempt(call("klogctl", 5, None, 0)),
        "memory w+x": attempt(executable_memory),
        "setuid bit": attempt(set_user_id_file),
        "packet socket": attempt(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW).close()),
        "netlink socket": attempt(lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW).close()),
        "sysctl": attempt(write("/proc/sys/kernel/hostname")),
        "cgroup": attempt(lambda: os.mkdir("/sys/fs/cgroup/probe")),
    }
    for path in sys.argv[1:]:
        report[f"write {path}"] = attempt(write(f"{path}/probe-{os.getpid()}"))
    unit = ["journalctl", "--lines=1", "--no-pager", "_PID=1"]
    looked = subprocess.run(unit, capture_output=True, text=True, check=False)
    report["journal"] = "ok" if looked.stdout.strip() not in ("", "-- No entries --") else looked.stderr.strip()
    said = subprocess.run(["/usr/local/bin/suid-id", "-u"], capture_output=True, text=True, check=False).stdout
    report["suid program"] = said.strip()
    report["uid"] = str(os.getuid())
    with open("/run/gpu-cockpit/probe.json", "w") as file:
        json.dump(report, file)
    return 0


sys.exit(main())
