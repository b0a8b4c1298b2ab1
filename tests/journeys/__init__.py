"""Whole ways through a running gateway: over HTTP with TLS, on a real token and both databases."""
