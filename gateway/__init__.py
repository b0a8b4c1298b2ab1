"""Countersign: an HSM-backed gateway for confirming and signing transactions."""
