"""What ssh_config decides about one login, as values: resolved and expanded by `link.ssh_config`, read by whoever
logs in. An empty value means that nobody decided, and then our own default holds."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Remark:
    """A construct that we do not follow as `ssh` would. `place`: FILE:LINE. `step`: what the operator can do."""

    place: str
    construct: str
    says: str
    step: str = ""

    def __str__(self) -> str:
        return f"{self.place}: {self.construct}: {self.says}" + (f"; {self.step}" if self.step else "")


@dataclass(frozen=True, slots=True)
class SshSettings:
    """Paths are absolute, tokens and variables are filled in. `refused`: why no login may be tried at all.

    `agent`: None for SSH_AUTH_SOCK, empty for no agent, else the socket's path. `identities`: None for the usual files
    in ~/.ssh. `known_hosts`: None for the usual files. Algorithm lists are as written (`+`, `-`, `^` in front change
    the default). `family` is "", "inet" or "inet6". `alias`: the name that was looked up; `config`: the file chosen.
    """

    alias: str = ""
    config: str = ""
    host_key_alias: str = ""
    identities: tuple[str, ...] | None = None
    identities_only: bool = False
    certificates: tuple[str, ...] = ()
    agent: str | None = None
    known_hosts: tuple[str, ...] | None = None
    revoked: str = ""
    proxy_command: str = ""
    ciphers: str = ""
    kex: str = ""
    macs: str = ""
    host_key_algorithms: str = ""
    key_algorithms: str = ""
    ca_algorithms: str = ""
    rsa_bits: int = 0
    rekey_bytes: str = ""
    rekey_time: str = ""
    check_address: bool = False
    family: str = ""
    bind_address: str = ""
    connect_timeout_s: float = 0.0
    batch: bool = False
    publickey: bool = True
    keyboard: bool = True
    password: bool = True
    prompts: int = 3
    preferred: tuple[str, ...] = ()
    refused: Remark | None = None
    remarks: tuple[Remark, ...] = ()
