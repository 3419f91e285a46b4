"""
Personalities: the HTTP APIs that a gateway can have, and the loader that finds them.
"""
