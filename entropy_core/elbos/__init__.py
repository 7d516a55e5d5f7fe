"""Objectives: their formulas, what they return, what they refuse."""
