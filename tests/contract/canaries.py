"""One of each kind of secret, none of them real. None may ever be logged."""

CANARIES = {
    "token": "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ.Q2FuYXJ5Q2FuYXJ5Q2FuYXJ5",
    "activation code": "mgc_canary2canary3canary4canary5",
    "refresh token": "mgr_canary6canary7canary2canary3",
    "portal link": "mgl_canary2canary3canary4canary5",
    # As a client might choose one, and of no form that a filter could know.
    "password": "canary!pass*word",
    "e-mail": "canary.owner+1@canary.example",
    "Stripe key": "sk_live_canary0canary1canary2",
    "webhook secret": "whsec_canaryCanary+canary/canary=",
    "client secret": "seti_1canary_secret_canaryCANARY",
}


def leaked(text: str) -> list[str]:
    """Return the kinds of secret that stand in `text`, whole or in part."""
    marks = {kind: [value] for kind, value in CANARIES.items()}
    marks["token"] += CANARIES["token"].split(".")[1:]
    marks["e-mail"] += ["canary.owner", "canary.example"]
    return [kind for kind, values in marks.items() if any(value in text for value in values)]
