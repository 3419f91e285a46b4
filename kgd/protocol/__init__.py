"""
Jupyter's message formats: parsing and encoding, without any I/O.
"""
