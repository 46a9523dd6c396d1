"""Certificates and revocations, as `ssh-keygen` makes them and a real sshd judges them: who counts is let in, who does
not is told why, and a host that may be somebody else is an alarm that nothing tries again.
"""

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.network import Network, require_network, sh
from tests.e2e.settling import settle

pytestmark = pytest.mark.lab

HOLD_S = 1.5  # longer than any pause between attempts
USER_PORT, PLAIN_PORT, ASKING_PORT, FIRST_HOST_PORT = 2400, 2401, 2402, 2410
VALID = "-5m:+4h"


@dataclass(frozen=True)
class User:
    """A person's certificate: how it is signed, and what must come of it at an sshd that trusts `user_ca`."""

    name: str
    sign: tuple[str, ...]
    state: str
    says: str = ""
    hint: str = ""
    port: int = USER_PORT


@dataclass(frozen=True)
class Host:
    """A host's identity: `sign` its certificate, `known` the lines of known_hosts ({ca}, {other}, {key}, {address})."""

    name: str
    sign: tuple[str, ...]
    known: str
    state: str
    says: str = ""
    hint: str = ""


DAY = r"20\d\d-\d\d-\d\d \d\d:\d\d UTC"
USERS = (
    User("accepted", ("user_ca", "-n", "oncall", "-V", VALID), "live"),
    User(
        "expired",
        ("user_ca", "-n", "oncall", "-V", "-2h:-1h"),
        "denied",
        rf"user 'root' is not let in: your certificate 'expired@oncall', serial 7 has expired on {DAY}",
        "have it signed anew",
    ),
    User(
        "expired-asked",
        ("user_ca", "-n", "oncall", "-V", "-2h:-1h"),
        "denied",
        rf"; your certificate 'expired-asked@oncall', serial 7 has expired on {DAY}",
        port=ASKING_PORT,
    ),
    User(
        "early",
        ("user_ca", "-n", "oncall", "-V", "+1h:+2h"),
        "denied",
        rf"your certificate 'early@oncall', serial 7 is not valid before {DAY}",
    ),
    User(
        "principal",
        ("user_ca", "-n", "dev,build", "-V", VALID),
        "denied",
        rf"your certificate 'principal@oncall', serial 7 for dev, build \(valid until {DAY}\) is not accepted",
        "accepts no such principal",
    ),
    User("revoked", ("user_ca", "-n", "oncall", "-V", VALID), "denied", "is not accepted", "or knows it as revoked"),
    User("untrusted", ("other_ca", "-n", "oncall", "-V", VALID), "denied", "is not accepted", "authority SHA256:"),
    User("plain", (), "live", port=PLAIN_PORT),
    User("plain-revoked", (), "denied", "user 'root' is not let in", "plain-revoked is authorized there", PLAIN_PORT),
    User("plain-and-expired", ("user_ca", "-n", "oncall", "-V", "-2h:-1h"), "live", port=PLAIN_PORT),
)
TRUST = "@cert-authority {address} {ca}\n"
HOSTS = (
    Host("h-accepted", ("host_ca", "-n", "10.77.1.1", "-V", VALID), TRUST, "live"),
    Host(
        "h-expired",
        ("host_ca", "-n", "10.77.1.1", "-V", "-2h:-1h"),
        TRUST,
        "denied",
        rf"its host certificate 'h-expired@oncall', serial 7 has expired on {DAY}",
        "signed anew",
    ),
    Host(
        "h-principal",
        ("host_ca", "-n", "gpu-07,gpu-08", "-V", VALID),
        TRUST,
        "denied",
        "its host certificate 'h-principal@oncall', serial 7 is for gpu-07, gpu-08, not for 10.77.1.1",
        "reach it by one of these names",
    ),
    Host(
        "h-other-ca",
        ("other_ca", "-n", "10.77.1.1", "-V", VALID),
        TRUST,
        "denied",
        "is signed by ssh-ed25519 SHA256:.*, not by an authority that .*known_hosts trusts for it",
        "somebody may be in between",
    ),
    Host(
        "h-unknown-ca",
        ("other_ca", "-n", "10.77.1.1", "-V", VALID),
        "",
        "denied",
        "the authority of its host certificate 'h-unknown-ca@oncall', serial 7 is not known: ssh-ed25519 SHA256:",
        "@cert-authority [10.77.1.1]:",
    ),
    Host(
        "h-ca-revoked",
        ("host_ca", "-n", "10.77.1.1", "-V", VALID),
        TRUST + "@revoked {address} {ca}\n",
        "key_changed",
        "SECURITY: the authority of its host certificate is revoked in ",
        "do not connect",
    ),
    Host(
        "h-uncertified",
        (),
        TRUST,
        "denied",
        "host key is not known: ssh-ed25519 SHA256:.*trusts an authority for it, but it shows no certificate of it",
    ),
    Host("h-known", (), "{address} {key}\n", "live"),
    Host(
        "h-revoked",
        (),
        "{address} {key}\n@revoked {address} {key}\n",
        "key_changed",
        "SECURITY: its host key is revoked in ",
        "do not connect",
    ),
    Host(
        "h-changed",
        (),
        "{address} {other}\n",
        "key_changed",
        "SECURITY: the host key has CHANGED; it shows ssh-ed25519 SHA256:",
        "ssh-keygen -R ",
    ),
)


@pytest.fixture(scope="module")
def network(folder: Path) -> Iterator[Network]:
    """One place where all the sshds are, and the operator."""
    require_network()
    with Network(folder, targets=()) as network:
        yield network


@dataclass(frozen=True)
class Seen:
    """What the console found and what the sshds saw."""

    found: dict[str, Any]
    logs: dict[str, str]


