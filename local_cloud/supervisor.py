"""Start all programs in order, restart them when they end, and stop them.

The local AWS and the migration start at the same time. The web application starts after the
migration. The address is printed when all of them are ready.
"""

import http.client
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace

from local_cloud import processes
from local_cloud.captions.ollama import find_vision_model, use_ollama_hint
from local_cloud.console import Console
from local_cloud.event_queue import EventQueue
from local_cloud.function_host import (
    CLAIM_MARGIN_SECONDS,
    FunctionHost,
    ProcessStarter,
    QueueReader,
    RetryPolicy,
    Scheduler,
    invoke_once,
)
from local_cloud.function_process import FunctionProcess, Outcome
from local_cloud.processes import Service
from local_cloud.runtime_api import Failure
from local_cloud.settings import Settings
from local_cloud.state_folder import StateFolder
from local_cloud.template import Function, Template
from local_cloud.wiring import Queue, Wiring

MIGRATE_FUNCTION = "MigrateFunction"

# A queue hides a message this much longer than the time-out, so that it is not delivered twice.
VISIBILITY_MARGIN_SECONDS = 30

_START_SECONDS = 90
_POLL_SECONDS = 0.1
_TRIM_SECONDS = 10
_GRACE_SECONDS = 4
# The sweep starts this much later than the others, so that it does not delay a first photo.
_FIRST_PHOTO_SECONDS = 2


class StartError(Exception):
    """A program did not start. The message has the reason."""


class StoppedError(Exception):
    """The user stopped the run before everything had started."""


