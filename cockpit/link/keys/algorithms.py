"""Lists of algorithms as ssh_config writes them, cut down to what asyncssh knows."""

from collections.abc import Iterable

from asyncssh.encryption import get_encryption_algs
from asyncssh.kex import get_kex_algs
from asyncssh.mac import get_mac_algs
from asyncssh.public_key import get_certificate_algs, get_public_key_algs

from cockpit.link.ssh_config.match import matches

_CERTIFICATE = "-cert-v01@openssh.com"


def ciphers(text: str) -> str:
    """`Ciphers`, empty for the default."""
    return _known(text, get_encryption_algs())


def kex(text: str) -> str:
    """`KexAlgorithms`, empty for the default."""
    return _known(text, get_kex_algs())


def macs(text: str) -> str:
    """`MACs`, empty for the default."""
    return _known(text, get_mac_algs())


def host_keys(text: str) -> str:
    """`HostKeyAlgorithms`, empty for the default."""
    return _known(text, [*get_certificate_algs(), *get_public_key_algs()])


def signatures(text: str) -> str:
    """`PubkeyAcceptedAlgorithms`, empty for the default; certificates count as the keys they are about."""
    prefix, words = _split(text)
    plain = dict.fromkeys(_signature(word) for word in words)
    return _known(prefix + ",".join(plain), get_public_key_algs()) if text else ""


def _known(text: str, possible: Iterable[bytes]) -> str:
    """The list without what is not known here.

    Raises:
        ValueError: nothing is left of a list that is meant to be the whole choice.
    """
    prefix, words = _split(text)
    names = [name.decode() for name in possible]
    kept = [word for word in words if any(matches(name, word) for name in names)]
    if kept:
        return prefix + ",".join(kept)
    if words and not prefix:
        raise ValueError(f"none of the algorithms {text} is known here")
    return ""


def _split(text: str) -> tuple[str, list[str]]:
    prefix = text[:1] if text[:1] in ("+", "-", "^") else ""
    return prefix, [word for word in text[len(prefix) :].split(",") if word]


def _signature(word: str) -> str:
    if not word.endswith(_CERTIFICATE):
        return word
    base = word.removesuffix(_CERTIFICATE)
    return f"{base}@openssh.com" if base.startswith("sk-") else base
