"""The maintenance functions: the migration at each deployment, and the sweep every minute."""
