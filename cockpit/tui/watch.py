"""What happens without a key: new critical incidents ring, and an incident that was asked for opens once it is known.

Rule: it looks at the fleet as it is, paused or not, and only after something was told."""

from typing import TYPE_CHECKING

from cockpit.errors import UsageError
from cockpit.fleet.link_state import LinkState
from cockpit.incidents import Book
from cockpit.tui.alarm import Alarm, says
from cockpit.tui.format import plain

if TYPE_CHECKING:
    from cockpit.tui.app import CockpitApp


class Watch:
    """One for each app; `look` is called a few times a second."""

    def __init__(self, app: "CockpitApp") -> None:
        self._app = app
        self._book = Book()
        self._alarm = Alarm()
        self._version = -1
        self._from = app.screen

    def look(self) -> None:
        """Look again if anything was told."""
        feed = self._app.view.feed
        if feed.fleet.version == self._version:
            return
        self._version = feed.fleet.version
        incidents = self._book.look(feed.fleet, feed.clock.now())
        ringing = self._alarm.heard(feed.fleet, incidents, feed.clock.real())
        if ringing and self._app.rings:
            self._app.output.ring(says(feed.fleet, ringing))
        if self._app.sought:
            self._seek(self._app.sought)
        if self._app.sought_replica is not None:
            self._seek_replica(*self._app.sought_replica)

    def _seek_replica(self, host: int, identity: str) -> None:
        """Open the replica that was asked for at the start once its host has told of it; say so if nobody has it."""
        app, fleet = self._app, self._app.view.feed.fleet
        if app.screen is not self._from:
            app.sought_replica = None
            return
        hosts = fleet.hosts if host < 0 else [fleet.hosts[host]]
        rows = [row for record in hosts for row in record.replica_rows if fleet.replicas.ids[row] == identity]
        told = all(record.synced or record.link.state is not LinkState.CONNECTING for record in hosts)
        if len(rows) == 1 and (told or host >= 0):
            app.sought_replica = None
            app.open_replica(rows[0])
        elif told:
            app.sought_replica = None
            where = plain(fleet.hosts[host].name) if host >= 0 else "this fleet"
            said = (
                f"{len(rows)} hosts have a replica {identity}: name one, HOST/{identity}"
                if rows
                else f"no replica {identity} is known on {where}"
            )
            app.notify(f"{plain(said)}.", timeout=8, markup=False)

    def _seek(self, word: str) -> None:
        """Open what was asked for at the start, unless the operator has gone elsewhere; say so when nobody knows it."""
        app, fleet = self._app, self._app.view.feed.fleet
        if app.screen is not self._from:
            app.sought = ""
            return
        told = all(record.synced or record.link.state is not LinkState.CONNECTING for record in fleet.hosts)
        try:
            found = self._book.named(word)
        except UsageError as error:
            if told:
                app.sought = ""
                app.notify(f"{error}.", timeout=8, markup=False)
            return
        if told or found.id == word:
            app.sought = ""
            app.open_incident(found.id)
