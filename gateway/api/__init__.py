"""Who may ask: HTTP on the outside, scenarios on the inside."""
