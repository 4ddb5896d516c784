"""Metrics of real servers, recorded for the tests of rules and queries."""
