"""Any list of the back office as a table for a spreadsheet."""
