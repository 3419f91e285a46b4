"""
Unit tests of :py:mod:`kgd.web.docs`.
"""
