"""The device: everything the gateway asks of a PKCS#11 token, and nothing about the gateway."""
