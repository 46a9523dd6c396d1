"""Our reader of metrics says what prometheus_client says of every capture, and one sentence about everything else."""

import math
import re
import struct
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from agent.engines.exposition import MAX_BYTES, MAX_LINES, Exposition, Reader, read
from agent.wire.histogram import Histogram, gather
from tests.agent.engines.fixtures import EXPOSITIONS, page

Flat = tuple[str, tuple[tuple[str, str], ...], bytes]


def bits(value: float) -> bytes:
    return struct.pack("<d", math.nan if math.isnan(value) else value)


def flat(samples: Iterable[tuple[str, dict[str, str], float]]) -> list[Flat]:
    """Comparable, with any NaN equal to any other and -0.0 apart from 0.0."""
    return sorted((name, tuple(sorted(labels.items())), bits(value)) for name, labels, value in samples)


def theirs(text: str) -> list[Flat]:
    """What prometheus_client reads; it would add `_total` to the names of counters that have none."""
    plain = re.sub(r"(?m)^(# TYPE .*) counter$", r"\1 untyped", text)
    return flat(sample[:3] for family in text_string_to_metric_families(plain) for sample in family.samples)


def told(body: bytes) -> Exposition:
    found = read(body)
    assert found is not None
    return found


@pytest.mark.parametrize("name", EXPOSITIONS)
def test_every_capture_reads_as_prometheus_client_reads_it(name: str) -> None:
    body = page(name)
    ours = told(body)
    assert flat(ours.samples()) == theirs(body.decode())
    assert ours.trouble == ""


@pytest.mark.parametrize("name", ["vllm/10-stuck-t0.prom", "ray-serve/03-load.full.prom", "sglang/04-after.prom"])
def test_a_page_of_known_layout_reads_as_one_seen_first(name: str) -> None:
    reader = Reader()
    first = page(name)
    second = first.replace(b"1", b"7").replace(b"e+07", b"e+01")
    third = first + b'new_series{a="b"} 5\n'
    for body in (first, first, third, first):
        found = reader.read(body)
        assert found is not None
        assert flat(found.samples()) == flat(told(body).samples())
    found = reader.read(second)
    assert found is not None
    assert flat(found.samples()) == flat(told(second).samples())


@pytest.mark.parametrize(
    ("line", "labels", "value"),
    [
        ("a 1", {}, 1.0),
        ("a{} 1", {}, 1.0),
        ('a{x="y"} +Inf', {"x": "y"}, math.inf),
        ('a{x="y"} -Inf', {"x": "y"}, -math.inf),
        ('a{x="y"}1e3', {"x": "y"}, 1000.0),
        ('  a { x = "y" , z="" , }\t1.5e-3  ', {"x": "y", "z": ""}, 0.0015),
        ('a{x="}",y="{,=\\" # 1"} 2', {"x": "}", "y": '{," # 1'.replace(",", ",=")}, 2.0),
        ('a{x="a\\\\b\\nc\\"d"} 3', {"x": 'a\\b\nc"d'}, 3.0),
        ('a{x="\\t\\q"} 3', {"x": "\\t\\q"}, 3.0),
        ('a{x="\\\\n"} 3', {"x": "\\n"}, 3.0),
        ('a{x="\\\\\\n\\\\\\""} 3', {"x": '\\\n\\"'}, 3.0),
        ("a 4 1700000000000", {}, 4.0),
        ("a 4 1700000000.123", {}, 4.0),
        ("a 4 -1", {}, 4.0),
        ('a{le="1"} 5 # {trace_id="}"} 0.5 1700000000.1', {"le": "1"}, 5.0),
        ('a 6 1700000000.1 # {trace_id="x"} 0.5', {}, 6.0),
        ("a 7\r", {}, 7.0),
        ('a{x="käse ☃"} 8', {"x": "käse ☃"}, 8.0),
        ("a:b_c:d 9", {}, 9.0),
    ],
)
def test_one_line(line: str, labels: dict[str, str], value: float) -> None:
    found = told(f"{line}\n".encode())
    assert [(labels, value)] == [(dict(has), number) for _, has, number in found.samples()]
    assert found.trouble == ""


