"""How places are reached: partitions on Dask, sites behind a gate, by files and by Flower.

Nothing here is imported by `laplace` itself, and each room imports its library when it is used.

Partitions are trusted, and there are more rows than one machine holds: `laplace.engines.dask`.

Sites may not give their rows away. Each has a *gate*, `laplace.engines.gate`: a process of its own,
which alone opens the data, and answers questions under the site's policy. What talks to the outside
opens no data: `laplace.engines.files` and `laplace.engines.flower`.
"""
