"""`[[serving]]` is checked like the rest of the configuration: one sentence that names table and key."""

import pytest

from agent.config import parse
from agent.config.serving import Serving
from agent.errors import ConfigError
from agent.sources.serving.tables import NAMES, check


def serving(text: str) -> tuple[Serving, ...]:
    return parse(text.encode(), "agent.toml").serving


def test_a_table_says_what_cannot_be_seen() -> None:
    first, second, third = serving(
        """
        [[serving]]
        name = "chat-1"
        port = 8000
        pool = "chat-70b"
        role = "decode"
        objective = { "ttft.p99" = 2, "e2e.mean" = 30.5 }
        load_budget_s = 1800
        [[serving]]
        url = "https://127.0.0.1:8443"
        server_name = "engine.internal"
        ca_file = "/etc/ssl/own.pem"
        user = "ml"
        unit = "vllm@1.service"
        token_file = "/etc/gpu-cockpit/token"
        [[serving]]
        engine = "generic"
        port = 9100
        health = "/healthz"
        metrics = "/stats?all=1"
        names = { running = "my_running" }
        """
    )
    assert (first.name, first.port, first.pool, first.role, first.load_budget_s) == (
        "chat-1", 8000, "chat-70b", "decode", 1800.0,
    )  # fmt: skip
    assert (first.expected, second.expected, third.expected) == (True, True, False)
    assert dict(first.objective) == {"ttft.p99": 2.0, "e2e.mean": 30.5}
    assert (second.address, second.port, second.tls) == ("127.0.0.1", 8443, True)
    assert (second.server_name, str(second.token_file)) == ("engine.internal", "/etc/gpu-cockpit/token")
    assert (third.health, third.metrics, dict(third.names)) == ("/healthz", "/stats?all=1", {"running": "my_running"})


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ("port = 0", "port must be a whole number from 1 to 65535, not 0"),
        ("port = '8000'", "port must be a whole number"),
        ("pool = 'x'", "say which replicas it means"),
        ("prot = 8000", "unknown key 'prot'; known keys: name, address, port"),
        ("url = 'http://engine:8000'", "an IP address and a port"),
        ("url = 'ftp://127.0.0.1:21'", "http or https"),
        ("url = 'http://127.0.0.1:8000/v1'", "no path"),
        ("url = 'http://user:pw@127.0.0.1:8000'", "no path"),
        ("url = 'http://127.0.0.1:99999'", "an IP address and a port"),
        ("url = 'http://127.0.0.1:8000'\nport = 8000", "url already says"),
        ("address = 'localhost'\nport = 8000", "an IP address, for names are not looked up"),
        ("address = '127.0.0.1'\nunit = 'x'", "address needs a port"),
        ("name = 'a'\nunit = 'x'", "name needs a port or url"),
        ("port = 8000\ntoken_file = '/x'", "a token goes only to a listener that is known for sure"),
        ("port = 8000\ntoken_file = '/x'\nuser = 'ml'", "token_file needs port or url, user and unit"),
        ("port = 8000\ntoken_file = 'x'\nuser = 'ml'\nunit = 'u'", "an absolute path"),
        ("port = 8000\nserver_name = 'x'", "need an https url"),
        ("port = 8000\nca_file = '/x'", "need an https url"),
        ("engine = 'generic'\nport = 8000", "engine generic needs"),
        ("port = 8000\nhealth = '/x'", 'for engine = "generic" alone'),
        ("port = 8000\nengine = 'generic'\nhealth = 'x'", 'the path of a page, such as "/health"'),
        ("port = 8000\nengine = 'generic'\nhealth = '/x y'", "the path of a page"),
        ("port = 8000\nengine = 'generic'\nhealth = '/x'\nnames = { running = 'r' }", "names needs the page"),
        ("port = 8000\nobjective = { 'ttft.p98' = 1 }", 'a table of seconds such as { "ttft.p99" = 2.0 }'),
        ("port = 8000\nobjective = { 'ttft.p99' = -1 }", "a number of seconds"),
        ("port = 8000\nload_budget_s = 0", "a number of seconds from 1"),
        ("port = 8000\nignore = 'yes'", "true or false"),
        ("port = 1\nname = 'a'\n[[serving]]\nport = 2\nname = 'a'", "the same name 'a'"),
    ],
)
def test_what_is_wrong_is_one_sentence_with_its_table(table: str, says: str) -> None:
    with pytest.raises(ConfigError) as error:
        serving(f"[[serving]]\n{table}")
    sentence = str(error.value)
    assert sentence.startswith("agent.toml: serving ")
    assert says in sentence
    assert "\n" not in sentence
    assert len(sentence) < 330


def test_a_list_of_something_else_is_refused() -> None:
    with pytest.raises(ConfigError, match="serving must be at most 256 tables"):
        serving("serving = [1]")


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ("engine = 'vlm'", "serving 1: engine 'vlm' is not known; did you mean 'vllm'?"),
        ("engine = 'zzzzzz'", "known are vllm"),
        (
            "engine = 'generic'\nport = 1\nhealth = '/h'\nmetrics = '/m'\nnames = { speed = 'x' }",
            "serving 1: names: 'speed' is nothing that a replica says",
        ),
    ],
)
def test_engines_and_names_that_nobody_knows_are_refused(table: str, says: str) -> None:
    with pytest.raises(ConfigError) as error:
        check(serving(f"[[serving]]\n{table}"))
    assert says in str(error.value)


def test_every_known_engine_may_be_named() -> None:
    for name in NAMES:
        more = "\nhealth = '/h'" if name == "generic" else ""
        check(serving(f"[[serving]]\nport = 8000\nengine = '{name}'{more}"))
