"""Man pages: commands and options as the parsers say them, the rest from short texts here."""

import time

from kit.words import Option, Program

STATUS = {
    "gpu-cockpit": (
        ("0", "done; with status --check: all is healthy"),
        ("1", "status --check: warnings; doctor: something is broken"),
        ("2", "the command line is wrong; with status --check: something is critical"),
        ("3", "it cannot be known: no host answered, or the answer could not be written"),
    ),
    "gpu-cockpit-agent": (
        ("0", "done; once: read, also where there is no driver"),
        ("1", "it could not be done; once: a GPU is lost or does not answer"),
        ("2", "the command line or the configuration is wrong"),
        ("3, 4, 5", "attach: nobody listens, no permission, anything else"),
    ),
}
FILES = {
    "gpu-cockpit": (
        ("~/.config/gpu-cockpit/fleet.toml, /etc/gpu-cockpit/fleet.toml", "the hosts; see gpu-cockpit-fleet.toml(5)"),
        ("~/.config/gpu-cockpit/config.toml", "settings of the screens"),
        ("~/.ssh/config, ~/.ssh/known_hosts", "as ssh(1) reads them"),
        ("/run/gpu-cockpit/agent.sock", "where an agent of this machine answers"),
    ),
    "gpu-cockpit-agent": (
        ("/etc/gpu-cockpit/agent.toml", "configuration, optional; see gpu-cockpit-agent.toml(5)"),
        ("/run/gpu-cockpit/agent.sock", "where cockpits connect; group gpu-cockpit-view may"),
        ("/var/lib/gpu-cockpit/", "what outlives a restart; for the agent's own user alone"),
        ("/dev/kmsg", "the kernel log, first witness of faults; needs CAP_SYSLOG"),
    ),
}
SEE = {
    "gpu-cockpit": ("gpu-cockpit-agent(1)", "gpu-cockpit-fleet.toml(5)", "ssh_config(5)"),
    "gpu-cockpit-agent": ("gpu-cockpit(1)", "gpu-cockpit-agent.toml(5)", "systemctl(1)", "sshd_config(5)"),
}


def commands(program: Program, version: str, epoch: int) -> str:
    """The page of section 1."""
    lines = [_title(program.name, 1, version, epoch), ".SH NAME", f"{_roff(program.name)} \\- {_roff(program.says)}"]
    lines += [
        ".SH SYNOPSIS",
        ".nf",
        f"\\fB{_roff(program.name)}\\fR [\\fIOPTION\\fR]... [\\fICOMMAND\\fR [...]]",
        ".fi",
    ]
    lines += [".SH DESCRIPTION", _roff(program.own.says), ".SH OPTIONS", *_options(program.own.options)]
    lines.append(".SH COMMANDS")
    shared = {option.names for option in program.own.options}
    for path, command in program.every():
        lines += [f".SS {_roff(' '.join(path))}", _roff(command.says)]
        if command.more:
            lines += [".PP", _roff(" ".join(command.more.split()))]
        lines += _options([*command.arguments, *(o for o in command.options if o.names not in shared)])
    lines += _table("EXIT STATUS", STATUS[program.name]) + _table("FILES", FILES[program.name])
    lines += [".SH SEE ALSO", ", ".join(_reference(page) for page in SEE[program.name])]
    return "\n".join(lines) + "\n"


def example_file(name: str, says: str, example: str, version: str, epoch: int, see: tuple[str, ...]) -> str:
    """A page of section 5: the commented example is the reference."""
    lines = [_title(name, 5, version, epoch), ".SH NAME", f"{_roff(name)} \\- {_roff(says)}", ".SH DESCRIPTION"]
    lines += ["The file is TOML. What it may say, with the defaults as comments:", ".PP", ".nf"]
    lines += [_roff(line) if line else "\\&" for line in example.splitlines()]
    lines += [".fi", ".SH SEE ALSO", ", ".join(_reference(page) for page in see)]
    return "\n".join(lines) + "\n"


def _title(name: str, section: int, version: str, epoch: int) -> str:
    day = time.strftime("%Y-%m-%d", time.gmtime(epoch))
    return f'.TH {_roff(name.upper())} {section} {day} "gpu\\-cockpit {version}" "gpu\\-cockpit"'


def _options(options: "list[Option] | tuple[Option, ...]") -> list[str]:
    lines = []
    for option in options:
        value = f" \\fI{_roff(option.value)}\\fR" if option.value else ""
        if option.names:
            if option.optional:
                value = f" [{value.strip()}]"
            shown = ", ".join(f"\\fB{_roff(name)}\\fR" for name in option.names) + value
        else:
            shown = value.strip()
        lines += [".TP", shown, _roff(option.says or " ".join(option.choices) or "see above")]
    return lines


def _table(title: str, rows: "tuple[tuple[str, str], ...]") -> list[str]:
    lines = [f".SH {title}"]
    for name, says in rows:
        lines += [".TP", f"\\fB{_roff(name)}\\fR", _roff(says)]
    return lines


def _reference(page: str) -> str:
    name, _, section = page.partition("(")
    return f"\\fB{_roff(name)}\\fR({section}"


def _roff(text: str) -> str:
    """Plain text: nothing in it is taken as a request or a special sign."""
    text = (
        text.replace("\\", "\\e").replace("-", "\\-").replace("`", "\\(ga").replace("^", "\\(ha").replace("~", "\\(ti")
    )
    text = "".join(sign if sign.isascii() else f"\\[u{ord(sign):04X}]" for sign in text)
    return f"\\&{text}" if text.startswith((".", "'")) else text
