"""Countersign: an HSM-backed gateway for confirming and signing transactions."""

from importlib.metadata import version

__version__ = version("countersign")
