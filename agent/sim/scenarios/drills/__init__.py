"""Nights in which somebody has to act: what to do is known, and whether it helped is to be seen. Each name is a TOML
file in this folder."""

NAMES: tuple[str, ...] = (
    "drill-stuck-replica",
    "drill-lost-gpu",
    "drill-ghost",
    "drill-bad-start",
    "drill-lingering-stop",
    "drill-night",
)
