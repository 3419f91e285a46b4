"""
The Model Context Protocol.
"""
