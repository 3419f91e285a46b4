"""
The HTTP and WebSocket servers, hardened: limits, deadlines, close codes, delivery.
"""
