"""`doctor`: every step between this machine and a host's agent, and the command that mends what is broken.

The links that any other command would use are run once and listened to. Exit status: 0 all well (warnings included), 1
something is broken, 3 nothing broken was seen but not everything could be known.
"""

import asyncio
import sys
from typing import Any

from cockpit.cli import doctor_text
from cockpit.cli.arguments import Arguments
from cockpit.cli.collect import told
from cockpit.cli.inputs import clock_of, inventory_of, links_of
from cockpit.cli.items import age
from cockpit.cli.printing import emit_json
from cockpit.cli.progress import Progress
from cockpit.cli.terminal import Terminal, at_terminal
from cockpit.clock import Instant, SystemClock
from cockpit.errors import CockpitError
from cockpit.fleet.rollup import SCHEMA, iso
from cockpit.inventory import Inventory
from cockpit.link import Timing
from cockpit.link.doctor import Examination, Report, exit_status
from cockpit.runtime import Runtime

_LOGIN_SHARE = 0.6  # of the time that there is: a hop that does not answer is named before the time is over
_PONG_S = 0.5  # how long the first measurement of a clock is waited for, once everything else is known


def doctor(arguments: Arguments) -> int:
    """Examine every host that was named; returns the exit status."""
    try:
        inventory = inventory_of(arguments)
        now, reports = asyncio.run(_examine(arguments, inventory))
    except CockpitError as error:
        if arguments.json:
            clock = SystemClock()
            emit_json({"schema": SCHEMA, "as_of": iso(clock.wall()), "items": [], "error": str(error)})
        raise
    if arguments.json:
        emit_json({"schema": SCHEMA, "as_of": iso(now.wall), "items": [_item(report) for report in reports]})
    else:
        doctor_text.show(reports)
    return exit_status(reports)


async def _examine(arguments: Arguments, inventory: Inventory) -> tuple[Instant, list[Report]]:
    clock = clock_of(inventory)
    terminal = Terminal(clock)
    asks = not arguments.batch and not arguments.json and at_terminal()
    examination = Examination(inventory, clock, arguments.ssh_binary)
    timing = _timing(arguments.timeout_s)
    links = links_of(arguments, terminal if asks else None, trails=examination.trails, timing=timing)
    runtime = Runtime(inventory, clock, examination.watching(links))
    progress = Progress(clock, sys.stderr, lambda: _how_far(runtime), lambda: terminal.asked_s)
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(runtime.run(), name="links"),
            group.create_task(progress.run(), name="progress"),
        ]
        names = group.create_task(examination.look_up_names(arguments.timeout_s), name="names")
        await told(runtime, arguments.timeout_s, terminal)
        await names
        await examination.clocks_measured(runtime.fleet.hosts, _PONG_S)
        now = clock.now()
        runtime.fleet.age(now)
        reports = examination.reports(runtime.fleet.hosts, now, arguments.timeout_s)
        for task in tasks:
            task.cancel()
    progress.clear()
    return now, reports


def _timing(timeout_s: float) -> Timing:
    """The usual deadlines, but for those that would leave no time to say what happened."""
    usual = Timing()
    most_s = timeout_s * _LOGIN_SHARE
    return Timing(connect_s=min(usual.connect_s, most_s), hello_s=min(usual.hello_s, most_s))


def _how_far(runtime: Runtime) -> str:
    hosts = runtime.fleet.hosts
    told = sum(record.live or bool(record.link.hint) for record in hosts)
    return f"{told} of {len(hosts)} hosts examined"


def _item(report: Report) -> dict[str, Any]:
    return {
        "id": report.id or report.host,
        "host": report.host,
        "severity": report.severity,
        "age_s": None if report.age_s is None else age(report.age_s),
        "target": report.target,
        "bastions": list(report.bastions),
        "state": report.state.value,
        "steps": [step.item() for step in report.steps],
        "remarks": list(report.remarks),
    }
