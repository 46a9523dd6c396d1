"""The menu behind `x`: what can be done, why the rest cannot, and what a rule names that is not there yet."""

from dataclasses import replace

from agent.detect.rules import RULES
from cockpit.fleet.link_state import LinkState, LinkStatus
from cockpit.fleet.targets import About
from cockpit.runbook.advice import ADVICE
from cockpit.runbook.fitting import Fit, fits
from cockpit.runbook.shelf import LIBRARY, shelf
from tests.cockpit.runbook.scenes import Place, instant


def menu(place: Place, subject: str = "replica:vllm:8000", *words: str, host: int = 0) -> dict[str, Fit]:
    findings = tuple(place.hosts[0].finding(runbook=word, subject=subject) for word in words)
    return {fit.id: fit for fit in fits(place.fleet, shelf(), About(host, subject, findings))}


def test_every_word_of_every_rule_is_answered() -> None:
    words = {rule.spec.runbook for rule in RULES if rule.spec.runbook}
    assert words <= set(ADVICE)
    assert {name for advice in ADVICE.values() for name in advice.runbooks} <= set(LIBRARY)
    assert all(advice.runbooks or advice.says for advice in ADVICE.values())


def test_what_fits_comes_first_and_what_does_not_says_why() -> None:
    found = menu(Place(), "replica:vllm:8000", "restart-replica")
    first = next(iter(found.values()))
    assert (first.id, first.named, first.fits) == ("restart-replica", True, True)
    assert found["rolling-restart-pool"].why_not == ("rolling-restart-pool is for pool, and gpu-a01 vllm:8000 is none")
    assert found["action:systemd.restart"].fits
    assert "action:haproxy.drain" not in found
    order = [fit.fits for fit in found.values() if not fit.id.startswith("action:")]
    assert order == sorted(order, reverse=True)


def test_what_does_not_own_the_replica_does_not_restart_it() -> None:
    place = Place()
    hands = place.fleet.hosts[0].hands
    hands.specs["container.restart"] = replace(hands.specs["systemd.restart"], id="container.restart")
    hands.may |= {"container.restart"}
    found = menu(place)
    assert found["action:systemd.restart"].fits
    assert found["action:container.restart"].why_not == "systemd runs it: systemd.* acts on it"
    found = menu(place, "replica:triton:8010")
    assert found["action:container.restart"].fits
    assert found["action:systemd.restart"].why_not == "container runs it: container.* acts on it"
    order = [fit.fits for fit in found.values() if fit.id.startswith("action:")]
    assert order == sorted(order, reverse=True)


def test_what_a_rule_names_and_is_not_there_yet_says_what_to_do_until_then() -> None:
    found = menu(Place(), "host", "drain-reset", "observe", "brand-new")
    assert found["drain-reset"].why_not.startswith("a reset comes with a later release")
    assert found["drain-reset"].why_not.endswith("until then: quarantine-host, drain-replica, collect-diagnostics")
    assert (found["drain-reset"].named, found["quarantine-host"].named) == (True, True)
    assert found["observe"].why_not == "nothing is to be done now"
    assert found["brand-new"].why_not == "there is no runbook brand-new in this release"
    assert "free-ghost" not in menu(Place(), "host", "free-ghost")


def test_a_host_that_is_away_or_has_no_hands_says_so() -> None:
    place = Place()
    place.fleet.link_changed(4, LinkStatus(LinkState.AGENT_DOWN), instant(1))
    assert menu(place)["drain-replica"].why_not == "lb-01 is agent down: it cannot be asked"
    place = Place()
    place.fleet.hosts[4].hands.specs.clear()
    assert menu(place)["drain-replica"].why_not.startswith("the agent of lb-01 has no hands")
    place = Place()
    del place.fleet.hosts[4].hands.specs["haproxy.drain"]
    assert menu(place)["drain-replica"].why_not == "the agent of lb-01 offers no haproxy.drain; update it"


def test_who_may_not_is_told() -> None:
    place = Place()
    place.fleet.hosts[0].hands.may = frozenset()
    assert menu(place)["restart-replica"].why_not == "gpu-a01: no policy lets the role operator do systemd.restart"
    assert menu(place)["drain-replica"].fits, "that is done at the balancer"


def test_a_gpu_without_a_replica_offers_no_restart() -> None:
    place = Place()
    assert "stands for no replica" in menu(place, "gpu:GPU-7")["restart-replica"].why_not
    assert menu(place, "gpu:GPU-7")["quarantine-host"].fits
