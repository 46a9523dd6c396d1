"""PURE. A plan in lines: what would be done to whom with which commands, what it costs the users, what forbids it, what
takes it back. Rule: everything is said before anything runs; commands are never shortened, they wrap."""

from collections.abc import Sequence

from rich.cells import cell_len, set_cell_size

from agent.wire.actions import Risk
from cockpit.runbook.records import Blast, Plan, Step, StepKind
from cockpit.tui.acting import words
from cockpit.tui.acting.confirming import OVERRIDE, passable, refusing, warning
from cockpit.tui.format import duration, fit, number, plain, plural
from cockpit.tui.lines import BLANK, Line, Span, joined, spread, width_of, wrapped
from cockpit.tui.theme import CHECK, Ink

SINGLE = "action:"
_LABEL = 14
_NUMBER = 5
_NAMED = 6  # replicas or steps that one line names
_KINDS = {StepKind.ACTION: ""}  # all others by their own word


def head_lines(plan: Plan, now: float, width: int) -> list[Line]:
    """What, to whom, how old what it rests on is, the risk."""
    glyph, ink = words.risk(plan.risk)
    name = plain(plan.runbook.removeprefix(SINGLE)) or plain(plan.title)
    title: list[Span] = [("PLAN  ", Ink.HEADING), (name, Ink.STRONG)]
    what = plain(plan.title).removesuffix(f": {plain(plan.target.name)}")
    title += [(f"  {what}", Ink.MUTED)] if what and what != name else []
    lines = [spread(joined(title), ((f"{glyph} risk", ink),), width)]
    about = [plain(plan.target.name), *(f"{plain(name)} {plain(value)}" for name, value in plan.params.items())]
    lines += [
        ((text, Ink.STRONG if not at else Ink.TEXT),) for at, text in enumerate(wrapped(" · ".join(about), width, 3))
    ]
    left = plan.good_until - now
    age = f"what it rests on is {duration(now - plan.as_of)} old"
    fresh: Span = (
        (f"{age}, good for {duration(left)}", Ink.FAINT) if left >= 0 else (f"{words.WARN} {age}", Ink.WARNING)
    )
    return [*lines, *brief_lines(plan, width), (fresh,)]


def brief_lines(plan: Plan, width: int) -> list[Line]:
    """All that decides in one line, so that it is in sight wherever the plan is scrolled to: in flight, ready, guards,
    what cannot be undone."""
    blast, parts = plan.blast, []
    if blast.in_flight is not None:
        parts.append(f"{blast.in_flight} in flight")
    if blast.ready_before is not None and blast.ready_after is not None:
        floor = f" (floor {blast.floor})" if blast.floor is not None else ""
        parts.append(f"ready {blast.ready_before} → {blast.ready_after}{floor}")
    broken = [guard for guard in plan.guards if not guard.ok]
    named = ", ".join(plain(guard.id) for guard in broken[:_NAMED])
    parts.append(f"{words.WARN} {named} not met" if broken else "guards hold" if plan.guards else "no guards")
    lost = sum(map(is_final, plan.steps))
    parts.append(
        f"{plural(lost, 'step')} cannot be undone"
        if lost
        else "all can be undone"
        if any(step.undo for step in plan.steps)
        else "nothing to take back"
    )
    ink = Ink.CRITICAL if refusing(plan) else Ink.WARNING if broken else Ink.TEXT
    return [((text, ink),) for text in wrapped(" · ".join(parts), width, 2)]


def danger_line(plan: Plan, width: int) -> Line:
    """One reversed line that reads as danger without any colour."""
    lost = [step for step in plan.steps if is_final(step)]
    what = "CANNOT BE UNDONE" if lost else "HIGH RISK" if plan.risk is Risk.HIGH else "RISK UNKNOWN"
    text = f" {words.CROSS} DANGER: {what} {words.CROSS} "
    return ((fit(text + plain(plan.target.name), width), Ink.ALARM),)


def is_final(step: Step) -> bool:
    """Whether what a step does cannot be taken back: what only looks, or changes nothing, needs no way back."""
    return step.kind is StepKind.ACTION and not step.undo and step.risk is not Risk.LOW


def plan_lines(plan: Plan, width: int) -> list[Line]:
    """The whole plan, in the order in which it is decided about."""
    parts = [
        _not_met(plan, width),
        [_heading("STEPS", steps_say(plan)), *step_lines(plan.steps, width)],
        [_heading("COSTS THE USERS"), *cost_lines(plan.blast, width)],
        [_heading("GUARDS THAT HOLD"), *guard_lines(plan, width)],
        [_heading("BACK"), *back_lines(plan, width)],
    ]
    lines: list[Line] = []
    for part in parts:
        lines += [*part, BLANK] if part else []
    if plan.expected:
        lines += [_heading("THEN"), *_labelled("expected", plain(plan.expected), width)]
    return lines


