"""Doctor's findings for people: one list per host, what is broken with its remedy, what is alike said once.

Sentences are wrapped to the width; commands never are, so that they can be copied whole.
"""

import shutil
import textwrap
from collections.abc import Iterable, Sequence

from cockpit.cli.printing import emit, paint, plain, severity_text
from cockpit.link.doctor import Report, State, Step
from cockpit.link.doctor.agent_side import HERE
from cockpit.link.doctor.report import label

WIDTH = 80
_WIDEST = 100
_WHOLE = 3  # so many hosts are shown with every step; of more, only what is not well
_NAMED = 8
_WORD = {State.OK: "ok", State.WARNING: "warning", State.BROKEN: "critical", State.SKIPPED: "info"}
_MARK = 11
_STEP = 16


def show(reports: Sequence[Report]) -> None:
    """Print them all and a line that sums up."""
    width = max(WIDTH, min(_WIDEST, shutil.get_terminal_size((WIDTH, 24)).columns))
    whole = len(reports) <= _WHOLE
    _bastions(reports, width, whole)
    well = [report for report in reports if report.state is State.OK and not report.undecided and not report.remarks]
    behind = _behind_broken(reports)
    for report in reports:
        if whole or (report not in well and report.host not in behind):
            _host(report, width, whole)
    if not whole:
        _alike(behind, well, width)
    _sum(reports)


def _bastions(reports: Sequence[Report], width: int, whole: bool) -> None:
    """Each bastion once, however many hosts are behind it."""
    for name in dict.fromkeys(name for report in reports for name in report.bastions):
        behind = [report for report in reports if name in report.bastions]
        steps = _worst_of(behind, name)
        if not whole and all(step.state is State.OK for step in steps):
            continue
        hosts = f"{len(behind)} hosts" if len(behind) > 1 else behind[0].host
        emit(plain(f"bastion {name}, in front of {hosts}"))
        _steps(steps, width)
        emit("")


def _worst_of(reports: Sequence[Report], hop: str) -> list[Step]:
    """The steps of a shared hop, from the host that saw most of it break."""
    order = [State.SKIPPED, State.OK, State.WARNING, State.BROKEN]
    seen = [[step for step in report.steps if step.hop == hop] for report in reports]
    return max(seen, key=lambda steps: max((order.index(step.state) for step in steps), default=0))


def _behind_broken(reports: Iterable[Report]) -> dict[str, str]:
    """Hosts that cannot be reached because of a bastion, and which."""
    return {
        report.host: report.broken.hop
        for report in reports
        if report.broken is not None and report.broken.hop in report.bastions
    }


def _host(report: Report, width: int, whole: bool) -> None:
    way = f" through {', '.join(report.bastions)}" if report.bastions else ""
    emit(plain(f"{report.host}  {report.target}{way}"))
    own = [step for step in report.steps if step.hop not in report.bastions and step.says != HERE]
    broken = report.broken
    if broken is not None and broken.hop in report.bastions:
        _line(State.SKIPPED, "everything", f"see bastion {broken.hop}", width)
    elif whole:
        _steps(own, width)
    else:
        fine = [label(step.step) for step in own if step.state is State.OK]
        if fine:
            _line(State.OK, _count(len(fine), "step"), ", ".join(fine), width)
        _steps([step for step in own if step.state is not State.OK], width, named=False)
    for remark in report.remarks:
        _line(State.WARNING, "ssh_config", remark, width)
    emit("")


def _steps(steps: Sequence[Step], width: int, *, named: bool = True) -> None:
    """Steps in order; those that were skipped for one reason are one line, which names them or only counts them."""
    at = 0
    while at < len(steps):
        step, end = steps[at], at + 1
        if step.state is State.SKIPPED:
            while end < len(steps) and (steps[end].state, steps[end].says) == (step.state, step.says):
                end += 1
        alike = steps[at:end]
        if len(alike) > 1:
            names = f"{', '.join(label(each.step) for each in alike)}: " if named else ""
            _line(State.SKIPPED, f"{len(alike)} steps", f"{names}{step.says}", width)
        else:
            took = f" ({step.took_ms:.1f} ms)" if step.took_ms is not None and step.state is State.OK else ""
            _line(step.state, label(step.step), step.says + took, width)
        if step.fix and step.state in (State.BROKEN, State.WARNING):
            _fix(step.fix, width)
        at = end


def _line(state: State, label: str, says: str, width: int) -> None:
    word = _WORD[state]
    mark = severity_text(word).partition(" ")[0] + f" {state.value}"
    indent = " " * (_MARK + _STEP)
    lines = textwrap.wrap(plain(says), width - len(indent), break_long_words=False, break_on_hyphens=False) or [""]
    emit(f"{paint(mark.ljust(_MARK), word)}{plain(label).ljust(_STEP)}{lines[0]}".rstrip())
    for line in lines[1:]:
        emit(indent + line)


def _fix(fix: str, width: int) -> None:
    """Where, what to know, and the command on a line of its own; see `remedy` for how they are written."""
    indent = " " * _MARK
    where, found, rest = plain(fix).partition(": ")
    if not (found and where.startswith("on ")):
        where, rest = "", plain(fix)
    know, _, command = rest.rpartition(": ")
    words = f"fix{f', {where}' if where else ''}:{f' {know}:' if know else ''}"
    for line in textwrap.wrap(words, width - _MARK - 2, break_long_words=False, break_on_hyphens=False):
        emit(indent + line)
    emit(f"{indent}  {command}")


def _alike(behind: dict[str, str], well: Sequence[Report], width: int) -> None:
    for bastion in dict.fromkeys(behind.values()):
        names = [host for host, hop in behind.items() if hop == bastion]
        _line(State.SKIPPED, _count(len(names), "host"), f"see bastion {bastion}: {_names(names)}", width)
    if well:
        _line(State.OK, _count(len(well), "host"), _names([report.host for report in well]), width)


def _names(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _sum(reports: Sequence[Report]) -> None:
    counts = {
        "broken": sum(report.state is State.BROKEN for report in reports),
        "not known": sum(report.undecided and report.state is not State.BROKEN for report in reports),
        "with warnings": sum(report.state is State.WARNING and not report.undecided for report in reports),
        "well": sum(report.state is State.OK and not report.undecided for report in reports),
    }
    emit(f"{_count(len(reports), 'host')}: " + ", ".join(f"{count} {word}" for word, count in counts.items() if count))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("s" if number != 1 else "")
