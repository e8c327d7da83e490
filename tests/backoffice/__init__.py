"""The pages for staff: who may see and who may do what."""