def _not_met(plan: Plan, width: int) -> list[Line]:
    """What forbids it, what only a typed word passes, what warns: first, so that nobody reads on in vain."""
    lines: list[Line] = []
    for guard in refusing(plan):
        lines += _labelled(f"{words.CROSS} REFUSED", f"{plain(guard.id)}: {plain(guard.says)}", width, Ink.CRITICAL)
    for guard in passable(plan):
        says = f"{plain(guard.says)}; passed only by typing {OVERRIDE} {plain(guard.id)}"
        lines += _labelled(f"{words.CROSS} {plain(guard.id)}", says, width, Ink.CRITICAL)
    for guard in warning(plan):
        lines += _labelled(f"{words.WARN} {plain(guard.id)}", plain(guard.says), width, Ink.WARNING)
    return lines


def _heading(text: str, hint: str = "") -> Line:
    return joined([(text, Ink.HEADING), (f"  {hint}" if hint else "", Ink.FAINT)])


def _labelled(label: str, text: str, width: int, ink: Ink = Ink.TEXT, head: Ink = Ink.FAINT) -> list[Line]:
    room = max(10, width - _LABEL - 3)
    loud = ink in (Ink.CRITICAL, Ink.WARNING)
    return [
        joined([(f"  {fit(label if at == 0 else '', _LABEL)} ", ink if loud else head), (part, ink)])
        for at, part in enumerate(wrapped(text, room) or [""])
    ]


# Steps.


def steps_say(plan: Plan) -> str:
    """`5 steps on 2 hosts`."""
    return f"{plural(len(plan.steps), 'step')} on {plural(len(plan.hosts), 'host')}"


def step_lines(steps: Sequence[Step], width: int) -> list[Line]:
    """Each step: number, what, on whom; its commands; what it does; what takes it back."""
    lines: list[Line] = []
    for at, step in enumerate(steps):
        if step.group and (at == 0 or steps[at - 1].group != step.group):
            together = sum(one.group == step.group for one in steps)
            lines.append(((f"  {together} at once", Ink.FAINT),) if together > 1 else BLANK)
        lines += _step(step, width)
    return lines


def _step(step: Step, width: int) -> list[Line]:
    kind = _KINDS.get(step.kind, step.kind.value)
    kind = "" if plain(step.title).casefold().startswith(kind) else kind
    right = _where(step)
    lead: list[Span] = [(f"{plain(step.n):>{_NUMBER - 1}} ", Ink.MUTED), (f"{kind} " if kind else "", Ink.FAINT)]
    used = width_of(tuple(lead))
    room = width - width_of(right) - used - 2
    said = wrapped(plain(step.title), max(20, room)) or [""]
    lines = [spread(joined([*lead, (said[0], Ink.STRONG)]), right, width)]
    lines += [joined([(" " * used, Ink.FAINT), (part, Ink.STRONG)]) for part in said[1:]]
    for command in step.command:
        if step.kind is StepKind.ACTION:
            lines += command_lines(command, width, Ink.ACCENT)
        elif plain(command).casefold() not in plain(step.title).casefold():
            lines += _indented(plain(command), width, Ink.MUTED)
    if step.effect:
        lines += _indented(plain(step.effect), width, Ink.MUTED)
    if is_final(step):
        lines += _indented("cannot be undone", width, Ink.WARNING, f"{words.WARN} ")
    if step.lease_s:
        lines += _indented(f"held by a lease of {duration(step.lease_s)} that this console renews", width, Ink.FAINT)
    return lines


def _where(step: Step) -> Line:
    """On whom, and how long it may take."""
    shown = aside(step, 28)
    if step.kind in (StepKind.WAIT, StepKind.ACTION) and step.deadline_s:
        return ((shown, Ink.TEXT), (f"  ≤ {duration(step.deadline_s)}", Ink.FAINT))
    return ((shown, Ink.MUTED),)


def aside(step: Step, most: int) -> str:
    """On whom a step is, where its title does not say so."""
    name = plain(step.target.name)
    if name in plain(step.title):
        return ""
    return name if cell_len(name) <= most else fit(name, most)


def _indented(text: str, width: int, ink: Ink, lead: str = "") -> list[Line]:
    used = _NUMBER + len(lead)
    return [
        joined([(" " * _NUMBER + (lead if at == 0 else " " * len(lead)), Ink.FAINT), (part, ink)])
        for at, part in enumerate(wrapped(text, max(10, width - used)))
    ]


