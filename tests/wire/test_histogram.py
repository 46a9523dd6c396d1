"""Quantiles by hand-computed cases: resets, missing edges, the first bucket, +Inf, few samples, merged replicas."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.wire.histogram import EDGES, Histogram, Quantile, delta, enough, gather, mean, merge, quantile, scaled
from agent.wire.shape import pack, unpack

INF = math.inf
EMPTY = Histogram((0.1, 0.5, 1.0), (0, 0, 0), 0)
SPREAD = Histogram((0.1, 0.5, 1.0), (10, 60, 90), 100, 45.0)  # 10 | 50 | 30 | 10 beyond

QUANTILES = [
    # 50 is 40 into the 50 between 0.1 and 0.5: 0.1 + 0.4 * 40/50
    ("inside a bucket", SPREAD, 0.5, Quantile(0.42, "", 0.1, 0.5, 100)),
    # 75 is 15 into the 30 between 0.5 and 1.0
    ("inside a later bucket", SPREAD, 0.75, Quantile(0.75, "", 0.5, 1.0, 100)),
    ("exactly an edge belongs to its bucket", SPREAD, 0.6, Quantile(0.5, "", 0.1, 0.5, 100)),
    ("first bucket", SPREAD, 0.05, Quantile(0.1, "<=", 0.0, 0.1, 100)),
    ("all of the first bucket", SPREAD, 0.1, Quantile(0.1, "<=", 0.0, 0.1, 100)),
    ("beyond the last edge", SPREAD, 0.95, Quantile(1.0, ">", 1.0, INF, 100)),
    ("all beyond the last edge", Histogram((0.1,), (0,), 100), 0.5, Quantile(0.1, ">", 0.1, INF, 100)),
    ("an empty first bucket", Histogram((0.3, 0.5), (0, 100), 100), 0.5, Quantile(0.4, "", 0.3, 0.5, 100)),
    # vLLM's queue time begins at 0.3 s: an idle queue is no median of 0.15 s
    ("a wide first bucket", Histogram((0.3, 0.5), (200, 200), 200), 0.5, Quantile(0.3, "<=", 0.0, 0.3, 200)),
    # Dynamo's first edge is 0: no duration ends there, and the next bucket is the first that can hold one
    (
        "an edge at zero",
        Histogram((0.0, 0.0022, 0.0047), (0, 80, 100), 100),
        0.5,
        Quantile(0.0022, "<=", 0, 0.0022, 100),
    ),
    (
        "beyond an edge at zero",
        Histogram((0.0, 0.002, 0.004), (0, 80, 100), 100),
        0.9,
        Quantile(0.003, "", 0.002, 0.004, 100),
    ),
    ("durations of zero", Histogram((0.0, 0.0022), (60, 100), 100), 0.5, Quantile(0.0, "<=", 0.0, 0.0, 100)),
    ("buckets without mass between", Histogram((1, 2, 3, 4), (10, 10, 10, 20), 20), 0.75, Quantile(3.5, "", 3, 4, 20)),
    ("the smallest", Histogram((1, 2), (0, 20), 20), 0.0, Quantile(1.0, "", 1, 2, 20)),
    ("the largest", Histogram((1, 2), (0, 20), 20), 1.0, Quantile(2.0, "", 1, 2, 20)),
    ("nothing observed", EMPTY, 0.5, None),
    ("only a mean known", Histogram((), (), 100, 5.0), 0.5, None),
    ("p99 of 99", Histogram((1, 2), (0, 99), 99), 0.99, None),
    ("p99 of 100", Histogram((1, 2), (0, 100), 100), 0.99, Quantile(1.99, "", 1, 2, 100)),
    ("p95 of 19", Histogram((1, 2), (0, 19), 19), 0.95, None),
    ("p95 of 20", Histogram((1, 2), (0, 20), 20), 0.95, Quantile(1.95, "", 1, 2, 20)),
    ("p50 of 4", Histogram((1, 2), (0, 4), 4), 0.5, None),
    ("p50 of 5", Histogram((1, 2), (0, 5), 5), 0.5, Quantile(1.5, "", 1, 2, 5)),
]


@pytest.mark.parametrize(
    ("histogram", "q", "expected"), [case[1:] for case in QUANTILES], ids=[case[0] for case in QUANTILES]
)
def test_quantile_says_what_its_buckets_know(histogram: Histogram, q: float, expected: Quantile | None) -> None:
    found = quantile(histogram, q)
    if expected is None:
        assert found is None
        return
    assert found is not None
    assert found.value == pytest.approx(expected.value)
    assert (found.bound, found.low, found.high, found.n) == (expected.bound, expected.low, expected.high, expected.n)


def test_a_hidden_quantile_can_be_asked_for_but_nothing_stays_nothing() -> None:
    assert quantile(Histogram((1, 2), (0, 4), 4), 0.5) is None
    assert quantile(Histogram((1, 2), (0, 4), 4), 0.5, hide=False) == Quantile(1.5, "", 1, 2, 4)
    assert quantile(EMPTY, 0.5, hide=False) is None


def test_how_many_observations_a_quantile_needs() -> None:
    assert [enough(q) for q in (0.5, 0.9, 0.95, 0.99, 0.999)] == [5, 10, 20, 100, 1000]


BEFORE = Histogram((0.1, 0.5), (4, 10), 12, 6.0)
DELTAS = [
    ("growth", BEFORE, Histogram((0.1, 0.5), (5, 14), 18, 9.5), False, Histogram((0.1, 0.5), (1, 4), 6, 3.5)),
    ("nothing new", BEFORE, BEFORE, False, Histogram((0.1, 0.5), (0, 0), 0, 0.0)),
    ("a count fell", BEFORE, Histogram((0.1, 0.5), (3, 14), 18, 9.5), False, Histogram((0.1, 0.5), (3, 14), 18, 9.5)),
    ("the total fell", BEFORE, Histogram((0.1, 0.5), (4, 10), 11, 7.0), False, Histogram((0.1, 0.5), (4, 10), 11, 7.0)),
    # after a restart every count may be larger than before: only the start time tells
    ("restarted", BEFORE, Histogram((0.1, 0.5), (5, 14), 18, 9.5), True, Histogram((0.1, 0.5), (5, 14), 18, 9.5)),
    ("edges changed", BEFORE, Histogram((0.1, 1.0), (5, 14), 18, 9.5), False, Histogram((0.1, 1.0), (5, 14), 18, 9.5)),
    ("an edge went", BEFORE, Histogram((0.5,), (14,), 18, 9.5), False, Histogram((0.5,), (14,), 18, 9.5)),
    ("a first look", None, Histogram((0.1, 0.5), (5, 14), 18, 9.5), False, Histogram((0.1, 0.5), (0, 0), 0, 0.0)),
    ("a first look after its start", None, BEFORE, True, BEFORE),
    (
        "the sum fell alone",
        BEFORE,
        Histogram((0.1, 0.5), (5, 14), 18, 5.0),
        False,
        Histogram((0.1, 0.5), (1, 4), 6, None),
    ),
    ("no sum", BEFORE, Histogram((0.1, 0.5), (5, 14), 18), False, Histogram((0.1, 0.5), (1, 4), 6, None)),
    # buckets read one after the other: 5 new below 0.1 and, read earlier, 4 below 0.5
    (
        "buckets read while it counts",
        BEFORE,
        Histogram((0.1, 0.5), (9, 14), 16, 7),
        False,
        Histogram((0.1, 0.5), (5, 5), 5, 1.0),
    ),
]


@pytest.mark.parametrize(
    ("before", "after", "restarted", "grown"), [case[1:] for case in DELTAS], ids=[case[0] for case in DELTAS]
)
def test_delta_is_what_was_observed_between(
    before: Histogram | None, after: Histogram, restarted: bool, grown: Histogram
) -> None:
    assert delta(before, after, restarted=restarted) == grown


def test_replicas_with_the_same_edges_add_up() -> None:
    other = Histogram((0.1, 0.5, 1.0), (0, 40, 70), 100, 80.0)
    together = merge([SPREAD, other])
    assert together == Histogram((0.1, 0.5, 1.0), (10, 100, 160), 200, 125.0)
    assert quantile(together, 0.5) == Quantile(0.5, "", 0.1, 0.5, 200)  # no mean of 0.42 and 0.67


def test_replicas_of_two_engines_are_merged_on_the_edges_both_have() -> None:
    vllm = Histogram((0.1, 0.25, 0.5, 1.0, 2.5), (5, 10, 20, 30, 40), 50, 60.0)
    sglang = Histogram((0.1, 0.2, 0.4, 1.0, 2.0), (1, 2, 4, 8, 9), 10, 7.0)
    assert merge([vllm, sglang]) == Histogram((0.1, 1.0), (6, 38), 60, 67.0)


def test_replicas_without_a_common_edge_leave_count_and_mean() -> None:
    together = merge([Histogram((0.1,), (4,), 5, 1.0), Histogram((0.2,), (4,), 5, 2.0)])
    assert together == Histogram((), (), 10, 3.0)
    assert mean(together) == 0.3
    assert quantile(together, 0.5) is None


def test_a_replica_that_observed_nothing_has_no_say_about_edges() -> None:
    assert merge([SPREAD, Histogram((0.7,), (0,), 0, 0.0)]) == SPREAD
    assert merge([Histogram((0.7,), (0,), 0, 0.0), EMPTY]) == Histogram((0.7,), (0,), 0, 0.0)


def test_merging_nothing_and_one() -> None:
    assert merge([]) is None
    assert merge([SPREAD]) == SPREAD


def test_an_unknown_sum_stays_unknown_when_merged() -> None:
    together = merge([SPREAD, Histogram((0.1, 0.5, 1.0), (1, 1, 1), 1)])
    assert together is not None
    assert together.sum is None
    assert mean(together) is None


GATHERED = [
    ("in order", [(0.1, 1), (0.5, 3), (INF, 4)], 4, 2.0, Histogram((0.1, 0.5), (1, 3), 4, 2.0)),
    ("in any order", [(INF, 4), (0.5, 3), (0.1, 1)], 4, 2.0, Histogram((0.1, 0.5), (1, 3), 4, 2.0)),
    ("+Inf is the total", [(0.1, 1), (INF, 4)], None, None, Histogram((0.1,), (1,), 4, None)),
    ("no +Inf, its _count stands in", [(0.1, 1)], 4, 2.0, Histogram((0.1,), (1,), 4, 2.0)),
    ("no +Inf and no _count", [(0.1, 1), (0.5, 3)], None, 2.0, None),
    ("a _count below its buckets", [(0.1, 1), (0.5, 3)], 2, 2.0, Histogram((0.1, 0.5), (1, 3), 3, 2.0)),
    ("counts that fall", [(0.1, 3), (0.5, 2), (1, 5), (INF, 4)], 4, 2.0, Histogram((0.1, 0.5, 1), (3, 3, 5), 5, 2.0)),
    ("one edge twice", [(0.1, 1), (0.1, 2), (INF, 4)], 4, None, Histogram((0.1,), (2,), 4, None)),
    ("only +Inf", [(INF, 4)], 4, 2.0, Histogram((), (), 4, 2.0)),
    ("only a count", [], 4, 2.0, Histogram((), (), 4, 2.0)),
    ("nothing", [], None, None, None),
    ("a count that is no number", [(0.1, math.nan), (INF, 4)], 4, 2.0, None),
    ("an endless count", [(0.1, INF), (INF, 4)], 4, 2.0, None),
    ("a negative count", [(0.1, -1), (INF, 4)], 4, 2.0, None),
    ("a negative total", [(0.1, 1)], -4, 2.0, None),
    ("an edge that is no number", [(math.nan, 1), (INF, 4)], 4, 2.0, None),
    ("an edge below everything", [(-INF, 1), (INF, 4)], 4, 2.0, None),
    ("a sum that is no number", [(0.1, 1), (INF, 4)], 4, math.nan, Histogram((0.1,), (1,), 4, None)),
    ("a negative sum", [(0.1, 1), (INF, 4)], 4, -2.0, Histogram((0.1,), (1,), 4, None)),
]


@pytest.mark.parametrize(
    ("buckets", "total", "seconds", "expected"), [case[1:] for case in GATHERED], ids=[case[0] for case in GATHERED]
)
def test_what_an_engine_prints_becomes_a_histogram_or_is_refused(
    buckets: list[tuple[float, float]], total: float | None, seconds: float | None, expected: Histogram | None
) -> None:
    assert gather(buckets, total, seconds) == expected


def test_a_histogram_finer_than_the_wire_carries_is_coarsened_and_keeps_its_last_edge() -> None:
    fine = gather([(float(edge), float(edge)) for edge in range(1, 301)], 300, None)
    assert fine is not None
    assert len(fine.edges) == 100 <= EDGES
    assert (fine.edges[:2], fine.edges[-1], fine.counts[-1]) == ((3.0, 6.0), 300.0, 300.0)
    assert unpack(Histogram, pack(fine)) == fine


def test_milliseconds_become_seconds() -> None:
    assert scaled(Histogram((300, 500), (1, 2), 3, 1200.0), 1000) == Histogram((0.3, 0.5), (1, 2), 3, 1.2)


def test_mean_needs_observations_and_their_sum() -> None:
    assert mean(SPREAD) == 0.45
    assert mean(Histogram((), (), 0, 0.0)) is None
    assert mean(Histogram((0.1,), (1,), 2)) is None


OBSERVED = st.lists(st.floats(0, 20), max_size=200)
EDGES_OF = st.lists(st.sampled_from([0.0, 0.1, 0.3, 0.5, 1.0, 2.5, 5.0, 10.0]), min_size=1, unique=True).map(sorted)


def counted(edges: list[float], seen: list[float]) -> Histogram:
    """What an engine with these edges prints after these durations."""
    counts = tuple(float(sum(value <= edge for value in seen)) for edge in edges)
    return Histogram(tuple(edges), counts, float(len(seen)), sum(seen))


@settings(max_examples=30, deadline=None)
@given(EDGES_OF, OBSERVED, st.sampled_from([0.01, 0.5, 0.9, 0.95, 0.99, 1.0]))
def test_the_true_quantile_lies_between_the_edges_that_are_told(
    edges: list[float], seen: list[float], q: float
) -> None:
    found = quantile(counted(edges, seen), q, hide=False)
    assert (found is None) == (not seen)
    if found is None:
        return
    true = sorted(seen)[max(0, math.ceil(q * len(seen) - 1e-9) - 1)]
    assert found.low <= true <= found.high
    assert found.low <= found.value <= found.high
    assert (found.bound == ">") == (found.high == INF)


@settings(max_examples=30, deadline=None)
@given(EDGES_OF, OBSERVED, OBSERVED)
def test_growth_is_what_was_seen_meanwhile(edges: list[float], before: list[float], meanwhile: list[float]) -> None:
    grown = delta(counted(edges, before), counted(edges, before + meanwhile))
    assert (grown.counts, grown.total) == (counted(edges, meanwhile).counts, len(meanwhile))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(EDGES_OF, OBSERVED), min_size=1, max_size=4))
def test_merged_replicas_count_what_all_of_them_saw(replicas: list[tuple[list[float], list[float]]]) -> None:
    together = merge([counted(edges, seen) for edges, seen in replicas])
    assert together is not None
    everything = [value for _, seen in replicas for value in seen]
    if everything:
        assert together.edges == tuple(sorted(set.intersection(*(set(edges) for edges, seen in replicas if seen))))
    assert (together.counts, together.total) == (counted(list(together.edges), everything).counts, len(everything))


ANY = st.floats(-1e18, 1e18)
HOSTILE = st.builds(
    Histogram, st.lists(ANY, max_size=4).map(tuple), st.lists(ANY, max_size=4).map(tuple), ANY, st.none() | ANY
)


@settings(max_examples=100, deadline=None)
@given(st.lists(HOSTILE, max_size=3), st.sampled_from([0.0, 0.5, 0.99, 1.0]))
def test_what_a_broken_agent_sends_breaks_no_console(parts: list[Histogram], q: float) -> None:
    for part in [*parts, *([together] if (together := merge(parts)) is not None else [])]:
        quantile(part, q)
        found = quantile(part, q, hide=False)
        assert found is None or math.isfinite(found.value)
        mean(part)
    if len(parts) > 1:
        delta(parts[0], parts[1])
