"""Starts everything in order, keeps it running, and stops all of it.

AWS and the migration start side by side; the web application follows when both are ready, so that
nobody can upload what no function would hear of.
"""

import http.client
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import replace

from local_cloud import processes
from local_cloud.console import Console
from local_cloud.event_queue import EventQueue
from local_cloud.function_host import (
    CLAIM_MARGIN_SECONDS,
    Clock,
    FunctionHost,
    QueueReader,
    RetryPolicy,
    Starter,
    invoke_once,
)
from local_cloud.function_process import Failure, FunctionProcess, Outcome
from local_cloud.loopback_http import LOOPBACK
from local_cloud.processes import Service
from local_cloud.settings import REGION, Settings
from local_cloud.state_folder import StateFolder
from local_cloud.template import Function, Template
from local_cloud.wiring import Queue, Wiring

MIGRATE_FUNCTION = "MigrateFunction"

# A queue hides a message this much longer than its function may run, so that nobody else gets it.
VISIBILITY_MARGIN_SECONDS = 30

_START_SECONDS = 90
_LOOK_SECONDS = 0.1
_TRIM_SECONDS = 10
_GRACE_SECONDS = 4


class StartError(Exception):
    """Something did not start; the message is for the person who wanted it to."""


class StoppedError(Exception):
    """The person asked for an end before everything had started."""


