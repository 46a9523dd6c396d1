"""`run`: the daemon. Ends within 3 s of SIGTERM, whatever the driver or the disk are doing. Under systemd it says when
it is ready and that it lives: a loop that hangs is started anew."""

import argparse
import asyncio
import gc
import logging
import os
import pwd
import signal
import sys
from dataclasses import replace

from agent.actions.real.world import hands
from agent.app import HostAgent
from agent.cli.notify import STATUS_EVERY_S, Notifier
from agent.cli.sources import SOURCES, Site, build
from agent.clock import Clock, SystemClock
from agent.config import AgentConfig, identify, load
from agent.detect import RULES
from agent.detect.thresholds import resolve
from agent.errors import ServeError, UsageError
from agent.recorder import Recorder
from agent.server.announce import Announcer
from agent.sources.units.log import UnitLog

LAST_RESORT_S = 2.9


def main(arguments: argparse.Namespace) -> int:
    """Run until a signal says stop."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    config = load(arguments.config)
    resolve(config.thresholds, config.labels, RULES)  # what is wrong with them is said before anything is opened
    if arguments.socket:
        config = replace(config, socket=arguments.socket)
    if arguments.state:
        config = replace(config, state_dir=arguments.state)
    _refuse_to_act_as_root_for_another(config)
    asyncio.run(_serve(config))
    return 0


def _refuse_to_act_as_root_for_another(config: AgentConfig) -> None:
    """What root leaves in the folders of the service's user (a state, a lock) the service could not use afterwards."""
    if os.geteuid() != 0:
        return
    for folder in (config.state_dir, config.socket.parent):
        try:
            owner = folder.stat().st_uid
        except OSError:
            continue  # it is made, or its absence told, later
        if owner != 0:
            raise UsageError(
                f"{folder} belongs to user {_name_of(owner)}, whose agent could not use what root leaves there; "
                "try systemctl start gpu-cockpit-agent, or give this one a --socket and a --state of its own"
            )


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


async def _serve(config: AgentConfig) -> None:
    clock = SystemClock()
    identity = identify(config)
    recorder = Recorder(config.state_dir, clock, identity.boot_id, cap_bytes=config.journal_mib << 20)
    site = Site(config, identity, clock, recorder, {})
    sources = build(site, SOURCES)
    agent = HostAgent(
        config,
        identity,
        clock,
        sources,
        recorder,
        signals=True,
        logs=UnitLog(config.proc).read,
        hands=hands(identity, site.made["serving"], config.actuator),
    )
    notifier = Notifier(os.environ)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _stop, agent, notifier)
    loop.add_signal_handler(signal.SIGUSR1, agent.let_go, True)
    loop.add_signal_handler(signal.SIGUSR2, agent.let_go, False)
    refused: ServeError | None = None
    async with asyncio.TaskGroup() as group:
        aside = [group.create_task(_settle(agent, config, notifier, clock), name="settle")]
        if config.discovery.announce:
            announcer = Announcer(config.discovery, identity.name, clock, agent.failed)
            aside.append(group.create_task(announcer.run(), name="announce"))
        try:
            await agent.run()
        except ServeError as error:  # raised below: the group would wrap it
            refused = error
        finally:
            for task in aside:
                task.cancel()
            notifier.close()
    if refused is not None:
        raise refused


def _stop(agent: HostAgent, notifier: Notifier) -> None:
    """End in order; if a disk or a driver holds us, the kernel ends us: nothing that must survive waits until now."""
    signal.setitimer(signal.ITIMER_REAL, LAST_RESORT_S)
    notifier.stopping()
    agent.close()


async def _settle(agent: HostAgent, config: AgentConfig, notifier: Notifier, clock: Clock) -> None:
    """Say that we are ready, then that we live, for ever."""
    await agent.ready()
    gc.collect()
    gc.freeze()  # what was made at the start stays: later collections need not look at it
    logging.getLogger(__name__).info("ready, pid %d, answering on %s", os.getpid(), config.socket)
    status = _status(agent, config)
    notifier.ready(status)
    told = clock.real()
    while notifier.listens:
        notifier.alive()
        await clock.sleep(min(notifier.every_s or STATUS_EVERY_S, STATUS_EVERY_S))
        if clock.real() - told >= STATUS_EVERY_S and (fresh := _status(agent, config)) != status:
            status, told = fresh, clock.real()
            notifier.status(status)


def _status(agent: HostAgent, config: AgentConfig) -> str:
    """How things are, in one line."""
    gpus = agent.facts.get("gpus") or {}
    present = sum(1 for facts in gpus.values() if facts.get("state") == "present")
    unread = sorted({str(reason["what"]) for reason in agent.facts.get("reasons")})
    seen = f"{present} of {len(gpus)} GPUs present" if gpus else "no GPU known"
    return f"answering on {config.socket}; {seen}" + (f"; cannot see all of {', '.join(unread)}" if unread else "")
