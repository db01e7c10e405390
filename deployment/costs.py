"""Estimate the cost of an idle month and of 1,000 images.

Quantities come from the templates and the parameter files. Prices are in this file, with their
date. Free tiers, discounts, taxes and traffic beyond the assumptions are not included.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deployment import service_times
from deployment.stacks import APPLICATION, NETWORK, ORDER, WEB, ParameterFile, read_templates

PROFILES = ("lab", "default", "prod")
HOURS = 730  # The hours per month in AWS price calculations.


_INSTANCE_HOUR = {"t3.micro": 0.0104, "t3.small": 0.0208, "m7i-flex.large": 0.09576}
_DATABASE_HOUR = {"db.t4g.micro": 0.016, "db.t4g.small": 0.032, "db.m7g.large": 0.168}


class Prices:
    """On-demand list prices in US dollars. Check them before you rely on them."""

    as_of = "2026-11"
    region = "us-east-1"
    database_gib_month = 0.115
    volume_gib_month = 0.08
    nat_hour = 0.045
    nat_gb = 0.045
    load_balancer_hour = 0.0225
    load_balancer_gb = 0.008  # One capacity unit processes one GB per hour.
    public_address_hour = 0.005
    secret_month = 0.40
    alarm_metric_month = 0.10  # For each metric that an alarm reads.
    metric_month = 0.30
    web_acl_month = 5.00
    web_acl_rule_month = 1.00
    dashboard_month = 3.00
    registry_gb_month = 0.10
    lambda_gb_second = 0.0000166667
    lambda_million_requests = 0.20
    storage_gb_month = 0.023
    thousand_puts = 0.005
    thousand_gets = 0.0004
    million_events = 1.00
    million_traces = 5.00
    log_gb = 0.50
    traffic_out_gb = 0.09
    gemini_model = "gemini-3.5-flash-lite"  # As published on 2026-11-22.
    gemini_million_in = 0.30
    gemini_million_out = 2.50


class Assumptions:
    """Assumptions about an average image and about the idle system."""

    original_mb = 3.0
    thumbnail_mb = 0.03
    preview_mb = 0.3
    small_preview_mb = 0.1
    views = 10  # Views per thumbnail.
    preview_views = 1  # Views of each of both previews.
    tokens_in = 1400  # The reduced JPEG and the prompt.
    tokens_out = 150
    annotation_seconds = service_times.annotation_seconds()
    thumbnail_seconds = service_times.thumbnail_seconds()
    function_gb = 1.0
    # Two target tracking policies make two alarms each.
    scaling_alarms = 4
    server_metrics = 7  # Metrics of one server with detailed monitoring.
    # CloudWatch bills a custom metric for each hour with a value. The sweep writes these every
    # minute.
    idle_metrics = 3
    sweep_seconds = 0.1
    sweep_gb = 0.5
    to_gemini_mb = 0.25  # Through the NAT gateway. S3 traffic uses the free gateway endpoint.
    log_kb = 10.0
    images_gb = 5.0  # All kept container images.


@dataclass(frozen=True)
class Line:
    """One line of a cost table."""

    name: str
    arithmetic: str
    dollars: float


def idle_month(profile: str) -> list[Line]:
    """Return the cost of a month without requests."""
    templates = read_templates()
    parameter_file = ParameterFile.read(profile, templates)

    def value(template: str, parameter: str) -> str:
        return parameter_file.value(templates[template], parameter)

    def count(resource_type: str) -> int:
        return sum(
            found == resource_type for name in ORDER for found in templates[name].resources.values()
        )

    size, servers = value(WEB, "InstanceType"), int(value(WEB, "MinInstances"))
    volume_gib = int(value(WEB, "VolumeSizeInGiB"))
    database = value(APPLICATION, "DatabaseInstanceClass")
    zones = 2 if value(APPLICATION, "DatabaseMultiAZ") == "true" else 1
    database_gib = int(value(APPLICATION, "DatabaseStorageInGiB"))
    gateways = {"none": 0, "single": 1, "perAZ": 2}[value(NETWORK, "NatMode")]
    addresses = gateways + 2  # The load balancer has one address in each zone.
    alarms = [
        alarm for name in ORDER for alarm in templates[name].properties("AWS::CloudWatch::Alarm")
    ]
    alarm_metrics = Assumptions.scaling_alarms + sum(map(_metric_count, alarms))
    metrics = Assumptions.idle_metrics + servers * Assumptions.server_metrics
    dashboards = count("AWS::CloudWatch::Dashboard")
    web_acls = int(value(WEB, "WebAcl") == "managed")
    rules = [
        rule
        for web_acl in templates[WEB].properties("AWS::WAFv2::WebACL")
        for rule in web_acl["Rules"]
    ]
    # RDS stores the database password in another secret.
    secrets = count("AWS::SecretsManager::Secret") + 1
    sweeps = HOURS * 60
    sweep_gb_seconds = sweeps * Assumptions.sweep_seconds * Assumptions.sweep_gb

    return [
        _line("Web servers", servers, _INSTANCE_HOUR[size], size, hours=True),
        _line("Their volumes", servers * volume_gib, Prices.volume_gib_month, "GiB"),
        _line("Database", zones, _DATABASE_HOUR[database], database, hours=True),
        _line("Its storage", zones * database_gib, Prices.database_gib_month, "GiB"),
        _line("NAT gateways", gateways, Prices.nat_hour, "", hours=True),
        _line("Load balancer", 1, Prices.load_balancer_hour, "", hours=True),
        _line("Public addresses", addresses, Prices.public_address_hour, "", hours=True),
        _line("Secrets", secrets, Prices.secret_month, ""),
        _line("Metrics in alarms", alarm_metrics, Prices.alarm_metric_month, ""),
        _line("Metrics of servers and of the sweep", metrics, Prices.metric_month, ""),
        _line("Web ACL", web_acls, Prices.web_acl_month, ""),
        _line("Its rules", web_acls * len(rules), Prices.web_acl_rule_month, ""),
        _line("Dashboard", dashboards, Prices.dashboard_month, ""),
        _line("Container images", Assumptions.images_gb, Prices.registry_gb_month, "GB"),
        Line(
            "The sweep, every minute",
            f"{sweep_gb_seconds:.0f} GB-s + {sweeps} calls",
            sweep_gb_seconds * Prices.lambda_gb_second
            + sweeps / 1e6 * Prices.lambda_million_requests,
        ),
    ]


def _metric_count(alarm: Mapping[str, Any]) -> int:
    """Return the number of metrics that an alarm reads."""
    return sum("MetricStat" in metric for metric in alarm.get("Metrics", [])) or 1


def _line(name: str, quantity: float, price: float, unit: str, *, hours: bool = False) -> Line:
    factors = f"{quantity:g} {unit}".strip() + (f" × {HOURS} h" if hours else "")
    dollars = quantity * price * (HOURS if hours else 1)
    return Line(name, f"{factors} × ${price:g}", dollars)


def thousand_images() -> list[Line]:
    """Return the cost of 1,000 images with one month of storage, equal in all profiles."""
    seconds = 1000 * (Assumptions.annotation_seconds + Assumptions.thumbnail_seconds)
    gb_seconds = seconds * Assumptions.function_gb
    uploaded_gb = Assumptions.original_mb
    both_previews_mb = Assumptions.preview_mb + Assumptions.small_preview_mb
    stored_gb = Assumptions.original_mb + Assumptions.thumbnail_mb + both_previews_mb
    thumbnails_gb = Assumptions.views * Assumptions.thumbnail_mb
    previews_gb = Assumptions.preview_views * both_previews_mb
    # Each function reads the original once.
    gets = 2 + Assumptions.views + 2 * Assumptions.preview_views
    million_in, million_out = Assumptions.tokens_in / 1e3, Assumptions.tokens_out / 1e3
    return [
        _line("Gemini, tokens in", million_in, Prices.gemini_million_in, "million"),
        _line("Gemini, tokens out", million_out, Prices.gemini_million_out, "million"),
        _line("Functions' time", gb_seconds, Prices.lambda_gb_second, "GB-s"),
        _line("Functions' calls", 0.002, Prices.lambda_million_requests, "million"),
        _line("S3, stored for a month", stored_gb, Prices.storage_gb_month, "GB"),
        _line("S3, written", 4, Prices.thousand_puts, "thousand"),
        _line("S3, read", gets, Prices.thousand_gets, "thousand"),
        _line("EventBridge", 0.001, Prices.million_events, "million"),
        _line("NAT gateway, to Gemini", Assumptions.to_gemini_mb, Prices.nat_gb, "GB"),
        _line("Load balancer, uploads", uploaded_gb, Prices.load_balancer_gb, "GB"),
        _line("Traffic out, thumbnails", thumbnails_gb, Prices.traffic_out_gb, "GB"),
        _line("Traffic out, previews", previews_gb, Prices.traffic_out_gb, "GB"),
        _line("Logs", Assumptions.log_kb / 1e3, Prices.log_gb, "GB"),
        _line("Traces", 0.002, Prices.million_traces, "million"),
    ]


def captions_within(tokens: int) -> tuple[int, float]:
    """Return about how many captions a number of tokens allows, and their price in dollars."""
    captions = tokens // (Assumptions.tokens_in + Assumptions.tokens_out)
    dollars_in = Assumptions.tokens_in * Prices.gemini_million_in / 1e6
    dollars_out = Assumptions.tokens_out * Prices.gemini_million_out / 1e6
    return captions, captions * (dollars_in + dollars_out)


def report() -> str:
    """Return both estimates as the tables of deployment/README.md."""
    bills = {profile: idle_month(profile) for profile in PROFILES}
    idle = [
        (lines[0].name, *(f"{line.arithmetic} = {line.dollars:.2f}" for line in lines))
        for lines in zip(*bills.values(), strict=True)
    ]
    totals = [f"**{_total(lines):.2f}**" for lines in bills.values()]
    images = [(line.name, f"{line.arithmetic} = {line.dollars:.3f}") for line in thousand_images()]
    all_images = f"**{_total(thousand_images()):.2f}**"
    return "\n".join(
        [
            f"US dollars, {Prices.region}, prices of {Prices.as_of}.",
            "",
            *_table(("idle month", *PROFILES), [*idle, ("**Together**", *totals)]),
            "",
            *_table(("1,000 images", "dollars"), [*images, ("**Together**", all_images)]),
        ]
    )


def _total(lines: Sequence[Line]) -> float:
    return sum(line.dollars for line in lines)


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = (headings, ["---"] * len(headings), *rows)
    return [f"| {' | '.join(cells)} |" for cells in lines]
