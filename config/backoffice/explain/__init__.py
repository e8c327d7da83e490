"""The page that says why something was allowed or denied."""
