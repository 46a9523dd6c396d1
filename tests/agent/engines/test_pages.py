"""Pages of one replica are refilled, read once, and never raise."""

import pytest

from agent.engines.answer import Answer, Failure
from agent.engines.pages import MAX_JSON, Pages, amount, text, trouble, within


def test_an_answer_replaces_what_the_one_before_it_said() -> None:
    pages = Pages()
    pages.take("/metrics", Answer(200, b"a 1\n"))
    first = pages.metrics("/metrics")
    assert first is not None
    assert pages.metrics("/metrics") is first
    pages.take("/metrics", Answer(200, b"a 2\n"))
    second = pages.metrics("/metrics")
    assert second is not None
    assert (first.total("a"), second.total("a")) == (1, 2)


def test_a_failure_leaves_nothing_of_the_answer_before_it() -> None:
    pages = Pages({"/metrics": Answer(200, b"a 1\nb"), "/x": Answer(200, b"{}")})
    assert pages.metrics("/metrics") is not None
    assert pages.trouble == "/metrics ends in the middle of a line"
    pages.take("/metrics", Answer(failure=Failure.TIMEOUT))
    assert pages.metrics("/metrics") is None
    assert (pages.trouble, pages.status("/metrics")) == ("", 0)
    pages.drop("/x")
    assert pages.answer("/x") is None


def test_one_page_is_read_both_ways_where_an_engine_prints_either() -> None:
    pages = Pages({"/metrics": Answer(200, b'{"a": 1}')})
    assert pages.metrics("/metrics") is None
    assert pages.json("/metrics") == {"a": 1}


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"a": ' * 5000, b"1" * 5000, b" " * (MAX_JSON + 1)]
)
def test_json_that_is_none_is_one_sentence(body: bytes) -> None:
    pages = Pages({"/x": Answer(200, body)})
    assert pages.json("/x") is None
    assert pages.trouble in ("/x is no JSON", "/x is larger than 1 MiB")


def test_what_was_not_asked_or_did_not_succeed_is_nothing() -> None:
    pages = Pages({"/x": Answer(500, b"{}")})
    assert (pages.json("/x"), pages.json("/y"), pages.metrics("/y")) == (None, None, None)
    assert (trouble(pages, "/x"), trouble(pages, "/y")) == ("/x answers 500", "")
    assert trouble(pages, "/x", "turn it on") == "/x answers 500"


def test_values_of_any_shape_are_reached_or_not() -> None:
    document = {"a": [{"b": 1}]}
    assert within(document, "a", 0, "b") == 1
    assert within(document, "a", -1, "b") == 1
    assert within(document, "a", 1) is None
    assert within(document, "a", "b") is None
    assert within(None, "a") is None


def test_texts_and_numbers_of_an_engine_are_fit_to_show() -> None:
    assert text("a\x1b[31mb\n" + "x" * 500) == "a[31mb " + "x" * 192
    assert text(5) == ""
    assert (amount(3), amount(True), amount("3"), amount(float("nan")), amount(10**400)) == (
        3.0,
        None,
        None,
        None,
        None,
    )
