"""
Authentication: the gateway's token, tokens in requests, and the identities of clients.
"""
