"""What both doors do with input that nobody should send."""
