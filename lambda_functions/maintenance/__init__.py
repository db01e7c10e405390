"""The functions that keep house: migrate at each deploy, sweep every minute."""
