"""
Tells kgd about the personality.
"""

from kgd_hello import maker

hello = maker
