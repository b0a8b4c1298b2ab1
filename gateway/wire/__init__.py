"""Exact bytes: what phones, gateways and auditors must agree on."""
