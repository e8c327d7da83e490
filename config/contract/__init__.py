"""What every app shares: envelope, errors, request context, clock, clients.

The bottom of the house: nothing here imports an app of ours.
"""
