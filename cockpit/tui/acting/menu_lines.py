"""PURE. The action menu in lines: what fits first, the one that the finding asks for on top of all; what does not fit
stays in sight with its reason."""

from collections.abc import Sequence

from agent.wire.actions import ParamSpec
from cockpit.runtime.hands import Fit
from cockpit.tui.acting import words
from cockpit.tui.acting.plan_lines import SINGLE
from cockpit.tui.format import fit, plain
from cockpit.tui.lines import Line, Span, clipped, joined, spread, wrapped
from cockpit.tui.theme import CURSOR, Ink

_RISK = 9
_NAME = 22
NAMED = "the finding asks for it"


def ordered(fits: Sequence[Fit]) -> list[Fit]:
    """As they stand in the menu: what is asked for, runbooks, single actions, what does not fit; each in its order."""
    return sorted(fits, key=lambda item: (not item.fits, not item.named, item.id.startswith(SINGLE)))


def name_of(item: Fit) -> str:
    """What it is called, without the mark of a single action."""
    return plain(item.id.removeprefix(SINGLE))


def target_lines(names: Sequence[str], at: int, width: int) -> list[Line]:
    """`ACT ON  gpu-a03 GPU 5   gpu-a03 vllm:8000   gpu-a03`: the one that is meant is loud, the others are near."""
    line: Line = (("ACT ON  ", Ink.HEADING), (f"{names[at]}", Ink.STRONG))
    if len(names) < 2:
        return [line]
    dots = "".join("●" if number == at else "○" for number in range(len(names)))
    return [spread(line, ((f"{dots}  ← → {names[(at + 1) % len(names)]}", Ink.FAINT),), width)]


def name_width(fits: Sequence[Fit]) -> int:
    """Columns for names."""
    return min(32, max([_NAME, *(len(name_of(item)) for item in fits)]))


def entry_lines(fits: Sequence[Fit], selected: str, width: int) -> tuple[list[Line], list[int]]:
    """All lines, and for each the number of its entry (-1 for headings)."""
    lines: list[Line] = []
    owners: list[int] = []
    part, room = "", name_width(fits)
    for number, item in enumerate(fits):
        title = _part(item)
        if title != part:
            lines.append(((f" {title}", Ink.HEADING),))
            owners.append(-1)
            part = title
        lines.append(_entry(item, item.id == selected, room, width))
        owners.append(number)
    return lines, owners


def _part(item: Fit) -> str:
    if not item.fits:
        return "DOES NOT FIT"
    return "SINGLE ACTIONS" if item.id.startswith(SINGLE) else "RUNBOOKS"


def _entry(item: Fit, here: bool, room: int, width: int) -> Line:
    mark = CURSOR if here else " "
    if not item.fits:
        spans: list[Span] = [
            (mark, Ink.ACCENT),
            (f" {fit(name_of(item), room)}  ", Ink.FAINT),
            (plain(item.why_not), Ink.MUTED),
        ]
        return clipped(joined(spans), width)
    risk, ink = words.risk(item.risk)
    spans = [
        (mark, Ink.ACCENT),
        (f" {fit(name_of(item), room)}  ", Ink.STRONG),
        (fit(risk, _RISK) + "  ", ink),
        (f"{NAMED}: " if item.named else "", Ink.ACCENT),
        (plain(item.says or item.title), Ink.TEXT),
    ]
    return clipped(joined(spans), width)


def said_of(item: Fit | None, width: int) -> list[Line]:
    """What the one under the cursor does, in whole sentences, or why it does not fit; always the same number of
    lines, so that nothing jumps."""
    if item is None:
        return [((fit("nothing can be done to this", width), Ink.MUTED),), ()]
    if not item.fits:
        texts = wrapped(f"{words.WARN} {plain(item.why_not)}", width, 2)
        return _two([((text, Ink.WARNING),) for text in texts])
    return _two([((text, Ink.MUTED),) for text in wrapped(plain(item.says or item.title), width, 2)])


def _two(lines: list[Line]) -> list[Line]:
    return [*lines, (), ()][:2]


def needed(item: Fit) -> bool:
    """Whether a parameter has to be given before it can be drafted."""
    return any(spec.needed and not spec.default for spec in item.params)


def preview(params: Sequence[ParamSpec]) -> str:
    """`grace_s 10, floor` for the line that tells of parameters."""
    return ", ".join(f"{plain(spec.name)} {plain(spec.default)}".strip() for spec in params)
