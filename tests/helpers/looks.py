"""Examples that evidence has been computed for."""

from ieg.label_issues.score import Shares, look


def looked(split, rows, given, shares, agreement=None):
    """Returns what shares [n, C] say of given labels."""
    return look(
        split,
        rows,
        given,
        shares.shape[1],
        lambda block: Shares(shares[block], shares[block], None),
        agreement,
    )
