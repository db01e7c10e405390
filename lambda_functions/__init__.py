"""What S3's events start: one function for each half of the row, and one that keeps house.

An event names an object; the function claims its half of the row, transforms the original, and
records the result in the same row. Functions know nothing of the web application.
"""
