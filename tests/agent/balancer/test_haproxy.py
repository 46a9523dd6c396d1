"""What HAProxy prints, as its 2.6 printed it, and what may come instead."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.sources.balancer.haproxy import COMMANDS, SERVERS, Odd, backends, is_haproxy
from agent.wire.replicas import BackendFacts
from agent.wire.shape import pack, unpack

CAPTURES = Path(__file__).parents[2] / "data/serving/loadbalancers"
HEAD = "# pxname,svname,qcur,scur,stot,econ,status,weight,lastchg,type,hrsp_5xx,check_desc,addr,mode,\n"
STATE_HEAD = (
    "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight "
    "srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state srv_agent_state "
    "bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord srv_use_ssl srv_check_port srv_check_addr "
    "srv_agent_addr srv_agent_port\n"
)


def line(status: str, *, addr: str = "", server: str = "r1", errors: str = "0", check: str = "") -> str:
    return f"llm,{server},1,2,90,3,{status},1,40,2,{errors},{check},{addr},http,\n"


def state(admin: int, address: str = "127.0.0.1", port: str = "9101", server: str = "r1") -> str:
    return f"{STATE_HEAD}3 llm 1 {server} {address} 2 {admin} 1 1 40 6 3 4 6 0 0 0 - {port} - 0 0 - - 0\n"


@pytest.mark.parametrize(
    ("status", "admin", "word"),
    [
        ("UP", 0, "up"),
        ("UP 1/3", 0, "up"),
        ("no check", 0, "up"),
        ("DRAIN", 8, "draining"),
        ("DRAIN", 0, "draining"),  # weight 0
        ("DOWN", 8, "draining"),  # somebody drains it, and its check fails
        ("DOWN", 16, "draining"),
        ("NOLB 1/2", 0, "draining"),
        ("MAINT", 1, "maintenance"),
        ("MAINT", 5, "maintenance"),  # `disabled` in the configuration
        ("UP", 4, "up"),  # the same server after `set server ... state ready`: it serves, and the bit stays
        ("no check", 4, "up"),
        ("DRAIN", 12, "draining"),
        ("MAINT (via llm/r2)", 2, "maintenance"),
        ("MAINT (resolution)", 32, "maintenance"),
        ("DOWN", 0, "down"),
        ("DOWN 1/2", 0, "down"),
        ("DOWN (agent)", 0, "down"),
        ("", 0, "unknown"),
        ("a word of a later version", 0, "unknown"),
    ],
)
def test_what_state_a_server_is_in(status: str, admin: int, word: str) -> None:
    (found,) = backends("haproxy", HEAD + line(status), state(admin), 1000.0)
    assert found.state == word


def test_a_server_has_its_numbers_and_the_address_that_an_unprivileged_socket_tells() -> None:
    (found,) = backends("edge", HEAD + line("UP", errors="4"), state(0), 1000.0)
    assert (found.lb, found.kind, found.backend, found.server) == ("edge", "haproxy", "llm", "r1")
    assert (found.address, found.port) == ("127.0.0.1", 9101)
    assert (found.in_flight, found.queued, found.weight, found.requests, found.errors) == (2, 1, 1, 90, 7)
    assert found.since == 960.0


@pytest.mark.parametrize(
    ("admin", "addr", "known"),
    [
        (state(0, "::1", "9103"), "", ("::1", 9103)),
        (state(0, "-", "9104"), "", ("", 0)),  # a name that does not resolve
        (state(0, "10.0.0.7", "70000"), "", ("10.0.0.7", 0)),
        ("", "127.0.0.1:9101", ("127.0.0.1", 9101)),  # a privileged socket of a version without the other table
        ("", "[::1]:9103", ("::1", 9103)),
        ("", "unix", ("", 0)),
        ("Permission denied\n", "", ("", 0)),
    ],
)
def test_where_a_server_is(admin: str, addr: str, known: tuple[str, int]) -> None:
    (found,) = backends("haproxy", HEAD + line("UP", addr=addr), admin, 0.0)
    assert (found.address, found.port) == known


def test_what_it_does_not_count_is_not_zero() -> None:
    stat = HEAD + "raw,t1,,,,,no check,,,2,,,,tcp,\n"
    (found,) = backends("haproxy", stat, "", 0.0)
    counted = (found.in_flight, found.queued, found.weight, found.requests, found.errors, found.since)
    assert counted == (None,) * 6


def test_frontends_and_sums_are_no_servers_and_quotes_are_read() -> None:
    sums = "fe,FRONTEND,,2,9,,OPEN,,,0,,,,http,\nllm,BACKEND,0,2,9,0,UP,2,1,1,0,,,http,\n"
    quoted = '"a,b",r1,0,0,0,0,UP,1,1,2,0,"x ""y""",,http,\n'
    (found,) = backends("haproxy", HEAD + sums + quoted, "", 0.0)
    assert (found.backend, found.says) == ("a,b", "UP")


