"""`run`: a runbook or one action, from its plan to its end; and what becomes of a run: resume, roll back, abort."""

import sys
from collections.abc import Callable

from cockpit.cli.acting.asking import Consent, agreed, check, consent_of
from cockpit.cli.acting.follow import STATUS, Follower
from cockpit.cli.acting.named import led, named
from cockpit.cli.acting.output import Output
from cockpit.cli.acting.plan_text import named as shown
from cockpit.cli.annotate import author_of
from cockpit.cli.arguments import Arguments
from cockpit.cli.collect import CANNOT_KNOW, Look, meet
from cockpit.cli.inputs import inventory_of
from cockpit.cli.printing import emit, plain
from cockpit.cli.progress import beside
from cockpit.cli.terminal import Terminal
from cockpit.errors import CockpitError, RequestError, UsageError
from cockpit.fleet.acting.words import acting_target
from cockpit.fleet.targets import About
from cockpit.incidents import Book
from cockpit.runbook.records import Plan, RunState, RunView
from cockpit.runtime import Runtime

_UNKNOWN = frozenset({"offline", "timeout", "lost", "too_old", "journal", "absent"})  # codes: nobody can know
_WRONG = frozenset({"unknown", "invalid", "too_large"})
PLAN_S = 0.2  # between two looks whether the plan of a run is here
_VERBS = ("resume", "roll_back", "abort")


def run(arguments: Arguments) -> int:
    """Plan, ask, lead, report; the exit status."""
    own = arguments.own
    verb = _verb(arguments)
    consent = consent_of(yes=own["yes"], name=own["confirm"], overrides=own["override"], json=arguments.json)

    async def work(runtime: Runtime, seen: Look, terminal: Terminal) -> int:
        seen.report_silent()
        if not seen.answered:
            return CANNOT_KNOW
        acting = _Acting(arguments, runtime, seen, terminal, consent)
        try:
            return await (acting.fresh() if not verb else acting.known(verb))
        except RequestError as error:
            if error.code in _UNKNOWN or error.code in _WRONG:
                raise
            raise CockpitError(str(error)) from error  # refused: a script tells it from what nobody knows

    return meet(arguments, inventory_of(arguments), work)


def _verb(arguments: Arguments) -> str:
    """What is wanted of a run that is there; empty for a new one.

    Raises:
        UsageError: the words do not go together; told before anybody is waited for.
    """
    own = arguments.own
    said = [verb for verb in _VERBS if own[verb] is not None]
    if arguments.player is not None:
        raise UsageError("a recording is the past: nothing can be run there")
    if len(said) > 1:
        raise UsageError("only one of --resume, --roll-back and --abort can be done at once")
    if not said and not (own["runbook"] and own["target"]):
        raise UsageError(
            "name a runbook and a target, such as `run restart-replica HOST/REPLICA`; `runbooks` lists them"
        )
    if said and own["dry_run"]:
        raise UsageError(
            f"--dry-run shows a plan; `actions show RUN` shows the run that --{said[0].replace('_', '-')} is for"
        )
    if said and own["runbook"] and not (said[0] == "resume" and not own["resume"]):
        raise UsageError(f"--{said[0].replace('_', '-')} names its run; leave the runbook and the target away")
    if own["watch"] and not arguments.json:
        raise UsageError("--watch is for --json: without it every change is printed anyway")
    return said[0] if said else ""


