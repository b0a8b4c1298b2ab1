"""The phone's door: keys, transactions, devices."""
