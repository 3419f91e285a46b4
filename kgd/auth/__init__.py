"""
Tokens: where the gateway's own comes from, and where requests carry theirs.
"""
