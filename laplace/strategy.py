"""The constants of the search for the maximum, by stage."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Strategy:
    """The constants of the search; `laplace.search` says what the stages do with them.

    Attributes
    ----------
    rules : tuple of int
        Numbers of nodes that ``nodes="auto"`` tries.
    enough, enough_ratio : float
        What it accepts: no parameter is predicted to move further, in standard errors, and none of
        these is off by a larger factor.
    many_rows, rows_of_start, groups_of_start : int
        From so many rows on, the search starts from a fit to about so many of them, in so many
        groups.
    start_tolerance : float
        Of that fit: the maximum over some rows is far less certain than this.
    value_tolerance : float
        Of a maximum of which the value alone is wanted, to ten digits.
    many_rows_tolerance : float
        With many rows, a ten-millionth of a standard error is below a ten-millionth of an
        estimate's third digit, and an evaluation takes time.
    few_rows : int
        Up to here, the stage *near* is left out.
    fewer_nodes, nearby_tolerance : tuple of int, float
        Numbers of nodes on the way to many, and how near their maxima have to be found.
    far_from_start : float
        A search that ends this far from its start, in log tau, is not *near*.
    tau_starts : tuple of float
        Tried after a first guess, which lies between `least_start` and `largest_start`.
    enough_information : float
        Where every group tells at least this of its intercept, its sum of b'', one search is enough
        to confirm a maximum at tau = 0.
    large_tau : float
        A larger estimate is a sign of doubt.
    few_mixed_groups : int
        Fewer groups with both outcomes are one, where one of all groups tells little of its
        intercept.
    near_separation, separation_sign : float
        Separation leaves almost no information in some direction; ordinary data keep far more.
    unequal, telling : float
        Groups that tell so many times more than others, and at least so much, may agree where the
        others vary: the likelihood may then have a maximum for each.
    far_by_reference : float
        A predicted change so large is one: of a coefficient of the orthogonal columns, or of log
        tau.
    reference_rules : tuple of (int, int)
        Where there is doubt, the number of nodes of the walk, up to a number of rows.
    rule_for_unequal : int
        Number of nodes of the walk where unequal groups are the only sign.
    walk_ratio, walk_from, walk_below, walk_to : float
        The values of tau of the walk: their ratio; the first, times the root of what the most
        telling group tells; its factor where a penalty keeps tau above zero; and the last.
    steps_of_walk : int
        Newton steps at each of them, at most.
    peaks : int
        Number of maxima of the walk that are followed.
    lowest_peak : float
        A maximum of the walk that is lower than the highest by more than this is left out.
    same_maximum : float
        Two searches that end closer than this, in log-likelihood, ended at the same maximum.
    groups_of_reference, groups_of_probe : int
        Where there are twice as many groups, the verdict's reference, or the quick look along tau,
        is taken on about so many.
    probe_to : float
        The largest tau of that look, about.
    rule_for_probe : int
        Its number of nodes. One is not enough: in groups of two rows it may miss a maximum that the
        likelihood has.
    """

    rules: tuple[int, ...] = (1, 3, 5, 9, 15, 25, 51, 99)
    enough: float = 0.01
    enough_ratio: float = 1.05
    many_rows: int = 50_000
    rows_of_start: int = 10_000
    groups_of_start: int = 250
    start_tolerance: float = 1e-2
    value_tolerance: float = 1e-8
    many_rows_tolerance: float = 1e-14
    few_rows: int = 1000
    fewer_nodes: tuple[int, ...] = (1, 6)
    nearby_tolerance: float = 1e-4
    far_from_start: float = 3.0
    tau_starts: tuple[float, ...] = (1.0, 0.3, 3.0)
    least_start: float = 0.1
    largest_start: float = 5.0
    enough_information: float = 4.0
    large_tau: float = 5.0
    few_mixed_groups: int = 12
    near_separation: float = 0.05
    separation_sign: float = 1e-5
    unequal: float = 6.0
    telling: float = 2.0
    far_by_reference: float = 1.0
    reference_rules: tuple[tuple[int, int], ...] = (
        (500, 199),
        (2000, 99),
        (20_000, 51),
        (10**12, 25),
    )
    rule_for_unequal: int = 7
    walk_ratio: float = 2.2
    walk_from: float = 0.3
    walk_below: float = 0.01
    walk_to: float = 300.0
    steps_of_walk: int = 4
    peaks: int = 3
    lowest_peak: float = 30.0
    same_maximum: float = 1e-6
    groups_of_reference: int = 2000
    groups_of_probe: int = 1000
    probe_to: float = 30.0
    rule_for_probe: int = 3


STRATEGY = Strategy()
