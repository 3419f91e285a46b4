"""
Sessions: which notebook, console or file uses which kernel.
"""
