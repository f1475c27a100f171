"""Fly scans: the plans, what they ask of a flyer, and in which documents a scan is told.

What is simulated and what speaks EPICS have this in common; it knows neither.
"""
