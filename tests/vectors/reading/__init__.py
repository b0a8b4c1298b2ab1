"""A second reading of the wire format, written from docs/reference/wire.md alone: no code of the gateway."""
