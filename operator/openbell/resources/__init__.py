"""The Kubernetes API that Openbell offers: models of the resources, and what is made from them."""
