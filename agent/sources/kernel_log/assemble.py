"""Messages that the kernel or the driver wrote as several records, put together again. PURE: time is handed in.

What could be the beginning of more is held for `HOLD_S` at most, everything else goes through at once.
"""

from dataclasses import dataclass, field, replace

from agent.clock import Instant
from agent.sources.base import RawEvent
from agent.sources.kernel_log.parse import normal, parse_line

HOLD_S = 0.5
RECORDS = 64  # a message never spans more of the log than this
_HEADS = ("NVRM: The NVIDIA GPU", "NVRM: API mismatch")
_ENDS = ("commands.", "fallen off the bus", "not supported by", "requires use of", "same version")
_DRIVER_FRAME = "[nvidia"


@dataclass(slots=True)
class _Held:
    """An event, or the text of one to be, that waits for its next records."""

    event: RawEvent
    text: str = ""
    records: int = RECORDS


@dataclass(slots=True)
class Assembler:
    """Lines in, in the log's order; events out. `oldest` is the lowest record number still held, None without any."""

    _message: _Held | None = None
    _oom: _Held | None = None
    _task: _Held | None = None
    _out: list[RawEvent] = field(default_factory=list)

    @property
    def oldest(self) -> int | None:
        """The lowest cursor among held events."""
        held = [one.event.cursor for one in (self._message, self._oom, self._task) if one is not None]
        return min(held, default=None)

    def feed(self, text: str, at: Instant, *, cursor: int = -1, replayed: bool = False) -> list[RawEvent]:
        """The events that this line completes."""
        if self._message or self._oom or self._task:
            self._age(text)
        event = parse_line(text, at)
        if event is not None:
            self._place(replace(event, cursor=cursor, replayed=replayed), text)
        elif text.find("NVRM: ") in (0, 8) or "NVRM: API" in text or "NVRM: The" in text:
            self._driver_text(text, RawEvent("kernel_log", "driver", at, "", replayed=replayed, cursor=cursor))
        out, self._out = self._out, []
        return out

    def flush(self, mono: float) -> list[RawEvent]:
        """Held events whose time is over at `mono`."""
        for held in (self._message, self._oom, self._task):
            if held is not None and abs(mono - held.event.at.mono) > HOLD_S:
                self._let_go(held)
        out, self._out = self._out, []
        return out

    def _place(self, event: RawEvent, text: str) -> None:
        what = event.data.get("what")
        if event.kind == "oom":
            self._place_oom(event)
        elif what == "hung_task":
            self._place_task(event)
        elif what == "api_mismatch" and "module" not in event.data:
            self._hold_message(event, normal(text))
        else:
            self._out.append(event)

    def _place_oom(self, event: RawEvent) -> None:
        held = self._oom
        if "cgroup" in event.data:  # the killer's account; the kill itself follows
            if held:
                self._let_go(held)
            self._oom = _Held(event)
        elif held and held.event.data["pid"] == event.data["pid"]:
            self._oom = None
            account = {key: held.event.data[key] for key in ("cgroup", "memcg", "scope")}
            self._out.append(replace(event, text=held.event.text, data={**event.data, **account}))
        else:
            self._out.append(event)

    def _place_task(self, event: RawEvent) -> None:
        if self._task:
            self._let_go(self._task)
        if "nvidia" in str(event.data.get("name")):
            self._out.append(_driver_hang(event))
        else:
            self._task = _Held(event)

    def _driver_text(self, text: str, blank: RawEvent) -> None:
        line = normal(text)
        if line.startswith(_HEADS):
            self._hold_message(blank, line)
        elif self._message and line.startswith("NVRM: "):
            held = self._message
            held.text = f"{held.text} {line.removeprefix('NVRM: ').strip()}"
            event = parse_line(held.text, held.event.at)
            if event and not (event.data.get("what") == "api_mismatch" and "module" not in event.data):
                self._message = None
                self._out.append(replace(event, cursor=held.event.cursor, replayed=held.event.replayed))
            elif any(end in held.text for end in _ENDS):
                self._let_go(held)

    def _hold_message(self, event: RawEvent, text: str) -> None:
        if self._message:
            self._let_go(self._message)
        self._message = _Held(event, text)

    def _age(self, text: str) -> None:
        task = self._task
        if task and _DRIVER_FRAME in text:
            self._task = None
            self._out.append(_driver_hang(task.event))
        for held in (self._message, self._oom, self._task):
            if held is not None:
                held.records -= 1
                if held.records <= 0:
                    self._let_go(held)

    def _let_go(self, held: _Held) -> None:
        """Give up waiting: what is already an event goes out as it is, the rest was somebody else's message."""
        if held is self._message:
            self._message = None
        elif held is self._oom:
            self._oom = None
        else:
            self._task = None
        if held.event.data:
            self._out.append(held.event)


def _driver_hang(event: RawEvent) -> RawEvent:
    return replace(event, text=f"{event.text} in the NVIDIA driver", data={**event.data, "driver_hang": True})
