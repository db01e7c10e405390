"""HTTP endpoints: pages, the JSON API, health checks, static files and error responses."""
