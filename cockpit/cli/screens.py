"""No command: the screens."""

from pathlib import Path

from cockpit.cli.arguments import Arguments
from cockpit.cli.inputs import clock_of, inventory_of
from cockpit.config import load
from cockpit.inventory import Inventory
from cockpit.runtime import Runtime


def show(arguments: Arguments) -> int:
    """Run the screens until the operator leaves; returns the exit status."""
    inventory = inventory_of(arguments)
    if inventory.path:
        return show_inventory(arguments, inventory, title=Path(inventory.path).stem)
    names = [entry.name for entry in inventory.hosts]
    return show_inventory(arguments, inventory, title=names[0] if len(names) == 1 else f"{len(names)} hosts")


def show_inventory(arguments: Arguments, inventory: Inventory, title: str) -> int:
    """The screens on these hosts."""
    from cockpit.tui import run_tui  # the screens' libraries are loaded by nothing else

    config = load(Path(arguments.config) if arguments.config else None)
    runtime = Runtime(inventory, clock_of(inventory))
    return run_tui(
        runtime, theme=arguments.theme or config.theme, keymap=config.keymap, mouse=config.mouse, title=title
    )
