"""The rows and object keys that the web application and the functions share.

This package uses SQLAlchemy. It does not use Flask or an image library, and only `secret_store`
calls AWS.
"""
