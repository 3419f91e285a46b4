"""
Notebooks as HTTP APIs: parsing them, routing requests, making responses; pure functions.
"""
