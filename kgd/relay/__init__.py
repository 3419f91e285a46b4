"""
The relay: kernels' ZeroMQ sockets, and the clients that share them.
"""
