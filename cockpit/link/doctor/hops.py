"""The steps of one sshd on the way: name, TCP, SSH, key, authentication, from the trail that its login left."""

from collections.abc import Mapping
from dataclasses import dataclass

from cockpit.errors import LinkError
from cockpit.fleet.link_state import LinkState
from cockpit.inventory import Hop
from cockpit.link.doctor import remedy
from cockpit.link.doctor.names import Name, is_address
from cockpit.link.doctor.report import HOP_STEPS, State, Step, label, skipped
from cockpit.link.ssh import diagnosis
from cockpit.link.ssh.trail import Trail

_BY_STATE = {LinkState.KEY_CHANGED: "key", LinkState.DENIED: "authentication"}


@dataclass(frozen=True, slots=True)
class Sshd:
    """One sshd as it was met: `via` the hops in front of it, `known` what its name leads to if we looked it up,
    `by` another program that logged in for us (then there is no trail), `inside` whether we got in."""

    hop: Hop
    via: tuple[Hop, ...]
    trail: Trail
    inside: bool
    known: Name | None = None
    by: str = ""

    @property
    def title(self) -> str:
        """How it is called."""
        return self.hop.title

    @property
    def before(self) -> str:
        """Whoever connects to it: the last bastion, empty for this machine."""
        return self.via[-1].title if self.via else ""

    def reached(self, step: str) -> bool:
        """Whether the login came past this step."""
        if self.inside or self.by:
            return self.inside
        if step in ("name", "tcp"):
            return bool(self.trail.connected)
        if step == "ssh":
            return bool(self.trail.version)
        return step == "key" and bool(self.trail.cipher)


def steps(sshd: Sshd, error: LinkError | None, waiting: str) -> tuple[Step, ...]:
    """The five steps. Where we are not logged in: up to `error`, or up to where the time was over (`waiting`)."""
    passed = _passed(sshd)
    if sshd.inside:
        return tuple(passed[step] for step in HOP_STEPS)
    if error is None:
        at = next(step for step in HOP_STEPS if not sshd.reached(step))
        return _up_to(sshd, passed, Step(at, sshd.title, State.SKIPPED, waiting), waiting)
    at = failed_step(sshd, error)
    return _up_to(sshd, passed, Step(at, sshd.title, State.BROKEN, _says(sshd, error), _fix(sshd, at, error)))


def failed_step(sshd: Sshd, error: LinkError) -> str:
    """Which step an error is about: as it says itself, else the first that the trail did not reach."""
    if error.step in HOP_STEPS:
        return error.step
    state = LinkState(error.state)
    if state is LinkState.KEY_CHANGED or (state in _BY_STATE and not sshd.trail.connected):
        return _BY_STATE[state]  # refused before anything was sent: our own credentials
    return next((step for step in HOP_STEPS[1:] if not sshd.reached(step)), "authentication")


def onward(sshd: Sshd, following: Sshd, error: LinkError | None) -> Step:
    """The last step of a bastion: whether it lets us through to the hop that follows."""
    hop = following.hop
    to = f"{sshd.hop.user} through to {hop.host}:{hop.port}"
    if error is not None and error.step == "forward" and error.hop == sshd.title:
        return Step("forward", sshd.title, State.BROKEN, f"does not let {to}", remedy.no_onward(sshd.title, hop))
    if not sshd.inside:
        return skipped(["forward"], sshd.title, "not logged in there")[0]
    if following.trail.connected or following.inside or error is not None:
        return Step("forward", sshd.title, State.OK, f"lets {to}")
    return skipped(["forward"], sshd.title, "not tried in time")[0]


def _up_to(sshd: Sshd, passed: Mapping[str, Step], last: Step, because: str = "") -> tuple[Step, ...]:
    index = HOP_STEPS.index(last.step)
    met = [
        passed[step] if sshd.reached(step) or step in _known_anyway(sshd) else _unknown(sshd, step)
        for step in HOP_STEPS[:index]
    ]
    return (*met, last, *skipped(HOP_STEPS[index + 1 :], sshd.title, because or f"{label(last.step)} is broken"))


def _known_anyway(sshd: Sshd) -> tuple[str, ...]:
    found = is_address(sshd.hop.host) or (sshd.known is not None and bool(sshd.known.addresses))
    return ("name",) if found else ()


def _unknown(sshd: Sshd, step: str) -> Step:
    says = f"{sshd.before} looks it up, not this machine" if step == "name" and sshd.via else "not tried"
    return Step(step, sshd.title, State.SKIPPED, says)


def _passed(sshd: Sshd) -> dict[str, Step]:
    """What to say of each step that went well."""
    trail, hop = sshd.trail, sshd.hop
    if sshd.by:
        return {step: Step(step, sshd.title, State.OK, f"left to {sshd.by}") for step in HOP_STEPS}
    connect_ms = (trail.connected - trail.began) * 1000 if trail.connected else None
    login_ms = (trail.admitted - trail.connected) * 1000 if trail.admitted else None
    through = f" through {sshd.before}" if sshd.via else ""
    secure = f"; {trail.cipher}" if trail.cipher else ""
    says = {
        "name": _name(sshd),
        "tcp": f"port {hop.port} takes connections{through}",
        "ssh": f"{diagnosis.plain(trail.version)}{secure}",
        "key": f"{trail.host_key} is known",
        "authentication": f"{hop.user} is let in"
        + (f" with {trail.key}" if trail.key else ", by your answer and no key"),
    }
    took = {"name": sshd.known.took_ms if sshd.known else None, "tcp": connect_ms, "authentication": login_ms}
    return {step: Step(step, sshd.title, State.OK, says[step], took_ms=took.get(step)) for step in HOP_STEPS}


def _name(sshd: Sshd) -> str:
    host = sshd.hop.host
    if is_address(host):
        return f"{host} is an address"
    if sshd.via:
        return f"{host} is found by {sshd.before}"
    if sshd.known is not None and sshd.known.addresses:
        return sshd.known.says(host)
    return f"{host} is {sshd.trail.address}" if sshd.trail.address else f"{host} was found"


def _says(sshd: Sshd, error: LinkError) -> str:
    """The error's sentence without the place, which the step names already."""
    text = str(error).removeprefix("bastion ")
    return text.removeprefix(f"{sshd.hop.place}: ").removeprefix(f"{sshd.title}: ")


def _fix(sshd: Sshd, step: str, error: LinkError) -> str:
    hop = sshd.hop
    if step == "name":
        return remedy.name_unknown(hop)
    if step == "tcp":
        refused = "refuse" in str(error)
        return remedy.sshd_down(hop, sshd.title) if refused else remedy.unreachable(hop, sshd.before)
    if step == "authentication" and sshd.trail.version:
        return remedy.key_refused(hop, sshd.via)
    return error.hint
