"""What `run` prints: a plan, a refusal, an end; as words or as JSON. Rule: JSON is one object at the end, or with
--watch one a line, the last of them the end; sentences for humans go to standard error then."""

from typing import Any

from cockpit.cli.acting.follow import ending
from cockpit.cli.acting.plan_items import plan_item, run_item
from cockpit.cli.acting.plan_text import plan_lines, refusal
from cockpit.cli.arguments import Arguments
from cockpit.cli.collect import Look
from cockpit.cli.printing import emit, emit_json, plain, say
from cockpit.clock import Clock
from cockpit.fleet.rollup import SCHEMA, iso
from cockpit.runbook.records import Plan, RunView


class Output:
    """Of one call. `form`: text, json, or lines."""

    def __init__(self, arguments: Arguments, clock: Clock, seen: Look) -> None:
        self._clock, self._seen = clock, seen
        self.form = "text" if not arguments.json else "lines" if arguments.own["watch"] else "json"

    def dry(self, plan: Plan) -> None:
        """The plan of a dry run, with what forbids it."""
        if self.form != "text":
            self._document({"plan": plan_item(plan), "silent": self._seen.silent_items()})
            return
        self.plan(plan)
        emit(plain(f"a dry run: nothing was done. {refusal(plan)}".strip()))

    def plan(self, plan: Plan) -> None:
        """The plan before anything is done."""
        if self.form == "text":
            for line in (*plan_lines(plan), ""):
                emit(plain(line))

    def refused(self, plan: Plan) -> None:
        """What forbids it."""
        says = refusal(plan)
        if self.form != "text":
            self._document({"plan": plan_item(plan), "run": None, "says": says})
        say(says)

    def end(self, view: RunView, *, wanted: bool) -> None:
        """How it ended; what was not `wanted` is said on standard error."""
        if self.form != "text":
            self._document({"run": run_item(view), "says": ending(view)})
        elif wanted:
            emit(ending(view))
        else:
            say(ending(view))

    def _document(self, part: dict[str, Any]) -> None:
        head = {"schema": SCHEMA, "as_of": iso(self._clock.wall())}
        emit_json({**head, **part}, compact=self.form == "lines")
