"""Buckets, objects and uploads in terms of log and index; no HTTP here."""
