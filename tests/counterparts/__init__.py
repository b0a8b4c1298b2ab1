"""An independent phone and an independent bank, written from docs/reference/wire.md alone.

They import neither `gateway` nor `hsm`, so that an error in the gateway's reading of its own reference
cannot hide in a shared function.
"""
