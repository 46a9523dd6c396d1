"""Layout that all screens share, as Textual's CSS; colours come from the theme. A module, not a file beside it: it is
read from a zip as well."""

CSS = """
Screen { background: $background; color: $foreground; layout: vertical; }
#ticker, #table, #page { height: 1fr; }
#broken { color: $error; }
Toast { background: $panel; }
SearchIcon { display: none; }
"""
