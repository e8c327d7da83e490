"""Overage: what an organisation used past its plan, charged once per metric and period.

Nothing is reported while a period can still change. 72 hours after its end it is
closed, late events and voids and all; what is over then is over for good, and is
reported once, by an operation whose uuid is made of organisation, metric and
period. So there is nothing to correct at Stripe afterwards.
"""
