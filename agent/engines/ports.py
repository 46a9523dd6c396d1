"""PURE. On which port an engine serves before anything listens there: what its command line says, else its usual one.

Only a first guess: an answer over HTTP is believed before any port.
"""

import re
from collections.abc import Iterable

FLAGS = ("--port", "--http-port", "--http_port", "--http.port", "--server-port", "--server_port")
USUAL: dict[str, int] = {
    "vllm": 8000,
    "sglang": 30000,
    "triton": 8000,
    "tgi": 3000,
    "llamacpp": 8080,
    "ray-serve": 8000,
    "dynamo": 8000,
    "kserve": 8080,
    "mlserver": 8080,
    "tensorrt-llm": 8000,
    "lmdeploy": 23333,
    "ollama": 11434,
}
_SAID = re.compile(rf"(?:^|\s)(?:{'|'.join(map(re.escape, FLAGS))})[= ](\d{{1,5}})(?:\s|$)")


def stated(argvs: Iterable[tuple[str, ...]]) -> int:
    """The port that the first command line with such an option says; 0 if none does."""
    for argv in argvs:
        found = _SAID.search(" ".join(argv)[:16384])
        if found and 0 < int(found[1]) < 65536:
            return int(found[1])
    return 0


def usual(engine: str) -> int:
    """The port of this engine unless it is told otherwise; 0 if it has none."""
    return USUAL.get(engine, 0)
