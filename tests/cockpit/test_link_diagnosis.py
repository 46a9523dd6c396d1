"""Every sentence about a way that does not work: it names the hop, says what to try, and hostile text does no harm."""

import errno
import itertools
import shlex
import socket
from dataclasses import replace

import asyncssh
import pytest

from cockpit.errors import LinkError
from cockpit.fleet.link_state import LinkState
from cockpit.inventory import Hop
from cockpit.link.keys import certificates
from cockpit.link.keys.certificates import Certificate
from cockpit.link.keys.host_keys import Offered
from cockpit.link.ssh import diagnosis, host_identity, no_agent
from cockpit.link.ssh.by_hand import command
from cockpit.link.ssh.host_identity import Shown
from cockpit.link.ssh.no_agent import Findings

NOW = 1_780_000_000.0
HOSTILE = "\x1b[2J\x9b\x00\u202e[red]gone[/red]\r\n" + "A" * 5000
SOCKET = "/run/gpu-cockpit/agent.sock"
HOP = Hop("10.0.0.7", 2222, "oncall", "/home/ana/.ssh/id_ed25519", "", "gpu-07")
VIA = (Hop("bast.example.com", 22, "ana", name="bast"), Hop("fd00::9", 2022, "ana", name="mid"))
KEY = asyncssh.generate_private_key("ssh-ed25519")
PLAIN, SIGNED = Offered.of(KEY, authority=False), Offered.of(KEY, authority=True)

