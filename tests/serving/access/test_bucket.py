"""A bucket lets through what it promises, exactly."""

from itertools import accumulate

from hypothesis import given
from hypothesis import strategies as st

from serving.access.bucket import Bucket

NANO = 1_000_000_000
gaps = st.lists(st.integers(0, 3 * NANO) | st.integers(0, NANO // 50), max_size=80)
rates = st.integers(1, 10_000)
bursts = st.integers(1, 40)


@given(rate=rates, burst=bursts, gaps=gaps, start=st.integers(-NANO, NANO))
def test_never_more_than_the_burst_and_the_rate_times_the_time(
    rate: int, burst: int, gaps: list[int], start: int
) -> None:
    bucket = Bucket(rate, burst, start)

    let_in = [at for at in accumulate(gaps, initial=start) if bucket.take(at) == 0]

    for first, since in enumerate(let_in):
        for last, until in enumerate(let_in[first:], first):
            assert (last - first + 1) * NANO <= burst * NANO + rate * (until - since)


@given(rate=rates, burst=bursts, gaps=gaps)
def test_the_wait_it_names_is_the_wait_it_takes(rate: int, burst: int, gaps: list[int]) -> None:
    bucket, early = Bucket(rate, burst, 0), Bucket(rate, burst, 0)
    at = 0
    for gap in gaps:
        at += gap
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
