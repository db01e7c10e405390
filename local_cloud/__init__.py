"""The same system on one machine: another cloud at other addresses, the same code.

`python -m local_cloud` starts, as processes of their own, an AWS on loopback (Moto's server),
the functions (each in AWS's own runtime client), an emulator of Gemini where no key is set, and the
web application. It imports nothing of the application.
"""
