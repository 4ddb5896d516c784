"""Corrected labels with the faces they belong to, given with consent, kept encrypted for a while, and erased on demand.

`mien.gateway.feedback.store.FeedbackStore` is what flows and commands work with. Nothing is imported here: worker
processes import this package too.
"""
