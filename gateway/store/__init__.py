"""What is remembered: the only place that talks to the database."""
