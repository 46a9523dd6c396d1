"""What the operator decided about how hosts are reached; one value per command line, the same for every link."""

from dataclasses import dataclass

from cockpit.link.asking.prompts import Prompter


@dataclass(frozen=True, slots=True)
class LinkOptions:
    """`batch`: never ask anybody anything. `ssh_binary`: a program to be run instead of our own SSH, empty for our own.
    `ssh_config`: a file in place of the user's own, "none" for no file at all. `temporary`: bring the agent along.
    `prompter`: who asks the human; None: nobody is asked, as with `batch`."""

    batch: bool = False
    ssh_binary: str = ""
    ssh_config: str = ""
    temporary: bool = False
    prompter: Prompter | None = None
