"""A bucket lets through what it promises, exactly."""

from itertools import accumulate

from hypothesis import example, given
from hypothesis import strategies as st

from serving.access.bucket import Bucket

NANO = 1_000_000_000
rates = st.integers(1, 10) | st.integers(1, 10_000)
bursts = st.integers(1, 3) | st.integers(1, 40)
# Between two requests, in billionths of what one needs to come in again: about half are too early.
gaps = st.lists(st.just(0) | st.integers(0, 2 * NANO), max_size=80)


# An hour of silence fills a bucket, and no more than fills it.
@example(rate=3, burst=2, gaps=[0, 3600 * 3 * NANO, 0, 0, 0], start=0)
# A third of a second is no whole number of billionths: one less is too early.
@example(rate=3, burst=1, gaps=[0, NANO], start=0)
@given(rate=rates, burst=bursts, gaps=gaps, start=st.integers(-NANO, NANO))
def test_never_more_than_the_burst_and_the_rate_times_the_time(
    rate: int, burst: int, gaps: list[int], start: int
) -> None:
    bucket = Bucket(rate, burst, start)
    asked = accumulate((gap // rate for gap in gaps), initial=start)

    let_in = [at for at in asked if bucket.take(at) == 0]

    for first, since in enumerate(let_in):
        for last, until in enumerate(let_in[first:], first):
            assert (last - first + 1) * NANO <= burst * NANO + rate * (until - since)


@given(rate=rates, burst=bursts, gaps=gaps)
def test_the_wait_it_names_is_the_wait_it_takes(rate: int, burst: int, gaps: list[int]) -> None:
    bucket, early = Bucket(rate, burst, 0), Bucket(rate, burst, 0)
    at = 0
    for gap in gaps:
        at += gap // rate
        wait = bucket.take(at)
        assert early.take(at) == wait
        if wait:
            assert early.take(at + wait - 1) > 0
            assert bucket.take(at + wait) == 0
            assert early.take(at + wait) == 0
            at += wait


@given(rate=rates, burst=bursts, extra=st.lists(st.integers(0, NANO), max_size=60))
def test_who_keeps_to_the_rate_is_never_refused(rate: int, burst: int, extra: list[int]) -> None:
    bucket, at = Bucket(rate, burst, 0), 0
    for more in extra:
        at += -(-NANO // rate) + more
        assert bucket.take(at) == 0


@given(rate=rates, burst=bursts, back=st.integers(1, 10 * NANO))
def test_a_clock_that_went_back_gives_nothing_away(rate: int, burst: int, back: int) -> None:
    bucket = Bucket(rate, burst, NANO)
    for _ in range(burst):
        assert bucket.take(NANO) == 0

    assert bucket.take(NANO - back) > 0
    assert bucket.take(NANO) > 0
    assert Bucket(rate, burst, NANO).take(NANO - back) == 0  # nor does it take anything
