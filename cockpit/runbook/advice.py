"""PURE. What the rules' runbook words mean here: which runbooks answer them now, and what to do where none does yet.

A rule names what cures its fault, also where this console cannot do that yet; then the operator is told so, and what
takes the harm off the users until it is done by hand.
"""

from dataclasses import dataclass

_RESET = "a reset comes with a later release: take the host out of service, then reset the GPU by hand"
_REBOOT = "a reboot comes with a later release: take the host out of service, then reboot it by hand"
_REPLACE = "a board is replaced by hand: take the host out of service and collect what the vendor asks for"
_BY_HAND = "nothing here does that: the finding says what to look at"


@dataclass(frozen=True, slots=True)
class Advice:
    """`runbooks` answer the word, the best first; `says` why the word itself cannot be run, empty where it can."""

    title: str
    runbooks: tuple[str, ...] = ()
    says: str = ""


_DRAIN = ("quarantine-host", "drain-replica", "collect-diagnostics")
ADVICE: dict[str, Advice] = {
    "restart-replica": Advice("restart the replica", ("restart-replica",)),
    "undrain-replica": Advice("put it back", ("undrain-replica",)),
    "free-ghost": Advice("free the memory", ("free-ghost-memory",)),
    "drain-reset": Advice("drain and reset the GPU", _DRAIN, _RESET),
    "drain-reboot": Advice("drain and reboot the host", _DRAIN, _REBOOT),
    "drain-replace": Advice("drain and replace the board", ("quarantine-host", "collect-diagnostics"), _REPLACE),
    "diag": Advice("diagnose", ("collect-diagnostics",), "a burn-in comes with a later release"),
    "driver": Advice("repair the driver", ("collect-diagnostics",), _BY_HAND),
    "fabric": Advice("repair the fabric", ("collect-diagnostics",), _BY_HAND),
    "link-check": Advice("check the links", ("collect-diagnostics",), _BY_HAND),
    "bus-check": Advice("check the slot", ("collect-diagnostics",), _BY_HAND),
    "cooling": Advice("look at the cooling", (), _BY_HAND),
    "power": Advice("look at the power", (), _BY_HAND),
    "network": Advice("look at the network", (), _BY_HAND),
    "disk": Advice("make room on the disk", (), _BY_HAND),
    "config": Advice("look at the configuration", (), _BY_HAND),
    "agent": Advice("look at the agent", (), _BY_HAND),
    "observe": Advice("keep an eye on it", (), "nothing is to be done now"),
}
