"""
The gateway as a process of its own: signals, exit status, systemd, log, limits of the system.
"""
