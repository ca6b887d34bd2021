"""What follows from an estimate: its precision, tests, predictions, residuals, and the summary.

`laplace.result.Fit` brings these together for users.
"""
