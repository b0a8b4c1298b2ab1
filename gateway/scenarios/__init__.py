"""What happens: one function per scenario."""
