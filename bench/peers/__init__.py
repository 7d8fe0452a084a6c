"""Those who are measured: one adapter a file behind ``Peer``."""
