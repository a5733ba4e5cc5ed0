"""Groups of what belongs together: pure, touches no file."""

from collections.abc import Iterable


def connected_groups(pairs: Iterable[tuple[int, int]]) -> list[list[int]]:
    """Find what pairs connect, directly or over others: disjoint groups, each sorted, in the order of their first.

    A number that is only paired with itself makes no group. Union-find: memory for the numbers, not for the pairs.
    """
    parent: dict[int, int] = {}

    def root(number: int) -> int:
        while (above := parent.setdefault(number, number)) != number:
            # Halves the way for those who come after.
            parent[number] = number = parent[above]
        return number

    for one, other in pairs:
        first, second = sorted((root(one), root(other)))
        parent[second] = first
    groups: dict[int, list[int]] = {}
    for number in sorted(parent):
        groups.setdefault(root(number), []).append(number)
    return [group for group in groups.values() if len(group) > 1]
