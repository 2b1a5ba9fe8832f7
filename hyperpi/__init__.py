"""What every part of Hyper-Pi shares: values, the public contract, errors, the wire and the command."""

__version__ = "0.1.0"
