"""Whom a token is for: what is known of the listener decides, and where it cannot be known the token stays."""

from dataclasses import replace
from pathlib import Path

import pytest

from agent.config.serving import Serving
from agent.sources.serving.landscape import Group, Listener, Process
from agent.sources.serving.match import TokenTrouble, token

AT = Listener("127.0.0.1", 8000, 1000, "77")
OURS = Group("70@1", (Process(70),), (AT,), uid=1000, user="ml", unit="vllm.service")


def table(folder: Path) -> Serving:
    file = folder / "token"
    file.write_text("s3cret\n")
    file.chmod(0o600)
    return Serving(place="serving 1", port=8000, user="ml", unit="vllm.service", token_file=file)


def test_it_goes_to_the_user_and_unit_that_its_table_names(tmp_path: Path) -> None:
    assert token(table(tmp_path), OURS, AT) == "s3cret"


@pytest.mark.parametrize(
    ("group", "listener", "says"),
    [
        (OURS, replace(AT, uid=1001), "belongs to uid 1001, not to ml"),
        (OURS, replace(AT, uid=-1), "belongs to an unknown user"),
        (replace(OURS, uid=1001, user="eve"), replace(AT, uid=1001), "not to ml"),
        (replace(OURS, processes=()), AT, "not to ml"),
        (replace(OURS, unit=""), AT, "belongs to no unit"),
        (OURS, replace(AT, address="172.17.0.2", local=False), "172.17.0.2 is a container's"),
    ],
)
def test_it_goes_to_nobody_else(tmp_path: Path, group: Group, listener: Listener, says: str) -> None:
    with pytest.raises(TokenTrouble, match="stays here") as trouble:
        token(table(tmp_path), group, listener)
    assert says in str(trouble.value)
