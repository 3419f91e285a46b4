"""
The REST API of kernels, kernelspecs and sessions, and the WebSocket of a kernel's channels.
"""
