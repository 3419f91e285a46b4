"""
kgd, a kernel gateway daemon: Jupyter kernels over HTTP and WebSocket.
"""

__version__ = "0.1.0"
