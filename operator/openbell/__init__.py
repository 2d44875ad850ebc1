"""Openbell: the Kubernetes operator for automated trading."""

__version__ = "0.1.0"
