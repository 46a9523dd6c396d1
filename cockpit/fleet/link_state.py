"""What we can prove about the way to a host; never what we guess."""

from dataclasses import dataclass
from enum import StrEnum


class LinkState(StrEnum):
    """States of a link, DESIGN order. `live` is the only one whose values are not aged."""

    CONNECTING = "connecting"
    LIVE = "live"
    STALE = "stale"  # nothing arrived for 2.5 intervals, and nobody has hung up
    UNREACHABLE = "unreachable"  # link or host, unknown which
    AGENT_DOWN = "agent_down"  # SSH is fine, no agent answers
    HOST_DOWN = "host_down"  # the bastion is fine and two fresh connects failed
    DENIED = "denied"  # authentication or permission; never retried by itself
    KEY_CHANGED = "key_changed"  # the host key is not the known one: a security event, never retried by itself
    BASTION_LOST = "bastion_lost"  # a shared hop is gone: one alarm, not one per host
    INCOMPATIBLE = "incompatible"  # too old, too new, or no agent of ours


@dataclass(frozen=True, slots=True)
class LinkStatus:
    """Where a link stands: state, one sentence, what to try, the hop it is about, real monotonic time of the change."""

    state: LinkState
    says: str = ""
    hint: str = ""
    hop: str = ""
    since: float = 0.0
    retry_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Offset:
    """The agent's data clocks against ours: `seconds` its wall clock minus ours, right within `rtt_s` / 2 (real
    seconds); `shift_s` what turns its monotonic seconds into ours, too high by the way of the quickest frame."""

    seconds: float
    rtt_s: float
    shift_s: float
