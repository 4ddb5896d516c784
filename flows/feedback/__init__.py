"""Accepted corrections as a dataset to retrain with."""
