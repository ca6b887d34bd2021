"""Many data sets of about the same kind, searched together in lock step.

`laplace.many.convoy` takes the usual road of `laplace.search` for all of them at once. What is
doubtful leaves it, and is fitted alone.
"""
