import json
import pickle
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

import load_tester
from load_tester import (
    Judgement,
    Plan,
    RunResult,
    StartError,
    Tally,
    Target,
    Threshold,
    Timeline,
    summarise,
    write_html,
    write_json,
)

ROOT = Path(__file__).parents[2]


def make_plan(**overrides):
    options = {"num_requests": 100, "duration_seconds": None, "concurrency": 10}
    return Plan(**({"target": Target.parse("http://127.0.0.1/")} | options | overrides))


def make_tally(*latencies_ms, status=200, **overrides):
    tally = Tally(completed=len(latencies_ms), **overrides)
    tally.status_codes[status] += len(latencies_ms)
    for latency_ms in latencies_ms:
        tally.latency.record_value(latency_ms * 1000)
    return tally


def make_result(*tallies, seconds=None, started=0, is_interrupted=False):
    result = RunResult(datetime(2026, 1, 2, tzinfo=UTC), started=started)
    for second, tally in enumerate(tallies):
        result.total.add(tally)
        result.timeline.add(second, tally)
    result.seconds = len(tallies) if seconds is None else seconds
    result.is_interrupted = is_interrupted
    return result


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://host", ("http", "host", 80, "/")),
        ("https://host/a?b=c", ("https", "host", 443, "/a?b=c")),
        ("http://[::1]:8000/x", ("http", "::1", 8000, "/x")),
        ("http://host/katze ñ", ("http", "host", 80, "/katze%20%C3%B1")),
        ("http://host/a%20b", ("http", "host", 80, "/a%20b")),
    ],
)
def test_a_url_is_parsed_into_host_port_and_path(url, expected):
    target = Target.parse(url)

    assert (target.scheme, target.host, target.port, target.path) == expected


@pytest.mark.parametrize(
    "url",
    ["", "host", "ftp://host/", "http://", "http://host:port/", "http://[::1", "http://a:b@c/"],
)
def test_an_invalid_url_is_rejected_with_a_sentence(url):
    with pytest.raises(StartError) as caught:
        Target.parse(url)

    assert caught.value.message.endswith(".")
    assert caught.value.exit_code == 2


def test_percentiles_cover_all_processes_and_seconds():
    result = make_result(
        make_tally(*range(1, 51)), make_tally(*range(51, 101)), make_tally(), seconds=3
    )

    summary = summarise(make_plan(), result)

    assert summary.requests == 100
    assert summary.rate == pytest.approx(100 / 3)
    assert summary.latency.p50 == pytest.approx(50, rel=0.002)
    assert summary.latency.p99 == pytest.approx(99, rel=0.002)
    assert summary.latency.max == pytest.approx(100, rel=0.002)


def test_pickling_a_second_without_responses_does_not_change_the_latencies():
    seconds = [make_tally(5, 9), Tally(), make_tally(7)]

    summary = summarise(
        make_plan(), make_result(*(pickle.loads(pickle.dumps(tally)) for tally in seconds))
    )

    assert summary.latency.min == pytest.approx(5, rel=0.002)
    assert summary.latency.max == pytest.approx(9, rel=0.002)


def test_failed_requests_are_counted_once_and_not_in_the_rate():
    failed = make_tally(5, 5, failed=2, status=503)
    failed.errors["HTTP 503"] += 2

    summary = summarise(make_plan(), make_result(make_tally(5, 5, 5), failed))

    assert (summary.requests, summary.failed) == (5, 2)
    assert summary.rate == pytest.approx(1.5)
    assert summary.status_codes == {"200": 3, "503": 2}
    assert summary.metric("error_share") == pytest.approx(0.4)


def test_a_run_without_responses_has_no_latency():
    nothing = Tally(completed=3, failed=3)
    nothing.errors["connection refused"] += 3

    threshold = Threshold.parse("p95>1s")
    summary = summarise(make_plan(), make_result(nothing), thresholds=[threshold])

    assert summary.latency is None
    assert summary.distribution == []
    assert summary.thresholds == [Judgement("p95>1s", "not measured", is_crossed=True)]


def test_scheduled_requests_that_were_not_sent_are_errors():
    plan = make_plan(num_requests=None, duration_seconds=10, rate=50)

    summary = summarise(plan, make_result(make_tally(1), seconds=12, started=400))

    assert summary.unsent == 100
    assert summary.metric("errors") == 100


def test_an_interrupted_run_has_no_unsent_requests_after_its_end():
    plan = make_plan(num_requests=None, duration_seconds=60, rate=50)

    summary = summarise(
        plan, make_result(make_tally(1), seconds=2, started=100, is_interrupted=True)
    )

    assert summary.unsent == 0
    assert summary.is_interrupted


def test_the_distribution_counts_every_request_once():
    latencies = [1] * 50 + list(range(2, 200)) + [5000]

    summary = summarise(make_plan(), make_result(make_tally(*latencies)))

    assert sum(bucket.count for bucket in summary.distribution) == len(latencies)
    assert summary.distribution[-1].up_to == pytest.approx(5000, rel=0.002)
    edges = [bucket.above for bucket in summary.distribution]
    assert edges == sorted(edges)


@pytest.mark.slow
def test_a_long_run_keeps_few_points_and_every_request():
    timeline = Timeline()

    for second in range(3600):
        timeline.add(second, make_tally(1))

    assert len(timeline.points) <= Timeline.MAX_POINTS
    assert sum(tally.completed for tally in timeline.points.values()) == 3600


