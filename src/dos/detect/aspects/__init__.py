"""Statistics of a series as it arrives, and how rare each of them is for this very series.

A *statistic* is a number, 0 or more, that is large when the newest sample is odd in one respect:
far from a level, unlike the same time of other days, not what the samples before foretell, in a
window unlike all windows before. The statistics come in families (`FAMILIES`), each with a paper
of its own, and only the families asked for are computed.

How odd is odd is a question to the past of the series: each statistic keeps a histogram of its
logarithm, and its *rarity* is `-log10` of the share of past samples with as large a value. Beyond
what was seen the tail is taken to be a Pareto tail, whose shape is estimated from the largest
values (Hill, *A simple general approach to inference about the tail of a distribution*, Annals of
Statistics 3(5), 1975), so that rarity goes on growing, without ties. What is abnormal hardly
enters levels and histograms: the reference has to outlive a long incident.

All loops are compiled; state is in columns, one row a series. `examine` reads, `absorb` writes.
"""
