"""The Lambda functions: annotation, thumbnail and maintenance.

An event from S3 names an original. The function claims its job in the image's row, transforms the
original, and records the result in the same row. The functions do not depend on the web
application.
"""
