"""
Jupyter's wire formats, pure: bytes and values in, bytes and values out.
"""
