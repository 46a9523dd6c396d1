"""What the simulated root helper allows: the policy of a sensible site as data, in the words of a real policy file.

It names what operators practise with, and not everything: nobody may blind a host's agent or touch the services that
GPUs depend on, so that a refusal can be seen too.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

SOCKET = "/run/haproxy/admin.sock"
FILE = "/etc/gpu-cockpit/policy.toml"
RANK = {"viewer": 0, "operator": 1, "admin": 2}


@dataclass(frozen=True, slots=True)
class Allow:
    """One [[allow]]: `keys` are patterns of what it is about, by the name of the argument."""

    actions: tuple[str, ...]
    keys: Mapping[str, tuple[str, ...]]
    role: str = "operator"
    floor: int = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the policy says of an action: `rule` in words, `role` who may, `says` why not."""

    allowed: bool
    rule: str = ""
    role: str = ""
    floor: int = 0
    says: str = ""


def of_site(floor: int) -> tuple[Allow, ...]:
    """The policy of every simulated host; `floor`: of the balanced pool."""
    return (
        Allow(("systemd.restart", "systemd.start", "systemd.stop"), {"unit": ("vllm-*@*.service",)}),
        Allow(("container.restart", "container.start", "container.stop"), {"container": ("embed-*", "rerank-*")}),
        Allow(("haproxy.*",), {"backend": ("*",), "server": ("*",)}, floor=floor),
        Allow(("engine.pause", "engine.resume", "engine.drain"), {"replica": ("*",)}),
        Allow(("process.stop",), {"user": ("vllm", "triton")}),
        Allow(("diagnostics.collect",), {}),
        Allow(("gpu.holders",), {}, "viewer"),
    )


def judge(rules: tuple[Allow, ...], action: str, about: Mapping[str, str]) -> Verdict:
    """What the policy says of this action on what `about` names."""
    closest = ""
    for number, rule in enumerate(rules, 1):
        if not any(fnmatchcase(action, pattern) for pattern in rule.actions):
            continue
        wrong = next((key for key, globs in rule.keys.items() if not _fits(about.get(key, ""), globs)), "")
        if not wrong:
            told = ", ".join(f"{key} {' '.join(globs)}" for key, globs in rule.keys.items())
            return Verdict(
                True, f"[[allow]] {number} of {FILE}" + (f" ({told})" if told else ""), rule.role, rule.floor
            )
        closest = f"[[allow]] {number} is about {wrong} {', '.join(rule.keys[wrong])}, not {about.get(wrong, '')[:64]}"
    why = closest or f"no [[allow]] names {action}"
    return Verdict(False, says=f"{FILE} does not allow {action} here: {why}; ask an administrator of this host")


def _fits(name: str, globs: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, glob) for glob in globs)
