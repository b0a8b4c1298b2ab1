"""Who gets told: callbacks, expiry and clearing away."""
