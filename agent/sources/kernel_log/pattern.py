"""How one kind of line is recognised: a needle that is cheap to look for, then a regular expression. PURE.

Named groups of the expression become the event's data; `bus`, `uuid` and `code` become its identity.
"""

import re
from dataclasses import dataclass
from typing import Any

from agent.clock import Instant
from agent.sources.base import RawEvent

WITNESS = "kernel_log"
BUS = r"(?:PCI:)?(?P<bus>[0-9a-fA-F]{4,8}:[0-9a-fA-F]{2}:[0-9a-fA-F]{2})(?:\.[0-9a-fA-F])?"
_NUMBERS = frozenset({"pid", "seconds", "cpu", "count", "limit", "link"})
# What the witness asks for by name: a line that only tells an address, a GPU that was dead at driver load.
_FLAGS: dict[str, dict[str, bool]] = {"identity": {"identity": True}, "dead_at_load": {"boot": True}}
_BUS_ID = re.compile(r"([0-9a-fA-F]{4,8}):([0-9a-fA-F]{2}):([0-9a-fA-F]{2})")


def bus_id(text: str) -> str:
    """Any spelling of a PCI address as `dddd:bb:dd`; empty when there is none in `text`."""
    found = _BUS_ID.search(text)
    if found is None:
        return ""
    domain = found[1].lower().lstrip("0").rjust(4, "0")
    return f"{domain}:{found[2].lower()}:{found[3].lower()}"


@dataclass(frozen=True, slots=True)
class Pattern:
    """One kind of line. `says` is a sentence with the groups' names in braces; empty: the line itself."""

    needle: str
    kind: str
    what: str
    regex: re.Pattern[str]
    says: str = ""

    def find(self, line: str, at: Instant) -> RawEvent | None:
        """The event in `line`, if it is of this kind."""
        if self.needle not in line:
            return None
        found = self.regex.search(line)
        if found is None:
            return None
        groups = {name: value for name, value in found.groupdict().items() if value is not None}
        bus = bus_id(groups.pop("bus", ""))
        uuid = groups.pop("uuid", "")
        says = self.says.format_map(_Blank(groups, bus=bus)) if self.says else line.strip()
        return RawEvent(
            witness=WITNESS,
            kind=self.kind,
            at=at,
            text=says,
            bus_id=bus,
            uuid=uuid,
            data={"what": self.what, **_FLAGS.get(self.what, {}), **_typed(groups), "line": line},
        )


class _Blank(dict[str, str]):
    """Groups that did not take part in the match read as `?`."""

    def __missing__(self, key: str) -> str:
        return "?"


def _typed(groups: dict[str, str]) -> dict[str, Any]:
    return {
        name: int(value) if name in _NUMBERS and value.isascii() and value.isdigit() and len(value) < 19 else value
        for name, value in groups.items()
    }


def pattern(needle: str, kind: str, what: str, regex: str, says: str = "") -> Pattern:
    """A `Pattern` from its parts; `{BUS}` in the expression stands for a PCI address."""
    return Pattern(needle, kind, what, re.compile(regex.replace("{BUS}", BUS), re.DOTALL), says)