class _Acting:
    """One call of `run` on hosts that have told."""

    def __init__(
        self, arguments: Arguments, runtime: Runtime, seen: Look, terminal: Terminal, consent: Consent
    ) -> None:
        self._arguments, self._runtime, self._seen = arguments, runtime, seen
        self._terminal, self._consent = terminal, consent
        self._own = arguments.own
        self._hands = runtime.hands
        self._author = author_of(arguments)
        self._output = Output(arguments, runtime.clock, seen)

    async def fresh(self) -> int:
        """Draft a plan and, unless it is a dry run, do it."""
        params = params_of(self._own["param"])
        about = acting_target(self._seen.fleet, self._own["target"])
        incident, finding = self._fault(about)

        async def draft() -> Plan:
            host, subject = about.host, about.subject
            return await self._hands.draft(
                self._own["runbook"], host, subject, params, incident=incident, finding=finding
            )

        plan = await draft()
        if self._own["dry_run"]:
            self._output.dry(plan)
            return 0
        self._output.plan(plan)
        if plan.refused and not self._consent.overrides:
            self._output.refused(plan)
            return 1
        check(plan, self._consent)
        if not {guard.id for guard in plan.refused} <= set(self._consent.overrides):
            self._output.refused(plan)
            return 1
        if not await agreed(plan, self._consent, self._terminal):
            emit("nothing was done")
            return 1
        if self._runtime.clock.wall() > plan.good_until:
            plan = await self._again(plan, await draft())
        started = self._hands.start(
            plan, author=self._author, reason=self._own["reason"], overrides=self._consent.overrides
        )
        return await self._follow(started, wanted=RunState.DONE)

    async def known(self, verb: str) -> int:
        """Go on with a run, take it back, or stop it."""
        view = named(self._hands.runs(), self._seen.fleet, self._own, self._own[verb] or "")
        word = {"resume": "go on with", "roll_back": "take back", "abort": "stop"}[verb]
        may = {"resume": "continue", "roll_back": "undo", "abort": "abort"}[verb]
        if may not in view.may:
            then = "; --resume goes on with it" if verb == "roll_back" and "continue" in view.may else ""
            raise CockpitError(f"run {view.id} is {view.state.value}{led(view)}: there is nothing to {may}{then}")
        if not self._consent.yes and verb != "abort":
            if not self._consent.asks:
                raise UsageError(f"nobody can be asked here: say it with --yes; `actions show {view.id}` shows the run")
            what = f"{plain(shown(view.plan.title, view.plan.target.name))}, {view.state.value}"
            if not await self._terminal.confirm(f"{word} run {view.id}, {what}?"):
                emit("nothing was done")
                return 1
        call = {"resume": self._hands.resume, "roll_back": self._hands.roll_back, "abort": self._hands.abort}[verb]
        await self._with_plan(lambda: call(view.id, self._author))
        wanted = {"resume": RunState.DONE, "roll_back": RunState.ROLLED_BACK, "abort": RunState.ABORTED}[verb]
        return await self._follow(view.id, wanted=wanted, before=view)

    async def _with_plan(self, call: Callable[[], None]) -> None:
        """Do it as soon as the plan of the run was had from its hosts, which is asked for in the background."""
        clock = self._runtime.clock
        until = clock.real() + self._arguments.timeout_s
        while True:
            try:
                return call()
            except RequestError as error:
                if error.code != "offline" or clock.real() >= until:
                    raise
            await clock.sleep(PLAN_S)

    async def _follow(self, run: str, *, wanted: RunState, before: RunView | None = None) -> int:
        clock = self._runtime.clock
        follower = Follower(
            self._hands, clock, self._terminal, self._author,
            asks=self._consent.asks, yes=self._consent.yes or bool(self._consent.name), form=self._output.form,
        )  # fmt: skip
        if before is not None:
            follower.already_told(before)
        async with beside(clock, sys.stderr, self._under_way(run), lambda: self._terminal.asked_s) as progress:
            view = await follower.follow(run, progress)
        self._output.end(view, wanted=view.state is wanted)
        return 0 if view.state is wanted else STATUS.get(view.state, CANNOT_KNOW)

    def _under_way(self, run: str) -> Callable[[], str]:
        def says() -> str:
            view = self._hands.run(run)
            busy = [step for step in view.steps if step.state.value in ("running", "undoing")] if view else []
            return f"step {busy[0].step.n}: {plain(busy[0].step.title)}" if busy else f"run {run}"

        return says

    async def _again(self, old: Plan, new: Plan) -> Plan:
        """The data under the plan grew old while it was read: the same plan on fresh data, or another one is asked for.

        Raises:
            CockpitError: it reads otherwise now.
        """
        if new.hash == old.hash and not ({one.id for one in new.refused} - {one.id for one in old.refused}):
            return new
        raise CockpitError(
            f"{old.target.name}: what would be done has changed since the plan was shown; run it again and read it anew"
        )

    def _fault(self, about: About) -> tuple[str, str]:
        """(incident, finding) that the plan answers: what --incident names, else what the target named."""
        if self._own["incident"]:
            book = Book()
            book.look(self._seen.fleet, self._seen.now)
            found = book.named(self._own["incident"])
            return found.id, found.root.id
        if not about.fault:
            return "", ""
        lead = next((item for item in about.findings if item.id == about.fault), about.findings[0])
        return lead.incident or lead.id, lead.id


def params_of(said: list[str]) -> dict[str, str]:
    """`k=v` of each --param.

    Raises:
        UsageError: one is no such pair, or a name is given twice.
    """
    found: dict[str, str] = {}
    for pair in said:
        name, mark, value = pair.partition("=")
        if not mark or not name:
            raise UsageError(f"--param {pair!r}: must be NAME=VALUE")
        if name in found:
            raise UsageError(f"--param {name} is given twice: {found[name]!r} and {value!r}")
        found[name] = value
    return found
