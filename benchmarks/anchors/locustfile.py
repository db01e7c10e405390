"""What Locust is told to do: each of its users asks, and asks again."""

from locust import FastHttpUser, task


class Asker(FastHttpUser):
    @task
    def ask(self):
        self.client.get("/")
