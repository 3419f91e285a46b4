"""
The gateway as a Twisted service, to be embedded in applications or run as a daemon.
"""
