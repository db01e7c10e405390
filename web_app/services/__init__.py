"""Use cases. They know neither Flask nor HTTP."""