@pytest.fixture(scope="module")
def seen(network: Network, fleet: Path) -> Seen:
    """All of them at once, and a host behind a bastion whose key has changed."""
    folder = network.folder
    for name in ("user_ca", "host_ca", "other_ca", *(person.name for person in USERS), *(host.name for host in HOSTS)):
        sh("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(folder / name))
    for person in USERS:
        _sign(folder, person.name, person.sign)
    for host in HOSTS:
        _sign(folder, host.name, host.sign, "-h")
    sshds = {**_for_users(network), **_for_hosts(network)}
    simulated = tomllib.loads((fleet / "fleet.toml").read_text())["host"][0]["address"].removeprefix("unix://")
    found = settle(network, _fleet(network, simulated), HOLD_S)
    return Seen(found, {name: log.read_text() for name, log in sshds.items()})


def _sign(folder: Path, name: str, sign: tuple[str, ...], *more: str) -> None:
    if sign:
        authority, *words = sign
        key = str(folder / f"{name}.pub")
        serial = "8" if name == "revoked" else "7"  # a revocation list goes by authority and serial
        sh("ssh-keygen", "-q", "-s", str(folder / authority), *more, "-I", f"{name}@oncall", "-z", serial, *words, key)


def _for_users(network: Network) -> dict[str, Path]:
    folder = network.folder
    principals = folder / "principals-root"
    principals.write_text("oncall\n")
    keys = [(folder / f"{name}.pub").read_text() for name in ("plain", "plain-revoked", "plain-and-expired")]
    (folder / "authorized").write_text("".join(keys))
    revoked = [str(folder / "revoked-cert.pub"), str(folder / "plain-revoked.pub")]
    sh("ssh-keygen", "-q", "-k", "-f", str(folder / "krl"), *revoked)
    trust = (
        f"TrustedUserCAKeys {folder}/user_ca.pub",
        f"AuthorizedPrincipalsFile {principals}",
        f"RevokedKeys {folder}/krl",
    )
    sshds = {
        "users": network.sshd("bast", *trust, "AuthorizedKeysFile none", port=USER_PORT),
        "plain": network.sshd("bast", *trust, f"AuthorizedKeysFile {folder}/authorized", port=PLAIN_PORT),
    }
    asking = ("KbdInteractiveAuthentication yes", "PasswordAuthentication yes", "PermitRootLogin yes")
    sshds["asking"] = network.sshd("bast", *trust, *asking, "AuthorizedKeysFile none", port=ASKING_PORT)
    return {name: sshd.start().log for name, sshd in sshds.items()}


def _for_hosts(network: Network) -> dict[str, Path]:
    logs = {}
    for number, host in enumerate(HOSTS):
        own = network.folder / host.name
        more = [f"HostKey {own}"] + ([f"HostCertificate {own}-cert.pub"] if host.sign else [])
        logs[host.name] = network.sshd("bast", *more, port=FIRST_HOST_PORT + number).start().log
    return logs


def _fleet(network: Network, agent: str) -> str:
    folder = network.folder
    (folder / "known_hosts").write_text(
        "".join(network.known("bast", port) for port in (USER_PORT, PLAIN_PORT, ASKING_PORT))
    )
    lines = [f'[defaults]\nuser = "root"\nsocket = "{agent}"']
    lines += [_host(network, person.name, person.port, person.name, "known_hosts") for person in USERS]
    for number, host in enumerate(HOSTS):
        port = FIRST_HOST_PORT + number
        known = folder / f"{host.name}-known_hosts"
        keys = {"ca": "host_ca", "other": "other_ca", "key": host.name}
        text = {word: " ".join((folder / f"{name}.pub").read_text().split()[:2]) for word, name in keys.items()}
        known.write_text(host.known.format(address=f"[{network.address('bast')}]:{port}", **text))
        lines.append(_host(network, host.name, port, "oncall", known.name))
        if host.name == "h-changed":
            lines.append(_host(network, "bastion", port, "oncall", known.name, "jump"))
    lines += [f'{_host(network, f"behind-{n}", USER_PORT, "accepted", "known_hosts")}\njump = "bastion"' for n in "ab"]
    return "\n\n".join(lines) + "\n"


def _host(network: Network, name: str, port: int, identity: str, known: str, kind: str = "host") -> str:
    key = {"host": "address", "jump": "host"}[kind]
    return (
        f'[[{kind}]]\nname = "{name}"\n{key} = "{network.address("bast")}:{port}"\n'
        f'identity = "{identity}"\nknown_hosts = "{known}"'
    )


@pytest.mark.parametrize("person", USERS, ids=lambda person: person.name)
def test_a_user_certificate_counts_or_says_why_not(person: User, seen: Seen) -> None:
    found = seen.found[person.name]
    assert found["state"] == person.state, found
    assert re.search(person.says, found["says"]), found
    assert person.hint in found["hint"], found
    assert found["calm"]


@pytest.mark.parametrize("host", HOSTS, ids=lambda host: host.name)
def test_a_host_is_believed_or_refused_for_good(host: Host, seen: Seen) -> None:
    found = seen.found[host.name]
    assert found["state"] == host.state, found
    assert re.search(host.says, found["says"]), found
    assert host.hint in found["hint"], found
    extra = 1 if host.name == "h-changed" else 0  # as the bastion of others
    assert seen.logs[host.name].count("Connection from") == 1 + extra


def test_a_bastion_whose_key_has_changed_bars_all_behind_it_and_is_asked_once(seen: Seen) -> None:
    for name in ("behind-a", "behind-b"):
        found = seen.found[name]
        assert found["state"] == "key_changed"
        assert found["hop"] == "bastion"
        assert found["says"].startswith("bastion (root@10.77.1.1:")
        assert "SECURITY: the host key has CHANGED" in found["says"]
    assert seen.logs["h-changed"].count("Connection from") == 2
