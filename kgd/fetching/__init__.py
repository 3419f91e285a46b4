"""
Fetching notebooks from files and from web servers.
"""
