"""Rumpel composes small single-purpose virtual machines."""

__version__ = "0.1.0"
