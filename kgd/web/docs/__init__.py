"""
The page on which people read about an API, and try it.
"""
