"""Predicts with exported models."""
