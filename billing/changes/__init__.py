"""Plan changes: what an organisation asks for, done at Stripe once, written down once."""
