"""What can a PKCS#11 module really do, tried with throw-away keys, and in which modes will the gateway run on it?"""
