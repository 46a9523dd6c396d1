"""PURE. The page of one host as lines, below the table of its GPUs."""

from cockpit.fleet.annotations import HOST
from cockpit.fleet.records import FleetFinding, HostRecord
from cockpit.tui.acting.standing import facts_of
from cockpit.tui.cells import link, severity, to_try
from cockpit.tui.evidence import finding_lines, labelled
from cockpit.tui.format import number, plain, plural
from cockpit.tui.gpu_detail import grid, heading, host_series, marks_of, signal_lines
from cockpit.tui.host_rows import link_words
from cockpit.tui.lines import BLANK, Line, joined
from cockpit.tui.replicas.story import host_lines
from cockpit.tui.story import fact_lines, process_text
from cockpit.tui.theme import Ink
from cockpit.tui.timeline import Timeline
from cockpit.tui.view import View
from cockpit.tui.widgets.chart import chart_lines

IN_STEP_S = 0.5  # less than this between two clocks is nothing to look at
PROCESSES = 32  # rows of the page; place 9 shows all


def head_lines(view: View, host: HostRecord, width: int) -> list[Line]:
    """Who it is, how it is reached, whether all its GPUs answer."""
    state, ink = severity(host.severity)
    if host.live or not host.gpus_expected:
        count = f"  {host.gpus_present} of {plural(host.gpus_expected, 'GPU')} present"
        ink_of_count = Ink.CRITICAL if host.gpus_present < host.gpus_expected else Ink.MUTED
    else:
        count, ink_of_count = f"  its {plural(host.gpus_expected, 'GPU')} are unknown", Ink.UNKNOWN
    title = joined(
        [
            (f" {plain(host.name)}  ", Ink.STRONG),
            (f"{state}  ", ink),
            link(host.link),
            (count, ink_of_count),
        ]
    )
    facts = [*facts_of(view, host.number, HOST), ("link", f"{link_words(view, host)} · {plain(host.target)}")]
    if host.link.hint:
        facts.append(("try", to_try(host.link.hint)))
    for reason in host.reasons:
        hint = f"; {plain(reason.hint)}" if reason.hint else ""
        facts.append((plain(reason.what)[:12] or "reason", plain(reason.says) + hint))
    if remarks := view.feed.remarks(host.number):
        facts.append(("ssh_config", f"{plural(len(remarks), 'line')} of it not followed: see SSH_CONFIG below"))
    labels = " · ".join(f"{plain(name)} {plain(value)}" for name, value in sorted(host.labels.items()) if value)
    if labels:
        facts.append(("labels", labels))
    if machine := _machine(host):
        facts.append(("machine", machine))
    if host.agent_version:
        clock = "in step with ours" if abs(host.skew_s) < IN_STEP_S else f"{host.skew_s:+.1f} s from ours"
        facts.append(("agent", f"{plain(host.agent_version)} · boot {plain(host.boot_id)[:13]} · clock {clock}"))
    return [title, *fact_lines(facts, width, folded=False)]


def _machine(host: HostRecord) -> str:
    facts = host.facts.get("host", {})
    if not isinstance(facts, dict):
        return ""
    words = [plain(str(facts[name])) for name in ("os", "kernel", "cpu") if facts.get(name)]
    if isinstance(facts.get("cpus"), (int, float)):
        words.append(plural(int(facts["cpus"]), "thread"))
    drivers = sorted({plain(gpu.driver) for gpu in host.gpu_facts.values() if gpu.driver})
    return " · ".join(words + [f"driver {', '.join(drivers)}"] * bool(drivers))


def below_lines(view: View, host: HostRecord, width: int, timeline: Timeline) -> list[Line]:
    """Charts, findings, processes, the host's own signals."""
    fleet, now = view.fleet, view.now.wall
    columns = 4 if width >= 150 else 2
    height = 7 if width < 120 else 10
    marks, axis = marks_of(host, timeline.ends()), timeline.axis()
    found = host_series(fleet, host, timeline)
    blocks = [chart_lines(series, marks, width // columns, height, axis=axis) for series in found]
    serving = host_lines(fleet, host)
    lines: list[Line] = [
        *([BLANK, *serving] if serving else []),
        BLANK,
        *timeline.words(),
        *grid(blocks, width, width // columns),
        BLANK,
    ]
    if host.findings:
        lines += heading("FINDINGS")
        for finding in sorted(host.findings.values(), key=lambda item: (-item.severity, item.since)):
            lines += finding_lines(fleet, FleetFinding(host.number, finding, host.mark(finding)), now, width)
    if remarks := view.feed.remarks(host.number):
        lines += heading("SSH_CONFIG  what it asks for on the way here and does not get")
        for remark in remarks:
            lines += labelled("", plain(remark), width, Ink.MUTED)
    lines += heading(f"PROCESSES ON GPUs  {len(host.processes)}")
    lines += [((f"  {process_text(process)}", Ink.TEXT),) for process in host.processes[:PROCESSES]]
    left_out = max(0, len(host.processes) - PROCESSES) + host.processes_left_out
    if left_out:
        lines += labelled("", f"and {number(left_out)} more; 9 shows what the agent sent", width, Ink.MUTED)
    lines += [BLANK, *heading("SIGNALS"), *signal_lines(fleet.host_table, host.number, width)]
    return lines
