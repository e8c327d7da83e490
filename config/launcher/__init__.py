"""`./dev`: makes the environment, brings up real servers and keeps them running.

Standard library only, because it runs before any virtual environment exists.
`cli` is the way in; each other module has one reason to change.
"""
