"""What staff may do: each act shows what will change, asks why, and is written down.

An act decides nothing. It asks the same service as the API and the command,
once to show what would change and once to do it.
"""

from config.backoffice.acts.registry import Offer, acts_about, acts_for

__all__ = ["Offer", "acts_about", "acts_for"]