def test_what_a_real_one_printed_is_read() -> None:
    said = (CAPTURES / "haproxy-01-up.txt").read_text()
    answers = {part.partition("\n")[0]: part.partition("\n")[2] for part in said.split("> ")}
    found = backends("haproxy", answers["show stat"], answers["show servers state llm"], 100.0)
    assert [(one.backend, one.server, one.state, one.address, one.port) for one in found] == [
        ("llm", "r1", "up", "127.0.0.1", 9101),
        ("llm", "r2", "up", "127.0.0.1", 9102),
    ]
    assert [(one.in_flight, one.queued, one.weight, one.requests, one.errors, one.since) for one in found] == [
        (0, 0, 1, 0, 0, 97.0)
    ] * 2
    assert is_haproxy(answers["show info"])


def test_why_a_server_is_down_is_said() -> None:
    (found,) = backends("haproxy", HEAD + line("DOWN", check="Layer4 connection problem"), state(0), 0.0)
    assert found.says == "DOWN: Layer4 connection problem"


def test_hostile_text_and_numbers_become_harmless() -> None:
    bad = "llm\x1b[31m,r\x07" + "1" * 999 + ",-1,1e9,٣,99999999999999999999,UP\x1b[2J,nan,,2,0x10,,,,\n"
    (found,) = backends("haproxy", HEAD + bad, "", 0.0)
    assert found.backend == "llm[31m"
    assert len(found.server) == 256
    assert found.server.isprintable()
    assert found.says == "UP[2J"
    assert (found.queued, found.in_flight, found.requests, found.errors) == (None, None, None, None)


def test_more_servers_than_anybody_has_are_cut() -> None:
    stat = HEAD + "".join(line("UP", server=f"r{number}") for number in range(SERVERS + 50))
    assert len(backends("haproxy", stat, "", 0.0)) == SERVERS


@pytest.mark.parametrize(
    "stat",
    ["", "\n", "Permission denied\n\n", "HTTP/1.1 400 Bad request\r\n", "<html>", "# be_id be_name\n", "\x00\xff"],
)
def test_what_is_no_table_of_servers_is_said_to_be_none(stat: str) -> None:
    with pytest.raises(Odd, match="it said"):
        backends("haproxy", stat, "", 0.0)


@pytest.mark.parametrize("row", ["llm\n", "\n", ",,,\n", "llm,r1\n", "#\n", '"llm\n'])
def test_half_a_line_costs_that_line_alone(row: str) -> None:
    found = backends("haproxy", HEAD + line("UP") + row, state(0), 0.0)
    assert [one.server for one in found] == ["r1"]


FIELD = st.one_of(st.text(max_size=12), st.integers().map(str), st.sampled_from(["", "UP", "2", "127.0.0.1:80", '"']))


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.lists(FIELD, max_size=16).map(lambda row: [*row[:9], "2", *row[10:]]), max_size=4), st.text(max_size=80)
)
def test_whatever_comes_is_no_server_or_one_that_the_wire_takes(rows: list[list[str]], admin: str) -> None:
    stat = HEAD + "".join(",".join(row) + "\n" for row in rows)
    for found in backends("haproxy", stat, STATE_HEAD + admin, 1e9):
        assert unpack(BackendFacts, pack(found)) == found


def test_a_field_without_end_is_no_table_of_servers() -> None:
    with pytest.raises(Odd, match="no table"):
        backends("haproxy", HEAD + line("UP") + "x" * 200_000, state(0), 0.0)


def test_only_commands_that_read_are_known() -> None:
    assert COMMANDS == ("show info", "show stat -1 4 -1", "show servers state")


def test_haproxy_says_who_it_is() -> None:
    assert is_haproxy("Name: HAProxy\nVersion: 2.6.12-1+deb12u4\n")
    assert not is_haproxy("HTTP/1.1 400 Bad request\r\n")
