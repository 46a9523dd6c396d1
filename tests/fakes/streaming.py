"""An engine as systemd sees one: a root process that takes requests and a worker that makes their tokens.

Run as `python3 streaming.py SOCKET HOW`. It listens on a unix socket and streams a line for each token, then [DONE].
The worker dies of a SIGTERM at once, as those of vLLM do, and a stream that loses its worker is cut. HOW is what the
root makes of its own SIGTERM: `finish` (no new requests, ends after the last stream) or `linger` (keeps its streams
open for ever, as vLLM was seen to do).
"""

import os
import signal
import socket
import sys
import threading
import time

TOKENS = 25
EVERY_S = 0.1


def _work(pipe: int) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    while True:
        os.write(pipe, b"t")
        time.sleep(EVERY_S)


class Engine:
    """The root process."""

    def __init__(self, path: str, how: str) -> None:
        reader, writer = os.pipe()
        self.worker = os.fork()
        if self.worker == 0:
            os.close(reader)
            _work(writer)
        os.close(writer)
        self.lingers = how == "linger"
        self.ending = threading.Event()
        self.streams = 0
        self.ticks = 0
        self.ticked = threading.Condition()
        self.door = socket.socket(socket.AF_UNIX)
        if os.path.exists(path):
            os.unlink(path)
        self.door.bind(path)
        self.door.listen()
        threading.Thread(target=self._hear, args=(reader,), daemon=True).start()
        signal.signal(signal.SIGTERM, lambda number, frame: self.ending.set())

    def run(self) -> None:
        self.door.settimeout(0.05)
        while not self.ending.is_set():
            try:
                client, _ = self.door.accept()
            except TimeoutError:
                continue
            client.settimeout(None)
            with self.ticked:
                self.streams += 1
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()
        self.door.close()
        while self.lingers or self.streams:
            time.sleep(0.02)
        os.kill(self.worker, signal.SIGKILL)

    def _hear(self, pipe: int) -> None:
        while os.read(pipe, 1):
            with self.ticked:
                self.ticks += 1
                self.ticked.notify_all()
        with self.ticked:
            self.ticks = -1  # the worker is gone
            self.ticked.notify_all()

    def _serve(self, client: socket.socket) -> None:
        try:
            for number in range(TOKENS):
                with self.ticked:
                    seen = self.ticks
                    while self.ticks == seen and seen >= 0:
                        self.ticked.wait()
                    if self.ticks < 0:
                        return
                client.sendall(f"token {number}\n".encode())
                while self.lingers and self.ending.is_set():
                    time.sleep(1)
            client.sendall(b"[DONE]\n")
        except OSError:
            pass
        finally:
            client.close()
            with self.ticked:
                self.streams -= 1


def stream(path: str) -> list[str]:
    """One request to the end of its stream; its lines."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(60)
        client.connect(path)
        with client.makefile("r") as lines:
            try:
                return [line.strip() for line in lines]
            except OSError:
                return []


if __name__ == "__main__":
    Engine(sys.argv[1], sys.argv[2]).run()
