"""
The gateway as its own process: signals, exit status, systemd, log, limits of the system.
"""
