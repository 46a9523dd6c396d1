"""Every keyword of ssh_config and what we make of it, as data: followed, of no matter here, said aloud, or refused.

Refused is what would make a login less safe, or another one than meant, if it were passed over. The table follows
ssh_config(5) of OpenSSH 10; `packaging/docs/ssh_config.md` is checked against it.
"""

from dataclasses import dataclass
from enum import Enum

_OFF = ("no", "none", "false", "internal")
BINARY = "--ssh-binary uses your own ssh instead"


class Verdict(Enum):
    """What becomes of a keyword."""

    FOLLOWED = "followed"
    HARMLESS = "no matter"
    SAID = "said"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Word:
    """A keyword. `values`: the first arguments (lower case) for which the verdict holds, empty for any but none and no;
    otherwise it is of no matter. `own`: only where the user wrote it, not where the system's file says it for all."""

    name: str
    verdict: Verdict
    says: str = ""
    step: str = ""
    values: tuple[str, ...] = ()
    own: bool = False

    def applies(self, value: str, *, own: bool) -> bool:
        """Whether this line of the configuration is worth a sentence."""
        if self.verdict not in (Verdict.SAID, Verdict.REFUSED) or (self.own and not own):
            return False
        return value.lower() in self.values if self.values else value.lower() not in _OFF


ALIASES = {
    "challengeresponseauthentication": "kbdinteractiveauthentication",
    "skeyauthentication": "kbdinteractiveauthentication",
    "tisauthentication": "kbdinteractiveauthentication",
    "dsaauthentication": "pubkeyauthentication",
    "identityfile2": "identityfile",
    "keepalive": "tcpkeepalive",
    "pubkeyacceptedkeytypes": "pubkeyacceptedalgorithms",
    "hostbasedkeytypes": "hostbasedacceptedalgorithms",
}

_FOLLOWED = (
    "AddressFamily BatchMode BindAddress CanonicalDomains CanonicalizeFallbackLocal CanonicalizeHostname "
    "CanonicalizeMaxDots CanonicalizePermittedCNAMEs CASignatureAlgorithms CertificateFile CheckHostIP Ciphers "
    "ConnectTimeout GlobalKnownHostsFile HostKeyAlgorithms HostKeyAlias Hostname IdentitiesOnly IdentityAgent "
    "IdentityFile IgnoreUnknown KbdInteractiveAuthentication KexAlgorithms MACs NumberOfPasswordPrompts "
    "PasswordAuthentication Port PreferredAuthentications ProxyCommand ProxyJump PubkeyAcceptedAlgorithms "
    "PubkeyAuthentication RefuseConnection RekeyLimit RequiredRSASize RevokedHostKeys Tag User UserKnownHostsFile"
)

_HARMLESS = (
    "AddKeysToAgent CanonicalizeFallback ChannelTimeout Cipher ClearAllForwardings Compression CompressionLevel "
    "ConnectionAttempts ControlMaster ControlPath ControlPersist DynamicForward EnableEscapeCommandline "
    "EnableSSHKeysign EscapeChar ExitOnForwardFailure FallBackToRsh FingerprintHash ForkAfterAuthentication "
    "ForwardAgent ForwardX11 ForwardX11Timeout ForwardX11Trusted GatewayPorts GSSAPIClientIdentity "
    "GSSAPIDelegateCredentials GSSAPIKexAlgorithms GSSAPIRenewalForcesRekey GSSAPIServerIdentity GSSAPITrustDns "
    "HashKnownHosts HostbasedAcceptedAlgorithms IPQoS KbdInteractiveDevices LocalCommand LocalForward LogLevel "
    "LogVerbose ObscureKeystrokeTiming PermitLocalCommand PermitRemoteOpen Protocol RemoteCommand "
    "RemoteForward RequestTTY RhostsRSAAuthentication RSAAuthentication SendEnv ServerAliveCountMax "
    "ServerAliveInterval SessionType SetEnv StdinNull StreamLocalBindMask StreamLocalBindUnlink SyslogFacility "
    "TCPKeepAlive Tunnel TunnelDevice UpdateHostKeys UsePrivilegedPort UseRoaming UseRsh VersionAddendum VisualHostKey "
    "WarnWeakCrypto XAuthLocation"
)

_SPOKEN = (
    Word(
        "StrictHostKeyChecking",
        Verdict.SAID,
        "host keys are always checked here, an unknown one is refused",
        "log in once with ssh to accept it",
        ("no", "off", "false", "accept-new"),
    ),
    Word(
        "NoHostAuthenticationForLocalhost",
        Verdict.SAID,
        "host keys are always checked here, this machine's own too",
        "put it into known_hosts: ssh-keyscan localhost shows it",
    ),
    Word(
        "VerifyHostKeyDNS",
        Verdict.SAID,
        "SSHFP records are not asked for: the key must stand in known_hosts",
        f"log in once with ssh to accept it; {BINARY}",
    ),
    Word(
        "KnownHostsCommand",
        Verdict.REFUSED,
        "host keys, and which of them are revoked, are known to that command alone",
        f"put them into a known_hosts file; {BINARY}",
    ),
    Word("ProxyUseFdpass", Verdict.REFUSED, "a connection passed on by ProxyCommand cannot be taken over", BINARY),
    Word(
        "SecurityKeyProvider",
        Verdict.SAID,
        "FIDO keys are asked for signatures through the SSH agent only",
        f"add the key to the agent: ssh-add -S PROVIDER; {BINARY}",
        own=True,
    ),
    Word(
        "PKCS11Provider",
        Verdict.SAID,
        "keys on the token are not offered",
        f"add them to the agent: ssh-add -s PROVIDER; {BINARY}",
    ),
    Word(
        "SmartcardDevice",
        Verdict.SAID,
        "keys on the card are not offered",
        f"add them to the agent: ssh-add -s PROVIDER; {BINARY}",
    ),
    Word("GSSAPIAuthentication", Verdict.SAID, "no login with a Kerberos ticket is tried", BINARY, own=True),
    Word("GSSAPIKeyExchange", Verdict.SAID, "host keys are checked, not Kerberos tickets", BINARY, own=True),
    Word("HostbasedAuthentication", Verdict.SAID, "no login in this host's name is tried", BINARY, own=True),
    Word("BindInterface", Verdict.SAID, "the interface is not chosen", f"use BindAddress; {BINARY}"),
)

_ALL = (
    *(Word(name, Verdict.FOLLOWED) for name in ("Host", "Match", "Include", *_FOLLOWED.split())),
    *(Word(name, Verdict.HARMLESS) for name in _HARMLESS.split()),
    *_SPOKEN,
)

WORDS: dict[str, Word] = {word.name.lower(): word for word in _ALL}
