"""Pages for staff, on top of the house: it may know every app."""
