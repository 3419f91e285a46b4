"""
The Model Context Protocol, by which agents use the gateway as their code interpreter.
"""
