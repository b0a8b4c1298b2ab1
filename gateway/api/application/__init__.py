"""The bank's door: users, keysets, transactions, verification, events."""
