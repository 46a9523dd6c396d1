"""PURE. What engines offer themselves to be paused and resumed, and what each makes of a SIGTERM.

Seen on running engines (vLLM 0.32, SGLang 0.5.23, Triton 2.51, MLServer 1.7, Dynamo 1.6) unless a line says otherwise;
who is not in the table is said to have none, with what to do instead.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
INSTEAD = "take it out at its load balancer, wait until nothing is in flight, then engine.drain ends it"


class NoCall(Exception):
    """The engine has no such call; the sentence says so and what to do instead."""


@dataclass(frozen=True, slots=True)
class Call:
    """One POST to the engine. `effect` says what becomes of requests; `absent` what it means that the engine does not
    know the path."""

    path: str
    body: bytes = b""
    effect: str = ""
    absent: str = ""

    def words(self, url: str) -> str:
        """As a person would type it."""
        return f"POST {url}{self.path}" + (f" {self.body.decode()}" if self.body not in (b"", b"{}") else "")


@dataclass(frozen=True, slots=True)
class Native:
    """`pause(mode, model)` and `resume(model)` raise NoCall. `by_model`: it rests one model at a time."""

    pause: Callable[[str, str], Call]
    resume: Callable[[str], Call]
    by_model: bool = False


_DEV = "it runs without development mode (VLLM_SERVER_DEV_MODE=1)"
_VLLM_EFFECT = {
    "wait": "requests in flight end first; new ones hang until it is resumed",
    "keep": "requests in flight are frozen where they are, and new ones hang until it is resumed",
    "abort": "requests in flight are aborted, and new ones hang until it is resumed",
}
_SGLANG_MODE = {"keep": "in_place", "abort": "abort"}
_EXPLICIT = "it runs without --model-control-mode explicit"


def _vllm_pause(mode: str, model: str) -> Call:
    del model
    return Call(f"/pause?mode={mode}", b"", _VLLM_EFFECT[mode], _DEV)


def _vllm_resume(model: str) -> Call:
    del model
    return Call("/resume", b"", "it takes up what waits", _DEV)


def _sglang_pause(mode: str, model: str) -> Call:
    del model
    if mode == "wait":
        raise NoCall(f"SGLang cannot wait for what is in flight: take mode keep or abort, or {INSTEAD}")
    kept = "frozen where they are" if mode == "keep" else "aborted"
    says = (
        f"requests in flight are {kept}; its health page fails after 20 s, and a SIGTERM while it is paused truncates"
    )
    body = json.dumps({"mode": _SGLANG_MODE[mode]}).encode()
    return Call("/pause_generation", body, says, "this version has no such call")


def _sglang_resume(model: str) -> Call:
    del model
    return Call("/continue_generation", b"{}", "it takes up what waits", "this version has no such call")


def _unload(mode: str, model: str) -> Call:
    if mode != "wait":
        raise NoCall(f"a model that is unloaded finishes what is in flight, it cannot {mode} it: take mode wait")
    says = f"new requests for {_named(model)} are refused, those in flight end, then its memory is free"
    return Call(f"/v2/repository/models/{model}/unload", b"{}", says, _EXPLICIT)


def _load(model: str) -> Call:
    says = f"{_named(model)} is loaded anew, which takes as long as its start; its counters begin at 0"
    return Call(f"/v2/repository/models/{model}/load", b"{}", says, _EXPLICIT)


def _named(model: str) -> str:
    if not MODEL.fullmatch(model):
        raise NoCall(f"{model[:64]!r} is not the name of a model of a repository; say which with model=NAME")
    return model


NATIVES: Mapping[str, Native] = {
    "vllm": Native(_vllm_pause, _vllm_resume),
    "sglang": Native(_sglang_pause, _sglang_resume),
    "triton": Native(_unload, _load, by_model=True),
    "mlserver": Native(_unload, _load, by_model=True),
}
_NONE: Mapping[str, str] = {
    "ray-serve": "Ray Serve cannot pause a replica: lower num_replicas in its configuration, and never use serve "
    "shutdown, which cuts requests",
    "ollama": "Ollama cannot be paused: it unloads a model by a request with keep_alive 0",
    "dynamo": "Dynamo's frontend cannot be paused: end its workers one by one, each leaves its discovery first",
}


def native(engine: str, carrier: str) -> Native:
    """What this engine offers.

    Raises:
        NoCall: nothing.
    """
    if carrier and carrier != engine:
        raise NoCall(f"{engine} runs inside {carrier} here, which does not pass such calls on: {INSTEAD}")
    found = NATIVES.get(engine)
    if found is None:
        raise NoCall(_NONE.get(engine, f"{engine or 'this engine'} has no call that pauses it: {INSTEAD}"))
    return found


# What an engine makes of a SIGTERM: (whether it finishes what is in flight, what an operator should know).
TERM: Mapping[str, tuple[bool, str]] = {
    "vllm": (
        False,
        "vLLM aborts what is in flight at SIGTERM unless it was started with --shutdown-timeout N, and may linger "
        "until its clients hang up: wait until nothing is in flight first",
    ),
    "sglang": (True, "SGLang finishes what it has, without an end of its own, and still takes new requests meanwhile"),
    "triton": (True, "Triton closes its port at once and finishes what it has within --exit-timeout-secs (30)"),
    "tgi": (True, "TGI finishes open requests within 90 s"),
    "mlserver": (True, "MLServer closes its port at once and finishes what it has"),
    "kserve": (True, "such servers close their port at once and finish what they have"),
    "dynamo": (True, "Dynamo leaves its discovery at once and finishes what it has"),
    "dynamo-worker": (True, "a Dynamo worker leaves its discovery at once and finishes what it has within 30 s"),
    "llamacpp": (False, "llama.cpp cuts its connections at SIGTERM: wait until nothing is in flight first"),
    "ray-serve": (False, "Ray's proxy ends before its requests do: lower num_replicas instead"),
}


def term(engine: str, carrier: str) -> tuple[bool, str]:
    """What it makes of a SIGTERM, as far as is known."""
    found = TERM.get(carrier) or TERM.get(engine)
    return found or (
        False,
        "nobody has watched what this engine does at SIGTERM: wait until nothing is in flight first",
    )