@pytest.mark.parametrize(
    ("text", "name", "limit"),
    [
        ("p95>500ms", "p95", 500),
        ("p99.9 > 1.5s", "p99.9", 1500),
        ("errors>1%", "error_share", 0.01),
        ("errors>10", "errors", 10),
        ("rate<100", "rate", 100),
        ("rate<100/s", "rate", 100),
        ("upload_p50>80ms", "upload_p50", 80),
    ],
)
def test_a_threshold_is_parsed_with_its_unit(text, name, limit):
    threshold = Threshold.parse(text)

    assert (threshold.name, threshold.limit) == (name, pytest.approx(limit))


@pytest.mark.parametrize(
    "text", ["", "p95", "p95>", "p95>x", "p95>5%", "rate<1s", "p42>1s", "errors>1s", "p95>=1s"]
)
def test_an_invalid_threshold_is_rejected(text):
    with pytest.raises(ValueError, match=re.escape(repr(text))):
        Threshold.parse(text)


def test_the_summary_says_for_each_threshold_whether_it_held():
    thresholds = [Threshold.parse(text) for text in ("p50>40ms", "p50>60ms", "rate<99", "rate<101")]

    summary = summarise(
        make_plan(), make_result(make_tally(*range(1, 101)), seconds=1), thresholds=thresholds
    )

    assert summary.thresholds == [
        Judgement("p50>40ms", "measured 50 ms", is_crossed=True),
        Judgement("p50>60ms", "measured 50 ms", is_crossed=False),
        Judgement("rate<99", "measured 100", is_crossed=False),
        Judgement("rate<101", "measured 100", is_crossed=True),
    ]


def test_the_command_has_no_values_of_headers():
    plan = make_plan(headers=(("Authorization", "Bearer a b"), ("X-Key", "1"), ("X-Empty", "")))
    arguments = ["-H", "Authorization: Bearer a b", "--header=X-Key: 1", "-n", "1", "-HX-Empty:"]

    summary = summarise(plan, make_result(make_tally(1)), arguments=arguments)

    assert summary.command == (
        "load_tester.py -H 'Authorization: …' '--header=X-Key: …' -n 1 '-HX-Empty: …'"
    )


@pytest.mark.parametrize(
    ("last_seconds", "expected"),
    [
        (0.2, [(0, 2.0, 0), (1, 5 / 1.2, 3)]),
        (0.9, [(0, 2.0, 0), (1, 2.0, 0), (2, 3 / 0.9, 3)]),
    ],
    ids=["a short rest belongs to the second before", "a long rest is a point"],
)
def test_the_timeline_keeps_the_last_responses(last_seconds, expected):
    tallies = [make_tally(1, 1), make_tally(1, 1), make_tally(9, 9, 9, failed=3)]

    points = summarise(make_plan(), make_result(*tallies, seconds=2 + last_seconds)).timeline

    assert [(p.second, pytest.approx(p.per_second), p.failed) for p in points] == expected
    assert points[-1].p99 == pytest.approx(9, rel=0.01)


def test_the_last_rate_is_that_of_a_second_that_every_process_reported():
    timeline = Timeline()
    assert timeline.last_rate == 0

    for second, numbers in [(0, (1, 1)), (1, (1, 1)), (1, (1,)), (0, (1,)), (2, (1,))]:
        timeline.add(second, make_tally(*numbers))

    assert timeline.last_rate == 3


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [(0.042, "42 µs"), (5.1, "5.1 ms"), (512.4, "512 ms"), (1500, "1.5 s"), (3_600_000, "3,600 s")],
)
def test_durations_are_formatted_with_a_suitable_unit(milliseconds, text):
    assert load_tester.duration_text(milliseconds) == text


def test_the_json_file_contains_the_summary(tmp_path):
    write_json(tmp_path / "r.json", summarise(make_plan(), make_result(make_tally(1, 2, 3))))

    written = json.loads((tmp_path / "r.json").read_text())
    assert written["requests"] == 3
    assert written["latency"]["p50"] == pytest.approx(2, rel=0.002)
    assert written["timeline"][0]["per_second"] == 3


def test_the_html_report_is_self_contained_and_escapes_the_url(tmp_path):
    plan = make_plan(target=Target("http", "h", 80, "/<script>alert(1)</script>"))
    tally = make_tally(1, 2, 3)
    tally.errors["<img src=x>"] += 1

    write_html(tmp_path / "r.html", plan, summarise(plan, make_result(tally, make_tally())))

    page = (tmp_path / "r.html").read_text()
    assert "<script" not in page
    assert "<img" not in page
    assert not re.search(r"(href|url\(|@import|src)\s*=?\s*[\"'(]?(http|//)", page)
    assert page.count("<svg") == 3


def test_the_packages_in_the_script_header_agree_with_the_requirements():
    script = (ROOT / "load_tester.py").read_text()
    block = re.search(r"# /// script\n(.*?)# ///", script, re.DOTALL)[1]
    own = re.findall(r'"([\w-]+==[\w.]+)"', block)
    lines = (ROOT / "requirements" / "run.in").read_text().splitlines()
    every = {line.partition(";")[0] for line in lines}

    assert len(own) == 4
    assert set(own) <= every


@pytest.mark.parametrize("count", [1, 3, 5, 1000])
def test_the_marks_of_an_axis_of_counts_are_different_whole_numbers(tmp_path, count):
    plan, result = make_plan(), make_result(make_tally(*[5] * count))
    write_html(tmp_path / "run.html", plan, summarise(plan, result))

    page = (tmp_path / "run.html").read_text()
    charts = re.findall(r'<svg[^>]+aria-label="(?!p50).*?</svg>', page, re.DOTALL)
    assert charts
    for chart in charts:
        marks = re.findall(r'<line class="grid".*?<text[^>]*>([\d,]+)</text>', chart)
        assert len({*marks}) == len(marks) == 5
