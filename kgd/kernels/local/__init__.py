"""
Kernels that run on this machine as child processes of the gateway.
"""
