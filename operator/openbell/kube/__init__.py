"""The Kubernetes API as plain dicts: client, watch, lease. Nothing else in Openbell speaks to the API server."""
