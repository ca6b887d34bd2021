"""From a formula and a table to rows: what the text means, and what the columns hold.

`laplace.reading.design` is the way in. Nothing here knows of a likelihood.
"""
