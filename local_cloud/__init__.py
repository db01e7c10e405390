"""Run the whole system on one machine, with the same code as on AWS.

`python -m local_cloud` starts separate processes: Moto's server as a local AWS, the functions in
the runtime client of AWS Lambda, the web application, and an emulator of Gemini if no key is set.
It imports nothing of the application.
"""
