"""
The page on which people read about a notebook's endpoints and try them.
"""
