"""Tests of the house itself: one file for each question, answered by reading the tree."""
