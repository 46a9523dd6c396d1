"""A day in which nothing is wrong: four hosts of four pools, every rule, 24 hours in steps of 10 s, not one finding.

Not even information: a rule that is satisfied by a healthy day has learnt nothing. Two classes, for two workers.
"""

import asyncio

import pytest

from agent.sim.machine import Machine
from agent.sim.rehearsal import EPOCH, Rehearsal, timeline

DAY_S = 86_400.0
STEP_S = 10.0  # of data time; no class is read more rarely than it says, none more often than this


HOUR_S = 3600.0
SELDOM_S = 600.0  # replicas cost the most: outside busy hours they are looked at seldom
BUSY_FROM_S, BUSY_S = 14 * HOUR_S, 2 * HOUR_S


def day(host: int, gpus: int) -> Rehearsal:
    """That host after a day that began at midnight, with busy hours and idle ones."""

    async def inside() -> Rehearsal:
        rehearsal = Rehearsal(Machine(1, host, gpus, EPOCH, grid_s=5.0), STEP_S, SELDOM_S)
        rehearsal.run(BUSY_FROM_S)
        rehearsal.replicas_s = 0.0
        rehearsal.run(BUSY_S)
        rehearsal.replicas_s = SELDOM_S
        rehearsal.run(DAY_S - BUSY_FROM_S - BUSY_S)
        return rehearsal

    return asyncio.run(inside())


@pytest.mark.timeout(240)
class TestTwoHosts:
    def test_the_first_says_nothing_all_day(self) -> None:
        rehearsal = day(0, 4)
        assert timeline(rehearsal) == []
        assert max(gpu.board.sw_power_s for gpu in rehearsal.machine.gpus) > 60, "the benign power cap was reached"

    def test_the_second_says_nothing_all_day(self) -> None:
        assert timeline(day(1, 1)) == []


@pytest.mark.timeout(240)
class TestTwoMoreHosts:
    def test_the_third_says_nothing_all_day(self) -> None:
        assert timeline(day(2, 2)) == []

    def test_the_fourth_says_nothing_all_day(self) -> None:
        assert timeline(day(3, 2)) == []