LOGIN = (
    (asyncssh.PermissionDenied(HOSTILE), LinkState.DENIED),
    (asyncssh.KeyExchangeFailed(HOSTILE), LinkState.INCOMPATIBLE),
    (asyncssh.ChannelOpenError(asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED, HOSTILE), LinkState.DENIED),
    (asyncssh.ChannelOpenError(asyncssh.OPEN_CONNECT_FAILED, "Connection refused"), LinkState.UNREACHABLE),
    (asyncssh.ChannelOpenError(asyncssh.OPEN_CONNECT_FAILED, HOSTILE), LinkState.UNREACHABLE),
    (asyncssh.ConnectionLost(HOSTILE), LinkState.UNREACHABLE),
    (asyncssh.ProtocolError(HOSTILE), LinkState.UNREACHABLE),
    (asyncssh.DisconnectError(99, HOSTILE), LinkState.UNREACHABLE),
    (ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"), LinkState.UNREACHABLE),
    (ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"), LinkState.UNREACHABLE),
    (OSError(errno.EHOSTUNREACH, "No route to host"), LinkState.UNREACHABLE),
    (OSError(errno.EMFILE, "Too many open files"), LinkState.UNREACHABLE),
    (socket.gaierror(-2, "Name or service not known"), LinkState.UNREACHABLE),
    (UnicodeError(HOSTILE), LinkState.UNREACHABLE),
    (ValueError(HOSTILE), LinkState.UNREACHABLE),
)


def signed(**changes: object) -> Certificate:
    base: dict[str, object] = {
        "identity": "gpu-07@site", "serial": 7, "principals": ("gpu-07", "gpu-08"), "since": NOW - 1e6,
        "until": NOW + 1e6, "authority": "SHA256:" + "x" * 43,
    }  # fmt: skip
    return Certificate(**{**base, **changes})  # type: ignore[arg-type]


IDENTITY = (
    (Shown(PLAIN, None, known=True, vouched=False), "", LinkState.KEY_CHANGED, "SECURITY: the host key has CHANGED"),
    (
        Shown(SIGNED, signed(), known=True, vouched=False),
        "",
        LinkState.KEY_CHANGED,
        "SECURITY: the host key has CHANGED",
    ),
    (
        Shown(PLAIN, None, known=True, vouched=False),
        "Host key is revoked",
        LinkState.KEY_CHANGED,
        "SECURITY: its host key",
    ),
    (
        Shown(None, signed(), known=False, vouched=True),
        "Host CA key is revoked",
        LinkState.KEY_CHANGED,
        "the authority",
    ),
    (Shown(PLAIN, None, known=False, vouched=False), "", LinkState.DENIED, "host key is not known"),
    (Shown(PLAIN, None, known=False, vouched=True), "", LinkState.DENIED, "shows no certificate"),
    (Shown(SIGNED, signed(), known=False, vouched=True), "", LinkState.DENIED, "not by an authority"),
    (Shown(SIGNED, None, known=False, vouched=False), "", LinkState.DENIED, "is not known"),
    (Shown(None, None, known=False, vouched=True), HOSTILE, LinkState.DENIED, "refused"),
    (Shown(None, signed(), known=False, vouched=True), HOSTILE, LinkState.DENIED, "refused"),
    (
        Shown(None, signed(until=NOW - 60), known=False, vouched=True),
        "expired",
        LinkState.DENIED,
        "has expired on 2026-05-28",
    ),
    (
        Shown(None, signed(since=NOW + 60), known=False, vouched=True),
        "not yet",
        LinkState.DENIED,
        "is not valid before",
    ),
    (
        Shown(None, signed(), known=False, vouched=True),
        "principal mismatch",
        LinkState.DENIED,
        "for gpu-07, gpu-08, not for 10.0.0.7",
    ),
)

ABSENT = "no agent is running here (FileNotFoundError: No such file or directory); x"
BARRED = "permission denied (PermissionError: Permission denied); ask"
A_FILE = "is not a socket (ConnectionRefusedError: Connection refused); check"
BRIDGE = (
    (3, f"gpu-cockpit-agent: {SOCKET}: {ABSENT}", LinkState.AGENT_DOWN),
    (4, f"gpu-cockpit-agent: {SOCKET}: {BARRED}", LinkState.DENIED),
    (5, f"gpu-cockpit-agent: {SOCKET}: {A_FILE}", LinkState.INCOMPATIBLE),
    (3, "gpu-cockpit-agent:" + HOSTILE, LinkState.AGENT_DOWN),
)


def all_errors() -> list[tuple[str, LinkError, LinkState | None]]:
    """Every sentence there is, with the state it must carry (None where that is not the point)."""
    found: list[tuple[str, LinkError, LinkState | None]] = []
    for via in ((), VIA[:1], VIA):
        found += [(f"login {error!r:.40} {len(via)}", diagnosis.login_failed(error, HOP, via), s) for error, s in LOGIN]
        found += [
            (f"identity {why:.20} {says} {len(via)}", host_identity.refused(HOP, via, shown, why, NOW), state)
            for shown, why, state, says in IDENTITY
        ]
        found.append(("timed out", diagnosis.timed_out(HOP, via, 10.0, "logging in"), LinkState.UNREACHABLE))
        found.append(("speechless", diagnosis.speechless(HOP, via, 10.0), LinkState.UNREACHABLE))
        found.append(("broken", diagnosis.broken(ConnectionError(HOSTILE), HOP, via), LinkState.UNREACHABLE))
        found.append(("gone", diagnosis.broken(None, HOP, via), LinkState.UNREACHABLE))
        ours = certificates.why_denied([signed(until=NOW - 5)], "oncall", NOW)
        denied = diagnosis.login_failed(asyncssh.PermissionDenied(""), HOP, via, ours)
        found.append(("own certificate", denied, LinkState.DENIED))
    for status, said, state in BRIDGE:
        error = no_agent.proved("gpu-07", HOP, SOCKET, status, said)
        assert error is not None
        found.append((f"bridge {status}", error, state))
    bridges, sockets = ("missing", "other", "refused"), ("there", "absent", "hidden", "unknown")
    for bridge, place in itertools.product(bridges, sockets):
        for status, said in ((1, HOSTILE), (None, ""), (2, "gpu-cockpit-agent: " + HOSTILE)):
            findings = Findings(bridge, status, said, place)
            expected = LinkState.DENIED if place == "hidden" else LinkState.AGENT_DOWN
            found.append((f"no path {findings}"[:60], no_agent.no_path("gpu-07", HOP, SOCKET, findings), expected))
    return found


@pytest.mark.parametrize(
    ("what", "error", "state"), all_errors(), ids=lambda value: value if type(value) is str else ""
)
def test_every_sentence_names_its_hop_and_a_next_step(what: str, error: LinkError, state: LinkState | None) -> None:
    assert error.state == state
    assert error.hop in ("gpu-07", "bast", "mid")
    assert error.hop in str(error)
    for text in (str(error), error.hint):
        assert text
        assert text.isprintable(), what
        assert len(text) <= 300, what
    assert "\u202e" not in str(error)


@pytest.mark.parametrize(("shown", "why", "state", "says"), IDENTITY)
def test_what_a_stranger_showed_is_said(shown: Shown, why: str, state: LinkState, says: str) -> None:
    error = host_identity.refused(HOP, (), shown, why, NOW)
    assert (error.state, says in str(error)) == (state, True)
    assert ("SECURITY" in str(error)) is (state is LinkState.KEY_CHANGED)


@pytest.mark.parametrize(
    ("ours", "says"),
    [
        ([], None),
        ([signed(until=NOW - 1)], "your certificate 'gpu-07@site', serial 7 has expired on 2026-05-28 20:26 UTC"),
        ([signed(since=NOW + 1)], "your certificate 'gpu-07@site', serial 7 is not valid before 2026-05-28 20:26 UTC"),
        ([signed(until=NOW - 1), signed(identity="other", serial=0)], "your certificate 'other' for gpu-07, gpu-08"),
        ([signed(principals=(), until=None)], "for everybody (valid for ever) is not accepted"),
        ([signed(principals=("a", "b", "c", "d", "e", "f"))], "for a, b, c, d and 2 more"),
    ],
)
def test_a_certificate_of_ones_own_is_judged_by_what_it_says(ours: list[Certificate], says: str | None) -> None:
    found = certificates.why_denied(ours, "oncall", NOW)
    assert (found is None) if says is None else (found is not None and says in found[0])


@pytest.mark.parametrize(
    "data", [b"", b"\0" * 40, KEY.public_data, b"\xff" * 4000], ids=["none", "zeros", "key", "ones"]
)
def test_what_is_no_certificate_is_none(data: bytes) -> None:
    assert Certificate.read(data) is None


def test_a_certificate_is_read_from_its_wire_form() -> None:
    authority = asyncssh.generate_private_key("ssh-ed25519")
    made = authority.generate_user_certificate(
        KEY, "ana\x1b[2J", serial=9, principals=["oncall", "dev"], valid_after=int(NOW), valid_before=int(NOW) + 60
    )
    found = Certificate.read(made.public_data)
    assert found == Certificate("ana[2J", 9, ("oncall", "dev"), NOW, NOW + 60, authority.get_fingerprint())
    endless = Certificate.read(authority.generate_user_certificate(KEY, "x").public_data)
    assert endless is not None
    assert endless.until is None


def test_a_host_that_refuses_has_answered() -> None:
    refused = diagnosis.login_failed(ConnectionRefusedError(), HOP, VIA)
    told = diagnosis.login_failed(
        asyncssh.ChannelOpenError(asyncssh.OPEN_CONNECT_FAILED, "Connection refused"), HOP, VIA
    )
    silent = diagnosis.timed_out(HOP, VIA, 1.0, "logging in")
    assert isinstance(refused, diagnosis.Answered)
    assert isinstance(told, diagnosis.Answered)
    assert not isinstance(silent, diagnosis.Answered)


def test_the_command_to_try_goes_through_jumps_with_what_the_inventory_names_for_them() -> None:
    plain = Hop("b1", 22, "me"), Hop("fe80::1", 2222, "me")
    named = Hop("b2", 2222, "me", identity="/k", known_hosts="/my files/known")
    assert command(Hop("n", 22, "me"), plain) == "ssh -J 'me@b1:22,me@[fe80::1]:2222' me@n true"
    words = shlex.split(command(Hop("n", 24, "me"), (plain[0], named)))
    assert words[:2] == ["ssh", "-o"]
    assert words[3:] == ["-p", "24", "me@n", "true"]
    way = shlex.split(words[2].removeprefix("ProxyCommand="))
    assert way == [
        *("ssh", "-i", "/k", "-o", 'UserKnownHostsFile="/my files/known"', "-J", "me@b1:22"),
        *("-p", "2222", "-W", "[%h]:%p", "me@b2"),
    ]
    inner = replace(named, host="b3", known_hosts="/k%h")
    words = shlex.split(command(Hop("n", 22, "me"), (inner, named)))
    (nested,) = [word for word in shlex.split(words[2].removeprefix("ProxyCommand=")) if "ProxyCommand" in word]
    assert '-W "[%%h]:%%p" me@b3' in nested, "the outer ssh expands one of two"
    assert "UserKnownHostsFile=/k%%%%%%%%h" in nested
