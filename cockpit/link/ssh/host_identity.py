"""A host that is not who it should be: its key, or the certificate that vouches for it, is not believed.

`key_changed` only where something else about that host is known, or what it shows was revoked: that is an attack or a
change somebody must vouch for. What was never known, or has lapsed, is `denied`. Neither is ever tried again by itself.
"""

import shlex
from dataclasses import dataclass

from cockpit.errors import LinkError
from cockpit.fleet.link_state import LinkState
from cockpit.inventory import Hop
from cockpit.link.keys.certificates import Certificate
from cockpit.link.keys.host_keys import Offered, file_of, revoked_in
from cockpit.link.ssh.by_hand import command
from cockpit.link.ssh.diagnosis import plain

ALARM = "SECURITY"  # in every sentence about a host that may be somebody else


@dataclass(frozen=True, slots=True)
class Shown:
    """What a host showed, and what is known of it. `known`: another key of this very host; `vouched`: an authority."""

    offered: Offered | None
    certificate: Certificate | None
    known: bool
    vouched: bool


def refused(hop: Hop, via: tuple[Hop, ...], shown: Shown, why: str, now: float) -> LinkError:
    """Why what it showed does not count; `why` is asyncssh's word for it."""
    if "revoked" in why:
        named = {"CA": "the authority of its host certificate", "certificate": "its host certificate"}
        what = next((name for word, name in named.items() if word in why), "its host key")
        return _alarm(hop, f"{what} is revoked in {revoked_in(hop)}", "do not connect; ask its owner")
    if shown.known and shown.offered is not None:
        return _changed(hop, shown.offered)
    if shown.offered is None:
        return _lapsed(hop, shown.certificate, why, now)
    if shown.offered.authority:
        return _other_authority(hop, shown, shown.offered)
    return _unknown(hop, via, shown, shown.offered)


def _changed(hop: Hop, offered: Offered) -> LinkError:
    file = file_of(hop)
    key = "a certificate by" if offered.authority else "it shows"
    return _alarm(
        hop,
        f"the host key has CHANGED; {key} {_key(offered)}, {file} knows another one",
        f"somebody may be in between; only if its owner confirms the new key: "
        f"{shlex.join(['ssh-keygen', '-R', _address(hop), '-f', file])}",
    )


def _lapsed(hop: Hop, certificate: Certificate | None, why: str, now: float) -> LinkError:
    """The authority is ours, the certificate does not hold."""
    if certificate is None:
        return _denied(hop, f"its host certificate is refused: {plain(why)}", "ask its owner")
    lapsed = certificate.lapsed(now)
    if lapsed:
        return _denied(
            hop,
            f"its host certificate {certificate.title} {lapsed}",
            "compare both clocks; else its owner must have its host key signed anew",
        )
    if "principal" in why:
        name = hop.host
        return _denied(
            hop,
            f"its host certificate {certificate.title} is for {certificate.names}, not for {name}",
            "reach it by one of these names, or have it signed for this one too",
        )
    return _denied(hop, f"its host certificate {certificate.title} is refused: {plain(why)}", "ask its owner")


def _other_authority(hop: Hop, shown: Shown, offered: Offered) -> LinkError:
    file, whose = file_of(hop), f" {shown.certificate.title}" if shown.certificate else ""
    if shown.vouched:
        return _denied(
            hop,
            f"its host certificate{whose} is signed by {_key(offered)}, not by an authority that {file} trusts for it",
            "somebody may be in between: ask its owner which authority is right before you change that file",
        )
    return _denied(
        hop,
        f"the authority of its host certificate{whose} is not known: {_key(offered)}",
        f"if you trust it, add to {file}: @cert-authority {_address(hop)} <its public key>",
    )


def _unknown(hop: Hop, via: tuple[Hop, ...], shown: Shown, offered: Offered) -> LinkError:
    file = file_of(hop)
    instead = f"; {file} trusts an authority for it, but it shows no certificate of it" if shown.vouched else ""
    return _denied(
        hop,
        f"host key is not known: {_key(offered)}{instead}",
        f"compare that fingerprint with the host's own, then accept it once: {command(hop, via, known_hosts=file)}",
    )


def _alarm(hop: Hop, says: str, hint: str) -> LinkError:
    return LinkError(LinkState.KEY_CHANGED, f"{hop.place}: {ALARM}: {says}", hint, hop.title, "key")


def _denied(hop: Hop, says: str, hint: str) -> LinkError:
    return LinkError(LinkState.DENIED, f"{hop.place}: {says}", hint, hop.title, "key")


def _key(offered: Offered) -> str:
    return f"{offered.algorithm} {offered.fingerprint}"


def _address(hop: Hop) -> str:
    return hop.host if hop.port == 22 else f"[{hop.host}]:{hop.port}"
