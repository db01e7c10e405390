"""Clients of other systems: S3, EventBridge, Secrets Manager and the load balancer's keys."""
