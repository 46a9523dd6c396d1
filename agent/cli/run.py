"""`run`: the daemon. Ends within 3 s of SIGTERM, whatever the driver or the disk are doing."""

import argparse
import asyncio
import gc
import logging
import os
import signal
import sys
from dataclasses import replace

from agent.app import HostAgent
from agent.cli.sources import SOURCES, Site, build
from agent.clock import SystemClock
from agent.config import AgentConfig, identify, load
from agent.errors import ServeError
from agent.recorder import State

LAST_RESORT_S = 2.9


def main(arguments: argparse.Namespace) -> int:
    """Run until a signal says stop."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    config = load(arguments.config)
    if arguments.socket:
        config = replace(config, socket=arguments.socket)
    if arguments.state:
        config = replace(config, state_dir=arguments.state)
    asyncio.run(_serve(config))
    return 0


async def _serve(config: AgentConfig) -> None:
    clock = SystemClock()
    identity = identify(config)
    state = State(config.state_dir, clock)
    sources = build(Site(config, identity, clock, state, {}), SOURCES)
    agent = HostAgent(config, identity, clock, sources, state, signals=True)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _stop, agent)
    loop.add_signal_handler(signal.SIGUSR1, agent.let_go, True)
    loop.add_signal_handler(signal.SIGUSR2, agent.let_go, False)
    refused: ServeError | None = None
    async with asyncio.TaskGroup() as group:
        settling = group.create_task(_settle(agent, config), name="settle")
        try:
            await agent.run()
        except ServeError as error:  # raised below: the group would wrap it
            refused = error
        finally:
            settling.cancel()
    if refused is not None:
        raise refused


def _stop(agent: HostAgent) -> None:
    """End in order; if a disk or a driver holds us, the kernel ends us: nothing that must survive waits until now."""
    signal.setitimer(signal.ITIMER_REAL, LAST_RESORT_S)
    agent.close()


async def _settle(agent: HostAgent, config: AgentConfig) -> None:
    await agent.ready()
    gc.collect()
    gc.freeze()  # what was made at the start stays: later collections need not look at it
    logging.getLogger(__name__).info("ready, pid %d, answering on %s", os.getpid(), config.socket)
