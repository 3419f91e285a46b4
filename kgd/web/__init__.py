"""
HTTP: routes, access, errors and responses.
"""
