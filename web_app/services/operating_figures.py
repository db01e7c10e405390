"""Read what operators watch beside the requests: jobs, the age of the queue, tokens and cost."""

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy.orm import Session, sessionmaker

from database.job_counts import count_jobs
from database.models import Status
from database.session import session_scope
from database.usage import list_usage_of_today
from web_app.services.usage import sum_up


class OperatingFigures(Collector):
    """The figures of the database. They are read when the metrics are requested."""

    def __init__(self, session_factory: sessionmaker[Session]) -> None:
        self._session_factory = session_factory

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield each figure."""
        with session_scope(self._session_factory) as session:
            counts = count_jobs(session)
            used = sum_up(None, list_usage_of_today(session))
        jobs = GaugeMetricFamily(
            "image_annotation_jobs", "Jobs that wait or failed.", labels=("job", "status")
        )
        age = GaugeMetricFamily(
            "image_annotation_queue_age_seconds",
            "The time since the oldest waiting job was last requested.",
            labels=("job",),
        )
        for each in counts:
            jobs.add_metric((each.job, each.status), each.count)
            if each.status is Status.PENDING:
                age.add_metric((each.job,), each.oldest_seconds)
        tokens = GaugeMetricFamily(
            "image_annotation_tokens_today",
            "Tokens of answered requests to the model since midnight UTC.",
            labels=("kind",),
        )
        tokens.add_metric(("input",), used.tokens.input)
        tokens.add_metric(("output",), used.tokens.output)
        cost = GaugeMetricFamily(
            "image_annotation_cost_today_dollars",
            "Their list price in US dollars, without models whose price is unknown.",
            value=used.cost_usd or 0,
        )
        yield from (jobs, age, tokens, cost)
