"""What an operator can ask of the gateway, a file for each group of commands."""
