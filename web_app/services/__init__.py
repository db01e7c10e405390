"""The use cases of the application. They do not import Flask."""