@pytest.mark.parametrize(
    "line",
    [
        "a",
        "a ",
        "a x",
        "1a 1",
        "a{ 1",
        'a{x="y} 1',
        'a{x="y" z="1"} 1',
        "a{x=y} 1",
        'a{x="y"',
        'a{x="y"} 1 2 3 4',
        'a{x="y"} 1 garbage',
        'a{"x"="y"} 1',
        "a}1",
        "\x00\x01 1",
    ],
)
def test_a_line_that_is_no_sample_is_said_and_costs_no_other(line: str) -> None:
    found = told(f"good 1\n{line}\nalso_good 2\n".encode())
    assert [(name, value) for name, _, value in found.samples()] == [("good", 1.0), ("also_good", 2.0)]
    assert found.trouble.startswith("1 line cannot be read, the first is ")


def test_a_line_without_end_is_not_read() -> None:
    found = told(b'a 1\nb{x="' + b"\\\\" * 40_000 + b'"} 2\nc 3\n')
    assert [name for name, _, _ in found.samples()] == ["a", "c"]
    assert found.trouble.startswith("1 line cannot be read, the first is 'b{x=")
    assert len(found.trouble) < 200


def test_nan_is_read_and_nothing_rests_on_it() -> None:
    found = told(b'a{r="0"} NaN\na{r="1"} 2\nb NaN\nc +Inf\n')
    assert math.isnan(found.series("a")[0][1])
    assert found.total("a") is None
    assert found.total("a", r="1") == 2
    assert found.peak("a") == 2
    assert found.peak("b") is None
    assert found.total("c") is None
    assert found.trouble == "a is no sensible number"


def test_half_a_page_loses_only_the_line_that_was_cut() -> None:
    found = told(b"a 1\nc 2\nb 12")
    assert found.total("a") == 1
    assert found.total("b") is None  # it may have been 123
    assert found.trouble == "ends in the middle of a line"


@pytest.mark.parametrize("name", ["vllm/02-load-t0.prom", "dynamo/03-load.frontend.prom"])
def test_a_page_cut_anywhere_reads_up_to_the_cut(name: str) -> None:
    body = page(name)
    for cut in range(1, len(body), len(body) // 41):
        whole = body[: body.rfind(b"\n", 0, cut) + 1]
        found = read(body[:cut])
        assert found is not None
        assert flat(found.samples()) == flat(told(whole).samples() if whole else [])


def test_the_family_at_a_cut_is_not_known_because_half_its_ranks_would_be_a_fall() -> None:
    body = page("vllm/40-dp2-load.prom")
    cut = body.index(b'vllm:generation_tokens_total{engine="1"') + 20
    found = told(body[:cut])
    assert len(found.series("vllm:generation_tokens_total")) == 1
    assert found.total("vllm:generation_tokens_total") is None
    assert found.peak("vllm:generation_tokens_total") is None
    assert found.total("vllm:prompt_tokens_total") == 108
    cut = body.index(b'vllm:time_to_first_token_seconds_bucket{engine="1"') + 20
    found = told(body[:cut])
    assert found.histogram("vllm:time_to_first_token_seconds") is None
    assert found.total("vllm:generation_tokens_total") == 430
    assert told(body).histogram("vllm:time_to_first_token_seconds") is not None


def test_an_end_mark_without_a_line_feed_is_no_cut() -> None:
    assert told(b"a 1\n# EOF").trouble == ""


def test_lines_may_end_as_windows_ends_them() -> None:
    body = page("llamacpp/02-idle.prom")
    assert flat(told(body.replace(b"\n", b"\r\n")).samples()) == flat(told(body).samples())


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"<html><body>It works</body></html>\n", "is HTML instead of metrics"),
        (b"\n  <!doctype html>", "is HTML instead of metrics"),
        (b'{"error": "not found"}', "is JSON instead of metrics"),
        (b"[]", "is JSON instead of metrics"),
        (b"Not Found\n", "is no metrics text: it has the line 'Not Found'"),
        (b"\xff\xfe\x00\x01\n", "is no metrics text: it has the line '��'"),
        (b"x" * 100 + b"\n", f"is no metrics text: it has the line '{'x' * 60}…'"),
    ],
)
def test_what_is_no_page_of_metrics_is_refused_in_one_sentence(body: bytes, says: str) -> None:
    reader = Reader()
    assert reader.read(body) is None
    assert reader.trouble == says
    assert reader.read(b"a 1\n") is not None
    assert reader.trouble == ""