def command_lines(text: str, width: int, ink: Ink) -> list[Line]:
    """A command in full: cut into lines, at a blank where there is one near, and nothing of it left out."""
    room = max(10, width - _NUMBER - 2)
    lines: list[Line] = []
    rest = plain(text)
    while rest or not lines:
        part = rest if cell_len(rest) <= room else set_cell_size(rest, room).rstrip()
        blank = part.rfind(" ", len(part) // 2)
        if len(part) < len(rest) and blank > 0:
            part = part[: blank + 1]
        lines.append(joined([(" " * _NUMBER + ("  " if lines else "$ "), Ink.FAINT), (part, ink)]))
        rest = rest[max(1, len(part)) :]
    return lines


# What it costs.


def cost_lines(blast: Blast, width: int) -> list[Line]:
    """In-flight requests, ready replicas before and after, the floor, N+1, tokens."""
    lines: list[Line] = []
    if blast.replicas:
        names = ", ".join(map(plain, blast.replicas[:_NAMED]))
        more = f" and {len(blast.replicas) - _NAMED} more" if len(blast.replicas) > _NAMED else ""
        pools = f" of {', '.join(map(plain, blast.pools))}" if blast.pools else ""
        lines += _labelled("replicas", f"{names}{more}{pools}", width)
    if not (blast.replicas or blast.pools) and blast.in_flight is None and blast.ready_before is None:
        return _labelled("replicas", "no replica is known to be touched", width, Ink.MUTED)
    lines += _labelled("in flight", _in_flight(blast), width, Ink.TEXT if blast.in_flight is not None else Ink.UNKNOWN)
    lines += _ready(blast, width)
    if blast.tokens_per_s is not None:
        lines += _labelled("tokens/s", f"{number(round(blast.tokens_per_s))} now", width)
    return lines


def _in_flight(blast: Blast) -> str:
    if blast.in_flight is None:
        return "? nobody knows how many requests are in flight"
    return plural(blast.in_flight, "request") + " now" if blast.in_flight else "none now"


def _ready(blast: Blast, width: int) -> list[Line]:
    if blast.ready_before is None and blast.ready_after is None:
        return [] if not blast.pools else _labelled("ready", "? nobody knows how many are ready", width, Ink.UNKNOWN)
    of = f" of {blast.expected}" if blast.expected is not None else ""
    before, after = _count(blast.ready_before), _count(blast.ready_after)
    text = f"{before}{of} → {after} while it runs"
    ink = Ink.TEXT
    if blast.floor is not None:
        text += f", floor {blast.floor}"
        if blast.ready_after is not None:
            spare = blast.ready_after - blast.floor
            text += f", {spare} to spare" if spare > 0 else ", none to spare" if spare == 0 else f", {-spare} below it"
            ink = Ink.TEXT if spare > 0 else Ink.WARNING if spare == 0 else Ink.CRITICAL
    lines = _labelled("ready", f"{words.WARN} {text}" if ink is not Ink.TEXT else text, width, ink)
    if blast.n_plus_one is False:
        lines += _labelled(
            "N+1", f"{words.WARN} no: one failure more and the pool is below its floor", width, Ink.WARNING
        )
    elif blast.n_plus_one:
        lines += _labelled("N+1", "yes: one could fail meanwhile", width)
    return lines


def _count(value: int | None) -> str:
    return "?" if value is None else str(value)


# What forbids it, and what takes it back.


def guard_lines(plan: Plan, width: int) -> list[Line]:
    """Each guard that holds, with its sentence."""
    held = [guard for guard in plan.guards if guard.ok]
    if not held:
        return _labelled("", "none", width, Ink.MUTED)
    lines: list[Line] = []
    for guard in held:
        texts = wrapped(plain(guard.says), max(10, width - _LABEL - 3)) or [""]
        label = fit(f"{CHECK} {plain(guard.id)}", _LABEL)
        lines.append(joined([(f"  {label} ", Ink.OK), (texts[0], Ink.MUTED)]))
        lines += [joined([(" " * (_LABEL + 3), Ink.OK), (text, Ink.MUTED)]) for text in texts[1:]]
    return lines


def back_lines(plan: Plan, width: int) -> list[Line]:
    """Which steps can be taken back and how, and which cannot."""
    acts = [step for step in plan.steps if step.kind is StepKind.ACTION]
    undone = [step for step in acts if step.undo]
    lost = [step for step in acts if is_final(step)]
    if not (undone or lost):
        return _labelled("", "there is nothing to take back", width, Ink.MUTED)
    lines: list[Line] = []
    for step in undone[:_NAMED]:
        lines += _labelled(f"step {plain(step.n)}", f"by {plain(step.undo)}", width)
    if len(undone) > _NAMED:
        lines += _labelled("", f"and {plural(len(undone) - _NAMED, 'step')} more", width, Ink.FAINT)
    if lost:
        names = "; ".join(f"{plain(step.n)} {plain(step.title)}" for step in lost[:_NAMED])
        more = f" and {len(lost) - _NAMED} more" if len(lost) > _NAMED else ""
        lines += _labelled(f"{words.WARN} never", f"{names}{more}", width, Ink.WARNING)
    return lines
