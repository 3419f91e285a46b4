"""
Ports and sockets that the gateway listens on: TCP, Unix, inherited, TLS.
"""
