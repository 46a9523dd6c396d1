"""A session of a real agent as it went over its socket, simulated faults included: what mutants are made from."""

import socket
import subprocess
import sys
import time
from pathlib import Path

from tests.soak import mutants

SPEED = 20  # the fault of the scenario comes after half a minute of its time


def capture(folder: Path, seconds: float) -> bytes:
    """What an honest cockpit hears in so many seconds from a simulated host on which a GPU falls off the bus."""
    words = ["sim", "up", "--dir", folder / "sim", "--hosts", "1", "--gpus", "8", "--speed", SPEED]
    words += ["--scenario", "xid79-falls-off-bus", "--seed", "7"]
    with (folder / "sim.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "agent", *map(str, words)], stdout=log, stderr=log)
    try:
        end = time.monotonic() + 15
        while "READY" not in (folder / "sim.log").read_text():
            assert process.poll() is None, (folder / "sim.log").read_text()
            assert time.monotonic() < end
            time.sleep(0.02)
        (path,) = (folder / "sim").glob("gpu-*.sock")
        return hear(path, seconds)
    finally:
        process.terminate()
        process.wait(10)


def hear(path: Path, seconds: float) -> bytes:
    """All bytes of a session that asks for everything and stays so long."""
    heard = bytearray()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
        link.connect(str(path))
        link.sendall(mutants.opening())
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            link.settimeout(left)
            try:
                heard += link.recv(65536)
            except TimeoutError:
                break
    return bytes(heard)
