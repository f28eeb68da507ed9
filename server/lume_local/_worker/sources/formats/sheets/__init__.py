"""Spreadsheets: the sheets of a workbook, their values as text."""