@pytest.mark.parametrize("body", [b"", b"\n\n", b"# HELP a b\n# EOF\n"])
def test_a_page_without_series_says_so(body: bytes) -> None:
    found = told(body)
    assert list(found.samples()) == []
    assert found.trouble == "prints no series"


def test_a_series_that_stands_there_twice_counts_once_the_first_time() -> None:
    found = told(b'a{x="1",y="2"} 5\na{x="1",y="2"} 7\nb 1\n')
    assert found.total("a") == 5
    assert found.trouble == "1 series stand there twice, 'a' first"
    other_order = told(b'a{x="1",y="2"} 5\na{y="2",x="1"} 7\n')
    assert other_order.total("a") == 5


def test_a_million_series_are_cut_off() -> None:
    body = b"".join(b'a{i="%d"} 1\n' % index for index in range(25_000)) + b'a{i="x"} 1\n' * 975_000
    assert len(body) > MAX_BYTES
    found = told(body)
    assert len(found.series("a")) == MAX_LINES
    assert found.total("a") is None  # of all that it prints this is a part
    assert found.trouble == f"has more than {MAX_LINES:,} lines: the rest is not read"


def test_a_page_of_many_megabytes_is_cut_off() -> None:
    line = b'a{x="%s"} 1\n' % (b"y" * 10_000)
    found = told(line * 1000)
    assert len(list(found.samples())) == MAX_BYTES // len(line)
    assert found.trouble.startswith("is larger than 4 MiB: the rest is not read")


def test_names_are_compared_with_colons_as_underscores() -> None:
    assert told(b"sglang:x 1\n").total("sglang_x") == 1
    assert told(b"sglang_x 1\n").total("sglang:x") == 1
    assert told(b"vllm_router_x 1\n").has("vllm:") is True  # a router too: ask for the longer name first
    assert told(b"a:b 1\n").names == {"a_b"}


def test_older_names_stand_in_where_the_newer_is_missing() -> None:
    assert told(b"old 1\n").total("new", "old") == 1
    assert told(b"old 1\nnew 2\n").total("new", "old") == 2
    assert told(b"other 1\n").total("new", "old") is None


def test_series_are_picked_by_labels() -> None:
    found = told(b'a{rank="0",kind="x"} 1\na{rank="1",kind="x"} 2\na{rank="0",kind="y"} 4\na{rank="0",kind="z"} 8\n')
    assert found.total("a") == 15
    assert found.total("a", rank="0") == 13
    assert found.total("a", rank="0", kind=("x", "y")) == 5
    assert found.peak("a", kind="x") == 2
    assert found.total("a", kind="w") is None
    assert found.total("a", missing="") == 15
    assert found.labels("a", "kind") == ("x", "y", "z")
    assert found.labels("a", "missing") == ()


def test_histograms_of_several_ranks_become_one() -> None:
    ranks = b"".join(
        b'h_bucket{rank="%d",le="0.1"} 1\nh_bucket{rank="%d",le="1.0"} 2\nh_bucket{rank="%d",le="+Inf"} 3\n'
        b'h_count{rank="%d"} 3\nh_sum{rank="%d"} 4.5\n' % ((rank,) * 5)
        for rank in range(2)
    )
    assert told(ranks).histogram("h") == Histogram((0.1, 1.0), (2, 4), 6, 9.0)
    assert told(ranks).histogram("h", rank="1") == Histogram((0.1, 1.0), (1, 2), 3, 4.5)
    assert told(ranks).histogram("missing", "h", rank="1") == Histogram((0.1, 1.0), (1, 2), 3, 4.5)
    assert told(ranks).histogram("missing") is None


def test_a_summary_is_a_histogram_without_edges() -> None:
    assert told(b'h{quantile="0.5"} 1\nh_count 3\nh_sum 4.5\n').histogram("h") == Histogram((), (), 3, 4.5)


@pytest.mark.parametrize(
    "body",
    [
        b'h_bucket{le="0.1"} 1\n',
        b'h_bucket{le="0.1"} NaN\nh_bucket{le="+Inf"} 1\n',
        b'h_bucket{le="0.1"} -1\nh_bucket{le="+Inf"} 1\n',
        b'h_bucket{le="x"} 1\nh_bucket{le="+Inf"} 1\n',
        b'h_bucket{} 1\nh_bucket{le="+Inf"} 1\n',
        b'h_bucket{r="0",le="+Inf"} 1\nh_bucket{r="1",le="0.1"} 1\n',
    ],
)
def test_a_histogram_without_sound_buckets_is_refused(body: bytes) -> None:
    found = told(body)
    assert found.histogram("h") is None
    assert found.trouble == "histogram h has no sound buckets up to +Inf"


