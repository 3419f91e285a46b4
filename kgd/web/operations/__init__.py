"""
Endpoints for operators: health, readiness, metrics, status, draining.
"""
