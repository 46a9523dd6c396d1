"""What goes below /usr/share: man pages and completion, made from the program's own words and the examples."""

import gzip

from kit import completion, manual, words
from kit.contents import Tree
from kit.wheels import ROOT
from kit.words import Program

EXAMPLES = ROOT / "packaging" / "examples"
UNITS = ROOT / "packaging" / "systemd"
HELPER_PATH = "/usr/lib/gpu-cockpit-agent/agent/actuator/__main__.py"
_BESIDE_THE_UNIT = ("agent.toml", "policy.toml", "announce.conf", "serving.conf", "10-gpu-cockpit.conf")
_PAGES = {
    "gpu-cockpit": ("gpu-cockpit-fleet.toml", "the hosts of a fleet", "fleet.toml", ("gpu-cockpit(1)",)),
    "gpu-cockpit-agent": (
        "gpu-cockpit-agent.toml",
        "configuration of the agent on a GPU host",
        "agent.toml",
        ("gpu-cockpit-agent(1)",),
    ),
}


def program_of(name: str) -> Program:
    """The words of a program of ours."""
    return words.console() if name == "gpu-cockpit" else words.agent()


def share(name: str, version: str, epoch: int) -> Tree:
    """{path below share: content} of one program."""
    program = program_of(name)
    page, says, example, see = _PAGES[name]
    text = (EXAMPLES / example).read_text("utf-8")
    return {
        f"man/man1/{name}.1.gz": _packed(manual.commands(program, version, epoch)),
        f"man/man5/{page}.5.gz": _packed(manual.example_file(page, says, text, version, epoch, see)),
        f"bash-completion/completions/{name}": completion.bash(program).encode(),
        f"zsh/vendor-completions/_{name}": completion.zsh(program).encode(),
        f"fish/vendor_completions.d/{name}.fish": completion.fish(program).encode(),
    }


def service_files(helper: bytes) -> Tree:
    """{path below share: content} of what makes services of the agent's single file and of the root helper's, `helper`,
    installed in /usr/local/bin."""
    unit = (UNITS / "gpu-cockpit-agent.service").read_text("utf-8").replace("=/usr/bin/gpu", "=/usr/local/bin/gpu")
    root = (
        (UNITS / "gpu-cockpit-actuator.service")
        .read_text("utf-8")
        .replace(HELPER_PATH, "/usr/local/bin/gpu-cockpit-actuator")
    )
    files = {"gpu-cockpit-agent.service": unit.encode(), "gpu-cockpit-actuator.service": root.encode()}
    files |= {
        name: (UNITS / name).read_bytes() for name in ("gpu-cockpit-agent.sysusers", "gpu-cockpit-actuator.socket")
    }
    files |= {name: (EXAMPLES / name).read_bytes() for name in _BESIDE_THE_UNIT}
    files["gpu-cockpit-actuator.pyz"] = helper
    return {f"gpu-cockpit-agent/{name}": content for name, content in files.items()}


def _packed(text: str) -> bytes:
    return gzip.compress(text.encode("ascii"), 9, mtime=0)
