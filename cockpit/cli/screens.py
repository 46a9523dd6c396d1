"""No command: the screens."""

from pathlib import Path

from cockpit.cli.arguments import Arguments
from cockpit.cli.inputs import clock_of, config_of, inventory_of
from cockpit.inventory import Inventory
from cockpit.runtime import Runtime, claiming


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

    config = config_of(arguments)
    runtime = Runtime(inventory, clock_of(inventory), claiming(config.operator))
    return run_tui(
        runtime, theme=arguments.theme or config.theme, keymap=config.keymap, mouse=config.mouse, title=title
    )
