"""
Endpoint descriptions, addresses and origins, as text; pure functions.
"""
