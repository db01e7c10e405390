"""Locust scenario: each user sends one request after the other."""

from locust import FastHttpUser, task


class Requester(FastHttpUser):
    @task
    def request(self):
        self.client.get("/")
