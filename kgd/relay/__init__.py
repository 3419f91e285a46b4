"""
The relay: a kernel's ZeroMQ sockets, and the clients that share them.
"""
