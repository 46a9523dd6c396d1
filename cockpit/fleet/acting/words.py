"""PURE. What an operator means by the target of an action, by a run or by an entry of a ledger. Rule: a word means one
thing or is refused with what it could have meant; ids may be shortened as long as one remains."""

from collections.abc import Iterable

from cockpit.errors import UsageError
from cockpit.fleet.acting.names import KINDS, POOL
from cockpit.fleet.acting.rows import ActionItem, RunItem, actions, runs
from cockpit.fleet.pools import pools
from cockpit.fleet.records import HostRecord
from cockpit.fleet.state import Fleet
from cockpit.fleet.targets import About, target
from cockpit.inventory import did_you_mean

_SHORTEST = 3


def acting_target(fleet: Fleet, word: str) -> About:
    """As `cockpit.fleet.targets.target`, and HOST/process:PID, HOST/unit:NAME, HOST/container:NAME,
    HOST/backend:LB/BACKEND/SERVER, a pool by its name or pool:NAME, with the open findings of what is meant.

    Raises:
        UsageError: it is none of these, or could be several.
        RequestError: it is a GPU or replica of a host that has told nothing of them.
    """
    if word.startswith(POOL):
        return _pool(fleet, word.removeprefix(POOL))
    name, mark, rest = _host_first(fleet, word)
    if word not in fleet.numbers and any(pool.name == word for pool in pools(fleet)):
        return _pool(fleet, word)
    kind, colon, what = rest.partition(":")
    if mark and colon and kind in KINDS:
        return _of_kind(fleet, fleet.hosts[fleet.numbers[name]], kind, what, word)
    found = target(fleet, word)
    if found.findings or found.fault:
        return found
    record = fleet.hosts[found.host]
    open_ones = tuple(finding for finding in record.findings.values() if finding.subject == found.subject)
    return About(found.host, found.subject, open_ones)


def run_named(fleet: Fleet, word: str) -> RunItem:
    """The run with this id or beginning of an id.

    Raises:
        UsageError: nobody tells of such a run, or several begin so.
    """
    found = {item.facts.id: item for item in runs(fleet)}
    return found[_one(word, found, "run")]


def entry_named(fleet: Fleet, word: str) -> ActionItem:
    """The entry of a ledger with this key.

    Raises:
        UsageError: no host has such an entry, or several keys begin so.
    """
    found = {item.facts.key: item for item in actions(fleet)}
    return found[_one(word, found, "action")]


def _one(word: str, known: Iterable[str], what: str) -> str:
    names = list(known)
    if word in names:
        return word
    begun = [name for name in names if len(word) >= _SHORTEST and name.startswith(word)]
    if len(begun) == 1:
        return begun[0]
    if begun:
        raise UsageError(f"{word!r} may be {len(begun)} {what}s ({', '.join(begun[:4])}): give more of the id")
    raise UsageError(
        f"no {what} {word!r}{did_you_mean(word, names)}; `gpu-cockpit {what}s` lists those of the last 7 days"
    )


def _host_first(fleet: Fleet, word: str) -> tuple[str, str, str]:
    """(host, mark, rest) of a word that begins with the name of a host; a longer name wins."""
    names = sorted((name for name in fleet.numbers if word.startswith(f"{name}/")), key=len, reverse=True)
    return (names[0], "/", word[len(names[0]) + 1 :]) if names else ("", "", "")


def _pool(fleet: Fleet, name: str) -> About:
    known = {pool.name: pool for pool in pools(fleet)}
    if name not in known:
        raise UsageError(f"no pool {name!r}{did_you_mean(name, list(known))}; `gpu-cockpit pools` lists them")
    hosts = known[name].hosts
    if not hosts:
        raise UsageError(f"pool {name} has no replica that was ever seen: there is nothing to act on")
    return About(min(hosts), f"{POOL}{name}")


def _of_kind(fleet: Fleet, record: HostRecord, kind: str, what: str, word: str) -> About:
    if kind == "process":
        known = [str(process.pid) for process in record.processes]
        if what not in known:
            raise UsageError(f"{record.name} has no process {what!r} that holds a GPU{did_you_mean(what, known)}")
    elif kind == "backend":
        servers = [f"{item.lb}/{item.backend}/{item.server}" for item in record.backends]
        if what not in servers:
            raise UsageError(f"{record.name} has no server {what!r}{did_you_mean(what, servers)}")
    elif not what:
        raise UsageError(f"{word!r} names no {kind}: write HOST/{kind}:NAME")
    return About(record.number, f"{kind}:{what}")
