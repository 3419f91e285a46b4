"""
Kernels: kernelspecs, start, restart, culling, spare kernels, and the registry of all of them.
"""
