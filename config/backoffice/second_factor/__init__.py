"""A second factor for staff: six digits from an authenticator app (TOTP, RFC 6238).

Each member of staff sets up their own. There where `django-otp` is installed (the
extra `mfa`); elsewhere nobody has one and nothing asks for one.
"""
