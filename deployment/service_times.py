"""How long the work for one photo takes, for the costs and for the simulation.

The processor seconds are measured: `make bench ARGS=batch_100`, for a 12-megapixel JPEG of 3 MB, on
two shared cores of a server from 2023. Of the other times, nothing was measured on AWS.
"""

# Processor seconds of each part of the local system for one photo.
WEB = 0.042  # Receive the upload, read its header, store it, and respond to polls.
WEB_WITHOUT_FILE = 0.006  # The same without the file.
STORAGE = 0.070  # The S3 and EventBridge of the local system.
ANNOTATION = 0.086  # Read, decode, reduce; record the caption and the words for the search.
THUMBNAIL = 0.125  # Read, decode, make and store a thumbnail and previews.
CAPTIONER = 0.017  # The Gemini emulator.
OTHER = 0.012  # Supervision and logs.
CLIENT = 0.009

# Assumptions about AWS and Gemini.
CORE_OF_A_FUNCTION = 1024 / 1769  # Lambda gives one core for 1,769 MB.
S3_SECONDS = 0.1  # To read or store one object.
GEMINI_SECONDS = 2.5
TRANSACTIONS = 10  # In the database for one photo.


def annotation_seconds() -> float:
    """Return the time of one run of the annotation function on AWS."""
    return ANNOTATION / CORE_OF_A_FUNCTION + S3_SECONDS + GEMINI_SECONDS


def thumbnail_seconds() -> float:
    """Return the time of one run of the thumbnail function on AWS: one read, three writes."""
    return THUMBNAIL / CORE_OF_A_FUNCTION + 4 * S3_SECONDS
