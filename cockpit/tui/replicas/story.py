"""PURE. What a human is told about replicas elsewhere than on their own page: under a problem, on a GPU, on a host."""

from collections.abc import Sequence

from agent.wire.replicas import ReplicaFacts, State
from agent.wire.specs import Quality, Severity
from cockpit.fleet import replicas
from cockpit.fleet.problems import ranges
from cockpit.fleet.records import HostRecord
from cockpit.fleet.state import Fleet
from cockpit.tui.format import fit, percent, plain, plural
from cockpit.tui.lines import Line, Span, joined
from cockpit.tui.replicas import cells
from cockpit.tui.replicas.words import balancer, unnamed, why
from cockpit.tui.theme import Ink

Fact = tuple[str, str]
_STATE, _NAME = 12, 14  # columns


def replica_title(fleet: Fleet, row: int, text: str) -> Fact:
    """Where, and what happened: `gpu-b02 vllm:8000`, `STUCK: no step for 40 s ...`."""
    state = replicas.state(fleet, row)
    word = "" if state is State.READY else f"{state.word.upper()}: "
    return f"{plain(replicas.name(fleet, row))}  ", word + unnamed(replicas.label(fleet, row), text)


def replica_story(fleet: Fleet, row: int) -> list[Fact]:
    """What a replica serves, how it is doing, and how what is around it is."""
    facts = replicas.facts_of(fleet, row) or ReplicaFacts(replicas.label(fleet, row))
    found: list[Fact] = [("serving", " · ".join(_serving(fleet, row, facts)))]
    if now := doing(fleet, row):
        found.append(("now", now))
    if gpus := gpus_text(fleet, row):
        found.append(("GPUs", gpus))
    said, _ = balancer(fleet, row)
    if said:
        found.append(("balancer", f"its load balancer has it {said}"))
    return found


def _serving(fleet: Fleet, row: int, facts: ReplicaFacts) -> list[str]:
    engine = " ".join(part for part in (plain(facts.engine), plain(facts.version)) if part)
    pool, model = plain(replicas.pool(fleet, row)), cells.model_name(facts)
    return [part for part in (pool, model if model != pool else "", engine, cells.owner_words(facts)) if part]


def doing(fleet: Fleet, row: int) -> str:
    """`12 run · 30 wait · KV 97 % · p99 2.1 s · 0.0 tok/s`: what is known of it, aged values marked."""
    table = fleet.replicas
    parts: list[tuple[Span, str]] = [
        (cells.gauges(table, "replica.running", [row], cells.count)[0], "{} run"),
        (cells.gauges(table, "replica.waiting", [row], cells.count)[0], "{} wait"),
        (cells.gauges(table, "replica.kv.usage", [row], percent)[0], "KV {}"),
        (cells.quantiles(table, "replica.ttft.p99", [row])[0], "TTFT p99 {}"),
        (cells.rates(table, "replica.tokens.out", [row], cells.per_second)[0], "{} tok/s"),
    ]
    return " · ".join(form.format(text) for (text, _), form in parts if any(char.isdigit() for char in text))


def gpus_text(fleet: Fleet, row: int) -> str:
    """`0-3, all fine`, or which of them are not."""
    rows = replicas.gpu_rows(fleet, row)
    if not rows:
        return ""
    gpus = fleet.gpus
    sick = [int(gpus.index[gpu]) for gpu in rows if gpus.severity[gpu] >= Severity.UNKNOWN]
    said = f"not fine: {ranges(sick)}" if sick else "it is fine" if len(rows) == 1 else "all fine"
    return f"{ranges([int(gpus.index[gpu]) for gpu in rows])}, {said}"


def on_gpu_text(fleet: Fleet, gpu: int) -> str:
    """The replicas that use a GPU: `vllm:8000 (chat-70b) stuck: no step for 40 s ...`."""
    return "; ".join(_brief(fleet, row) for row in replicas.on_gpu(fleet, gpu))


def _brief(fleet: Fleet, row: int) -> str:
    pool, state = plain(replicas.pool(fleet, row)), replicas.state(fleet, row).word
    said = why(fleet, row) if fleet.replicas.severity[row] >= Severity.UNKNOWN else doing(fleet, row)
    return f"{plain(replicas.label(fleet, row))}{f' ({pool})' if pool else ''} {state}" + (f": {said}" if said else "")


def host_lines(fleet: Fleet, host: HostRecord) -> list[Line]:
    """The replicas of a host, one line each; nothing where there are none."""
    if not host.replica_rows:
        return []
    order = sorted(host.replica_rows, key=lambda row: -int(fleet.replicas.severity[row]))
    ready = sum(replicas.state(fleet, row).word == "ready" for row in order)
    total = plural(len(order), "replica")
    head: Line = ((" REPLICAS", Ink.HEADING), (f"  {ready} of {total} ready, v opens the first", Ink.FAINT))
    return [head, *(_host_line(fleet, row) for row in order)]


def _host_line(fleet: Fleet, row: int) -> Line:
    level = int(fleet.replicas.severity[row])
    state, ink = cells.state(int(fleet.replicas.state[row]), level)
    gpus = [int(fleet.gpus.index[gpu]) for gpu in replicas.gpu_rows(fleet, row)]
    loud = level >= Severity.UNKNOWN
    said = why(fleet, row) if loud or fleet.replicas.quality("replica.state")[row] != Quality.OK else doing(fleet, row)
    return joined(
        [
            (f"  {fit(state, _STATE)}", ink),
            (fit(plain(replicas.label(fleet, row)), _NAME) + " ", Ink.STRONG if loud else Ink.TEXT),
            (fit(f"GPUs {ranges(gpus)}" if gpus else "", 10) + " ", Ink.MUTED),
            (f"{plain(replicas.pool(fleet, row))}  ", Ink.MUTED),
            (said, Ink.TEXT),
        ]
    )


def worst_of(fleet: Fleet, rows: Sequence[int]) -> int | None:
    """The replica that needs a human most; None for none."""
    return max(rows, key=lambda row: (int(fleet.replicas.severity[row]), -row), default=None)
