"""What is allowed: pure decisions over plain values."""
