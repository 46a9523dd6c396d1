"""PURE. What is under way, in a few words: for the last line of every screen, for pages of what it is about, and for
whoever wants to leave. Rule: only what is known of a run is said, and never that it ended well before it did."""

from collections.abc import Sequence

from agent.wire.actions import Orphan
from cockpit.fleet.acting.kin import kin
from cockpit.runbook.records import RunState, RunView, StepState
from cockpit.tui.acting import words
from cockpit.tui.acting.run_lines import brief, current, lasted, name_of, title_of
from cockpit.tui.acting.run_rows import is_loud, known_runs, needy
from cockpit.tui.format import duration, fit, plain, plural
from cockpit.tui.lines import Line, Span, joined, spread
from cockpit.tui.story import Fact
from cockpit.tui.theme import CURSOR, Ink
from cockpit.tui.view import View

_ORPHANS = {
    Orphan.KEEP: "then it is kept, and needs somebody",
    Orphan.UNDO: "then it is undone",
    Orphan.AUTO: "then it is kept while its target has an open finding, else undone",
}
_DOING = {"restart": "restarting", "drain": "draining", "undrain": "putting back", "quarantine": "being quarantined"}


def status(view: View) -> Line:
    """`» 1 run` for the last line, loud when one needs somebody; nothing where nothing is under way."""
    under_way, loud = going(view), needy(view)
    if not under_way and not loud:
        return ()
    shown = loud[0] if loud else under_way[0]
    count = len({run.id for run in (*under_way, *loud)})
    glyph, _, word = words.run(shown)[0].partition(" ")
    one = ", one" if count > 1 and len(loud) != count else ""
    what = f" {glyph} {plural(count, 'run')}{one} {word} "
    return ((what, Ink.BAR_WARNING if loud else Ink.BAR_STRONG),)


def going(view: View) -> list[RunView]:
    """The runs that are not over, those that nobody leads among them; ours first."""
    found = [run for run in known_runs(view) if words.under_way(run) or run.state is RunState.ORPHANED]
    return sorted(found, key=lambda run: not run.ours)


def ours(view: View) -> list[RunView]:
    """The runs that this console leads and that are not over."""
    return [run for run in known_runs(view) if run.ours and words.under_way(run)]


def on_subject(view: View, host: int, subject: str) -> list[RunView]:
    """The runs under way, or left by whoever led them, on a thing or on its kin on the same host."""
    runs = going(view)
    if not runs:
        return []
    record = view.fleet.hosts[host]
    meant = kin(record, subject)
    return [
        run
        for run in runs
        if any(
            one.step.target.host_id == record.host_id and (subject == "host" or one.step.target.subject in meant)
            for one in run.steps
        )
        or (run.plan.target.host_id == record.host_id and (subject == "host" or run.plan.target.subject in meant))
    ]


def facts_of(view: View, host: int, subject: str) -> list[Fact]:
    """`restarting, by eva, 12 s: step 2 of 5 ...; 6 shows it` for the page of what it is about."""
    return [("under way", doing(run, view.wall)) for run in on_subject(view, host, subject)]


def doing(run: RunView, now: float) -> str:
    """`restarting, by eva, 12 s: step 2 of 5: ...`."""
    name = name_of(run)
    verb = next((word for stem, word in _DOING.items() if name.startswith(stem)), name)
    state = "" if run.state is RunState.RUNNING else f" {words.run(run)[0]}"
    where = brief(run, now)
    return f"{verb}{state}, by {plain(run.by) or 'nobody named'}, {duration(lasted(run, now))}" + (
        f": {where}" if where else ""
    )


def need_line(view: View, run: RunView, width: int, *, cursor: bool) -> Line:
    """One run that needs somebody, or is under way, for the top of Situation."""
    text, ink = words.run(run)
    here = current(run)
    says = plain(run.says) or (plain(here.says or here.step.title) if here else "")
    left = joined(
        [
            (CURSOR if cursor else " ", Ink.ACCENT),
            (f"{text}  ", ink),
            (title_of(run), Ink.STRONG if is_loud(view, run) else Ink.TEXT),
            (
                f"  {brief(run, view.wall) if words.under_way(run) and run.state is RunState.RUNNING else says}",
                Ink.MUTED,
            ),
        ]
    )
    right: Span = (
        f"by {fit(plain(run.by), min(12, len(plain(run.by))))}  {duration(lasted(run, view.wall))} ",
        Ink.MUTED,
    )
    return spread(left, (right,), width)


def leases_of(run: RunView) -> list[str]:
    """What stands by a lease and what becomes of it when nobody renews it: one sentence each."""
    return [
        f"step {plain(one.step.n)}, {plain(one.step.title)}: its lease runs out after {duration(one.step.lease_s)}, "
        + _ORPHANS[one.step.on_orphan]
        for one in run.steps
        if one.step.lease_s and one.state in (StepState.DONE, StepState.RUNNING, StepState.UNKNOWN)
    ]


def leaving_says(runs: Sequence[RunView]) -> list[str]:
    """What leaving would mean, in sentences."""
    sentences = []
    for run in runs:
        stands = leases_of(run)
        sentences += stands or [f"{title_of(run)}: nothing of it stands by a lease; the step under way ends by itself"]
    return sentences
