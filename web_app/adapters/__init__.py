"""Clients of other systems: S3, EventBridge, and the public keys of the load balancer."""
