"""Estimate the cost of an idle month and of 1,000 images.

Quantities come from the templates and the parameter files. Prices are in this file, with their
date. Free tiers, discounts, taxes and traffic beyond the assumptions are not included.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from deployment.stacks import (
    APPLICATION,
    NETWORK,
    ORDER,
    WEB,
    ParameterFile,
    read_templates,
)

PROFILES = ("lab", "default", "prod")
HOURS = 730  # The hours per month in AWS price calculations.


@dataclass(frozen=True)
class Prices:
    """On-demand list prices in US dollars. Check them before you rely on them."""

    as_of: str = "2026-11"
    region: str = "us-east-1"
    instance_hour: Mapping[str, float] = field(
        default_factory=lambda: {
            "t3.micro": 0.0104,
            "t3.small": 0.0208,
            "m7i-flex.large": 0.09576,
        }
    )
    database_hour: Mapping[str, float] = field(
        default_factory=lambda: {
            "db.t4g.micro": 0.016,
            "db.t4g.small": 0.032,
            "db.m7g.large": 0.168,
        }
    )
    database_gib_month: float = 0.115
    volume_gib_month: float = 0.08
    nat_hour: float = 0.045
    nat_gb: float = 0.045
    load_balancer_hour: float = 0.0225
    load_balancer_gb: float = 0.008  # One capacity unit processes one GB per hour.
    public_address_hour: float = 0.005
    secret_month: float = 0.40
    alarm_month: float = 0.10
    dashboard_month: float = 3.00
    registry_gb_month: float = 0.10
    lambda_gb_second: float = 0.0000166667
    lambda_million_requests: float = 0.20
    storage_gb_month: float = 0.023
    thousand_puts: float = 0.005
    thousand_gets: float = 0.0004
    million_events: float = 1.00
    million_traces: float = 5.00
    log_gb: float = 0.50
    traffic_out_gb: float = 0.09
    gemini_million_in: float = 0.30  # gemini-3.5-flash-lite, as published on 2026-11-22.
    gemini_million_out: float = 2.50


@dataclass(frozen=True)
class Assumptions:
    """Assumptions about an average image and about the idle system."""

    original_mb: float = 3.0
    thumbnail_mb: float = 0.03
    views: int = 10  # Views per thumbnail.
    tokens_in: int = 1400  # The reduced JPEG and the prompt.
    tokens_out: int = 150
    annotation_seconds: float = 3.0
    thumbnail_seconds: float = 1.5
    function_gb: float = 1.0
    sweep_seconds: float = 0.1
    sweep_gb: float = 0.5
    to_gemini_mb: float = (
        0.25  # Through the NAT gateway. S3 traffic uses the free gateway endpoint.
    )
    log_kb: float = 10.0
    images_gb: float = 5.0  # All kept container images.


@dataclass(frozen=True)
class Line:
    """One line of a cost table."""

    name: str
    arithmetic: str
    dollars: float


def idle_month(profile: str, prices: Prices, assumed: Assumptions) -> list[Line]:
    """Return the cost of a month without requests."""
    templates = read_templates()
    parameters = ParameterFile.read(profile, templates).values

    def value(template: str, parameter: str) -> str:
        default = templates[template].parameters[parameter]["Default"]
        return str(parameters.get(template, {}).get(parameter, default))

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
    alarms, dashboards = count("AWS::CloudWatch::Alarm"), count("AWS::CloudWatch::Dashboard")
    secrets = (
        count("AWS::SecretsManager::Secret") + 1
    )  # RDS stores the database password in another secret.
    sweeps = HOURS * 60
    sweep_gb_seconds = sweeps * assumed.sweep_seconds * assumed.sweep_gb

    return [
        _line("Web servers", servers, prices.instance_hour[size], size, hours=True),
        _line("Their volumes", servers * volume_gib, prices.volume_gib_month, "GiB"),
        _line("Database", zones, prices.database_hour[database], database, hours=True),
        _line("Its storage", zones * database_gib, prices.database_gib_month, "GiB"),
        _line("NAT gateways", gateways, prices.nat_hour, "", hours=True),
        _line("Load balancer", 1, prices.load_balancer_hour, "", hours=True),
        _line("Public addresses", addresses, prices.public_address_hour, "", hours=True),
        _line("Secrets", secrets, prices.secret_month, ""),
        _line("Alarms", alarms, prices.alarm_month, ""),
        _line("Dashboard", dashboards, prices.dashboard_month, ""),
        _line("Container images", assumed.images_gb, prices.registry_gb_month, "GB"),
        Line(
            "The sweep, every minute",
            f"{sweep_gb_seconds:.0f} GB-s + {sweeps} calls",
            sweep_gb_seconds * prices.lambda_gb_second
            + sweeps / 1e6 * prices.lambda_million_requests,
        ),
    ]


def _line(name: str, quantity: float, price: float, unit: str, *, hours: bool = False) -> Line:
    factors = f"{quantity:g} {unit}".strip() + (f" × {HOURS} h" if hours else "")
    dollars = quantity * price * (HOURS if hours else 1)
    return Line(name, f"{factors} × ${price:g}", dollars)


def thousand_images(prices: Prices, assumed: Assumptions) -> list[Line]:
    """Return the cost of 1,000 images with one month of storage, equal in all profiles."""
    seconds = 1000 * (assumed.annotation_seconds + assumed.thumbnail_seconds)
    gb_seconds = seconds * assumed.function_gb
    uploaded_gb = assumed.original_mb
    stored_gb = assumed.original_mb + assumed.thumbnail_mb
    shown_gb = assumed.views * assumed.thumbnail_mb
    gets = 2 + assumed.views  # Each function reads the original once.
    million_in, million_out = assumed.tokens_in / 1e3, assumed.tokens_out / 1e3
    return [
        _line("Gemini, tokens in", million_in, prices.gemini_million_in, "million"),
        _line("Gemini, tokens out", million_out, prices.gemini_million_out, "million"),
        _line("Functions' time", gb_seconds, prices.lambda_gb_second, "GB-s"),
        _line("Functions' calls", 0.002, prices.lambda_million_requests, "million"),
        _line("S3, stored for a month", stored_gb, prices.storage_gb_month, "GB"),
        _line("S3, written", 2, prices.thousand_puts, "thousand"),
        _line("S3, read", gets, prices.thousand_gets, "thousand"),
        _line("EventBridge", 0.001, prices.million_events, "million"),
        _line("NAT gateway, to Gemini", assumed.to_gemini_mb, prices.nat_gb, "GB"),
        _line("Load balancer, uploads", uploaded_gb, prices.load_balancer_gb, "GB"),
        _line("Traffic out, thumbnails", shown_gb, prices.traffic_out_gb, "GB"),
        _line("Logs", assumed.log_kb / 1e3, prices.log_gb, "GB"),
        _line("Traces", 0.002, prices.million_traces, "million"),
    ]


def report(prices: Prices | None = None, assumed: Assumptions | None = None) -> str:
    """Return both estimates as the tables of deployment/README.md."""
    prices, assumed = prices or Prices(), assumed or Assumptions()
    bills = {profile: idle_month(profile, prices, assumed) for profile in PROFILES}
    idle = [
        (lines[0].name, *(f"{line.arithmetic} = {line.dollars:.2f}" for line in lines))
        for lines in zip(*bills.values(), strict=True)
    ]
    totals = [f"**{_total(lines):.2f}**" for lines in bills.values()]
    images = [
        (line.name, f"{line.arithmetic} = {line.dollars:.3f}")
        for line in thousand_images(prices, assumed)
    ]
    all_images = f"**{_total(thousand_images(prices, assumed)):.2f}**"
    return "\n".join(
        [
            f"US dollars, {prices.region}, prices of {prices.as_of}.",
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
