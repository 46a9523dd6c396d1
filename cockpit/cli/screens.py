"""No command, or `open`: the screens."""

from pathlib import Path
from typing import TYPE_CHECKING

from cockpit.cli.arguments import Arguments
from cockpit.cli.inputs import clock_of, config_of, inventory_of, links_of
from cockpit.errors import ConfigError
from cockpit.inventory import Inventory

if TYPE_CHECKING:
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
    from cockpit.tui.asking import Asking
    from cockpit.tui.late import LateFeed

    asking = Asking()
    config, clock, links = config_of(arguments), clock_of(inventory), links_of(arguments, asking)

    def feed() -> "Runtime":
        from cockpit.runtime import Runtime  # with numpy: after the first paint

        return Runtime(inventory, clock, links)

    late = LateFeed(clock, len(inventory.hosts), feed)
    try:
        return run_tui(
            late,
            open_at=arguments.open_at,
            theme=arguments.theme or config.theme,
            keymap=config.keymap,
            mouse=config.mouse,
            title=title,
            asking=asking,
        )
    except ConfigError as error:  # what the keys may be is known by the screens alone, whose file they stand in by us
        raise ConfigError(f"{config.path}: {error}") from None