class Supervisor:
    """One local run, from start to end. The state folder must be claimed."""

    def __init__(self, settings: Settings, folder: StateFolder, console: Console) -> None:
        self._settings = settings
        self._folder = folder
        self._console = console
        self._stopping = threading.Event()
        self._ollama_model: str | None = None
        self._template = Template.read(
            {
                "ImageBucketName": settings.image_bucket,
                "ThumbnailBucketName": settings.thumbnail_bucket,
            }
        )
        self._functions = self._template.functions
        self._wiring = build_wiring(self._template, settings)
        self._host = FunctionHost(console)
        self._schedulers: list[Scheduler] = []
        self._aws = self._aws_service()
        self._web = Service(
            "web",
            [
                *("-m", "gunicorn", "--config", "web_app/gunicorn.conf.py"),
                *("--workers", str(settings.web_processes)),
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
                [
                    *("-m", "local_cloud.gemini_emulator", "--port", str(settings.emulator_port)),
                    *settings.caption_settings.emulator_arguments,
                ],
                # Each request has a thread, and glibc would keep memory for each of many of them.
                {**settings.machine_environment(), "MALLOC_ARENA_MAX": "2"},
                folder.log("gemini"),
            )
            self._platform.append(emulator)

    def request_stop(self) -> None:
        """Let `run` end. A signal handler may call this."""
        self._stopping.set()

    def run(self) -> None:
        """Start all programs, run them until `request_stop`, then stop them.

        Raises:
            StartError: a program did not start; the others are stopped.
        """
        try:
            self._start()
            self._keep_running()
        except StoppedError:
            return
        finally:
            self._stop()

    def _start(self) -> None:
        threading.Thread(target=self._look_for_ollama, daemon=True).start()
        migration: Future[Outcome] = Future()
        threading.Thread(target=self._migrate, args=(migration,), daemon=True).start()
        queues_lost_at = time.monotonic()
        for service in self._platform:
            service.start()
        migration_seconds = _START_SECONDS + self._functions[MIGRATE_FUNCTION].timeout_seconds
        self._wait_for(migration.done, "the migration", seconds=migration_seconds)
        outcome = migration.result()
        if isinstance(outcome, Failure):
            raise StartError(
                f"The database could not be migrated: {outcome}. Fix the cause and start again."
            )
        # The local AWS may still start, because it has its queues and rules before it answers.
        self._web.start()
        port = self._settings.aws_port
        self._wait_for(lambda: processes.listens(port), "the local AWS", self._aws)
        self._wait_for(self._web_answers, "the web application", self._web)
        self._print_welcome()
        # Start the functions last, because their imports would delay the first page. Until they are
        # ready, their events wait in the queues.
        self._start_functions()
        self._start_schedulers(queues_lost_at)

    def _look_for_ollama(self) -> None:
        """Find a vision model that could write captions. The start does not wait for it."""
        settings = self._settings
        if settings.emulator_port is not None and not settings.caption_settings.vision_url:
            self._ollama_model = find_vision_model()

    def _keep_running(self) -> None:
        trimmed_at = time.monotonic()
        while not self._stopping.wait(_POLL_SECONDS):
            for service in (self._web, *self._platform):
                if message := service.keep_running():
                    self._console.print_event(service.name, message, "error")
                    if service is self._aws:
                        for scheduler in self._schedulers:
                            scheduler.record_queue_loss()
            if time.monotonic() - trimmed_at > _TRIM_SECONDS:
                self._folder.trim_logs()
                trimmed_at = time.monotonic()

    def _stop(self) -> None:
        self._web.stop()
        self._host.stop(_GRACE_SECONDS)
        for service in self._platform:
            service.stop()

    def _migrate(self, migration: Future[Outcome]) -> None:
        try:
            process = self._function_process(self._functions[MIGRATE_FUNCTION])
            migration.set_result(invoke_once(process, {"action": "migrate"}))
        except BaseException as error:
            migration.set_exception(error)

    def _start_functions(self) -> None:
        scheduled = {schedule.function_id for schedule in self._template.schedules()}
        for logical_id, queue in self._wiring.queues.items():
            function = self._functions[logical_id]
            function = replace(function, timeout_seconds=self._settings.timeout_seconds(function))
            events = EventQueue(queue.name, self._settings.aws_url)
            policy = RetryPolicy(queue.max_attempts, self._settings.retry_seconds)
            starter = ProcessStarter(function.name, self._console)
            # A scheduled function has a process of its scheduler. Its events are rare.
            is_rare = logical_id in scheduled
            others: list[FunctionProcess] = []
            for _ in range(1 if is_rare else self._settings.processes_per_function):
                process = self._function_process(function)
                reader = QueueReader(
                    process,
                    events,
                    policy,
                    starter,
                    self._console,
                    starts_early=not is_rare,
                    helped=tuple(others),
                )
                self._host.start(reader)
                others.append(process)

    def _start_schedulers(self, queues_lost_at: float) -> None:
        longest_claim_seconds = CLAIM_MARGIN_SECONDS + max(
            self._settings.timeout_seconds(self._functions[i]) for i in self._wiring.queues
        )
        for schedule in self._template.schedules():
            function = self._functions[schedule.function_id]
            process = self._function_process(function)
            starter = ProcessStarter(function.name, self._console)
            scheduler = Scheduler(
                process,
                schedule,
                longest_claim_seconds,
                starter,
                self._console,
                queues_lost_at,
            )
            self._schedulers.append(scheduler)
            self._host.start(scheduler, after_seconds=_FIRST_PHOTO_SECONDS)

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
        return FunctionProcess(function, environment, self._folder.log(function.name))

    def _wait_for(
        self,
        is_ready: Callable[[], bool],
        name: str,
        service: Service | None = None,
        seconds: int = _START_SECONDS,
    ) -> None:
        """Wait until a program is ready.

        Raises:
            StartError: the program ended or took too long.
            StoppedError: the user stopped the run.
        """
        ends_at = time.monotonic() + seconds
        while not is_ready():
            if self._stopping.wait(_POLL_SECONDS / 2):
                raise StoppedError
            if service is not None and service.has_ended:
                raise StartError(
                    f"{name.capitalize()} did not start. The end of {service.log.path}:\n"
                    f"{service.log.tail()}"
                )
            if time.monotonic() > ends_at:
                hint = f" See {service.log.path}." if service is not None else " Start again."
                raise StartError(f"{name.capitalize()} did not start in {seconds} s.{hint}")

    def _web_answers(self) -> bool:
        try:
            with _DIRECT.open(f"{self._settings.url}/health", timeout=2) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError, http.client.HTTPException):
            return False

    def _print_welcome(self) -> None:
        settings = self._settings
        if settings.emulator_port is not None:
            captions = settings.caption_settings.description
            if self._ollama_model is not None:
                captions += f"\n             {use_ollama_hint(self._ollama_model)}"
        else:
            model = settings.function_environment(self._functions["AnnotationFunction"])
            budget = int(model["GEMINI_DAILY_TOKEN_BUDGET"])
            limit = f"at most {budget:,} tokens a day" if budget else "without a daily limit"
            captions = f"Gemini, {model['GEMINI_MODEL_NAME']}, {limit} (GEMINI_DAILY_TOKEN_BUDGET)"
        scheduled = {schedule.function_id for schedule in self._template.schedules()}
        queued = [self._functions[i].name for i in self._wiring.queues if i not in scheduled]
        schedules = [
            f"{self._functions[s.function_id].name} every {s.every_seconds} s"
            for s in self._template.schedules()
        ]
        processes = (
            f"{' and '.join(queued)} (at most {settings.processes_per_function} processes each)"
        )
        self._console.print(
            f"\nThe Image Annotation System runs at {settings.url}\n\n"
            f"  AWS        {settings.aws_url} (local S3, EventBridge and SQS)\n"
            f"  database   {settings.database}\n"
            f"  captions   {captions}\n"
            f"  functions  {', '.join([processes, *schedules])}\n"
            f"  state      {self._folder.path} (logs in logs/)\n\n"
            "Press Ctrl-C to stop.\n"
        )


def build_wiring(template: Template, settings: Settings) -> Wiring:
    """Return the buckets, queues and rules that the template needs."""
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


# Requests to this machine must not go through a proxy.
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