BARS = st.lists(
    st.tuples(
        st.sampled_from(["0.1", "0.5", "1", "1.0", "5e18", "-1", "+Inf", "NaN", "x"]),
        st.sampled_from([0.0, 1.0, 2.0, 3.0, 3.5, -1.0, math.nan, math.inf, 1e19]),
    ),
    max_size=6,
    unique_by=lambda bar: bar[0],
)


@settings(max_examples=60, deadline=None)
@given(BARS, st.sampled_from([None, 0.0, 3.0, -1.0, math.nan]), st.sampled_from([None, 4.5, -1.0, math.nan]))
def test_a_histogram_in_its_usual_order_is_gathered_by_the_same_rules(
    bars: list[tuple[str, float]], count: float | None, seconds: float | None
) -> None:
    lines = [f'h_bucket{{le="{edge}"}} {value!r}\n' for edge, value in bars]
    lines += [f"h_count {count!r}\n"] if count is not None else []
    lines += [f"h_sum {seconds!r}\n"] if seconds is not None else []
    found = told("".join(["a 1\n", *lines]).encode()).histogram("h")
    edges = [(math.nan if edge == "x" else float(edge), value) for edge, value in bars]
    assert found == (gather(edges, count, seconds) if bars or count is not None else None)


NAMES = st.from_regex(r"\A[a-z_:][a-z0-9_:]{0,6}\Z")
LABELS = st.dictionaries(st.from_regex(r"\A[a-z_][a-z0-9_]{0,4}\Z"), st.text(max_size=8), max_size=3)
SAMPLES = st.lists(st.tuples(NAMES, LABELS, st.floats(width=64)), max_size=12)


def printed(samples: list[tuple[str, dict[str, str], float]]) -> bytes:
    lines = []
    for name, labels, value in samples:
        escaped = {
            label: text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"") for label, text in labels.items()
        }
        inner = ",".join(f'{label}="{text}"' for label, text in escaped.items())
        lines.append(f"{name}{{{inner}}} {value!r}\n" if inner else f"{name} {value!r}\n")
    return "".join(lines).encode("utf-8", "replace")


@settings(max_examples=25, deadline=None)
@given(SAMPLES)
def test_what_is_printed_is_read_back(samples: list[tuple[str, dict[str, str], float]]) -> None:
    found = told(printed(samples))
    want = [
        (name, {key: text.encode("utf-8", "replace").decode() for key, text in labels.items()}, value)
        for name, labels, value in samples
    ]
    assert [(name, dict(labels), bits(value)) for name, labels, value in found.samples()] == [
        (name, labels, bits(value)) for name, labels, value in want
    ]


@settings(max_examples=25, deadline=None)
@given(SAMPLES, st.lists(st.floats(width=64), min_size=12, max_size=12), st.binary(max_size=12))
def test_a_remembered_layout_never_changes_what_is_read(
    samples: list[tuple[str, dict[str, str], float]], values: list[float], noise: bytes
) -> None:
    reader = Reader()
    reader.read(printed(samples))
    again = printed([(name, labels, value) for (name, labels, _), value in zip(samples, values, strict=False)])
    for body in (again, again[: len(again) // 2] + noise + again[len(again) // 2 :], again):
        ours, cold = reader.read(body), read(body)
        assert (ours is None) == (cold is None)
        if ours is not None and cold is not None:
            assert flat(ours.samples()) == flat(cold.samples())
            assert ours.trouble == cold.trouble


@settings(max_examples=100, deadline=None)
@given(st.one_of(st.binary(max_size=200), st.text(alphabet='ab{}"\\=,#: \n\t19.+-eNaI', max_size=200).map(str.encode)))
def test_no_bytes_make_it_stumble(body: bytes) -> None:
    found = read(body)
    if found is None:
        return
    for name, _, _ in list(found.samples()):
        found.total(name)
        found.peak(name)
        found.histogram(name.removesuffix("_bucket"))
    assert isinstance(found.trouble, str)
