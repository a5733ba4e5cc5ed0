"""What pairs connect: disjoint groups that hold every pair, and nothing that pairs do not lead to."""

from hypothesis import given
from hypothesis import strategies as st

from retrieval.duplicates.compare import connected_groups

numbers = st.integers(0, 12)
pairs_of_numbers = st.lists(st.tuples(numbers, numbers), max_size=20)


def reachable(start: int, pairs: list[tuple[int, int]]) -> set[int]:
    """The oracle: walk from a number over the pairs until there is nowhere new to go."""
    reached, pending = {start}, [start]
    while pending:
        here = pending.pop()
        beside = {other for pair in pairs if here in pair for other in pair}
        pending.extend(beside - reached)
        reached |= beside
    return reached


@given(pairs_of_numbers)
def test_a_group_is_all_that_can_be_reached_from_any_of_it(pairs: list[tuple[int, int]]) -> None:
    groups = connected_groups(pairs)
    for group in groups:
        assert len(group) > 1
        assert all(reachable(number, pairs) == set(group) for number in group)
    grouped = [number for group in groups for number in group]
    assert len(grouped) == len(set(grouped))
    assert set(grouped) == {number for pair in pairs if pair[0] != pair[1] for number in pair}


@given(pairs_of_numbers)
def test_neither_the_order_nor_the_direction_of_pairs_counts(pairs: list[tuple[int, int]]) -> None:
    turned = [pair[::-1] for pair in pairs]
    turned.sort(key=hash)
    assert connected_groups(turned) == connected_groups(pairs)
    assert connected_groups(pairs + turned) == connected_groups(pairs)


def test_a_long_chain_is_one_group() -> None:
    count = 100_000
    assert connected_groups((number + 1, number) for number in range(count)) == [list(range(count + 1))]
    assert connected_groups((number, number + 1) for number in reversed(range(count))) == [list(range(count + 1))]
