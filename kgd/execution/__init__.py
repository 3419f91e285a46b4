"""
Running code in a kernel on the gateway's behalf, and collecting its outputs.
"""
