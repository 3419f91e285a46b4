"""
What operators see: logs, counters, the audit log.
"""
