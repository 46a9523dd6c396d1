"""Eight small servers that answer like vLLM under load, each a process of its own with a GPU, for the agent to find.

They print a captured exposition whose counters grow. Told so, one never answers again (`hang`), or answers with a
hundred megabytes (`flood`).
"""

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.gpus import end

PAGE = Path(__file__).parent.parent / "tests/data/serving/vllm/02-load-t0.prom"
FLOOD_BYTES = 100 * 1024 * 1024
HANG, FLOOD = signal.SIGUSR1, signal.SIGUSR2
_GROWS = re.compile(
    r"^(vllm:(?:time_to_first_token|inter_token_latency|e2e_request_latency|request_queue_time|iteration_tokens|"
    r"generation_tokens|prompt_tokens)\w*(?:\{[^}]*\})?) ([0-9.e+]+)$"
)


def free_ports(count: int) -> list[int]:
    """Ports of loopback on which nobody listens."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


@contextmanager
def replicas(count: int = 8) -> Iterator[list["subprocess.Popen[bytes]"]]:
    """So many of them, ready to be found."""
    with tempfile.TemporaryDirectory(prefix="gcv", dir="/tmp") as folder:
        program = Path(folder, "vllm")
        root = Path(__file__).parent.parent
        program.write_text(
            f"import sys\nsys.path.insert(0, {str(root)!r})\nfrom benchmarks.replicas import serve\nserve()\n"
        )
        ports = free_ports(count)
        servers = [
            subprocess.Popen([sys.executable, str(program), "serve", "model", "--port", str(port)]) for port in ports
        ]
        try:
            for port in ports:
                _wait(port)
            yield servers
        finally:
            end(servers)


def _wait(port: int) -> None:
    for _ in range(400):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise SystemExit(f"serving_cost: no server came up on port {port}")


def serve() -> None:
    """One server, in its own process: `vllm serve model --port N`."""
    import http.server

    mood = {"now": 0}
    for number in (HANG, FLOOD):
        signal.signal(number, lambda got, _: mood.update(now=got))
    lines = PAGE.read_text().splitlines()
    grows = [(place, found[1], float(found[2])) for place, line in enumerate(lines) if (found := _GROWS.match(line))]
    pages = {
        "/version": b'{"version":"0.32.0"}',
        "/v1/models": b'{"object":"list","data":[{"id":"model","object":"model","owned_by":"vllm"}]}',
        "/health": b"",
    }

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if mood["now"] == HANG:
                time.sleep(3600)
            if mood["now"] == FLOOD:
                self._flood()
                return
            body = pages.get(self.path)
            if self.path == "/metrics":
                steps = int(time.monotonic() * 10)
                for place, name, start in grows:
                    lines[place] = f"{name} {start + steps}"
                body = ("\n".join(lines) + "\n").encode()
            self.send_response(404 if body is None else 200)
            body = b'{"detail":"Not Found"}' if body is None else body
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _flood(self) -> None:
            self.send_response(200)
            self.send_header("Connection", "close")
            self.end_headers()
            block = b"some_metric_or_other 1\n" * 4096
            try:
                for _ in range(FLOOD_BYTES // len(block)):
                    self.wfile.write(block)
            except OSError:
                pass

        def log_message(self, *words: object) -> None:
            pass

    port = int(sys.argv[sys.argv.index("--port") + 1])
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    server.serve_forever()
