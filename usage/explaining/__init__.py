"""Why something was allowed or denied, for whoever was told so."""
