"""What a fit costs, here and elsewhere: `make benchmark`, or `python -m benchmarks --help`."""
