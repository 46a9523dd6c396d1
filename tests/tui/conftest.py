"""Fleets that stand still, built once and only looked at."""

import pytest

from tests.tui.stage import StagedFeed, healthy_night, xid79


@pytest.fixture(scope="session")
def fault() -> StagedFeed:
    """The night in which a GPU falls off the bus; not to be changed."""
    return xid79().feed


@pytest.fixture(scope="session")
def calm() -> StagedFeed:
    """The night in which nothing happens; not to be changed."""
    return healthy_night().feed
