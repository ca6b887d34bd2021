"""What the book needs and the method does not: figures, data sets, the published experiment.

The development install puts it on the path; it is no part of the package that is installed.
"""
