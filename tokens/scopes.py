"""What a token may be allowed to do."""

USAGE_WRITE = "usage:write"
USAGE_VOID = "usage:void"
ENTITLEMENTS_READ = "entitlements:read"
BILLING_READ = "billing:read"
BILLING_WRITE = "billing:write"

#: No organisation's token can hold `usage:void`: operators and staff only.
ORGANISATION = frozenset({USAGE_WRITE, ENTITLEMENTS_READ, BILLING_READ, BILLING_WRITE})
OPERATOR = ORGANISATION | {USAGE_VOID}
#: What a plugin needs, and no more.
INSTALLATION = (USAGE_WRITE, ENTITLEMENTS_READ)
#: What the owner's code from sign-up grants.
OWNER = (USAGE_WRITE, ENTITLEMENTS_READ, BILLING_READ, BILLING_WRITE)