class Supervisor:
    """One local run, from start to end.

    Args:
        settings: what was asked for.
        folder: where its state is; already claimed.
        console: what the person reads.
    """

    def __init__(self, settings: Settings, folder: StateFolder, console: Console) -> None:
        self._settings = settings
        self._folder = folder
        self._console = console
        self._stopping = threading.Event()
        self._template = Template.read(
            {
                "ImageBucketName": settings.image_bucket,
                "ThumbnailBucketName": settings.thumbnail_bucket,
            }
        )
        self._functions = self._template.functions
        self._wiring = wiring_of(self._template, settings)
        self._host = FunctionHost(console)
        self._clocks: list[Clock] = []
        self._aws = self._aws_service()
        self._web = Service(
            "web",
            [
                *("-m", "gunicorn", "--config", "web_app/gunicorn.conf.py"),
                *("--bind", f"{settings.host}:{settings.port}", "web_app.wsgi:app"),
            ],
            settings.web_environment(folder.flask_secret_key()),
            folder.log("web"),
            grace_seconds=_GRACE_SECONDS,
        )
        self._platform = [self._aws]
        if settings.emulator_port is not None:
            emulator = Service(
                "gemini",
                ["-m", "local_cloud.gemini_emulator", "--port", str(settings.emulator_port)],
                settings.machine_environment(),
                folder.log("gemini"),
            )
            self._platform.append(emulator)

    def request_stop(self) -> None:
        """Have `run` end. May be called from a signal handler."""
        self._stopping.set()

    def run(self) -> None:
        """Start everything, keep it running until asked to stop, stop everything.

        Raises:
            StartError: something did not start; whatever had is stopped again.
        """
        try:
            self._start()
            self._keep_running()
        except StoppedError:
            return
        finally:
            self._stop()

    def _start(self) -> None:
        migration = _InThread(self._migrate)
        for service in self._platform:
            service.start()
        migration_seconds = _START_SECONDS + self._functions[MIGRATE_FUNCTION].timeout_seconds
        self._wait_for(migration.is_done, "the migration", seconds=migration_seconds)
        outcome = migration.result()
        if isinstance(outcome, Failure):
            reason = f"{outcome.error_type}: {outcome.error_message}"
            raise StartError(f"The database could not be migrated: {reason}")
        self._wait_for(self._aws_listens, "the local AWS", self._aws)

        self._web.start()
        self._wait_for(self._web_answers, "the web application", self._web)
        # Only now: on a small machine the functions' imports would keep a person waiting.
        self._start_functions()
        self._start_clocks()
        self._print_welcome()

    def _keep_running(self) -> None:
        trimmed_at = time.monotonic()
        while not self._stopping.wait(_LOOK_SECONDS):
            for service in (self._web, *self._platform):
                if news := service.keep_running():
                    self._console.event(service.name, news, "bad")
                    if service is self._aws:
                        for clock in self._clocks:
                            clock.note_empty_queues()
            if time.monotonic() - trimmed_at > _TRIM_SECONDS:
                self._folder.trim_logs()
                trimmed_at = time.monotonic()

    def _stop(self) -> None:
        self._web.stop()
        self._host.stop(_GRACE_SECONDS)
        for service in self._platform:
            service.stop()

    def _migrate(self) -> Outcome:
        process = self._function_process(self._functions[MIGRATE_FUNCTION])
        return invoke_once(process, {"action": "migrate"})

    def _start_functions(self) -> None:
        for logical_id, queue in self._wiring.queues.items():
            function = self._functions[logical_id]
            function = replace(function, timeout_seconds=self._settings.timeout_seconds(function))
            events = EventQueue(queue.name, self._settings.aws_url)
            policy = RetryPolicy(queue.max_attempts, self._settings.retry_seconds)
            starter = Starter(function.name, self._console)
            for _ in range(self._settings.processes_per_function):
                process = self._function_process(function)
                self._host.start(QueueReader(process, events, policy, starter, self._console))

    def _start_clocks(self) -> None:
        longest_claim_seconds = CLAIM_MARGIN_SECONDS + max(
            self._settings.timeout_seconds(self._functions[i]) for i in self._wiring.queues
        )
        for schedule in self._template.schedules():
            function = self._functions[schedule.function_id]
            process = self._function_process(function)
            starter = Starter(function.name, self._console)
            clock = Clock(process, schedule, REGION, longest_claim_seconds, starter, self._console)
            self._clocks.append(clock)
            self._host.start(clock)

    def _aws_service(self) -> Service:
        arguments = ["--port", str(self._settings.aws_port)]
        arguments += ["--folder", str(self._folder.path), "--wiring", self._wiring.to_json()]
        return Service(
            "aws",
            ["-m", "local_cloud.aws_server", *arguments],
            self._settings.aws_server_environment(self._folder.temporary),
            self._folder.log("aws"),
        )

    def _function_process(self, function: Function) -> FunctionProcess:
        environment = self._settings.function_environment(function)
        return FunctionProcess(function, environment, REGION, self._folder.log(function.name))

    def _wait_for(
        self,
        is_ready: Callable[[], bool],
        what: str,
        service: Service | None = None,
        seconds: int = _START_SECONDS,
    ) -> None:
        """Wait until something is ready.

        Raises:
            StartError: it ended, or took too long.
            StoppedError: the person does not want to wait.
        """
        ends_at = time.monotonic() + seconds
        while not is_ready():
            if self._stopping.wait(_LOOK_SECONDS / 2):
                raise StoppedError
            if service is not None and service.has_ended:
                raise StartError(
                    f"{what.capitalize()} did not start. The end of {service.log.path}:\n"
                    f"{service.log.tail()}"
                )
            if time.monotonic() > ends_at:
                where = f" See {service.log.path}." if service is not None else ""
                raise StartError(f"{what.capitalize()} did not start in {seconds} s.{where}")

    def _aws_listens(self) -> bool:
        return processes.listens(self._settings.aws_port)

    def _web_answers(self) -> bool:
        try:
            with _DIRECT.open(f"{self._settings.url}/health", timeout=2) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError, http.client.HTTPException):
            return False

    def _print_welcome(self) -> None:
        settings = self._settings
        if settings.emulator_port is not None:
            captions = (
                f"a local emulator at http://{LOOPBACK}:{settings.emulator_port}; "
                "set GEMINI_API_KEY to use Gemini"
            )
        else:
            model = settings.function_environment(self._functions["AnnotationFunction"])
            captions = f"Gemini, {model['GEMINI_MODEL_NAME']}"
        queued = [self._functions[i].name for i in self._wiring.queues]
        clocks = [
            f"{self._functions[s.function_id].name} every {s.every_seconds} s"
            for s in self._template.schedules()
        ]
        processes = f"{' and '.join(queued)} ({settings.processes_per_function} processes each)"
        self._console.print(
            f"\nThe Image Annotation System runs at {settings.url}\n\n"
            f"  AWS        {settings.aws_url} (S3, EventBridge and SQS of this machine)\n"
            f"  database   {settings.database}\n"
            f"  captions   {captions}\n"
            f"  functions  {', '.join([processes, *clocks])}\n"
            f"  state      {self._folder.path} (logs in logs/)\n\n"
            "Ctrl-C stops all of it.\n"
        )


def wiring_of(template: Template, settings: Settings) -> Wiring:
    """What to make of AWS, so that events reach the functions as the template has it."""
    queues = {}
    for logical_id in sorted({rule.function_id for rule in template.event_rules()}):
        function = template.functions[logical_id]
        environment = settings.function_environment(function)
        queues[logical_id] = Queue(
            function.name,
            visibility_seconds=settings.timeout_seconds(function) + VISIBILITY_MARGIN_SECONDS,
            max_attempts=int(environment.get("MAX_ATTEMPTS", 3)),
        )
    buckets = settings.image_bucket, settings.thumbnail_bucket
    return Wiring(*buckets, queues, template.event_rules())


class _InThread:
    """A call that runs in a thread of its own."""

    def __init__(self, call: Callable[[], Outcome]) -> None:
        self._call = call
        self._outcome: Outcome | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def is_done(self) -> bool:
        return not self._thread.is_alive()

    def result(self) -> Outcome:
        if self._error is not None:
            raise self._error
        assert self._outcome is not None
        return self._outcome

    def _run(self) -> None:
        try:
            self._outcome = self._call()
        except BaseException as error:
            self._error = error


# A proxy of the environment has no business between two programs of this machine.
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
