"""A unix socket in front of another one that writes down every byte of both directions."""

import socket
import threading
from pathlib import Path


class Relay:
    """Listens at `path`, speaks to `target`. `heard` is everything that went either way, connection by connection."""

    def __init__(self, path: Path, target: Path) -> None:
        self.path = path
        self._target = target
        self._parts: list[bytearray] = []
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen(64)
        self._open: list[socket.socket] = []
        self._pumps: list[threading.Thread] = []
        self._server = threading.Thread(target=self._serve, daemon=True)
        self._server.start()

    @property
    def heard(self) -> list[bytes]:
        """By connection and direction."""
        return [bytes(part) for part in self._parts]

    def __enter__(self) -> "Relay":
        return self

    def __exit__(self, *_: object) -> None:
        """Nobody new is taken, and whoever still speaks is cut off."""
        for one in (self._listener, *self._open):
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self._server.join(5)
        for pump in self._pumps:
            pump.join(5)
        for one in (self._listener, *self._open):
            one.close()

    def _serve(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._open += [near, far]
            try:
                far.connect(str(self._target))
            except OSError:
                near.shutdown(socket.SHUT_RDWR)
                continue
            for source, sink in ((near, far), (far, near)):
                part = bytearray()
                self._parts.append(part)
                pump = threading.Thread(target=self._pump, args=(source, sink, part), daemon=True)
                self._pumps.append(pump)
                pump.start()

    @staticmethod
    def _pump(source: socket.socket, sink: socket.socket, part: bytearray) -> None:
        try:
            while data := source.recv(65536):
                part += data
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass
