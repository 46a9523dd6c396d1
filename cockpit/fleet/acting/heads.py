"""PURE. What a console remembers of the audits of hosts: how many lines each had, with the hash of the last of them.

Rule: what was seen first is kept. A head that comes later and says otherwise is the very thing that is looked for, so
it never replaces one; of many the oldest, the newest and some between them stay.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

KEPT = 16  # heads of one host
NEWEST = 8  # of these, so many of the newest
HOSTS = 5000
_HASH = frozenset("0123456789abcdef")


@dataclass(slots=True)
class Seen:
    """Of one host: its name when it was met last, when that was (wall seconds), and by count of lines the hash."""

    name: str = ""
    at: float = 0.0
    heads: dict[int, str] = field(default_factory=dict)


def meet(seen: Seen, count: int, head: str) -> bool:
    """A host says that its audit has so many lines, the last with this hash; whether that is new. What contradicts an
    older word is not taken."""
    if count < 1 or not _is_hash(head) or count in seen.heads:
        return False
    seen.heads[count] = head
    _thin(seen.heads)
    return count in seen.heads


def joined(one: Mapping[str, Seen], other: Mapping[str, Seen]) -> dict[str, Seen]:
    """What two consoles remember; where they disagree about a count, what `one` says. The hosts that were met last."""
    found: dict[str, Seen] = {}
    for host in {**one, **other}:
        left, right = one.get(host, Seen()), other.get(host, Seen())
        newer = max(left, right, key=lambda seen: seen.at)
        heads = {**right.heads, **left.heads}
        _thin(heads)
        found[host] = Seen(newer.name, newer.at, dict(sorted(heads.items())))
    kept = sorted(found, key=lambda host: found[host].at, reverse=True)[:HOSTS]
    return {host: found[host] for host in kept}


def read(data: Any) -> dict[str, Seen]:
    """What was written down. Entries that are none are left out.

    Raises:
        ValueError: it is no such document at all.
    """
    hosts = data.get("hosts") if isinstance(data, Mapping) else None
    if not isinstance(hosts, Mapping):
        raise ValueError("it has no table of hosts")  # noqa: TRY004 - the content is wrong, not a type of ours
    found: dict[str, Seen] = {}
    for host, entry in hosts.items():
        if not isinstance(entry, Mapping) or not isinstance(entry.get("heads"), Mapping):
            continue
        heads = {
            int(count): head
            for count, head in entry["heads"].items()
            if isinstance(count, str) and count.isdecimal() and len(count) < 16 and _is_hash(head)
        }
        at = entry.get("at")
        found[str(host)] = Seen(str(entry.get("name", "")), float(at) if isinstance(at, (int, float)) else 0.0, heads)
    return found


def document(seen: Mapping[str, Seen]) -> dict[str, Any]:
    """What is written down."""
    return {
        "schema": 1,
        "hosts": {
            host: {"name": one.name, "at": one.at, "heads": {str(count): one.heads[count] for count in one.heads}}
            for host, one in seen.items()
        },
    }


def _thin(heads: dict[int, str]) -> None:
    """Drop what says least: between the oldest and the newest ones, that whose neighbours are nearest to each other."""
    while len(heads) > KEPT:
        counts = sorted(heads)
        middle = range(1, len(counts) - NEWEST)
        least = min(middle, key=lambda at: (counts[at + 1] - counts[at - 1]) / counts[at])
        del heads[counts[least]]


def _is_hash(head: object) -> bool:
    return isinstance(head, str) and len(head) == 64 and set(head) <= _HASH
