"""A plan in words: what will happen, to whom, by which commands, at what cost, and what takes it back. Rule: nothing
that the plan says is left out, and what forbids it stands last, where it is read."""

from collections.abc import Iterator

from agent.wire.actions import Guard, Orphan, Risk
from cockpit.fleet.times import lasting
from cockpit.runbook.records import Blast, Plan, Step, StepKind

_ORPHAN = {
    Orphan.AUTO: "else it is undone, or kept while its target has an open finding",
    Orphan.KEEP: "else it is kept",
    Orphan.UNDO: "else it is undone",
}


def plan_lines(plan: Plan) -> list[str]:
    """The whole plan, a sentence a line."""
    lines = [named(plan.title, plan.target.name), f"  runbook   {plan.runbook}, plan {plan.id} ({plan.hash[:12]})"]
    if plan.params:
        lines.append("  with      " + ", ".join(f"{name}={value}" for name, value in plan.params.items()))
    if plan.incident or plan.finding:
        lines.append(f"  answers   incident {plan.incident or plan.finding}")
    lines += ["", "STEPS"]
    for step in plan.steps:
        lines += step_lines(plan, step)
    lines += ["", "COST", *(f"  {line}" for line in blast_lines(plan.blast)), "", "GUARDS"]
    lines += [f"  {guard_text(guard)}" for guard in plan.guards] or ["  none"]
    lines += ["", *([f"EXPECTED  {plan.expected}"] if plan.expected else []), f"UNDO      {undo_text(plan)}"]
    return lines


def step_lines(plan: Plan, step: Step) -> Iterator[str]:
    """One step with its commands; its target where it is not that of the plan."""
    whom = "" if step.target.name in (plan.target.name, *_in(step)) else f" ({step.target.name})"
    batch = f", with the others of batch {step.group}" if step.group else ""
    yield f"  {step.n:>4}  {step_title(step)}{whom}{batch}"
    if step.kind is StepKind.ACTION:
        yield from (f"          $ {command}" for command in step.command)
        if step.effect:
            yield f"          {step.effect}"
        yield f"          undo: {step.undo or _no_undo(step)}; risk {step.risk.value}"
    elif step.kind is StepKind.WAIT:
        yield from (f"          {command}" for command in step.command)
    if step.lease_s:
        yield f"          renewed by this console every {lasting(step.lease_s / 3)}; {_ORPHAN[step.on_orphan]}"


def step_title(step: Step) -> str:
    """What it does in a few words, with its deadline where it waits."""
    if step.kind is StepKind.WAIT:
        return f"{step.title}, at most {lasting(step.deadline_s)}"
    lead = {StepKind.CHECK: "check: ", StepKind.ASK: "ask: ", StepKind.NOTE: "note: "}.get(step.kind, "")
    return f"{lead}{step.title}" + (f" ({step.action})" if step.action else "")


def named(title: str, name: str) -> str:
    """What is done, with its target where the title does not name it."""
    return title if name in title else f"{title}: {name}"


def _in(step: Step) -> tuple[str, ...]:
    """The target's name if the title has it already."""
    return (step.target.name,) if step.target.name in step.title else ()


def blast_lines(blast: Blast) -> list[str]:
    """What it costs the users, each number only where somebody knows it."""
    replicas = ", ".join(blast.replicas)
    lines = [f"replicas  {len(blast.replicas)}: {replicas}" if blast.replicas else "replicas  none"]
    flight = "nobody knows how many requests" if blast.in_flight is None else f"{blast.in_flight} requests now"
    tokens = "" if blast.tokens_per_s is None else f", {blast.tokens_per_s:,.0f} tokens/s"
    if blast.replicas:
        lines.append(f"in flight {flight}{tokens}")
    if blast.pools:
        others = f"; no worse: {', '.join(blast.pools[1:])}" if len(blast.pools) > 1 else ""
        lines.append(f"pool      {blast.pools[0]}: {_ready(blast)}{others}")
    return lines


def _ready(blast: Blast) -> str:
    before = "unknown" if blast.ready_before is None else str(blast.ready_before)
    expected = "" if blast.expected is None else f" of {blast.expected}"
    after = "unknown" if blast.ready_after is None else str(blast.ready_after)
    floor = "no floor is named" if blast.floor is None else f"floor {blast.floor}"
    spare = {
        True: "one more may fail without going below it",
        False: "one more failure goes below it",
        None: "nobody knows whether one more may fail",
    }
    under = blast.floor is not None and blast.ready_after is not None and blast.ready_after < blast.floor
    more = "" if blast.floor is None else "; that is below it" if under else f"; {spare[blast.n_plus_one]}"
    return f"{before}{expected} ready now, {after} meanwhile, {floor}{more}"


def guard_text(guard: Guard) -> str:
    """`ok  floor: ...`, `NO  policy: ...`, `!   redundancy: ...` for what is a warning."""
    mark = "ok" if guard.ok else "!" if guard.soft else "NO"
    return f"{mark:<3} {guard.id}: {guard.says or ('holds' if guard.ok else 'does not hold')}"


def undo_text(plan: Plan) -> str:
    """What a roll-back can take back."""
    acting = [step for step in plan.steps if step.kind is StepKind.ACTION]
    lasting_ones = [step.n for step in acting if not step.undo and step.risk is not Risk.LOW]
    if not any(step.undo for step in acting):
        return "cannot be undone" if lasting_ones else "nothing to take back"
    if not lasting_ones:
        return f"`gpu-cockpit run --roll-back {plan.id}` takes all of it back"
    which = f"step{'s' if len(lasting_ones) > 1 else ''} {', '.join(lasting_ones)}"
    return f"`gpu-cockpit run --roll-back {plan.id}` takes back what is not put back yet; {which} cannot be undone"


def _no_undo(step: Step) -> str:
    """What only looks, or gives back what an earlier step took, needs no way back."""
    return "not needed" if step.risk is Risk.LOW else "cannot be undone"


def refusal(plan: Plan) -> str:
    """What forbids the plan, in one sentence; empty if nothing does."""
    refused = plan.refused
    if not refused:
        return ""
    first = refused[0]
    more = f"; {len(refused) - 1} more {'guard does' if len(refused) == 2 else 'guards do'} not hold" * (
        len(refused) > 1
    )
    return f"{plan.target.name}: {plan.runbook} is refused by {first.id}: {first.says}{more}"
