"""A page of metrics in the text format of Prometheus, from a table of families: laid out once, then only filled in.

Numbers are written as the Python client of Prometheus writes them (`4.0`, `1.25e+06`) or bare, as Triton does.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from agent.sim.serving.histogram import Spread

_BIG = 1_000_000


@dataclass(frozen=True, slots=True)
class Family:
    """One metric. `rows` are (labels, slot): `le,` in the labels of a histogram marks where that label stands; a slot
    is the name of a value or of a histogram, or a number that never changes."""

    name: str
    kind: str
    help: str
    rows: tuple[tuple[str, str], ...]


class Page:
    """The text of such families. `names` replace `{name}` in labels."""

    def __init__(self, families: tuple[Family, ...], spreads: Mapping[str, Spread], **names: str) -> None:
        lines: list[str] = []
        self._slots: list[str] = []
        for family in families:
            lines += [f"# HELP {family.name} {family.help}", f"# TYPE {family.name} {family.kind}"]
            for pattern, slot in family.rows:
                labels = _named(pattern, names)
                if slot in spreads:
                    lines += self._rows(family.name, labels, slot, spreads[slot])
                else:
                    lines.append(self._row(family.name, labels, slot))
        self._template = "\n".join(lines) + "\n"

    def bare(self, values: Mapping[str, float]) -> bytes:
        """Filled in with whole numbers, where a value is one."""
        return self._filled(values, {}, lambda value: f"{value:.6f}" if value % 1.0 else str(int(value)))

    def filled(self, values: Mapping[str, float], spreads: Mapping[str, Spread]) -> bytes:
        """Filled in as by the client of Prometheus."""
        return self._filled(values, spreads, number)

    def _filled(
        self, values: Mapping[str, float], spreads: Mapping[str, Spread], text: Callable[[float], str]
    ) -> bytes:
        found: list[str] = []
        known: dict[str, list[str]] = {}
        for slot in self._slots:
            if slot not in spreads:
                found.append(text(values[slot]))
            elif slot in known:
                found += known[slot]
            else:
                known[slot] = told = _histogram(spreads[slot])
                found += told
        return (self._template % tuple(found)).encode()

    def _row(self, name: str, labels: str, slot: str) -> str:
        start = f"{name}{{{labels}}}" if labels else name
        if slot[0].isdigit():
            return f"{start} {slot}"
        self._slots.append(slot)
        return f"{start} %s"

    def _rows(self, name: str, labels: str, slot: str, spread: Spread) -> list[str]:
        self._slots.append(slot)
        before, _, after = labels.partition("le,")
        edges = [*(str(float(edge)) for edge in spread.edges), "+Inf"]
        rest = f"{before}{after}"
        tail = f"{{{rest}}}" if rest else ""
        comma = "," if after else ""
        buckets = [f'{name}_bucket{{{before}le="{edge}"{comma}{after}}} %s' for edge in edges]
        return [*buckets, f"{name}_count{tail} %s", f"{name}_sum{tail} %s"]


def _named(labels: str, names: Mapping[str, str]) -> str:
    for name, value in names.items():
        labels = labels.replace(f"{{{name}}}", value)
    return labels


def number(value: float) -> str:
    """As the client of Prometheus writes a number."""
    text = repr(float(value))
    dot = text.find(".")
    if dot <= 6 or "e" in text:
        return text
    mantissa = f"{text[0]}.{text[1:dot]}{text[dot + 1 :]}".rstrip("0.")
    return f"{mantissa}e+{dot - 1:02d}"


def whole(count: int) -> str:
    """`number` of a count, faster."""
    if count < _BIG:
        return f"{count}.0"
    text = str(count)
    mantissa = f"{text[0]}.{text[1:]}".rstrip("0.")
    return f"{mantissa}e+{len(text) - 1:02d}"


def _histogram(spread: Spread) -> list[str]:
    """Its buckets, its count, its sum."""
    found: list[str] = []
    last, text = -1, ""
    for count in spread.counts():
        if count != last:
            last, text = count, whole(count)
        found.append(text)
    found += (text, number(spread.sum))
    return found
