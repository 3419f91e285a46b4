"""
Sessions: which notebook, console or file works with which kernel.
"""
