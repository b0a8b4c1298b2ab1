"""The vectors of the wire format, made with the gateway's own code: `scripts/vectors`."""
