"""What we read out of ssh_config is what the real `ssh -G` reads out of it; `-G` prints and contacts nobody."""

import getpass
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from cockpit.inventory import SshTarget, parse_target
from cockpit.link.ssh_config.resolver import Resolver
from tests.lab import require

DATA = Path(__file__).parents[1] / "data" / "ssh_config"
CASES = [
    (file.name, host)
    for file in sorted(DATA.glob("*.conf"))
    for host in file.read_text().splitlines()[0].removeprefix("# hosts:").split()
]
USUAL_KEYS = {"id_rsa", "id_ecdsa", "id_ecdsa_sk", "id_ed25519", "id_ed25519_sk", "id_xmss", "id_dsa"}


@pytest.fixture
def config(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    file = tmp_path / str(request.param)
    file.write_text((DATA / str(request.param)).read_text().replace("DATA", str(tmp_path)))
    shutil.copytree(DATA / "conf.d", tmp_path / "conf.d")
    for included in (tmp_path / "conf.d").iterdir():
        included.write_text(included.read_text().replace("DATA", str(tmp_path)))
    return file


def told_by_ssh(config: Path, target: str) -> dict[str, list[str]]:
    host, _, port = target.partition(":")
    words = ["ssh", "-G", "-F", str(config), *(["-p", port] if port else []), host]
    done = subprocess.run(words, check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=20)
    said: dict[str, list[str]] = {}
    for line in done.stdout.splitlines():
        key, _, value = line.partition(" ")
        said.setdefault(key, []).append(value)
    return said


def expanded(text: str, said: dict[str, list[str]], target: str) -> str:
    """By hand, from what ssh itself says: the tokens that the corpus uses."""
    original = target.rpartition("@")[2].partition(":")[0]
    values = {
        "h": said["hostname"][0],
        "n": original,
        "p": said["port"][0],
        "r": said["user"][0],
        "u": getpass.getuser(),
        "k": said.get("hostkeyalias", [original])[0],
    }
    text = re.sub(r"^~(?=/|$)", str(Path.home()), text)
    return re.sub(r"%(.)", lambda match: values[match[1]], text.replace("${HOME}", str(Path.home())))


def resolved(config: Path, target: str) -> SshTarget:
    parsed = parse_target(target)
    assert isinstance(parsed, SshTarget)
    return Resolver(str(config), now=lambda: 0.0).resolve(parsed)


@pytest.mark.lab
@pytest.mark.parametrize(("config", "target"), CASES, indirect=["config"], ids=[f"{c}-{t}" for c, t in CASES])
def test_resolution_is_that_of_ssh(config: Path, target: str) -> None:
    require("the OpenSSH client", shutil.which("ssh") is not None)
    said = told_by_ssh(config, target)
    hop = resolved(config, target).hop
    ssh = hop.ssh
    assert ssh.refused is None
    keys = [expanded(text, said, target) for text in said.get("identityfile", []) if text != "none"]
    usual = {Path(key).name for key in keys} == USUAL_KEYS or said["identityfile"] == ["none"]
    files = [*said["userknownhostsfile"][0].split(), *said["globalknownhostsfile"][0].split()]
    ours = {
        "hostname": hop.host,
        "user": hop.user,
        "port": str(hop.port),
        "hostkeyalias": ssh.host_key_alias,
        "keys": None if not ssh.identities else list(ssh.identities),
        "identitiesonly": ssh.identities_only,
        "certificatefile": list(ssh.certificates),
        "identityagent": ssh.agent or "",
        "proxycommand": ssh.proxy_command,
        "connecttimeout": ssh.connect_timeout_s,
        "batchmode": ssh.batch,
        "password": ssh.password,
        "keyboard": ssh.keyboard,
        "publickey": ssh.publickey,
        "prompts": ssh.prompts,
        "revoked": ssh.revoked,
        "rsa": ssh.rsa_bits or 1024,
        "checkhostip": ssh.check_address,
        "family": ssh.family or "any",
        "bind": ssh.bind_address,
        "preferred": ",".join(ssh.preferred),
    }

    def one(key: str) -> str:
        return said.get(key, [""])[0]

    assert ours == {
        "hostname": one("hostname"),
        "user": one("user"),
        "port": one("port"),
        "hostkeyalias": one("hostkeyalias"),
        "keys": None if usual else keys,
        "identitiesonly": one("identitiesonly") == "yes",
        "certificatefile": [expanded(text, said, target) for text in said.get("certificatefile", [])],
        "identityagent": expanded(one("identityagent"), said, target).removeprefix("none"),
        "proxycommand": expanded(one("proxycommand"), said, target).removeprefix("none"),
        "connecttimeout": float(one("connecttimeout").replace("none", "0")),
        "batchmode": one("batchmode") == "yes",
        "password": one("passwordauthentication") == "yes",
        "keyboard": one("kbdinteractiveauthentication") == "yes",
        "publickey": one("pubkeyauthentication") in ("yes", "true"),
        "prompts": int(one("numberofpasswordprompts")),
        "revoked": expanded(one("revokedhostkeys"), said, target),
        "rsa": int(one("requiredrsasize")),
        "checkhostip": one("checkhostip") == "yes",
        "family": one("addressfamily"),
        "bind": one("bindaddress"),
        "preferred": one("preferredauthentications"),
    }
    for name, value in (
        ("ciphers", ssh.ciphers),
        ("macs", ssh.macs),
        ("kexalgorithms", ssh.kex),
        ("hostkeyalgorithms", ssh.host_key_algorithms),
        ("pubkeyacceptedalgorithms", ssh.key_algorithms),
        ("casignaturealgorithms", ssh.ca_algorithms),
    ):
        assert not value or value == one(name)
    assert ssh.known_hosts is None or [word for path in ssh.known_hosts for word in path.split()] == [
        word for word in files if word != "none"
    ]
    if one("proxyjump") in ("", "none"):
        assert not resolved(config, target).jumps
    else:
        assert resolved(config, target).jumps
