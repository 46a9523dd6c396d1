"""`stdio`: an agent for one cockpit at the other end of stdin and stdout. It writes no file, opens no socket, reads no
configuration, and is gone when its session is: this is what a cockpit runs that brings its agent along.
"""

import argparse
import asyncio
import logging
import signal
import sys

from agent.app import HostAgent
from agent.cli.sources import SOURCES, Site, build
from agent.clock import SystemClock
from agent.config import AgentConfig, identify
from agent.errors import ServeError
from agent.recorder import Recorder
from agent.server.pipe import Pipe
from agent.sources.units.log import UnitLog

HUNG_S = 30.0  # without a turn of the loop: twice the lease. Nobody is left on the host to end us then
LAST_RESORT_S = 2.9


def main(arguments: argparse.Namespace) -> int:
    """Serve until the cockpit has gone or a signal says stop."""
    del arguments
    logging.basicConfig(stream=sys.stderr, level=logging.ERROR, format="%(levelname)s %(name)s: %(message)s")
    asyncio.run(_serve())
    return 0


async def _serve() -> None:
    config, clock = AgentConfig(), SystemClock()
    identity = identify(config)
    recorder = Recorder.ephemeral(clock, identity.boot_id)
    sources = build(Site(config, identity, clock, recorder, {}), SOURCES)
    stop = asyncio.Event()
    agent = HostAgent(
        config,
        identity,
        clock,
        sources,
        recorder,
        door=lambda feed: Pipe(feed, clock, alive=_alive, ended=stop.set),
        logs=UnitLog(config.proc).read,
    )
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    refused: ServeError | None = None
    async with asyncio.TaskGroup() as group:
        stopping = group.create_task(_stop(agent, stop), name="stop")
        try:
            await agent.run()
        except ServeError as error:  # raised below: the group would wrap it
            refused = error
        finally:
            stopping.cancel()
    if refused is not None:
        raise refused


async def _stop(agent: HostAgent, stop: asyncio.Event) -> None:
    """End in order; if a driver holds us, the kernel ends us."""
    await stop.wait()
    signal.setitimer(signal.ITIMER_REAL, LAST_RESORT_S)
    agent.close()


def _alive() -> None:
    """The kernel's alarm clock is wound up again."""
    signal.setitimer(signal.ITIMER_REAL, HUNG_S)
