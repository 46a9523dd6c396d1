"""Fleets that stand still, built once and only looked at."""

import pytest

from tests.tui.serving_stage import serving_night, wedged_night
from tests.tui.stage import StagedFeed, healthy_night, xid79


@pytest.fixture(autouse=True)
def _collector_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test run starts the app a hundred times in one process: freezing each time would keep them all."""
    monkeypatch.setattr("cockpit.tui.app.calm_collector", lambda: None)


@pytest.fixture(scope="session")
def fault() -> StagedFeed:
    """The night in which a GPU falls off the bus; not to be changed."""
    return xid79().feed


@pytest.fixture(scope="session")
def calm() -> StagedFeed:
    """The night in which nothing happens; not to be changed."""
    return healthy_night().feed


@pytest.fixture(scope="session")
def serving() -> StagedFeed:
    """The night in which 20 replicas serve; not to be changed."""
    return serving_night().feed


@pytest.fixture(scope="session")
def wedged() -> StagedFeed:
    """The night in which one of them gets stuck; not to be changed."""
    return wedged_night().feed
