"""The push services, one file each: how to ask one of them to wake a phone."""
