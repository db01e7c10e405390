"""The row that the web application and the functions share, and the keys of its objects.

SQLAlchemy is this package's whole subject: it knows no Flask, no AWS and no image library.
"""
