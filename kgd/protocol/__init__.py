"""
Jupyter's wire formats: bytes to values and back, without any I/O.
"""
