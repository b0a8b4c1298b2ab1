"""How fast is the gateway, and where does its time go? Started by scripts/bench."""
